"""Simulated GPUs: what NVML would say of boards that do what the engines on them do. Pure.

No thermal or electrical model: figures of the size that H100s show, moved by how much of the last
tick an engine computed and how much of that was prompts. Energy is the exact integral of the power
that is reported, so that money and energy add up in tests.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple
from uuid import UUID

from burnmeter.model import Failure, Gpu, GpuProcess

NAME: Final = "NVIDIA H100 80GB HBM3"
DRIVER_VERSION: Final = "580.95.05"
MEMORY_BYTES: Final = 85_520_809_984.0
POWER_LIMIT_WATTS: Final = 700.0
SM_CLOCK_HERTZ: Final = 1.98e9
IDLE_CLOCK_HERTZ: Final = 3.45e8
MEMORY_CLOCK_HERTZ: Final = 2.619e9

IDLE_WATTS: Final = 70.0
LOADED_WATTS: Final = 118.0
"""A context holds the clocks up although nothing runs."""
DECODE_WATTS: Final = 230.0
PREFILL_WATTS: Final = 310.0
"""Added to LOADED_WATTS when it does nothing else; prompts heat the tensor cores, tokens do not."""


class Work(NamedTuple):
    """What a GPU did in one tick."""

    busy_ratio: float = 0.0
    prefill_ratio: float = 0.0
    slowdown_ratio: float = 1.0
    """Clocks are held down by this: the story's incident is a power brake."""
    memory_ratio: float = 0.0


@dataclass(slots=True, kw_only=True)
class Board:
    """One GPU and all it remembers."""

    index: int
    uuid: str
    random: Random
    energy_joules: float
    power_watts: float = IDLE_WATTS
    temperature_celsius: float = 32.0
    work: Work = field(default_factory=Work)
    is_lost: bool = False
    xid_counts: dict[int, int] = field(default_factory=dict)

    def advance(self, seconds: float, work: Work) -> None:
        """One tick of doing `work`."""
        self.work = work
        watts = LOADED_WATTS if work.memory_ratio else IDLE_WATTS
        active = work.busy_ratio * DECODE_WATTS + work.prefill_ratio * PREFILL_WATTS
        watts += active / work.slowdown_ratio
        noise = self.random.gauss(1.0, 0.01)
        self.power_watts = round(min(watts * noise, POWER_LIMIT_WATTS), 3)
        self.energy_joules += self.power_watts * seconds
        # About 20 s to settle; 0.065 K/W brings a busy board near 60 degrees.
        goal = 28.0 + 0.065 * self.power_watts
        self.temperature_celsius += (goal - self.temperature_celsius) * min(1.0, seconds / 20.0)

    def report_xid(self, code: int) -> None:
        """The driver logs one XID error."""
        self.xid_counts[code] = self.xid_counts.get(code, 0) + 1

    def read(self, holders: tuple[int, ...]) -> Gpu:
        """As NVML would tell it; `holders` are the processes on it."""
        if self.is_lost:
            return Gpu(
                index=self.index,
                uuid=self.uuid,
                name=NAME,
                failure=Failure("gone", "GPU is lost: it has fallen off the bus"),
                xid_counts=dict(self.xid_counts),
            )
        used = self.work.memory_ratio * MEMORY_BYTES
        is_awake = bool(holders)
        return Gpu(
            index=self.index,
            uuid=self.uuid,
            name=NAME,
            utilisation_ratio=round(self.work.busy_ratio, 2),
            memory_used_bytes=used + 4 * 1024.0**2,
            memory_total_bytes=MEMORY_BYTES,
            power_watts=self.power_watts,
            power_limit_watts=POWER_LIMIT_WATTS,
            energy_joules=self.energy_joules,
            temperature_celsius=float(round(self.temperature_celsius)),
            sm_clock_hertz=self._clock_hertz(is_awake),
            memory_clock_hertz=MEMORY_CLOCK_HERTZ,
            processes=tuple(GpuProcess(pid=pid, memory_bytes=used) for pid in holders),
            xid_counts=dict(self.xid_counts),
        )

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
