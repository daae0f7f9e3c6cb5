"""What Prometheus is asked brings the slices that were, and its own bounds are canary.py's."""

import math
from collections.abc import Iterator

import pytest

from burnmeter.provision import canary
from burnmeter.provision.canary import MARGINS, MEASURES, Plan
from burnmeter.provision.canary_promql import Asked, bounds_query
from burnmeter.provision.canary_queries import (
    Found,
    Sides,
    Window,
    bucket_matcher,
    fetch,
    shared_series,
    texts,
)
from burnmeter.provision.prometheus_api import Prometheus
from tests import canary_history
from tests.canary_history import STORIES, UNTIL_SECONDS, of_story

PLAN = Plan(measures=MEASURES)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with canary_history.served(tmp_path_factory.mktemp("canary")) as address:
        yield address


def window(url: str, slice_seconds: float = 60.0) -> Window:
    return Window(
        prometheus=Prometheus(url),
        until_seconds=UNTIL_SECONDS,
        seconds=1800.0,
        slice_seconds=slice_seconds,
    )


def targets(base: str, cand: str) -> Sides:
    return Sides(f'target="{base}"', f'target="{cand}"')


def story(name: str) -> Sides:
    return targets(f"{name}-base", f"{name}-cand")


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("name", STORIES)
def test_slices_are_what_happened(url: str, name: str, measure: str) -> None:
    found = fetch(window(url), measure, story(name), 0.5)

    happened = of_story(name)[measure]
    assert found.reason is None
    assert len(found.slices) == len(happened)
    for got, was in zip(found.slices, happened, strict=True):
        assert got.at_seconds - canary_history.START_SECONDS == was.at_seconds + 60
        # Increases are read from four samples a minute, extrapolated over the edges of slices.
        assert got.candidate.whole == pytest.approx(was.candidate.whole, rel=0.3)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("name", STORIES)
def test_the_query_gives_the_bounds_of_the_program(url: str, name: str, measure: str) -> None:
    asked, sides = window(url), story(name)
    terms = PLAN.terms(measure, MARGINS[measure])
    base, cand = (texts(measure, where, 60.0, 0.5, "engine") for where in sides)
    query = bounds_query(Asked(base, cand, 1800.0, terms))

    ours = canary.compare(fetch(asked, measure, sides, 0.5).slices, terms)
    found = [one.points[0][1] for one in asked.prometheus.instant(query, UNTIL_SECONDS)]

    expected = [
        -math.inf if ours.lower is None else ours.lower,
        math.inf if ours.upper is None else ours.upper,
    ]
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("cand", ["late", "started", "restarted", "bare", "failing", "nobody"])
def test_the_query_agrees_where_data_are_missing(url: str, cand: str, measure: str) -> None:
    asked, sides = window(url), targets("equal-base", cand)
    terms = PLAN.terms(measure, MARGINS[measure])
    witness = "http" if cand == "bare" else "engine"
    base, side = (texts(measure, where, 60.0, 0.5, witness) for where in sides)
    query = bounds_query(Asked(base, side, 1800.0, terms))

    found = fetch(asked, measure, sides, 0.5)
    bounds = [one.points[0][1] for one in asked.prometheus.instant(query, UNTIL_SECONDS)]

    ours = canary.compare(found.slices, terms)
    lower = -math.inf if ours.lower is None else ours.lower
    upper = math.inf if ours.upper is None else ours.upper
    assert bounds == pytest.approx([lower, upper], rel=1e-6)


def test_a_candidate_that_just_started_counts_from_its_first_slice(url: str) -> None:
    found = fetch(window(url), "ttft", targets("equal-base", "started"), 0.5)

    assert len(found.slices) == 25


def test_a_restart_costs_no_more_than_what_it_lost(url: str) -> None:
    found = fetch(window(url), "cost", targets("equal-base", "restarted"), None)

    assert all(one.candidate.part >= 0 for one in found.slices)
    assert len(found.slices) == 28, "in two slices nothing was counted"


@pytest.mark.parametrize(
    ("cand", "measure", "reason"),
    [
        ("nobody", "ttft", 'the candidate has no burnmeter_ttft_seconds_count{target="nobody"}'),
        ("bare", "tpot", 'the candidate has no burnmeter_tpot_seconds_count{target="bare"}'),
        ("bare", "cost", 'the candidate has no burnmeter_tokens_total{target="bare"}'),
        (
            *("nobody", "errors"),
            "nobody counts the candidate's successes: no burnmeter_requests_total"
            '{target="nobody",outcome="ok"}',
        ),
    ],
)
def test_what_is_not_there_is_named(url: str, cand: str, measure: str, reason: str) -> None:
    found = fetch(window(url), measure, targets("equal-base", cand), None)

    assert found == Found(reason=reason)


def test_slices_below_two_scrapes_are_said_to_be_too_short(url: str) -> None:
    found = fetch(window(url, slice_seconds=15.0), "ttft", story("equal"), None)

    assert found.reason == (
        "the baseline has no two samples of burnmeter_ttft_seconds_count in any slice; "
        "make --slice four times the scrape interval"
    )


def test_both_sides_are_counted_by_a_witness_that_both_have(url: str) -> None:
    found = fetch(window(url), "errors", targets("equal-base", "bare"), None)

    assert found.what == "as counted by http"
    assert len(found.slices) == 30


def test_a_candidate_that_never_succeeded_fails(url: str) -> None:
    """A counter that engines show from their first success on is not there."""
    found = fetch(window(url), "errors", targets("equal-base", "failing"), None)

    assert found.slices
    assert all(one.candidate.part == one.candidate.whole > 0 for one in found.slices)
    terms = PLAN.terms("errors", MARGINS["errors"])
    assert canary.compare(found.slices, terms).verdict == "fail"


def test_without_a_threshold_about_a_tenth_is_slow(url: str) -> None:
    assert fetch(window(url), "ttft", story("equal"), None).what == "slower than 0.5 s"


def test_a_threshold_that_is_no_bound_is_moved_and_said(url: str) -> None:
    found = fetch(window(url), "ttft", story("equal"), 0.9)

    assert found.what == "slower than 1 s, the common bound next to 0.9 s"


def test_series_on_both_sides_are_counted(url: str) -> None:
    both = Sides('target="equal-base"', 'target=~"equal-.*"')

    assert shared_series(window(url), "ttft", both) == 1
    assert shared_series(window(url), "ttft", story("equal")) == 0


@pytest.mark.parametrize(
    ("threshold", "text"),
    [(0.5, 'le=~"0[.]5"'), (1.0, 'le=~"1|1[.]0"'), (1e-05, 'le=~"1e-05"')],
)
def test_a_bound_is_found_as_any_version_writes_it(threshold: float, text: str) -> None:
    assert bucket_matcher(threshold) == text
