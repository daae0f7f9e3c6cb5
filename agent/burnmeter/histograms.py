"""Arithmetic on cumulative histograms: differences, sums over ranks, quantiles as intervals. Pure.

Histograms with different bounds are never interpolated into each other: they are added at the
bounds that both have, where the counts are exact, and the rest of the resolution is given up.
"""

from burnmeter.model import Histogram, Quantile


def has_fallen(new: Histogram, old: Histogram) -> bool:
    """Whether `new` cannot be a continuation of `old`: other bounds, or any count fell."""
    return (
        new.bounds != old.bounds
        or new.total < old.total
        or any(a < b for a, b in zip(new.counts, old.counts, strict=True))
    )


def subtract(new: Histogram, old: Histogram) -> Histogram:
    """What `new` has more than `old`; both have the same bounds and nothing fell."""
    both_sums = new.sum is not None and old.sum is not None
    return Histogram(
        new.bounds,
        tuple([a - b for a, b in zip(new.counts, old.counts, strict=True)]),
        new.total - old.total,
        (new.sum or 0.0) - (old.sum or 0.0) if both_sums else None,
    )


def add(one: Histogram, other: Histogram) -> Histogram:
    """Both together, at the bounds they share. The sum is lost if either has none."""
    sums = None if one.sum is None or other.sum is None else one.sum + other.sum
    total = one.total + other.total
    if one.bounds == other.bounds:
        counts = tuple([a + b for a, b in zip(one.counts, other.counts, strict=True)])
        return Histogram(one.bounds, counts, total, sums)
    left = dict(zip(one.bounds, one.counts, strict=True))
    right = dict(zip(other.bounds, other.counts, strict=True))
    bounds = tuple(bound for bound in one.bounds if bound in right)
    return Histogram(bounds, tuple(left[b] + right[b] for b in bounds), total, sums)


def below(histogram: Histogram, threshold: float) -> tuple[float, float]:
    """How many observations are at most `threshold`: (at least, at most).

    Equal if the threshold is a bucket bound. Above the last bound nothing more than the total is
    known; below the first, nothing more than zero.
    """
    lower, upper = 0.0, histogram.total
    for bound, count in zip(histogram.bounds, histogram.counts, strict=True):
        if bound <= threshold:
            lower = count
        if bound >= threshold:
            return lower, count
    return lower, upper


def quantile(histogram: Histogram, q: float) -> Quantile | None:
    """The bucket that holds the q-quantile, as an interval; None if nothing was observed.

    The rank is the smallest count that covers q of the observations; with few observations
    neighbouring definitions of a quantile differ by one rank, and so may differ by one bucket.
    """
    if histogram.total <= 0:
        return None
    rank, lower = q * histogram.total, 0.0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=True):
        if count >= rank:
            return Quantile(lower, bound)
        lower = bound
    return Quantile(lower, None)
