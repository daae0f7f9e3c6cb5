"""Where a number comes from: one answer by any of its names, with the line that says so."""

import pytest

from burnmeter import catalog
from burnmeter.dialects import load_all
from burnmeter.explanation import explain, formula, unused
from tests.parts import ROOT

VLLM_TTFT = "vllm:time_to_first_token_seconds"


def origin(word, engine):
    (metric,) = explain(word)
    (found,) = [one for one in metric.origins if one.engine == engine]
    return found


def told(word, engine=None):
    """Our names for it, each with the engines that are told of."""
    return {
        one.metric.measure: [origin.engine for origin in one.origins]
        for one in explain(word, engine)
    }


@pytest.mark.parametrize(
    "word",
    ["burnmeter_ttft_seconds", "ttft_seconds", "ttft", "TTFT", VLLM_TTFT, f"{VLLM_TTFT}_bucket"],
    ids=str,
)
def test_a_metric_is_found_by_any_of_its_names(word):
    assert list(told(word)) == ["ttft_seconds"]


def test_an_engines_own_name_is_told_of_the_engines_that_have_it_with_all_that_it_feeds():
    assert told("llamacpp:tokens_predicted_total") == {
        "tokens_total": ["llamacpp"],
        "itl_seconds": ["llamacpp"],
    }
    assert told("time_to_first_token_seconds") == {"ttft_seconds": ["nim", "trtllm"]}


def test_of_another_engine_is_told_what_it_has_instead():
    assert told(VLLM_TTFT, "sglang") == {"ttft_seconds": ["sglang"]}


def test_a_name_that_is_known_and_not_used_is_no_unknown_one():
    assert unused("nv_inference_count") == ("Triton",)
    assert unused("vllm:cache_config_info") == ("vLLM",)
    assert unused("nv_inference_request_success") == ()
    assert unused("python_info") == ()


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("tokens", "burnmeter_tokens_total"),
        ("vllm:generation_tokens", "burnmeter_tokens_total"),
        ("vllm:gpu_cache_usage_perc", "burnmeter_kv_cache_used_ratio"),
        ("llamacpp:prompt_seconds_total", "burnmeter_prefill_busy_seconds_total"),
        ("vllm:admission_rejections_total", "burnmeter_admission_rejections_total"),
        ("burnmeter_target_up", "burnmeter_target_up"),
    ],
)
def test_old_names_and_names_without_their_ending_are_found_too(word, name):
    assert name in [one.metric.name for one in explain(word)]


@pytest.mark.parametrize("engine", load_all())
def test_every_name_of_every_dialect_can_be_explained(engine):
    for name in load_all()[engine].wanted:
        found = [one for metric in explain(name) for one in metric.origins]
        assert any(one.engine == engine and name in one.names for one in found)
        # NIM calls one of its own as we call ours: then ours is meant.
        if f"{catalog.PREFIX}{name}" not in catalog.metrics():
            assert all(name in one.names for one in found)


def test_an_origin_names_the_line_of_the_dialect_that_says_so():
    for engine, dialect in load_all().items():
        for name in dialect.measures:
            ours = f"burnmeter_{catalog.seen_from(dialect.vantage, name)}"
            file, _, line = origin(ours, engine).place.partition(":")
            text = (ROOT / "agent/burnmeter" / file).read_text("utf-8").splitlines()
            assert text[int(line) - 1].startswith(f"  {name}:")
    assert origin("ttft", "llamacpp").place == ""


def test_what_an_engine_cannot_give_has_its_reason():
    assert origin("ttft", "llamacpp").not_available == (
        "llama.cpp measures no time to first token; a probe or a proxy can"
    )
    assert origin("preemptions", "llamacpp").not_available == (
        "the llama.cpp dialect has no source for it"
    )
    assert origin("ttft", "vllm").not_available is None


def test_a_metric_of_our_own_has_no_origin_in_an_engine():
    assert told("burnmeter_gpu_power_watts") == {"gpu_power_watts": []}


def test_a_word_that_is_nothing_is_answered_with_what_is_near():
    with pytest.raises(KeyError) as caught:
        explain("burnmeter_tfft_seconds")
    assert caught.value.args[0].startswith("`burnmeter_ttft_seconds`, ")
    with pytest.raises(KeyError) as caught:
        explain("xyzzy")
    assert caught.value.args == ("",)


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("cost", "`cost_dollars`, `node_cost_dollars`"),
        ("burn", "`slo_burn_ratio`"),
        ("Power", "`gpu_power_watts`, `gpu_power_min_watts`, `gpu_power_max_watts`"),
        ("cancelled", "`requests`"),
        ("error_rate", "`requests`, `admission_rejections`, `slo_burn_ratio`"),
    ],
)
def test_a_part_of_a_name_or_a_word_of_its_help_leads_there(word, near):
    with pytest.raises(KeyError) as caught:
        explain(word)
    assert caught.value.args == (near,)


def test_every_name_that_is_told_can_be_explained():
    for word in ("cost", "burn", "cancelled", "error_rate", "request", "seconds"):
        with pytest.raises(KeyError) as caught:
            explain(word)
        for name in caught.value.args[0].split(", "):
            assert explain(name.strip("`"))


@pytest.mark.parametrize(
    ("engine", "measure", "text"),
    [
        (
            "vllm",
            "itl_seconds",
            "vllm:inter_token_latency_seconds or vllm:time_per_output_token_seconds;"
            " summed over ranks",
        ),
        (
            "vllm",
            "kv_cache_used_ratio",
            "vllm:kv_cache_usage_perc or vllm:gpu_cache_usage_perc; the highest rank's",
        ),
        (
            "llamacpp",
            "tokens_total",
            "llamacpp:tokens_predicted_total -> kind=generated;"
            " llamacpp:prompt_tokens_total -> kind=prompt;"
            " llamacpp:prompt_tokens_cached_total -> kind=prompt;"
            " llamacpp:prompt_tokens_cached_total -> kind=prompt_cached;"
            " summed over ranks; printed with 6 significant digits",
        ),
    ],
)
def test_a_formula_says_how_the_engines_numbers_become_ours(engine, measure, text):
    assert formula(load_all()[engine].measures[measure]) == text


def test_a_formula_shows_what_labels_must_be():
    text = formula(load_all()["vllm"].measures["requests_total"])
    assert (
        'vllm:request_success_total{finished_reason=~"error"} -> counted_by=engine, outcome=error'
    ) in text
