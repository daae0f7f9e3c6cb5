"""A short notation for pages -> the text that a real engine would send.

Only what stories need, in the engines' own names and layout; whether real pages look so is held
by the recordings in tests/fixtures/engines. A page is a mapping:

    {started: 900, tokens: 50, ok: 3, running: 1, ttft: {0.1: 2, 0.5: 3, inf: 3}}

Histograms are cumulative counts by upper bound. `ranks` holds a mapping of the same kind for each
data-parallel rank; without it there is rank 0 alone.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Words = Mapping[str, Any]

VLLM_COUNTERS: Final = {
    "tokens": ("vllm:generation_tokens_total", ""),
    "prompt": ("vllm:prompt_tokens_total", ""),
    "ok": ("vllm:request_success_total", ',finished_reason="stop"'),
    "error": ("vllm:request_success_total", ',finished_reason="error"'),
    "steps": ("vllm:iteration_tokens_total_count", ""),
}
VLLM_GAUGES: Final = {
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
    "kv": "vllm:kv_cache_usage_perc",
}
VLLM_HISTOGRAMS: Final = {
    "ttft": "vllm:time_to_first_token_seconds",
    "duration": "vllm:e2e_request_latency_seconds",
}
HTTP_COUNTERS: Final = {"http_2xx": "2xx", "http_4xx": "4xx", "http_5xx": "5xx"}
LLAMACPP: Final = {
    "tokens": ("llamacpp:tokens_predicted_total", "counter"),
    "prompt": ("llamacpp:prompt_tokens_total", "counter"),
    "steps": ("llamacpp:n_decode_total", "counter"),
    "running": ("llamacpp:requests_processing", "gauge"),
    "waiting": ("llamacpp:requests_deferred", "gauge"),
}
KNOWN: Final = {
    *VLLM_COUNTERS,
    *VLLM_GAUGES,
    *VLLM_HISTOGRAMS,
    *HTTP_COUNTERS,
    *("started", "ranks", "engine", "model"),
}


def text(words: Words) -> str:
    """The page's text. A word that nothing is made of is a mistake in the story."""
    unknown = words.keys() - KNOWN
    if unknown:
        raise ValueError(f"no such words: {', '.join(sorted(unknown))}")
    lines = _llamacpp(words) if words.get("engine") == "llamacpp" else _vllm(words)
    return "\n".join(lines) + "\n"


def _vllm(words: Words) -> Iterator[str]:
    if "started" in words:
        yield "# TYPE process_start_time_seconds gauge"
        yield f"process_start_time_seconds {float(words['started'])}"
    ranks = words.get("ranks", {"0": words})
    types = {
        **{name: "counter" for name, _ in VLLM_COUNTERS.values()},
        **dict.fromkeys(VLLM_GAUGES.values(), "gauge"),
        **dict.fromkeys(VLLM_HISTOGRAMS.values(), "histogram"),
    }
    rows = [row for rank, of in ranks.items() for row in _rank(str(rank), {**words, **of})]
    for family, kind in types.items():
        found = [line for name, line in rows if name == family]
        if found:
            yield f"# TYPE {family} {kind}"
            yield from found
    for word, status in HTTP_COUNTERS.items():
        if word in words:
            labels = f'handler="/v1/completions",method="POST",status="{status}"'
            yield f"http_requests_total{{{labels}}} {float(words[word])}"


def _rank(rank: str, words: Words) -> Iterator[tuple[str, str]]:
    who = f'engine="{rank}",model_name="{words.get("model", "llama")}"'
    for word, (name, more) in VLLM_COUNTERS.items():
        if word in words:
            yield name, f"{name}{{{who}{more}}} {float(words[word])}"
    for word, name in VLLM_GAUGES.items():
        if word in words:
            yield name, f"{name}{{{who}}} {float(words[word])}"
    for word, name in VLLM_HISTOGRAMS.items():
        for bound, count in words.get(word, {}).items():
            edge = "+Inf" if bound == "inf" else str(float(bound))
            yield name, f'{name}_bucket{{{who},le="{edge}"}} {float(count)}'
            if bound == "inf":
                yield name, f"{name}_count{{{who}}} {float(count)}"


def _llamacpp(words: Words) -> Iterator[str]:
    """It prints doubles as C++ does, with six significant digits."""
    for word, (name, kind) in LLAMACPP.items():
        if word in words:
            yield f"# TYPE {name} {kind}"
            yield f"{name} {words[word]:g}"
