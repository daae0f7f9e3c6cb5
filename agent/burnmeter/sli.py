"""Growth -> valid and good events at any threshold, with bounds. Pure.

An engine counts in buckets, a person asks about a threshold: where the two do not meet, good is
known only between two counts, and both leave. What an engine cannot count is None, never zero.
"""

from collections.abc import Mapping
from typing import NamedTuple

from burnmeter import catalog, histograms, indicators
from burnmeter.dialects import INDICATORS
from burnmeter.growth import model_of
from burnmeter.model import Growth, Key, Objective, Tally

ERRORS = "errors"
AVAILABILITY = "availability"


class Worth(NamedTuple):
    """What the recent window is worth to one indicator, at one tick."""

    value: float | None
    """In the unit of its threshold."""
    why: str | None
    """Why it is not known. None beside no value: nothing was there that it could be of."""


class Slice(NamedTuple):
    """One stretch of time of one target. `is_good` None: not measured."""

    seconds: float
    is_good: bool | None


def tally(objective: Objective, model: str, growth: Growth, slice_: Slice) -> Tally | None:
    """Valid and good of one objective on one target since its last look; None: not measured."""
    if objective.indicator == AVAILABILITY:
        return availability(slice_)
    if objective.indicator == ERRORS:
        return errors(model, growth)
    assert objective.threshold_seconds is not None, "config refuses a latency SLO without one"
    return latency(objective.indicator, objective.threshold_seconds, model, growth)


def latency(indicator: str, threshold_seconds: float, model: str, growth: Growth) -> Tally | None:
    """Events at most `threshold_seconds` long."""
    measure = INDICATORS[indicator]
    found = [
        h
        for key, h in growth.histograms.items()
        if key.measure == measure and model_of(key.labels) == model
    ]
    if not any(histogram.bounds for histogram in found):
        return None  # of a mean nobody can tell how many were below anything
    lower = upper = total = 0.0
    for histogram in found:
        at_least, at_most = histograms.below(histogram, threshold_seconds)
        lower, upper, total = lower + at_least, upper + at_most, total + histogram.total
    return Tally(total, lower, upper)


def errors(model: str, growth: Growth) -> Tally | None:
    """Requests that were answered. Cancelled and rejected ones are no verdict on the server."""
    return error_tally(outcomes(model, growth.counters))


def error_tally(counts: Mapping[tuple[str, str], float]) -> Tally | None:
    """From requests by (outcome, counted_by). None if nobody counts those that went well.

    Several witnesses (the engine's finish reasons, HTTP status, admission control) may have seen
    the same failure: between the largest of them and all together have failed. Estimates (requests
    lost with a dead engine, failures that may be cancellations) count only in the latter.
    """
    witness = witness_of(counts)
    if witness is None:
        return None
    good = counts["ok", witness]
    failed = {who: count for (outcome, who), count in counts.items() if outcome == "error"}
    guessed = counts.get(("lost", catalog.ESTIMATE), 0.0) + failed.pop(catalog.ESTIMATE, 0.0)
    valid = good + sum(failed.values()) + guessed
    return Tally(valid, good, valid - max(failed.values(), default=0.0))


def witness_of(counts: Mapping[tuple[str, str], float]) -> str | None:
    """Who counted the requests that went well, in the order in which they are believed."""
    return next((who for who in catalog.WITNESSES if ("ok", who) in counts), None)


def by_outcome(counts: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Outcome -> requests, at least: what the largest witness saw.

    Where several saw some and together may have seen more, `<outcome>_upper` says how many.
    """
    found: dict[str, float] = {}
    for outcome in dict.fromkeys(outcome for outcome, _ in counts):
        seen = [count for (name, _), count in counts.items() if name == outcome]
        found[outcome] = max(seen)
        if sum(seen) > max(seen):
            found[f"{outcome}_upper"] = sum(seen)
    return found


def outcomes(model: str, counters: Mapping[Key, float]) -> dict[tuple[str, str], float]:
    """(outcome, counted_by) -> requests, of one model."""
    found: dict[tuple[str, str], float] = {}
    for key, value in counters.items():
        if key.measure == "requests_total":
            labels = dict(key.labels)
            if labels["model"] == model:
                pair = labels["outcome"], labels["counted_by"]
                found[pair] = found.get(pair, 0.0) + value
    return found


def worth(objective: Objective, worth_: Worth, seconds: float) -> Tally | None:
    """Seconds in which the recent window met the threshold; of idle ones none is valid."""
    if worth_.why is not None:
        return None
    threshold = indicators.threshold(objective)
    assert threshold is not None, "config refuses one without a threshold"
    if worth_.value is None:
        return Tally(0.0, 0.0, 0.0)
    margin = worth_.value - threshold
    is_good = margin >= 0 if indicators.of(objective).is_above else margin <= 0
    good = seconds if is_good else 0.0
    return Tally(seconds, good, good)


def availability(slice_: Slice) -> Tally | None:
    """Seconds in which the engine was up and moving."""
    if slice_.is_good is None:
        return None
    good = slice_.seconds if slice_.is_good else 0.0
    return Tally(slice_.seconds, good, good)
