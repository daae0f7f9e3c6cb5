"""Fast samples of one quantity -> its mean, least, greatest and integral over one tick. Pure.

Samples lie unevenly, since a slow question holds them up: so the mean is over time, not over
samples. Surprising: a stretch without samples that is too long is left out of mean and integral.
Nobody knows what happened in it, and a straight line through it would be an invention.
"""

from math import inf
from typing import NamedTuple


class Summary(NamedTuple):
    """One quantity over one tick."""

    mean: float
    least: float
    greatest: float
    integral: float
    """The quantity x seconds, over the stretches between samples that lie close enough."""


class Samples:
    """Takes samples in, and gives what they come to since it was last asked."""

    def __init__(self, gap_seconds: float) -> None:
        self._gap_seconds = gap_seconds
        """Samples further apart than this are not joined."""
        self._last: tuple[float, float] | None = None
        self._count = 0
        self._sum, self._least, self._greatest = 0.0, inf, -inf
        self._integral = self._covered_seconds = 0.0

    def add(self, at_seconds: float, value: float) -> None:
        """One sample; joined to the one before by a straight line."""
        if self._last is not None:
            seconds = at_seconds - self._last[0]
            if 0 < seconds <= self._gap_seconds:
                self._integral += (self._last[1] + value) / 2 * seconds
                self._covered_seconds += seconds
        self._last = at_seconds, value
        self._count += 1
        self._sum += value
        self._least, self._greatest = min(self._least, value), max(self._greatest, value)

    def take(self) -> Summary | None:
        """What there was since the last call; None without a sample. The last one stays joined."""
        if self._count == 0:
            return None
        seconds = self._covered_seconds
        mean = self._integral / seconds if seconds > 0 else self._sum / self._count
        summary = Summary(mean, self._least, self._greatest, self._integral)
        self._count = 0
        self._sum, self._least, self._greatest = 0.0, inf, -inf
        self._integral = self._covered_seconds = 0.0
        return summary
