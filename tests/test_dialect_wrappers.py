"""KServe and Ray Serve: engines inside another server, under other names, and counted once.

The pages written from source hold vLLM 0.24's page of tests/fixtures/engines/vllm/history, whose
numbers are known: 3 finished requests, 66 prompt tokens, 12 generated ones, 4 first tokens.
"""

import pytest

from burnmeter import histograms
from burnmeter.dialects import load_all
from burnmeter.inspection import Inspection, ModelFindings, inspect
from burnmeter.model import EnginePage, Histogram, Process
from burnmeter.page import parse_series, read_page
from burnmeter.sources.processes import find_engines
from tests import pages


def only_model(text: str, since: str | None = None) -> ModelFindings:
    (found,) = inspected(text, since).models.values()
    return found


def inspected(text: str, since: str | None = None) -> Inspection:
    return inspect(text, since)


def histogram(page: EnginePage, measure: str, model: str) -> Histogram:
    (found,) = [
        one
        for key, parts in page.histograms.items()
        for one in parts.values()
        if (key.measure, dict(key.labels)["model"]) == (measure, model)
    ]
    return found


# --- KServe's own histograms ---------------------------------------------------------------------


def test_kserve_gives_the_requests_it_answered_and_how_long_its_models_took() -> None:
    """`a`: 4 calls of 0.25, 0.5, 2 and 20 s, of which one failed after the model; `b`: 1 of 125 ms
    and an explanation, which is postprocessed as well."""
    text = pages.text_of("kserve", "history/0.20")
    page, found = pages.engine_page(text), inspect(text)

    assert (page.engine, page.role, page.vantage) == ("kserve", "engine", "engine")
    assert {name: model.requests for name, model in found.models.items()} == {
        "a": {"ok": 3},
        "b": {"ok": 2},
    }
    took = histogram(page, "duration_seconds", "a")
    assert (took.total, took.sum) == (4, 22.75)
    assert [histograms.below(took, seconds) for seconds in (0.25, 0.5, 10.0)] == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]
    assert histogram(page, "duration_seconds", "b").total == 1


def test_kserve_says_that_it_counts_neither_failures_nor_tokens() -> None:
    why = pages.engine_page(pages.text_of("kserve", "history/0.20")).not_available
    assert "counts no failed call" in why["requests_total{outcome=error}"]
    assert "vLLM backend" in why["ttft_seconds"]
    assert "counts no tokens" in why["tokens_total"]


def test_where_kserves_page_has_vllms_families_only_those_are_read() -> None:
    """They tell of the same process; the stages of V1 calls would count a second time."""
    kserve = pages.text_of("kserve", "history/0.20")
    vllm = pages.text_of("vllm", "history/0.24")
    page = pages.engine_page(kserve + vllm)

    assert page.engine == "vllm"
    assert pages.summary(page)["counters"] == pages.summary(pages.engine_page(vllm))["counters"]
    assert page.unknown_families == ()


@pytest.mark.parametrize("after", ["after", "after-openmetrics"])
def test_a_recorded_kserve_answered_what_its_client_was_answered(after: str) -> None:
    """5 predictions were answered, 2 raised in the model, 1 found none."""
    before = pages.text_of("kserve", "0.21.0-predicted-before")
    model = only_model(pages.text_of("kserve", f"0.21.0-predicted-{after}"), before)

    assert model.requests == {"ok": 5}
    assert model.latencies["duration"].count == 7


def test_a_kserve_that_was_never_asked_is_known() -> None:
    page = pages.engine_page(pages.text_of("kserve", "0.21.0-never-asked"))
    assert (page.engine, page.counters, page.histograms) == ("kserve", {}, {})


# --- vLLM under KServe's names -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "engine"), [("history/0.21", "kserve_vllm"), ("lookalikes/both-names", "vllm")]
)
def test_a_federated_page_counts_once_under_one_name_or_under_both(page: str, engine: str) -> None:
    text = pages.text_of("kserve_vllm", page)
    names = {parse_series(raw).name for raw in read_page(text).series}
    assert "kserve_vllm:prompt_tokens_total" in names
    assert ("vllm:prompt_tokens_total" in names) == (engine == "vllm")

    found = inspect(text)
    model = only_model(text)
    assert found.engine == engine
    assert model.tokens == {"generated": 12, "prompt": 66, "prompt_cached": 16}
    assert (model.requests["ok"], model.requests["rejected"]) == (3, 1)
    assert model.latencies["ttft"].count == 4
    assert model.latencies["ttft"].mean_seconds == pytest.approx(0.45 / 4)
    assert found.unknown_families == ()


def test_an_engine_behind_a_routing_sidecar_is_found_once() -> None:
    """LLMInferenceService: both ports give the engine's page, but only 8001 is the engine's."""
    commands = {
        10: ("/app/pd-sidecar --port=8000 --vllm-port=8001", 8000),
        20: ("/usr/bin/python3 /usr/bin/vllm serve /mnt/models --port 8001", 8001),
    }
    table = {
        pid: Process(
            pid=pid,
            parent_pid=1,
            started_timestamp_seconds=1.0,
            command=tuple(command.split()),
            title="",
            ports=(port,),
        )
        for pid, (command, port) in commands.items()
    }
    hints = [h for dialect in load_all().values() for h in dialect.processes if h.is_read]

    assert [(one.name, one.pid) for one in find_engines(table, hints)] == [("vllm-8001", 20)]


# --- Ray -----------------------------------------------------------------------------------------

RAY = ["history/2.50", "history/2.32", "history/2.9"]


@pytest.mark.parametrize("page", RAY)
def test_rays_counters_count_once_however_often_ray_writes_them(page: str) -> None:
    text = pages.text_of("ray", page)
    model = only_model(text)

    assert inspect(text).engine == "ray"
    assert (model.tokens["generated"], model.tokens["prompt"]) == (12, 66)
    assert model.requests["ok"] == 3
    assert (model.latencies["ttft"].count, model.latencies["duration"].count) == (4, 3)
    assert inspect(text).unknown_families == ()


@pytest.mark.parametrize(
    ("page", "spellings"),
    [
        ("history/2.50", {"ray_vllm_generation_tokens_total", "ray_vllm_generation_tokens"}),
        ("history/2.32", {"ray_vllm:generation_tokens_total", "ray_vllm:generation_tokens"}),
        ("history/2.9", {"ray_vllm:generation_tokens"}),
    ],
)
def test_the_trap_is_there_on_the_pages(page: str, spellings: set[str]) -> None:
    names = {parse_series(raw).name for raw in read_page(pages.text_of("ray", page)).series}
    assert {name for name in names if "generation_tokens" in name and "request" not in name} == (
        spellings
    )


@pytest.mark.parametrize("page", RAY)
def test_serves_proxy_is_the_witness_of_failures_and_one_of_its_counters_is_enough(
    page: str,
) -> None:
    """2 of status 500 in each of three counters, 1 refused, 4 clients gone, 5 on no route."""
    counters = pages.summary(pages.engine_page(pages.text_of("ray", page)))["counters"]
    http = {key: value for key, value in counters.items() if "counted_by=http" in key}

    assert http == {
        "requests_total{counted_by=http,model=llama,outcome=error}": 2,
        "requests_total{counted_by=http,model=llama,outcome=rejected}": 1,
        "requests_total{counted_by=http,model=llama,outcome=cancelled}": 4,
    }


def test_a_recorded_ray_failed_what_its_client_saw_fail() -> None:
    """5 answered with 16 tokens each after 4 ms; 2 raised, a 503, a 404, a 404 on no route."""
    before = pages.text_of("ray", "2.60.0-answered-before")
    model = only_model(pages.text_of("ray", "2.60.0-answered-after"), before)

    assert model.requests == {"error": 3, "rejected": 1, "cancelled": 0}
    assert model.tokens == {"generated": 80}
    ttft = model.latencies["ttft"]
    assert (ttft.count, ttft.mean_seconds) == (5, None)  # Ray's sum says 3 ms
    assert ttft.quantiles["p50"] == (0.001, 0.005)


def test_of_a_recorded_rays_twins_one_counts() -> None:
    text = pages.text_of("ray", "2.60.0-twins")
    assert "\nray_vllm_generation_tokens{" in text
    assert "\nray_vllm_generation_tokens_total{" in text
    assert only_model(text).tokens == {"generated": 80}


def test_two_ranks_of_a_replica_are_added_and_their_twins_are_not() -> None:
    """12 and 30 generated tokens, 3 finished each, 4 refused by admission: 42, not 84."""
    model = only_model(pages.text_of("ray", "history/2.58"))

    assert model.tokens == {"generated": 42, "prompt": 132, "prompt_cached": 32}
    assert model.requests["ok"] == 6
    assert (model.requests["error"], model.requests["error_upper"]) == (4, 6)
    assert model.latencies["ttft"].count == 8


def test_a_page_of_serve_before_the_first_request_is_known() -> None:
    text = (
        "# TYPE ray_serve_num_ongoing_http_requests gauge\nray_serve_num_ongoing_http_requests 0\n"
    )
    page = pages.engine_page(text)
    assert (page.engine, page.counters, page.unknown_families) == ("ray", {}, ())


def test_the_start_of_rays_agent_is_not_taken_for_the_engines() -> None:
    text = pages.text_of("ray", "history/2.50")
    assert "process_start_time_seconds 1.6e+09" in text
    assert pages.engine_page(text).started_timestamp_seconds is None


def test_a_worker_whose_series_come_late_has_grown_from_nothing() -> None:
    before = 'ray_vllm_generation_tokens_total{WorkerId="a",model_name="m"} 100\n'
    after = (
        'ray_vllm_generation_tokens_total{WorkerId="a",model_name="m"} 130\n'
        'ray_vllm_generation_tokens_total{WorkerId="b",model_name="m"} 7\n'
        'ray_vllm_generation_tokens{WorkerId="a",model_name="m"} 130\n'
        'ray_vllm_generation_tokens{WorkerId="b",model_name="m"} 7\n'
    )
    assert only_model(after, before).tokens == {"generated": 37}


def test_what_vllm_says_of_itself_holds_under_every_other_name() -> None:
    vllm, ray, kserve = (load_all()[engine] for engine in ("vllm", "ray", "kserve_vllm"))
    assert ray.measures.keys() == kserve.measures.keys() == vllm.measures.keys()
    assert ray.measures["itl_seconds"].rules[0].names == (
        "ray_vllm_inter_token_latency_seconds",
        "ray_vllm_time_per_output_token_seconds",
        "ray_vllm:inter_token_latency_seconds",
        "ray_vllm:time_per_output_token_seconds",
    )
    assert ray.not_available == vllm.not_available
