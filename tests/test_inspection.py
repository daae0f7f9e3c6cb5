"""What two pages of one engine say happened, held against what its client saw."""

import json

import pytest

from burnmeter import inspection, reports
from burnmeter.errors import PageError
from burnmeter.inspection import as_json, inspect
from burnmeter.model import About, ServedModel
from tests import pages

# What vLLM's own benchmark client measured between the two bench pages: 60 requests at 2 a second.
CLIENT = {
    "requests": 60,
    "prompt_tokens": 3858,
    "generated_tokens": 1920,
    "mean_ttft_seconds": 0.06799,
    "p99_ttft_seconds": 0.10871,
    "mean_tpot_seconds": 0.01638,
    "mean_duration_seconds": 0.57583,
    "p99_duration_seconds": 0.80533,
}


def between(engine, story):
    """What the pages of one recorded story say."""
    before, after = (pages.text_of(engine, f"{story}-{end}") for end in ("before", "after"))
    return inspect(after, before)


@pytest.fixture(scope="module")
def bench():
    return between("vllm", "0.32.0-bench")


# --- against the client's truth ------------------------------------------------------------------


def test_requests_and_tokens_are_the_clients_to_the_unit(bench):
    model = bench.models["tiny"]
    assert model.requests == {"ok": 60.0, "error": 0.0, "cancelled": 0.0, "rejected": 0.0}
    assert model.tokens["generated"] == CLIENT["generated_tokens"]
    assert model.tokens["prompt"] == CLIENT["prompt_tokens"]
    assert model.latencies["ttft"].count == CLIENT["requests"]


@pytest.mark.parametrize("name", ["ttft", "tpot", "duration"])
def test_means_are_within_a_tenth_of_the_clients(bench, name):
    latency = bench.models["tiny"].latencies[name]
    assert latency.mean_seconds == pytest.approx(CLIENT[f"mean_{name}_seconds"], rel=0.1)


@pytest.mark.parametrize("name", ["ttft", "duration"])
def test_the_p99_interval_holds_what_the_client_saw(bench, name):
    p99 = bench.models["tiny"].latencies[name].quantiles["p99"]
    assert p99.lower_seconds < CLIENT[f"p99_{name}_seconds"] <= p99.upper_seconds


@pytest.mark.parametrize("story", ["steady", "dp2", "two-api-servers", "custom-buckets"])
def test_one_server_or_several_ranks_or_processes_agree_with_their_client(story):
    text = (pages.ENGINES / "vllm" / f"0.32.0-{story}-client.json").read_text("utf-8")
    truth, found = json.loads(text), between("vllm", f"0.32.0-{story}").models["tiny"]

    assert found.requests["ok"] == truth["requests"]["ok"]
    assert found.tokens["generated"] == truth["completion_tokens"]
    assert found.tokens["prompt"] == truth["prompt_tokens"]


def test_streams_that_a_client_dropped_are_cancelled_not_ok():
    found = between("vllm", "0.32.0-aborts").models["tiny"]
    assert (found.requests["ok"], found.requests["cancelled"]) == (10.0, 6.0)


def test_what_llama_cpp_does_not_count_is_said():
    found = between("llamacpp", "b11549-mixed")
    model = found.models[inspection.UNNAMED]
    assert (model.tokens["generated"], model.requests) == (480.0, {})
    (name,) = model.latencies
    # 0.160142 s in which 480 tokens were made, and no buckets to tell more.
    assert (name, model.latencies[name].count, model.latencies[name].quantiles) == ("itl", 480, {})
    assert model.latencies[name].mean_seconds == pytest.approx(0.160142 / 480)
    assert "ttft_seconds" in found.not_available


def test_a_version_is_told_only_if_somebody_was_asked():
    text = pages.text_of("vllm", "0.32.0-after-traffic")

    assert inspect(text).version is None
    assert inspect(text, about=About(version="0.32.0")).version == "0.32.0"


def test_an_engines_own_list_names_the_model_of_a_page_that_names_none():
    text = pages.text_of("llamacpp", "b11434-after-traffic")
    listed = About(models=(ServedModel("tiny-llama", None, None),))

    assert list(inspect(text, about=listed).models) == ["tiny-llama"]


# --- one page, two pages -------------------------------------------------------------------------


def test_one_page_counts_from_the_engines_start():
    found = inspect(pages.text_of("vllm", "0.32.0-after-traffic"))
    assert (found.is_difference, found.is_restart) == (False, False)
    assert found.models["tiny"].requests["ok"] == 39.0
    assert found.models["tiny"].requests["rejected"] == 9.0


def test_a_page_with_itself_says_that_nothing_happened():
    page = pages.text_of("vllm", "0.32.0-after-traffic")
    found = inspect(page, page)
    assert found.is_difference
    assert set(found.models["tiny"].requests.values()) == {0.0}
    assert found.models["tiny"].latencies["ttft"].mean_seconds is None


def test_a_restart_between_two_pages_is_said_and_counted_from_zero():
    before = pages.text_of("vllm", "0.32.0-bench-after")
    after = pages.text_of("vllm", "0.32.0-after-traffic")
    found = inspect(after, before)

    assert found.is_restart
    assert found.models["tiny"].requests["ok"] == 39.0
    text = reports.inspection(found)
    assert "the engine restarted in between: counted from zero" in text


@pytest.mark.parametrize("story", ["bench", "steady", "aborts"])
def test_pages_in_the_wrong_order_are_refused(story):
    before, after = (pages.text_of("vllm", f"0.32.0-{story}-{end}") for end in ("before", "after"))
    with pytest.raises(PageError) as caught:
        inspect(before, after)
    assert caught.value.message == (
        "the first page is older than the one given to --since; swap them"
    )


def test_counters_that_fell_are_a_restart_where_no_page_says_when_it_began():
    before, after = (
        pages.text_of("llamacpp", f"b11549-mixed-{end}") for end in ("before", "after")
    )
    assert inspect(before, after).is_restart


@pytest.mark.parametrize(
    ("after", "before", "message"),
    [
        (
            ("vllm", "0.32.0-bench-after"),
            ("llamacpp", "b11434-after-traffic"),
            "this page is not from vLLM: its names begin with `llamacpp:`",
        ),
        (
            ("llamacpp", "b11434-after-traffic"),
            ("vllm", "lookalikes/dynamo-worker"),
            "this page is not from llama.cpp: its names begin with `dynamo_`, `vllm:`",
        ),
    ],
)
def test_pages_of_two_engines_are_refused(after, before, message):
    with pytest.raises(PageError) as caught:
        inspect(pages.text_of(*after), pages.text_of(*before))
    assert (caught.value.kind, caught.value.message) == ("unknown_engine", message)


def test_a_page_whose_numbers_are_anothers_has_no_models_and_says_why():
    found = inspect(pages.text_of("dynamo", "history/2026-08-worker"))
    assert (found.role, found.models) == ("worker", {})
    assert "read the frontend" in found.not_available["ttft_seconds"]


# --- JSON ----------------------------------------------------------------------------------------


def test_json_has_every_model_whole_and_is_really_json(bench):
    found = json.loads(json.dumps(as_json(bench), allow_nan=False))
    model = found["models"]["tiny"]

    assert {"requests", "tokens", "latencies", "engine", "role", "not_available"} <= model.keys()
    assert (model["engine"], model["role"]) == ("vllm", "engine")
    assert set(model["latencies"]) == {
        *("ttft", "itl", "tpot", "duration", "queue", "prefill", "decode")
    }
    ttft = model["latencies"]["ttft"]
    assert ttft.keys() == {"count", "mean_seconds", "quantiles"}
    assert list(ttft["quantiles"]) == ["p50", "p90", "p95", "p99"]
    assert ttft["quantiles"]["p99"] == {"lower_seconds": 0.1, "upper_seconds": 0.25}


def test_json_of_a_quantile_above_the_last_bound_is_null():
    page = (
        'vllm:time_to_first_token_seconds_bucket{model_name="m",le="1"} 0\n'
        'vllm:time_to_first_token_seconds_bucket{model_name="m",le="+Inf"} 2\n'
    )
    quantiles = as_json(inspect(page))["models"]["m"]["latencies"]["ttft"]["quantiles"]
    assert quantiles["p50"] == {"lower_seconds": 1.0, "upper_seconds": None}


def test_a_finish_reason_from_a_later_version_is_a_request_that_was_served() -> None:
    row = 'vllm:request_success_total{{engine="0",finished_reason="{}",model_name="m"}} {}'
    counts = {"stop": 2, "cache_threshold": 3, "error": 1}
    lines = ["# TYPE vllm:request_success_total counter", *map(row.format, counts, counts.values())]
    text = "".join(f"{line}\n" for line in lines)

    requests = inspect(text).models["m"].requests

    assert (requests["ok"], requests["error"]) == (5, 1)


# --- pages of many models, or of two engines -----------------------------------------------------


def test_of_many_models_as_many_are_told_as_a_target_may_bring_and_the_rest_together() -> None:
    row = 'vllm:generation_tokens_total{{engine="0",model_name="m{:04}"}} 2'
    text = "".join(f"{row.format(number)}\n" for number in range(9000))

    found = inspect(text)

    assert len(found.models) == 65
    assert found.models["m0063"].tokens == {"generated": 2.0}
    assert found.models["other"].tokens == {"generated": 2.0 * (9000 - 64)}
    assert found.models_beyond == 9000 - 64
    assert "8936 more models are counted together, as `other`" in reports.inspection(found)


def test_families_of_a_second_engine_are_told_and_not_counted() -> None:
    sglang = pages.text_of("sglang", "history/0.5.2")
    both = sglang + 'vllm:generation_tokens_total{engine="0",model_name="second"} 7\n'

    found = inspect(both)

    assert (found.engine, found.also, as_json(found)["also"]) == ("sglang", ("vLLM",), ["vLLM"])
    assert "second" not in found.models
    assert "also on this page, and not counted: vLLM\n" in reports.inspection(found)
    assert inspect(sglang).also == ()


@pytest.mark.parametrize("path", pages.RECORDED, ids=pages.name)
def test_a_recorded_page_is_of_one_engine(path) -> None:
    assert inspect(path.read_text("utf-8")).also == ()
