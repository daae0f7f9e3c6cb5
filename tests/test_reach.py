"""What tiers promise, held against the SRE workbook's tables."""

from dataclasses import replace

import pytest

from burnmeter.model import Objective
from burnmeter.provision import reach
from tests.rule_files import objective

HOUR, DAY = 3600.0, 86400.0
WORKBOOK = [
    ("page", 1 * HOUR, 300.0, 14.4, 0.0144, 0.02),
    ("page", 6 * HOUR, 1800.0, 6.0, 0.006, 0.05),
    ("ticket", 1 * DAY, 2 * HOUR, 3.0, 0.003, 0.10),
    ("ticket", 3 * DAY, 6 * HOUR, 1.0, 0.001, 0.10),
]
"""Of 99.9 % over 30 days: severity, both windows, factor, error ratio that trips, budget used."""


def rounded(objective: Objective) -> list[tuple[object, ...]]:
    return [
        (
            one.tier.severity,
            one.tier.long_seconds,
            one.tier.short_seconds,
            round(one.tier.factor, 12),
            round(one.trip_ratio, 12),
            round(one.spent_ratio, 12),
        )
        for one in reach.promises(objective)
    ]


def test_for_three_nines_over_thirty_days_they_are_the_workbooks_to_the_digit() -> None:
    assert rounded(objective("errors", percent=99.9)) == WORKBOOK


def test_over_28_days_the_same_shares_give_other_factors() -> None:
    found = [one.tier.factor for one in reach.promises(objective("errors", percent=99.9, days=28))]

    # The last would be 0.933: burning slower than the budget overspends nothing, so it is 1.
    assert [round(factor, 9) for factor in found] == [13.44, 5.6, 2.8, 1.0]


@pytest.mark.parametrize(
    ("percent", "seconds"), [(99.9, 51.84), (99.5, 259.2), (99.0, 518.4), (95.0, 600.0)]
)
def test_a_total_outage_pages_when_the_workbooks_formula_says(
    percent: float, seconds: float
) -> None:
    found = reach.promises(objective("errors", percent=percent))

    assert reach.first(found, "page", 1.0) == pytest.approx(seconds, abs=0.01)


def test_a_lesser_outage_takes_longer_and_a_small_one_never_fires() -> None:
    fast = reach.promises(objective("errors", percent=99.0))[0]

    assert reach.fires_after_seconds(fast, 0.5) == pytest.approx(17.28 * 60)
    assert reach.fires_after_seconds(fast, 0.144) is None
    assert reach.fires_after_seconds(fast, 0.1) is None


def test_it_clears_when_the_short_window_bears_it_again() -> None:
    fast = reach.promises(objective("errors", percent=99.9))[0]

    assert reach.clears_after_seconds(fast, 1.0) == pytest.approx(300 * (1 - 0.0144))


def test_the_table_says_it_all_within_80_columns() -> None:
    lines = reach.table([objective("errors", percent=99.9), objective("ttft", percent=90)])

    assert max(map(len, lines)) <= 80
    assert lines[1].split() == [
        *("errors", "0.999", "page", "1h,", "5m", "14.4", "0.0144"),
        *("52s", "104s", "8.6m", "0.02"),
    ]
    assert "never" in lines[5]


def test_a_long_name_does_not_break_the_table() -> None:
    long = replace(objective("errors"), name="a-name-of-" + "x" * 50)

    assert max(map(len, reach.table([long]))) <= 80


def test_what_was_rewritten_is_said_with_its_reason() -> None:
    assert reach.rewritten([objective("errors", percent=99.9)]) == []
    assert reach.rewritten([objective("errors", percent=95)]) == [
        "errors: a page tier was rewritten to 10 over 20 min and 2 min: 14.4 over 1 h needs 72%"
        " failures and 43 min of a total outage"
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(51.84, "52s"), (104, "104s"), (518.4, "8.6m"), (600, "10m"), (6480, "108m"),
     (12960, "3.6h"), (129600, "36h")],
)  # fmt: skip
def test_a_time_has_the_digits_that_count(seconds: float, text: str) -> None:
    assert reach.short(seconds) == text
