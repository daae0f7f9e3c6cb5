"""Who holds memory on a GPU, and how much of its SMs each has used.

A listing took 4.5 ms where utilisation took 2.5 us (MangoHud#2104, RTX 4090), so it is asked for
only when the agent says so. How much each process computed is asked at every reading, but only
where several share the GPU. Surprising: the driver gives samples newer than a time stamp, its own,
and none is an error: so the newest is remembered, and no sample is counted twice.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import pynvml as nv

from burnmeter.sources.nvml.answers import NOT_THERE, Answer, Handle

Ids = tuple[int, int]
"""Of the GPU instance and of the compute instance."""
NO_INSTANCE: Final = 2**32 - 1, 2**32 - 1
"""Ids of a process that is on no MIG instance."""


class Holder(NamedTuple):
    """A process on a GPU."""

    pid: int
    ids: Ids | None


def running(handle: Handle, kind: str) -> dict[Holder, float | None]:
    """Holder -> bytes, of `kind` Compute or Graphics. Under MIG a pid comes once per instance."""
    try:
        found = getattr(nv, f"nvmlDeviceGet{kind}RunningProcesses_v3")(handle)
    except nv.NVMLError as error:
        if error.value != nv.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        found = getattr(nv, f"nvmlDeviceGet{kind}RunningProcesses_v2")(handle)
    held: dict[Holder, float | None] = {}
    for process in found:
        ids = process.gpuInstanceId, process.computeInstanceId
        holder = Holder(process.pid, None if ids == NO_INSTANCE else ids)
        used = process.usedGpuMemory  # None: pynvml saw NVML_VALUE_NOT_AVAILABLE.
        before = held.get(holder, 0.0)
        held[holder] = None if used is None or before is None else before + used
    return held


class Processes:
    """The list. A Vulkan engine is in the graphics list, some processes are in both."""

    word = "procs"
    every_seconds = 0.0
    titles = ("processes",)

    def __init__(self) -> None:
        self.uuids: dict[Ids, str] = {}
        """The MIG instances of now."""
        self.pids: frozenset[int] = frozenset()
        """Those of the last list."""

    def ask(self, handle: Handle, _lacks: Collection[str]) -> Answer:
        """Each as pid, bytes and the uuid of its instance."""
        merged = running(handle, "Compute")
        try:
            graphics = running(handle, "Graphics")
        except nv.NVMLError as error:
            if error.value not in NOT_THERE:
                raise
            graphics = {}
        for holder, used in graphics.items():
            merged[holder] = used if merged.get(holder) is None else merged[holder]
        rows = [
            [h.pid, used, self.uuids.get(h.ids) if h.ids else None] for h, used in merged.items()
        ]
        answer = Answer()
        answer.fields["processes"] = sorted(rows, key=lambda row: (row[0], row[2] or ""))
        self.pids = frozenset(holder.pid for holder in merged)
        return answer


class Sharing:
    """How much of the SMs' time each process had since the last reading."""

    word = "sharing"
    every_seconds = 0.0
    titles = ("sm_ratios",)

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._seen_microseconds = 0

    def ask(self, handle: Handle, _lacks: Collection[str]) -> Answer:
        """Pid -> the mean of its samples; nothing where the driver has no new one."""
        answer = Answer()
        if len(self._processes.pids) < 2:
            return answer
        try:
            samples = nv.nvmlDeviceGetProcessUtilization(handle, self._seen_microseconds)
        except nv.NVMLError as error:
            # pynvml raises SUCCESS where NVML has room for no sample at all.
            if error.value in (nv.NVML_ERROR_NOT_FOUND, nv.NVML_SUCCESS):
                return answer
            raise
        percents: dict[int, list[int]] = {}
        for sample in samples:
            if sample.timeStamp > self._seen_microseconds:
                percents.setdefault(sample.pid, []).append(sample.smUtil)
        newest = max((sample.timeStamp for sample in samples), default=0)
        self._seen_microseconds = max(self._seen_microseconds, newest)
        if percents:
            means: dict[int, Any] = {pid: sum(of) / len(of) for pid, of in percents.items()}
            answer.fields["sm_ratios"] = {
                str(pid): min(1.0, means.get(pid, 0.0) / 100) for pid in self._processes.pids
            }
        return answer
