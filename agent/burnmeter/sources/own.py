"""What the agent itself costs: processor time and memory of it and of its children."""

import time
from collections.abc import Collection
from typing import NamedTuple

import psutil

LOOK_EVERY_SECONDS = 30.0
"""Children are found by a walk over all processes, so not at every tick."""


class OwnCost(NamedTuple):
    """Since the start, and now."""

    cpu_seconds: float
    memory_bytes: float


class OwnCostSource:
    """Sums this process and its children, without `apart` (a simulated node is not the agent)."""

    def __init__(self, apart: Collection[int] = ()) -> None:
        self._apart = frozenset(apart)
        self._self = psutil.Process()
        self._children: list[psutil.Process] = []
        self._looked_seconds = float("-inf")
        self._dead_cpu_seconds = 0.0
        self._cpu_seconds: dict[int, float] = {}

    def read(self) -> OwnCost:
        """A child that has ended keeps counting with what it had used when last seen."""
        if time.monotonic() - self._looked_seconds > LOOK_EVERY_SECONDS:
            self._children = [c for c in self._self.children() if c.pid not in self._apart]
            self._looked_seconds = time.monotonic()
        memory_bytes = 0.0
        alive: dict[int, float] = {}
        for process in [self._self, *self._children]:
            try:
                times = process.cpu_times()
                alive[process.pid] = times.user + times.system
                memory_bytes += process.memory_info().rss
            except psutil.Error:
                continue
        ended = self._cpu_seconds.keys() - alive.keys()
        self._dead_cpu_seconds += sum(self._cpu_seconds[pid] for pid in ended)
        self._cpu_seconds = alive
        return OwnCost(self._dead_cpu_seconds + sum(alive.values()), memory_bytes)
