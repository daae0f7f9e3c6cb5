"""Arithmetic on cumulative histograms: what comes out is never more exact than what went in."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import histograms
from burnmeter.model import Histogram
from burnmeter.snapshot import Quantile
from tests.fakes import histogram

BOUNDS = (0.1, 0.5, 1.0)
values = st.lists(st.sampled_from([0.05, 0.1, 0.3, 0.5, 0.7, 1.0, 2.0, 9.0]), max_size=30)
ladders = st.sets(st.sampled_from([0.05, 0.1, 0.25, 0.5, 1.0, 2.0]), max_size=6).map(
    lambda found: tuple(sorted(found))
)


def test_at_a_bound_the_count_is_exact() -> None:
    seen = histogram([0.05, 0.3, 0.5, 0.7, 3.0])

    assert histograms.below(seen, 0.5) == (3, 3)


@pytest.mark.parametrize(
    ("threshold", "counts"),
    [
        pytest.param(0.05, (0, 1), id="below the first bound"),
        pytest.param(0.6, (3, 4), id="between two"),
        pytest.param(1.5, (4, 5), id="above the last"),
    ],
)
def test_off_the_bounds_a_count_is_known_only_between_two(
    threshold: float, counts: tuple[float, float]
) -> None:
    seen = histogram([0.05, 0.3, 0.5, 0.7, 3.0])

    assert histograms.below(seen, threshold) == counts


@given(values, ladders, st.floats(0.001, 20.0))
def test_the_truth_is_always_within_the_bounds(
    seen: list[float], bounds: tuple[float, ...], threshold: float
) -> None:
    lower, upper = histograms.below(histogram(seen, bounds), threshold)

    assert lower <= sum(value <= threshold for value in seen) <= upper


@given(values, ladders, st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_the_true_quantile_is_within_its_interval(
    seen: list[float], bounds: tuple[float, ...], q: float
) -> None:
    found = histograms.quantile(histogram(seen, bounds), q)

    if not seen or not bounds:
        assert found is None
        return
    truth = sorted(seen)[max(0, math.ceil(q * len(seen) - 1e-9) - 1)]
    assert found is not None
    assert found.lower_seconds <= truth
    assert found.upper_seconds is None or truth <= found.upper_seconds


def test_a_mean_without_buckets_has_no_quantile() -> None:
    assert histograms.quantile(histogram([0.05, 5.0], ()), 0.5) is None


def test_a_quantile_above_the_last_bound_has_no_upper_end() -> None:
    assert histograms.quantile(histogram([0.05, 5.0, 6.0]), 0.9) == Quantile(1.0, None)


@given(values, values, ladders, ladders)
def test_together_counts_at_shared_bounds_are_exact(
    ours: list[float], theirs: list[float], one: tuple[float, ...], other: tuple[float, ...]
) -> None:
    together = histograms.add(histogram(ours, one), histogram(theirs, other))

    shared = tuple(bound for bound in one if bound in other)
    assert together[:3] == histogram([*ours, *theirs], shared)[:3]


def test_a_sum_is_lost_if_either_has_none() -> None:
    seen = histogram([0.3])

    assert histograms.add(seen, seen._replace(sum=None)).sum is None
    assert histograms.subtract(seen, seen._replace(sum=None)).sum is None


@given(values, values, ladders)
def test_since_is_what_was_observed_since(
    before: list[float], more: list[float], bounds: tuple[float, ...]
) -> None:
    new, old = histogram([*before, *more], bounds), histogram(before, bounds)

    assert histograms.since(new, old)[:3] == histogram(more, bounds)[:3]


def test_since_counts_all_of_one_that_began_again() -> None:
    new, old = histogram([0.3, 0.4]), histogram([0.05, 0.05, 0.05])

    assert histograms.since(new, old) == new


def test_a_page_that_lacks_some_of_a_histogram_s_lines_counts_nothing_twice() -> None:
    old, new = histogram([0.05] * 100), histogram([0.05] * 100 + [0.7])
    torn = Histogram((0.1, 1.0), (100.0, 101.0), 101.0, None)

    assert histograms.since(torn, old)[:3] == ((0.1, 1.0), (0.0, 1.0), 1.0)
    assert histograms.since(new, torn)[:3] == ((0.1, 1.0), (0.0, 0.0), 0.0)
