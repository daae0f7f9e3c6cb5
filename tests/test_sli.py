"""Valid and good events from growth: exact where buckets allow, else bounded, else not known."""

import pytest

from burnmeter import sli
from burnmeter.model import Key, Tally
from burnmeter.sli import Slice, Worth
from tests.fakes import LOST, OK, TTFT, growth, histogram, key, objective, requests

AWAKE = Slice(5.0, True)
BY_ENGINE, BY_HTTP = requests("error", "engine"), requests("error", "http")


def test_a_threshold_on_a_bound_counts_exactly() -> None:
    found = growth(histograms={TTFT: histogram([0.3, 0.5, 0.7])})

    assert sli.latency("ttft", 0.5, "llama", found) == Tally(3, 2, 2)


def test_a_threshold_between_bounds_counts_between() -> None:
    found = growth(histograms={TTFT: histogram([0.3, 0.5, 0.7])})

    assert sli.latency("ttft", 0.6, "llama", found) == Tally(3, 2, 3)


def test_only_the_model_s_own_latencies_count() -> None:
    other = key("ttft_seconds", model="other")
    found = growth(histograms={TTFT: histogram([0.3]), other: histogram([9.0])})

    assert sli.latency("ttft", 0.5, "llama", found) == Tally(1, 1, 1)


def test_a_latency_that_the_engine_does_not_measure_is_unknown_and_not_zero() -> None:
    assert sli.latency("itl", 0.5, "llama", growth(histograms={TTFT: histogram([0.3])})) is None


def test_no_request_is_a_measurement() -> None:
    assert sli.errors("llama", growth({OK: 0.0})) == Tally(0, 0, 0)


@pytest.mark.parametrize(
    ("failed", "good_upper"),
    [
        pytest.param({BY_ENGINE: 2.0}, 10.0, id="one witness is exact"),
        pytest.param({BY_ENGINE: 2.0, BY_HTTP: 3.0}, 12.0, id="two may have seen the same"),
        pytest.param({BY_HTTP: 2.0, LOST: 3.0}, 13.0, id="lost requests are an estimate"),
        pytest.param({LOST: 3.0}, 13.0, id="lost requests alone are only an estimate"),
    ],
)
def test_failures_have_bounds_where_witnesses_may_overlap(
    failed: dict[Key, float], good_upper: float
) -> None:
    valid = 10.0 + sum(failed.values())

    assert sli.errors("llama", growth({OK: 10.0, **failed})) == Tally(valid, 10.0, good_upper)


def test_rejected_and_cancelled_requests_are_no_verdict_on_the_server() -> None:
    refused = {requests("rejected", "http"): 5.0, requests("cancelled", "estimate"): 4.0}

    assert sli.errors("llama", growth({OK: 10.0, **refused})) == Tally(10, 10, 10)


def test_an_engine_that_counts_no_requests_has_no_error_rate_even_if_it_lost_some() -> None:
    """Else the three that were lost would be all the requests that there ever were."""
    assert sli.errors("llama", growth({LOST: 3.0})) is None
    assert sli.errors("llama", growth({})) is None


@pytest.mark.parametrize(
    ("is_good", "tally"),
    [(True, Tally(5, 5, 5)), (False, Tally(5, 0, 0)), (None, None)],
    ids=["good", "bad", "not measured"],
)
def test_time_is_good_bad_or_not_measured(is_good: bool | None, tally: Tally | None) -> None:
    goal = objective("availability")

    assert sli.tally(goal, "llama", growth({}), Slice(5.0, is_good)) == tally


@pytest.mark.parametrize(
    ("worth", "cheap", "fast"),
    [
        (Worth(1.9, None), Tally(5, 5, 5), Tally(5, 0, 0)),
        (Worth(2.0, None), Tally(5, 5, 5), Tally(5, 5, 5)),
        (Worth(2.1, None), Tally(5, 0, 0), Tally(5, 5, 5)),
        (Worth(0.0, None), Tally(5, 5, 5), Tally(5, 0, 0)),
        (Worth(None, None), Tally(0, 0, 0), Tally(0, 0, 0)),
        (Worth(None, "no price is known"), None, None),
    ],
    ids=["below", "at it", "above", "nothing", "idle", "not known"],
)
def test_time_is_good_on_one_side_of_a_threshold_and_at_it(
    worth: Worth, cheap: Tally | None, fast: Tally | None
) -> None:
    below = objective("cost", threshold_dollars_per_million_tokens=2.0)
    above = objective("throughput", threshold_tokens_per_second=2.0)

    assert sli.worth(below, worth, 5.0) == cheap
    assert sli.worth(above, worth, 5.0) == fast


def test_an_objective_asks_for_its_own_indicator() -> None:
    found = growth({OK: 1.0}, {TTFT: histogram([0.7])})

    slow = objective("ttft", threshold_seconds=0.5)
    assert sli.tally(slow, "llama", found, AWAKE) == Tally(1, 0, 0)
    assert sli.tally(objective("errors"), "llama", found, AWAKE) == Tally(1, 1, 1)


def test_an_outcome_is_told_as_at_least_and_at_most() -> None:
    counts = {("ok", "engine"): 9.0, ("error", "engine"): 2.0, ("error", "http"): 3.0}

    assert sli.by_outcome(counts) == {"ok": 9.0, "error": 3.0, "error_upper": 5.0}
