"""Who made a page: the engine, a look-alike of it, or nobody we know; and which model it names."""

import pytest

from burnmeter.dialects import load_all
from burnmeter.errors import PageError
from burnmeter.model import About, ServedModel, Target
from burnmeter.naming import model_namer
from burnmeter.normalise import normalise
from burnmeter.page import read_page
from burnmeter.planning import plan
from tests import pages
from tests.parts import ROOT

OF_NOBODY = "none of the 17 engines that we know made this page: "
LOG_STATS = (
    ". vLLM shows such a page if it was started with --disable-log-stats (start it without),"
    " or with its Rust frontend before its first request"
)
TOKENS = "vllm:generation_tokens_total"


def refusal(text, engine=None):
    with pytest.raises(PageError) as caught:
        pages.planned(text, engine)
    assert caught.value.kind == "unknown_engine"
    return caught.value.message


# --- look-alikes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "role"),
    [
        ("lookalikes/llm-d-inference-sim", "simulator"),
        ("lookalikes/triton", "worker"),
        ("lookalikes/dynamo-worker", "worker"),
        ("0.32.0-after-traffic", "engine"),
        ("history/0.4.3", "engine"),
        ("history/0.33-rust", "engine"),
    ],
)
def test_a_look_alike_is_told_from_the_engine(page, role):
    assert pages.engine_page(pages.text_of("vllm", page)).role == role


def test_a_page_whose_numbers_are_anothers_counts_for_no_model_and_says_why():
    page, found = pages.planned(pages.text_of("dynamo", "history/2026-08-worker"))
    ours = normalise(page, found)

    assert (ours.counters, ours.histograms, ours.gauges) == ({}, {}, {})
    assert found.models == {}
    assert set(ours.not_available) == set(load_all()["dynamo"].measures)
    assert ours.not_available["running_requests"] == (
        "the page is a worker's: a Dynamo worker whose engine shows no metrics of its own, so that"
        " all that is here the frontend counts, too; read the frontend"
    )


def test_a_worker_is_an_engine_and_counts_under_the_engines_word_for_the_model():
    dynamo, found = pages.planned(pages.text_of("vllm", "lookalikes/dynamo-worker"))
    triton = pages.engine_page(pages.text_of("vllm", "lookalikes/triton"))

    assert found.models == {"Qwen/Qwen3-0.6B": "Qwen/Qwen3-0.6B"}  # not dynamo's qwen/qwen3-0.6b
    assert len(normalise(dynamo, found).counters) == 1
    (generated,) = [p for k, p in triton.counters.items() if ("kind", "generated") in k.labels]
    assert list(generated.values()) == [12.0]


def test_a_simulators_own_finish_reasons_are_successes():
    page = pages.engine_page(pages.text_of("vllm", "lookalikes/llm-d-inference-sim"))
    (ok,) = [parts for key, parts in page.counters.items() if ("outcome", "ok") in key.labels]
    assert sum(ok.values()) == 4


def test_a_label_that_only_the_engine_has_outweighs_a_look_alikes_family():
    family = "# TYPE vllm:max_num_generation_tokens histogram\n"
    assert pages.engine_page(f"{family}{TOKENS} 1\n").role == "simulator"
    assert pages.engine_page(f'{family}{TOKENS}{{engine="0"}} 1\n').role == "engine"


# --- pages of nobody -----------------------------------------------------------------------------


def test_a_page_without_engine_metrics_hints_at_the_flag_that_took_them():
    text = pages.text_of("vllm", "lookalikes/log-stats-off")
    seen = "its names begin with `http_`, `process_`, `python_`"
    assert refusal(text) == OF_NOBODY + seen + LOG_STATS
    seen = "its names begin with `python_`"
    assert refusal("python_info 1\n") == OF_NOBODY + seen + LOG_STATS


@pytest.mark.parametrize(
    ("page", "seen"),
    [
        ("node_exporter", "its names begin with `go_`, `node_`, `process_`, `promhttp_`"),
        ("prometheus", "its names begin with `go_`, `net_`, `process_`, `prometheus_`"),
    ],
)
def test_pages_of_other_software_are_nobodys(page, seen):
    text = (ROOT / "tests/fixtures/other" / f"{page}.prom").read_text("utf-8")
    assert refusal(text).startswith(OF_NOBODY + seen)


def test_a_page_of_an_engine_without_a_dialect_says_what_was_seen():
    text = "tomorrow:num_running_reqs 1\ntomorrow:token_usage 0.1\nprocess_open_fds 3\n"
    assert refusal(text) == OF_NOBODY + "its names begin with `process_`, `tomorrow:`"


def test_a_page_without_a_sample_says_so():
    assert refusal("# nothing\n") == OF_NOBODY + "there are no samples on it" + LOG_STATS


def test_a_page_with_many_beginnings_shows_some_and_counts_the_rest():
    text = "".join(f"a{letter}_x 1\n" for letter in "abcdefghij")
    message = refusal(text)
    assert "`af_`, `ag_`, `ah_` and 2 more" in message


def test_a_forced_engine_is_held_to_its_word():
    llama = pages.text_of("llamacpp", "b11434-after-traffic")
    assert refusal(llama, "vllm") == (
        "this page is not from vLLM: its names begin with `llamacpp:`"
    )


# --- models ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "names", "served", "word", "ours"),
    [
        ("mine", {"/mnt/m": "mapped"}, "served", "/mnt/m", "mine"),
        (None, {"/mnt/m": "mapped", "served": "other"}, "served", "/mnt/m", "mapped"),
        (None, {"served": "mapped"}, "served", "/mnt/m", "mapped"),
        (None, {}, "served", "/mnt/m", "served"),
        (None, {}, "/mnt/m", "alias", "alias"),
        (None, {}, "/mnt/m", "", "/mnt/m"),
        (None, {}, "served", "", "served"),
        (None, {}, None, "", "host:8000"),
    ],
    ids=["target", "word", "served mapped", "served", "word", "path", "no word", "target's name"],
)
def test_a_models_name_is_found_in_the_stated_order(model, names, served, word, ours):
    target = Target(name="host:8000", url="", origin="config", model=model, served_model=served)
    assert model_namer(target, names, None)(word, True) == ours


ADAPTED = About(
    models=(ServedModel("llama", "/mnt/m", None), ServedModel("sql", "/mnt/sql", "llama"))
)


@pytest.mark.parametrize(
    ("word", "is_only", "ours"),
    [
        ("/mnt/m", True, "llama"),
        ("", True, "llama"),
        ("LLAMA", True, "llama"),
        # Of several models on a page the list names only those that it has.
        ("/mnt/m", False, "llama"),
        ("sql", False, "sql"),
        ("", False, "host:8000"),
    ],
)
def test_an_engines_list_names_its_model_and_no_adapter_of_it(word, is_only, ours):
    target = Target(name="host:8000", url="", origin="config")
    assert model_namer(target, {}, ADAPTED)(word, is_only) == ours


def test_what_a_page_shows_to_be_nobodys_count_is_not_counted_whoever_calls_it_a_worker():
    text = pages.text_of("sglang", "lookalikes/model-gateway")
    found = plan(read_page(text), load_all(), role="decode")
    assert (found.role, found.counters, found.models) == ("router", (), {})


def test_a_name_is_asked_for_once_a_layout_and_lands_on_every_sample():
    asked = []
    page = read_page(pages.text_of("vllm", "0.32.0-after-traffic"))
    found = plan(page, load_all(), name=lambda word, _: asked.append(word) or "ours")

    assert (asked, found.models) == (["tiny"], {"tiny": "ours"})
    keys = [row.key for row in (*found.counters, *found.gauges, *found.histograms)]
    assert {dict(key.labels)["model"] for key in keys} == {"ours"}


def test_a_page_that_names_no_model_has_the_one_that_its_target_is_known_for():
    page = read_page(pages.text_of("llamacpp", "b11434-after-traffic"))
    found = plan(page, load_all(), name=lambda word, _: word or "served")
    assert found.models == {"": "served"}
    assert {dict(row.key.labels)["model"] for row in found.counters} == {"served"}


HTTP = 'http_requests_total{handler="/v1/completions",method="POST",status="5xx"} 3\n'


@pytest.mark.parametrize(("models", "owner"), [(["a"], "a"), (["a", "b"], "")])
def test_http_errors_are_the_only_models_and_of_several_nobodys(models, owner):
    """With several models on a page the status counters do not say whose request it was; to give
    them to each would count an error twice, to one would accuse it."""
    text = HTTP + "".join(f'{TOKENS}{{model_name="{model}"}} 1\n' for model in models)
    page = pages.engine_page(text)
    (key,) = [key for key in page.counters if ("counted_by", "http") in key.labels]
    assert dict(key.labels)["model"] == owner
