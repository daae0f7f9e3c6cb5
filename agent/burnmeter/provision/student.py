"""Quantiles of Student's t, for confidence bounds. Pure, and nothing else of statistics."""

import math
from functools import lru_cache
from typing import Final

STEPS: Final = 200
"""Of the continued fraction, which is exact long before, and of halving, which is as fine."""
TINY: Final = 1e-300


@lru_cache(maxsize=64)
def quantile(probability: float, degrees: int) -> float:
    """The value that a t of so many degrees of freedom stays below with this probability."""
    assert 0.5 <= probability < 1, "bounds are one-sided and ask for more than one half"
    low, high = 0.0, 1.0
    while _below(high, degrees) < probability:
        low, high = high, high * 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _below(middle, degrees) < probability else (low, middle)
    return high


def _below(t: float, degrees: int) -> float:
    """Probability of a value below t, for t of 0 and more."""
    return 1.0 - _beta(degrees / (degrees + t * t), degrees / 2, 0.5) / 2


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function."""
    if x in (0.0, 1.0):
        return x
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(logarithm + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Its continued fraction (DLMF 8.17.22), by Lentz' method."""
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1.0 / (1.0 + step * d or TINY)
            c = 1.0 + step / c or TINY
            found *= c * d
        if abs(c * d - 1.0) < 1e-16:
            break
    return found
