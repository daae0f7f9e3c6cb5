"""How long one tick takes, from the texts of all pages to the text of /metrics, without any I/O.

Run as `python tests/bench/bench_tick.py [ENGINES...]`. Each engine shows a recorded vLLM page with
numbers that rise, for two models of its own; the node has 16 GPUs and the default objectives.
Beside it: prometheus_client's parser, once over the same pages, doing nothing with what it reads.
"""

import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from burnmeter import pipeline, views
from burnmeter.config_slos import DEFAULTS
from burnmeter.dialects import load_all
from burnmeter.export import prometheus
from burnmeter.frame import Frame
from burnmeter.model import (
    Gpu,
    GpuProcess,
    GpuReading,
    PageReading,
    Process,
    ProcessReading,
    Target,
)
from burnmeter.page import PageMemory, read_page
from burnmeter.pipeline import Readings, Settings, State
from burnmeter.pricing import Price
from burnmeter.snapshot import Health, Snapshot
from burnmeter.watch import Terms

PAGE: Final = (
    Path(__file__).resolve().parent.parent / "fixtures" / "engines" / "vllm/0.32.0-bench-after.prom"
)
GROWING: Final = re.compile(
    r"^(vllm:\w+(?:_total|_count|_sum|_bucket)\{[^\n]*\}) (\S+)$", flags=re.MULTILINE
)
INTERVAL_SECONDS: Final = 5.0
WARM_TICKS: Final = 80
ROUNDS: Final = 25
GPUS: Final = 16
T = TypeVar("T")
HEALTH: Final = Health(
    cpu_seconds=0.0,
    memory_bytes=0.0,
    tick_duration_seconds=0.0,
    ticks=0,
    late_ticks=0,
    failed_ticks=0,
    limits_reached={},
)


def for_two_models(text: str) -> str:
    """The page with every series of the model once more, under another name."""
    lines: list[str] = []
    for line in text.splitlines():
        lines.append(line)
        if 'model_name="' in line and not line.startswith("#"):
            lines.append(re.sub(r'model_name="[^"]*"', 'model_name="other@"', line))
    return "\n".join(lines).replace('model_name="tiny"', 'model_name="tiny@"') + "\n"


def grown(text: str, number: int) -> str:
    """The same series, after `number` more of everything that was counted at all."""

    def more(found: re.Match[str]) -> str:
        value = float(found[2])
        return f"{found[1]} {value + number if value > 0 else value}"

    return GROWING.sub(more, text)


class Node:
    """Engines, GPUs and the state between ticks."""

    def __init__(self, engines: int) -> None:
        base = for_two_models(PAGE.read_text("utf-8"))
        self.templates = [grown(base, number) for number in range(WARM_TICKS + ROUNDS)]
        self.texts: list[str] = []
        self.targets = tuple(
            Target(name=f"vllm-{n}", url="http://127.0.0.1", origin="config", pid=1000 + n)
            for n in range(engines)
        )
        self.memories = [PageMemory() for _ in self.targets]
        self.rounds = 0
        self.state = State(started_timestamp_seconds=0.0)
        self.frame: Frame | None = None
        self.settings = Settings(
            terms=Terms(
                dialects=load_all(),
                model_names={},
                models_per_target=64,
                interval_seconds=INTERVAL_SECONDS,
                stalled_after_seconds=10.0,
                watching_since_timestamp_seconds=0.0,
            ),
            objectives=DEFAULTS,
            recent_seconds=60.0,
            prices={"NVIDIA H100": Price(3.0, 0.0, "a bench")},
        )
        self.processes = {
            pid: Process(pid=pid, parent_pid=1, started_timestamp_seconds=0.0, command=(), title="")
            for pid in range(2, 1500)
        }

    def serve(self) -> None:
        """What the engines show at the next tick; their models are their own."""
        template = self.templates[self.rounds]
        self.texts = [template.replace("@", str(n)) for n in range(len(self.targets))]

    def middle(self) -> Snapshot:
        """From the pages to a Snapshot."""
        at = self.rounds * INTERVAL_SECONDS
        self.state = pipeline.tick(self.state, self._readings(at), self.settings)
        self.frame, models = views.turn(
            self.state,
            self.settings,
            timestamp_seconds=at,
            at_seconds=at,
            before=self.frame,
        )
        self.rounds += 1
        return views.snapshot(
            self.frame,
            version="0",
            node="bench",
            is_simulated=False,
            sources=(),
            health=HEALTH,
            models=models,
        )

    def _readings(self, at: float) -> Readings:
        pages = {}
        for target, memory, text in zip(self.targets, self.memories, self.texts, strict=True):
            reading = PageReading(target.name, at, at, 0.0, None, None, len(text))
            pages[target.name] = reading, read_page(text, memory=memory)
        return Readings(
            at_seconds=at,
            timestamp_seconds=at,
            targets=self.targets,
            pages=pages,
            gpus=self._gpus(at),
            processes=ProcessReading(
                at_seconds=at,
                timestamp_seconds=at,
                duration_seconds=0.0,
                processes=self.processes,
            ),
        )

    def _gpus(self, at: float) -> GpuReading:
        gpu = Gpu(index=0, uuid="", name="NVIDIA H100", energy_joules=300.0 * at)
        return GpuReading(
            at_seconds=at,
            timestamp_seconds=at,
            duration_seconds=0.0,
            gpus=tuple(
                replace(
                    gpu,
                    index=n,
                    uuid=f"GPU-{n}",
                    processes=(GpuProcess(pid=1000 + n % len(self.targets)),),
                )
                for n in range(GPUS)
            ),
        )


def milliseconds(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    found = work()
    return (time.perf_counter() - began) * 1000, found


def parse(texts: list[str]) -> None:
    """As much as any reader must do."""
    for text in texts:
        for family in text_string_to_metric_families(text):
            len(family.samples)


def measure(engines: int) -> None:
    node = Node(engines)
    middle, render, reference = [], [], []
    for number in range(WARM_TICKS + ROUNDS):
        node.serve()
        spent, snapshot = milliseconds(node.middle)
        if number >= WARM_TICKS:
            middle.append(spent)
            render.append(milliseconds(partial(prometheus.render, snapshot))[0])
        if number >= WARM_TICKS + ROUNDS - 3:
            reference.append(milliseconds(partial(parse, node.texts))[0])
    ours, rendered, theirs = map(statistics.median, (middle, render, reference))
    print(
        f"{engines} engines x 2 models, {GPUS} GPUs, {len(node.texts[0])} characters a page:"
        f" {ours:.1f} ms from pages to a Snapshot, {rendered:.1f} ms to render it,"
        f" {theirs:.1f} ms for prometheus_client's parser, {theirs / (ours + rendered):.1f} times"
        " the tick"
    )


def main() -> None:
    for engines in map(int, sys.argv[1:] or ("8", "64")):
        measure(engines)


if __name__ == "__main__":
    main()
