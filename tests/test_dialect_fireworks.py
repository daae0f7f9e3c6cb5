"""Fireworks: a page of rates. What happened is a rate times the time that it speaks for.

The page has deployments d1 and d2 of `llama` and d3 of `qwen`. Requests a second: 2.5, 1.5, 0.5;
failed ones of d1: 0.125 (500), 0.25 (429), 0.5 (400), of d2: 0.125 (503), of d3: 0.25 (499).
"""

import pytest

from burnmeter import growth, histograms, reports, watch
from burnmeter.dialects import load_all
from burnmeter.errors import PageError
from burnmeter.inspection import inspect
from burnmeter.model import EnginePage, Growth, Histogram, Key, Target
from burnmeter.page import Page, read_page
from burnmeter.watch import Watched
from tests import pages
from tests.fakes import reading, terms

MODELS = "accounts/fireworks/models/"
SHOWN = pages.engine_page(pages.text_of("fireworks", "history/2026-11"))
NOBODY = growth.Identity(None, None, None)
DEPLOYMENT = 'base_model="m",deployment="d"'


def requests(model: str, outcome: str, by: str) -> Key:
    pairs = {"model": MODELS + model, "outcome": outcome, "counted_by": by}
    return Key("requests_total", tuple(sorted(pairs.items())))


def tokens(model: str, kind: str) -> Key:
    return Key("tokens_total", (("kind", kind), ("model", MODELS + model)))


def latency(measure: str, model: str) -> Key:
    return Key(measure, (("model", MODELS + model),))


def looks(page: EnginePage, *seconds: float, every: float) -> list[Growth]:
    """The same page at each of these times."""
    seen, found = None, []
    for at_seconds in seconds:
        seen, grown = growth.flow(
            seen,
            page,
            at_seconds=at_seconds,
            identity=NOBODY,
            interval_seconds=every,
        )
        found.append(grown)
    return found


def test_a_hosted_deployments_page_counts_where_the_engine_is() -> None:
    assert (SHOWN.engine, SHOWN.role, SHOWN.vantage) == ("fireworks", "engine", "engine")
    assert SHOWN.unknown_families == ()


def test_rates_over_thirty_seconds_are_what_happened_in_them() -> None:
    _, grown = looks(SHOWN, 0, 30, every=30)

    assert grown.counters == {
        requests("llama", "ok", "engine"): 120,
        requests("llama", "error", "http"): 15,  # a busy deployment's 429 among them
        requests("llama", "rejected", "http"): 15,
        requests("qwen", "ok", "engine"): 15,
        requests("qwen", "cancelled", "http"): 7.5,
        tokens("llama", "prompt"): 30_000,
        tokens("llama", "prompt_cached"): 12_000,
        tokens("qwen", "prompt"): 1920,
        tokens("qwen", "prompt_cached"): 0,
    }


def test_a_bucket_whose_name_goes_on_after_it_is_read_in_seconds() -> None:
    """First tokens of llama a second: d1 1, 2, 2.5, 2.5; d2 0, 0.5, 1, 1.5."""
    _, grown = looks(SHOWN, 0, 30, every=30)

    ttft = grown.histograms[latency("ttft_seconds", "llama")]
    assert ttft == Histogram((0.1, 0.25, 1.0), (30.0, 75.0, 105.0), 120.0, None)
    assert histograms.below(ttft, 0.25) == (75, 75)
    assert grown.histograms[latency("duration_seconds", "qwen")].bounds == (1.0, 5.0, 30.0)
    generated = grown.histograms[latency("request_generated_tokens", "llama")]
    assert generated == Histogram((16.0, 256.0), (15.0, 120.0), 120.0, None)


def test_what_a_first_look_shows_happened_before_it() -> None:
    (first,) = looks(SHOWN, 0, every=30)
    assert first.is_first_sight
    assert set(first.counters.values()) == {0}


@pytest.mark.parametrize(
    ("seconds", "ok", "gap_seconds"),
    [(30, 120, 0), (33, 132, 0), (60, 240, 0), (180, 240, 120), (3600, 240, 3540)],
    ids=["on time", "late", "one look missed", "five missed", "an hour"],
)
def test_a_rate_speaks_for_two_intervals_at_most_and_the_rest_is_a_gap(
    seconds: float, ok: float, gap_seconds: float
) -> None:
    _, grown = looks(SHOWN, 0, seconds, every=30)

    assert grown.counters[requests("llama", "ok", "engine")] == ok
    assert (grown.seconds, grown.gap_seconds) == (seconds, gap_seconds)


def test_a_rate_that_falls_is_no_restart_and_one_that_is_not_a_number_is_absent() -> None:
    def ok(rate: str) -> Page:
        return read_page(f"request_counter_total:sum_by_deployment{{{DEPLOYMENT}}} {rate}\n")

    target = Target(name="f", url="", origin="config", least_interval_seconds=30.0)
    was, grown = Watched(target=target), []
    for at_seconds, rate in ((0.0, "4"), (30.0, "4"), (60.0, "1"), (90.0, "NaN"), (120.0, "2")):
        told = watch.look(was, reading(at_seconds, name="f"), ok(rate), terms())
        was = told.watched
        assert told.growth is not None
        grown.append(sum(told.growth.counters.values()))

    assert grown == [0, 120, 30, 0, 60]
    assert (was.restarts, was.is_stalled) == (0, None)


def test_gauges_are_of_the_fullest_deployment_or_of_all_together() -> None:
    assert {pages.shown(key): value for key, value in SHOWN.gauges.items()} == {
        f"running_requests{{model={MODELS}llama}}": 10,
        f"running_requests{{model={MODELS}qwen}}": 0.25,
        f"kv_cache_used_ratio{{model={MODELS}llama}}": 0.75,
        f"kv_cache_used_ratio{{model={MODELS}qwen}}": 0.5,
    }


def test_what_is_not_documented_is_said_to_be_missing() -> None:
    why = SHOWN.not_available["tokens_total{kind=generated}"]
    assert why.startswith("Fireworks documents no count of generated tokens")
    assert load_all()["fireworks"].stall_unknown is not None


def test_one_page_shown_is_a_minute_and_two_have_no_difference() -> None:
    text = pages.text_of("fireworks", "history/2026-11")
    found = inspect(text)

    assert found.models[f"{MODELS}llama"].requests == {"ok": 240, "error": 30, "rejected": 30}
    assert reports.inspection(found).startswith(
        "Fireworks, role engine: in 60 s, as its rates are now\n"
    )
    with pytest.raises(PageError, match="inspect one page alone"):
        inspect(text, text)
