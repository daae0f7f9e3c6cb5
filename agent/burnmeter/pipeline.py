"""The whole program in one function: what the sources brought -> what leaves. Pure.

`tick` takes the state and one set of readings, and returns the next state and a Snapshot. Read it
third, after the picture in agent/README.md and model.py. Totals only ever rise; rates and ratios
are made last, in views.py, from differences of totals.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeVar

from burnmeter import (
    attribution,
    catalog,
    gpu_watch,
    histograms,
    ledgers,
    made,
    names,
    paces,
    prompts,
    revenue,
    roofline,
    staleness,
    watch,
    worth,
)
from burnmeter.attribution import Portion, Purse
from burnmeter.config_prices import Prices
from burnmeter.gpu_watch import Boards, Told
from burnmeter.ledgers import Before
from burnmeter.model import (
    GpuReading,
    Histogram,
    Key,
    Launch,
    PageReading,
    Pod,
    Process,
    ProcessReading,
    Target,
)
from burnmeter.model_facts.known import Library
from burnmeter.owners import Kin, Tenant
from burnmeter.page import Page
from burnmeter.snapshot import Event
from burnmeter.state import Past, Settings, State
from burnmeter.watch import Look, Terms, Watched
from burnmeter.worth import Tellers

EVENTS_KEPT: Final = 100
GAP_INTERVALS: Final = 3.0
"""A tick longer than so many says nothing of whether there was work in it."""
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
    launches: tuple[Launch, ...] = ()
    """Engines that were started here, near the holders of GPUs."""
    prices: Prices | None = None
    """What the file of prices says; None: there is none, or it was never read."""
    library: Library | None = None
    """What is known of the models; None: nothing that was not known before."""


def tick(state: State, readings: Readings, settings: Settings) -> State:
    """One tick: pages -> growth -> attribution, totals and ledgers -> the next state."""
    looks = _looks(state, readings, settings.terms)
    table = readings.processes
    processes, pods = state.processes, state.pods
    if table is not None and table.failure is None:
        processes, pods = table.processes, table.pods
    seconds = 0.0 if state.at_seconds is None else readings.at_seconds - state.at_seconds
    boards, board_news = gpu_watch.look(state.boards, readings.gpus, seconds)
    gpus = boards.gpus
    held = attribution.holders(state.held, gpus.values(), processes)
    kin = _kin(looks, readings.launches, processes, pods, settings)
    portions = attribution.divide(gpus.values(), held, kin)
    looks = staleness.judge(looks, portions, gpus, settings.terms)
    # What a GPU cost and took before it was first seen is not of our time.
    billed = {uuid: portions[uuid] for uuid in gpus if uuid in state.boards.gpus}
    if seconds > GAP_INTERVALS * settings.terms.interval_seconds:
        billed = attribution.unsure(billed)
    purse = _purse(state, settings, looks, boards, seconds, billed)
    counters, hists = _totals(state, looks)
    cached, cached_ahead = prompts.settle(state.cached_ahead, looks.values())
    library = readings.library or state.library
    now = replace(
        state,
        at_seconds=readings.at_seconds,
        ticks=state.ticks + 1,
        watched={name: found.watched for name, found in looks.items()},
        counters=counters,
        histograms=hists,
        revenue=revenue.earn(state.revenue, looks.values(), settings.books, cached),
        roofline=roofline.accrue(
            _of(_names_held(looks), dict(state.roofline)),
            looks.values(),
            lambda name: roofline.held(gpus.values(), billed, name),
            library,
            lambda found, measure, model: hists.get(_place(found, measure, model)),
            cached,
        ),
        made=made.accrue(state.made, looks.values(), billed.values()),
        paces=paces.accrue(state.paces, looks.values()),
        cached_ahead=cached_ahead,
        library=library,
        purse=purse,
        boards=boards,
        held=held,
        portions=portions,
        processes=processes,
        pods=pods,
    )
    told = [*_target_events(looks, readings), *_gpu_events(state, now, board_news, readings)]
    tellers = worth.tellers(looks.values(), settings.objectives)
    now = replace(now, past=_past(state.past, now, settings.recent_seconds, tellers))
    return replace(
        now,
        kept=ledgers.keep(
            Before(state.kept, state.watched, state.at_seconds),
            looks.values(),
            readings.at_seconds,
            settings.objectives,
            worth.told(now, settings, tellers),
        ),
        events=(*state.events, *told)[-EVENTS_KEPT:],
    )


def _purse(
    state: State,
    settings: Settings,
    looks: Mapping[str, Look],
    boards: Boards,
    seconds: float,
    billed: Mapping[str, Sequence[Portion]],
) -> Purse:
    """The purse after one more tick, without what need not be told apart any more."""
    gpus = [boards.gpus[uuid] for uuid in billed]
    prices = {gpu.uuid: settings.prices.get(gpu.name) for gpu in gpus}
    purse = attribution.accrue(state.purse, seconds, gpus, billed, prices, boards.meters.energy)
    purse = attribution.fold(
        purse, {name: found.watched.tenants_held for name, found in looks.items()}
    )
    used = {portion.share for of in billed.values() for portion in of}
    return attribution.bound(purse, settings.shares, used)


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
        hit = {portion.share.model for portion in had} - {""}
        if kind == "gpu_back":
            lost = (e for e in reversed(before.events) if (e.kind, e.gpu) == ("gpu_lost", uuid))
            hit |= set(next((event.models for event in lost), ()))
        yield Event(
            timestamp_seconds=readings.timestamp_seconds,
            kind=kind,
            subject=f"GPU {gpu.index}",
            text=text,
            models=tuple(sorted(hit)),
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


def _kin(
    looks: Mapping[str, Look],
    launches: Iterable[Launch],
    processes: Mapping[int, Process],
    pods: Mapping[str, Pod],
    settings: Settings,
) -> Kin:
    """All that says whose a process is; launches by our names for their models."""
    ours = settings.terms.model_names
    return Kin(
        processes=processes,
        tenants=_tenants(looks),
        launches=[
            one._replace(model=names.cut(ours.get(one.model, one.model))) for one in launches
        ],
        pods=pods,
        rules=settings.owners,
    )


def _tenants(looks: Mapping[str, Look]) -> list[Tenant]:
    """Engines that are there: of one that has ended, another process may have the number now."""
    return [
        Tenant(
            name,
            found.watched.tenant,
            found.watched.target.pid,
            _is_busy(found),
            found.watched.target.worker_roots,
            found.watched.vantage == "gateway",
        )
        for name, found in looks.items()
        if found.watched.gone_since_seconds is None
    ]


def _is_busy(found: Look) -> bool | None:
    """Working at this look: requests run, by the engine's word. None: not known.

    Not whether any ran since the last look: short ones would make all of their ticks busy. Looks
    are samples, and their mean is the share of time with work. Who does not say how many run is
    busy while tokens come.
    """
    running = found.watched.running_here
    if running is not None:
        return running > 0
    if not found.watched.is_up or found.growth is None:
        return None
    here = found.growth.here
    grown = here if here is not None else found.growth.counters
    tokens = [v for key, v in grown.items() if key.measure == "tokens_total"]
    return sum(tokens) > 0 if tokens else None


# --- totals --------------------------------------------------------------------------------------


@lru_cache(maxsize=50_000)
def addressed(key: Key, page_engine: str, page_vantage: str, target: str) -> Key:
    """The key with all that says where it was counted.

    What a gateway or a probe sees has names of its own, so that no sum over a name can take one
    request twice.
    """
    labels = sorted([*key.labels, ("engine", page_engine), ("target", target)])
    return Key(catalog.seen_from(page_vantage, key.measure), tuple(labels))


def _of(held: Mapping[str, Mapping[str, float]], totals: dict[Key, T]) -> dict[Key, T]:
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
    held = _names_held(looks)
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
        for key, grown in (found.growth.here or {}).items():
            if key.measure == "tokens_total":
                ours = Key("node_tokens_total", key.labels)
                there = addressed(ours, page.engine, page.vantage, target)
                counters[there] = counters.get(there, 0.0) + grown
        for key, more in found.growth.histograms.items():
            there = addressed(key, page.engine, page.vantage, target)
            old = hists.get(there)
            # An engine that came back with other buckets begins again, as its own page does: what
            # was counted in the old ones cannot be told in the new.
            begins = old is None or (found.growth.is_restart and old.bounds != more.bounds)
            hists[there] = more if old is None or begins else histograms.add(old, more)
    return counters, hists


def _place(found: Look, measure: str, model: str) -> Key:
    """Under what a total of one look's target stands."""
    page = found.watched.page
    assert page is not None, "a look with growth has a page"
    key = Key(measure, (("model", model),))
    return addressed(key, page.engine, page.vantage, found.watched.target.name)


def _names_held(looks: Mapping[str, Look]) -> dict[str, Mapping[str, float]]:
    return {name: found.watched.names_held for name, found in looks.items()}


def _past(
    past: Sequence[Past], now: State, recent_seconds: float, tellers: Mapping[str, Tellers]
) -> tuple[Past, ...]:
    assert now.at_seconds is not None, "a tick sets the time"
    mark = Past(
        at_seconds=now.at_seconds,
        counters=now.counters,
        histograms=now.histograms,
        spends=now.purse.spends,
        revenue=now.revenue,
        roofline=now.roofline,
        made=now.made,
        paces=now.paces,
        whole=frozenset((model, one.source) for model, one in tellers.items() if one.is_whole),
    )
    oldest = now.at_seconds - recent_seconds
    kept = [old for old in past if old.at_seconds >= oldest - 1e-6]
    return (*kept, mark)
