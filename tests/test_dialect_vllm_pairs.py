"""vLLM with prefill and decode on two servers: of all that both count, nothing leaves twice.

The pages are of one pair that served four requests of 10 prompt tokens and 3 generated ones each.
"""

import re

import pytest

from burnmeter import pipeline
from burnmeter.dialects import load_all
from burnmeter.model import Target
from burnmeter.page import Page, read_page
from burnmeter.pipeline import Readings, Settings, State
from burnmeter.sources.commands import arguments_of, role_of
from tests.fakes import objective, reading, terms

PREFILL = Target(name="p", url="http://a:8000/metrics", origin="config", role="prefill")
DECODE = Target(name="d", url="http://b:8000/metrics", origin="config", role="decode")
WHO = 'engine="0",model_name="llama"'

PREFILL_HISTOGRAMS = {
    "time_to_first_token_seconds": (4, 0.8),
    "e2e_request_latency_seconds": (4, 1.0),
    "request_queue_time_seconds": (4, 0.4),
    "request_prefill_time_seconds": (4, 0.5),
    "request_decode_time_seconds": (4, 0.0),
    "request_time_per_output_token_seconds": (4, 0.0),
    "inter_token_latency_seconds": (0, 0.0),
    "request_prompt_tokens": (4, 40),
    "request_generation_tokens": (4, 4),
}
DECODE_HISTOGRAMS = {
    "time_to_first_token_seconds": (4, 0.2),
    "e2e_request_latency_seconds": (4, 2.0),
    "request_queue_time_seconds": (4, 0.04),
    "request_prefill_time_seconds": (4, 0.12),
    "request_decode_time_seconds": (4, 1.6),
    "request_time_per_output_token_seconds": (4, 0.8),
    "inter_token_latency_seconds": (8, 1.6),
    "request_prompt_tokens": (4, 40),
    "request_generation_tokens": (4, 12),
}


def page(counts: dict[str, float], histograms: dict[str, tuple[float, float]], part: float) -> Page:
    """A server's page once `part` of its requests are served."""
    lines = []
    for name, value in counts.items():
        head, brace, rest = name.partition("{")
        labels = f"{WHO},{rest}" if brace else f"{WHO}}}"
        lines.append(f"vllm:{head}{{{labels} {value * part}")
    for name, (total, summed) in histograms.items():
        buckets = [f'_bucket{{{WHO},le="{bound}"}} {total * part}' for bound in ("80.0", "+Inf")]
        ends = [f"_count{{{WHO}}} {total * part}", f"_sum{{{WHO}}} {summed * part}"]
        lines += [f"vllm:{name}{line}" for line in [*buckets, *ends]]
    return read_page("\n".join(lines) + "\n")


def prefill(part: float) -> Page:
    counts = {
        "prompt_tokens_total": 40,
        "prompt_tokens_cached_total": 16,
        "generation_tokens_total": 4,
        'request_success_total{finished_reason="length"}': 4,
        'request_success_total{finished_reason="error"}': 0,
        "prefix_cache_queries_total": 40,
        "prefix_cache_hits_total": 16,
        "num_requests_running": 1,
    }
    return page(counts, PREFILL_HISTOGRAMS, part)


def decode(part: float) -> Page:
    counts = {
        "prompt_tokens_total": 40,
        "prompt_tokens_cached_total": 40,
        "generation_tokens_total": 12,
        'request_success_total{finished_reason="stop"}': 4,
        'request_success_total{finished_reason="error"}': 0,
        "prefix_cache_queries_total": 40,
        "prefix_cache_hits_total": 0,
        "num_requests_running": 3,
    }
    return page(counts, DECODE_HISTOGRAMS, part)


def served(*, with_prefill: bool = True, with_decode: bool = True) -> State:
    """What an agent knows after two looks between which all four requests were served."""
    state = State(started_timestamp_seconds=1000.0)
    indicators = [objective("errors"), objective("ttft", threshold_seconds=80.0)]
    indicators.append(objective("queue", threshold_seconds=80.0))
    settings = Settings(terms=terms(), objectives=tuple(indicators), recent_seconds=60.0)
    for at, part in ((0.0, 0.0), (5.0, 1.0)):
        pages = {}
        if with_prefill:
            pages[PREFILL] = prefill(part)
        if with_decode:
            pages[DECODE] = decode(part)
        readings = Readings(
            at_seconds=at,
            timestamp_seconds=1000.0 + at,
            targets=tuple(pages),
            pages={one.name: (reading(at, name=one.name), text) for one, text in pages.items()},
            gpus=None,
            processes=None,
        )
        state = pipeline.tick(state, readings, settings)
    return state


def total(state: State, measure: str, **labels: str) -> float:
    wanted = labels.items()
    of_it = [(k, v) for k, v in state.counters.items() if k.measure == measure]
    return sum(value for key, value in of_it if wanted <= dict(key.labels).items())


def observed(state: State, measure: str) -> tuple[float, float | None] | None:
    found = [h for key, h in state.histograms.items() if key.measure == measure]
    assert len(found) < 2
    return (found[0].total, found[0].sum) if found else None


def test_each_request_and_each_token_of_a_pair_counts_once() -> None:
    state = served()

    assert total(state, "requests_total", outcome="ok") == 4
    assert total(state, "tokens_total", kind="prompt") == 40
    assert total(state, "tokens_total", kind="generated") == 12
    assert total(state, "tokens_total", kind="prompt_cached") == 16  # not 56
    assert total(state, "prefix_cache_queried_tokens_total") == 40
    assert total(state, "prefix_cache_hit_tokens_total") == 16


@pytest.mark.parametrize(
    ("measure", "count_and_sum"),
    [
        ("queue_seconds", (4, 0.4)),
        ("prefill_seconds", (4, 0.5)),
        ("decode_seconds", (4, 1.6)),
        ("itl_seconds", (8, 1.6)),
        ("tpot_seconds", (4, 0.8)),
        ("request_prompt_tokens", (4, 40)),
        ("request_generated_tokens", (4, 12)),
        ("ttft_seconds", None),
        ("duration_seconds", None),
    ],
)
def test_each_latency_of_a_pair_is_from_the_server_that_sees_the_whole_of_it(
    measure: str, count_and_sum: tuple[float, float] | None
) -> None:
    assert observed(served(), measure) == count_and_sum


def test_objectives_of_a_pair_are_judged_once_and_what_neither_sees_is_not_judged() -> None:
    state = served()

    def valid(name: str) -> float:
        ledger = state.kept[name, "llama"].ledger
        return ledger[-1].valid if ledger else 0.0

    assert (valid("errors"), valid("queue"), valid("ttft")) == (4, 4, 0)
    assert state.kept["errors", "llama"].unmeasured is None
    why = state.kept["ttft", "llama"].unmeasured
    assert why is not None
    assert why.endswith("which a gateway or a probe does")


def test_half_a_pair_alone_says_what_the_other_half_counts() -> None:
    alone = served(with_decode=False)
    assert total(alone, "requests_total") == 0
    why = alone.kept["errors", "llama"].unmeasured
    assert why is not None
    assert "left to another page of the same requests" in why
    assert total(served(with_prefill=False), "requests_total", outcome="ok") == 4


@pytest.mark.parametrize(
    ("words", "role"),
    [
        (["--kv-transfer-config", '{"kv_connector":"X","kv_role":"kv_producer"}'], "prefill"),
        (["--kv-transfer-config", '{"kv_role": "kv_consumer", "kv_rank": 1}'], "decode"),
        (["--kv-transfer-config={'kv_role':'kv_consumer'}"], "decode"),
        (["--kv_transfer_config.kv_role", "kv_producer"], "prefill"),
        (["--kv-transfer-config", '{"kv_connector":"NixlConnector","kv_role":"kv_both"}'], None),
        (["--port", "8001"], None),
    ],
)
def test_the_command_line_says_which_half_a_server_is(words: list[str], role: str | None) -> None:
    (hint,) = load_all()["vllm"].processes
    arguments = arguments_of(["/usr/bin/python3", "/usr/bin/vllm", "serve", "m", *words], hint)
    assert arguments is not None
    assert role_of(arguments, hint) == role


@pytest.mark.parametrize(
    ("flag", "is_off"),
    [
        ("--disable-log-stats", True),
        ("--disable_log_stats", True),
        ("--no-disable-log-stats", False),
    ],
)
def test_the_flag_that_empties_the_page_is_known(flag: str, is_off: bool) -> None:
    (hint,) = load_all()["vllm"].processes
    assert hint.has_metrics
    assert any(re.search(text, f"m {flag}") for text in hint.metrics_patterns) == is_off
