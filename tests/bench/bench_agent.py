"""What the agent costs: processor time a tick, resident memory and its growth, size of /metrics.

Run as `python tests/bench/bench_agent.py [TICKS [NODE]]`. Ticks follow each other at once, but
every clock that the pipeline sees moves one interval a tick: windows and ledgers fill as they do.
Two nodes: the simulated one, and eight copies of a recorded vLLM page (served unchanged by another
process) beside eight GPUs of the NVML stub, if there is a C compiler. Servers are not counted.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil

from burnmeter import wiring
from burnmeter.config import Config, Gpus
from burnmeter.loop import Agent, Pages, World
from burnmeter.model import PageReading, Target
from burnmeter.sources.nvml.source import NvmlSource

TESTS = Path(__file__).resolve().parent.parent
PAGE = TESTS / "fixtures/engines/vllm/0.32.0-bench-after.prom"
COPIES = 8
WARM_UP_TICKS = 200
"""Caches are full and the recent window is long past its first turn."""
MIB = 1024.0**2

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
page = open(sys.argv[1], "rb").read()
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)
    def log_message(self, *args):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class Clock:
    """One interval a tick."""

    def __init__(self) -> None:
        self.now_seconds = time.time()

    def __call__(self) -> float:
        return self.now_seconds


class Stamped:
    """Pages as they are, read at the time that the bench says it is."""

    def __init__(self, pages: Pages, clock: Clock) -> None:
        self._pages, self._clock = pages, clock

    def read_all(
        self, targets: Iterable[Target], deadline_seconds: float
    ) -> Mapping[str, PageReading]:
        found = self._pages.read_all(targets, deadline_seconds)
        now = self._clock()
        return {n: r._replace(at_seconds=now, timestamp_seconds=now) for n, r in found.items()}

    def close(self) -> None:
        self._pages.close()


def served_copies(stack: ExitStack) -> tuple[Target, ...]:
    """Targets that all show the recorded page, under models of their own."""
    command = [sys.executable, "-c", SERVER, str(PAGE)]
    server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(server.kill)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    return tuple(
        Target(
            name=f"vllm-{number}",
            url=f"http://127.0.0.1:{port}/{number}",
            origin="config",
            model=f"model-{number}",
        )
        for number in range(COPIES)
    )


def stubbed_gpus(stack: ExitStack) -> NvmlSource | None:
    """Eight GPUs behind the real reader's child, or None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    library, state = folder / "libnvidia-ml.so.1", folder / "state"
    source = TESTS / "nvml_stub" / "nvml_stub.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    rows = {"power": 300_000, "power_limit": 700_000, "energy": 1, "utilisation": 50}
    lines = [f"gpus {COPIES}", "driver 570.86.15", "init 0"]
    lines += [f"{i}.uuid GPU-{i}\n{i}.name NVIDIA H100 80GB HBM3" for i in range(COPIES)]
    lines += [f"{i}.{key} {value}" for i in range(COPIES) for key, value in rows.items()]
    state.write_text("\n".join(lines) + "\n")
    os.environ["BURNMETER_NVML_STUB_STATE"] = str(state)
    return NvmlSource(Gpus(timeout_seconds=5.0), library_path=str(folder))


def simulated(stack: ExitStack) -> tuple[Config, World]:
    """The node of `up --simulate`."""
    return wiring.simulated_world(Config(), stack)


def recorded(stack: ExitStack) -> tuple[Config, World]:
    """Eight copies of the recorded page, and eight GPUs."""
    settings = Config()
    targets, gpus = served_copies(stack), stubbed_gpus(stack)
    world = wiring.real_world(settings)
    return settings, replace(world, gpus=gpus, find_targets=lambda _: targets)


@contextlib.contextmanager
def agent_of(settings: Config, world: World, clock: Clock) -> Iterator[Agent]:
    stamped = replace(world, pages=Stamped(world.pages, clock), monotonic=clock, wall_clock=clock)
    made = Agent(settings, stamped)
    try:
        yield made
    finally:
        made.close()


def seconds_of(processes: Iterable[psutil.Process]) -> float:
    return sum(p.cpu_times().user + p.cpu_times().system for p in processes)


def measure(agent: Agent, clock: Clock, ticks: int) -> None:
    """Tick, and print what it took."""
    own = psutil.Process()

    def tick(times: int) -> None:
        for _ in range(times):
            clock.now_seconds += agent.config.interval_seconds
            agent.tick()

    tick(WARM_UP_TICKS)
    readers = [p for p in own.children() if "burnmeter.sources.nvml.child" in p.cmdline()]
    before_bytes, before_seconds = own.memory_info().rss, seconds_of([own])
    reader_seconds, began = seconds_of(readers), time.perf_counter()
    tick(ticks)
    took_seconds = time.perf_counter() - began
    after_bytes = own.memory_info().rss
    assert agent.outlet is not None
    up = sum(view.is_up for view in agent.outlet.snapshot.targets)
    print(f"  engines up, GPUs         {up}, {len(agent.outlet.snapshot.gpus)}")
    print(f"  a tick, processor time   {(seconds_of([own]) - before_seconds) / ticks * 1e3:.2f} ms")
    print(f"  a tick, elapsed          {took_seconds / ticks * 1e3:.2f} ms")
    print(f"  resident memory          {after_bytes / MIB:.1f} MiB")
    print(
        f"  its growth               {(after_bytes - before_bytes) / MIB:.2f} MiB in {ticks} ticks"
    )
    for reader in readers:
        spent = (seconds_of([reader]) - reader_seconds) / ticks * 1e3
        print(
            f"  the NVML reader          {reader.memory_info().rss / MIB:.1f} MiB, {spent:.2f} ms"
        )
    print(f"  /metrics                 {len(agent.outlet.metrics)} bytes")


def run(make: Callable[[ExitStack], tuple[Config, World]], ticks: int) -> None:
    """One node, measured in a process of its own: memory once taken is seldom given back."""
    with ExitStack() as stack:
        settings, world = make(stack)
        clock = Clock()
        agent = stack.enter_context(agent_of(settings, world, clock))
        print(f"{make.__name__}, one tick = {settings.interval_seconds:g} s")
        measure(agent, clock, ticks)


NODES = {"simulated": simulated, "recorded": recorded}


def main() -> None:
    ticks = sys.argv[1] if len(sys.argv) > 1 else "2000"
    if len(sys.argv) > 2:
        run(NODES[sys.argv[2]], int(ticks))
        return
    for name in NODES:
        subprocess.run([sys.executable, __file__, ticks, name], check=True)


if __name__ == "__main__":
    main()
