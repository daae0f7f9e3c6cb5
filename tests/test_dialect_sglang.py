"""SGLang's page: which rows are the same events, which names are exact, and what it never tells.

Pages under history/ were written from source with small round numbers; what is expected of them was
worked out from these. Recorded pages are held against their clients' truth.
"""

import json
import re
from typing import Any

import pytest

from burnmeter import watch
from burnmeter.dialects import load_all
from burnmeter.growth import merge_parts
from burnmeter.inspection import inspect
from burnmeter.model import EnginePage, Histogram
from burnmeter.page import read_page
from burnmeter.sli import error_tally, outcomes
from burnmeter.sources.commands import arguments_of, port_of, role_of, served_model_of
from burnmeter.watch import Watched
from tests import pages
from tests.fakes import reading, target, terms


def text(name: str) -> str:
    return pages.text_of("sglang", name)


def page(name: str) -> EnginePage:
    return pages.engine_page(text(name), "sglang")


def count(found: EnginePage, measure: str, **labels: str) -> float | None:
    """The sum of all rows of a measure with these labels; None if there is none."""
    rows = [
        sum(parts.values())
        for key, parts in found.counters.items()
        if key.measure == measure and labels.items() <= dict(key.labels).items()
    ]
    return sum(rows) if rows else None


def histogram(found: EnginePage, measure: str) -> Histogram | None:
    (parts,) = [parts for key, parts in found.histograms.items() if key.measure == measure]
    return merge_parts(parts)


def gauges(found: EnginePage) -> dict[str, float]:
    return {key.measure: value for key, value in found.gauges.items()}


def requests(found: EnginePage) -> dict[tuple[str, str], float]:
    grown = {key: sum(parts.values()) for key, parts in found.counters.items()}
    (model,) = {dict(key.labels)["model"] for key in found.counters}
    return outcomes(model, grown)


# --- who is it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("history/0.3.6", "engine"),
        ("history/0.5.8-all-schedulers", "engine"),
        ("history/0.5.20-prefill", "prefill"),
        ("history/0.5.20-decode", "decode"),
        ("lookalikes/dynamo-worker", "worker"),
        ("lookalikes/model-gateway", "router"),
    ],
)
def test_a_page_tells_what_part_of_sglang_it_is_of(name: str, role: str) -> None:
    found = page(name)

    assert (found.engine, found.role, found.vantage) == ("sglang", role, "engine")


def test_its_own_router_counts_for_no_model() -> None:
    found = page("lookalikes/model-gateway")

    assert (found.counters, found.gauges, found.histograms) == ({}, {}, {})
    assert "read the workers behind it" in found.not_available["requests_total"]


def test_a_worker_inside_dynamo_counts_under_the_engines_word_for_the_model() -> None:
    found = page("lookalikes/dynamo-worker")

    assert count(found, "tokens_total", kind="generated", model="Qwen/Qwen3-0.6B") == 60
    assert requests(found) == {("ok", "engine"): 3, ("cancelled", "engine"): 0}
    why = found.not_available["requests_total{outcome=error}"]
    assert why == "nothing on this page counts failed requests"


# --- the same events in several rows -------------------------------------------------------------


def test_of_schedulers_that_share_a_batch_one_counts_and_data_parallel_ranks_add_up() -> None:
    found = page("history/0.5.8-all-schedulers")

    assert gauges(found) == {
        "open_requests": 7,
        "running_requests": 3 + 1,
        "waiting_requests": 2 + 1,  # one waits for its grammar
        "kv_cache_used_ratio": 0.5,
    }
    assert count(found, "preemptions_total") == 2 + 1
    assert count(found, "prefix_cache_queried_tokens_total") == 300 + 100 + 200 + 50
    assert count(found, "prefix_cache_hit_tokens_total") == 100 + 50
    queue = histogram(found, "queue_seconds")
    assert queue is not None
    assert (queue.total, queue.sum) == (16, pytest.approx(12 * 0.05 + 4 * 0.75))


def test_the_row_without_a_priority_is_the_sum_of_gauges_but_one_of_many_of_tokens() -> None:
    found = page("history/0.5.10-priorities")

    assert gauges(found)["running_requests"] == 5  # of which 2 and 3
    assert gauges(found)["waiting_requests"] == 4
    recorded = gauges(page("0.5.23-priorities-during"))
    assert (recorded["running_requests"], recorded["waiting_requests"]) == (4, 4)
    assert recorded["open_requests"] == 8
    assert count(found, "tokens_total", kind="prompt") == 100 + 100 + 200
    assert requests(found)["ok", "engine"] == 2 + 2 + 4
    ttft = histogram(found, "ttft_seconds")
    assert ttft is not None
    assert ttft.total == 8


def test_cached_tokens_of_unknown_origin_are_not_the_sum_of_the_others() -> None:
    found = page("history/0.5.10-priorities")

    # The source writes `total` only for a request whose tokens it cannot tell apart.
    assert count(found, "tokens_total", kind="prompt_cached") == 40 + 20 + 5 + 10
    assert count(found, "tokens_total", kind="prompt_cached") == count(
        found, "prefix_cache_hit_tokens_total"
    )


def test_of_a_prefill_and_a_decode_worker_each_request_and_token_counts_once() -> None:
    prefill, decode = page("history/0.5.20-prefill"), page("history/0.5.20-decode")

    for measure in ("requests_total", "tokens_total"):
        assert count(prefill, measure) is None
        assert "left to another page" in prefill.not_available[measure]
    assert requests(decode)["ok", "engine"] == 5
    assert count(decode, "tokens_total", kind="prompt") == 500
    assert count(decode, "tokens_total", kind="generated") == 200
    assert {key.measure for key in prefill.histograms} == {"queue_seconds"}
    assert "queue_seconds" not in {key.measure for key in decode.histograms}
    # On its way to the decode worker, a request is held by its prefill worker alone.
    held = [
        (of["running_requests"], of["waiting_requests"]) for of in map(gauges, (prefill, decode))
    ]
    assert held == [(1, 2 + 1 + 1), (3, 1)]


# --- outcomes ------------------------------------------------------------------------------------


def test_only_answers_of_routes_that_run_the_model_are_failures() -> None:
    found = requests(page("history/0.5.8-all-schedulers"))

    assert found == {
        ("ok", "engine"): 16,
        ("cancelled", "engine"): 2,
        ("error", "http"): 1
        + 2
        + 1,  # a 500, two 503 and a 429; not those of /health and /tokenize
        ("rejected", "http"): 3,  # not the 404 of a route that is none
    }
    tally = error_tally(found)
    assert tally is not None
    assert (tally.valid, tally.good_upper) == (20, 16)


def test_before_it_counted_answers_nothing_counted_failures() -> None:
    found = page("history/0.4.10")

    assert requests(found)["ok", "engine"] == 4
    why = found.not_available["requests_total{outcome=error}"]
    assert why == "nothing on this page counts failed requests"


def test_the_first_versions_count_tokens_but_no_request() -> None:
    found = page("history/0.3.6")

    assert count(found, "tokens_total", kind="generated") == 120
    assert count(found, "requests_total") is None
    assert "num_requests_total" in found.not_available["requests_total"]
    # Their time per output token is a mean over all tokens so far, again at every token.
    assert "itl_seconds" in found.not_available
    assert "tpot_seconds" in found.not_available
    ttft = histogram(found, "ttft_seconds")
    assert ttft is not None
    assert (ttft.total, ttft.sum, ttft.bounds[-1]) == (3, 2.25, 30)
    assert ttft.counts[ttft.bounds.index(0.25)] == 2


def test_a_queue_time_is_read_under_its_older_name() -> None:
    queue = histogram(page("history/0.5.2"), "queue_seconds")

    assert queue is not None
    assert (queue.total, queue.sum) == (4, 2.0)
    assert queue.counts[queue.bounds.index(0.2)] == 1
    assert queue.counts[queue.bounds.index(0.5)] == 3


# --- recorded pages and their clients ------------------------------------------------------------


def between(story: str) -> tuple[dict[str, float], dict[str, float], dict[str, Any]]:
    """Requests and tokens as we tell them, and what the client saw."""
    found = inspect(text(f"0.5.23-{story}-after"), text(f"0.5.23-{story}-before"))
    client = json.loads((pages.ENGINES / "sglang" / f"0.5.23-{story}-client.json").read_text())
    (model,) = found.models.values()
    return dict(model.requests), dict(model.tokens), client


STORIES = "mixed steady bad-requests queue-full queue-burst priorities dp2 tp2-all-schedulers"


@pytest.mark.parametrize("story", STORIES.split())
def test_tokens_are_the_clients_to_the_unit(story: str) -> None:
    requests_, tokens, client = between(story)

    assert requests_["ok"] == client["requests"]["ok"]
    assert (tokens["prompt"], tokens["generated"]) == (
        client["prompt_tokens"],
        client["completion_tokens"],
    )


def test_a_dropped_stream_is_in_ok_and_in_cancelled_with_all_tokens_that_were_made() -> None:
    requests_, tokens, client = between("aborts")

    assert client["requests"] == {"aborted": 6, "ok": 10}
    assert (requests_["ok"], requests_["cancelled"]) == (16, 6)
    assert tokens["generated"] == client["completion_tokens"] + 6 * 5  # the client read 3 of 5


def test_refusals_are_errors_if_the_answer_was_whole_and_nowhere_if_it_was_a_stream() -> None:
    whole, _, client = between("queue-full")
    streams, _, client_of_streams = between("queue-burst")

    assert client["requests"] == {"http_503": 8, "ok": 4}
    assert (whole["ok"], whole["error"]) == (4, 8)
    assert client_of_streams["requests"] == {"broken": 8, "ok": 4}
    assert (streams["ok"], streams.get("error", 0)) == (4, 0)


# --- stalls and processes ------------------------------------------------------------------------


def stalled_after(name: str, moved: str | None = None) -> list[bool | None]:
    """Whether it is stalled at looks 10 s apart; `moved`: a name whose rows grow at each."""
    was, found = Watched(target=target()), []
    for step in range(6):
        lines = text(name).splitlines()
        for number, line in enumerate(lines):
            if moved and line.startswith(moved):
                head, _, value = line.rpartition(" ")
                lines[number] = f"{head} {float(value) + step}"
        read = read_page("\n".join(lines) + "\n")
        was = watch.look(was, reading(10.0 * step), read, terms()).watched
        found.append(was.is_stalled)
    return found


@pytest.mark.parametrize(
    ("name", "moved", "patient_looks"),
    [
        # Its HTTP server knows what is open now.
        ("history/0.5.23-everything-on", "sglang:cuda_graph_passes_total", 1),
        # Before it counted its steps, only the gaps between tokens move while a request runs; and
        # what it holds may be half a minute old.
        ("history/0.4.10", "sglang:inter_token_latency_seconds", 4),
    ],
)
def test_an_engine_that_works_is_not_stalled_while_no_request_ends(
    name: str, moved: str, patient_looks: int
) -> None:
    assert stalled_after(name, moved) == [False] * 6
    assert stalled_after(name) == [False] * patient_looks + [True] * (6 - patient_looks)


COMMAND = "python3 -m sglang.launch_server --model-path /m/qwen --port 31000"


@pytest.mark.parametrize(
    ("flags", "role", "shows_metrics"),
    [
        ("", None, False),
        ("--enable-metrics", None, True),
        ("--enable-metrics-for-all-schedulers", None, False),
        ("--enable-metrics --disaggregation-mode prefill", "prefill", True),
        ("--disaggregation-mode=decode", "decode", False),
    ],
)
def test_a_command_line_tells_the_role_and_whether_there_is_a_page(
    flags: str, role: str | None, shows_metrics: bool
) -> None:
    (hint,) = load_all()["sglang"].processes
    arguments = arguments_of(f"{COMMAND} {flags}".split(), hint)

    assert arguments is not None
    assert (port_of(arguments, hint.port_flags), role_of(arguments, hint)) == (31000, role)
    assert served_model_of(arguments, hint) == "/m/qwen"
    switched = any(re.search(pattern, " ".join(arguments)) for pattern in hint.metrics_patterns)
    assert (not hint.has_metrics, switched) == (True, shows_metrics)
