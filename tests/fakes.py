"""Small builders for values of the middle, for tests that say only what matters to them.

Not doubles: all that is built here is the program's own frozen values. Time is a number that a
test writes down, so no clock is needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from burnmeter.dialects import load_all
from burnmeter.model import (
    EnginePage,
    Failure,
    Gpu,
    GpuProcess,
    Growth,
    Histogram,
    Key,
    Objective,
    PageReading,
    Process,
    Target,
)
from burnmeter.page import Page, read_page
from burnmeter.watch import Terms

MODEL = "llama"
Ranks = Mapping[str, float]


def key(measure: str, *, model: str = MODEL, **labels: str) -> Key:
    """A key with our labels, sorted."""
    return Key(measure, tuple(sorted({**labels, "model": model}.items())))


def requests(outcome: str, by: str = "engine", *, model: str = MODEL) -> Key:
    """The key of requests with one outcome."""
    return key("requests_total", model=model, outcome=outcome, counted_by=by)


TOKENS = key("tokens_total", kind="generated")
OK = requests("ok")
LOST = requests("lost", "estimate")
CANCELLED = requests("cancelled", "estimate")
TTFT = key("ttft_seconds")
DURATION = key("duration_seconds")


def histogram(values: Iterable[float], bounds: Sequence[float] = (0.1, 0.5, 1.0)) -> Histogram:
    """What an engine would show after observing `values`."""
    values = list(values)
    counts = tuple(float(sum(value <= bound for value in values)) for bound in bounds)
    return Histogram(tuple(bounds), counts, float(len(values)), float(sum(values)))


def page(
    counters: Mapping[Key, float | Ranks] | None = None,
    *,
    histograms: Mapping[Key, Histogram] | None = None,
    running: float | None = None,
    waiting: float | None = None,
    started: float | None = None,
    not_available: Mapping[str, str] | None = None,
) -> EnginePage:
    """A page in our words. A counter given as a mapping has one part for each rank."""
    gauges = {key("running_requests"): running, key("waiting_requests"): waiting}
    return EnginePage(
        engine="vllm",
        role="engine",
        vantage="engine",
        version=None,
        started_timestamp_seconds=started,
        counters={
            k: dict(v) if isinstance(v, Mapping) else {"0": v} for k, v in (counters or {}).items()
        },
        histograms={k: {"0": v} for k, v in (histograms or {}).items()},
        gauges={k: v for k, v in gauges.items() if v is not None},
        not_available=not_available or {},
    )


def growth(
    counters: Mapping[Key, float] | None = None,
    histograms: Mapping[Key, Histogram] | None = None,
    *,
    seconds: float = 5.0,
) -> Growth:
    """What happened on a target."""
    return Growth(seconds=seconds, counters=counters or {}, histograms=histograms or {})


def target(name: str = "a", *, pid: int | None = None, origin: str = "config") -> Target:
    """An engine endpoint."""
    return Target(name=name, url=f"http://127.0.0.1/{name}", origin=origin, pid=pid)


def process(pid: int, parent_pid: int = 1) -> Process:
    """A process that listens on nothing."""
    return Process(
        pid=pid, parent_pid=parent_pid, started_timestamp_seconds=0.0, command=(), title=""
    )


def processes(*pairs: tuple[int, int]) -> dict[int, Process]:
    """A table from (pid, parent's pid)."""
    return {pid: process(pid, parent) for pid, parent in pairs}


def gpu(
    uuid: str = "GPU-0",
    *pids: int,
    energy_joules: float | None = None,
    power_watts: float | None = None,
) -> Gpu:
    """An H100 that `pids` hold."""
    return Gpu(
        index=int(uuid.rpartition("-")[2]),
        uuid=uuid,
        name="NVIDIA H100",
        energy_joules=energy_joules,
        power_watts=power_watts,
        processes=tuple(GpuProcess(pid=pid) for pid in pids),
    )


def objective(
    indicator: str = "errors",
    objective_ratio: float = 0.99,
    *,
    threshold_seconds: float | None = None,
    name: str | None = None,
    period_seconds: float = 30 * 86400.0,
    **changes: Any,
) -> Objective:
    """An SLO for every model; `changes` are other fields of it."""
    return Objective(
        name=name or indicator,
        indicator=indicator,
        objective_ratio=objective_ratio,
        threshold_seconds=threshold_seconds,
        period_seconds=period_seconds,
        **changes,
    )


# --- whole ticks ---------------------------------------------------------------------------------


def terms(**changes: Any) -> Terms:
    """A look each five seconds, as the config has it by default; `changes` are fields of Terms."""
    value = Terms(
        dialects=load_all(),
        model_names={},
        models_per_target=64,
        interval_seconds=5.0,
        stalled_after_seconds=10.0,
        watching_since_timestamp_seconds=1000.0,
    )
    return replace(value, **changes)


def vllm(
    *,
    tokens: float = 0.0,
    ok: float = 0.0,
    running: float = 0.0,
    waiting: float = 0.0,
    started: float | None = None,
    model: str = MODEL,
) -> Page:
    """A small vLLM page, read."""
    who = f'engine="0",model_name="{model}"'
    lines = [
        f"vllm:generation_tokens_total{{{who}}} {tokens}",
        f'vllm:request_success_total{{{who},finished_reason="stop"}} {ok}',
        f"vllm:num_requests_running{{{who}}} {running}",
        f"vllm:num_requests_waiting{{{who}}} {waiting}",
    ]
    if started is not None:
        lines.append(f"process_start_time_seconds {started}")
    return read_page("\n".join(lines) + "\n")


def reading(at: float, failure: Failure | None = None, *, name: str = "a") -> PageReading:
    """An attempt to read a page, at `at` on both clocks."""
    return PageReading(name, at, at, 0.01, None, failure)
