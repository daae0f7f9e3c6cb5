"""What one probe has counted: the page that it shows, and what its day's bounds leave. No I/O.

The page is in a form of our own, which dialects/probe.yaml reads like any engine's.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from burnmeter.config_probes import Probe
from burnmeter.sources.probe_request import Result
from burnmeter.units import SECONDS_PER_DAY

PREFIX: Final = "burnmeter_probe:"
OUTCOMES: Final = ("ok", "error", "rejected")
WAIT_BOUNDS: Final = (
    *(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75),
    *(1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0),
)
"""Seconds in which a person waits; between two bounds a threshold is known only roughly."""
GAP_BOUNDS: Final = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06),
    *(0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0),
)
"""Seconds between two tokens."""


@dataclass(slots=True)
class Ladder:
    """A histogram that counts."""

    name: str
    bounds: tuple[float, ...]
    total: int = 0
    sum: float = 0.0
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = [0] * len(self.bounds)

    def observe(self, seconds: float) -> None:
        """Count one; on a bound it is below it."""
        self.total += 1
        self.sum += seconds
        place = bisect_left(self.bounds, seconds)
        for index in range(place, len(self.bounds)):
            self.counts[index] += 1

    def lines(self, labels: str) -> list[str]:
        """Its part of the page."""
        rows = [*zip(map(repr, self.bounds), self.counts, strict=True), ("+Inf", self.total)]
        name = PREFIX + self.name
        return [
            f"# TYPE {name} histogram",
            *(f'{name}_bucket{{{labels},le="{bound}"}} {count}' for bound, count in rows),
            f"{name}_sum{{{labels}}} {self.sum!r}",
            f"{name}_count{{{labels}}} {self.total}",
        ]


class Counts:
    """All that a probe has counted since it began. Of one thread."""

    def __init__(self, probe: Probe, started_timestamp_seconds: float) -> None:
        self._started_timestamp_seconds = started_timestamp_seconds
        self._model = probe.model
        self._requests = dict.fromkeys(OUTCOMES, 0)
        self._tokens = {("prompt", "usage"): 0, ("generated", "usage"): 0}
        self._tokens["generated", "parts"] = 0
        self._spent_dollars = probe.dollars(0, 0)
        self._ttft = Ladder("ttft_seconds", WAIT_BOUNDS)
        self._itl = Ladder("itl_seconds", GAP_BOUNDS)
        self._tpot = Ladder("tpot_seconds", GAP_BOUNDS)
        self._duration = Ladder("duration_seconds", WAIT_BOUNDS)

    def add(self, result: Result, dollars: float | None) -> None:
        """Take in one request and what it cost."""
        if result.outcome is not None:
            self._requests[result.outcome] += 1
        self._tokens["prompt", "usage"] += result.prompt_tokens or 0
        if result.generated_tokens is not None:
            self._tokens["generated", "usage"] += result.generated_tokens
        else:
            self._tokens["generated", "parts"] += result.chunks
        if self._spent_dollars is not None and dollars is not None:
            self._spent_dollars += dollars
        for seconds in result.gaps_seconds:
            self._itl.observe(seconds)
        for ladder, one in (
            (self._ttft, result.first_token_seconds),
            (self._tpot, result.per_token_seconds),
            (self._duration, result.duration_seconds),
        ):
            if one is not None:
                ladder.observe(one)

    def page(self) -> str:
        """The page as it is now."""
        labels = f'model="{_escaped(self._model)}"'
        start = f"{PREFIX}start_timestamp_seconds"
        lines = [f"# TYPE {start} gauge", f"{start} {self._started_timestamp_seconds!r}"]
        lines.append(f"# TYPE {PREFIX}requests_total counter")
        for outcome, count in self._requests.items():
            lines.append(f'{PREFIX}requests_total{{{labels},outcome="{outcome}"}} {count}')
        lines.append(f"# TYPE {PREFIX}tokens_total counter")
        for (kind, by), count in self._tokens.items():
            lines.append(
                f'{PREFIX}tokens_total{{{labels},kind="{kind}",counted_by="{by}"}} {count}'
            )
        if self._spent_dollars is not None:
            name = f"{PREFIX}spent_dollars_total"
            lines += [f"# TYPE {name} counter", f"{name}{{{labels}}} {self._spent_dollars!r}"]
        for ladder in (self._ttft, self._itl, self._tpot, self._duration):
            lines += ladder.lines(labels)
        return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Budget:
    """What a probe may still spend today. Days are UTC's, by the clock of this machine."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._day: float | None = None
        self._tokens = 0
        self._dollars = 0.0
        self._prompt_tokens = probe.most_prompt_tokens
        self._is_known = False

    def reached(self, timestamp_seconds: float) -> str | None:
        """The bound that another request could exceed, as its key in the config; None: none."""
        day = timestamp_seconds // SECONDS_PER_DAY
        if day != self._day:
            self._day, self._tokens, self._dollars = day, 0, 0.0
        probe, prompt = self._probe, self._prompt_tokens
        if self._tokens + prompt + probe.max_tokens > probe.tokens_per_day:
            return "tokens_per_day"
        most = probe.dollars(prompt, probe.max_tokens)
        if most is None or probe.dollars_per_day is None:
            return None
        return "dollars_per_day" if self._dollars + most > probe.dollars_per_day else None

    def charge(self, result: Result) -> float | None:
        """Take off what a request took, at most; its dollars, None without prices.

        What the endpoint did not say is the most that it may be: only it knows what it will bill.
        """
        prompt, generated = result.prompt_tokens, result.generated_tokens
        if prompt is not None:
            self._prompt_tokens = max(prompt, self._prompt_tokens) if self._is_known else prompt
            self._is_known = True
        elif result.is_answered:
            prompt = self._prompt_tokens
        if generated is None and result.is_answered:
            generated = max(result.chunks, self._probe.max_tokens)
        self._tokens += (prompt or 0) + (generated or 0)
        dollars = self._probe.dollars(prompt or 0, generated or 0)
        self._dollars += dollars or 0.0
        return dollars
