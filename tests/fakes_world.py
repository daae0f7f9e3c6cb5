"""Doubles at the edge of an Agent: sources that follow a script, pages, a clock, our own cost.

They take the place of hardware and sockets only; what is between them and the outlets is the real
program. A source that must really hang or die is a real one elsewhere (tests/nvml.py, servers.py).
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from burnmeter.config import Config, Limits
from burnmeter.loop import Agent, World
from burnmeter.model import (
    Failure,
    Gpu,
    GpuReading,
    PageReading,
    Process,
    ProcessReading,
    Target,
)
from burnmeter.sources.own import OwnCost
from tests.nvml import Clock

PAGES = Path(__file__).parent / "fixtures/engines/vllm"
BEFORE = (PAGES / "0.32.0-bench-before.prom").read_text()
AFTER = (PAGES / "0.32.0-bench-after.prom").read_text()
DEADLINE_SECONDS = 0.4
HAIR_SECONDS = 0.3
"""What a tick may take beyond its deadline on a busy machine."""
TIMES: Mapping[str, Any] = {"at_seconds": 0.0, "timestamp_seconds": 0.0, "duration_seconds": 0.01}
R = TypeVar("R")


class Scripted(Generic[R]):
    """A source whose reads do what the script says in turn; the last line of it for ever."""

    def __init__(self, *script: Callable[[], R]) -> None:
        self._script = list(script)
        self.reads = 0
        self.is_closed = False

    def read(self) -> R:
        self.reads += 1
        line = self._script[min(self.reads, len(self._script)) - 1]
        return line()

    def close(self) -> None:
        self.is_closed = True


class Hanging:
    """A line of a script that does not end before `let_go`."""

    def __init__(self, then: Callable[[], Any]) -> None:
        self.let_go = threading.Event()
        self._then = then

    def __call__(self) -> Any:
        assert self.let_go.wait(60.0)
        return self._then()


class Pages:
    """Each target's page, or why there is none; what is not listed refuses."""

    def __init__(self, texts: Mapping[str, str | Failure] | None = None) -> None:
        self.texts = dict(texts or {})
        self.clock: Callable[[], float] = Clock()
        self.on_read: Callable[[], object] = lambda: None
        self.asked: list[tuple[str, ...]] = []

    def read_all(
        self, targets: Iterable[Target], deadline_seconds: float
    ) -> Mapping[str, PageReading]:
        names = tuple(target.name for target in targets)
        self.asked.append(names)
        self.on_read()
        return {name: self._reading(name) for name in names}

    def close(self) -> None:
        pass

    def _reading(self, name: str) -> PageReading:
        found = self.texts.get(name, Failure("refused", "nothing listens there"))
        text, failure = (None, found) if isinstance(found, Failure) else (found, None)
        return PageReading(name, self.clock(), 1000.0, 0.01, text, failure, len(text or ""))


class Cost:
    """We cost nothing."""

    def read(self) -> OwnCost:
        return OwnCost(1.5, 40e6)


def gpus(count: int = 1, **changes: Any) -> GpuReading:
    """So many H100s that answer."""
    found = tuple(
        Gpu(index=i, uuid=f"GPU-{i}", name="NVIDIA H100 80GB HBM3", power_watts=300.0)
        for i in range(count)
    )
    return replace(GpuReading(**TIMES, gpus=found, driver_version="570.86.15"), **changes)


def processes(*found: Process, failure: Failure | None = None) -> ProcessReading:
    """A table with these processes."""
    return ProcessReading(**TIMES, processes={p.pid: p for p in found}, failure=failure)


def target(name: str = "chat", **changes: Any) -> Target:
    """A target of the config."""
    url = f"http://127.0.0.1:8000/{name}"
    return replace(Target(name=name, url=url, origin="config", engine="vllm"), **changes)


def world(**changes: Any) -> World:
    """One engine that answers, one GPU, no processes; `changes` are fields of World.

    GPUs are waited for as long as pages are: a busy machine may be late to start a thread.
    """
    quiet: dict[str, Any] = {
        "gpus": Scripted(gpus),
        "processes": Scripted(processes),
        "pages": Pages({"chat": AFTER}),
        "find_targets": lambda _: (target(),),
        "own_cost": Cost(),
        "gpu_wait_ratio": 1.0,
    }
    return World(**(quiet | changes))


def settings(**changes: Any) -> Config:
    """A config with short times; `changes` are fields of Config."""
    limits = Limits(scrape_timeout_seconds=DEADLINE_SECONDS)
    return replace(Config(node="test-node", interval_seconds=1.0, limits=limits), **changes)


def agent(config: Config | None = None, **changes: Any) -> Agent:
    """A real Agent in such a world."""
    return Agent(config or settings(), world(**changes))


def metrics(ticked: Agent) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """What /metrics says: series name -> labels -> value."""
    assert ticked.outlet is not None
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(ticked.outlet.metrics.decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def value(ticked: Agent, name: str, **labels: str) -> float | None:
    """The one series of that name that has these labels, or None."""
    wanted = set(labels.items())
    found = [v for key, v in metrics(ticked).get(name, {}).items() if wanted <= set(key)]
    assert len(found) <= 1, f"{name}{labels} is not one series"
    return found[0] if found else None
