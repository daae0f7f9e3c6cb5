"""Who calls a simulated engine: requests with their arrival, lengths and temper. Pure and seeded.

The load is a Poisson process whose rate follows a day squeezed into five minutes, times a noise
that wanders slowly. Lengths are log-normal, as published traces of such services roughly are.
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Final

from burnmeter.simulate.fleet import BLOCK_TOKENS, EngineSpec

DAY_SECONDS: Final = 300.0
WAVE_RATIO: Final = 0.3
CLIENT_ERROR_RATIO: Final = 0.012
NOT_FOUND_RATIO: Final = 0.002
ABORT_RATIO: Final = 0.015
STREAMING_RATIO: Final = 0.8
PATIENCE_SECONDS: Final = (8.0, 25.0)
"""A client waits at least the first, and on average the second longer, for a first token."""
FRONTEND_SECONDS: Final = (0.002, 0.006)
"""Rendering and tokenising before the engine core hears of a request; part of TTFT."""


@dataclass(slots=True, eq=False, kw_only=True)
class Request:
    """One call: first what the client brings, then what the engine did with it."""

    arrived: float
    queued: float
    """When the engine core hears of it."""
    leaves: float
    """The client hangs up then, if it has no token yet."""
    prompt_tokens: int
    cached_tokens: int
    target_tokens: int
    """It ends after so many: its own end, or because the client hangs up."""
    max_tokens: int
    fate: str
    """stop, length, error, or `gone`: the client hangs up in the middle."""
    is_streaming: bool
    prefill_left: int = 0
    generated: int = 0
    blocks: int = 0
    preemptions: int = 0
    scheduled: float | None = None
    first_token: float | None = None
    last_token: float = 0.0

    @property
    def held_tokens(self) -> int:
        """Tokens whose keys and values it keeps in the cache."""
        return self.prompt_tokens + self.generated


class Traffic:
    """Requests for one engine, in the order of arrival."""

    def __init__(self, spec: EngineSpec, random: Random) -> None:
        self._spec = spec
        self._random = random
        self._phase = random.uniform(0.0, 0.4)
        self._noise = 0.0
        self._gap = random.expovariate(1.0)

    def arrivals(
        self, start: float, seconds: float, *, traffic_ratio: float, error_ratio: float
    ) -> list[Request]:
        """Those that come within `seconds` from `start`."""
        # An exponential gap in units of expected requests: the rate may change under way.
        self._noise = 0.995 * self._noise + self._random.gauss(0.0, 0.012)
        wave = 1.0 + WAVE_RATIO * math.sin(2 * math.pi * (start / DAY_SECONDS + self._phase))
        rate = self._spec.requests_per_second * wave * math.exp(self._noise) * traffic_ratio
        found, at = [], 0.0
        while self._gap <= (seconds - at) * rate:
            at += self._gap / rate
            self._gap = self._random.expovariate(1.0)
            found.append(self._request(start + at, error_ratio))
        self._gap -= (seconds - at) * rate
        return found

    def _request(self, arrived: float, error_ratio: float) -> Request:
        random, spec = self._random, self._spec
        max_tokens = random.choice((256, 512, 1024, 2048))
        prompt = self._length(spec.prompt_tokens, spec.max_model_tokens - max_tokens)
        wanted = self._length(spec.output_tokens, 10 * max_tokens)
        output = min(wanted, max_tokens)
        fate = "stop" if wanted < max_tokens else "length"
        if random.random() < ABORT_RATIO and output > 1:
            fate, output = "gone", random.randint(1, output - 1)
        elif random.random() < error_ratio / 5:
            # Some streams break after they began: HTTP has said 200 by then.
            fate, output = "error", random.randint(1, output)
        patience = PATIENCE_SECONDS[0] + random.expovariate(1.0 / PATIENCE_SECONDS[1])
        return Request(
            arrived=arrived,
            queued=arrived + random.uniform(*FRONTEND_SECONDS),
            leaves=arrived + patience,
            prompt_tokens=prompt,
            cached_tokens=self._cached(prompt),
            target_tokens=output,
            max_tokens=max_tokens,
            fate=fate,
            is_streaming=random.random() < STREAMING_RATIO,
        )

    def _length(self, median: int, longest: int) -> int:
        length = self._random.lognormvariate(math.log(median), self._spec.length_sigma)
        return max(1, min(int(length), longest))

    def _cached(self, prompt: int) -> int:
        """A shared beginning, in whole blocks, and never the whole prompt (as in vLLM)."""
        ratio = min(1.0, self._random.betavariate(2.0, 2.0) * 2 * self._spec.cache_hit_ratio)
        return min(int(prompt * ratio), prompt - 1) // BLOCK_TOKENS * BLOCK_TOKENS
