"""An objective as PromQL: how many events were valid and how many bad, over any window.

Good and valid are summed over nodes first and divided last, so that a busy node weighs more than
an idle one. Rules and backtests ask by the same texts, so that they cannot disagree. Windows beyond
two hours are summed from increases that were recorded every `interval`: the raw counters of a
fleet over days are more samples than a Prometheus should read twice a minute.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from burnmeter import slo
from burnmeter.model import Objective
from burnmeter.provision import conventions as names
from burnmeter.provision.conventions import duration, quoted

RAW_SECONDS: Final = 7200.0
"""The longest window that is read from the counters themselves."""
BASE_SECONDS: Final = 300.0
"""Increases over so long are what longer windows are summed from."""
INTERVAL_SECONDS: Final = 30.0
"""How often rules are evaluated."""
By = tuple[str, ...]
"""Labels that keep objectives apart, `model` first."""
Text = Callable[[float], str]
"""Seconds of a window -> a query, with one series for each model."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Where an objective's events are counted; each text over a window of so many seconds."""

    valid: Text
    bad_lower: Text
    """Certainly bad."""
    bad_upper: Text
    """Bad, or perhaps bad."""


def spans_seconds(objective: Objective) -> tuple[float, ...]:
    """Every window that its alerts look at, shortest first; BASE_SECONDS is one of them."""
    ladder = slo.tiers(objective)
    found = {s for tier in ladder for s in (tier.short_seconds, tier.long_seconds)}
    return tuple(sorted(found | {BASE_SECONDS}))


def least_bad(indicator: str) -> float:
    """Bad events of a tier's long window must be more than this; 0: it counts seconds.

    Half an event below the floor, for an increase is extrapolated: three may come out as 2.9.
    """
    return max(0.0, slo.bad_events_floor(indicator) - 0.5)


def by_agents(objective: Objective, by: Sequence[str] = ("model",)) -> Counted:
    """From the counters that burnmeter's agents export."""
    where = ",".join(
        [f"slo={quoted(objective.name)}"]
        + [f"{label}={quoted(value)}" for label, value in objective.match]
    )
    kept = ", ".join(by)

    def grown(metric: str, more: str, seconds: float) -> str:
        return f"sum by ({kept}) (increase({metric}{{{where}{more}}}[{duration(seconds)}]))"

    def valid(seconds: float) -> str:
        return grown(names.VALID, "", seconds)

    def bad(bound: str) -> Text:
        good = f',bound="{bound}"'
        # Never below 0: an increase is extrapolated, and two of them not always alike.
        return lambda seconds: (
            f"clamp_min({valid(seconds)} - {grown(names.GOOD, good, seconds)}, 0)"
        )

    return Counted(valid=valid, bad_lower=bad("upper"), bad_upper=bad("lower"))
