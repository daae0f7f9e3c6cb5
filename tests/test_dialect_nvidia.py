"""TensorRT-LLM, Triton and NIM: numbers worked out by hand from how their pages were designed."""

from collections.abc import Mapping

import pytest

from burnmeter import sli, watch
from burnmeter.choice import called
from burnmeter.dialects import load_all
from burnmeter.inspection import ModelFindings, engine_page, inspect
from burnmeter.model import Key
from burnmeter.normalise import normalise
from burnmeter.page import read_page
from burnmeter.planning import plan
from burnmeter.watch import Watched
from tests import pages
from tests.fakes import reading, target, terms

FULL = pages.text_of("trtllm", "history/2026-everything-on")
TEMPLATE = pages.text_of("triton", "history/25.06-trtllm")
LATER = pages.text_of("triton", "history/25.06-trtllm-later")
LONE = pages.text_of("triton", "history/23.12-trtllm-alone")
PLAIN = pages.text_of("triton", "history/25.06-python")
NIM = pages.text_of("nim", "history/1.8")
VLLM_IN_TRITON = pages.text_of("vllm", "lookalikes/triton")


def only(text: str, since: str | None = None) -> ModelFindings:
    """What its only model did."""
    (findings,) = inspect(text, since).models.values()
    return findings


def models(text: str) -> dict[str, str]:
    return dict(pages.planned(text)[1].models)


def gauges(text: str) -> dict[str, float]:
    (found,) = inspect(text).gauges.values()
    return dict(found)


def ladder(text: str, measure: str) -> tuple[dict[float, float], float, float | None]:
    """Bound -> cumulative count, of its only part; total; sum."""
    found = [h for k, h in engine_page(text).histograms.items() if k.measure == measure]
    ((histogram,),) = [parts.values() for parts in found]
    counts = dict(zip(histogram.bounds, histogram.counts, strict=True))
    return counts, histogram.total, histogram.sum


def error_rate(text: str) -> tuple[float, float] | None:
    """At least and at most, of its only model; None: not measured."""
    counters: Mapping[Key, float] = {
        key: sum(parts.values()) for key, parts in engine_page(text).counters.items()
    }
    (model,) = {dict(key.labels)["model"] for key in counters if key.measure == "requests_total"}
    tally = sli.error_tally(sli.outcomes(model, counters))
    if tally is None:
        return None
    return 1 - tally.good_upper / tally.valid, 1 - tally.good_lower / tally.valid


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
        ("nim/lookalikes/vllm-inside", "vllm", "engine"),
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
    page = pages.summary(engine_page(FULL))["counters"]
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
    assert idle["running_requests"] == "only with `enable_iter_perf_stats: true`"


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


# --- Triton --------------------------------------------------------------------------------------


def test_a_request_through_a_pipeline_counts_once_at_either_entry() -> None:
    """20 by the ensemble and 10 by BLS; all rows together would be 124."""
    assert TEMPLATE.count("nv_inference_request_success{") == 5
    found = only(TEMPLATE).requests
    assert found == {"ok": 30.0, "error": 3.0, "cancelled": 2.0}
    assert error_rate(TEMPLATE) == pytest.approx((3 / 33, 3 / 33))


def test_all_stages_of_a_pipeline_are_one_model() -> None:
    assert set(models(TEMPLATE).values()) == {"ensemble"}
    assert gauges(TEMPLATE) == {
        "running_requests": 6.0,
        "waiting_requests": 15.0,  # in Triton 4 + 3 + 2 + 1 by stage, in the backend 5
        "kv_cache_used_ratio": 0.4875,
    }


def test_between_two_pages_of_a_pipeline_only_new_requests_count() -> None:
    """4 more by the ensemble in 12 s, 3 more by BLS in 6 s, and one failed."""
    found = only(LATER, TEMPLATE)
    assert found.requests == {"ok": 7.0, "error": 1.0, "cancelled": 0.0}
    assert found.latencies["duration"].mean_seconds == pytest.approx(18 / 7)


def test_triton_knows_means_in_microseconds_and_first_responses_in_milliseconds() -> None:
    latencies = only(TEMPLATE).latencies
    assert latencies["duration"].mean_seconds == pytest.approx(54 / 30)
    assert latencies["queue"].mean_seconds == pytest.approx(3 / 30)
    assert latencies["duration"].quantiles == {}
    counts, total, seconds = ladder(TEMPLATE, "ttft_seconds")  # of tensorrt_llm, not of all three
    assert (counts, total, seconds) == ({0.1: 10, 0.5: 20, 2.0: 30, 5.0: 30}, 30, 9.0)
    assert inspect(TEMPLATE).not_available["duration_seconds"] == (
        "only a mean can be had of it, no buckets"
    )


def test_a_model_that_is_alone_counts_whatever_its_name() -> None:
    """Its 2 failures may have been cancellations: at most 2 of 10 failed."""
    assert models(LONE) == {"tensorrt_llm": "tensorrt_llm"}
    assert only(LONE).requests == {"ok": 8.0, "error": 2.0}
    assert error_rate(LONE) == pytest.approx((0.0, 0.2))
    assert gauges(LONE) == {"running_requests": 2.0, "waiting_requests": 1.0}


def test_models_that_have_nothing_to_do_with_each_other_stay_apart() -> None:
    found = inspect(PLAIN)
    assert found.models["chat"].requests == {"ok": 50.0, "error": 2.0, "cancelled": 0.0}
    assert found.models["reranker"].requests == {"ok": 7.0, "error": 0.0, "cancelled": 0.0}
    assert found.gauges["chat"] == {"waiting_requests": 2.0}
    assert found.not_available["kv_cache_used_ratio"] == "only with a TensorRT-LLM backend"
    assert found.not_available["ttft_seconds"].startswith("only with `--metrics-config histogram")


def test_a_pipeline_beside_another_model_keeps_its_own_name() -> None:
    own = [
        {"model": name} for name in ("preprocessing", "tensorrt_llm", "tensorrt_llm_bls", "bert")
    ]
    assert called(own, load_all()["triton"]) == dict.fromkeys(
        ("preprocessing", "tensorrt_llm", "tensorrt_llm_bls"), "tensorrt_llm_bls"
    )


def test_a_triton_without_a_count_of_steps_is_never_called_stalled() -> None:
    frozen = {}
    for name, text in {"plain": PLAIN, "steps": TEMPLATE}.items():
        was = Watched(target=target())
        for number in range(5):
            was = watch.look(was, reading(5.0 * number), read_page(text), terms()).watched
        frozen[name] = was.is_stalled

    assert frozen == {"plain": None, "steps": True}


# --- vLLM inside Triton --------------------------------------------------------------------------


def test_inside_triton_vllms_outcomes_are_tritons() -> None:
    page = pages.summary(pages.engine_page(VLLM_IN_TRITON))["counters"]
    assert {key: value for key, value in page.items() if key.startswith("requests_total")} == {
        "requests_total{counted_by=engine,model=llama,outcome=ok}": 3.0,
        "requests_total{counted_by=gateway,model=llama,outcome=cancelled}": 2.0,
        "requests_total{counted_by=gateway,model=llama,outcome=error}": [0.0, 1.0, 0.0],
    }
    assert error_rate(VLLM_IN_TRITON) == pytest.approx((0.25, 0.25))


def test_where_vllm_counts_its_own_successes_tritons_are_not_added() -> None:
    own = 'vllm:request_success_total{model="llama",version="1",finished_reason="%s"} %d\n'
    both = VLLM_IN_TRITON + own % ("stop", 2) + own % ("length", 1) + own % ("error", 1)

    assert only(both).requests["ok"] == 3.0
    # vLLM and Triton may have seen the same failure: one or two of them.
    assert error_rate(both) == pytest.approx((1 / 5, 2 / 5))


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


def test_nims_time_per_output_token_has_a_sample_for_each_gap() -> None:
    """33 requests made 6660 tokens: 6627 gaps."""
    counts, total, seconds = ladder(NIM, "itl_seconds")
    assert (counts[0.01], total, seconds) == (6000, 6660 - 33, 53.0)
    why = inspect(NIM).not_available["tpot_seconds"]
    assert why == "NIM measures gaps between tokens (itl), no mean for each request"
