"""Simulated GPUs: what NVML would say of boards that do what the engines on them do. Pure.

No thermal or electrical model: figures of the size that H100s show, moved by how much of the last
tick an engine computed and how much of that was prompts. Energy is the exact integral of the power
that is reported, so that money and energy add up in tests.
"""

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple
from uuid import UUID

from burnmeter.model import Failure, Figure, Gpu, GpuProcess

NAME: Final = "NVIDIA H100 80GB HBM3"
DRIVER_VERSION: Final = "580.95.05"
MEMORY_BYTES: Final = 85_520_809_984.0
MEMORY_BANDWIDTH_BYTES_PER_SECOND: Final = 5120 / 8 * 2.619e9 * 2
POWER_LIMIT_WATTS: Final = 700.0
SM_CLOCK_HERTZ: Final = 1.98e9
IDLE_CLOCK_HERTZ: Final = 3.45e8
MEMORY_CLOCK_HERTZ: Final = 2.619e9
SLOWDOWN_CELSIUS, SHUTDOWN_CELSIUS = 87.0, 92.0

IDLE_WATTS: Final = 70.0
LOADED_WATTS: Final = 118.0
"""A context holds the clocks up although nothing runs."""
DECODE_WATTS: Final = 230.0
PREFILL_WATTS: Final = 310.0
"""Added to LOADED_WATTS when it does nothing else; prompts heat the tensor cores, tokens do not."""
SAMPLES_KEPT: Final = 8
"""Ticks that one answer looks back over, for means and extremes."""
REMAPPED_XID: Final = 63
"""A row of memory was remapped; the board remembers it."""


class Work(NamedTuple):
    """What a GPU did in one tick."""

    busy_ratio: float = 0.0
    prefill_ratio: float = 0.0
    slowdown_ratio: float = 1.0
    """Clocks are held down by this: the story's incident is a power brake."""
    memory_ratio: float = 0.0
    peers: int = 0
    """Other GPUs that share its work, over NVLink."""


class Sample(NamedTuple):
    """One tick, as the driver samples it."""

    watts: float
    work: Work


@dataclass(slots=True, kw_only=True)
class Board:
    """One GPU and all it remembers."""

    index: int
    uuid: str
    random: Random
    energy_joules: float
    sampled_joules: float = 0.0
    power_watts: float = IDLE_WATTS
    temperature_celsius: float = 32.0
    work: Work = field(default_factory=Work)
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES_KEPT))
    is_lost: bool = False
    meters: dict[tuple[str, str, str], float] = field(default_factory=dict)
    """(measure, label, its value) -> what it has come to."""
    xid_counts: dict[int, int] = field(default_factory=dict)
    xid_timestamps_seconds: dict[int, float] = field(default_factory=dict)

    def advance(self, seconds: float, work: Work) -> None:
        """One tick of doing `work`."""
        self.work = work
        watts = LOADED_WATTS if work.memory_ratio else IDLE_WATTS
        active = work.busy_ratio * DECODE_WATTS + work.prefill_ratio * PREFILL_WATTS
        watts += active / work.slowdown_ratio
        noise = self.random.gauss(1.0, 0.01)
        self.power_watts = round(min(watts * noise, POWER_LIMIT_WATTS), 3)
        self.energy_joules += self.power_watts * seconds
        self.sampled_joules += self.power_watts * seconds
        self.samples.append(Sample(self.power_watts, work))
        # About 20 s to settle; 0.065 K/W brings a busy board near 60 degrees.
        goal = 28.0 + 0.065 * self.power_watts
        self.temperature_celsius += (goal - self.temperature_celsius) * min(1.0, seconds / 20.0)
        self._count(seconds, work)

    def _count(self, seconds: float, work: Work) -> None:
        braked = seconds if work.slowdown_ratio > 1.0 else 0.0
        capped = seconds if self.power_watts >= POWER_LIMIT_WATTS else 0.0
        host = seconds * (2e6 + 6e7 * work.busy_ratio)
        linked = seconds * work.peers * work.busy_ratio * 4e9
        for measure, label, value, more in (
            ("gpu_utilised_seconds_total", "", "", work.busy_ratio * seconds),
            ("gpu_throttle_seconds_total", "reason", "power_brake", braked),
            ("gpu_throttle_seconds_total", "reason", "power_cap", capped),
            ("gpu_pcie_bytes_total", "direction", "received", host),
            ("gpu_pcie_bytes_total", "direction", "sent", host / 3),
            ("gpu_nvlink_bytes_total", "direction", "received", linked),
            ("gpu_nvlink_bytes_total", "direction", "sent", linked),
            ("gpu_ecc_errors_total", "error", "corrected", 0.0),
            ("gpu_ecc_errors_total", "error", "uncorrected", 0.0),
        ):
            key = measure, label, value
            self.meters[key] = self.meters.get(key, 0.0) + more

    def report_xid(self, code: int, timestamp_seconds: float) -> None:
        """The driver logs one XID error."""
        self.xid_counts[code] = self.xid_counts.get(code, 0) + 1
        self.xid_timestamps_seconds[code] = timestamp_seconds

    def read(self, holders: tuple[int, ...]) -> Gpu:
        """As NVML would tell it; `holders` are the processes on it."""
        if self.is_lost:
            return Gpu(
                index=self.index,
                uuid=self.uuid,
                name=NAME,
                failure=Failure("gone", "GPU is lost: it has fallen off the bus"),
                xid_counts=dict(self.xid_counts),
                xid_timestamps_seconds=dict(self.xid_timestamps_seconds),
            )
        used = self.work.memory_ratio * MEMORY_BYTES
        watts = [sample.watts for sample in self.samples] or [self.power_watts]
        busy = [sample.work.busy_ratio for sample in self.samples] or [0.0]
        computing = sum(busy) / len(busy)
        return Gpu(
            index=self.index,
            uuid=self.uuid,
            name=NAME,
            utilisation_ratio=round(sum(busy) / len(busy), 2),
            utilisation_min_ratio=round(min(busy), 2),
            utilisation_max_ratio=round(max(busy), 2),
            memory_used_bytes=used + 4 * 1024.0**2,
            memory_total_bytes=MEMORY_BYTES,
            memory_bandwidth_bytes_per_second=MEMORY_BANDWIDTH_BYTES_PER_SECOND,
            power_watts=round(sum(watts) / len(watts), 3),
            power_min_watts=min(watts),
            power_max_watts=max(watts),
            power_window_seconds=0.0,
            power_limit_watts=POWER_LIMIT_WATTS,
            power_joules=self.sampled_joules,
            energy_joules=self.energy_joules,
            temperature_celsius=float(round(self.temperature_celsius)),
            sm_clock_hertz=self._clock_hertz(bool(holders)),
            memory_clock_hertz=MEMORY_CLOCK_HERTZ,
            processes=tuple(
                GpuProcess(pid=pid, memory_bytes=used, sm_ratio=computing) for pid in holders
            ),
            recovery_action="none",
            gauges=tuple(self._gauges()),
            meters=tuple(
                Figure(measure, ((label, value),) if label else (), total)
                for (measure, label, value), total in self.meters.items()
            ),
            xid_counts=dict(self.xid_counts),
            xid_timestamps_seconds=dict(self.xid_timestamps_seconds),
        )

    def _gauges(self) -> list[Figure]:
        """Clocks and limits, what is worn, and on Hopper what the SMs and the memory did (GPM)."""
        seen = [sample.work for sample in self.samples] or [self.work]
        busy = sum(work.busy_ratio for work in seen) / len(seen)
        prefill = sum(work.prefill_ratio for work in seen) / len(seen)
        remapped = float(self.xid_counts.get(REMAPPED_XID, 0))
        mig = (("mig", ""),)
        return [
            Figure("gpu_memory_temperature_celsius", (), round(self.temperature_celsius) + 9.0),
            Figure("gpu_temperature_limit_celsius", (("limit", "slowdown"),), SLOWDOWN_CELSIUS),
            Figure("gpu_temperature_limit_celsius", (("limit", "shutdown"),), SHUTDOWN_CELSIUS),
            Figure("gpu_sm_clock_max_hertz", (), SM_CLOCK_HERTZ),
            Figure("gpu_memory_clock_max_hertz", (), MEMORY_CLOCK_HERTZ),
            Figure("gpu_ecc_lifetime_errors", (("error", "corrected"),), remapped),
            Figure("gpu_ecc_lifetime_errors", (("error", "uncorrected"),), 0.0),
            Figure("gpu_remapped_rows", (("error", "corrected"),), remapped),
            Figure("gpu_remapped_rows", (("error", "uncorrected"),), 0.0),
            Figure("gpu_row_remap_pending", (), float(remapped > 0)),
            Figure("gpu_row_remap_failed", (), 0.0),
            Figure("gpu_sm_active_ratio", mig, round(0.9 * busy, 3)),
            Figure("gpu_sm_occupancy_ratio", mig, round(0.25 * busy, 3)),
            Figure("gpu_tensor_active_ratio", mig, round(0.05 * busy + 0.45 * prefill, 3)),
            Figure("gpu_dram_active_ratio", mig, round(0.62 * busy - 0.3 * prefill, 3)),
        ]

    def _clock_hertz(self, is_awake: bool) -> float:
        held_down = SM_CLOCK_HERTZ / self.work.slowdown_ratio
        return max(IDLE_CLOCK_HERTZ, held_down) if is_awake else IDLE_CLOCK_HERTZ


def boards(count: int, seed: int) -> tuple[Board, ...]:
    """`count` GPUs whose uuids depend on `seed` alone."""
    made = []
    for index in range(count):
        random = Random(f"{seed}/gpu/{index}")
        uuid = UUID(int=random.getrandbits(128), version=4)
        # A driver that has been loaded for some days.
        joules = round(random.uniform(2e7, 6e7), 3)
        made.append(Board(index=index, uuid=f"GPU-{uuid}", random=random, energy_joules=joules))
    return tuple(made)
