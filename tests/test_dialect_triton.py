"""Triton, and vLLM inside it: numbers worked out by hand from how their pages were designed."""

import pytest

from burnmeter import watch
from burnmeter.choice import called
from burnmeter.dialects import load_all
from burnmeter.dialects.parsing import parse
from burnmeter.errors import DialectError
from burnmeter.inspection import inspect
from burnmeter.page import read_page
from burnmeter.watch import Watched
from tests import pages
from tests.fakes import reading, target, terms
from tests.findings import error_rate, gauges, ladder, models, only

TEMPLATE = pages.text_of("triton", "history/25.06-trtllm")
LATER = pages.text_of("triton", "history/25.06-trtllm-later")
LONE = pages.text_of("triton", "history/23.12-trtllm-alone")
PLAIN = pages.text_of("triton", "history/25.06-python")
VLLM_IN_TRITON = pages.text_of("vllm", "lookalikes/triton")

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
        "open_requests": 16.0,  # in Triton 4 + 3 + 2 + 1 by stage, in the backend 6
        "running_requests": 4.0,
        "waiting_requests": 12.0,  # in Triton 10, in the backend 6 less 4
        "kv_cache_used_ratio": 0.4875,
    }


def test_between_two_pages_of_a_pipeline_only_new_requests_count() -> None:
    """4 more by the ensemble in 12 s, 3 more by BLS in 6 s, and one failed."""
    found = only(LATER, TEMPLATE)
    assert found.requests == {"ok": 7.0, "error": 1.0, "cancelled": 0.0}
    assert found.latencies["duration"].mean_seconds == pytest.approx(18 / 7)


def test_tokens_are_those_of_the_tensorrt_llm_backend() -> None:
    """7 requests more made 900 tokens of 350."""
    assert only(TEMPLATE).tokens == {"generated": 3000.0, "prompt": 1500.0}
    assert only(LATER, TEMPLATE).tokens == {"generated": 900.0, "prompt": 350.0}
    assert ladder(TEMPLATE, "request_generated_tokens")[1:] == (30, 3000.0)
    why = inspect(PLAIN).not_available["tokens_total"]
    assert why.startswith("not on this page; it comes with a TensorRT-LLM backend")


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
    assert gauges(LONE) == {
        "open_requests": 3.0,
        "running_requests": 1.0,
        "waiting_requests": 1.0,
    }


def test_models_that_have_nothing_to_do_with_each_other_stay_apart() -> None:
    found = inspect(PLAIN)
    assert found.models["chat"].requests == {"ok": 50.0, "error": 2.0, "cancelled": 0.0}
    assert found.models["reranker"].requests == {"ok": 7.0, "error": 0.0, "cancelled": 0.0}
    assert found.gauges["chat"] == {"open_requests": 2.0, "waiting_requests": 2.0}
    assert (
        found.not_available["kv_cache_used_ratio"]
        == "not on this page; it comes with a TensorRT-LLM backend"
    )
    assert found.not_available["ttft_seconds"].startswith(
        "not on this page; it comes with `--metrics-config histogram"
    )


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


def test_a_stage_that_is_no_pattern_is_told_with_its_place() -> None:
    text = load_all()["triton"].source.replace("ensemble|tensorrt_llm_bls", "ensemble|(", 1)
    with pytest.raises(DialectError, match=r"`stages`: `ensemble\|\(` is no regular expression"):
        parse(text, "triton.yaml")


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
