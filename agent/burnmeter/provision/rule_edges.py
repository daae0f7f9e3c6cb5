"""Cases that only one part of a rule decides: floors, a window that lags, doubt beside certainty.

They are such that a mistake in that part shows, and no other tier fires meanwhile. Pure.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from burnmeter.provision import conventions as names
from burnmeter.provision import reach
from burnmeter.provision.burn_rules import MISSING_SECONDS, Making
from burnmeter.provision.conventions import SEVERITIES, duration
from burnmeter.provision.counted import spans_seconds
from burnmeter.provision.reach import Promise
from burnmeter.provision.rule_story import (
    BUSY,
    DAY,
    HOUR,
    NOT_MEASURED,
    PER_SAMPLE,
    Case,
    Stretch,
    failing,
    first,
    near,
    ok,
    vague,
)

FEW: Final = 2.2
"""Bad events in an hour, below the floor of 3; in two hours they are above it."""
SUMMED_FEW: Final = 40.0
"""The same of a window of six hours and of a day, where each counts for a twentieth: sums look at
increases of five minutes every ten, and rules scale them for every half minute."""


def hours(making: Making) -> Iterator[Case]:
    """What shows within hours."""
    fast = first(making)
    yield _vague(making, fast)
    if not making.objective.is_paging:
        return  # The windows of tickets take days.
    yield _fading(making, fast)
    yield from _doubted(making, fast)
    if making.floor:
        yield _few(making, fast)


def days(making: Making) -> Iterator[Case]:
    """What takes days."""
    if making.floor and making.objective.is_paging:
        yield from _few_a_day(making)


def _busy(seconds: float) -> Stretch:
    return Stretch(seconds=seconds, valid=BUSY * PER_SAMPLE)


def _rare(seconds: float, bad_per_sample: float, ratio: float) -> Stretch:
    return Stretch(seconds=seconds, valid=bad_per_sample / ratio, bad=bad_per_sample)


# --- floors --------------------------------------------------------------------------------------


def _few(making: Making, fast: Promise) -> Case:
    """Too few bad events in the window of the first tier, and enough of them in twice as much."""
    rate = min(1.0, 1.2 * fast.trip_ratio)
    per_sample = FEW * 30.0 / fast.tier.long_seconds
    at = 13 * HOUR + 2 * fast.tier.long_seconds
    return Case(
        name="a great share of few events: fewer than three of them failed, so no page",
        nodes={"a": [_busy(12 * HOUR), ok(HOUR), _rare(3 * HOUR, per_sample, rate)]},
        alerts=[(at, "page", making.family.alert, False)],
    )


def _few_a_day(making: Making) -> Iterator[Case]:
    """Floors of the tiers with long windows, each kept by its own window and no other."""
    trips = [one.trip_ratio for one in reach.promises(making.objective)]
    alert = making.family.alert
    # An hour more than the window, or increases of what was before would still be in its sum.
    for said, window, before, lasts in (
        ("six hours", 6 * HOUR, [_busy(4 * DAY), ok(2 * HOUR)], DAY + HOUR),
        ("a day", DAY, [_busy(DAY), ok(2 * HOUR)], 3 * DAY + HOUR),
    ):
        # Between the first and the second page, so that only the second could ring.
        rate = (trips[0] + trips[1]) / 2
        rare = _rare(lasts, SUMMED_FEW * 60.0 / window, rate)
        at = sum(one.seconds for one in before) + lasts
        wants = rate < 0.999 * trips[0] and trips[2] < rate
        yield Case(
            name=f"too few events for a page failed in {said}, and enough for a ticket in more",
            nodes={"a": [*before, rare]},
            alerts=[
                *((at, "page", alert, False) for _ in range(wants)),
                *((at, "ticket", alert, True) for _ in range(wants)),
            ],
        )


# --- windows that lag ----------------------------------------------------------------------------


def _fading(making: Making, fast: Promise) -> Case:
    """Both windows must exceed: the page ends when the short one does not, whatever the long."""
    before = 13 * HOUR
    end = before + 2400.0
    burn = 0.7 * fast.trip_ratio / making.budget_ratio
    return Case(
        name="failures become fewer than the first tier bears: its page is over",
        nodes={
            "a": [
                _busy(12 * HOUR),
                ok(HOUR),
                failing(1200, 1.0),
                failing(1200, 0.7 * fast.trip_ratio),
            ]
        },
        alerts=[(end, "page", making.family.alert, False)],
        values=[(end, *near(making.series(names.BURN), burn))],
    )


# --- doubt ---------------------------------------------------------------------------------------


def _vague(making: Making, fast: Promise) -> Case:
    """All may be bad: in doubt, and no alert of the objective itself."""
    windows = map(duration, spans_seconds(making.objective))
    doubted = map(duration, (fast.tier.long_seconds, fast.tier.short_seconds))
    # A ticket's window is long, so that what was before must not matter.
    before = [ok(HOUR)] if making.objective.is_paging else []
    begun = sum(one.seconds for one in before)
    end = begun + 2 * HOUR
    return Case(
        name="all of it may be bad, and nobody can tell",
        nodes={"a": [*before, vague(2 * HOUR, 1.0)]},
        alerts=[
            (begun, "doubt", NOT_MEASURED, False),
            (end, "doubt", NOT_MEASURED, True),
            *((end, severity, making.family.alert, False) for severity in SEVERITIES),
        ],
        values=[
            *((end, making.series(names.ERROR_UPPER_RATIO + w), 1.0) for w in doubted),
            *((end, making.series(names.ERROR_RATIO + w), 0.0) for w in windows),
        ],
    )


def _doubted(making: Making, fast: Promise) -> Iterator[Case]:
    """What may be bad is a ticket while it would page, unless it is certain and does page."""
    trip, long = fast.trip_ratio, fast.tier.long_seconds
    share = min(1800.0, long) / long
    upper = {
        fast.tier.short_seconds: 0.7 * trip,
        long: share * 0.7 * trip + (1 - share),
    }
    yield Case(
        name="what may be bad has become less than the first tier bears",
        nodes={"a": [ok(HOUR), vague(2 * HOUR, 1.0), vague(HOUR, 0.7 * trip)]},
        alerts=[(3.5 * HOUR, "doubt", NOT_MEASURED, False)],
        values=[
            (3.5 * HOUR, *near(making.series(names.ERROR_UPPER_RATIO + duration(w)), ratio))
            for w, ratio in upper.items()
        ],
    )
    rate = min(1.0, 1.2 * trip)
    soon = 0.9 * (long * trip / rate + MISSING_SECONDS) // 60 * 60
    yield Case(
        name="what may be bad has not exceeded the long window for long enough",
        nodes={"a": [ok(2 * HOUR), vague(2 * HOUR, rate)]},
        alerts=[(2 * HOUR + soon, "doubt", NOT_MEASURED, False)],
    )
    yield from _beside(making, fast, rate)


def _beside(making: Making, fast: Promise, rate: float) -> Iterator[Case]:
    """Some failures are certain and the others are not."""
    trip, long = fast.trip_ratio, fast.tier.long_seconds
    yield Case(
        name="certain failures come, pause and come again: nothing is in doubt",
        nodes={"a": [ok(HOUR), failing(900, 1.0), ok(1500), failing(1440, rate)]},
        alerts=[(HOUR + 900 + 1500 + 1320, "doubt", NOT_MEASURED, False)],
    )
    unsure = failing(2 * HOUR, rate)
    at = 0.9 * long * trip / rate // 60 * 60
    # The greater part is vague: it exceeds from long x trip on, and its ticket takes a while.
    is_late = long * trip + MISSING_SECONDS + 120.0 < at
    yield Case(
        name="what is certain is less than the long window bears, what may be bad is more",
        nodes={"a": [ok(2 * HOUR), replace(unsure, doubtful=PER_SAMPLE - unsure.bad)]},
        alerts=[(2 * HOUR + at, "doubt", NOT_MEASURED, is_late)],
    )
    less = failing(HOUR, 0.7 * trip)
    yield Case(
        name="certain failures become fewer, and the rest may be bad",
        nodes={
            "a": [
                ok(2 * HOUR),
                failing(1200, 1.0),
                replace(less, doubtful=PER_SAMPLE - less.bad),
            ]
        },
        alerts=[(2 * HOUR + 1200 + 1500, "doubt", NOT_MEASURED, True)],
    )
