"""An engine's state as the text that a real vLLM 0.32 answers on /metrics. Pure.

Written line by line and not through a registry of prometheus_client, because several engines live
in one process here; number formatting is that library's own, so every digit looks as it would.
The single-process shape: HELP and TYPE, children, then a gauge family `_created` (dialects speak
of it as a trap, which is why it is here).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.utils import floatToGoString

from burnmeter.simulate.counts import Buckets
from burnmeter.simulate.engine import Engine, Web
from burnmeter.simulate.families import HTTP, PROCESS, RANK, Family
from burnmeter.simulate.fleet import BLOCK_TOKENS, EngineSpec
from burnmeter.simulate.rank import Rank

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
Child = tuple[Labels, float]


def render(engine: Engine, at: float, wall: Callable[[float], float]) -> str:
    """The page at `at` simulated seconds; `wall` turns those into Unix time."""
    lines: list[str] = []
    process = _process_values(engine, at, wall)
    for family in PROCESS:
        lines += _plain(family, process[family.name])
    made = wall(engine.ready)
    for family in RANK:
        lines += _rank_family(engine, family, made)
    for family in HTTP:
        lines += _http_family(engine.web, family, made, wall)
    return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: Labels, value: float) -> str:
    pairs = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    return f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _plain(family: Family, children: Iterable[Child]) -> list[str]:
    head = _head(family.name, family.kind, family.help)
    return head + [_line(family.name, labels, value) for labels, value in children]


def _created(family: Family, children: Iterable[Child]) -> list[str]:
    stem = family.name.removesuffix("_total") if family.kind == "counter" else family.name
    head = _head(f"{stem}_created", "gauge", family.help)
    return head + [_line(f"{stem}_created", labels, value) for labels, value in children]


def _buckets(name: str, labels: Labels, buckets: Buckets) -> Iterator[str]:
    counts = buckets.cumulative()
    for bound, count in zip((*buckets.bounds, float("inf")), counts, strict=True):
        yield _line(f"{name}_bucket", {**labels, "le": _number(bound)}, count)
    yield _line(f"{name}_count", labels, counts[-1])
    yield _line(f"{name}_sum", labels, buckets.sum)


# --- the engine's own families ---


def _rank_family(engine: Engine, family: Family, made: float) -> list[str]:
    model = engine.spec.served_model
    common = [
        (rank, {"engine": str(index), "model_name": model})
        for index, rank in enumerate(engine.ranks)
    ]
    if family.name == "vllm:admission_rejections_total":
        common = [(engine.ranks[0], {"model_name": model})]
    if family.name == "vllm:cache_config_info":
        # Its model is in no label: vLLM dumps the cache's configuration and the rank.
        infos = [_cache_config(engine.spec, index) for index in range(len(engine.ranks))]
        return _plain(family, [(info, 1.0) for info in infos])
    children = [
        (rank, value, {**labels, family.label: value} if family.label else labels)
        for value in family.values
        for rank, labels in common
    ]
    stamps = [(labels, made) for _, _, labels in children]
    if family.kind == "histogram":
        lines = _head(family.name, family.kind, family.help)
        for rank, _, labels in children:
            lines += _buckets(family.name, labels, rank.counts.histograms[family.name])
        return lines + _created(family, stamps)
    values = [(labels, _value(engine, rank, family, value)) for rank, value, labels in children]
    lines = _plain(family, values)
    return lines + _created(family, stamps) if family.kind == "counter" else lines


def _value(engine: Engine, rank: Rank, family: Family, value: str) -> float:
    if family.name == "vllm:admission_rejections_total":
        return float(engine.rejected) if value == "max_num_queued_reqs" else 0.0
    if family.kind == "counter":
        return rank.counts.counters.get((family.name, value), 0.0)
    gauges = {
        ("vllm:num_requests_running", ""): float(len(rank.running)),
        ("vllm:num_requests_waiting", ""): float(len(rank.waiting)),
        ("vllm:num_requests_waiting_by_reason", "capacity"): float(len(rank.waiting)),
        ("vllm:engine_sleep_state", "awake"): 1.0,
        ("vllm:kv_cache_usage_perc", ""): rank.kv_used_ratio,
    }
    return gauges.get((family.name, value), 0.0)


def _cache_config(spec: EngineSpec, index: int) -> Labels:
    tokens = spec.kv_blocks * BLOCK_TOKENS
    return {
        **_CACHE_CONFIG,
        "engine": str(index),
        "gpu_memory_utilization": str(spec.memory_ratio),
        "kv_cache_max_concurrency": str(tokens / spec.max_model_tokens),
        "kv_cache_size_tokens": str(tokens),
        "num_gpu_blocks": str(spec.kv_blocks),
    }


_CACHE_CONFIG: Final = {
    "_block_size_resolved": "True",
    "block_size": str(BLOCK_TOKENS),
    "cache_dtype": "auto",
    "cache_hit_alignment_tokens": "None",
    "effective_attention_block_size": str(BLOCK_TOKENS),
    "enable_mamba_shared_prefix_checkpoint": "False",
    "enable_prefix_caching": "True",
    "hash_block_size": "None",
    "is_attention_free": "False",
    "kv_cache_dtype_skip_layers": "[]",
    "kv_cache_layout": "None",
    "kv_cache_memory_bytes": "None",
    "kv_offloading_backend": "native",
    "kv_offloading_size": "None",
    "kv_sharing_fast_prefill": "False",
    "mamba_block_size": "None",
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_page_size_padded": "None",
    "mamba_ssm_cache_dtype": "float32",
    "num_cpu_blocks": "None",
    "num_gpu_blocks_override": "None",
    "prefix_cache_retention_interval": "0",
    "prefix_caching_hash_algo": "sha256",
    "prefix_match_unit": "None",
    "replayssm_buffer_len": "16",
    "skip_page_size_padded": "None",
    "sliding_window": "None",
    "swa_bounded_replay": "True",
    "use_kda_recoverssm": "False",
    "use_replayssm": "False",
    "user_specified_block_size": "False",
}


# --- the API server's process and its web framework ---


def _process_values(
    engine: Engine, at: float, wall: Callable[[float], float]
) -> dict[str, list[Child]]:
    steps = sum(
        rank.counts.histograms["vllm:iteration_tokens_total"].count for rank in engine.ranks
    )
    # The API server wakes for each step, and a little even if its core is stopped.
    cpu = round(9.0 + 0.004 * (at - engine.process_started) + 0.0006 * steps, 2)
    swept = [int(cpu * 1600), int(cpu * 210), int(cpu * 60)]
    runs = [int(cpu * 170), int(cpu * 15), int(cpu)]
    version = {"major": "3", "minor": "12", "patchlevel": "11", "version": "3.12.11"}
    return {
        "python_gc_objects_collected_total": _generations(swept),
        "python_gc_objects_uncollectable_total": _generations([0, 0, 0]),
        "python_gc_collections_total": _generations(runs),
        "python_info": [({"implementation": "CPython", **version}, 1.0)],
        "process_virtual_memory_bytes": [({}, 21474836480.0)],
        "process_resident_memory_bytes": [({}, 1288490188.0)],
        "process_start_time_seconds": [({}, round(wall(engine.process_started), 2))],
        "process_cpu_seconds_total": [({}, cpu)],
        "process_open_fds": [({}, 44.0 + len(engine.spec.gpus))],
        "process_max_fds": [({}, 1048576.0)],
    }


def _generations(values: list[int]) -> list[Child]:
    return [({"generation": str(index)}, value) for index, value in enumerate(values)]


def _http_family(
    web: Web, family: Family, made: float, wall: Callable[[float], float]
) -> list[str]:
    name = family.name
    lines = _head(name, family.kind, family.help)
    stamps: list[Child] = []
    if name == "http_requests_total":
        for key, requests in web.requests.items():
            labels = dict(zip(("handler", "method", "status"), key, strict=True))
            lines.append(_line(name, labels, requests))
            stamps.append((labels, wall(web.first_seen["/".join(key)])))
    elif name == "http_request_duration_highr_seconds":
        lines += _buckets(name, {}, web.fine)
        stamps.append(({}, made))
    elif name == "http_request_duration_seconds":
        for (handler, method), buckets in web.coarse.items():
            labels = {"handler": handler, "method": method}
            lines += _buckets(name, labels, buckets)
            stamps.append((labels, wall(web.first_seen[handler])))
    else:
        sizes = web.request_bytes if name == "http_request_size_bytes" else web.response_bytes
        for handler, size in sizes.items():
            answers = sum(n for key, n in web.requests.items() if key[0] == handler)
            lines += [
                _line(f"{name}_count", {"handler": handler}, answers),
                _line(f"{name}_sum", {"handler": handler}, size),
            ]
            stamps.append(({"handler": handler}, wall(web.first_seen[handler])))
    return lines + _created(family, stamps)
