"""Arithmetic on cumulative histograms: differences, sums over ranks, quantiles as intervals. Pure.

Histograms with different bounds are never interpolated into each other: they are added at the
bounds that both have, where the counts are exact, and the rest of the resolution is given up.
"""

from operator import lt

from burnmeter.model import Histogram
from burnmeter.snapshot import Quantile


def since(new: Histogram, old: Histogram) -> Histogram:
    """What was observed since `old`; all of `new` if any count fell, for then it began again.

    Other bounds alone are no new beginning: a page may lack some of its lines.
    """
    at = new
    if new.bounds != old.bounds:
        known = set(old.bounds)
        shared = tuple(bound for bound in new.bounds if bound in known)
        at, old = _only(new, shared), _only(old, shared)
    return new if _has_fallen(at, old) else subtract(at, old)


def _only(histogram: Histogram, bounds: tuple[float, ...]) -> Histogram:
    counts = dict(zip(histogram.bounds, histogram.counts, strict=True))
    return histogram._replace(bounds=bounds, counts=tuple(counts[bound] for bound in bounds))


def _has_fallen(new: Histogram, old: Histogram) -> bool:
    """Whether `new`, with the same bounds, cannot be a continuation of `old`."""
    return new.total < old.total or any(map(lt, new.counts, old.counts))


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
    known = set(other.bounds)
    shared = tuple(bound for bound in one.bounds if bound in known)
    pairs = zip(_only(one, shared).counts, _only(other, shared).counts, strict=True)
    return Histogram(shared, tuple(a + b for a, b in pairs), total, sums)


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
    """The bucket that holds the q-quantile, as an interval; None if nothing was observed, or only a
    mean is known.

    The rank is the smallest count that covers q of the observations; with few observations
    neighbouring definitions of a quantile differ by one rank, and so may differ by one bucket.
    """
    if histogram.total <= 0 or not histogram.bounds:
        return None
    rank, lower = q * histogram.total, 0.0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=True):
        if count >= rank:
            return Quantile(lower, bound)
        lower = bound
    return Quantile(lower, None)


def scale(histogram: Histogram, factor: float) -> Histogram:
    """Every count, and the sum, times a factor."""
    return Histogram(
        histogram.bounds,
        tuple([count * factor for count in histogram.counts]),
        histogram.total * factor,
        None if histogram.sum is None else histogram.sum * factor,
    )
