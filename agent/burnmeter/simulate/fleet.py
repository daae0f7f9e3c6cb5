"""The simulated node's engines, as data: what each serves, on which GPUs, how fast, how busy.

Not measurements: round numbers of the right size for such models on H100s, chosen so that a calm
engine is far from its limits and the story's incident pushes it over them.
"""

from dataclasses import dataclass
from typing import Final

from burnmeter.config_prices import TokenPrices

BLOCK_TOKENS: Final = 16
"""vLLM's KV-cache block size on NVIDIA GPUs, unless told otherwise."""

GPU_COUNT: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """One `vllm serve`: its model, its GPUs, its speed and its visitors."""

    name: str
    model: str
    """As given on the command line."""
    served_model: str
    port: int
    """Where tests without a network pretend it listens; the child process takes free ports."""
    gpus_by_rank: tuple[tuple[int, ...], ...]
    handler: str
    requests_per_second: float
    prompt_tokens: int
    """Median; lengths are log-normal."""
    output_tokens: int
    """Median."""
    length_sigma: float
    cache_hit_ratio: float
    prefill_seconds_per_token: float
    step_seconds: float
    """A decode step of one request."""
    step_seconds_per_request: float
    """What each further request adds to a step."""
    step_tokens: int
    """--max-num-batched-tokens: what one step may compute."""
    max_requests: int
    """--max-num-seqs, per rank."""
    max_queued: int
    """--max-num-queued-reqs."""
    max_model_tokens: int
    kv_blocks: int
    """Per rank."""
    memory_ratio: float
    """--gpu-memory-utilization"""

    @property
    def gpus(self) -> tuple[int, ...]:
        """Indices of all its GPUs."""
        return tuple(gpu for rank in self.gpus_by_rank for gpu in rank)


CHAT: Final = EngineSpec(
    name="chat",
    model="meta-llama/Llama-3.3-70B-Instruct",
    served_model="llama-3.3-70b-instruct",
    port=8000,
    gpus_by_rank=((0, 1, 2, 3),),
    handler="/v1/chat/completions",
    requests_per_second=1.8,
    prompt_tokens=1800,
    output_tokens=150,
    length_sigma=0.45,
    cache_hit_ratio=0.35,
    prefill_seconds_per_token=1.25e-4,
    step_seconds=0.022,
    step_seconds_per_request=2.5e-4,
    step_tokens=2048,
    max_requests=64,
    max_queued=40,
    max_model_tokens=32768,
    kv_blocks=7000,
    memory_ratio=0.62,
)

AGENTS: Final = EngineSpec(
    name="agents",
    model="Qwen/Qwen3-8B",
    served_model="qwen3-8b",
    port=8001,
    gpus_by_rank=((4,), (5,)),
    handler="/v1/chat/completions",
    requests_per_second=6.0,
    prompt_tokens=2200,
    output_tokens=120,
    length_sigma=0.7,
    cache_hit_ratio=0.6,
    prefill_seconds_per_token=2.4e-5,
    step_seconds=0.0075,
    step_seconds_per_request=6e-5,
    step_tokens=8192,
    max_requests=128,
    max_queued=256,
    max_model_tokens=40960,
    kv_blocks=18000,
    memory_ratio=0.9,
)

CODE: Final = EngineSpec(
    name="code",
    model="Qwen/Qwen2.5-Coder-7B-Instruct",
    served_model="qwen2.5-coder-7b-instruct",
    port=8002,
    gpus_by_rank=((6,),),
    handler="/v1/completions",
    requests_per_second=4.0,
    prompt_tokens=1500,
    output_tokens=60,
    length_sigma=0.8,
    cache_hit_ratio=0.5,
    prefill_seconds_per_token=2.2e-5,
    step_seconds=0.007,
    step_seconds_per_request=6e-5,
    step_tokens=8192,
    max_requests=128,
    max_queued=256,
    max_model_tokens=32768,
    kv_blocks=40000,
    memory_ratio=0.9,
)

TOKEN_PRICES: Final = {
    "llama-3.3-70b-instruct": TokenPrices(
        prompt_dollars_per_million_tokens=0.9,
        cached_prompt_dollars_per_million_tokens=0.45,
        generated_dollars_per_million_tokens=0.9,
    ),
    "qwen3-8b": TokenPrices(
        prompt_dollars_per_million_tokens=0.2,
        cached_prompt_dollars_per_million_tokens=0.05,
        generated_dollars_per_million_tokens=0.4,
    ),
}
"""What its tokens bring, of the size of public price lists; nobody pays for the third model."""
FLEET: Final = (CHAT, AGENTS, CODE)
"""GPU 7 belongs to nobody, so that idle money is on the bill."""
