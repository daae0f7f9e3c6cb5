"""A page by its Plan -> the page in our words. Pure."""

from collections.abc import Collection, Sequence
from math import isfinite, nan
from typing import Final

from burnmeter.model import EnginePage, Histogram, Key
from burnmeter.page import Page
from burnmeter.planning import Buckets, Plan, Scalar

LARGEST: Final = 1e15
"""No engine counts so far; sums of larger numbers lose single units, then become infinite."""
LARGEST_AMOUNT: Final = 1e24
"""Of operations and bytes, of which single ones do not matter."""


def normalise(page: Page, plan: Plan) -> EnginePage:
    """The page in our words. A value that is NaN, infinite or absurd is absent, not zero."""
    values = page.values
    start = values[plan.start] if plan.start is not None else nan
    amounts = _counters(plan.switched, values, least=0.0, most=LARGEST_AMOUNT)
    on = {key.measure for key in amounts}
    off = {name: why for name, why in plan.switched_by.items() if name not in on}
    return EnginePage(
        engine=plan.engine,
        role=plan.role,
        vantage=plan.vantage,
        version=None,
        started_timestamp_seconds=start if -LARGEST < start < LARGEST else None,
        counters={
            **{key: {} for key in plan.zeros},
            **_counters(plan.counters, values, least=-LARGEST, most=LARGEST),
            **amounts,
        },
        histograms=_histograms(plan.histograms, values),
        gauges=gauges(page, plan),
        not_available={**plan.not_available, **off} if off else plan.not_available,
        not_yet=plan.not_yet,
        left_out=plan.left_out,
        unknown_families=plan.unknown_families,
    )


def gauges(page: Page, plan: Plan, parts: Collection[str] | None = None) -> dict[Key, float]:
    """What the engine holds now, of some `parts` (ranks) or of all. Below 0 is nothing."""
    found: dict[Key, float] = {}
    for index, key, part, factor in plan.gauges:
        value = page.values[index] * factor
        if 0 <= value < LARGEST and (parts is None or part in parts):
            old = found.get(key)
            found[key] = value if old is None else plan.gauge_merge[key.measure](old, value)
    return found


def _counters(
    scalars: Sequence[Scalar], values: Sequence[float], *, least: float, most: float
) -> dict[Key, dict[str, float]]:
    """What lies between the two; what does not is absent."""
    found: dict[Key, dict[str, float]] = {}
    for index, key, part, factor in scalars:
        value = values[index] * factor
        if least < value < most:
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
