"""One engine core: continuous batching on a paged KV cache, counting what vLLM counts and when.

It is a discrete-event model, not an inference engine: no text, no network, no clock. A step that
computes prompts is simulated alone; decode steps in which nobody comes, ends or runs out of cache
are all alike and done in one go, which is why a node of engines costs next to nothing.

What is counted when follows vllm/v1/metrics/{stats,loggers}.py of 0.32: TTFT and prompt tokens at
the first token, generated tokens and gaps at each step, all else at the end of a request; and
nothing at all at the end of a request whose client hung up.
"""

from collections import deque
from dataclasses import dataclass
from random import Random

from burnmeter.simulate.counts import Counts
from burnmeter.simulate.families import RANK
from burnmeter.simulate.fleet import BLOCK_TOKENS, EngineSpec
from burnmeter.simulate.traffic import Request


@dataclass(slots=True, kw_only=True)
class _Step:
    """What is being computed: one mixed step, or several equal decode steps."""

    start: float
    seconds: float
    """Of one step."""
    times: int
    decoding: list[Request]
    chunks: list[tuple[Request, int]]
    """Prompts and how many of their tokens this step computes."""

    @property
    def end(self) -> float:
        return self.start + self.seconds * self.times


class Rank:
    """One data-parallel rank of an engine."""

    def __init__(self, spec: EngineSpec, random: Random, now: float) -> None:
        self.counts = Counts(RANK, spec.max_model_tokens)
        self.running: list[Request] = []
        self.waiting: deque[Request] = deque()
        self.hung_up_started = 0
        """Clients that hung up after their first token: what no counter of vLLM tells."""
        self._spec = spec
        self._random = random
        self._busy_seconds = 0.0
        self._prefill_seconds = 0.0
        self._now = now
        self._coming: deque[Request] = deque()
        self._step: _Step | None = None
        self._free_blocks = spec.kv_blocks

    @property
    def kv_used_ratio(self) -> float:
        """Share of the cache's blocks that requests hold."""
        return 1.0 - self._free_blocks / self._spec.kv_blocks

    @property
    def load(self) -> int:
        """What the API server looks at when it picks a rank; waiting weighs four times."""
        return 4 * (len(self.waiting) + len(self._coming)) + len(self.running)

    @property
    def started(self) -> int:
        """Requests in flight that have had their first token."""
        return sum(r.first_token is not None for r in (*self.running, *self.waiting))

    def take_work(self, seconds: float) -> tuple[float, float]:
        """Shares of a tick spent computing, and on prompts; what is over counts for the next."""
        busy, prefill = min(self._busy_seconds, seconds), min(self._prefill_seconds, seconds)
        self._busy_seconds -= busy
        self._prefill_seconds -= prefill
        return busy / seconds, prefill / seconds

    def submit(self, request: Request) -> None:
        """Hand over a request that will be queued at its own moment."""
        self._coming.append(request)

    def freeze(self, seconds: float) -> None:
        """Time passes and nothing is computed: the process is stopped."""
        self._now += seconds
        if self._step is not None:
            self._step.start += seconds

    def advance(self, until: float, slowdown_ratio: float) -> list[Request]:
        """Compute up to `until`; the requests that ended, hung up ones too."""
        self._queue()
        ended = self._hang_up(until)
        while True:
            if self._step is None:
                self._queue()
                self._step = self._plan(until, slowdown_ratio)
            if self._step is None:
                if not self._coming or self._coming[0].queued >= until:
                    self._now = max(self._now, until)
                    break
                self._now = self._coming[0].queued
            elif self._step.end <= until:
                ended += self._finish(self._step)
                self._step = None
            else:
                break
        return ended

    # --- planning ---

    def _queue(self) -> None:
        while self._coming and self._coming[0].queued <= self._now:
            self.waiting.append(self._coming.popleft())

    def _plan(self, until: float, slowdown_ratio: float) -> _Step | None:
        self._make_room()
        decoding = [request for request in self.running if not request.prefill_left]
        chunks = self._chunks(self._spec.step_tokens - len(decoding))
        if not decoding and not chunks:
            return None
        spec = self._spec
        prefill = sum(tokens for _, tokens in chunks) * spec.prefill_seconds_per_token
        others = max(0, len(decoding) - 1)
        seconds = spec.step_seconds + others * spec.step_seconds_per_request + prefill
        seconds *= slowdown_ratio * self._random.lognormvariate(0.0, 0.05)
        times = 1 if chunks else self._equal_steps(decoding, until, seconds)
        self._busy_seconds += seconds * times
        self._prefill_seconds += prefill * slowdown_ratio
        return _Step(
            start=self._now, seconds=seconds, times=times, decoding=decoding, chunks=chunks
        )

    def _make_room(self) -> None:
        """Give each decoding request the block its next token needs; preempt the youngest."""
        index = 0
        while index < len(self.running):
            request = self.running[index]
            index += 1
            if request.prefill_left or request.held_tokens < request.blocks * BLOCK_TOKENS:
                continue
            while not self._free_blocks and self.running[-1] is not request:
                self._preempt(self.running.pop())
            if self._free_blocks:
                self._hold(request, 1)
            else:
                self._preempt(self.running.pop())

    def _preempt(self, request: Request) -> None:
        self._release(request)
        request.preemptions += 1
        self.counts.add("num_preemptions")
        self.waiting.appendleft(request)

    def _chunks(self, budget: int) -> list[tuple[Request, int]]:
        """Unfinished prompts first, then those who wait, as long as budget and cache last."""
        chunks: list[tuple[Request, int]] = []
        for request in self.running:
            if request.prefill_left and budget > 0:
                chunks.append((request, min(budget, request.prefill_left)))
                budget -= chunks[-1][1]
        while self.waiting and budget > 0 and len(self.running) < self._spec.max_requests:
            request = self.waiting[0]
            blocks = request.held_tokens // BLOCK_TOKENS + 1
            if blocks > self._free_blocks:
                break
            self.waiting.popleft()
            self._hold(request, blocks)
            self._schedule(request)
            chunks.append((request, min(budget, request.prefill_left)))
            budget -= chunks[-1][1]
        return chunks

    def _schedule(self, request: Request) -> None:
        request.prefill_left = request.held_tokens - request.cached_tokens
        if request.scheduled is None:
            request.scheduled = self._now
            self.counts.add("prefix_cache_queries", request.prompt_tokens)
            self.counts.add("prefix_cache_hits", request.cached_tokens)
            self.counts.add("prompt_tokens_cached_by_source", request.cached_tokens, "device")
        self.running.append(request)

    def _equal_steps(self, decoding: list[Request], until: float, seconds: float) -> int:
        """How many decode steps pass before anything but tokens can change."""
        times = min(request.target_tokens - request.generated for request in decoding)
        # One free block per request and 16 steps, beside the room for one step that each has.
        times = min(times, 1 + self._free_blocks // len(decoding) * BLOCK_TOKENS)
        horizon = until
        if self._coming and len(self.running) < self._spec.max_requests:
            horizon = min(horizon, self._coming[0].queued)
        return max(1, min(times, int((horizon - self._now) / seconds)))

    def _hold(self, request: Request, blocks: int) -> None:
        request.blocks += blocks
        self._free_blocks -= blocks

    def _release(self, request: Request) -> None:
        self._free_blocks += request.blocks
        request.blocks = 0

    # --- what a step brings ---

    def _finish(self, step: _Step) -> list[Request]:
        self._now = step.end
        self._decode(step)
        prompt_tokens = firsts = 0
        for request, tokens in step.chunks:
            request.prefill_left -= tokens
            if not request.prefill_left:
                firsts += 1
                prompt_tokens += self._prefilled(request)
        made = len(step.decoding) + firsts
        self.counts.add("generation_tokens", len(step.decoding) * step.times + firsts)
        if made:
            # A step without output leaves no trace: vLLM makes no IterationStats for it.
            self.counts.observe("iteration_tokens_total", made + prompt_tokens, step.times)
        ended = [r for r in self.running if r.generated >= r.target_tokens and not r.prefill_left]
        for request in ended:
            self.running.remove(request)
            self._release(request)
            self._count_end(request)
        return ended

    def _decode(self, step: _Step) -> None:
        late = 0
        for request in step.decoding:
            gap = step.start + step.seconds - request.last_token
            if request.last_token != step.start:
                late += 1
                self.counts.observe("inter_token_latency_seconds", gap)
            request.generated += step.times
            request.last_token = self._now
            needed = -(-request.held_tokens // BLOCK_TOKENS) - request.blocks
            if needed > 0:
                self._hold(request, needed)
        even = len(step.decoding) * step.times - late
        if even:
            self.counts.observe("inter_token_latency_seconds", step.seconds, even)

    def _prefilled(self, request: Request) -> int:
        """Its prompt is computed, and its next token with it; how many prompt tokens count."""
        request.generated += 1
        if request.first_token is not None:
            # Preempted and computed again: its prompt has been counted before.
            gap = self._now - request.last_token
            self.counts.observe("inter_token_latency_seconds", gap)
            request.last_token = self._now
            return 0
        request.first_token = request.last_token = self._now
        self.counts.observe("time_to_first_token_seconds", self._now - request.arrived)
        computed = request.prompt_tokens - request.cached_tokens
        self.counts.add("prompt_tokens", request.prompt_tokens)
        self.counts.add("prompt_tokens_cached", request.cached_tokens)
        self.counts.add("prompt_tokens_by_source", computed, "local_compute")
        self.counts.add("prompt_tokens_by_source", request.cached_tokens, "local_cache_hit")
        return request.prompt_tokens

    # --- ends ---

    def _count_end(self, request: Request) -> None:
        if request.fate == "gone":
            self.hung_up_started += 1
            return
        assert request.scheduled is not None
        assert request.first_token is not None
        decode = request.last_token - request.first_token
        gaps = request.generated - 1
        self.counts.add("request_success", 1, request.fate)
        for name, value in (
            ("e2e_request_latency_seconds", self._now - request.arrived),
            ("request_queue_time_seconds", request.scheduled - request.queued),
            ("request_prefill_time_seconds", request.first_token - request.scheduled),
            ("request_decode_time_seconds", decode),
            ("request_inference_time_seconds", request.last_token - request.scheduled),
            # One token has no gap, and vLLM counts it as 0 seconds.
            ("request_time_per_output_token_seconds", decode / gaps if gaps else 0.0),
            ("request_prompt_tokens", request.prompt_tokens),
            ("request_generation_tokens", request.generated),
            ("request_max_num_generation_tokens", request.generated),
            ("request_params_n", 1),
            ("request_params_max_tokens", request.max_tokens),
            ("request_num_preemptions", request.preemptions),
            ("request_prefill_kv_computed_tokens", request.prompt_tokens - request.cached_tokens),
        ):
            self.counts.observe(name, value)

    def _hang_up(self, until: float) -> list[Request]:
        """Clients whose patience ended while they waited for a first token."""
        left = [r for r in self.waiting if r.leaves < until and r.first_token is None]
        for request in left:
            self.waiting.remove(request)
            request.fate = "gone"
        return left
