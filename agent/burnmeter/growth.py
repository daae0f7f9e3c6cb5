"""Two pages of one target -> what happened between them. Pure.

A counter on a page means nothing by itself; what it grew by does. This module knows the ways in
which that goes wrong: the engine restarted, a rank left or came back, a series was born late, we
see a target for the first time, its buckets changed, it died with requests in flight. It never
yields a negative number, and it never counts twice what an engine counted once.

Who restarted is asked in this order: the page's process start time, then the process's id on this
machine, then whether counters fell. The start time that the kernel gives is not asked: it moves
with the wall clock, and what looks like a restart would count a whole page twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import inf
from typing import Final, NamedTuple, TypeVar

from burnmeter import histograms
from burnmeter.errors import PageError
from burnmeter.model import EnginePage, Growth, Histogram, Key, Labels

T = TypeVar("T")
START_TOLERANCE_SECONDS: Final = 1.0
"""Starts less than this apart are one start: no engine is up again within a second."""
FALLEN_RATIO: Final = 0.75
"""Of several ranks some may restart alone; where more series than this fell, the engine did."""
OPEN: Final = "open_requests"
HERE: Final = (
    *("tokens_total", "engine_steps_total"),
    *("estimated_operations_total", "estimated_moved_bytes_total"),
)
"""What is asked of the ranks on this machine alone: what its GPUs are paid for."""
PROCESSES_KEPT: Final = 8
"""Others that are remembered per target."""
PARTS_KEPT: Final = 10_000
"""Departed series remembered per target, so that a rank that returns is not counted again."""


class Identity(NamedTuple):
    """Which process answered. None: not known."""

    page_started_timestamp_seconds: float | None
    pid: int | None
    pid_started_timestamp_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outstanding:
    """Requests past their first token that no finish has accounted for, of one model."""

    requests: float
    excess: float
    """Of these, more than the engine says it holds, at the last look."""


NOTHING_OUTSTANDING: Final = Outstanding(requests=0.0, excess=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is remembered of one target between two looks."""

    at_seconds: float
    identity: Identity
    counters: Mapping[Key, Mapping[str, float]]
    """Keys are without the model: a series stays itself when it is named after another model."""
    histograms: Mapping[Key, Mapping[str, Histogram]]
    in_flight: Mapping[str, float]
    """Model -> running + waiting at the last look."""
    outstanding: Mapping[str, Outstanding] = field(default_factory=dict)
    others: Mapping[float, "Seen"] = field(default_factory=dict)
    """When they began -> what is remembered of other processes that have answered here."""


def grow(
    seen: Seen | None,
    page: EnginePage,
    *,
    at_seconds: float,
    identity: Identity,
    watching_since_timestamp_seconds: float | None,
    interval_seconds: float,
    cancelled_estimate: tuple[str, str] | None = None,
) -> tuple[Seen, Growth]:
    """What happened on a target since `seen`, and what to remember.

    At first sight nothing has happened yet, unless the process is younger than our watch: then all
    that it has counted happened while we were there to see it.
    """
    started = identity.page_started_timestamp_seconds
    if started is None:
        started = identity.pid_started_timestamp_seconds
    is_new = seen is None
    if seen is None:
        born_under_watch = (
            started is not None
            and watching_since_timestamp_seconds is not None
            and started > watching_since_timestamp_seconds
        )
        seen = (
            _blank(at_seconds, identity)
            if born_under_watch
            else _as_seen(page, at_seconds, cancelled_estimate)
        )
    restarted = not is_new and _has_restarted(seen, page, identity)
    base = replace(seen, counters={}, histograms={}, outstanding={}) if restarted else seen
    older = _older(seen, page, watching_since_timestamp_seconds) if restarted else None
    if older is not None:
        base, restarted = older, False
    counters = {key: _scalar_growth(base, key, parts) for key, parts in page.counters.items()}
    hists = {key: _histogram_growth(base, key, parts) for key, parts in page.histograms.items()}
    if restarted:
        counters |= _lost(seen)
    outstanding, cancelled = _cancelled(base, page, hists, cancelled_estimate)
    counters |= cancelled
    seconds = at_seconds - seen.at_seconds
    now = Seen(
        at_seconds=at_seconds,
        identity=_merged(seen.identity, identity, restarted),
        counters=_remember(base.counters, _by_series(page.counters)),
        histograms=_remember(base.histograms, _by_series(page.histograms)),
        in_flight=in_flight(page.gauges),
        outstanding=outstanding,
        others=_others(seen, page),
    )
    return now, Growth(
        seconds=seconds,
        counters=counters,
        histograms={key: value for key, value in hists.items() if value is not None},
        is_first_sight=is_new,
        is_restart=restarted,
        gap_seconds=seconds - interval_seconds if seconds > 2 * interval_seconds else 0.0,
        here=_here(base, page),
    )


def _here(base: Seen, page: EnginePage) -> dict[Key, float] | None:
    """What the parts on this machine did, if others are on another."""
    ours = page.parts_here
    if ours is None:
        return None
    return {
        key: _scalar_growth(base, key, {p: v for p, v in parts.items() if p in ours})
        for key, parts in page.counters.items()
        if key.measure in HERE
    }


def flow(
    seen: Seen | None,
    page: EnginePage,
    *,
    at_seconds: float,
    identity: Identity,
    interval_seconds: float,
) -> tuple[Seen, Growth]:
    """As `grow`, of a page whose numbers are rates per second: rate x the time that it covers.

    What happened in a gap is not known: a rate speaks for two intervals at most.
    """
    seconds = 0.0 if seen is None else at_seconds - seen.at_seconds
    covered = min(seconds, 2 * interval_seconds)
    now = replace(_blank(at_seconds, identity), in_flight=in_flight(page.gauges))
    return now, replace(
        over(page, covered),
        seconds=seconds,
        is_first_sight=seen is None,
        gap_seconds=seconds - covered,
    )


def over(page: EnginePage, seconds: float) -> Growth:
    """What a page of rates per second comes to in so long a time."""
    merged = {key: merge_parts(parts) for key, parts in page.histograms.items()}
    return Growth(
        seconds=seconds,
        counters={key: sum(parts.values()) * seconds for key, parts in page.counters.items()},
        histograms={k: histograms.scale(h, seconds) for k, h in merged.items() if h is not None},
    )


def between(
    before: EnginePage | None, after: EnginePage, estimate: tuple[str, str] | None
) -> Growth:
    """What happened between two pages that are all we have; since the engine began if only one.

    Here no second look will come to confirm an excess, so it counts at once. Raises PageError if
    `after` is the older one, which only a person can mix up.
    """
    if before is not None and _is_older(after, before):
        text = "the first page is older than the one given to --since; swap them"
        raise PageError("not_metrics", text)
    identity = Identity(after.started_timestamp_seconds, None, None)
    seen = _blank(0.0, identity)
    if before is not None:
        began = Identity(before.started_timestamp_seconds, None, None)
        seen = replace(_as_seen(before, 0.0, estimate), identity=began)
    hasty = {
        model: replace(seen.outstanding.get(model, NOTHING_OUTSTANDING), excess=inf)
        for model in in_flight(after.gauges)
    }
    return grow(
        replace(seen, outstanding=hasty),
        after,
        at_seconds=0.0,
        identity=identity,
        watching_since_timestamp_seconds=None,
        interval_seconds=0.0,
        cancelled_estimate=estimate,
    )[1]


def bury(seen: Seen, page: EnginePage) -> tuple[Seen, Growth]:
    """The target's process is gone: what was in flight is lost. Calling it twice loses nothing.

    `page` is the last one: what it counted of requests has grown by nothing, which is more than not
    knowing.
    """
    still = {key: 0.0 for key in page.counters if key.measure == "requests_total"}
    growth = Growth(seconds=0.0, counters={**still, **_lost(seen)}, histograms={})
    return replace(seen, in_flight={}, outstanding={}), growth


def in_flight(gauges: Mapping[Key, float]) -> dict[str, float]:
    """Model -> requests that it holds, as far as it says: open ones, else running + waiting.

    Where an HTTP server counts them, its count is as of now; a scheduler's is of its last batch.
    """
    found: dict[str, float] = {}
    for key, value in gauges.items():
        if key.measure in ("running_requests", "waiting_requests"):
            model = model_of(key.labels)
            found[model] = found.get(model, 0.0) + value
    return found | {model_of(k.labels): v for k, v in gauges.items() if k.measure == OPEN}


def model_of(labels: Labels) -> str:
    """The value of the label `model`."""
    return next((value for name, value in labels if name == "model"), "")


def by_model(grown: Growth) -> dict[str, Growth]:
    """What happened to each model, so that nobody looks through all for one."""
    counters: dict[str, dict[Key, float]] = {}
    hists: dict[str, dict[Key, Histogram]] = {}
    for key, value in grown.counters.items():
        counters.setdefault(model_of(key.labels), {})[key] = value
    for key, histogram in grown.histograms.items():
        hists.setdefault(model_of(key.labels), {})[key] = histogram
    return {
        model: replace(grown, counters=counters.get(model, {}), histograms=hists.get(model, {}))
        for model in counters.keys() | hists.keys()
    }


def merge_parts(parts: Mapping[str, Histogram]) -> Histogram | None:
    """All ranks of one histogram together."""
    merged: Histogram | None = None
    for part in parts.values():
        merged = part if merged is None else histograms.add(merged, part)
    return merged


# --- who restarted -------------------------------------------------------------------------------


def _has_restarted(seen: Seen, page: EnginePage, identity: Identity) -> bool:
    old, new = seen.identity, identity
    before, after = old.page_started_timestamp_seconds, new.page_started_timestamp_seconds
    if before is not None and after is not None:
        return abs(after - before) > START_TOLERANCE_SECONDS
    if old.pid is not None and new.pid is not None and old.pid != new.pid:
        return True
    return _most_fell(seen, page)


def _older(seen: Seen, page: EnginePage, watching_since: float | None) -> Seen | None:
    """What was known of the process that answers now, if it is not a new one.

    Several may share an address: the replicas of a service, a gateway's workers.
    """
    began = page.started_timestamp_seconds
    if began is None:
        return None
    for other, known in seen.others.items():
        if abs(began - other) <= START_TOLERANCE_SECONDS:
            return known
    if watching_since is not None and began <= watching_since:
        return replace(_as_seen(page, seen.at_seconds, None), outstanding={})
    return None


def _others(seen: Seen, page: EnginePage) -> Mapping[float, Seen]:
    """With the process that answered last, if another does now; the latest that left."""
    began, last = page.started_timestamp_seconds, seen.identity.page_started_timestamp_seconds
    if began is None or last is None or abs(began - last) <= START_TOLERANCE_SECONDS:
        return seen.others
    kept = {at: one for at, one in seen.others.items() if at != last}
    kept[last] = replace(seen, outstanding={}, others={})
    return dict(list(kept.items())[-PROCESSES_KEPT:])


def _most_fell(seen: Seen, page: EnginePage) -> bool:
    """Without an identity: some falls may be some ranks, most of them falling is a new process."""
    pairs = _compared(_by_series(page.counters), seen.counters)
    return sum(value < old for value, old in pairs) > FALLEN_RATIO * len(pairs)


def _is_older(page: EnginePage, other: EnginePage) -> bool:
    """Two pages of one process, whose counters cannot fall. Without start times nobody knows.

    What stands still says nothing here; a rank that restarted alone is not most of what moved.
    """
    began, other_began = page.started_timestamp_seconds, other.started_timestamp_seconds
    if began is None or other_began is None or abs(began - other_began) > START_TOLERANCE_SECONDS:
        return False
    pairs = _compared(_by_series(page.counters), _by_series(other.counters))
    moved = [value < old for value, old in pairs if value != old]
    return sum(moved) > FALLEN_RATIO * len(moved)


def _compared(
    now: Mapping[Key, Mapping[str, float]], then: Mapping[Key, Mapping[str, float]]
) -> list[tuple[float, float]]:
    """What each counter says now and said then, of those that had counted anything."""
    return [
        (value, old)
        for key, parts in now.items()
        for part, value in parts.items()
        if (old := then.get(key, {}).get(part, 0.0)) > 0
    ]


def _merged(old: Identity, new: Identity, restarted: bool) -> Identity:
    """Keep what was known and is not said now; a restart forgets it.

    A page may be newer than the table of processes, which then still names the process before.
    """
    if restarted:
        return new._replace(pid=None) if new.pid == old.pid else new
    return Identity(
        _newest(old.page_started_timestamp_seconds, new.page_started_timestamp_seconds),
        new.pid if new.pid is not None else old.pid,
        _newest(old.pid_started_timestamp_seconds, new.pid_started_timestamp_seconds),
    )


def _newest(old: float | None, new: float | None) -> float | None:
    return new if new is not None else old


# --- what grew -----------------------------------------------------------------------------------


@lru_cache(maxsize=50_000)
def _series(key: Key) -> Key:
    """The key without its model: what its parts were called before the model had another name."""
    return Key(key.measure, tuple(pair for pair in key.labels if pair[0] != "model"))


def _by_series(values: Mapping[Key, Mapping[str, T]]) -> dict[Key, Mapping[str, T]]:
    found: dict[Key, dict[str, T]] = {}
    for key, parts in values.items():
        found.setdefault(_series(key), {}).update(parts)
    return dict(found)


def _scalar_growth(base: Seen, key: Key, parts: Mapping[str, float]) -> float:
    """A part that fell began again; one that is new on a page we knew was born at 0."""
    old = base.counters.get(_series(key), {})
    grown = 0.0
    for part, value in parts.items():
        before = old.get(part, 0.0)
        grown += value - before if value >= before else value
    return grown


def _histogram_growth(base: Seen, key: Key, parts: Mapping[str, Histogram]) -> Histogram | None:
    old = base.histograms.get(_series(key), {})
    return merge_parts(
        {
            part: histograms.since(histogram, old[part]) if part in old else histogram
            for part, histogram in parts.items()
        }
    )


def _remember(
    old: Mapping[Key, Mapping[str, T]], new: Mapping[Key, Mapping[str, T]]
) -> dict[Key, Mapping[str, T]]:
    """The page's series, and those that left it (a rank that comes back goes on from there).

    Where there is no room for all, the keys with most give way, and forget what left first.
    """
    departed = {
        key: gone
        for key, parts in old.items()
        if (gone := [part for part in parts if part not in new.get(key, {})])
    }
    kept: dict[Key, Mapping[str, T]] = {}
    room = PARTS_KEPT
    for taken, key in enumerate(sorted(departed, key=lambda key: len(departed[key]))):
        share = room // (len(departed) - taken)
        last = departed[key][-share:] if share else []
        room -= len(last)
        # They stand before what is on the page, so their order stays that in which they left.
        kept[key] = {**{part: old[key][part] for part in last}, **new.get(key, {})}
    return {**new, **kept}


def _blank(at_seconds: float, identity: Identity) -> Seen:
    return Seen(at_seconds=at_seconds, identity=identity, counters={}, histograms={}, in_flight={})


def _as_seen(page: EnginePage, at_seconds: float, measures: tuple[str, str] | None) -> Seen:
    """The page itself as the past: nothing has happened yet."""
    held = in_flight(page.gauges)
    return Seen(
        at_seconds=at_seconds,
        identity=Identity(None, None, None),
        counters=_by_series(page.counters),
        histograms=_by_series(page.histograms),
        in_flight=held,
        outstanding={model: _begun(page, model, held[model], measures) for model in held},
    )


# --- what left no trace --------------------------------------------------------------------------


def _begun(
    page: EnginePage, model: str, held: float, measures: tuple[str, str] | None
) -> Outstanding:
    """Requests past their first token at first sight.

    Of those that the engine holds, some wait for theirs. All that ever had one and no finish are
    either these or were cancelled before: at most that many, so that no cancellation is invented.
    """
    labels = (("model", model),)
    ends = [merge_parts(page.histograms.get(Key(name, labels), {})) for name in measures or ()]
    totals = [histogram.total for histogram in ends if histogram is not None]
    unfinished = max(0.0, totals[0] - totals[1]) if len(totals) == 2 else 0.0
    return Outstanding(requests=min(held, unfinished), excess=0.0)


def _outcome(model: str, outcome: str) -> Key:
    labels = (("counted_by", "estimate"), ("model", model), ("outcome", outcome))
    return Key("requests_total", labels)


def _lost(seen: Seen) -> dict[Key, float]:
    return {_outcome(m, "lost"): held for m, held in seen.in_flight.items() if held > 0}


def _cancelled(
    base: Seen,
    page: EnginePage,
    grown: Mapping[Key, Histogram | None],
    measures: tuple[str, str] | None,
) -> tuple[dict[str, Outstanding], dict[Key, float]]:
    """First tokens without a finish, beyond what the engine still holds: requests cancelled.

    The engine's gauge is as old as its last step, and a preempted request waits though it has had
    its first token. So running + waiting are both taken as held, and an excess counts only when
    two looks in a row saw it. The estimate is late rather than wrong.
    """
    if measures is None:
        return {}, {}
    first, finished = measures
    outstanding: dict[str, Outstanding] = {}
    cancelled: dict[Key, float] = {}
    for model, held in in_flight(page.gauges).items():
        labels = (("model", model),)
        begun, ended = grown.get(Key(first, labels)), grown.get(Key(finished, labels))
        if begun is None or ended is None:
            continue
        was = base.outstanding.get(model, NOTHING_OUTSTANDING)
        requests = max(0.0, was.requests + begun.total - ended.total)
        excess = max(0.0, requests - held)
        counted = min(was.excess, excess)
        outstanding[model] = Outstanding(requests=requests - counted, excess=excess - counted)
        cancelled[_outcome(model, "cancelled")] = counted
    return outstanding, cancelled
