"""The whole program in one function: what the sources brought -> what leaves. Pure.

`tick` takes the state and one set of readings, and returns the next state and a Snapshot. Read it
third, after the picture in agent/README.md and model.py. Totals only ever rise; rates and ratios
are made last, in views.py, from differences of totals.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import inf
from typing import Final, TypeVar

from burnmeter import (
    attribution,
    catalog,
    growth,
    histograms,
    sli,
    slo,
    staleness,
    vantage,
    watch,
)
from burnmeter.attribution import Portion, Purse, Tenant
from burnmeter.dialects import INDICATORS
from burnmeter.model import (
    Failure,
    Gpu,
    GpuReading,
    Growth,
    Histogram,
    Key,
    Objective,
    PageReading,
    Process,
    ProcessReading,
    Share,
    Spend,
    Tally,
    Target,
)
from burnmeter.page import Page
from burnmeter.snapshot import Event
from burnmeter.watch import Look, Terms, Watched

EVENTS_KEPT: Final = 100
MEASURES: Final = {**INDICATORS, sli.ERRORS: vantage.FAILED}
"""Indicator -> the measure that it needs; availability needs none."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """All that the sources brought for one tick."""

    at_seconds: float
    timestamp_seconds: float
    targets: tuple[Target, ...]
    """Whom we want to see now: from the config and found."""
    pages: Mapping[str, tuple[PageReading, Page | None]]
    """Name of each target -> its reading and the page in it, if it could be read. A target that it
    was not time to read has none."""
    gpus: GpuReading | None
    """None: switched off."""
    processes: ProcessReading | None
    """None: not looked at in this tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Totals at one tick, to take recent differences from."""

    at_seconds: float
    counters: Mapping[Key, float]
    histograms: Mapping[Key, Histogram]
    spends: Mapping[Share, Spend]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that is remembered between two ticks."""

    started_timestamp_seconds: float
    at_seconds: float | None = None
    ticks: int = 0
    watched: Mapping[str, Watched] = field(default_factory=dict)
    counters: Mapping[Key, float] = field(default_factory=dict)
    histograms: Mapping[Key, Histogram] = field(default_factory=dict)
    ledgers: Mapping[tuple[str, str], slo.Ledger] = field(default_factory=dict)
    unmeasured: Mapping[tuple[str, str], str | None] = field(default_factory=dict)
    sources: Mapping[tuple[str, str], str | None] = field(default_factory=dict)
    """(objective, model) -> who counted its events at the last tick; see model.Burn."""
    tallies: Mapping[tuple[str, str], Mapping[str, Tally]] = field(default_factory=dict)
    """(objective, model) -> source -> what it has counted since first sight."""
    counted: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)
    """(objective, model) -> each vantage that has counted -> after when it was last read for it."""
    purse: Purse = field(default_factory=Purse)
    gpus: Mapping[str, Gpu] = field(default_factory=dict)
    """Every GPU ever seen, as last seen: it is paid for whether or not the driver answers."""
    portions: Mapping[str, tuple[Portion, ...]] = field(default_factory=dict)
    xids: Mapping[tuple[str, int], int] = field(default_factory=dict)
    xid_readings: Mapping[tuple[str, int], int] = field(default_factory=dict)
    processes: Mapping[int, Process] = field(default_factory=dict)
    past: tuple[Past, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the config says that the middle needs."""

    terms: Terms
    objectives: tuple[Objective, ...]
    recent_seconds: float
    dollars_per_hour: Mapping[str, float | None] = field(default_factory=dict)
    """By GPU name."""


def tick(state: State, readings: Readings, settings: Settings) -> State:
    """One tick: pages -> growth -> attribution, totals and ledgers -> the next state."""
    looks = _looks(state, readings, settings.terms)
    table = readings.processes
    processes = table.processes if table and table.failure is None else state.processes
    gpus, lost = _gpus(state, readings.gpus)
    seconds = 0.0 if state.at_seconds is None else readings.at_seconds - state.at_seconds
    portions = attribution.divide(list(gpus.values()), _tenants(looks), processes)
    looks = staleness.judge(looks, portions, gpus, settings.terms)
    prices = {uuid: settings.dollars_per_hour.get(gpu.name) for uuid, gpu in gpus.items()}
    purse = attribution.accrue(state.purse, seconds, list(gpus.values()), portions, prices)
    purse = attribution.fold(
        purse, {name: found.watched.tenants_held for name, found in looks.items()}
    )
    counters, hists = _totals(state, looks)
    xids, xid_readings, xid_events = _xids(state, gpus.values())
    kept = _ledgers(state, looks.values(), readings.at_seconds, settings.objectives)
    now = replace(
        state,
        at_seconds=readings.at_seconds,
        ticks=state.ticks + 1,
        watched={name: found.watched for name, found in looks.items()},
        counters=counters,
        histograms=hists,
        ledgers={name: one.ledger for name, one in kept.items()},
        unmeasured={name: one.unmeasured for name, one in kept.items()},
        sources={name: one.source for name, one in kept.items()},
        tallies={name: one.tallies for name, one in kept.items()},
        counted={name: one.counted for name, one in kept.items()},
        purse=purse,
        gpus=gpus,
        portions=portions,
        xids=xids,
        xid_readings=xid_readings,
        processes=processes,
    )
    told = [(kind, name, text) for name, found in looks.items() for kind, text in found.events]
    events = tuple(
        Event(timestamp_seconds=readings.timestamp_seconds, kind=kind, subject=subject, text=text)
        for kind, subject, text in [*told, *lost, *xid_events]
    )
    return replace(
        now,
        past=_past(state.past, now, settings.recent_seconds),
        events=(*state.events, *events)[-EVENTS_KEPT:],
    )


# --- targets -------------------------------------------------------------------------------------


def _looks(state: State, readings: Readings, terms: Terms) -> dict[str, Look]:
    """A look at every target we want to see, and at those that were found and are gone."""
    looks: dict[str, Look] = {}
    for target in readings.targets:
        was = state.watched.get(target.name, Watched(target=target))
        if _said_of(target) != _said_of(was.target):
            was = replace(was, plan=None)
        was = replace(was, target=target)
        read = readings.pages.get(target.name)
        looks[target.name] = watch.look(was, *read, terms) if read else watch.rest(was)
    for name, was in state.watched.items():
        if name not in looks and was.target.origin != "config":
            gone = watch.vanish(was, readings.at_seconds, terms)
            if not watch.is_forgotten(gone.watched, readings.at_seconds):
                looks[name] = gone
    return looks


def _said_of(target: Target) -> tuple[str | None, ...]:
    """What decides, beside its page, what a target's series mean."""
    return target.model, target.served_model, target.role, target.engine


def _tenants(looks: Mapping[str, Look]) -> list[Tenant]:
    return [
        Tenant(name, found.watched.tenant, found.watched.target.pid, _is_busy(found))
        for name, found in looks.items()
    ]


def _is_busy(found: Look) -> bool | None:
    """Working: requests run, or tokens came. By the engine's word, not by GPU utilisation."""
    running = found.watched.running
    if not found.watched.is_up or found.growth is None:
        return None
    tokens = [v for key, v in found.growth.counters.items() if key.measure == "tokens_total"]
    if running is None and not tokens:
        return None
    return (running is not None and running > 0) or sum(tokens) > 0


# --- totals --------------------------------------------------------------------------------------


@lru_cache(maxsize=50_000)
def addressed(key: Key, page_engine: str, page_vantage: str, target: str) -> Key:
    """The key with all that says where it was counted.

    What a gateway or a probe sees has names of its own, so that no sum over a name can take one
    request twice.
    """
    labels = sorted([*key.labels, ("engine", page_engine), ("target", target)])
    return Key(catalog.seen_from(page_vantage, key.measure), tuple(labels))


def _of(held: Mapping[str, Collection[str]], totals: dict[Key, T]) -> dict[Key, T]:
    """Totals without those of targets and models that are forgotten: what is gone vanishes."""

    def is_held(key: Key) -> bool:
        labels = dict(key.labels)
        models = held.get(labels["target"])
        return models is not None and (labels["model"] == "" or labels["model"] in models)

    return {key: total for key, total in totals.items() if is_held(key)}


def _totals(
    state: State, looks: Mapping[str, Look]
) -> tuple[dict[Key, float], dict[Key, Histogram]]:
    counters, hists = dict(state.counters), dict(state.histograms)
    held = {name: found.watched.names_held for name, found in looks.items()}
    if any(
        name not in held or was.names_held.keys() - held[name].keys()
        for name, was in state.watched.items()
    ):
        counters, hists = _of(held, counters), _of(held, hists)
    for found in looks.values():
        if found.growth is None or found.watched.page is None:
            continue
        page, target = found.watched.page, found.watched.target.name
        for key, grown in found.growth.counters.items():
            there = addressed(key, page.engine, page.vantage, target)
            counters[there] = counters.get(there, 0.0) + grown
        for key, more in found.growth.histograms.items():
            there = addressed(key, page.engine, page.vantage, target)
            old = hists.get(there)
            # An engine that came back with other buckets begins again, as its own page does: what
            # was counted in the old ones cannot be told in the new.
            begins = old is None or (found.growth.is_restart and old.bounds != more.bounds)
            hists[there] = more if old is None or begins else histograms.add(old, more)
    return counters, hists


def _past(past: Sequence[Past], now: State, recent_seconds: float) -> tuple[Past, ...]:
    assert now.at_seconds is not None, "a tick sets the time"
    mark = Past(
        at_seconds=now.at_seconds,
        counters=now.counters,
        histograms=now.histograms,
        spends=now.purse.spends,
    )
    oldest = now.at_seconds - recent_seconds
    kept = [old for old in past if old.at_seconds >= oldest - 1e-6]
    return (*kept, mark)


# --- objectives ----------------------------------------------------------------------------------


def concerns(objective: Objective, model: str) -> bool:
    """Whether an objective is about a model."""
    return all(value == model for name, value in objective.match if name == "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one objective on one model has come to."""

    ledger: slo.Ledger
    unmeasured: str | None
    source: str | None
    tallies: Mapping[str, Tally]
    counted: Mapping[str, float]


def _ledgers(
    state: State, looks: Iterable[Look], at_seconds: float, objectives: Sequence[Objective]
) -> dict[tuple[str, str], Kept]:
    by_model: dict[str, list[Look]] = {}
    for found in looks:
        # Split once: models that each look through all growth take the square of it.
        grown = growth.by_model(found.growth) if found.growth is not None else {}
        for model in found.watched.models:
            by_model.setdefault(model, []).append(replace(found, growth=grown.get(model)))
    kept: dict[tuple[str, str], Kept] = {}
    for objective in objectives:
        for model, of_model in by_model.items():
            if concerns(objective, model):
                name = objective.name, model
                kept[name] = _keep(state, objective, model, of_model, at_seconds)
    return kept


def _keep(
    state: State, objective: Objective, model: str, looks: Sequence[Look], at_seconds: float
) -> Kept:
    name = objective.name, model
    ledger, tallies = state.ledgers.get(name, ()), state.tallies.get(name, {})
    measure = MEASURES.get(objective.indicator)
    counted = state.counted.get(name, {})
    asked = _asked(state, looks, counted) if measure is not None else looks
    source = vantage.best([found.watched for found in asked], measure)
    here = [found for found in asked if found.watched.vantage == source]
    awake = [found for found in here if not found.is_resting]
    if not awake and ledger:
        return Kept(
            ledger=ledger,
            unmeasured=state.unmeasured.get(name),
            source=state.sources.get(name),
            tallies=tallies,
            counted=counted,
        )
    # Of a prefill and a decode worker only one counts a request that both have seen.
    own = [found for found in awake if not vantage.leaves_out(found.watched, measure)]
    tally, seconds, unmeasured = _sum(objective, model, own or awake)
    if ledger and len({found.watched.target.least_interval_seconds for found in here}) > 1:
        # Who is read more often has measured most of that time already.
        seconds = min(seconds, at_seconds - ledger[-1].at_seconds)
    if tally is not None and source is not None:
        # All that is read in this tick is read after the one before.
        after = state.at_seconds if state.at_seconds is not None else -inf
        counted = {**counted, source: after}
    if objective.indicator == sli.ERRORS and source == "engine":
        source = _witness(model, own)
    if tally is not None and source is not None:
        tallies = {**tallies, source: _plus(tallies.get(source), tally)}
    return Kept(
        ledger=slo.record(ledger, at_seconds, tally, seconds),
        unmeasured=unmeasured,
        source=source if tally is not None else None,
        tallies=tallies,
        counted=counted,
    )


def _plus(so_far: Tally | None, more: Tally) -> Tally:
    return more if so_far is None else Tally(*map(sum, zip(so_far, more, strict=True)))


def _asked(state: State, looks: Sequence[Look], counted: Mapping[str, float]) -> Sequence[Look]:
    """Who may count now: whose page says only what nobody at another vantage has counted yet.

    One that was not read while another counted begins with its next look; if nobody is left, this
    one tells nothing.
    """
    able = [
        found
        for found in looks
        if all(
            _tells_only_after(state, found, after)
            for at, after in counted.items()
            if at != found.watched.vantage
        )
    ]
    return able or [replace(found, growth=None) for found in looks]


def _tells_only_after(state: State, found: Look, at_seconds: float) -> bool:
    """Whether all that grew on a target did so after it was read, and that after `at_seconds`."""
    grown, now = found.growth, found.watched
    if grown is None:
        return True
    was = state.watched.get(now.target.name)
    if grown.is_first_sight or was is None or now.looked_at_seconds is None:
        return False
    if grown.is_restart and was.failure is not None and was.failure.kind in watch.DEAD_KINDS:
        return True  # It began after the last look, at which it was dead.
    return now.looked_at_seconds - grown.seconds > at_seconds


def _witness(model: str, looks: Iterable[Look]) -> str | None:
    """engine, or http where the engine itself counts no outcome."""
    counts: dict[tuple[str, str], float] = {}
    for found in looks:
        counts |= sli.outcomes(model, found.growth.counters) if found.growth else {}
    return sli.witness_of(counts)


def _sum(
    objective: Objective, model: str, looks: Sequence[Look]
) -> tuple[Tally | None, float, str | None]:
    """The tallies of a model's targets together, and why they are not all that there was.

    A dead engine serves nobody, so nothing is missing of it, and what was told to rest is not
    missed while another counts; one that is alive and cannot say leaves the others' numbers
    recorded, and the whole not measured.
    """
    parts: list[Tally] = []
    seconds = 0.0
    dead, missing, resting = None, None, None
    measure = MEASURES.get(objective.indicator)
    for found in looks:
        grown = found.growth or Growth(seconds=0.0, counters={}, histograms={})
        part = None
        is_able = measure is None or vantage.can_give(found.watched, measure)
        if is_able and not found.watched.is_stale:
            part = sli.tally(objective, model, grown, found.slice)
        if part is not None:
            parts.append(part)
            seconds = max(seconds, found.slice.seconds)
            continue
        why = watch.unmeasured(found.watched, measure)
        if found.watched.is_down:
            dead = dead or why
        elif found.watched.failure is not None and found.watched.failure.kind == "disabled":
            resting = resting or why
        else:
            missing = missing or why
    if not parts:
        return None, 0.0, missing or dead or resting
    return Tally(*map(sum, zip(*parts, strict=True))), seconds, missing


# --- GPUs ----------------------------------------------------------------------------------------


def _gpus(
    state: State, reading: GpuReading | None
) -> tuple[dict[str, Gpu], list[tuple[str, str, str]]]:
    """Every GPU known, as it is now; those that did not answer carry a failure.

    One that is missing while others answer is lost. If nobody answers, it is the source that is
    down, and the source says so.
    """
    if reading is None:
        return {}, []
    answered = {gpu.uuid: gpu for gpu in reading.gpus}
    silent = reading.failure or Failure("gone", "the driver no longer lists this GPU")
    gpus = {
        uuid: answered.get(uuid) or Gpu(index=g.index, uuid=uuid, name=g.name, failure=silent)
        for uuid, g in state.gpus.items()
    }
    gpus |= answered
    if reading.failure is not None:
        return gpus, []
    lost = [
        ("gpu_lost", f"gpu {gpu.index}", gpu.failure.message)
        for uuid, gpu in gpus.items()
        if gpu.failure is not None and uuid in state.gpus and _kind(state.gpus[uuid]) != _kind(gpu)
    ]
    return gpus, lost


def _kind(gpu: Gpu) -> str | None:
    return gpu.failure.kind if gpu.failure is not None else None


def _xids(
    state: State, gpus: Iterable[Gpu]
) -> tuple[dict[tuple[str, int], int], dict[tuple[str, int], int], list[tuple[str, str, str]]]:
    """XID totals since the agent started; the reader's own counts begin again when it does."""
    totals, readings = dict(state.xids), dict(state.xid_readings)
    told: list[tuple[str, str, str]] = []
    for gpu in gpus:
        for code, count in gpu.xid_counts.items():
            before = readings.get((gpu.uuid, code), 0)
            more = count - before if count >= before else count
            readings[gpu.uuid, code] = count
            totals[gpu.uuid, code] = totals.get((gpu.uuid, code), 0) + more
            if more > 0:
                told.append(("xid", f"gpu {gpu.index}", f"XID {code} on {gpu.name} {gpu.uuid}"))
    return totals, readings, told
