"""How long the driver may be asked: an allowance that grows with time and is spent by asking.

It asks nothing and knows no question. Calls from several processes queue up in the driver, engines
included, so that what can wait does wait once the allowance is used up. Surprising: what must be
asked is asked all the same, and then others wait longer. Fast samples become fewer but never stop:
of a stretch without any nothing is known.
"""

import math
from typing import Final

SAVED_SECONDS: Final = 30.0
"""What was not used in so long a time may be used at once: slow questions come in bursts."""
KNOWN_SECONDS: Final = 60.0
"""Over so long it is seen what all but the samples takes; processes are listed every 30 s."""
LEAST_RATIO: Final = 0.25
"""Samples have so much of the allowance, whatever all else takes."""
EARLY_SECONDS: Final = 1.0
"""A sample may come as much too early as is earned in that time: they are taken on a grid."""


class Budget:
    """A share of time, as an account."""

    def __init__(self, ratio: float, now_seconds: float) -> None:
        self._ratio = ratio
        self._at_seconds = now_seconds
        self._left_seconds = ratio * SAVED_SECONDS

    def earn(self, now_seconds: float) -> None:
        """Let time pass until `now_seconds`."""
        earned = self._ratio * max(0.0, now_seconds - self._at_seconds)
        self._at_seconds = now_seconds
        self._left_seconds = min(self._left_seconds + earned, self._ratio * SAVED_SECONDS)

    def spend(self, seconds: float) -> None:
        """So long was the driver asked."""
        self._left_seconds -= seconds

    @property
    def is_left(self) -> bool:
        """Whether what can wait may be asked now."""
        return self._left_seconds > 0


class Pace:
    """How often fast samples may be taken, so that they and all else fit into a share of time."""

    def __init__(self, ratio: float, now_seconds: float) -> None:
        self._ratio = ratio
        self._at_seconds = now_seconds
        self._owed_seconds = 0.0
        self._others_seconds = 0.0
        """What took time else, the older the less."""

    def earn(self, now_seconds: float) -> None:
        """Let time pass until `now_seconds`."""
        passed = max(0.0, now_seconds - self._at_seconds)
        self._at_seconds = now_seconds
        left = self._ratio - self._others_seconds / KNOWN_SECONDS
        share = max(left, self._ratio * LEAST_RATIO)
        self._owed_seconds = max(self._owed_seconds - share * passed, -share * EARLY_SECONDS)
        self._others_seconds *= math.exp(-passed / KNOWN_SECONDS)

    def sampled(self, seconds: float) -> None:
        """So long did samples take."""
        self._owed_seconds += seconds

    def asked(self, seconds: float) -> None:
        """So long was the driver asked for all else."""
        self._others_seconds += seconds

    @property
    def is_due(self) -> bool:
        """Whether the samples so far are paid for."""
        return self._owed_seconds <= 0
