"""Is the candidate worse than the baseline? Slices of time -> a verdict, and how sure it is. Pure.

Requests of one minute share a batch, a cache and a burst of load, so that a thousand of them are no
thousand witnesses: slices are. Both sides live through the same slice, so their difference in it
is what is looked at, and neighbours that resemble each other count for less. What is claimed, and
every formula, is in CANARY.md; canary_queries.py has the same as PromQL.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

from burnmeter.provision import student

PASS: Final = "pass"
FAIL: Final = "fail"
INCONCLUSIVE: Final = "inconclusive"

MEASURES: Final = ("ttft", "tpot", "errors", "cost", "energy")
SHARES: Final = frozenset(("ttft", "tpot", "errors"))
"""Bad events of all events; the others are an amount per token, and are compared as a ratio."""
MARGINS: Final[Mapping[str, float]] = {
    "ttft": 0.05,
    "tpot": 0.05,
    "errors": 0.01,
    "cost": 0.1,
    "energy": 0.1,
}
"""How much worse is tolerated where nobody says: a share by so much, cost and energy by 10 %."""
BUDGET_PART: Final = 0.5
"""The margin of a share that has an objective, of its error budget."""
LEAST_SLICES: Final = 20
MOST_SLICES: Final = 2000
LEAST_SLICES_RATIO: Final = 2 / 3
"""Of the slices of the window, as many must have data."""
LEAST_BAD: Final = 10.0
"""Bad events of both sides, below which none is called worse."""
LEAST_INDEPENDENCE: Final = 0.2
"""Slices are never taken as more alike than this, which makes them a ninth of as many."""
TINY: Final = 1e-300


class Side(NamedTuple):
    """Of one side in one slice: bad events, dollars or joules; and of how many events or tokens."""

    part: float
    whole: float


class Slice(NamedTuple):
    """A stretch of time in which both sides had events."""

    at_seconds: float
    baseline: Side
    candidate: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How one measure is judged."""

    is_share: bool
    margin: float
    alpha_fail: float
    """Of this measure alone, at one look."""
    alpha_pass: float
    slice_seconds: float
    least_slices: int

    @property
    def t_fail(self) -> float:
        """By the least slices that would do, so that it is one number, and on the safe side."""
        return student.quantile(1 - self.alpha_fail, self.least_slices - 1)

    @property
    def t_pass(self) -> float:
        """Likewise, for the upper bound."""
        return student.quantile(1 - self.alpha_pass, self.least_slices - 1)

    @property
    def least_events(self) -> float:
        """Of each side before a share may pass: at the margin, none bad is then this unlikely."""
        return -math.log(self.alpha_pass) / self.margin if self.is_share else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One measure. `difference` and bounds are of shares, or candidate / baseline - 1.

    A bound is None where there is too little to give it.
    """

    verdict: str
    reason: str
    slices: int = 0
    baseline: float | None = None
    candidate: float | None = None
    baseline_whole: float = 0.0
    candidate_whole: float = 0.0
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked of all measures together."""

    measures: tuple[str, ...]
    window_seconds: float = 1800.0
    slice_seconds: float = 60.0
    alpha: float = 0.05
    looks: int = 1
    """How often this is asked of one rollout; each look takes its part of alpha."""

    @property
    def slices(self) -> int:
        """How many the window has."""
        return round(self.window_seconds / self.slice_seconds)

    def terms(self, measure: str, margin: float) -> Terms:
        """Of one measure. To fail, any will do, so they share alpha.

        To pass takes all of them, so a worse one must slip through its own test: no sharing there.
        """
        return Terms(
            is_share=measure in SHARES,
            margin=margin,
            alpha_fail=self.alpha / self.looks / len(self.measures),
            alpha_pass=self.alpha / self.looks,
            slice_seconds=self.slice_seconds,
            least_slices=max(LEAST_SLICES, math.ceil(self.slices * LEAST_SLICES_RATIO)),
        )


def overall(verdicts: Sequence[str]) -> str:
    """Fail if one fails; pass if all pass."""
    if FAIL in verdicts:
        return FAIL
    is_pass = bool(verdicts) and all(verdict == PASS for verdict in verdicts)
    return PASS if is_pass else INCONCLUSIVE


def compare(slices: Sequence[Slice], by: Terms) -> Compared:
    """The verdict on one measure, by slices in which both sides had events."""
    if len(slices) < by.least_slices:
        text = f"{len(slices)} slices have data on both sides; {by.least_slices} are needed"
        return Compared(verdict=INCONCLUSIVE, reason=text, slices=len(slices))
    base = _total([one.baseline for one in slices])
    cand = _total([one.candidate for one in slices])
    shown = Compared(
        verdict=INCONCLUSIVE,
        reason="",
        slices=len(slices),
        baseline=base.part / base.whole,
        candidate=cand.part / cand.whole,
        baseline_whole=base.whole,
        candidate_whole=cand.whole,
    )
    if not by.is_share and min(base.part, cand.part) <= 0:
        side = "baseline" if base.part <= 0 else "candidate"
        return replace(shown, reason=f"the {side} used nothing in this time")
    squared = _squared_error(slices, base, cand, by)
    if squared is None:
        return replace(shown, reason="no two slices with data follow each other")
    bounds = _share_bounds if by.is_share else _ratio_bounds
    difference, lower, upper = bounds(base, cand, squared, by)
    bad, fewest = base.part + cand.part, min(base.whole, cand.whole)
    found = replace(
        shown,
        difference=difference,
        lower=None if by.is_share and bad < LEAST_BAD else lower,
        upper=None if fewest < by.least_events else upper,
    )
    verdict, reason = _judge(found, by.margin)
    if verdict == INCONCLUSIVE and found.upper is None:
        least = math.ceil(by.least_events)
        reason = f"{fewest:.0f} requests on one side; {least} are needed to pass"
    elif verdict == INCONCLUSIVE and found.lower is None:
        reason = f"{bad:.0f} bad ones are too few to call it worse; {reason}"
    return replace(found, verdict=verdict, reason=reason)


def _judge(found: Compared, margin: float) -> tuple[str, str]:
    """Pass comes first: what is certainly worse by less than is tolerated, is tolerated."""
    if found.upper is not None and found.upper < margin:
        return PASS, "not worse by the margin"
    if found.lower is not None and found.lower > 0:
        return FAIL, "worse than the baseline"
    return INCONCLUSIVE, "it may be worse by the margin, and it may be no worse at all"


def _total(sides: Sequence[Side]) -> Side:
    return Side(math.fsum(side.part for side in sides), math.fsum(side.whole for side in sides))


def _share_bounds(base: Side, cand: Side, squared: float, by: Terms) -> tuple[float, float, float]:
    difference = cand.part / cand.whole - base.part / base.whole
    # What the candidate's count would vary by if it were worse by the margin: where hardly anything
    # is bad, the slices show too little spread to be sure that it is not.
    unseen = max(by.margin - difference, 0.0) / cand.whole
    lower = difference - by.t_fail * math.sqrt(squared)
    return difference, lower, difference + by.t_pass * math.sqrt(squared + unseen)


def _ratio_bounds(base: Side, cand: Side, squared: float, by: Terms) -> tuple[float, float, float]:
    middle = math.log(cand.part / cand.whole * base.whole / base.part)
    error = math.sqrt(squared)
    found = (middle, middle - by.t_fail * error, middle + by.t_pass * error)
    return (math.expm1(found[0]), math.expm1(found[1]), math.expm1(found[2]))


def _squared_error(slices: Sequence[Slice], base: Side, cand: Side, by: Terms) -> float | None:
    """Of the difference, by its residuals in each slice, widened where neighbours are alike."""
    count = len(slices)
    residuals = [
        _residual(one.candidate, cand, count, by) - _residual(one.baseline, base, count, by)
        for one in slices
    ]
    steps = [
        (later - sooner) ** 2
        for (sooner, later), (first, second) in zip(
            pairwise(residuals), pairwise(slices), strict=True
        )
        if second.at_seconds - first.at_seconds < 1.5 * by.slice_seconds
    ]
    if not steps:
        return None
    variance = math.fsum(residual**2 for residual in residuals) / count
    # Half of the mean squared step is the variance itself if slices know nothing of each other, and
    # less the more alike neighbours are (von Neumann's ratio); 1 / count is what it lies too high.
    ratio = math.fsum(steps) / len(steps) / 2 / max(variance, TINY)
    independence = min(max(ratio - 1 / count, LEAST_INDEPENDENCE), 1.0)
    return variance / (count - 1) * (2 / independence - 1)


def _residual(side: Side, total: Side, count: int, by: Terms) -> float:
    """What one slice adds to a side's ratio, in first order."""
    if by.is_share:
        return (side.part - total.part / total.whole * side.whole) / (total.whole / count)
    return (side.part / total.part - side.whole / total.whole) * count
