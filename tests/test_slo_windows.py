"""Alert tiers and ledgers over their whole range: what they promise, and what they may cost."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import slo
from burnmeter.model import Tally
from burnmeter.slo import Ledger, Mark, Tier
from tests.fakes import objective

HOUR, DAY = 3600.0, 86400.0
MONTH = 30 * DAY
objectives = st.floats(0.5, 0.9999)
tallies = st.builds(
    lambda good, unsure, bad: Tally(good + unsure + bad, good, good + unsure),
    *[st.integers(0, 20)] * 3,
)


# --- tiers ---------------------------------------------------------------------------------------


def tiers(ratio: float, period: float, *, is_paging: bool = True) -> tuple[Tier, ...]:
    """Of requests that must not fail."""
    goal = objective("errors", ratio, period_seconds=period, is_paging=is_paging)
    return slo.tiers(goal)


def test_the_tiers_of_99_9_percent_are_the_workbook_s() -> None:
    """SRE workbook, chapter 5, table 5-8."""
    ladder = tiers(0.999, MONTH)

    assert [tier.factor for tier in ladder] == pytest.approx([14.4, 6, 3, 1])
    assert [tier.severity for tier in ladder] == ["page", "page", "ticket", "ticket"]
    windows = [(tier.long_seconds, tier.short_seconds) for tier in ladder]
    assert windows == [(HOUR, 300), (6 * HOUR, 1800), (DAY, 7200), (3 * DAY, 21600)]
    assert [tier.rewritten for tier in ladder] == [None] * 4


def test_the_first_tier_of_95_percent_is_rewritten_and_says_why() -> None:
    # 14.4 x 5 % = 72 % of requests, 43 min of a total outage; 50 % over 20 min takes 10.
    fast = tiers(0.95, MONTH)[0]

    assert fast.factor == pytest.approx(10)
    assert (fast.long_seconds, fast.short_seconds) == (1200, 120)
    assert fast.rewritten == "14.4 over 1 h needs 72% failures and 43 min of a total outage"


def test_an_objective_that_pages_nobody_has_the_same_tickets() -> None:
    assert tiers(0.95, MONTH, is_paging=False) == tiers(0.95, MONTH)[2:]


def test_a_short_period_never_alerts_within_its_budget() -> None:
    # 10 % of a week's budget in 3 days is a burn of 0.23: less than there is to spend.
    slow = tiers(0.999, 7 * DAY)[3]

    assert slow.factor == pytest.approx(1)
    assert slow.rewritten == "0.233 over 3 d overspends no budget"


@given(objectives, st.sampled_from([DAY, 7 * DAY, 28 * DAY, MONTH, 90 * DAY]))
def test_every_tier_is_within_reach_of_a_partial_outage(ratio: float, period: float) -> None:
    for tier in tiers(ratio, period):
        assert tier.factor * (1 - ratio) <= 0.5 + 1e-9
        assert tier.factor >= 1 - 1e-9


def test_an_objective_below_half_alerts_only_when_more_fails_than_it_allows() -> None:
    # 90 % may fail: to page at the 50 % that are within reach elsewhere would wake for nothing.
    for tier in tiers(0.1, MONTH):
        assert tier.factor == pytest.approx(1)

    fast = tiers(0.1, MONTH)[0]
    assert (fast.long_seconds, fast.short_seconds) == (660, 120)


@given(objectives, st.sampled_from([DAY, 7 * DAY, 28 * DAY, MONTH, 90 * DAY]))
def test_windows_are_whole_minutes_that_hold_a_few_scrapes(ratio: float, period: float) -> None:
    """The long one holds at least ten short ones, as the workbook's twelve, or it tells no more."""
    for tier in tiers(ratio, period):
        assert (tier.long_seconds % 60, tier.short_seconds % 60) == (0, 0)
        assert tier.short_seconds >= 120
        assert 10 <= tier.long_seconds / tier.short_seconds <= 18


@pytest.mark.parametrize(
    ("ratio", "minutes"),
    [
        (0.9, (20, 2)),
        (0.95, (20, 2)),
        (0.97, (23, 2)),
        (0.972, (24, 2)),
        (0.98, (34, 2)),
        (0.985, (46, 3)),
        (0.989, (60, 5)),
        (0.99, (60, 5)),
        (0.9999, (60, 5)),
    ],
)
def test_the_fast_tier_has_the_longest_windows_that_detect_in_time(
    ratio: float, minutes: tuple[int, int]
) -> None:
    # 97.2 %: 14.4 x 2.8 % = 40.32 % of 25 min are 604.8 s, and 600 are allowed.
    fast = tiers(ratio, MONTH)[0]

    assert (fast.long_seconds / 60, fast.short_seconds / 60) == minutes


@given(st.floats(0.9, 0.9999))
def test_a_total_outage_trips_the_fast_tier_in_ten_minutes(ratio: float) -> None:
    """After that long, of both windows so much has failed that the factor is reached."""
    fast = tiers(ratio, MONTH)[0]
    failed = [min(1.0, 600 / span) for span in (fast.long_seconds, fast.short_seconds)]

    assert min(failed) / (1 - ratio) >= fast.factor * (1 - 1e-9)


def minutes_to_page(ratio: float, past: Ledger, step: float = 20.0) -> float:
    """How long after a healthy past a total outage pages."""
    ledger, at = past, past[-1].at_seconds
    goal = objective("ttft", ratio, threshold_seconds=1.0)
    for number in range(1, 200):
        ledger = slo.record(ledger, at + number * step, Tally(5, 0, 0), step)
        if slo.burn(goal, "m", ledger, unmeasured=None).severity == "page":
            return number * step / 60
    return float("inf")


@pytest.mark.parametrize("ratio", [0.9, 0.92, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999, 0.9999])
def test_a_total_outage_pages_within_minutes(ratio: float) -> None:
    """Where the workbook's own tiers take 43 min at 95 % and for ever at 90 %."""
    past: Ledger = (Mark(0.0, 0.0, 0.0, 0.0, 0.0), *map(steady, range(1, 1081)))

    assert minutes_to_page(ratio, past) <= 11.0
    assert minutes_to_page(ratio, past[:1]) <= 11.0


def steady(number: int) -> Mark:
    """A mark each 20 s, with the same traffic as in the outage."""
    at, events = 20.0 * number, 5.0 * number
    return Mark(at, events, events, events, at)


# --- windows -------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.none(), tallies), min_size=1, max_size=40), objectives)
def test_the_certain_burn_is_never_above_the_possible(
    history: list[Tally | None], ratio: float
) -> None:
    ledger: Ledger = ()
    for number, tally in enumerate(history):
        ledger = slo.record(ledger, 5.0 * number, tally, 5.0)

    burn = slo.burn(objective("errors", ratio), "m", ledger, unmeasured=None)

    most = 1 / (1 - ratio) + 1e-6
    for window in burn.windows:
        assert (window.burn_lower is None) == (window.valid == 0)
        if window.burn_lower is not None and window.burn_upper is not None:
            assert 0 <= window.burn_lower <= window.burn_upper <= most
        assert 0 <= window.covered_seconds <= window.seconds


@given(
    st.lists(st.integers(0, 9), min_size=500, max_size=900),
    st.sampled_from([300.0, 1800.0, 2400.0]),
)
def test_a_thinned_ledger_is_exact_to_two_percent_of_a_window(
    events: list[int], seconds: float
) -> None:
    """It sees at least the window's events, and at most those of a window 2 % and a step longer."""
    ledger: Ledger = ()
    for number, count in enumerate(events):
        ledger = slo.record(ledger, 5.0 * number, Tally(count, count, count), 5.0)
    totals = list(accumulate(events))

    def exact(length: float) -> float:
        first = len(events) - 1 - int(length // 5)
        return totals[-1] - (totals[first] if first >= 0 else 0)

    assert exact(seconds) <= slo.window(ledger, seconds, 0.01).valid <= exact(seconds * 1.02 + 5)


def test_a_month_of_ticks_fits_in_a_short_ledger() -> None:
    """The first 29 days in steps of a minute: of marks that old, no more than that are kept."""
    ledger: Ledger = ()
    longest, at = 0, 0.0
    for step, seconds in ((60.0, MONTH - DAY), (5.0, DAY)):
        for _ in range(int(seconds / step)):
            at += step
            ledger = slo.record(ledger, at, Tally(step, step, step), step)
            longest = max(longest, len(ledger))

    assert longest < 1200
    assert slo.window(ledger, 3 * DAY, 0.01).valid == pytest.approx(3 * DAY, rel=0.02)
