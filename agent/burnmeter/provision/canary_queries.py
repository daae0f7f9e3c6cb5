"""What a canary asks Prometheus: each side's counts, slice by slice, for canary.py.

The texts by which a side is counted are canary_promql.py's, too, which is all of it as one query.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from burnmeter.catalog import WITNESSES
from burnmeter.provision.canary import Side, Slice
from burnmeter.provision.conventions import duration, number
from burnmeter.provision.prometheus_api import Prometheus, Series

BUCKETS: Final = {"ttft": "burnmeter_ttft_seconds", "tpot": "burnmeter_tpot_seconds"}
REQUESTS: Final = "burnmeter_requests_total"
TOKENS: Final = "burnmeter_tokens_total"
SPENT: Final = {"cost": "burnmeter_cost_dollars_total", "energy": "burnmeter_energy_joules_total"}
SLOW_RATIO: Final = 0.1
"""Where nobody names a threshold, the bound is taken at which about so many are slower."""
Points = Mapping[float, float]
"""Time of a slice's end -> value."""


class Sides(NamedTuple):
    """Matchers of the two sides, without braces."""

    baseline: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Found:
    """Slices of one measure, or why there are none."""

    slices: tuple[Slice, ...] = ()
    reason: str | None = None
    what: str = ""
    """What exactly was counted, for people."""


class Texts(NamedTuple):
    """One side over one slice, as PromQL without labels. `good`: the part counts those instead."""

    part: str
    whole: str
    is_good: bool = False


def increase(metric: str, where: str, seconds: float) -> str:
    """A counter's growth over one slice, all series together. It knows of restarts."""
    return f"sum(increase({metric}{{{where}}}[{duration(seconds)}]))"


def bucket_matcher(threshold_seconds: float) -> str:
    """A bound as any version of Prometheus may have written it: 1 or 1.0."""
    written = [number(threshold_seconds), repr(threshold_seconds)]
    return 'le=~"{}"'.format("|".join(dict.fromkeys(w.replace(".", "[.]") for w in written)))


def texts(
    measure: str, where: str, seconds: float, threshold_seconds: float | None, witness: str
) -> Texts:
    """One side's counts of one measure."""
    if measure in BUCKETS:
        assert threshold_seconds is not None, "a latency is compared at a threshold"
        metric = BUCKETS[measure]
        below = f"{where},{bucket_matcher(threshold_seconds)}"
        good = increase(f"{metric}_bucket", below, seconds)
        return Texts(good, increase(f"{metric}_count", where, seconds), is_good=True)
    if measure == "errors":
        told = increase(REQUESTS, f'{where},outcome="ok",counted_by="{witness}"', seconds)
        seen = f"max({failed(where, seconds)})"
        # Many engines show no counter before its first event: of a side, one of the two may lack.
        good, bad = f"({told} or {seen} * 0)", f"({seen} or {told} * 0)"
        return Texts(good, f"({good} + {bad})", is_good=True)
    tokens = increase(TOKENS, f'{where},kind="generated"', seconds)
    return Texts(increase(SPENT[measure], where, seconds), tokens)


def failed(where: str, seconds: float) -> str:
    """Failures by witness. Several may have seen the same: of a slice, the largest is taken."""
    which = f'{where},outcome="error",counted_by!="estimate"'
    return f"sum by (counted_by) (increase({REQUESTS}{{{which}}}[{duration(seconds)}]))"


# --- slices, for canary.py -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Where slices come from. Their ends are multiples of their length, as in a subquery."""

    prometheus: Prometheus
    until_seconds: float
    seconds: float
    slice_seconds: float

    @property
    def last_seconds(self) -> float:
        """End of the last whole slice."""
        return math.floor(self.until_seconds / self.slice_seconds) * self.slice_seconds

    def range(self, query: str) -> tuple[Series, ...]:
        """A query at the end of each slice."""
        count = round(self.seconds / self.slice_seconds)
        return self.prometheus.range(
            query,
            start_seconds=self.last_seconds - (count - 1) * self.slice_seconds,
            end_seconds=self.last_seconds,
            step_seconds=self.slice_seconds,
        )

    def points(self, query: str) -> Points:
        """Of a query that gives one series at most."""
        return {at: value for series in self.range(query) for at, value in series.points}

    def series_count(self, query: str) -> float:
        """How many series a vector has."""
        found = self.prometheus.instant(f"count({query})", self.until_seconds)
        return found[0].points[0][1] if found else 0.0

    def seen(self, metric: str, where: str) -> str:
        """Series that had a sample in the window, as PromQL."""
        return f"last_over_time({metric}{{{where}}}[{duration(self.seconds)}])"


def shared_series(window: Window, measure: str, sides: Sides) -> int:
    """How many series of a measure are on both sides, which none may be."""
    metric = whole_metric(measure)
    both = " and ".join(window.seen(metric, where) for where in sides)
    return int(window.series_count(both))


def whole_metric(measure: str) -> str:
    """The metric by which a measure's events are counted."""
    if measure in BUCKETS:
        return f"{BUCKETS[measure]}_count"
    return REQUESTS if measure == "errors" else TOKENS


def fetch(window: Window, measure: str, sides: Sides, threshold_seconds: float | None) -> Found:
    """The slices of one measure in which both sides had events."""
    if measure in BUCKETS:
        return _latencies(window, measure, sides, threshold_seconds)
    witness = WITNESSES[0]
    if measure == "errors":
        common = _common_witness(window, sides)
        if isinstance(common, Found):
            return common
        witness = common
    counted = []
    for where, side in zip(sides, Sides._fields, strict=True):
        asked = texts(measure, where, window.slice_seconds, None, witness)
        part, whole = window.points(asked.part), window.points(asked.whole)
        if asked.is_good:
            part = {at: whole[at] - value for at, value in part.items() if at in whole}
        for metric, points in ((whole_metric(measure), whole), (SPENT.get(measure), part)):
            if metric is not None and not points:
                return Found(reason=_absent(window, metric, where, side))
        counted.append((part, whole))
    what = f"as counted by {witness}" if measure == "errors" else "by generated tokens"
    return Found(_joined(counted[0], counted[1]), what=what)


def _joined(base: tuple[Points, Points], cand: tuple[Points, Points]) -> tuple[Slice, ...]:
    """Slices that both sides have, and in which both had events."""
    times = sorted(set(base[0]) & set(base[1]) & set(cand[0]) & set(cand[1]))
    return tuple(
        Slice(at, Side(base[0][at], base[1][at]), Side(cand[0][at], cand[1][at]))
        for at in times
        if base[1][at] > 0 and cand[1][at] > 0
    )


def _absent(window: Window, metric: str, where: str, side: str) -> str:
    if window.series_count(window.seen(metric, where)) > 0:
        text = f"the {side} has no two samples of {metric} in any slice"
        return f"{text}; make --slice four times the scrape interval"
    return f"the {side} has no {metric}{{{where}}}"


def _common_witness(window: Window, sides: Sides) -> str | Found:
    """Who counts successes on both sides; two witnesses see different failures.

    Of a side that has failures only, any witness may be asked: it has no success of any.
    """
    by_side: list[set[str]] = []
    for where, side in zip(sides, Sides._fields, strict=True):
        which = f'{where},outcome="ok"'
        query = f"sum by (counted_by) (increase({REQUESTS}{{{which}}}[{duration(window.seconds)}]))"
        names = _witnesses(window, query)
        if not names and not _witnesses(window, failed(where, window.seconds)):
            text = f"nobody counts the {side}'s successes: no {REQUESTS}{{{which}}}"
            return Found(reason=text)
        by_side.append(names)
    told = [names for names in by_side if names] or [set(WITNESSES)]
    common = [one for one in WITNESSES if all(one in names for names in told)]
    if common:
        return common[0]
    who = [", ".join(sorted(names)) for names in by_side]
    return Found(reason=f"{who[0]} counts the baseline's requests, {who[1]} the candidate's")


def _witnesses(window: Window, query: str) -> set[str]:
    """Who counts what a query asks for."""
    found = window.prometheus.instant(query, window.until_seconds)
    return {series.labels.get("counted_by", "") for series in found}


def _latencies(
    window: Window, measure: str, sides: Sides, threshold_seconds: float | None
) -> Found:
    metric, slice_text = BUCKETS[measure], duration(window.slice_seconds)
    counts: list[Points] = []
    buckets: list[dict[float, dict[float, float]]] = []
    for where, side in zip(sides, Sides._fields, strict=True):
        whole = window.points(increase(f"{metric}_count", where, window.slice_seconds))
        if not whole:
            return Found(reason=_absent(window, f"{metric}_count", where, side))
        query = f"sum by (le) (increase({metric}_bucket{{{where}}}[{slice_text}]))"
        counts.append(whole)
        buckets.append(_by_bound(window.range(query)))
    common = sorted(one for one in buckets[0] if one in buckets[1] and 0 < one < math.inf)
    if not common:
        return Found(reason="the two sides have no bucket bound in common")
    by_bound = {
        bound: _joined(*(_slow(w, b[bound]) for w, b in zip(counts, buckets, strict=True)))
        for bound in common
    }
    bound = _nearest(by_bound, threshold_seconds)
    what = f"slower than {number(bound)} s"
    if threshold_seconds is not None and not math.isclose(bound, threshold_seconds):
        what += f", the common bound next to {number(threshold_seconds)} s"
    return Found(by_bound[bound], what=what)


def _by_bound(found: tuple[Series, ...]) -> dict[float, dict[float, float]]:
    """Bound -> slice -> events up to it."""
    by_bound: dict[float, dict[float, float]] = {}
    for series in found:
        points = by_bound.setdefault(float(series.labels["le"]), {})
        for at, value in series.points:
            points[at] = points.get(at, 0.0) + value
    return by_bound


def _slow(whole: Points, good: Points) -> tuple[Points, Points]:
    return {at: whole[at] - value for at, value in good.items() if at in whole}, whole


def _nearest(by_bound: Mapping[float, tuple[Slice, ...]], wanted: float | None) -> float:
    """The bound next to what is wanted, else that at which nearest to a tenth are slower.

    Both sides together choose it, so that it favours neither.
    """
    if wanted is not None:
        return min(by_bound, key=lambda bound: abs(math.log(bound / wanted)))

    def off(bound: float) -> float:
        sides = [side for one in by_bound[bound] for side in one[1:]]
        total = math.fsum(side.whole for side in sides)
        slow = math.fsum(side.part for side in sides)
        return abs(slow / total - SLOW_RATIO) if total > 0 else math.inf

    return min(by_bound, key=off)
