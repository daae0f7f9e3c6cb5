"""A node with GPUs that a test makes up: a stub of libnvidia-ml.so.1 under the real pynvml.

What it answers is the stub's business (tests/nvml_stub/nvml_stub.c, which says what a state may
hold); this builds it and writes states, while the reader runs if need be.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from burnmeter.config import Gpus
from burnmeter.model import Failure, Gpu, GpuReading
from burnmeter.sources.nvml.answers import Place
from burnmeter.sources.nvml.source import NvmlSource
from tests.parts import ROOT, program

Sources = Callable[..., NvmlSource]

PATIENCE_SECONDS = 20.0
"""How long a loaded machine may take to start a child."""

UUID = "nvmlDeviceGetUUID"

H100: Mapping[str, object] = {
    "name": "NVIDIA H100 80GB HBM3",
    "utilisation": 50,
    "memory_used": 42_000_000_000,
    "memory_total": 85_520_809_984,
    "memory_reserved": 600_000_000,
    "power": 312_500,
    "power_limit": 700_000,
    "energy": 123_456_500,
    "temperature": 41,
    "sm_clock": 1980,
    "memory_clock": 2619,
    "compute": ["4242 1048576"],
    "graphics": "none",
    "architecture": 9,
    "bus_width": 5120,
    "sm_clock_max": 1980,
    "memory_clock_max": 2619,
    "slowdown_temperature": 90,
    "shutdown_temperature": 95,
    "reasons": 0,
    "pcie_sent": 2_000,
    "pcie_received": 3_000,
    "mig": 0,
    "gpm": 1,
    "gpm.2": 40.0,
    "gpm.3": 20.0,
    "gpm.5": 10.0,
    "gpm.10": 60.0,
    "field.82": 46,
    "field.74": 5_000_000_000,
    "field.75": 0,
    "field.76": 0,
    "field.77": 0,
    "field.79": 0,
    "field.197": 7_000_000_000_000,
    "field.198": 9_000_000_000_000,
    "field.138": 1_000_000,
    "field.139": 2_000_000,
    "field.3": 2,
    "field.4": 0,
    "field.5": 12,
    "field.6": 0,
    "field.142": 1,
    "field.143": 0,
    "field.144": 0,
    "field.145": 0,
    "field.94": 3,
    "field.230": 0,
}
"""One board's answers in NVML's own units."""


def build(folder: Path, *flags: str) -> Path:
    """Compile the stub into `folder`, which then is a `library_path`."""
    compiler = program("cc", "gcc", "clang", package="gcc")
    library = folder / "libnvidia-ml.so.1"
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", *flags]
    options += ["-Wl,-soname,libnvidia-ml.so.1", "-o", str(library)]
    source = ROOT / "tests/nvml_stub/nvml_stub.c"
    subprocess.run([compiler, *options, str(source)], check=True)
    return folder


class Node:
    """What the stub says, as keys and values; a changed one is seen at the next call of NVML."""

    def __init__(self, folder: Path, library_path: Path) -> None:
        self.library_path = str(library_path)
        self.state_path = folder / "state"
        self.calls_path = folder / "calls"
        self._values: dict[str, Any] = {}
        self._calls_read = 0

    def has(self, gpus: int) -> None:
        """So many H100s, GPU-0 and on."""
        boards = {f"{i}.{key}": value for i in range(gpus) for key, value in H100.items()}
        uuids = {f"{i}.uuid": f"GPU-{i}" for i in range(gpus)}
        self.says({"gpus": gpus, "driver": "570.86.15", "init": 0} | boards | uuids)

    def says(self, changes: Mapping[str, object]) -> None:
        """Change values. None: this key is not there (for a reading: not supported)."""
        self._values |= changes
        lines = [
            f"{key} {one}\n"
            for key, value in self._values.items()
            for one in (value if isinstance(value, list) else [value])
            if one is not None
        ]
        new = self.state_path.with_suffix(".new")
        new.write_text("".join(lines))
        os.replace(new, self.state_path)

    def fails(self, gpu: int, error: int | None) -> None:
        """Every question about a GPU is answered with an error but who it is; None: no more."""
        known = {f"{gpu}.error.{name}": 0 for name in ("nvmlDeviceGetHandleByIndex_v2", UUID)}
        self.says({f"{gpu}.error": error, **known})

    def calls(self) -> list[str]:
        """`FUNCTION GPU` for each call since the last time this was asked."""
        lines = self.calls_path.read_text().splitlines() if self.calls_path.exists() else []
        new = lines[self._calls_read :]
        self._calls_read = len(lines)
        return new


def figures(gpu: Gpu) -> dict[str, float]:
    """What is only passed on, by measure and own labels."""
    return {
        Place("", one.measure, one.labels).title: one.value for one in (*gpu.gauges, *gpu.meters)
    }


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_seconds = 1000.0

    def __call__(self) -> float:
        return self.now_seconds

    def passes(self, seconds: float) -> None:
        self.now_seconds += seconds


def read(source: NvmlSource) -> GpuReading:
    """A reading from a child that has had the time to start."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        reading = source.read()
        is_starting = reading.failure is not None and "has been starting" in reading.failure.message
        if not is_starting or time.monotonic() > until:
            return reading


def failure(reading: GpuReading) -> Failure:
    """The failure of a reading that has nothing else."""
    assert reading.gpus == ()
    assert reading.failure is not None
    return reading.failure


@pytest.fixture(scope="session")
def nvml_stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a libnvidia-ml.so.1 that says what a state file says."""
    return build(tmp_path_factory.mktemp("nvml_stub"))


@pytest.fixture
def gpu_node(nvml_stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node without GPUs so far, for readers started within this test."""
    made = Node(tmp_path, nvml_stub)
    monkeypatch.setenv("BURNMETER_NVML_STUB_STATE", str(made.state_path))
    monkeypatch.setenv("BURNMETER_NVML_STUB_CALLS", str(made.calls_path))
    return made


@pytest.fixture
def gpu_clock() -> Clock:
    """The clock of `gpu_source`."""
    return Clock()


@pytest.fixture
def gpu_source(gpu_node: Node, gpu_clock: Clock) -> Iterator[Sources]:
    """Makes sources on `gpu_node`, and ends them."""
    made: list[NvmlSource] = []

    def make(**options: Any) -> NvmlSource:
        known = {field.name for field in fields(Gpus)}
        settings = Gpus(
            **{"timeout_seconds": 5.0, **{k: options.pop(k) for k in known & {*options}}}
        )
        usual: dict[str, Any] = {"library_path": gpu_node.library_path}
        made.append(NvmlSource(settings, clock=gpu_clock, **(usual | options)))
        return made[-1]

    yield make
    for one in made:
        one.close()
