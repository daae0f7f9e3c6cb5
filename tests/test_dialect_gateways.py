"""Dynamo, llm-d's endpoint picker, Envoy AI Gateway and vLLM's router: one dialect each.

The numbers are worked out from how each page was made: 8 or 10 answered requests, some that were
not, and beside them what must not be counted. LiteLLM has a module of its own.
"""

import re

import pytest

from burnmeter.dialects import load_all
from burnmeter.inspection import Inspection, inspect
from burnmeter.model import ProcessHint
from burnmeter.page import Page, read_page
from tests import pages
from tests.fakes import target
from tests.test_pipeline import Node
from tests.test_recognition import refusal

DYNAMO = "history/2026-08-frontend"
QWEN = "Qwen/Qwen3-0.6B"
ALL = [
    ("litellm", "history/mid-2025", "gateway", "chat"),
    ("litellm", "1.106.2-served-after", "gateway", "chat"),
    ("dynamo", DYNAMO, "gateway", QWEN),
    ("dynamo", "history/2025-frontend", "gateway", "qwen/qwen3-0.6b"),
    ("llmd", "history/0.10", "gateway", "chat"),
    ("llmd", "history/0.8", "gateway", "chat"),
    ("llmd", "history/gie-1.2", "gateway", "chat"),
    ("llmd", "history/gie-0.5", "gateway", "chat"),
    ("envoy", "history/1.1.0", "gateway", "chat"),
    ("vllm_router", "history/2026-autumn", "router", "llama"),
]


def read(engine: str, page: str) -> Inspection:
    """One page, inspected."""
    return inspect(pages.text_of(engine, page))


def buckets(engine: str, page: str, measure: str) -> list[tuple[float, ...]]:
    """Cumulative counts of a measure's parts, without the last."""
    found = pages.engine_page(pages.text_of(engine, page)).histograms
    parts = [parts for key, parts in found.items() if key.measure == measure]
    return [h.counts for one in parts for h in one.values()]


@pytest.mark.parametrize(("engine", "page", "role", "model"), ALL)
def test_a_gateway_is_known_as_one_and_names_the_model_that_users_ask_for(
    engine: str, page: str, role: str, model: str
) -> None:
    found = read(engine, page)

    assert (found.engine, found.role, found.vantage) == (engine, role, "gateway")
    assert model in found.models
    assert found.unknown_families == ()


# --- Dynamo --------------------------------------------------------------------------------------


def test_dynamos_failures_are_told_apart_since_it_says_their_kind() -> None:
    # rejected 2 + 1, errors overload + internal + response_timeout; 9 embeddings are not there,
    # and the refusal that model_rejection_total counts again is among the errors already.
    assert read("dynamo", DYNAMO).models[QWEN].requests == {
        "ok": 8.0, "cancelled": 1.0, "rejected": 3.0, "error": 3.0,
    }  # fmt: skip


def test_dynamos_requests_that_generate_nothing_are_not_counted() -> None:
    found = read("dynamo", "history/2026-autumn-frontend").models["m"]
    assert found.requests == {"ok": 5.0, "error": 4.0}  # 6 reranked or classified, 1 pooled


@pytest.mark.parametrize("page", ["history/2026-01-frontend", "history/2025-frontend"])
def test_dynamos_failures_without_a_kind_are_errors_at_most(page: str) -> None:
    found = pages.engine_page(pages.text_of("dynamo", page)).counters
    by = {
        tuple(dict(key.labels)[name] for name in ("outcome", "counted_by")): sum(parts.values())
        for key, parts in found.items()
        if key.measure == "requests_total"
    }
    assert by == {("ok", "gateway"): 8.0, ("error", "estimate"): 3.0}


def test_a_model_that_dynamo_spells_in_two_ways_is_one_with_its_capitals() -> None:
    text = pages.text_of("dynamo", DYNAMO)
    assert 'model="qwen/qwen3-0.6b"' in text
    assert set(read("dynamo", DYNAMO).models) == {QWEN}


def test_dynamos_buckets_begin_at_zero_and_hold_no_request_there() -> None:
    # 8 answered, and 16 refused, failed, left or asked for embeddings, none of which took 1.9 s
    assert buckets("dynamo", DYNAMO, "duration_seconds") == [(0, 22, *[24] * 8)]
    (page,) = [read("dynamo", DYNAMO)]
    assert page.models[QWEN].tokens == {"generated": 240.0, "prompt": 400.0, "prompt_cached": 100.0}
    assert page.gauges[QWEN] == {"running_requests": 2.0}  # not twice, under its older name as well


def front(tokens: int) -> str:
    """A frontend's page, after that many tokens."""
    text = pages.text_of("dynamo", DYNAMO)
    row = 'dynamo_frontend_output_tokens_total{model="qwen/qwen3-0.6b"}'
    assert f"{row} 240\n" in text
    return text.replace(f"{row} 240\n", f"{row} {tokens}\n")


def test_a_dynamo_frontend_and_its_workers_engine_are_one_models_and_count_apart() -> None:
    """One request: the frontend, which spells the model in lower case, and the worker's vLLM."""
    node = Node()
    gateway, worker = target("frontend"), target("worker")
    who = f'engine="0",model_name="{QWEN}"'
    for tokens in (0, 300):
        engine = f"vllm:generation_tokens_total{{{who}}} {tokens}\n"
        engine += f'dynamo_component_requests_total{{model="qwen/qwen3-0.6b"}} {tokens // 300}\n'
        node.tick({gateway: read_page(front(tokens)), worker: read_page(engine)})

    assert {name: one.vantage for name, one in node.state.watched.items()} == {
        "frontend": "gateway",
        "worker": "engine",
    }
    generated = {"model": QWEN, "kind": "generated"}
    assert node.total("tokens_total", **generated, target="worker") == 300.0
    assert node.total("gateway_tokens_total", **generated, target="frontend") == 300.0
    assert node.total("tokens_total") == 300.0


def test_one_request_that_a_frontend_and_its_sglang_see_is_one_on_each() -> None:
    """Figures of a recorded pair: 5 ms of its time to first token are the frontend's own."""
    node = Node()
    gateway, worker = target("frontend"), target("worker")

    def first_token(name: str, who: str, count: int, seconds: float) -> Page:
        ladder = [f'{name}_bucket{{{who},le="{le}"}} {count}' for le in ("2.2", "+Inf")]
        return read_page("\n".join([*ladder, f"{name}_sum{{{who}}} {count * seconds}", ""]))

    name = "time_to_first_token_seconds"
    for count in (0, 1):
        seen = first_token(f"dynamo_frontend_{name}", f'model="{QWEN}"', count, 1.56257)
        own = first_token(f"sglang:{name}", f'model_name="{QWEN}"', count, 1.55738)
        node.tick({gateway: seen, worker: own})

    found = {key.measure: (h.total, h.sum) for key, h in node.state.histograms.items()}
    assert found == {"gateway_ttft_seconds": (1.0, 1.56257), "ttft_seconds": (1.0, 1.55738)}


def test_a_worker_of_dynamos_is_known_by_its_engine_if_that_speaks() -> None:
    bare = pages.text_of("dynamo", "history/2026-08-worker")
    assert inspect(bare).engine == "dynamo"
    assert inspect(bare).models == {}
    for engine, line in [
        ("vllm", 'vllm:generation_tokens_total{engine="0",model_name="m"} 1\n'),
        ("sglang", 'sglang:generation_tokens_total{model_name="m"} 1\n'),
    ]:
        found = inspect(bare + line)
        assert (found.engine, found.role, found.vantage) == (engine, "worker", "engine")


# --- llm-d ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "first_tokens", "cached"),
    [
        ("history/0.10", [(0, 0, 5, 5, 5, 6)], {"prompt_cached": 200.0}),
        ("history/0.8", [(0, 0, 6, 6, 6, 6)], {"prompt_cached": 200.0}),
        ("history/gie-1.2", [(0, 0, 6, 6, 6, 6)], {}),
        ("history/gie-0.5", [(0, 0, 6, 6, 6, 6)], {}),
    ],
)
def test_an_endpoint_pickers_events_count_once_under_whatever_names(
    page: str, first_tokens: list[tuple[int, ...]], cached: dict[str, float]
) -> None:
    """The first page has each under two names, and answers sent whole among its first bytes."""
    found = read("llmd", page)

    model = found.models["chat"]
    assert model.tokens == {"generated": 160.0, "prompt": 800.0, **cached}
    # An engine's own refusal (ModelServerError) may be the caller's fault: 4 are sure, 2 not.
    assert model.requests == {"error": 4.0, "error_upper": 6.0, "rejected": 1.0}
    gauges = {"kv_cache_used_ratio": 0.5, "running_requests": 4.0, "waiting_requests": 3.0}
    assert found.gauges["chat"] == gauges
    assert [counts[:6] for counts in buckets("llmd", page, "ttft_seconds")] == first_tokens
    # Of those queued, the three that were never sent on waited for nothing.
    assert buckets("llmd", page, "queue_seconds") == [(0.0, 12.0, 12.0)]


def test_an_endpoint_picker_says_why_it_has_no_error_rate() -> None:
    why = read("llmd", "history/0.10").not_available
    assert "counts failures and no successes" in why["requests_total{outcome=error}"]


# --- Envoy ---------------------------------------------------------------------------------------


def test_of_envoys_tokens_those_that_are_parts_of_others_are_not_added() -> None:
    found = read("envoy", "history/1.1.0").models
    assert set(found) == {"chat"}  # not the upstream's llama-70b
    assert found["chat"].tokens == {"generated": 160.0, "prompt": 800.0, "prompt_cached": 200.0}


def test_envoys_failures_are_errors_at_most_and_their_durations_nobodys() -> None:
    found = read("envoy", "history/1.1.0").models["chat"]
    assert (found.requests, found.latencies["duration"].count) == ({"ok": 8.0, "error": 3.0}, 8.0)
    (ladder,) = buckets("envoy", "history/1.1.0", "duration_seconds")
    assert ladder[:9] == (0, 0, 0, 0, 0, 0, 6, 6, 8)  # to 2.56 s


def test_a_histogram_with_its_last_bucket_only_is_a_mean() -> None:
    found = read("envoy", "history/0.3")
    assert found.models["qwen2.5:0.5b"].tokens == {"generated": 20.0, "prompt": 44.0}
    assert found.not_available["duration_seconds"] == "only a mean can be had of it, no buckets"


def test_another_exporter_of_the_same_conventions_is_not_taken_for_envoy() -> None:
    text = pages.text_of("envoy", "lookalikes/otel-exporter")
    assert "its names begin with `gen_`" in refusal(text)


# --- vLLM's router -------------------------------------------------------------------------------


def test_a_routers_rows_of_two_engines_are_parts_and_its_gauges_named_total_no_counts() -> None:
    found = read("vllm_router", "history/2026-autumn")

    model = found.models["llama"]
    assert model.tokens == {"generated": 160.0, "prompt": 800.0}
    assert model.requests == {"ok": 10.0, "error": 3.0}
    assert found.gauges["llama"] == {"running_requests": 3.0}
    ladders = buckets("vllm_router", "history/2026-autumn", "duration_seconds")
    assert [counts[3:6] for counts in ladders] == [(4.0, 4.0, 4.0), (3.0, 3.0, 6.0)]


def test_a_routers_growth_is_of_all_its_engines_together() -> None:
    before = pages.text_of("vllm_router", "history/2026-autumn")
    after = before.replace('6:8000",model="llama"} 100.0', '6:8000",model="llama"} 130.0')
    assert after != before
    assert inspect(after, before).models["llama"].tokens["generated"] == 30.0


def test_a_simulator_is_still_told_from_vllm() -> None:
    found = read("vllm", "lookalikes/llm-d-inference-sim")
    assert (found.engine, found.role) == ("vllm", "simulator")


# --- processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "engine", "is_read"),
    [
        ("/usr/bin/litellm --config c.yaml --port 4000", "litellm", True),
        ("python -m dynamo.frontend --http-port 8000", "dynamo", True),
        ("python -m dynamo.vllm --model m", "dynamo", False),
        ("python3 -m dynamo.sglang --model-path m", "dynamo", False),
        ("/epp --pool-name p --grpc-port 9002", "llmd", True),
        ("/app/extproc -adminPort 1064", "envoy", True),
        ("vllm-router --port 8001 --static-models m", "vllm_router", True),
        ("vllm serve m", "vllm", True),
    ],
)
def test_a_gateways_process_is_told_by_its_command(
    command: str, engine: str, is_read: bool
) -> None:
    fitting: list[ProcessHint] = [
        hint
        for dialect in load_all().values()
        for hint in dialect.processes
        if any(re.search(pattern, command) for pattern in hint.command_patterns)
    ]
    assert [(hint.engine, hint.is_read) for hint in fitting] == [(engine, is_read)]


def test_who_has_no_page_by_default_says_what_would_give_it_one() -> None:
    hints = [h for name in ("litellm", "dynamo") for h in load_all()[name].processes]
    remedies = {hint.title: hint.metrics_remedy for hint in hints if not hint.has_metrics}
    assert "callbacks" in (remedies[None] or "")
    assert "DYN_SYSTEM_PORT" in (remedies["Dynamo worker"] or "")
