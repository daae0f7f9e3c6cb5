"""What alerts would have done: counts over time -> when each fired and cleared, budget. Pure.

It asks nobody. The arithmetic is that of the rules: an alert is no more than what they would have
seen at each evaluation, gaps and all. Surprising: a moment without a point is NaN here, as in
Prometheus, because every comparison with it is false, there as here.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan, nan
from typing import Final, NamedTuple

from burnmeter.model import Objective
from burnmeter.provision.conventions import SEVERITIES
from burnmeter.provision.counted import BASE_SECONDS, RAW_SECONDS, least_bad, spans_seconds
from burnmeter.slo import Tier, tiers
from burnmeter.units import SECONDS_PER_DAY

Points = Sequence[float]
"""One number for each moment of a grid; NaN where there is none."""
WEEK_SECONDS: Final = 7 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The moments at which the alerts are looked at, and those before, on which windows reach."""

    start_seconds: float
    """Of all moments, since 1970."""
    step_seconds: float
    count: int
    first: int
    """The first at which alerts are looked at; what is before it only fills windows."""

    def at(self, index: int) -> float:
        """When the moment is."""
        return self.start_seconds + index * self.step_seconds

    def steps(self, seconds: float) -> int:
        """How many moments a window holds."""
        return max(1, round(seconds / self.step_seconds))

    @property
    def begin_seconds(self) -> float:
        """When alerts are first looked at."""
        return self.at(self.first)

    @property
    def end_seconds(self) -> float:
        """When they are last looked at."""
        return self.at(self.count - 1)


class Counts(NamedTuple):
    """Events over one window that ends at each moment."""

    valid: Points
    bad: Points
    """Certainly bad: an alert fires on nothing else."""


@dataclass(frozen=True, slots=True)
class Past:
    """What was counted of one objective and model."""

    windows: Mapping[float, Counts]
    """Seconds -> what was asked over a window of so long; of BASE_SECONDS, from the start on."""
    bad_upper: Points
    """Over BASE_SECONDS, what is bad or may be."""


class Alert(NamedTuple):
    """One time in which an alert was firing."""

    severity: str
    fired_seconds: float
    cleared_seconds: float | None
    """None: it was still firing at the end."""
    is_from_before: bool
    """It was firing at the first moment that could be looked at."""
    worst_burn_ratio: float | None
    """The highest burn over BASE_SECONDS meanwhile."""
    tier: Tier
    """The first by which it fired."""

    def lasted_seconds(self, end_seconds: float) -> float:
        """How long, until the end if it was still firing."""
        end = end_seconds if self.cleared_seconds is None else self.cleared_seconds
        return end - self.fired_seconds


@dataclass(frozen=True, slots=True)
class Hindsight:
    """What would have become of one objective and model."""

    objective: Objective
    model: str
    source: str
    """Where its events were counted, for people."""
    grid: Grid
    alerts: tuple[Alert, ...]
    """By time."""
    left_lower: Points
    """Share of the budget that was left at least, at each moment from the grid's first on ..."""
    left_upper: Points
    """... and at most: what the rules say."""
    measured_ratio: float
    """Share of the moments that have a count, if only of nothing."""

    def number(self, severity: str) -> int:
        """How often this alert fired."""
        return sum(alert.severity == severity for alert in self.alerts)

    @property
    def pages_per_week(self) -> float | None:
        """Over the time that was measured. None: less than a day, of which a week is a guess."""
        grid = self.grid
        measured = self.measured_ratio * (grid.count - grid.first) * grid.step_seconds
        if measured < SECONDS_PER_DAY:
            return None
        return self.number("page") * WEEK_SECONDS / measured

    @property
    def longest_page_seconds(self) -> float | None:
        """None: nothing paged."""
        spans = [a.lasted_seconds(self.grid.end_seconds) for a in self.alerts if is_page(a)]
        return max(spans, default=None)

    @property
    def spent(self) -> tuple[float, float] | None:
        """Share of the budget that was spent within the last period: at least, at most."""
        for lower, upper in zip(reversed(self.left_lower), reversed(self.left_upper), strict=True):
            if not isnan(upper):
                return 1.0 - upper, 1.0 - lower
        return None


def is_page(alert: Alert) -> bool:
    """Whether it wakes somebody."""
    return alert.severity == "page"


def is_asked(seconds: float) -> bool:
    """Whether a window is read from the counters; a longer one is summed up from short ones."""
    return seconds <= RAW_SECONDS


def judged(objective: Objective, model: str, source: str, past: Past, grid: Grid) -> Hindsight:
    """What the alerts of one objective and model would have done."""
    base = past.windows[BASE_SECONDS]
    windows = {
        span: past.windows[span] if is_asked(span) else summed(base, span, grid)
        for span in spans_seconds(objective)
    }
    period = objective.period_seconds
    budget = 1.0 - objective.objective_ratio
    upper = Counts(base.valid, past.bad_upper)
    measured = sum(not isnan(value) for value in base.valid[grid.first :])
    return Hindsight(
        objective=objective,
        model=model,
        source=source,
        grid=grid,
        alerts=tuple(_alerts(objective, windows, grid)),
        left_lower=_left(summed(upper, period, grid), budget, grid),
        left_upper=_left(summed(base, period, grid), budget, grid),
        measured_ratio=measured / (grid.count - grid.first),
    )


def _left(counts: Counts, budget_ratio: float, grid: Grid) -> Points:
    pairs = zip(counts.valid[grid.first :], counts.bad[grid.first :], strict=True)
    return array("d", (1.0 - _ratio(valid, bad) / budget_ratio for valid, bad in pairs))


def _ratio(valid: float, bad: float) -> float:
    return bad / valid if valid > 0 else nan


# --- windows ------------------------------------------------------------------------------------


def summed(base: Counts, seconds: float, grid: Grid) -> Counts:
    """A long window from increases over BASE_SECONDS, which overlap, so each counts for a step."""
    scale = grid.step_seconds / BASE_SECONDS
    return Counts(
        _summed(base.valid, grid.steps(seconds), scale),
        _summed(base.bad, grid.steps(seconds), scale),
    )


def _summed(points: Points, steps: int, scale: float) -> Points:
    """The sum of the last `steps` points, or of those that are there; none of none."""
    totals, known, more = [0.0], [0], [0]
    for value in points:
        is_there = not isnan(value)
        totals.append(totals[-1] + value if is_there else totals[-1])
        known.append(known[-1] + is_there)
        more.append(more[-1] + (is_there and value > 0))
    found = array("d", bytes(8 * len(points)))
    for index in range(len(points)):
        low, high = max(0, index + 1 - steps), index + 1
        if known[high] == known[low]:
            found[index] = nan
        elif more[high] > more[low]:  # Else a difference of large sums is not quite 0.
            found[index] = (totals[high] - totals[low]) * scale
    return found


# --- alerts -------------------------------------------------------------------------------------


def _alerts(objective: Objective, windows: Mapping[float, Counts], grid: Grid) -> Iterator[Alert]:
    """Every time in which one was firing, by when it began."""
    budget = 1.0 - objective.objective_ratio
    ladder = tiers(objective)
    floor = least_bad(objective.indicator)
    firing = [_Firing(tier, windows, budget, floor) for tier in ladder]
    valid, bad = windows[BASE_SECONDS]
    burns = array("d", (_ratio(*pair) / budget for pair in zip(valid, bad, strict=True)))
    found: list[Alert] = []
    for severity in SEVERITIES:
        ours = [one for one in firing if one.tier.severity == severity]
        found += _times(severity, ours, burns, grid)
    yield from sorted(found, key=lambda alert: (alert.fired_seconds, alert.severity))


class _Firing:
    """Whether a tier's condition holds at a moment."""

    def __init__(
        self, tier: Tier, windows: Mapping[float, Counts], budget_ratio: float, floor: float
    ) -> None:
        self.tier = tier
        self.long, self.short = windows[tier.long_seconds], windows[tier.short_seconds]
        self.trip_ratio = tier.factor * budget_ratio
        self.floor = floor

    def at(self, index: int) -> bool:
        """The long window first: it is nearly always enough to say no."""
        bad = self.long.bad[index]
        return (
            bad > self.floor
            and _ratio(self.long.valid[index], bad) > self.trip_ratio
            and _ratio(self.short.valid[index], self.short.bad[index]) > self.trip_ratio
        )


def _times(severity: str, firing: Sequence[_Firing], burns: Points, grid: Grid) -> Iterator[Alert]:
    """From the first moment at which some tier holds to the first at which none does."""
    moments = range(grid.first, grid.count)
    held = [next((one.tier for one in firing if one.at(index)), None) for index in moments]
    known = next((n for n, index in enumerate(moments) if not isnan(burns[index])), 0)
    edges = [n for n, (a, b) in enumerate(pairwise([None, *held])) if (a is None) != (b is None)]
    for begin, end in zip(edges[::2], [*edges[1::2], None], strict=False):
        tier = held[begin]
        assert tier is not None, "an odd edge is where it begins to hold"
        meanwhile = burns[grid.first + begin : None if end is None else grid.first + end]
        yield Alert(
            severity=severity,
            fired_seconds=grid.at(grid.first + begin),
            cleared_seconds=None if end is None else grid.at(grid.first + end),
            is_from_before=begin <= known,
            worst_burn_ratio=max((burn for burn in meanwhile if not isnan(burn)), default=None),
            tier=tier,
        )
