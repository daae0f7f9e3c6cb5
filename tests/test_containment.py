"""Whatever the driver does, no tick comes more than a tenth of its interval late; then it is well.

The real Agent, the real reader and its child, the real pynvml over the stub of NVIDIA's library.
"""

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from burnmeter.config import Limits
from burnmeter.loop import GPU_WAIT_RATIO, Agent
from burnmeter.snapshot import Snapshot
from burnmeter.sources.nvml.source import SKIP_SECONDS
from tests.fakes_world import HAIR_SECONDS, agent, settings
from tests.nvml import PATIENCE_SECONDS, Clock, Node, Sources

INTERVAL_SECONDS = 5.0
MOST_SECONDS = GPU_WAIT_RATIO * INTERVAL_SECONDS


class Watch:
    """An agent on a node that a test breaks and mends; every tick is timed."""

    def __init__(self, ticking: Agent, clock: Clock) -> None:
        self.ticking, self.clock = ticking, clock
        self.took_seconds: list[float] = []

    def tick(self) -> Snapshot:
        """One interval later. Nothing is slept: the driver's back-off goes by the clock."""
        self.clock.passes(INTERVAL_SECONDS)
        began = time.monotonic()
        snapshot = self.ticking.tick()
        self.took_seconds.append(time.monotonic() - began)
        return snapshot

    def until_well(self, gpus: int = 2) -> Snapshot:
        """Ticks until all GPUs answer; the child's start and end take real time."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            snapshot = self.tick()
            if len(snapshot.gpus) == gpus and not any(v.gpu.failure for v in snapshot.gpus):
                return snapshot
            time.sleep(0.05)
        raise AssertionError([view.gpu.failure for view in snapshot.gpus])

    def in_time(self) -> None:
        """No tick took more than a tenth of its interval; one may take a hair on a busy machine."""
        assert statistics.median(self.took_seconds) <= MOST_SECONDS
        assert max(self.took_seconds) <= MOST_SECONDS + HAIR_SECONDS


@pytest.fixture
def watch(gpu_node: Node, gpu_source: Sources, gpu_clock: Clock) -> Iterator[Watch]:
    """Two GPUs that are well."""
    gpu_node.has(gpus=2)
    limits = Limits(scrape_timeout_seconds=3.0)
    source = gpu_source(timeout_seconds=2.0, processes_every=1)
    ticking = agent(
        settings(interval_seconds=INTERVAL_SECONDS, limits=limits),
        gpus=source,
        gpu_wait_ratio=GPU_WAIT_RATIO,
    )
    made = Watch(ticking, gpu_clock)
    made.until_well()
    yield made
    ticking.close()


def failures(snapshot: Snapshot) -> list[str | None]:
    return [view.gpu.failure.kind if view.gpu.failure else None for view in snapshot.gpus]


@pytest.mark.parametrize(
    "function",
    [
        "nvmlDeviceGetUtilizationRates",  # sampled ten times a second
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetHandleByIndex_v2",
        "nvmlDeviceGetCount_v2",
        "nvmlEventSetWait_v2",
        "nvmlGpmSampleGet",
        "nvmlDeviceGetMigMode",
    ],
)
def test_a_call_that_never_returns_delays_no_tick(
    function: str, gpu_node: Node, watch: Watch
) -> None:
    gpu_node.says({"hang": function})
    during = [watch.tick() for _ in range(3)]
    time.sleep(2.1)  # The reader gives the child up after two seconds.
    during.append(watch.tick())
    gpu_node.says({"hang": None})
    watch.until_well()
    watch.clock.passes(SKIP_SECONDS)  # It may have hung twice in a row at the same GPU.
    after = watch.until_well()

    assert failures(during[-1]) == ["timeout", "timeout"]
    assert after.gpus[0].gpu.power_watts == 312.5
    watch.in_time()


def test_a_call_that_hangs_while_the_driver_starts_delays_no_tick(
    gpu_node: Node, watch: Watch
) -> None:
    gpu_node.says({"segfault": "nvmlDeviceGetTemperature", "hang": "nvmlInitWithFlags"})
    during = [watch.tick() for _ in range(4)]
    gpu_node.says({"segfault": None, "hang": None})
    watch.until_well()

    assert "timeout" in failures(during[-1]) or "crashed" in failures(during[-1])
    watch.in_time()


@pytest.mark.parametrize("function", ["nvmlDeviceGetUtilizationRates", "nvmlGpmSampleGet"])
def test_a_crash_inside_the_library_delays_no_tick(
    function: str, gpu_node: Node, watch: Watch
) -> None:
    gpu_node.says({"segfault": function})
    during = [watch.tick() for _ in range(4)]
    gpu_node.says({"segfault": None})
    watch.until_well()

    assert {kind for snapshot in during for kind in failures(snapshot)} >= {"crashed"}
    watch.in_time()


def test_a_gpu_that_falls_off_the_bus_and_comes_back_delays_no_tick(
    gpu_node: Node, watch: Watch
) -> None:
    gpu_node.says({"1.error": 15})
    lost = watch.tick()
    gpu_node.says({"gpus": 1})
    unlisted = watch.tick()
    gpu_node.says({"gpus": 2, "1.error": None})
    back = watch.until_well()

    assert failures(lost) == failures(unlisted) == [None, "gone"]
    kinds = [event.kind for event in back.events if event.gpu == "GPU-1"]
    assert kinds == ["gpu_lost", "gpu_back"]
    watch.in_time()


def test_all_gpus_lost_and_back_delay_no_tick(gpu_node: Node, watch: Watch) -> None:
    gpu_node.says({"0.error": 15, "1.error": 15})
    lost = watch.tick()
    gpu_node.says({"0.error": None, "1.error": None})
    watch.until_well()

    assert failures(lost) == ["gone", "gone"]
    watch.in_time()


def test_a_driver_upgraded_under_us_delays_no_tick(gpu_node: Node, watch: Watch) -> None:
    """The old library disagrees with the new module; then both are new."""
    mismatch = {"error.nvmlDeviceGetCount_v2": 18, "error.nvmlDeviceGetMigMode": 18, "init": 18}
    gpu_node.says(mismatch)
    during = [watch.tick() for _ in range(3)]
    gpu_node.says({**dict.fromkeys(mismatch), "init": 0, "driver": "580.65.06"})
    after = watch.until_well()

    assert failures(during[-1]) == ["driver", "driver"]
    message = during[-1].gpus[0].gpu.failure
    assert message is not None
    assert "different versions" in message.message
    assert after.gpus[0].gpu.energy_joules == 123_456.5
    watch.in_time()


def test_a_permission_taken_away_delays_no_tick(gpu_node: Node, watch: Watch) -> None:
    gpu_node.says({"error.nvmlDeviceGetCount_v2": 4, "init": 4})
    during = [watch.tick() for _ in range(3)]
    gpu_node.says({"error.nvmlDeviceGetCount_v2": None, "init": 0})
    watch.until_well()

    assert failures(during[-1]) == ["no_permission", "no_permission"]
    watch.in_time()


def test_a_library_that_is_taken_away_delays_no_tick(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock, tmp_path: Path
) -> None:
    """A driver's package that is removed and installed anew."""
    gpu_node.has(gpus=2)
    library, kept = tmp_path / "libnvidia-ml.so.1", Path(gpu_node.library_path)
    library.symlink_to(kept / library.name)
    source = gpu_source(library_path=str(tmp_path))
    config = settings(interval_seconds=INTERVAL_SECONDS, limits=Limits(scrape_timeout_seconds=3.0))
    watch = Watch(agent(config, gpus=source, gpu_wait_ratio=GPU_WAIT_RATIO), gpu_clock)
    watch.until_well()

    os.unlink(library)
    gpu_node.says({"segfault": "nvmlDeviceGetTemperature"})  # What keeps the old one ends.
    during = [watch.tick() for _ in range(4)]
    time.sleep(0.5)
    during.append(watch.tick())
    library.symlink_to(kept / library.name)
    gpu_node.says({"segfault": None})
    gpu_clock.passes(60)
    watch.until_well()
    watch.ticking.close()

    if "no_library" not in failures(during[-1]):
        assert "driver" in failures(during[-1])  # This machine has a library of its own.
    watch.in_time()


def test_an_order_that_changes_delays_no_tick_and_mixes_nothing_up(
    gpu_node: Node, watch: Watch
) -> None:
    gpu_node.says({"1.power": 100_000, "1.energy": 50_000_000})
    watch.tick()
    gpu_node.says({"order": "1 0", "1.energy": 50_070_000})
    after = watch.tick()

    by_uuid = {view.gpu.uuid: view for view in after.gpus}
    assert [view.gpu.uuid for view in after.gpus] == ["GPU-1", "GPU-0"]
    assert by_uuid["GPU-1"].gpu.power_watts == 100.0
    watch.in_time()


def test_sixteen_slow_gpus_delay_no_tick(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    """With the durations that were measured on boards: lists 4.5 ms, bytes 0.4 ms, memory 12 us."""
    gpu_node.has(gpus=16)
    delays = {
        "nvmlDeviceGetComputeRunningProcesses_v3": 4500,
        "nvmlDeviceGetFieldValues": 400,
        "nvmlDeviceGetMemoryInfo_v2": 12,
    }
    gpu_node.says({"delay": [f"{name} {microseconds}" for name, microseconds in delays.items()]})
    limits = Limits(scrape_timeout_seconds=3.0)
    options: dict[str, Any] = {"gpus": gpu_source(), "gpu_wait_ratio": GPU_WAIT_RATIO}
    watch = Watch(
        agent(settings(interval_seconds=INTERVAL_SECONDS, limits=limits), **options), gpu_clock
    )
    watch.until_well(gpus=16)
    after = [watch.tick() for _ in range(3)][-1]
    watch.ticking.close()

    assert failures(after) == [None] * 16
    watch.in_time()
