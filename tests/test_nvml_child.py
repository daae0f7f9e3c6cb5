"""A driver or a reading child that hangs, dies, refuses or talks nonsense: bounded and named."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from burnmeter.model import Failure
from burnmeter.sources.nvml.source import REPLY_BYTES, SKIP_SECONDS, STUCK_CHILDREN, start_child
from tests.nvml import PATIENCE_SECONDS, UUID, Clock, Node, Sources, failure, read

Child = subprocess.Popen[bytes]

HAIR_SECONDS = 0.4
"""How much longer than its timeout a read may take, on a loaded machine."""


def script(text: str, tmp_path: Path) -> Callable[..., Child]:
    """A child that is any Python program, in place of ours."""
    path = tmp_path / "child.py"
    path.write_text(text)

    def start(*_: object) -> Child:
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, "-S", path], stdin=pipe, stdout=pipe, bufsize=0)

    return start


# --- a driver that does not answer -------------------------------------------------------------


def test_a_machine_without_the_library_is_asked_once_a_minute(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock, tmp_path: Path
) -> None:
    gpu_node.has(gpus=1)
    later = tmp_path / "later"
    later.mkdir()
    reader = gpu_source(library_path=str(later))

    missing = failure(read(reader))
    if "cannot open shared object file" not in missing.message:
        pytest.skip("this machine has NVIDIA's library")
    os.symlink(Path(gpu_node.library_path) / "libnvidia-ml.so.1", later / "libnvidia-ml.so.1")
    gpu_clock.passes(59)
    waiting = failure(read(reader))
    gpu_clock.passes(1)

    assert missing.kind == "no_library"
    assert "install the NVIDIA driver" in missing.message
    assert missing.message.endswith("it starts again in 60 s")
    assert waiting.message.endswith("it starts again in 1 s")
    assert read(reader).failure is None


def test_who_looks_but_once_is_told_of_no_second_start(
    gpu_node: Node, gpu_source: Sources, tmp_path: Path
) -> None:
    reader = gpu_source(library_path=str(tmp_path))
    reader.tells_wait = False

    missing = failure(read(reader))

    assert "starts again" not in missing.message


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (4, "no_permission", "/dev/nvidiactl"),
        (9, "driver", "modprobe nvidia"),
        (18, "driver", "different versions"),
        (999, "driver", "Unknown Error"),
        (13, "driver", "Function Not Found"),
    ],
    ids=["no_permission", "not_loaded", "mismatch", "unknown", "not_nvml"],
)
def test_a_driver_that_refuses_says_why_and_what_to_do(
    code: int, kind: str, words: str, gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"init": code})

    refused = failure(read(gpu_source()))

    assert refused.kind == kind
    assert words in refused.message
    assert refused.message.endswith("; it starts again in 1 s")


@pytest.mark.parametrize("code", [1, 9, 18], ids=["uninitialised", "not_loaded", "mismatch"])
def test_a_driver_reloaded_under_us_is_met_by_a_new_process(
    code: int, gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=2)
    gpu_node.says({"1.temperature": None})
    reader = gpu_source()
    assert read(reader).gpus[1].temperature_celsius is None

    gpu_node.says(
        {"error.nvmlDeviceGetHandleByIndex_v2": code, "error.nvmlDeviceGetCount_v2": code}
    )
    assert failure(read(reader)).kind == "driver"
    gpu_node.says({"init": 18})
    gpu_clock.passes(1)
    assert "different versions" in failure(read(reader)).message
    gpu_node.says({"init": 0, "1.temperature": 39, "driver": "580.65.06"})
    gpu_node.says(
        {"error.nvmlDeviceGetHandleByIndex_v2": None, "error.nvmlDeviceGetCount_v2": None}
    )
    gpu_clock.passes(2)
    reading = read(reader)

    assert reading.driver_version == "580.65.06"
    assert [gpu.temperature_celsius for gpu in reading.gpus] == [41.0, 39.0]


def test_a_call_that_hangs_is_bounded_named_and_left_behind(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source(timeout_seconds=1.0)
    assert read(reader).failure is None

    gpu_node.says({"hang": "nvmlDeviceGetTotalEnergyConsumption 1"})
    reading = reader.read()
    gpu_node.says({"hang": None})
    waiting = reader.read()
    gpu_clock.passes(1)
    back = read(reader)

    hung = failure(reading)
    assert hung.kind == "timeout"
    assert "no answer from the driver in 1 s (it was at: gpu 1 energy)" in hung.message
    assert hung.message.endswith("it starts again in 1 s")
    assert 1.0 <= reading.duration_seconds < 1.0 + HAIR_SECONDS
    assert waiting.duration_seconds < HAIR_SECONDS
    assert failure(waiting) == hung
    assert (back.failure, len(back.gpus)) == (None, 2)


def test_a_driver_that_is_slow_to_initialise_is_given_several_reads(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"hang": "nvmlInitWithFlags"})
    reader = gpu_source(timeout_seconds=0.2, start_seconds=30)

    first = failure(reader.read())
    gpu_clock.passes(29)
    second = failure(reader.read())
    gpu_clock.passes(1)
    last = failure(reader.read())

    assert first.kind == second.kind == last.kind == "timeout"
    assert "starting for 0 s of 30 s allowed" in first.message
    assert "starting for 29 s of 30 s allowed" in second.message
    assert "could not initialise the driver in 30 s" in last.message
    assert last.message.endswith("it starts again in 1 s")


def test_a_list_of_processes_that_hangs_does_not_hang_each_time(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"hang": "nvmlDeviceGetComputeRunningProcesses_v3"})
    reader = gpu_source(timeout_seconds=1.0, processes_every=3)

    hung = failure(read(reader))
    while "it was at" not in hung.message:
        gpu_clock.passes(1)
        hung = failure(read(reader))
    gpu_clock.passes(30)
    without = [read(reader) for _ in range(2)]

    assert "gpu 0 procs" in hung.message
    assert [(r.failure, r.gpus[0].power_watts is None) for r in without] == [(None, False)] * 2


def test_a_list_that_hangs_is_not_asked_early_for_gpus_that_are_new(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"hang": "nvmlDeviceGetComputeRunningProcesses_v3"})
    reader = gpu_source(timeout_seconds=1.0, processes_every=9)

    hung = read(reader)
    while hung.failure is None or "it was at" not in hung.failure.message:
        gpu_clock.passes(1)
        hung = read(reader)
    gpu_clock.passes(30)

    assert [read(reader).failure for _ in range(8)] == [None] * 8


def test_a_crash_is_named_and_restarts_wait_longer_each_time(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"segfault": "nvmlDeviceGetCount_v2"})
    reader = gpu_source()
    messages = []

    for wait in (0, 1, 2, 5, 10, 30):
        gpu_clock.passes(wait)
        messages.append(failure(read(reader)).message)
        early = read(reader)
        assert early.failure == Failure("crashed", messages[-1])
    gpu_node.says({"segfault": None})
    gpu_clock.passes(30)
    assert read(reader).failure is None
    gpu_node.says({"segfault": "nvmlDeviceGetCount_v2"})
    messages.append(failure(read(reader)).message)

    waits = [1, 2, 5, 10, 30, 30, 1]
    died = "the NVML reader died of SIGSEGV"
    assert messages == [f"{died}; it starts again in {wait} s" for wait in waits]


@pytest.mark.parametrize(
    ("how", "function", "lacks"),
    [
        ("segfault", "nvmlDeviceGetTemperature", {"temperature_celsius"}),
        ("hang", "nvmlDeviceGetTemperature", {"temperature_celsius"}),
        ("segfault", "nvmlDeviceGetUtilizationRates", {"utilisation_ratio", "power_watts"}),
        ("segfault", "nvmlDeviceGetComputeRunningProcesses_v3", {"processes"}),
        ("segfault", "nvmlGpmSampleGet", {"gpu_sm_active_ratio"}),
    ],
)
def test_what_two_readers_in_a_row_die_of_at_one_gpu_is_not_asked_for_five_minutes(
    how: str, function: str, lacks: set[str], gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source(timeout_seconds=1.0, processes_every=1)
    read(reader)

    gpu_node.says({how: f"{function} 1"})
    deaths = []
    for wait in (1, 2):
        deaths.append(read(reader).failure)
        gpu_clock.passes(wait)
    well, sore = read(reader).gpus
    gpu_clock.passes(SKIP_SECONDS)
    deaths.append(read(reader).failure)
    gpu_clock.passes(1)
    again = read(reader).gpus
    gpu_node.says({how: None})
    gpu_clock.passes(SKIP_SECONDS)
    mended = read(reader).gpus

    assert None not in deaths
    assert (well.failure, sore.failure, again[1].failure) == (None, None, None)
    assert well.unsupported == ()
    assert lacks <= set(sore.unsupported)
    assert sore.unsupported == again[1].unsupported
    assert sore.processes is None or "processes" not in lacks
    assert sore.memory_used_bytes == 42e9
    assert mended[1].unsupported == ()


def test_a_gpu_whose_handle_kills_readers_fails_alone(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source()
    read(reader)

    gpu_node.says({"segfault": f"{UUID} 1"})
    for wait in (1, 2):
        failure(read(reader))
        gpu_clock.passes(wait)
    well, sore = read(reader).gpus

    assert well.failure is None
    assert sore.uuid == "GPU-1"
    assert sore.failure is not None
    assert "hangs or dies when it looks for this GPU" in sore.failure.message


def test_two_deaths_with_an_answer_in_between_are_not_in_a_row(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source()

    for _ in range(3):
        gpu_node.says({"segfault": "nvmlDeviceGetTemperature 1"})
        failure(read(reader))
        gpu_node.says({"segfault": None})
        gpu_clock.passes(1)
        assert read(reader).gpus[1].unsupported == ()


# --- a child that misbehaves -------------------------------------------------------------------

GREETING = 'import sys, time\nprint("{}", flush=True)\nsys.stdin.readline()\n'


COSTS = {"nvml_seconds": {}, "nvml_put_off": 0}
NO_ROW = json.dumps({"xids": [], "gpus": [7], **COSTS})
STRANGE = {"uuid": "U", "index": 0, "name": "N", "grown": [], "meter": [], "unsupported": []}
STRANGE_ROW = json.dumps(
    {"xids": [], "gpus": [STRANGE | {"gauge": [["gpu_mood", {}, 1]]}], **COSTS}
)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ('print("Segmentation fault")', "crashed", "wrote no answer but 'Segmentation fault'"),
        ('print("[" * 100000)', "crashed", "nested too deeply"),
        ('print("{}\\\\n{}", flush=True); time.sleep(60)', "crashed", "wrote unasked"),
        ('print("{}", flush=True)', "crashed", "KeyError: 'xids'"),
        (f"print('{NO_ROW}')", "crashed", "TypeError"),
        (f"print('{STRANGE_ROW}')", "crashed", "no measure 'gpu_mood'"),
        ('print(\'{"failure": ["fine", "x"]}\')', "crashed", "unknown failure 'fine'"),
        ('print("half a line", end="")', "crashed", "ended with status 0"),
        ("sys.exit(3)", "crashed", "ended with status 3"),
        ("import os; os.kill(os.getpid(), 9)", "crashed", "SIGKILL (out of memory?"),
        ('print("half", end="", flush=True); time.sleep(60)', "timeout", "no answer"),
        ('while True: print("x" * 65536, end="")', "too_large", f"over {REPLY_BYTES} bytes"),
        ('while True: print("x", end="", flush=True); time.sleep(0.001)', "timeout", "no answer"),
    ],
    ids=[
        "text",
        "deep",
        "two_lines",
        "empty_object",
        "no_rows",
        "no_measure",
        "unknown_kind",
        "half_a_line",
        "exit",
        "killed",
        "half_a_line_and_silence",
        "endless_line",
        "endless_drip",
    ],
)
def test_a_child_that_writes_garbage_is_a_failure_within_the_time(
    text: str, kind: str, words: str, gpu_source: Sources, tmp_path: Path
) -> None:
    program = GREETING + text.replace("\\\\n", "\\n") + "\n"
    reader = gpu_source(start=script(program, tmp_path), timeout_seconds=1.0)

    broken = failure(read(reader))

    assert broken.kind == kind, broken
    assert words in broken.message


def test_a_child_that_cannot_be_started_is_a_failure(gpu_source: Sources) -> None:
    def start(*_: object) -> Child:
        return subprocess.Popen(["/nonexistent/python"])

    unstarted = failure(gpu_source(start=start).read())

    assert unstarted.kind == "crashed"
    assert "cannot be started" in unstarted.message


class Unkillable(subprocess.Popen[bytes]):
    """As a process in uninterruptible sleep: SIGKILL does nothing that the parent can see."""

    def kill(self) -> None:
        self.was_killed = True


def end_all(children: Sequence[Child]) -> None:
    for child in children:
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()


def test_children_that_outlive_sigkill_are_not_waited_for_and_few(
    gpu_source: Sources, gpu_clock: Clock
) -> None:
    started: list[Unkillable] = []
    program = "import time; print('{}', flush=True); time.sleep(60)"

    def start(*_: object) -> Child:
        command = [sys.executable, "-S", "-c", program]
        pipe = subprocess.PIPE
        started.append(Unkillable(command, stdin=pipe, stdout=pipe, bufsize=0))
        return started[-1]

    reader = gpu_source(start=start, timeout_seconds=0.3)
    for _ in range(STUCK_CHILDREN + 2):
        reading = read(reader)
        gpu_clock.passes(30)
        assert reading.duration_seconds < 0.3 + HAIR_SECONDS
    stuck = failure(reading)
    end_all(started)
    reader.read()
    end_all(started)

    assert all(child.was_killed for child in started)
    assert stuck.kind == "driver"
    assert "3 NVML readers hang in the driver and outlive SIGKILL" in stuck.message
    assert str(started[0].pid) in stuck.message
    assert len(started) == STUCK_CHILDREN + 1  # Once the kernel has let go, the next one may try.


# --- the child itself --------------------------------------------------------------------------


def test_a_child_whose_parent_died_ends_even_inside_a_call_that_hangs(
    gpu_node: Node, tmp_path: Path
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"hang": "nvmlInitWithFlags"})
    parent = (
        "import os, sys\n"
        "from burnmeter.sources.nvml.source import start_child\n"
        "print(start_child(sys.argv[1]).pid, flush=True)\n"
        "sys.stdin.readline()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", parent, gpu_node.library_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        child = os.pidfd_open(int(process.stdout.readline()))
        until = time.monotonic() + PATIENCE_SECONDS
        while "nvmlInitWithFlags -1" not in gpu_node.calls():
            assert time.monotonic() < until
        process.stdin.write(b"die\n")

    ended, _, _ = select.select([child], [], [], PATIENCE_SECONDS)
    os.close(child)
    assert ended


def test_a_closed_source_leaves_no_child(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)
    started: list[Child] = []

    def start(*arguments: Any) -> Child:
        started.append(start_child(*arguments))
        return started[-1]

    reader = gpu_source(start=start)
    read(reader)
    reader.close()

    assert [child.returncode for child in started] == [-signal.SIGKILL]


def test_the_child_imports_little(gpu_node: Node) -> None:
    """Its memory is the agent's bill: 16 MB in all, half of it shared with the parent."""
    code = (
        "import sys, burnmeter.sources.nvml.child\n"
        "print(sorted(name for name in sys.modules if name.startswith('burnmeter.')))\n"
        "print(sorted({'dataclasses', 'psutil', 'yaml', 'asyncio'} & set(sys.modules)))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    package = Path(start_child.__code__.co_filename).parent
    names = {path.stem for path in package.glob("*.py")} - {"__init__", "source", "reply"}
    ours = ["sources", "sources.nvml", *(f"sources.nvml.{name}" for name in names), "units"]
    assert done.stdout == f"{sorted(f'burnmeter.{name}' for name in ours)}\n[]\n"
