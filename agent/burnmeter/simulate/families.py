"""What a vLLM 0.32 page says: every family in its order, with help, labels and bucket bounds.

It is data about somebody else's program, and holds no numbers of ours. Taken from a page that a
real vLLM 0.32.0 wrote; a test compares each HELP and TYPE line with that recording. `_created`
families are not listed: each counter, histogram and summary brings its own (vllm/v1/metrics/
loggers.py and prometheus-fastapi-instrumentator, both through prometheus_client).
"""

from typing import Final, NamedTuple

Bounds = tuple[float, ...]

TOKENS: Final[Bounds] = ()
"""Stands for the ladder that depends on the model's length: see `bounds_of`."""
STEP_TOKENS: Final[Bounds] = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
CHOICES: Final[Bounds] = (1, 2, 5, 10, 20)
PREEMPTIONS: Final[Bounds] = (1, 2, 3, 4, 5, 10, 20)
TTFT: Final[Bounds] = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
)
ITL: Final[Bounds] = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1, 2.5, 5, 7.5, 10, 20, 40, 80),
)
LATENCY: Final[Bounds] = (
    *(0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60),
    *(120, 240, 480, 960, 1920, 7680),
)
HTTP_FINE: Final[Bounds] = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5),
    *(3, 3.5, 4, 4.5, 5, 7.5, 10, 30, 60),
)
HTTP_COARSE: Final[Bounds] = (0.1, 0.5, 1)


class Family(NamedTuple):
    """One metric family. `values`: those of its own label, which are all there from the start."""

    name: str
    kind: str
    help: str
    bounds: Bounds = ()
    label: str = ""
    values: tuple[str, ...] = ("",)


def bounds_of(family: Family, max_model_tokens: int) -> Bounds:
    """Its bounds: token counts climb 1, 2, 5, 10 ... up to the longest text the model takes."""
    if family.bounds:
        return family.bounds
    ladder = (step * 10.0**power for power in range(9) for step in (1, 2, 5))
    return tuple(bound for bound in ladder if bound <= max_model_tokens)


_FOR_MFU: Final = "per GPU (for Model Flops Utilization calculations)."
_GENERATIONS: Final = ("0", "1", "2")
_LENT: Final = (
    "External prefix cache {} from KV connector cross-instance cache sharing, in terms of"
)

PROCESS: Final = (
    Family(
        "python_gc_objects_collected_total",
        "counter",
        "Objects collected during gc",
        label="generation",
        values=_GENERATIONS,
    ),
    Family(
        "python_gc_objects_uncollectable_total",
        "counter",
        "Uncollectable objects found during GC",
        label="generation",
        values=_GENERATIONS,
    ),
    Family(
        "python_gc_collections_total",
        "counter",
        "Number of times this generation was collected",
        label="generation",
        values=_GENERATIONS,
    ),
    Family("python_info", "gauge", "Python platform information"),
    Family("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes."),
    Family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes."),
    Family(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
    ),
    Family(
        "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds."
    ),
    Family("process_open_fds", "gauge", "Number of open file descriptors."),
    Family("process_max_fds", "gauge", "Maximum number of open file descriptors."),
)
"""The API server's own process."""

RANK: Final = (
    Family(
        "vllm:estimated_flops_per_gpu_total",
        "counter",
        f"Estimated number of floating point operations {_FOR_MFU}",
    ),
    Family(
        "vllm:estimated_read_bytes_per_gpu_total",
        "counter",
        f"Estimated number of bytes read from memory {_FOR_MFU}",
    ),
    Family(
        "vllm:estimated_write_bytes_per_gpu_total",
        "counter",
        f"Estimated number of bytes written to memory {_FOR_MFU}",
    ),
    Family("vllm:num_requests_running", "gauge", "Number of requests in model execution batches."),
    Family("vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed."),
    Family(
        "vllm:num_requests_waiting_by_reason",
        "gauge",
        "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling"
        " capacity; 'deferred' = deferred by transient constraints (LoRA budget, KV transfer,"
        " blocked status). Sum of all reasons equals vllm:num_requests_waiting.",
        label="reason",
        values=("capacity", "deferred"),
    ),
    Family(
        "vllm:engine_sleep_state",
        "gauge",
        "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake;"
        " weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.",
        label="sleep_state",
        values=("awake", "weights_offloaded", "discard_all"),
    ),
    Family("vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage."),
    Family(
        "vllm:prefix_cache_queries_total",
        "counter",
        "Prefix cache queries, in terms of number of queried tokens.",
    ),
    Family(
        "vllm:prefix_cache_hits_total",
        "counter",
        "Prefix cache hits, in terms of number of cached tokens.",
    ),
    Family(
        "vllm:external_prefix_cache_queries_total",
        "counter",
        f"{_LENT.format('queries')} number of queried tokens.",
    ),
    Family(
        "vllm:external_prefix_cache_hits_total",
        "counter",
        f"{_LENT.format('hits')} number of cached tokens.",
    ),
    Family(
        "vllm:mm_cache_queries_total",
        "counter",
        "Multi-modal cache queries, in terms of number of queried items.",
    ),
    Family(
        "vllm:mm_cache_hits_total",
        "counter",
        "Multi-modal cache hits, in terms of number of cached items.",
    ),
    Family(
        "vllm:num_preemptions_total", "counter", "Cumulative number of preemption from the engine."
    ),
    Family("vllm:prompt_tokens_total", "counter", "Number of prefill tokens processed."),
    Family(
        "vllm:prompt_tokens_by_source_total",
        "counter",
        "Number of prompt tokens by source.",
        label="source",
        values=("local_compute", "local_cache_hit", "external_kv_transfer"),
    ),
    Family(
        "vllm:prompt_tokens_cached_total",
        "counter",
        "Number of cached prompt tokens (local + external).",
    ),
    Family(
        "vllm:prompt_tokens_cached_by_source_total",
        "counter",
        "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host"
        " (offloaded to DRAM), disk, p2p (transferred from another vLLM instance) or"
        " external_unspecified. Counted at admission; sums to vllm:prefix_cache_hits +"
        " vllm:external_prefix_cache_hits.",
        label="source",
        values=("device", "host", "p2p", "disk", "external_unspecified"),
    ),
    Family("vllm:generation_tokens_total", "counter", "Number of generation tokens processed."),
    Family(
        "vllm:request_success_total",
        "counter",
        "Count of successfully processed requests.",
        label="finished_reason",
        values=("stop", "length", "abort", "error", "repetition"),
    ),
    # The API server refuses before a rank is chosen, so this one has no `engine` label.
    Family(
        "vllm:admission_rejections_total",
        "counter",
        "Number of admission attempts rejected by a queue limit, by reason.",
        label="reason",
        values=("max_num_queued_reqs", "max_num_queued_tokens"),
    ),
    Family(
        "vllm:request_prompt_tokens", "histogram", "Number of prefill tokens processed.", TOKENS
    ),
    Family(
        "vllm:request_generation_tokens",
        "histogram",
        "Number of generation tokens processed.",
        TOKENS,
    ),
    Family(
        "vllm:iteration_tokens_total",
        "histogram",
        "Histogram of number of tokens per engine_step.",
        STEP_TOKENS,
    ),
    Family(
        "vllm:request_max_num_generation_tokens",
        "histogram",
        "Histogram of maximum number of requested generation tokens.",
        TOKENS,
    ),
    Family("vllm:request_params_n", "histogram", "Histogram of the n request parameter.", CHOICES),
    Family(
        "vllm:request_params_max_tokens",
        "histogram",
        "Histogram of the max_tokens request parameter.",
        TOKENS,
    ),
    Family(
        "vllm:time_to_first_token_seconds",
        "histogram",
        "Histogram of time to first token in seconds.",
        TTFT,
    ),
    Family(
        "vllm:inter_token_latency_seconds",
        "histogram",
        "Histogram of inter-token latency in seconds.",
        ITL,
    ),
    Family(
        "vllm:request_time_per_output_token_seconds",
        "histogram",
        "Histogram of time_per_output_token_seconds per request.",
        ITL,
    ),
    Family(
        "vllm:e2e_request_latency_seconds",
        "histogram",
        "Histogram of e2e request latency in seconds.",
        LATENCY,
    ),
    Family(
        "vllm:request_queue_time_seconds",
        "histogram",
        "Histogram of time spent in WAITING phase for request.",
        LATENCY,
    ),
    Family(
        "vllm:request_inference_time_seconds",
        "histogram",
        "Histogram of time spent in RUNNING phase for request.",
        LATENCY,
    ),
    Family(
        "vllm:request_prefill_time_seconds",
        "histogram",
        "Histogram of time spent in PREFILL phase for request.",
        LATENCY,
    ),
    Family(
        "vllm:request_decode_time_seconds",
        "histogram",
        "Histogram of time spent in DECODE phase for request.",
        LATENCY,
    ),
    Family(
        "vllm:request_num_preemptions",
        "histogram",
        "Histogram of the number of times a request was preempted.",
        PREEMPTIONS,
    ),
    Family(
        "vllm:request_prefill_kv_computed_tokens",
        "histogram",
        "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
        TOKENS,
    ),
    Family("vllm:cache_config_info", "gauge", "Information of the LLMEngine CacheConfig"),
)
"""One child per data-parallel rank."""

_SIZE: Final = "Only value of header is respected. Otherwise ignored. No percentile calculated. "

HTTP: Final = (
    Family(
        "http_requests_total", "counter", "Total number of requests by method, status and handler."
    ),
    Family(
        "http_request_size_bytes",
        "summary",
        f"Content length of incoming requests by handler. {_SIZE}",
    ),
    Family(
        "http_response_size_bytes",
        "summary",
        f"Content length of outgoing responses by handler. {_SIZE}",
    ),
    Family(
        "http_request_duration_highr_seconds",
        "histogram",
        "Latency with many buckets but no API specific labels."
        " Made for more accurate percentile calculations. ",
        HTTP_FINE,
    ),
    Family(
        "http_request_duration_seconds",
        "histogram",
        "Latency with only few buckets by handler."
        " Made to be only used if aggregation by handler is important. ",
        HTTP_COARSE,
    ),
)
"""The web framework's own counters; a child appears with its first request."""
