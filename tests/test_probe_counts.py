"""What a probe has counted as a page, and what its day's bounds leave it."""

from dataclasses import replace
from typing import Any

import pytest

from burnmeter.config_probes import Probe
from burnmeter.dialects import load_all
from burnmeter.sources.probe_counts import GAP_BOUNDS, WAIT_BOUNDS, Budget, Counts
from burnmeter.sources.probe_request import Result
from tests import pages, probing

NOON_TIMESTAMP_SECONDS = 20_000 * 86400 + 43200.0
MIDNIGHT_TIMESTAMP_SECONDS = 20_001 * 86400.0
OK = Result(
    outcome="ok",
    first_token_seconds=0.25,
    gaps_seconds=(0.02, 0.03),
    per_token_seconds=0.025,
    duration_seconds=0.3,
    prompt_tokens=40,
    generated_tokens=3,
    chunks=3,
    is_answered=True,
)


def probe(**changes: Any) -> Probe:
    return probing.probe("http://127.0.0.1:9/metrics", **changes)


# --- what it counts ----------------------------------------------------------------------------


def counted(*results: tuple[Result, float | None], **changes: Any) -> dict[str, Any]:
    """The page of a probe with these results, in our words."""
    counts = Counts(probe(**changes), 1000.5)
    for result, dollars in results:
        counts.add(result, dollars)
    return pages.summary(pages.engine_page(counts.page()))


def test_a_page_says_outcomes_tokens_dollars_and_latencies_of_its_model() -> None:
    untold = replace(OK, prompt_tokens=None, generated_tokens=None)
    failed = Result(outcome="error", illness="it broke", first_token_seconds=0.5)
    prices = {"prompt_dollars_per_million_tokens": 1, "generated_dollars_per_million_tokens": 2}
    page = counted((OK, 0.5), (untold, 0.25), (failed, 0.0), (Result(outcome=None), 0.0), **prices)

    assert (page["engine"], page["role"], page["vantage"]) == ("probe", "probe", "probe")
    assert page["started_timestamp_seconds"] == 1000.5
    assert page["counters"] == {
        "requests_total{counted_by=probe,model=tiny,outcome=error}": 1,
        "requests_total{counted_by=probe,model=tiny,outcome=ok}": 2,
        "requests_total{counted_by=probe,model=tiny,outcome=rejected}": 0,
        "spent_dollars_total{model=tiny}": 0.75,
        "tokens_total{kind=generated,model=tiny}": [3, 3],  # by usage, by parts
        "tokens_total{kind=prompt,model=tiny}": 40,
    }
    totals = {name: (one["total"], one["sum"]) for name, one in page["histograms"].items()}
    assert totals == {
        "duration_seconds{model=tiny}": (2, 0.6),
        "itl_seconds{model=tiny}": (4, 0.1),
        "tpot_seconds{model=tiny}": (2, 0.05),
        "ttft_seconds{model=tiny}": (3, 1.0),
    }


def test_what_lies_on_a_bound_is_below_it() -> None:
    counts = Counts(probe(), 0.0)
    counts.add(OK, None)
    page = counts.page()

    assert 'ttft_seconds_bucket{model="tiny",le="0.2"} 0\n' in page
    assert 'ttft_seconds_bucket{model="tiny",le="0.25"} 1\n' in page
    assert 'ttft_seconds_bucket{model="tiny",le="+Inf"} 1\n' in page


def test_without_prices_no_dollars_are_claimed() -> None:
    page = counted((OK, None))

    assert not [name for name in page["counters"] if "dollars" in name]
    assert (
        page["not_available"]["spent_dollars_total"]
        == "not on this page; it comes with prices in the probe's config"
    )


def test_a_models_name_of_any_signs_is_the_same_on_the_page() -> None:
    page = counted(model='a"b\\c')

    assert 'tokens_total{kind=prompt,model=a"b\\c}' in page["counters"]


def test_the_dialect_knows_the_probes_own_buckets() -> None:
    measures = load_all()["probe"].measures

    assert measures["ttft_seconds"].bounds == measures["duration_seconds"].bounds == WAIT_BOUNDS
    assert measures["itl_seconds"].bounds == measures["tpot_seconds"].bounds == GAP_BOUNDS


# --- what bounds it ----------------------------------------------------------------------------


def test_tokens_of_a_day_are_never_exceeded_even_by_a_request_that_takes_all_it_may() -> None:
    # A prompt of one letter is at most 101 tokens with its template, so a request at most 104.
    budget = Budget(probe(prompt="x", max_tokens=3, tokens_per_day=150))

    assert budget.reached(NOON_TIMESTAMP_SECONDS) is None
    budget.charge(OK)  # 43 tokens; the prompt is now known to be 40, and 107 are left
    assert budget.reached(NOON_TIMESTAMP_SECONDS) is None
    budget.charge(OK)  # 86
    assert budget.reached(NOON_TIMESTAMP_SECONDS) is None
    budget.charge(OK)  # 129, and 43 more would be 172
    assert budget.reached(NOON_TIMESTAMP_SECONDS) == "tokens_per_day"
    assert budget.reached(MIDNIGHT_TIMESTAMP_SECONDS - 0.001) == "tokens_per_day"
    assert budget.reached(MIDNIGHT_TIMESTAMP_SECONDS) is None


PRICED = {"prompt_dollars_per_million_tokens": 1000, "generated_dollars_per_million_tokens": 4000}
"""A token of the prompt is 0.001 dollars here, a generated one 0.004."""


def test_dollars_of_a_day_are_never_exceeded() -> None:
    # The first may cost 0.101 + 0.012; it does cost 0.040 + 0.012.
    budget = Budget(probe(prompt="x", dollars_per_day=0.12, **PRICED))

    assert budget.reached(NOON_TIMESTAMP_SECONDS) is None
    assert budget.charge(OK) == pytest.approx(0.052)
    assert budget.reached(NOON_TIMESTAMP_SECONDS) is None
    assert budget.charge(OK) == pytest.approx(0.052)
    assert budget.reached(NOON_TIMESTAMP_SECONDS) == "dollars_per_day"


@pytest.mark.parametrize(
    ("result", "dollars"),
    [
        (Result(outcome="error", is_answered=True, chunks=1), 0.101 + 0.012),
        (Result(outcome="error", is_answered=True, prompt_tokens=10), 0.010 + 0.012),
        (Result(outcome="ok", is_answered=True, chunks=5), 0.101 + 0.020),
        (Result(outcome="rejected"), 0.0),
        (Result(outcome=None), 0.0),
    ],
    ids=["broken", "broken, prompt told", "more parts than tokens", "rejected", "not sent"],
)
def test_what_an_answer_does_not_say_is_charged_as_the_most_it_may_be(
    result: Result, dollars: float
) -> None:
    assert Budget(probe(prompt="x", **PRICED)).charge(result) == pytest.approx(dollars)
