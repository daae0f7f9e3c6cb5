"""How long the driver may be asked: an allowance that grows with time and is spent by asking.

It asks nothing and knows no question. Calls from several processes queue up in the driver, engines
included, so that what can wait does wait once the allowance is used up. Surprising: what must be
asked is asked all the same, and then others wait longer.
"""

from typing import Final

SAVED_SECONDS: Final = 30.0
"""What was not used in so long a time may be used at once: slow questions come in bursts."""


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
