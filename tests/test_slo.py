"""Burn, budget and the three states of one objective, from its ledger."""

from collections.abc import Iterable

import pytest

from burnmeter import slo
from burnmeter.model import Burn, Tally
from burnmeter.slo import Ledger
from tests.fakes import objective

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
HEALTHY = Tally(10, 10, 10)
BROKEN = Tally(10, 0, 0)
QUIET = Tally(0, 0, 0)


def record(tallies: Iterable[Tally | None], *, step: float = MINUTE, ledger: Ledger = ()) -> Ledger:
    """One tally each `step` seconds, after what is in the ledger."""
    at = ledger[-1].at_seconds if ledger else 0.0
    for tally in tallies:
        at += step
        ledger = slo.record(ledger, at, tally, step)
    return ledger


def judge(
    ledger: Ledger,
    objective_ratio: float = 0.99,
    *,
    indicator: str = "ttft",
    unmeasured: str | None = None,
) -> Burn:
    return slo.burn(
        objective(indicator, objective_ratio, threshold_seconds=1.0),
        "llama",
        ledger,
        unmeasured=unmeasured,
    )


def said(burn: Burn) -> tuple[str, str | None, str]:
    return burn.state, burn.severity, burn.reason


# --- windows -------------------------------------------------------------------------------------


def test_the_first_events_of_a_ledger_are_in_its_windows() -> None:
    """An engine younger than our watch brings them with its first page."""
    (*_, window) = judge(slo.record((), 100.0, BROKEN, 0.0)).windows

    assert window.valid == 10
    assert window.burn_lower == pytest.approx(100)


def test_a_window_sees_only_its_own_time() -> None:
    ledger = record([BROKEN] * 10 + [HEALTHY] * 60)

    assert slo.window(ledger, HOUR, 0.01).burn_lower == 0.0
    assert slo.window(ledger, HOUR + 10 * MINUTE, 0.01).burn_lower == pytest.approx(100 / 7)


def test_a_young_ledger_s_window_says_how_much_of_it_was_measured() -> None:
    window = slo.window(record([BROKEN] * 3), HOUR, 0.01)

    assert (window.seconds, window.covered_seconds) == (HOUR, 3 * MINUTE)


def test_time_that_was_not_measured_is_not_covered_and_burns_nothing() -> None:
    window = slo.window(record([BROKEN, None, None, HEALTHY]), HOUR, 0.01)

    assert window.covered_seconds == 2 * MINUTE
    assert window.burn_lower == pytest.approx(50)


def test_a_threshold_between_buckets_burns_between_two_numbers() -> None:
    window = slo.window(record([Tally(10, 8, 9)]), HOUR, 0.01)

    assert window.burn_lower == pytest.approx(10)
    assert window.burn_upper == pytest.approx(20)


# --- budget --------------------------------------------------------------------------------------


def test_the_budget_left_is_what_the_measured_time_has_not_spent() -> None:
    # Half of the requests fail for 3 h of 720 h at 99 %: burn 50 x 3 / 720 = 0.2083 of the budget.
    burn = judge(record([Tally(10, 5, 5)] * 180))

    assert burn.covered_ratio == pytest.approx(3 / 720)
    assert burn.budget_left_ratio == pytest.approx(1 - 50 * 3 / 720)


def test_an_overspent_budget_is_below_zero() -> None:
    # A total outage of 8 h at 99 %: 100 x 8 / 720 = 1.111 of the budget.
    assert judge(record([BROKEN] * 480)).budget_left_ratio == pytest.approx(-0.1111, abs=1e-3)


def test_without_anything_measured_no_budget_is_known() -> None:
    assert judge(record([None] * 5)).budget_left_ratio is None


# --- states --------------------------------------------------------------------------------------


def test_a_healthy_objective_is_good_and_says_over_which_time() -> None:
    assert said(judge(record([HEALTHY] * 120))) == ("good", None, "burn 0 over 1 h, 0 over 5 min")


def test_a_young_objective_names_only_the_time_it_has_seen() -> None:
    assert said(judge(record([HEALTHY] * 3))) == ("good", None, "burn 0 over 3 min")


def test_a_total_outage_pages_and_says_how_fast_it_burns() -> None:
    # After 9 of 60 min: 100 x 9 / 60 = 15, above 14.4.
    burn = judge(record([HEALTHY] * 120 + [BROKEN] * 9))

    assert said(burn) == ("burning", "page", "burn 15 over 1 h, page above 14.4")


def test_an_outage_is_burning_before_it_has_spent_a_page_s_worth() -> None:
    # 2 of 5 min: burn 40; over the hour only 3.3.
    burn = judge(record([HEALTHY] * 120 + [BROKEN] * 2))

    assert said(burn) == ("burning", None, "burn 40 over 5 min; it will page if it lasts")


def test_a_page_ends_soon_after_the_outage() -> None:
    ledger = record([HEALTHY] * 120 + [BROKEN] * 20 + [HEALTHY] * 5)

    assert judge(ledger).severity is None
    assert judge(ledger).state == "good"


def test_twice_the_budget_for_hours_is_a_ticket_and_no_page() -> None:
    # 2 % fail at 99 %: burn 2. The 3-day tier (1) knows 2 x 37 / 72 = 1.03 after 37 h.
    slow = Tally(100, 98, 98)

    states = {hours: judge(record([slow] * (12 * hours), step=300.0)) for hours in (1, 12, 35, 37)}

    assert {hours: burn.severity for hours, burn in states.items()} == {
        **dict.fromkeys((1, 12, 35), None),
        37: "ticket",
    }


def test_one_error_in_a_quiet_hour_alerts_nobody_and_says_why() -> None:
    # 1 of 2 requests failed: burn 50 over the hour, 100 over the last 5 minutes.
    burn = judge(record([Tally(1, 1, 1), *[QUIET] * 58, Tally(1, 0, 0)]))

    alone = "burn 50 over 1 h, 100 over 5 min; fewer than 3 bad requests alert nobody"
    assert said(burn) == ("good", None, alone)


def test_three_errors_are_enough_however_few_succeed() -> None:
    """No floor on traffic: in an outage clients stop."""
    quiet, error = [QUIET] * 60, Tally(1, 0, 0)

    assert judge(record([*quiet, *[error] * 2])).state == "good"
    assert judge(record([*quiet, *[error] * 3])).severity == "page"


def test_time_needs_no_floor() -> None:
    # 10 s of 5 min down at 99.9 %: burn 33.
    burn = judge(
        record([Tally(60, 60, 60)] * 5 + [Tally(60, 50, 50)]), 0.999, indicator="availability"
    )

    assert burn.state == "burning"


def test_without_requests_nothing_is_measured() -> None:
    burn = judge(record([HEALTHY] * 10 + [QUIET] * 61), indicator="errors")

    assert said(burn) == ("not_measured", None, "no requests in the last 1 h")


@pytest.mark.parametrize(
    ("ledger", "reason"),
    [
        (record([QUIET], step=5.0), "no requests in the 5 s since we began"),
        (record([QUIET], step=0.0), "this was the first look"),
        (record([None] * 30 + [QUIET] * 30), "no requests in the 30 min measured of the last 1 h"),
        (record([QUIET] * 5 + [None] * 5), "no requests in the 5 min measured of the 10 min since"),
    ],
)
def test_no_more_time_is_called_quiet_than_was_watched(ledger: Ledger, reason: str) -> None:
    state, _, told = said(judge(ledger, indicator="errors"))

    assert state == "not_measured"
    assert told.startswith(reason)


def test_a_latency_without_an_event_does_not_say_that_nobody_asked() -> None:
    burn = judge(record([QUIET] * 3, step=5.0), indicator="ttft")

    assert burn.reason == "no request got a first token in the 15 s since we began"


def test_without_time_nothing_is_measured() -> None:
    burn = judge(record([None] * 10), indicator="availability")

    assert said(burn) == ("not_measured", None, "no time measured in the 10 min since we began")


def test_what_cannot_be_read_now_is_not_good_because_it_was() -> None:
    burn = judge(record([HEALTHY] * 60 + [None]), unmeasured="a: refused")

    assert said(burn) == ("not_measured", None, "a: refused")


def test_what_burned_when_it_was_last_read_goes_on_burning() -> None:
    burn = judge(record([HEALTHY] * 60 + [BROKEN] * 20 + [None]), unmeasured="a: refused")

    assert (burn.state, burn.severity) == ("burning", "page")


@pytest.mark.parametrize(
    ("tally", "reason"),
    [
        pytest.param(
            Tally(10, 0, 10),
            "burn over 1 h is between 0 and 100: the threshold lies between two buckets",
            id="of which a page could come",
        ),
        pytest.param(
            Tally(100, 90, 100),
            "burn over 6 h is between 0 and 10: the threshold lies between two buckets",
            id="of which a slower page could come",
        ),
    ],
)
def test_what_may_burn_is_not_good(tally: Tally, reason: str) -> None:
    assert said(judge(record([tally] * 480))) == ("not_measured", None, reason)


def test_doubt_about_errors_names_the_witnesses() -> None:
    # 10 of the last 50 requests may have failed: 20 % is 20 times the budget.
    burn = judge(record([HEALTHY] * 60 + [Tally(10, 0, 10)]), indicator="errors")

    assert burn.state == "not_measured"
    assert burn.reason == (
        "burn over 5 min is between 0 and 20: witnesses may have seen the same failures,"
        " and lost requests are an estimate"
    )


def test_doubt_about_fewer_events_than_alert_is_no_doubt() -> None:
    assert judge(record([HEALTHY, Tally(2, 0, 2)]), indicator="errors").state == "good"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (300, "5 min"),
        (21600, "6 h"),
        (259200, "3 d"),
        (100, "100 s"),
        (5025, "84 min"),
        (119.9, "2 min"),
        (5, "5 s"),
    ],
)
def test_a_span_is_told_in_whole_units(seconds: float, words: str) -> None:
    assert slo.span_words(seconds) == words


@pytest.mark.parametrize(
    ("bad", "state", "reason"),
    [
        (2, "good", "burn 4 over 5 min; fewer than 3 bad requests alert nobody"),
        (3, "burning", "burn 6 over 5 min, above 1"),
        (10, "burning", "burn 20 over 5 min; it will page if it lasts"),
    ],
)
def test_now_is_burning_when_more_is_spent_than_the_budget_allows(
    bad: int, state: str, reason: str
) -> None:
    """50 requests in 5 minutes, of which 1 % may fail: 0.5. No tier is near its share yet."""
    ledger = record([Tally(10, 10, 10)] * 4 + [Tally(10, 10 - bad, 10 - bad)])

    assert said(judge(ledger)) == (state, None, reason)


def test_what_is_certainly_too_much_is_burning_however_wide_the_doubt() -> None:
    """Between 10 and 20 times the budget: on both sides of the page's 14.4, above 1 for certain."""
    ledger = record([Tally(10, 8, 9)] * 5)

    assert said(judge(ledger)) == ("burning", None, "burn 10 over 5 min, above 1")


def test_the_first_look_judges_nothing_however_bad_the_past_was() -> None:
    first = slo.record((), 100.0, BROKEN, 0.0)

    assert said(judge(first)) == ("not_measured", None, "this was the first look")
    assert judge(record([BROKEN], ledger=first)).state == "burning"
