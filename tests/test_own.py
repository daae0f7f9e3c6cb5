"""What the agent itself costs: its own processes are in it, a simulated node is not."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from burnmeter.sources.own import OwnCostSource

SIZE_BYTES = 60_000_000
CHILD = f"x = b'x' * {SIZE_BYTES}; sum(range(3_000_000)); print(flush=True); input()"
"""Holds memory that it has touched, has used some time, and waits."""


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", CHILD], stdin=pipe, stdout=pipe)
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def others(*pids: int) -> list[int]:
    """Children of the test run besides these: engines that other tests share, for example."""
    return [process.pid for process in psutil.Process().children() if process.pid not in pids]


def used_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def test_a_child_is_part_of_the_cost(child: "subprocess.Popen[bytes]") -> None:
    alone = OwnCostSource(others()).read()

    both = OwnCostSource(others(child.pid)).read()

    resident = psutil.Process(child.pid).memory_info().rss
    assert both.memory_bytes - alone.memory_bytes == pytest.approx(resident, rel=0.3)
    # 20.71 - 20.65 is a little less than 0.06.
    assert both.cpu_seconds - alone.cpu_seconds >= used_seconds(child.pid) - 1e-6 > 0.0


def test_a_simulated_node_is_not(child: "subprocess.Popen[bytes]") -> None:
    own = psutil.Process().memory_info().rss

    cost = OwnCostSource([child.pid, *others(child.pid)]).read()

    assert cost.memory_bytes == pytest.approx(own, rel=0.1)


def test_a_child_that_has_ended_keeps_what_it_had_used(child: "subprocess.Popen[bytes]") -> None:
    source = OwnCostSource(others(child.pid))
    before, used = source.read(), used_seconds(child.pid)
    child.kill()
    child.wait()

    after = source.read()
    again = source.read()

    alone = OwnCostSource(others()).read()
    assert after.cpu_seconds >= before.cpu_seconds
    assert again.cpu_seconds >= alone.cpu_seconds - 0.1 + used
    assert after.memory_bytes < before.memory_bytes
