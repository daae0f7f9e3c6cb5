"""Valid and good counts over time -> burn per window, budget left, one of three states. Pure.

The past of an objective is a ledger of cumulative counts. It is thinned so that an age is known
within a sixtieth of itself: any window is exact to 2 %, and thirty days fit in under a thousand
points. This is the burn of this node alone, for the page, the verdict and direct alerts; a fleet
sums the counters in Prometheus.

Surprising: what is bad must be certain to alert, and what is good must be certain to be good. What
lies between is not measured.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, NamedTuple

import yaml

from burnmeter import indicators
from burnmeter.indicators import INDICATORS, Indicator
from burnmeter.model import Burn, Objective, Tally, WindowBurn
from burnmeter.sli import ERRORS

THIN_EVERY: Final = 64
RESOLUTION: Final = 60.0
ROUNDING: Final = 1e-9
"""Of steps: what floating point may take from a whole number of them."""
PAGE: Final = "page"
"""The severity of what wakes somebody; the other is a ticket."""
MOST_RATIO: Final = 0.9
"""What is measured of a time of which no missing part need be told."""
AT: Final = attrgetter("at_seconds")


class Mark(NamedTuple):
    """Cumulative counts of one objective and model at one moment."""

    at_seconds: float
    valid: float
    good_lower: float
    good_upper: float
    measured_seconds: float


Ledger = tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One alert condition: both windows burn faster than `factor`."""

    severity: str
    factor: float
    long_seconds: float
    short_seconds: float
    rewritten: str | None
    """Why it is not the workbook's tier; None if it is."""


@cache
def _windows() -> dict[str, Any]:
    text = files("burnmeter").joinpath("windows.yaml").read_text("utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def tiers(objective: Objective) -> tuple[Tier, ...]:
    """The alert tiers of an objective, the fastest first, each within reach of a real outage."""
    found = _tiers(objective.objective_ratio, objective.period_seconds)
    return found if objective.is_paging else tuple(t for t in found if t.severity != PAGE)


@cache
def _tiers(objective_ratio: float, period_seconds: float) -> tuple[Tier, ...]:
    return tuple(_tier(row, 1.0 - objective_ratio, period_seconds) for row in _windows()["tiers"])


def _tier(row: Mapping[str, Any], budget_ratio: float, period_seconds: float) -> Tier:
    listed = row["budget_ratio"] * period_seconds / row["long_seconds"]
    # Burn 1 spends the budget just in its period: in a short period a listed factor may be less.
    factor = max(1.0, listed)
    needed = factor * budget_ratio
    # Where more may fail than is within reach, what is less than the budget is no outage.
    trip = min(needed, max(budget_ratio, _windows()["reachable_ratio"]))
    long_seconds = row["long_seconds"]
    short_seconds = row["short_seconds"]
    detect = row.get("detect_seconds")
    if detect is not None and trip * long_seconds > detect:
        long_seconds = _whole(detect / trip)
        shrunk = _whole(short_seconds * long_seconds / row["long_seconds"])
        short_seconds = max(shrunk, _windows()["least_short_seconds"])
    rewritten = None
    if trip < needed * (1 - 1e-9) or long_seconds != row["long_seconds"]:
        rewritten = (
            f"{factor:.3g} over {span_words(row['long_seconds'])} needs {needed:.0%} failures"
            f" and {needed * row['long_seconds'] / 60:.0f} min of a total outage"
        )
    elif listed < 1.0 - 1e-9:
        rewritten = f"{listed:.3g} over {span_words(row['long_seconds'])} overspends no budget"
    return Tier(
        severity=row["severity"],
        factor=trip / budget_ratio,
        long_seconds=long_seconds,
        short_seconds=short_seconds,
        rewritten=rewritten,
    )


def _whole(seconds: float) -> float:
    """The steps that fit into a time: rounded up, a total outage would be told too late."""
    step: float = _windows()["step_seconds"]
    return math.floor(seconds / step + ROUNDING) * step


def bad_events_floor(indicator: str) -> float:
    """Fewer bad events than this alert nobody. 0 for an indicator that counts seconds."""
    floor: float = _windows()["bad_events_floor"]
    return 0.0 if INDICATORS[indicator].is_of_time else floor


def record(
    ledger: Ledger, at_seconds: float, tally: Tally | None, measured_seconds: float
) -> Ledger:
    """The ledger with one more mark. `tally` None: not measured, the counts stand still."""
    if not ledger:  # Else the first events would lie before every window.
        ledger = (Mark(at_seconds - measured_seconds, 0.0, 0.0, 0.0, 0.0),)
    last = ledger[-1]
    more = tally if tally is not None else Tally(0.0, 0.0, 0.0)
    mark = Mark(
        at_seconds,
        last.valid + more.valid,
        last.good_lower + more.good_lower,
        last.good_upper + more.good_upper,
        last.measured_seconds + (measured_seconds if tally is not None else 0.0),
    )
    grown = (*ledger, mark)
    return thin(grown) if len(grown) % THIN_EVERY == 0 else grown


def thin(ledger: Ledger) -> Ledger:
    """Drop marks that lie closer to their neighbour than a sixtieth of their age."""
    now = ledger[-1].at_seconds
    kept = [ledger[0]]
    for mark, following in pairwise(ledger[1:]):
        if following.at_seconds - kept[-1].at_seconds > (now - mark.at_seconds) / RESOLUTION:
            kept.append(mark)
    return (*kept, ledger[-1])


def window(ledger: Ledger, seconds: float, budget_ratio: float) -> WindowBurn:
    """Burn over the last `seconds`, or as much of them as the ledger has."""
    last = ledger[-1]
    first = ledger[max(0, bisect_right(ledger, last.at_seconds - seconds, key=AT) - 1)]
    valid = last.valid - first.valid
    burns: list[float | None] = [None, None]
    if valid > 0:
        worst = valid - (last.good_lower - first.good_lower)
        best = valid - (last.good_upper - first.good_upper)
        burns = [best / valid / budget_ratio, worst / valid / budget_ratio]
    return WindowBurn(
        seconds=seconds,
        covered_seconds=min(seconds, last.measured_seconds - first.measured_seconds),
        valid=valid,
        burn_lower=burns[0],
        burn_upper=burns[1],
    )


def burn(objective: Objective, model: str, ledger: Ledger, *, unmeasured: str | None) -> Burn:
    """One objective on one model, now. `unmeasured`: why the last look gave nothing, if so."""
    budget_ratio = 1.0 - objective.objective_ratio
    ladder = tiers(objective)
    spans = sorted({s for tier in ladder for s in (tier.short_seconds, tier.long_seconds)})
    windows = {span: window(ledger, span, budget_ratio) for span in spans}
    period = window(ledger, objective.period_seconds, budget_ratio)
    covered = period.covered_seconds / objective.period_seconds
    about = indicators.of(objective)
    judged = _Judged(
        ladder=ladder,
        windows=windows,
        budget_ratio=budget_ratio,
        floor=bad_events_floor(objective.indicator),
        age_seconds=ledger[-1].at_seconds - ledger[0].at_seconds,
        about=about,
    )
    state, reason, severity = _state(judged, unmeasured, DOUBTS.get(objective.indicator))
    last = ledger[-1]
    return Burn(
        objective=objective,
        model=model,
        state=state,
        reason=reason,
        severity=severity,
        total=Tally(last.valid, last.good_lower, last.good_upper),
        windows=tuple(windows.values()),
        budget_left_ratio=_left(period.burn_upper, covered),
        budget_left_upper_ratio=_left(period.burn_lower, covered),
        covered_ratio=covered,
        measured_seconds=last.measured_seconds,
    )


def _left(burn: float | None, covered_ratio: float) -> float | None:
    return None if burn is None else 1.0 - burn * covered_ratio


# --- states --------------------------------------------------------------------------------------

DOUBTS: Final = {
    ERRORS: "witnesses may have seen the same failures, and lost requests are an estimate",
}
"""Indicator -> why its bounds differ; of latencies it is always the threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What a state is decided from."""

    ladder: Sequence[Tier]
    windows: Mapping[float, WindowBurn]
    budget_ratio: float
    floor: float
    """Fewer bad events than this alert nobody."""
    age_seconds: float
    """Since its ledger began."""
    about: Indicator

    def pair(self, tier: Tier) -> tuple[WindowBurn, WindowBurn]:
        """The long and the short window of a tier."""
        return self.windows[tier.long_seconds], self.windows[tier.short_seconds]

    def exceeds(self, tier: Tier, bound: str) -> bool:
        """Both windows burn faster than the tier's factor."""
        long, short = self.pair(tier)
        is_enough = self.bad(long, bound) >= self.floor
        return is_enough and min(_known(long, bound), _burn(short, bound)) > tier.factor

    def is_felt(self, bound: str) -> bool:
        """Now, over the short window of the fastest tier, more is spent than the budget allows.

        The first look at a young engine brings all its past and no time of ours: that is not now.
        """
        short = self.pair(self.ladder[0])[1]
        is_enough = self.bad(short, bound) >= self.floor and short.covered_seconds > 0
        return is_enough and _burn(short, bound) > 1.0

    def bad(self, window: WindowBurn, bound: str) -> float:
        """Bad events in a window."""
        # Rounded: 3 events / valid / budget x budget x valid may come back as 2.9999999999999996.
        return round(_burn(window, bound) * self.budget_ratio * window.valid, 6)


def _burn(window: WindowBurn, bound: str) -> float:
    """The burn that is certain (`lower`), or that cannot be ruled out (`upper`)."""
    return (window.burn_lower if bound == "lower" else window.burn_upper) or 0.0


def _known(window: WindowBurn, bound: str) -> float:
    """The burn of the whole window, of which only a part may be measured yet.

    A minute of errors is no three days of errors: a tier means a share of the budget, and only
    what was seen to be spent counts.
    """
    return _burn(window, bound) * min(1.0, window.covered_seconds / window.seconds)


def _state(
    judged: _Judged, unmeasured: str | None, doubt: str | None
) -> tuple[str, str, str | None]:
    """State, reason and severity: alert tiers first, then what users feel now, then doubt."""
    fast = judged.ladder[0]
    for tier in judged.ladder:
        if judged.exceeds(tier, "lower"):
            said = _said(judged.pair(tier)[0], "lower")
            why = f"{said}, {tier.severity} above {_number(tier.factor)}"
            return "burning", why, tier.severity
    if judged.is_felt("lower"):
        short = judged.pair(fast)[1]
        is_fast = _burn(short, "lower") > fast.factor
        then = f"; it will {fast.severity} if it lasts" if is_fast else ", above 1"
        return "burning", _said(short, "lower") + then, None
    if unmeasured is not None:
        return "not_measured", unmeasured, None
    doubtful = _doubtful(judged)
    if doubtful is not None:
        why = doubt or "the threshold lies between two buckets"
        return "not_measured", f"{doubtful}: {why}", None
    return _quiet(judged)


def _doubtful(judged: _Judged) -> str | None:
    """What would burn if the worse bound were the truth."""
    windows = [judged.pair(tier)[0] for tier in judged.ladder if judged.exceeds(tier, "upper")]
    if judged.is_felt("upper"):
        windows.append(judged.pair(judged.ladder[0])[1])
    if not windows:
        return None
    lower, upper = _burn(windows[0], "lower"), _burn(windows[0], "upper")
    span = span_words(windows[0].covered_seconds)
    return f"burn over {span} is between {_number(lower)} and {_number(upper)}"


def _quiet(judged: _Judged) -> tuple[str, str, str | None]:
    """Nothing burns: good, if there was anything to be good."""
    long, short = judged.pair(judged.ladder[0])
    if long.burn_upper is None:
        return "not_measured", _nothing(judged, long), None
    if long.covered_seconds <= 0:
        return "not_measured", "this was the first look", None
    said = _said(long, "upper")
    if short.burn_upper is not None and long.covered_seconds > short.covered_seconds:
        said += f", {_number(short.burn_upper)} over {span_words(short.covered_seconds)}"
    if 0 < judged.bad(long, "upper") < judged.floor:
        said += f"; fewer than {judged.floor:g} bad requests alert nobody"
    return "good", said, None


def _nothing(judged: _Judged, long: WindowBurn) -> str:
    """That there was no event, and in which time: no more of it is claimed than was measured."""
    if judged.age_seconds <= 0:
        return "this was the first look"
    told = min(judged.age_seconds, long.seconds)
    is_young = told < long.seconds
    within = (
        f"the {span_words(told)} since we began" if is_young else f"the last {span_words(told)}"
    )
    if long.covered_seconds <= 0:
        return f"no time measured in {within}"
    if long.covered_seconds < MOST_RATIO * told:
        within = f"the {span_words(long.covered_seconds)} measured of {within}"
    return f"{judged.about.nothing} in {within}{judged.about.idle}"


def _said(window: WindowBurn, bound: str) -> str:
    return f"burn {_number(_burn(window, bound))} over {span_words(window.covered_seconds)}"


def _number(burn: float) -> str:
    """With digits enough to tell 14.41 from the 14.4 that it is above."""
    return f"{burn:.0f}" if burn >= 1000 else f"{burn:.4g}"


def span_words(seconds: float) -> str:
    """300 -> `5 min`, 21600 -> `6 h`, 259200 -> `3 d`, 100 -> `100 s`."""
    whole = round(seconds)  # Of a window of two minutes 119.9 s are covered.
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= size and (whole % size == 0 or whole >= 3 * size):
            return f"{whole / size:.0f} {word}"
    return f"{whole} s"
