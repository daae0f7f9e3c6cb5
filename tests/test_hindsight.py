"""Alerts of the past over counts that a test writes down: no server, one minute a step."""

from collections.abc import Sequence
from dataclasses import replace
from math import isnan, nan

import pytest

from burnmeter.model import Objective
from burnmeter.provision.counted import spans_seconds
from burnmeter.provision.hindsight import Counts, Grid, Past, is_asked, judged, summed

OBJECTIVE = Objective(name="errors", indicator="errors", objective_ratio=0.99)
GRID = Grid(start_seconds=0.0, step_seconds=60.0, count=600, first=0)


def past(valid: Sequence[float], bad: Sequence[float], objective: Objective = OBJECTIVE) -> Past:
    """From what happened in each minute; NaN where it is not known."""

    def window(values: Sequence[float], minutes: int) -> list[float]:
        found = []
        for index in range(len(values)):
            known = [v for v in values[max(0, index + 1 - minutes) : index + 1] if not isnan(v)]
            found.append(sum(known) if known else nan)
        return found

    windows = {
        span: Counts(window(valid, int(span / 60)), window(bad, int(span / 60)))
        for span in spans_seconds(objective)
        if is_asked(span)
    }
    return Past(windows, windows[300.0].bad)


def constant(value: float) -> list[float]:
    return [value] * GRID.count


def outage(first: int, last: int, bad: float = 10.0) -> list[float]:
    return [bad if first <= minute < last else 0.0 for minute in range(GRID.count)]


def test_a_total_outage_pages_when_the_long_window_trips_and_clears_with_the_short_one() -> None:
    # 14.4 % of 60 minutes is 8.64; the fifth of five good minutes ends it, but the half hour holds
    # on: 6 % of 360 minutes are 21.6 of the 30 bad ones, and 6 % of 30 minutes 1.8.
    found = judged(OBJECTIVE, "m", "agents", past(constant(10.0), outage(300, 330)), GRID)

    page = next(alert for alert in found.alerts if alert.severity == "page")
    assert (page.fired_seconds, page.cleared_seconds) == (308 * 60, 358 * 60)
    assert page.worst_burn_ratio == pytest.approx(100.0)
    assert not page.is_from_before
    assert found.longest_page_seconds == 50 * 60


def test_two_bad_requests_alert_nobody_and_three_do() -> None:
    two, three = outage(300, 302, 1.0), outage(300, 303, 1.0)

    few = judged(OBJECTIVE, "m", "agents", past(constant(0.1), two), GRID)
    enough = judged(OBJECTIVE, "m", "agents", past(constant(0.1), three), GRID)

    assert few.alerts == ()
    assert enough.number("page") == 1


def test_three_requests_that_an_extrapolated_increase_makes_2_9_page_as_by_the_rules() -> None:
    # The rules ask for more than 2.5, as `increase` seldom gives whole numbers.
    nearly, below = outage(300, 301, 2.9), outage(300, 301, 2.4)

    assert judged(OBJECTIVE, "m", "a", past(constant(0.1), nearly), GRID).number("page") == 1
    assert judged(OBJECTIVE, "m", "a", past(constant(0.1), below), GRID).alerts == ()


def test_seconds_have_no_floor() -> None:
    up = Objective(name="up", indicator="availability", objective_ratio=0.99)

    found = judged(up, "m", "agents", past(constant(0.01), outage(300, 320, 0.01), up), GRID)

    assert found.number("page") == 1


def test_an_alert_at_the_end_is_still_firing() -> None:
    found = judged(OBJECTIVE, "m", "agents", past(constant(10.0), outage(500, 600)), GRID)

    page = next(alert for alert in found.alerts if alert.severity == "page")
    assert page.cleared_seconds is None
    assert found.longest_page_seconds == GRID.end_seconds - page.fired_seconds


def test_an_alert_at_the_first_count_is_from_before() -> None:
    valid, bad = constant(10.0), outage(0, 200)
    valid[:100] = bad[:100] = [nan] * 100

    found = judged(OBJECTIVE, "m", "agents", past(valid, bad), GRID)

    page = next(alert for alert in found.alerts if alert.severity == "page")
    assert (page.fired_seconds, page.is_from_before) == (100 * 60, True)
    assert found.measured_ratio == pytest.approx(500 / 600)


def test_a_gap_clears_an_alert() -> None:
    valid, bad = constant(10.0), outage(300, 450)
    valid[350:400] = bad[350:400] = [nan] * 50

    found = judged(OBJECTIVE, "m", "agents", past(valid, bad), GRID)

    # The five minutes' window is empty from the fifth on, the half hour's from the 30th.
    pages = [alert for alert in found.alerts if alert.severity == "page"]
    assert [(a.fired_seconds / 60, (a.cleared_seconds or 0) / 60) for a in pages[:2]] == [
        (308, 379),
        (400, 478),
    ]


def test_an_objective_without_any_count_is_not_measured() -> None:
    found = judged(OBJECTIVE, "m", "agents", past(constant(nan), constant(nan)), GRID)

    assert (found.alerts, found.measured_ratio, found.spent) == ((), 0.0, None)
    assert found.pages_per_week is None


def test_a_time_without_traffic_is_measured_and_has_no_ratio() -> None:
    found = judged(OBJECTIVE, "m", "agents", past(constant(0.0), constant(0.0)), GRID)

    assert (found.alerts, found.measured_ratio, found.spent) == ((), 1.0, None)


def test_pages_are_counted_per_measured_week() -> None:
    hour = past(constant(10.0), outage(300, 330))
    found = judged(OBJECTIVE, "m", "agents", hour, GRID)
    # The same outage in a grid whose steps are six minutes: 60 hours in all.
    rare = replace(GRID, step_seconds=360.0)
    longer = judged(OBJECTIVE, "m", "agents", hour, rare)

    assert found.number("page") == longer.number("page") == 1
    assert found.pages_per_week is None, "of ten hours no week can be told"
    assert longer.pages_per_week == pytest.approx(7 * 24 / 60)


def test_the_budget_spent_lies_between_what_is_bad_and_what_may_be() -> None:
    counted = past(constant(10.0), outage(300, 303))
    doubtful = Past(counted.windows, [2 * bad for bad in counted.windows[300.0].bad])

    found = judged(OBJECTIVE, "m", "agents", doubtful, GRID)

    # 3 of 600 minutes are half of 1 %. Sums of five begin with less than five minutes.
    assert found.spent == pytest.approx((0.5, 1.0), rel=0.01)
    assert found.left_upper[200] == 1.0


def test_a_long_window_counts_each_overlapping_increase_for_a_step() -> None:
    base = Counts([50.0] * 600, [0.0] * 600)

    found = summed(base, 6 * 3600.0, GRID)

    # Ten a minute, 360 minutes.
    assert found.valid[599] == pytest.approx(3600.0)
    assert found.bad[599] == 0.0


def test_what_left_a_window_leaves_nothing_behind() -> None:
    # A difference of sums of such sizes would not be 0.
    valid = [1e9 / 3] * 100 + [0.0] * 500
    base = Counts(valid, [value / 7 for value in valid])

    found = summed(base, 3600.0, GRID)

    assert (found.valid[599], found.bad[599]) == (0.0, 0.0)
