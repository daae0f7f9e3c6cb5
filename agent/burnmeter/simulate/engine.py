"""One simulated `vllm serve`: an API server in front of its ranks, and what its web side counts.

Pure, seeded, without clock or I/O: `advance` moves its time by whole ticks. It is not asked for
text, and its visitors are invented here (traffic.py), so it needs no client.

Failures stay where real vLLM leaves them: refused requests and broken handlers are seen only in
`http_requests_total`, a client that hangs up is a `2xx`, a full queue is a 503 with a counter.
"""

from collections import defaultdict
from random import Random
from typing import Final, NamedTuple

from burnmeter.simulate.counts import Buckets
from burnmeter.simulate.families import HTTP_COARSE, HTTP_FINE
from burnmeter.simulate.fleet import EngineSpec
from burnmeter.simulate.rank import Rank
from burnmeter.simulate.traffic import CLIENT_ERROR_RATIO, NOT_FOUND_RATIO, Request, Traffic

REQUEST_BYTES: Final = (240, 4.3)
RESPONSE_BYTES: Final = (420, 4.6)
"""Of a JSON body: empty, and per token."""
REJECTED: Final = "admission_rejections"


class Conditions(NamedTuple):
    """What the story does to an engine just now."""

    slowdown_ratio: float = 1.0
    traffic_ratio: float = 1.0
    error_ratio: float = 0.0


CALM: Final = Conditions()


class Web:
    """What prometheus-fastapi-instrumentator counts, by (handler, method, status) or handler."""

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self.request_bytes: defaultdict[str, float] = defaultdict(float)
        self.response_bytes: defaultdict[str, float] = defaultdict(float)
        self.fine = Buckets(HTTP_FINE)
        self.coarse: dict[tuple[str, str], Buckets] = {}
        self.first_seen: dict[str, float] = {}
        """Child -> when it was made, for `_created`."""

    def count(
        self,
        at: float,
        handler: str,
        status: str,
        *,
        seconds: float,
        request_bytes: float,
        response_bytes: float,
    ) -> None:
        """One answer has been sent, or its client is gone."""
        key = (handler, "POST", status)
        self.first_seen.setdefault("/".join(key), at)
        self.first_seen.setdefault(handler, at)
        self.requests[key] += 1
        self.request_bytes[handler] += request_bytes
        self.response_bytes[handler] += response_bytes
        self.fine.observe(seconds)
        self.coarse.setdefault((handler, "POST"), Buckets(HTTP_COARSE)).observe(seconds)


class Engine:
    """An API server and its ranks, from the moment its page can be read."""

    def __init__(self, spec: EngineSpec, seed: str, *, process_started: float, now: float) -> None:
        random = Random(seed)
        self.spec = spec
        self.process_started = process_started
        self.ready = now
        self.now = now
        self.ranks = tuple(Rank(spec, random, now) for _ in spec.gpus_by_rank)
        self.web = Web()
        self.rejected = 0
        self._random = random
        self._traffic = Traffic(spec, random)
        self._held_seconds = 0.0

    def hold(self, seconds: float) -> None:
        """Its core is stopped for so long: callers come, nothing moves, the page stays as it is."""
        self._held_seconds += seconds

    def advance(self, seconds: float, conditions: Conditions = CALM) -> None:
        """One tick. After a stop, what came meanwhile is queued first."""
        held, self._held_seconds = self._held_seconds, 0.0
        if held:
            for rank in self.ranks:
                rank.freeze(held)
            self._receive(self.now, held, conditions)
            self.now += held
        self._receive(self.now, seconds, conditions)
        self.now += seconds
        for rank in self.ranks:
            for request in rank.advance(self.now, conditions.slowdown_ratio):
                self._answered(request)

    def _receive(self, start: float, seconds: float, conditions: Conditions) -> None:
        for request in self._traffic.arrivals(
            start,
            seconds,
            traffic_ratio=conditions.traffic_ratio,
            error_ratio=conditions.error_ratio,
        ):
            chance = self._random.random()
            rank = min(self.ranks, key=lambda rank: rank.load)
            if chance < NOT_FOUND_RATIO:
                self._refuse(request, "4xx", seconds=0.001, handler="none")
            elif chance < CLIENT_ERROR_RATIO:
                self._refuse(request, "4xx", seconds=0.004)
            elif chance < CLIENT_ERROR_RATIO + conditions.error_ratio:
                self._refuse(request, "5xx", seconds=self._random.uniform(0.01, 0.4))
            elif sum(len(rank.waiting) for rank in self.ranks) >= self.spec.max_queued:
                self.rejected += 1
                self._refuse(request, "5xx", seconds=0.003)
            else:
                rank.submit(request)

    def _refuse(
        self, request: Request, status: str, *, seconds: float, handler: str | None = None
    ) -> None:
        self.web.count(
            request.arrived,
            handler or self.spec.handler,
            status,
            seconds=seconds,
            request_bytes=_size(REQUEST_BYTES, request.prompt_tokens),
            response_bytes=180,
        )

    def _answered(self, request: Request) -> None:
        # A stream declares no length, and a body nobody waits for is empty: both count 0 bytes.
        has_body = not request.is_streaming and request.fate != "gone"
        at = request.leaves if request.first_token is None else request.last_token
        self.web.count(
            at,
            self.spec.handler,
            "2xx",
            seconds=at - request.arrived + 0.003,
            request_bytes=_size(REQUEST_BYTES, request.prompt_tokens),
            response_bytes=_size(RESPONSE_BYTES, request.generated) if has_body else 0,
        )


def _size(size: tuple[int, float], tokens: int) -> float:
    return float(int(size[0] + size[1] * tokens))
