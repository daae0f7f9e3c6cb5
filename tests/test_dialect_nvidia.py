"""TensorRT-LLM and NIM: numbers worked out by hand from how their pages were designed."""

import pytest

from burnmeter import watch
from burnmeter.dialects import load_all
from burnmeter.inspection import inspect
from burnmeter.model import Process, Target
from burnmeter.normalise import normalise
from burnmeter.page import read_page
from burnmeter.planning import plan
from burnmeter.sources.processes import find_engines
from burnmeter.watch import Watched
from tests import pages
from tests.fakes import reading, target, terms
from tests.findings import error_rate, gauges, ladder, models, only

FULL = pages.text_of("trtllm", "history/2026-everything-on")
NIM = pages.text_of("nim", "history/1.8")


def targets_of(command: str) -> tuple[Target, ...]:
    """Who is found where only this runs, and listens on the port that it says or should."""
    hints = [hint for engine in ("trtllm", "triton") for hint in load_all()[engine].processes]
    process = Process(
        pid=7,
        parent_pid=1,
        started_timestamp_seconds=1.0,
        command=tuple(command.split()),
        title="",
        ports=(8000, 8001, 9002),
    )
    return find_engines({7: process}, hints)


# --- who made a page -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "engine", "role"),
    [
        ("trtllm/history/2026-everything-on", "trtllm", "engine"),
        ("trtllm/history/2026-idle", "trtllm", "engine"),
        ("trtllm/history/1.1", "trtllm", "engine"),
        ("trtllm/history/1.2-iteration-stats", "trtllm", "engine"),
        ("triton/history/25.06-python", "triton", "engine"),
        ("vllm/lookalikes/triton", "vllm", "worker"),
        ("nim/history/1.8", "nim", "engine"),
        ("nim/history/1.0", "nim", "engine"),
        ("nim/lookalikes/vllm-inside", "vllm", "engine"),
        ("nim/lookalikes/vllm-config", "nim", "engine"),
    ],
)
def test_a_page_is_told_from_those_that_share_its_names(page: str, engine: str, role: str) -> None:
    found = inspect((pages.ENGINES / f"{page}.prom").read_text("utf-8"))
    assert (found.engine, found.role, found.vantage) == (engine, role, "engine")


def test_a_worker_of_dynamo_is_known_by_the_company_it_keeps() -> None:
    text = pages.text_of("trtllm", "lookalikes/dynamo-worker")
    page = pages.engine_page(text, "trtllm")

    assert page.role == "worker"
    assert pages.planned(text, "trtllm")[1].models == {"Qwen/Qwen3-0.6B": "Qwen/Qwen3-0.6B"}


@pytest.mark.parametrize("page", ["history/1.1", "history/1.2-undefined"])
def test_undefined_names_no_model(page: str) -> None:
    assert models(pages.text_of("trtllm", page)) == {"": ""}
    assert models(FULL) == {"llama-8b": "llama-8b"}


# --- TensorRT-LLM --------------------------------------------------------------------------------


def test_trtllm_counts_what_finished_and_what_it_refused() -> None:
    """30 stopped, 10 at their length, 2 cancelled; all 42 are also in num_requests_completed."""
    assert only(FULL).requests == {"ok": 40.0, "cancelled": 2.0, "rejected": 3.0}
    assert only(FULL).tokens == {"generated": 8400.0, "prompt": 4200.0, "prompt_cached": 1200.0}
    assert gauges(FULL) == {
        "running_requests": 3.0,
        "waiting_requests": 2.0,
        "kv_cache_used_ratio": 0.25,
    }


def test_trtllm_has_one_duration_of_each_request_and_speculates_by_position() -> None:
    counts, total, seconds = ladder(FULL, "ttft_seconds")
    assert (counts[0.1], counts[0.25], counts[0.5], total, seconds) == (20, 30, 42, 42, 8.4)
    counts, total, seconds = ladder(FULL, "tpot_seconds")
    assert (counts[0.01], counts[0.025], total, seconds) == (20, 42, 42, 0.42)
    page = pages.summary(pages.engine_page(FULL))["counters"]
    assert page["speculative_draft_tokens_total{model=llama-8b}"] == [60.0, 40.0]
    assert page["speculative_accepted_tokens_total{model=llama-8b}"] == [45.0, 15.0]


def test_old_bare_names_say_the_same_as_new_ones() -> None:
    bare = pages.text_of("trtllm", "history/1.1")
    assert only(bare).requests == {"ok": 40.0}
    for measure in ("ttft_seconds", "tpot_seconds", "queue_seconds"):
        assert ladder(bare, measure)[0].keys() == ladder(FULL, measure)[0].keys()
    assert ladder(bare, "ttft_seconds")[1:] == (40, 8.4)
    assert ladder(bare, "duration_seconds")[1:] == (40, 84.0)


def test_trtllm_counts_no_failure_and_says_what_would() -> None:
    why = inspect(FULL).not_available
    assert why["requests_total{outcome=error}"].endswith("a gateway or a probe can")
    assert why["itl_seconds"].endswith("a probe can")
    assert "running_requests" not in why
    idle = inspect(pages.text_of("trtllm", "history/2026-idle")).not_available
    assert idle["requests_total"] == "this page has counted nothing of it yet"
    assert idle["running_requests"] == (
        "not on this page; it comes with `enable_iter_perf_stats: true`,"
        " and version 1.3 or later or the JSON list"
    )


def test_nobody_calls_trtllm_stalled_whose_page_moves_at_finish_only() -> None:
    page, was = read_page(FULL), Watched(target=target())
    for number in range(10):
        was = watch.look(was, reading(5.0 * number), page, terms()).watched

    assert (was.held, was.is_stalled) == (5.0, None)
    stall_unknown = load_all()["trtllm"].stall_unknown
    assert stall_unknown is not None
    assert "a long generation looks like a stall" in " ".join(stall_unknown.split())


def test_each_half_of_a_pair_leaves_out_what_the_other_counts() -> None:
    page = read_page(FULL)
    prefill, decode = (
        normalise(page, plan(page, load_all(), role=role)) for role in ("prefill", "decode")
    )
    assert {k.measure for k in prefill.histograms} == {
        "ttft_seconds",
        "queue_seconds",
        "prefill_seconds",
    }
    assert "requests_total" not in {k.measure for k in prefill.counters}
    assert "ttft_seconds" not in {k.measure for k in decode.histograms}
    assert "requests_total" in {k.measure for k in decode.counters}


@pytest.mark.parametrize(
    ("command", "target_name", "model", "role"),
    [
        ("trtllm-serve Qwen/Q3 --port 8001", "trtllm-8001", "Qwen/Q3", None),
        ("python3 /bin/trtllm-serve serve /m --served_model_name=q", "trtllm-8000", "q", None),
        ("trtllm-serve /m --server_role CONTEXT", "trtllm-8000", "/m", "prefill"),
        ("tritonserver --model-repository=/m --metrics-port=9002", "triton-9002", None, None),
    ],
)
def test_a_command_line_tells_the_page_the_model_and_the_half(
    command: str, target_name: str, model: str | None, role: str | None
) -> None:
    found = targets_of(command)
    assert [(t.name, t.served_model, t.role) for t in found] == [(target_name, model, role)]
    path = "/metrics" if "triton" in command else "/prometheus/metrics"
    assert found[0].url.endswith(path)


def test_what_only_passes_requests_on_to_trtllm_is_not_taken_for_it() -> None:
    assert targets_of("trtllm-serve disaggregated -c config.yaml") == ()


def test_nobody_asks_trtllm_for_its_health_which_may_shut_it_down() -> None:
    asks = load_all()["trtllm"].asks
    assert (asks.version_path, asks.models_path) == ("/version", "/v1/models")
    assert asks.health_path is None


def test_what_a_context_server_hands_on_is_finished_elsewhere() -> None:
    """30 stopped and 10 at their length; the 30 become first halves of requests."""
    assert only(FULL).requests["ok"] == 40.0
    assert only(FULL.replace('"stop"', '"not_finished"')).requests["ok"] == 10.0


# --- NIM -----------------------------------------------------------------------------------------


def test_nim_counts_each_request_once_though_three_counters_have_it() -> None:
    """20 stopped, 10 at their length, 2 cancelled, 1 failed; NIM's own sums are 30 and 3."""
    assert only(NIM).requests == {"ok": 30.0, "error": 1.0, "cancelled": 2.0}
    assert error_rate(NIM) == pytest.approx((1 / 31, 1 / 31))
    assert only(NIM).tokens == {"generated": 6660.0, "prompt": 3300.0}
    assert gauges(NIM) == {
        "running_requests": 4.0,
        "waiting_requests": 1.0,
        "kv_cache_used_ratio": 0.125,
    }


def test_before_nim_had_a_count_of_finishes_its_successes_had_the_reason() -> None:
    assert only(pages.text_of("nim", "history/1.0")).requests == {"ok": 8.0, "cancelled": 1.0}


def test_a_nim_that_has_not_been_asked_is_one_though_vllms_config_is_on_its_page() -> None:
    """vLLM inside writes its own info at once; of NIM's gauges there is only the declaration."""
    idle = (
        'vllm:cache_config_info{block_size="16"} 1.0\n'
        'num_request_max{model_name="a"} 256\n# TYPE num_requests_running gauge\n'
    )
    assert inspect(idle).engine == "nim"


def test_nims_time_per_output_token_has_a_sample_for_each_gap() -> None:
    """33 requests made 6660 tokens: 6627 gaps."""
    counts, total, seconds = ladder(NIM, "itl_seconds")
    assert (counts[0.01], total, seconds) == (6000, 6660 - 33, 53.0)
    why = inspect(NIM).not_available["tpot_seconds"]
    assert why == "NIM measures gaps between tokens (itl), no mean for each request"
