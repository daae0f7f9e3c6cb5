"""Valid and good counts over time -> burn per window, budget left, one of three states. Pure.

The past of an objective is a ledger of cumulative counts. It is thinned so that an age is known
within a sixtieth of itself: any window is exact to 2 %, and thirty days fit in under a thousand
points. This is the burn of this node alone, for the page, the verdict and direct alerts; a fleet
sums the counters in Prometheus.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any, Final, NamedTuple

import yaml

from burnmeter.model import Burn, Objective, Tally, WindowBurn

THIN_EVERY: Final = 64
RESOLUTION: Final = 60.0


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


@cache
def tiers(objective_ratio: float, period_seconds: float) -> tuple[Tier, ...]:
    """The alert tiers of an objective, each within reach of a real outage."""
    return tuple(_tier(row, 1.0 - objective_ratio, period_seconds) for row in _windows()["tiers"])


def _tier(row: Mapping[str, Any], budget_ratio: float, period_seconds: float) -> Tier:
    factor = row["budget_ratio"] * period_seconds / row["long_seconds"]
    trip = min(factor * budget_ratio, _windows()["reachable_ratio"])
    long_seconds = row["long_seconds"]
    detect = row.get("detect_seconds")
    if detect is not None and trip * long_seconds > detect:
        long_seconds = max(60.0, round(detect / trip / 60.0) * 60.0)
    needed = factor * budget_ratio
    rewritten = None
    if trip < needed * (1 - 1e-9) or long_seconds != row["long_seconds"]:
        rewritten = (
            f"{factor:.3g} over {span_words(row['long_seconds'])} needs {needed:.0%} failures"
            f" and {needed * row['long_seconds'] / 60:.0f} min of a total outage"
        )
    short = row["short_seconds"] * long_seconds / row["long_seconds"]
    return Tier(
        severity=row["severity"],
        factor=trip / budget_ratio,
        long_seconds=long_seconds,
        short_seconds=short,
        rewritten=rewritten,
    )


def record(
    ledger: Ledger, at_seconds: float, tally: Tally | None, measured_seconds: float
) -> Ledger:
    """The ledger with one more mark. `tally` None: not measured, the counts stand still."""
    last = ledger[-1] if ledger else Mark(at_seconds, 0.0, 0.0, 0.0, 0.0)
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
    first = ledger[0]
    for mark in reversed(ledger):
        if mark.at_seconds <= last.at_seconds - seconds:
            first = mark
            break
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


def burn(
    objective: Objective,
    model: str,
    ledger: Ledger,
    *,
    unmeasured: str | None,
    counts_events: bool,
) -> Burn:
    """One objective on one model, now. `unmeasured`: why the last look gave nothing, if so."""
    budget_ratio = 1.0 - objective.objective_ratio
    ladder = tiers(objective.objective_ratio, objective.period_seconds)
    spans = sorted({s for tier in ladder for s in (tier.short_seconds, tier.long_seconds)})
    windows = {span: window(ledger, span, budget_ratio) for span in spans}
    period = window(ledger, objective.period_seconds, budget_ratio)
    covered = period.covered_seconds / objective.period_seconds
    state, reason, severity = _state(ladder, windows, budget_ratio, unmeasured, counts_events)
    last = ledger[-1]
    return Burn(
        objective=objective,
        model=model,
        state=state,
        reason=reason,
        severity=severity,
        total=Tally(last.valid, last.good_lower, last.good_upper),
        windows=tuple(windows.values()),
        budget_left_ratio=None if period.burn_upper is None else 1.0 - period.burn_upper * covered,
        covered_ratio=covered,
    )


def _state(
    ladder: Sequence[Tier],
    windows: Mapping[float, WindowBurn],
    budget_ratio: float,
    unmeasured: str | None,
    counts_events: bool,
) -> tuple[str, str, str | None]:
    """State, reason and severity: alert tiers first, then what users feel now, then doubt."""
    floor = _windows()["bad_events_floor"] if counts_events else 0.0
    for tier in ladder:
        long, short = windows[tier.long_seconds], windows[tier.short_seconds]
        if _bad(long, budget_ratio) >= floor and min(_known(long), _now(short)) > tier.factor:
            said = f"burn {long.burn_lower:.1f} over {span_words(long.covered_seconds)}"
            return "burning", f"{said}, {tier.severity} above {tier.factor:.1f}", tier.severity
    fast = ladder[0]
    long, short = windows[fast.long_seconds], windows[fast.short_seconds]
    if _bad(short, budget_ratio) >= floor and _now(short) > fast.factor:
        said = f"burn {short.burn_lower:.1f} over {span_words(short.covered_seconds)}"
        return "burning", f"{said}; it will {fast.severity} if it lasts", None
    if unmeasured is not None:
        return "not_measured", unmeasured, None
    if short.burn_upper is not None and short.burn_upper > fast.factor and floor <= short.valid:
        said = f"burn over {span_words(short.covered_seconds)} is between {short.burn_lower:.1f}"
        doubt = f"{said} and {short.burn_upper:.1f}: the threshold lies between two buckets"
        if short.burn_lower != short.burn_upper:
            return "not_measured", doubt, None
    if long.burn_upper is None:
        nothing = "no requests" if counts_events else "no time measured"
        return "not_measured", f"{nothing} in the last {span_words(long.seconds)}", None
    said = f"burn {long.burn_upper:.1f} over {span_words(long.covered_seconds)}"
    if short.burn_upper is not None and long.covered_seconds > short.covered_seconds:
        said += f", {short.burn_upper:.1f} over {span_words(short.covered_seconds)}"
    return "good", said, None


def _now(window: WindowBurn) -> float:
    """The burn that is certain."""
    return window.burn_lower or 0.0


def _known(window: WindowBurn) -> float:
    """The burn of the whole window, of which only a part may be measured yet.

    A minute of errors is no three days of errors: a tier means a share of the budget, and only
    what was seen to be spent counts.
    """
    return _now(window) * min(1.0, window.covered_seconds / window.seconds)


def _bad(window: WindowBurn, budget_ratio: float) -> float:
    """Bad events that are certain."""
    return _now(window) * budget_ratio * window.valid


def span_words(seconds: float) -> str:
    """300 -> `5 min`, 21600 -> `6 h`, 259200 -> `3 d`, 100 -> `100 s`."""
    for size, word in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size and (seconds % size == 0 or seconds >= 3 * size):
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"
