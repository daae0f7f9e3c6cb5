"""The whole program in one function: what the sources brought -> what leaves. Pure.

`tick` takes the state and one set of readings, and returns the next state and a Snapshot. Read it
third, after the picture in agent/README.md and model.py. Totals only ever rise; rates and ratios
are made last, in views.py, from differences of totals.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, TypeVar

from burnmeter import attribution, catalog, gpu_watch, histograms, ledgers, staleness, watch
from burnmeter.attribution import Portion, Purse, Tenant
from burnmeter.gpu_watch import Boards, Told
from burnmeter.ledgers import Before, Kept
from burnmeter.model import (
    GpuReading,
    Histogram,
    Key,
    Objective,
    PageReading,
    Process,
    ProcessReading,
    Share,
    Spend,
    Target,
)
from burnmeter.page import Page
from burnmeter.snapshot import Event
from burnmeter.watch import Look, Terms, Watched

EVENTS_KEPT: Final = 100
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
    kept: Mapping[tuple[str, str], Kept] = field(default_factory=dict)
    """(objective, model) -> what it has come to."""
    purse: Purse = field(default_factory=Purse)
    boards: Boards = field(default_factory=Boards)
    portions: Mapping[str, tuple[Portion, ...]] = field(default_factory=dict)
    """GPU's uuid -> who has it."""
    processes: Mapping[int, Process] = field(default_factory=dict)
    past: tuple[Past, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def shown(self) -> Mapping[tuple[str, str], Kept]:
        """What is kept of the models that some page names now."""
        return {name: one for name, one in self.kept.items() if not one.is_shelved}


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
    seconds = 0.0 if state.at_seconds is None else readings.at_seconds - state.at_seconds
    boards, board_news = gpu_watch.look(state.boards, readings.gpus, seconds)
    gpus = boards.gpus
    portions = attribution.divide(list(gpus.values()), _tenants(looks), processes)
    looks = staleness.judge(looks, portions, gpus, settings.terms)
    prices = {uuid: settings.dollars_per_hour.get(gpu.name) for uuid, gpu in gpus.items()}
    joules = {uuid: boards.meters.joules(uuid) for uuid in gpus}
    purse = attribution.accrue(state.purse, seconds, list(gpus.values()), portions, prices, joules)
    purse = attribution.fold(
        purse, {name: found.watched.tenants_held for name, found in looks.items()}
    )
    counters, hists = _totals(state, looks)
    kept = ledgers.keep(
        Before(state.kept, state.watched, state.at_seconds),
        looks.values(),
        readings.at_seconds,
        settings.objectives,
    )
    now = replace(
        state,
        at_seconds=readings.at_seconds,
        ticks=state.ticks + 1,
        watched={name: found.watched for name, found in looks.items()},
        counters=counters,
        histograms=hists,
        kept=kept,
        purse=purse,
        boards=boards,
        portions=portions,
        processes=processes,
    )
    told = [*_target_events(looks, readings), *_gpu_events(state, now, board_news, readings)]
    return replace(
        now,
        past=_past(state.past, now, settings.recent_seconds),
        events=(*state.events, *told)[-EVENTS_KEPT:],
    )


def _target_events(looks: Mapping[str, Look], readings: Readings) -> Iterable[Event]:
    for name, found in looks.items():
        for kind, text in found.events:
            yield Event(
                timestamp_seconds=readings.timestamp_seconds,
                kind=kind,
                subject=name,
                text=text,
                models=found.watched.models,
            )


def _gpu_events(
    before: State, now: State, news: Iterable[Told], readings: Readings
) -> Iterable[Event]:
    """What happened to GPUs, with the models that had them before or have them now."""
    for kind, uuid, text in news:
        gpu = now.boards.gpus[uuid]
        had = [*before.portions.get(uuid, ()), *now.portions.get(uuid, ())]
        yield Event(
            timestamp_seconds=readings.timestamp_seconds,
            kind=kind,
            subject=f"gpu {gpu.index}",
            text=f"{text} ({gpu.name}, {uuid})",
            models=tuple(sorted({portion.share.model for portion in had} - {""})),
            gpu=uuid,
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
    if found.is_resting and running is not None:
        return running > 0  # as far as its last page goes
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
