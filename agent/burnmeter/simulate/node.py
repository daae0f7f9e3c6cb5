"""What the agent holds of the simulated node: sources that look exactly like the real ones.

The simulation runs in a child process, so that its cost is not the agent's and engines are read
over real HTTP; only the driver and the process table are replaced, by the child's control page.
Where the real reader would find a broken driver, this finds a child that has ended, and says so
in the same way: as a value.
"""

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.request import ProxyHandler, build_opener

from burnmeter.errors import BurnmeterError
from burnmeter.model import Failure, GpuReading, Process, ProcessReading, Target
from burnmeter.model_facts.known import LibraryReading
from burnmeter.simulate.gpu import DRIVER_VERSION
from burnmeter.simulate.models import library
from burnmeter.simulate.wire import NodeState, decode

START_SECONDS: Final = 30.0
READ_SECONDS: Final = 5.0
STOP_SECONDS: Final = 5.0


class SimulatedGpus:
    """Takes the place of the NVML reader."""

    def __init__(self, node: "SimulatedNode") -> None:
        self._node = node

    def read(self) -> GpuReading:
        """All GPUs of the simulated node."""
        start = time.monotonic()
        state = self._node.fetch()
        is_failure = isinstance(state, Failure)
        return GpuReading(
            at_seconds=time.monotonic(),
            timestamp_seconds=time.time(),
            duration_seconds=time.monotonic() - start,
            gpus=() if isinstance(state, Failure) else state.gpus,
            failure=state if isinstance(state, Failure) else None,
            driver_version=None if is_failure else DRIVER_VERSION,
        )

    def close(self) -> None:
        """Nothing to close: the node owns the child."""


class SimulatedProcesses:
    """Takes the place of the process table's reader."""

    def __init__(self, node: "SimulatedNode") -> None:
        self._node = node

    def read(self) -> ProcessReading:
        """All processes of the simulated engines."""
        start = time.monotonic()
        state = self._node.fetch()
        return ProcessReading(
            at_seconds=time.monotonic(),
            timestamp_seconds=time.time(),
            duration_seconds=time.monotonic() - start,
            processes={} if isinstance(state, Failure) else state.processes,
            failure=state if isinstance(state, Failure) else None,
        )

    def close(self) -> None:
        """Nothing to close: the node owns the child."""


class SimulatedModels:
    """Takes the place of whoever looks for config.json files."""

    def want(self, targets: Iterable[Target], processes: Mapping[int, Process]) -> None:
        """They are the same for ever."""

    def read(self) -> LibraryReading:
        """The facts of all that is simulated."""
        return LibraryReading(time.monotonic(), 0.0, library(), None)

    def close(self) -> None:
        """There is nothing to close."""


class SimulatedNode:
    """A running simulation; leave the `with` block and it is gone."""

    def __init__(self, *, seed: int = 1, speed: float = 1.0, story: Path | None = None) -> None:
        self.gpus = SimulatedGpus(self)
        self.processes = SimulatedProcesses(self)
        self.targets: tuple[Target, ...] = ()
        """The engines as last seen by any read: a restarted one has a new pid."""
        self._command = [sys.executable, "-m", "burnmeter.simulate", f"--seed={seed}"]
        self._command += [f"--speed={speed}"]
        self._command += [] if story is None else [f"--story={story}"]
        self._child: subprocess.Popen[bytes] | None = None
        self._url = ""
        # A proxy from the environment must not come between us and our own child.
        self._opener = build_opener(ProxyHandler({}))

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            ports = json.loads(self._first_line(self._child))
            self._url = f"http://127.0.0.1:{ports['control']}/node"
            state = self.fetch()
            if isinstance(state, Failure):
                raise BurnmeterError(f"the simulated node does not answer: {state.message}")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """Of the child, for those who count its cost."""
        assert self._child is not None
        return self._child.pid

    def fetch(self) -> NodeState | Failure:
        """The node just now, and its targets with it."""
        try:
            with self._opener.open(self._url, timeout=READ_SECONDS) as answer:
                state = decode(answer.read().decode())
        except TimeoutError as error:
            return Failure("timeout", f"the simulated node: {error}")
        except (OSError, HTTPException, ValueError) as error:
            if self._child is None or self._child.poll() is not None:
                return Failure("crashed", "the simulated node has ended; start burnmeter again")
            return Failure("crashed", f"the simulated node: {error}")
        self.targets = state.targets
        return state

    def _first_line(self, child: "subprocess.Popen[bytes]") -> bytes:
        assert child.stdout is not None
        readable, _, _ = select.select([child.stdout], [], [], START_SECONDS)
        line = child.stdout.readline() if readable else b""
        if not line:
            raise BurnmeterError("the simulated node did not start")
        return line

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        child.stdout.close()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
