"""What asking the GPU driver costs: time inside NVML, the reader's processor time, and memory.

Run as `python tests/bench/bench_nvml.py [GPUS [SECONDS [FIELD_MICROSECONDS]]]`; needs a C compiler.
The real source with its defaults is read every 5 s, then `burnmeter run` without engines has the
node for a little over 30 s. GPUs are H100s of the NVML stub, whose calls take as long as DURATIONS
says; two are divided by MIG, each has 4 processes. Compared with a naive reader on the same stub,
which at every tick asks each GPU once for all that ours ever asks, PCIe throughput included, and
takes no samples. Surprising: the stub searches a text at each call, longer than a quick call of
NVML takes. So that is given with the figures, and what the same calls would take by DURATIONS.
"""

import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.error import URLError

import psutil
import pynvml as nv
import pytest

from burnmeter.config import Config
from burnmeter.model import GpuReading
from burnmeter.sources.nvml.answers import Question
from burnmeter.sources.nvml.budget import SAVED_SECONDS
from burnmeter.sources.nvml.gpm import Gpm
from burnmeter.sources.nvml.mig import Mig
from burnmeter.sources.nvml.processes import Processes, Sharing
from burnmeter.sources.nvml.questions import PCIE, PLAIN, groups
from burnmeter.sources.nvml.source import NvmlSource

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.engines.serving import free_port
from tests.nvml import Node, build, read

Call = tuple[str, ...]

FIELDS: Final = "nvmlDeviceGetFieldValues"
DURATIONS: Final = {
    # nvml.h: it looks for 20 ms, in each direction.
    "nvmlDeviceGetPcieThroughput": 20_000.0,
    # MangoHud#2104, measured on an RTX 4090.
    "nvmlDeviceGetComputeRunningProcesses_v3": 4_491.0,
    "nvmlDeviceGetGraphicsRunningProcesses_v3": 4_491.0,
    "nvmlDeviceGetMemoryInfo_v2": 11.6,
    "nvmlDeviceGetUtilizationRates": 2.5,
    # Assumed: as the fan on that board, which its power controller tells, too. Counters of bytes
    # over PCIe were seen to take 200 to 400.
    FIELDS: 137.0,
}
"""Function of NVML -> microseconds a call."""
OTHER_MICROSECONDS: Final = 10.0
"""Assumed of all others. The stub's own time stands for what takes less than it."""

SAMPLED: Final = (
    "nvmlDeviceGetUtilizationRates",
    FIELDS,
    "nvmlDeviceGetCurrentClocksEventReasons",
)
"""What most calls are."""

DIVIDED: Final = 2
INSTANCES: Final = 7
PROCESSES: Final = 4
FIRST_PID: Final = 1 << 22
"""Linux gives no number as high: the processes on these GPUs are none of this machine's."""
COUNTED_SECONDS: Final = 30.0
"""Within it every question but the fixed ones is asked, and the agent finds its children."""
START_SECONDS: Final = 20.0
ROUNDS: Final = 5
BATCHES: Final = 100
TRIED_MICROSECONDS: Final = 100
SET_TIMER_SLACK: Final = 29  # prctl(2); in nanoseconds, and children inherit it.
MIB: Final = 1024.0**2

QUESTIONS: Final[tuple[Question, ...]] = (*PLAIN, *groups(), PCIE)
SELDOM: Final = [question.word for question in QUESTIONS if question.every_seconds > 0]
TITLES: Final = dict.fromkeys(SELDOM, "asked seldom") | {
    "handles": "handles",
    "samples": "samples",
    "procs": "processes",
    "gpm": "profile",
    "mig": "MIG",
}


class Tick(NamedTuple):
    """One reading: how long it took, and what was spent in NVML since the one before."""

    read_seconds: float
    seconds_by_title: Mapping[str, float]
    put_off: int

    @property
    def seconds(self) -> float:
        return sum(self.seconds_by_title.values())


# --- the node ------------------------------------------------------------------------------------


def shared(gpu: int) -> dict[str, Any]:
    """Processes on a GPU, what the driver says of their use of it, and power as it is now."""
    pids = [FIRST_PID + 100 * gpu + number for number in range(PROCESSES)]
    return {
        f"{gpu}.compute": [f"{pid} 10000000000" for pid in pids],
        f"{gpu}.sm": [f"{1000 + number} {pid} 20" for number, pid in enumerate(pids)],
        f"{gpu}.field.186": 312_500,
    }


def divided(gpu: int) -> dict[str, Any]:
    """A GPU in seven parts, with processes on the first ones; it has no utilisation as a whole."""
    found: dict[str, Any] = {f"{gpu}.mig": INSTANCES, f"{gpu}.utilisation": None}
    pids = range(FIRST_PID + 100 * gpu, FIRST_PID + 100 * gpu + PROCESSES)
    found[f"{gpu}.compute"] = [f"{pid} 9000000000 {n + 1} 0" for n, pid in enumerate(pids)]
    for number in range(INSTANCES):
        part = {
            "uuid": f"MIG-{gpu}-{number}",
            "name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
            "gi": number + 1,
            "ci": 0,
            "slices": 1,
            "memory_used": 9_000_000_000,
            "memory_total": 10_000_000_000,
        }
        found |= {f"{gpu}.mig{number}.{key}": value for key, value in part.items()}
        profile = {2: 40.0, 3: 20.0, 5: 10.0, 10: 60.0}
        found |= {f"{gpu}.gi{number + 1}.gpm.{key}": value for key, value in profile.items()}
    return found


def node_of(folder: Path, gpus: int) -> Node:
    """The GPUs, so far without delays. Keys that come first end the stub's search for them."""
    node = Node(folder, build(folder))
    node.says({"hang": "nothing", "segfault": "nothing"})
    node.says({f"{gpu}.error.{name}": 0 for gpu in range(gpus) for name in SAMPLED})
    node.has(gpus)
    for gpu in range(gpus):
        node.says(shared(gpu) | (divided(gpu) if gpu >= gpus - DIVIDED else {}))
    os.environ["BURNMETER_NVML_STUB_STATE"] = str(node.state_path)
    # Before pynvml asks for a library of that name: then it has this one.
    ctypes.CDLL(f"{node.library_path}/libnvidia-ml.so.1")
    nv.nvmlInit()
    return node


def handles() -> list[Any]:
    return [nv.nvmlDeviceGetHandleByIndex(index) for index in range(nv.nvmlDeviceGetCount())]


def microseconds_a_call(known: list[Any]) -> float:
    """Of one that most calls are like, pynvml's part included: the least disturbed of BATCHES."""
    seconds = []
    for _ in range(BATCHES):
        began = time.perf_counter()
        for handle in known:
            nv.nvmlDeviceGetCurrentClocksEventReasons(handle)
        seconds.append(time.perf_counter() - began)
    return min(seconds) / len(known) * 1e6


def delay(node: Node, durations: dict[str, float]) -> float:
    """Let calls take their time, as far as the stub's own is not longer; gives that time."""
    ctypes.CDLL(None).prctl(SET_TIMER_SLACK, 1, 0, 0, 0)  # Else each delay is 50 us longer.
    known = handles()
    own = microseconds_a_call(known)
    node.says({"delay": f"nvmlDeviceGetCurrentClocksEventReasons {TRIED_MICROSECONDS}"})
    over = microseconds_a_call(known) - TRIED_MICROSECONDS
    delays = {name: round(duration - over) for name, duration in durations.items()}
    node.says({"delay": [f"{name} {more}" for name, more in delays.items() if more > 0]})
    return own


# --- ours ----------------------------------------------------------------------------------------


def tick(source: NvmlSource, before: GpuReading) -> tuple[Tick, GpuReading]:
    """One reading, as the difference to the one before."""
    began = time.perf_counter()
    now = source.read()
    took_seconds = time.perf_counter() - began
    spent: defaultdict[str, float] = defaultdict(float)
    for word, seconds in now.nvml_seconds.items():
        spent[TITLES.get(word, "the rest")] += seconds - before.nvml_seconds.get(word, 0.0)
    return Tick(took_seconds, spent, now.nvml_put_off - before.nvml_put_off), now


def ticks_of(source: NvmlSource, first: GpuReading, seconds: float) -> list[Tick]:
    """Readings at the agent's interval."""
    found, reading, due_seconds = [], first, time.monotonic()
    every_seconds = Config().interval_seconds
    for _ in range(max(2, round(seconds / every_seconds))):
        due_seconds += every_seconds
        time.sleep(max(0.0, due_seconds - time.monotonic()))
        one, reading = tick(source, reading)
        assert all(gpu.failure is None for gpu in reading.gpus), reading
        found.append(one)
    assert reading.failure is None, reading
    return found


def child_of(pid: int) -> psutil.Process:
    """The NVML reader that a process has started."""
    children = psutil.Process(pid).children()
    return next(one for one in children if "burnmeter.sources.nvml.child" in one.cmdline())


def seconds_of(process: psutil.Process) -> float:
    return process.cpu_times().user + process.cpu_times().system


# --- the naive reader ----------------------------------------------------------------------------


class Naive:
    """All that ours asks one GPU at some time, asked now."""

    def __init__(self, handle: Any) -> None:
        mig, processes = Mig(), Processes()
        pcie = PCIE._replace(only_without=())
        rest: list[Question] = [Sharing(processes), Gpm(mig), pcie]
        self._questions: list[Question] = [mig, processes, *PLAIN, *groups(), *rest]
        self._handle = handle

    def ask(self) -> tuple[float, float]:
        """Seconds in all, and for PCIe throughput, which comes last."""
        began = asked = time.perf_counter()
        for question in self._questions:
            asked = time.perf_counter()
            with suppress(nv.NVMLError):
                question.ask(self._handle, ())
        ended = time.perf_counter()
        return ended - began, ended - asked


def naive_ticks() -> list[tuple[float, float]]:
    """The same over all GPUs, each time that they were asked."""
    readers = [Naive(handle) for handle in handles()]
    rounds = [[reader.ask() for reader in readers] for _ in range(ROUNDS)]
    return [(sum(one[0] for one in each), sum(one[1] for one in each)) for each in rounds]


# --- the whole agent -----------------------------------------------------------------------------


@contextmanager
def agent(node: Node, folder: Path) -> Iterator[tuple[int, str]]:
    """`burnmeter run` on the node's GPUs alone: its pid, and its address."""
    address = f"127.0.0.1:{free_port()}"
    config = folder / "burnmeter.yaml"
    config.write_text(f"listen: {address}\ndiscovery: {{processes: false}}\n")
    command = [sys.executable, "-m", "burnmeter", "--log-level", "error", "run", "--config"]
    more = {"LD_LIBRARY_PATH": node.library_path, "BURNMETER_NVML_STUB_CALLS": str(node.calls_path)}
    process = subprocess.Popen(
        [*command, str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # It warns that there is nothing to read.
        env=os.environ | more,
    )
    try:
        yield process.pid, f"http://{address}/metrics"
    finally:
        process.terminate()
        process.wait()


def samples_of(url: str, name: str) -> list[float]:
    """The values of one metric; none while the agent is not there yet."""
    with suppress(URLError), urllib.request.urlopen(url) as answer:
        rows = [line.split() for line in answer.read().decode().splitlines()]
        return [float(row[-1]) for row in rows if row and row[0].partition("{")[0] == name]
    return []


def calls_of(node: Node, url: str, gpus: int) -> Counter[Call]:
    """What the agent calls in COUNTED_SECONDS once it runs: (function, GPU) -> times."""
    until_seconds = time.monotonic() + START_SECONDS
    while len(samples_of(url, "burnmeter_gpu_power_watts")) < gpus:
        assert time.monotonic() < until_seconds, "burnmeter run shows no GPUs"
        time.sleep(0.2)
    node.calls()
    time.sleep(COUNTED_SECONDS)
    return Counter(tuple(line.split()) for line in node.calls())


# --- what came out -------------------------------------------------------------------------------


def show(title: str, text: str) -> None:
    print(f"  {title:26} {text}")


def show_seconds(title: str, seconds: Iterable[float]) -> None:
    known = list(seconds)
    show(title, f"{statistics.median(known) * 1e3:8.2f} {max(known) * 1e3:8.2f} ms")


def show_ticks(ticks: list[Tick], limit_ratio: float) -> None:
    """Time inside NVML and time of a reading."""
    show("a tick, inside NVML", "  median greatest")
    for title in sorted({title for one in ticks for title in one.seconds_by_title}):
        show_seconds(f"  {title}", [one.seconds_by_title.get(title, 0.0) for one in ticks])
    show_seconds("  in all", [one.seconds for one in ticks])
    show_seconds("a tick, elapsed", [one.read_seconds for one in ticks])
    ratio = mean_seconds(ticks) / Config().interval_seconds
    saved = f"{limit_ratio:.2%} and {limit_ratio * SAVED_SECONDS * 1e3:.0f} ms once"
    show("share of time in NVML", f"{ratio:.2%} where {saved} are allowed")
    show("put off", f"{sum(one.put_off for one in ticks)} questions or samples")


def mean_seconds(ticks: list[Tick]) -> float:
    return statistics.mean(one.seconds for one in ticks)


def show_naive(ticks: list[Tick]) -> None:
    """Beside ours, with and without the samples that the naive reader does not take."""
    ours = mean_seconds(ticks)
    without = ours - statistics.mean(one.seconds_by_title.get("samples", 0.0) for one in ticks)
    titles = ("naive, a tick", "naive, PCIe alone")
    for title, all_seconds in zip(titles, zip(*naive_ticks(), strict=True), strict=True):
        seconds = statistics.median(all_seconds)
        ratios = f"{seconds / ours:.1f} times ours, {seconds / without:.1f} without samples"
        show(title, f"{seconds * 1e3:8.2f} ms, {ratios}")


def show_memory(title: str, *processes: psutil.Process) -> None:
    known = [process.memory_full_info() for process in processes]
    mib = [sum(getattr(one, name) for one in known) / MIB for name in ("rss", "pss", "uss")]
    show(title, "{:.1f} MiB resident, {:.1f} in proportion, {:.1f} its own".format(*mib))


def show_calls(calls: Counter[Call], durations: dict[str, float], own: float) -> None:
    """What the calls come to if they take what they should, and how much the stub itself takes."""
    took = sum(durations.get(name, OTHER_MICROSECONDS) * n for (name, _), n in calls.items())
    ratio, own_ratio = (us / 1e6 / COUNTED_SECONDS for us in (took, calls.total() * own))
    show("samples of a GPU", f"{calls[SAMPLED[-1], '0'] / COUNTED_SECONDS:.2f} a second")
    show("calls", f"{calls.total() / COUNTED_SECONDS:.0f} a second, {ratio:.2%} by DURATIONS")
    show("the stub's own time", f"{own_ratio:.2%}, and as much of a core")


def measure_source(node: Node, seconds: float) -> list[Tick]:
    """The source and its child."""
    settings = Config().gpus
    with closing(NvmlSource(settings, library_path=node.library_path)) as source:
        first = read(source)
        child = child_of(os.getpid())
        show("the first reading", f"{sum(first.nvml_seconds.values()) * 1e3:8.2f} ms in NVML")
        before_bytes = child.memory_full_info().uss
        before_seconds, began = seconds_of(child), time.monotonic()
        ticks = ticks_of(source, first, seconds)
        ratio = (seconds_of(child) - before_seconds) / (time.monotonic() - began)
        show_ticks(ticks, settings.nvml_time_ratio)
        show("the reader", f"{ratio:.2%} of a core")
        show_memory("its memory", child)
        grown_bytes = child.memory_full_info().uss - before_bytes
        show("its growth", f"{grown_bytes / MIB:.2f} MiB in {len(ticks)} ticks")
    return ticks


def measure_agent(node: Node, folder: Path, gpus: int) -> Counter[Call]:
    """Memory of `burnmeter run`; gives what it called."""
    with agent(node, folder) as (pid, url):
        calls = calls_of(node, url, gpus)
        own, child = psutil.Process(pid), child_of(pid)
        show_memory("burnmeter run", own)
        show_memory("and its reader", child)
        show_memory("both", own, child)
        (told_bytes,) = samples_of(url, "burnmeter_agent_memory_bytes")
        show("as its metrics say", f"{told_bytes / MIB:.1f} MiB resident")
    return calls


def measure(folder: Path, gpus: int, seconds: float, durations: dict[str, float]) -> None:
    node = node_of(folder, gpus)
    own = delay(node, durations)
    print(
        f"{gpus} GPUs, {durations[FIELDS]:g} us for field values, a call of the stub {own:.0f} us"
    )
    ticks = measure_source(node, seconds)
    show_naive(ticks)
    show_calls(measure_agent(node, folder, gpus), durations, own)


def main() -> None:
    given = sys.argv[1:]
    gpus, seconds, field = (*given, *("8", "60", str(DURATIONS[FIELDS]))[len(given) :])
    with tempfile.TemporaryDirectory() as folder:
        try:
            durations = DURATIONS | {FIELDS: float(field)}
            measure(Path(folder), int(gpus), float(seconds), durations)
        except pytest.skip.Exception as absent:
            print(absent)


if __name__ == "__main__":
    main()
