"""A page by its Plan -> the page in our words. Pure."""

from collections.abc import Sequence
from math import isfinite, nan
from typing import Final

from burnmeter.model import EnginePage, Histogram, Key
from burnmeter.page import Page
from burnmeter.planning import Buckets, Plan, Scalar

LARGEST: Final = 1e15
"""No engine counts so far; sums of larger numbers lose single units, then become infinite."""


def normalise(page: Page, plan: Plan) -> EnginePage:
    """The page in our words. A value that is NaN, infinite or absurd is absent, not zero."""
    values = page.values
    gauges: dict[Key, float] = {}
    for index, key, _, factor in plan.gauges:
        value = values[index] * factor
        if -LARGEST < value < LARGEST:
            old = gauges.get(key)
            gauges[key] = value if old is None else plan.gauge_merge[key.measure](old, value)
    start = values[plan.start] if plan.start is not None else nan
    return EnginePage(
        engine=plan.engine,
        role=plan.role,
        vantage=plan.vantage,
        version=None,
        started_timestamp_seconds=start if -LARGEST < start < LARGEST else None,
        counters={**{key: {} for key in plan.zeros}, **_counters(plan.counters, values)},
        histograms=_histograms(plan.histograms, values),
        gauges=gauges,
        not_available=plan.not_available,
        not_yet=plan.not_yet,
        left_out=plan.left_out,
        unknown_families=plan.unknown_families,
    )


def _counters(scalars: Sequence[Scalar], values: Sequence[float]) -> dict[Key, dict[str, float]]:
    found: dict[Key, dict[str, float]] = {}
    for index, key, part, factor in scalars:
        value = values[index] * factor
        if -LARGEST < value < LARGEST:
            found.setdefault(key, {})[part] = value
    return found


def _histograms(
    plans: Sequence[Buckets], values: Sequence[float]
) -> dict[Key, dict[str, Histogram]]:
    found: dict[Key, dict[str, Histogram]] = {}
    for key, part, bounds, indexes, total, sum_index, factor in plans:
        counts = tuple([values[index] for index in indexes])
        if not -LARGEST < values[total] < LARGEST or not all(map(isfinite, counts)):
            continue
        total_sum = values[sum_index] * factor if sum_index is not None else None
        if total_sum is not None and not -LARGEST < total_sum < LARGEST:
            total_sum = None
        histogram = Histogram(bounds, counts, values[total], total_sum)
        found.setdefault(key, {})[part] = histogram
    return found
