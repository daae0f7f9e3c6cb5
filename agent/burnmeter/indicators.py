"""What an objective may be about: a row for each indicator, for all who must tell them apart. Pure.

It counts and reads nothing. Whoever asks whether an objective has a threshold, in which unit, on
which side of it is good, and whether events or time are counted, asks here and not for its name.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from burnmeter.model import Objective


class Threshold(NamedTuple):
    """A key of the config, and a field of Objective, under which a threshold stands."""

    unit: str
    """For people."""
    least: float
    most: float
    example: float


class Indicator(NamedTuple):
    """One thing that is good or bad."""

    threshold: str | None
    """A key of THRESHOLDS; None: it has none."""
    nothing: str = "no requests"
    """What it means that nothing was valid: requests may have come to grief before they were."""
    is_above: bool = False
    """Good is above its threshold, not below."""
    is_of_time: bool = False
    """It counts seconds, not events."""
    is_worth: bool = False
    """It judges a number that the recent window gives, at each tick. See worth.py."""
    idle: str = ""
    """What to say of time in which nothing was valid."""
    is_paging: bool = True
    """Users suffer, so that an objective pages if it does not say otherwise. Money can wait."""


SECONDS, SPEED = "threshold_seconds", "threshold_tokens_per_second"
DOLLARS, JOULES = "threshold_dollars_per_million_tokens", "threshold_joules_per_token"

THRESHOLDS: Final[Mapping[str, Threshold]] = {
    SECONDS: Threshold("seconds", 1e-6, 86400, 0.5),
    SPEED: Threshold("tokens per second", 0.01, 10_000, 20),
    DOLLARS: Threshold("dollars per million tokens", 0.001, 100_000, 2),
    JOULES: Threshold("joules per token", 0.0001, 100_000, 1.5),
}
IDLE: Final = "; idle time counts neither as good nor as bad"

INDICATORS: Final[Mapping[str, Indicator]] = {
    "ttft": Indicator(SECONDS, "no request got a first token"),
    "itl": Indicator(SECONDS, "no request got a second token"),
    "tpot": Indicator(SECONDS, "no request got a second token"),
    "duration": Indicator(SECONDS, "no request ended"),
    "queue": Indicator(SECONDS, "no request left the queue"),
    "errors": Indicator(None),
    "availability": Indicator(None, is_of_time=True),
    "throughput": Indicator(
        SPEED, "no request was running", is_above=True, is_of_time=True, is_worth=True, idle=IDLE
    ),
    "cost": Indicator(
        DOLLARS,
        "no token was generated",
        is_of_time=True,
        is_worth=True,
        idle=IDLE,
        is_paging=False,
    ),
    "energy": Indicator(
        JOULES,
        "no token was generated",
        is_of_time=True,
        is_worth=True,
        idle=IDLE,
        is_paging=False,
    ),
}
"""By the name that it has in the config, in the order in which they are listed to people."""


def of(objective: Objective) -> Indicator:
    """What an objective is about."""
    return INDICATORS[objective.indicator]


def threshold(objective: Objective) -> float | None:
    """In its indicator's unit. None: it has none."""
    key = of(objective).threshold
    return None if key is None else thresholds(objective)[key]


def thresholds(objective: Objective) -> dict[str, float | None]:
    """Every key under which an objective may have one."""
    return {key: getattr(objective, key) for key in THRESHOLDS}


def having(key: str) -> list[str]:
    """The indicators that are held against a threshold."""
    return [name for name, one in INDICATORS.items() if one.threshold == key]
