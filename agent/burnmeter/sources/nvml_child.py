"""The process that talks to NVIDIA's library, so that the agent need not: one line in, one out.

It is no source by itself (`nvml.py` starts it, bounds it and kills it) and decides nothing: it asks
what it is told, turns foreign units into base units, and forgets everything when it ends.
Surprising: it ends whenever NVML would have to be initialised anew. A driver upgrade replaces
libnvidia-ml.so.1 under us, and only a new process loads the new file; the old one answers
LIB_RM_VERSION_MISMATCH for ever. It imports little, because its memory is the agent's bill.
"""

import ctypes
import json
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

import pynvml as nv

from burnmeter.units import to_base

NOT_THERE: Final = {
    nv.NVML_ERROR_NOT_SUPPORTED,
    nv.NVML_ERROR_FUNCTION_NOT_FOUND,  # pynvml: the driver's library is older than the function
    nv.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    nv.NVML_ERROR_DEPRECATED,
}
"""Answers that stay the same until the driver changes: the field is not asked for again."""

START_ANEW: Final = {
    nv.NVML_ERROR_UNINITIALIZED,
    nv.NVML_ERROR_DRIVER_NOT_LOADED,
    nv.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
}
"""Answers after which nothing in this process can be believed."""

NO_ANSWER: Final = {nv.NVML_ERROR_GPU_IS_LOST, nv.NVML_ERROR_RESET_REQUIRED}
"""Answers after which asking this GPU more only costs time."""

NOT_AVAILABLE: Final = {2**32 - 1, 2**64 - 1}
"""NVML_VALUE_NOT_AVAILABLE: all ones, in either width."""

EVENTS_AT_ONCE: Final = 64

Handle = Any  # pynvml has no types.


def usage(gpu: Handle) -> int:
    """Percent of the driver's last sample period in which some kernel ran."""
    return int(nv.nvmlDeviceGetUtilizationRates(gpu).gpu)


def memory(gpu: Handle) -> tuple[int, int]:
    """Bytes used and in all.

    Version 2 keeps the driver's own reserve out of `used` as nvidia-smi does; drivers before 510
    have only version 1, which counts it in.
    """
    try:
        answer = nv.nvmlDeviceGetMemoryInfo(gpu, nv.nvmlMemory_v2)
    except nv.NVMLError as error:
        if error.value not in NOT_THERE:
            raise
        answer = nv.nvmlDeviceGetMemoryInfo(gpu)
    return answer.used, answer.total


def heat(gpu: Handle) -> int:
    """Celsius of the GPU's core."""
    return int(nv.nvmlDeviceGetTemperature(gpu, nv.NVML_TEMPERATURE_GPU))


def sm_clock(gpu: Handle) -> int:
    """Megahertz now."""
    return int(nv.nvmlDeviceGetClockInfo(gpu, nv.NVML_CLOCK_SM))


def memory_clock(gpu: Handle) -> int:
    """Megahertz now."""
    return int(nv.nvmlDeviceGetClockInfo(gpu, nv.NVML_CLOCK_MEM))


QUESTIONS: Final[tuple[tuple[str, str, Callable[[Handle], Any], tuple[str, ...]], ...]] = (
    ("usage", "percent", usage, ("utilisation_ratio",)),
    ("memory", "bytes", memory, ("memory_used_bytes", "memory_total_bytes")),
    ("power", "milliwatts", nv.nvmlDeviceGetPowerUsage, ("power_watts",)),
    # The enforced limit is the lowest of what the board, an admin and the chassis allow.
    ("limit", "milliwatts", nv.nvmlDeviceGetEnforcedPowerLimit, ("power_limit_watts",)),
    ("energy", "millijoules", nv.nvmlDeviceGetTotalEnergyConsumption, ("energy_joules",)),
    ("heat", "celsius", heat, ("temperature_celsius",)),
    ("sm clock", "megahertz", sm_clock, ("sm_clock_hertz",)),
    ("memclock", "megahertz", memory_clock, ("memory_clock_hertz",)),
)
"""What is asked of each GPU: a word of 8 letters for `ps`, NVML's unit, the question, our fields.

nvmlDeviceGetPcieThroughput is not here and must not come: it blocks 20 ms a call and direction.
"""


def base(answer: Any, unit: str) -> tuple[Any, ...]:
    """An answer, or a tuple of them, in base units. A list of processes is so already."""
    if isinstance(answer, list):
        return (answer,)
    values = answer if isinstance(answer, tuple) else (answer,)
    return tuple(None if value in NOT_AVAILABLE else to_base(value, unit) for value in values)


def running(handle: Handle, kind: str) -> dict[int, float | None]:
    """Pid -> bytes, of `kind` Compute or Graphics. Under MIG a pid comes once per instance."""
    try:
        found = getattr(nv, f"nvmlDeviceGet{kind}RunningProcesses_v3")(handle)
    except nv.NVMLError as error:
        if error.value != nv.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        found = getattr(nv, f"nvmlDeviceGet{kind}RunningProcesses_v2")(handle)
    bytes_by_pid: dict[int, float | None] = {}
    for process in found:
        used = process.usedGpuMemory  # None: pynvml saw NVML_VALUE_NOT_AVAILABLE.
        before = bytes_by_pid.get(process.pid, 0.0)
        bytes_by_pid[process.pid] = None if used is None or before is None else before + used
    return bytes_by_pid


def processes(handle: Handle) -> list[tuple[int, float | None]]:
    """Processes that hold memory. A Vulkan engine is in the graphics list, some are in both."""
    merged = running(handle, "Compute")
    try:
        graphics = running(handle, "Graphics")
    except nv.NVMLError as error:
        if error.value not in NOT_THERE:
            raise
        graphics = {}
    for pid, used in graphics.items():
        merged[pid] = used if merged.get(pid) is None else merged[pid]
    return sorted(merged.items())


PROCESSES: Final = (("procs", "bytes", processes, ("processes",)),)
"""Asked rarely: a listing took 4.5 ms where usage took 2.5 us (MangoHud#2104, RTX 4090)."""


def gpu_failure(error: nv.NVMLError) -> tuple[str, str]:
    """Kind and text for one GPU that does not answer while the driver does."""
    if error.value == nv.NVML_ERROR_GPU_IS_LOST:
        return "gone", (
            "this GPU fell off the bus or cannot be reached (NVML: GPU is lost): see "
            "`dmesg | grep -i xid`, drain the node, then reset the GPU or reboot"
        )
    if error.value == nv.NVML_ERROR_RESET_REQUIRED:
        return "driver", (
            "this GPU needs a reset before it can be used again (NVML: GPU requires restart): "
            "drain the node, then `nvidia-smi --gpu-reset` or reboot"
        )
    return "driver", (
        f"this GPU answers nothing but errors (NVML: {error}): see `dmesg | grep -i -e nvrm -e "
        "xid`, and drain the node if its engine fails too"
    )


def failure(error: nv.NVMLError) -> tuple[str, str]:
    """Kind and text for the whole node."""
    code = error.value
    if code == nv.NVML_ERROR_LIBRARY_NOT_FOUND:
        return "no_library", (
            f"the NVML reader cannot load libnvidia-ml.so.1 ({load_problem()}): install the NVIDIA "
            "driver; in a container use the nvidia runtime with the driver capability `utility`"
        )
    if code == nv.NVML_ERROR_NO_PERMISSION:
        return "no_permission", (
            "the NVML reader may not talk to the driver (NVML: insufficient permissions): it needs "
            "read and write on /dev/nvidiactl and /dev/nvidia*; see `ls -l /dev/nvidia*`"
        )
    if code == nv.NVML_ERROR_DRIVER_NOT_LOADED:
        return "driver", (
            "the NVML reader found no loaded NVIDIA driver: `modprobe nvidia` and look at `dmesg`; "
            "in a container the devices /dev/nvidia* may be missing"
        )
    if code == nv.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return "driver", (
            "the NVML reader's library and the loaded kernel module are of different versions, as "
            "after a driver upgrade: reload the module or reboot; restart containers that mount it"
        )
    return "driver", f"the NVML reader was refused by the driver: {error}; see if nvidia-smi works"


def load_problem() -> str:
    """The loader's own words, which pynvml drops: missing, or there but of another architecture."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        return str(error)
    return "it could not be loaded a moment ago"


class Reader:
    """An initialised NVML and what this process has learnt about its GPUs."""

    def __init__(self) -> None:
        at("init")
        nv.nvmlInit()
        self._name_by_uuid: dict[str, str] = {}
        self._unsupported_by_uuid: dict[str, set[str]] = {}
        self._uuid_by_address: dict[int | None, str] = {}
        try:
            self._events = nv.nvmlEventSetCreate()
        except nv.NVMLError:
            self._events = None

    def driver_version(self) -> str | None:
        """As nvidia-smi prints it."""
        try:
            return str(nv.nvmlSystemGetDriverVersion())
        except nv.NVMLError:
            return None

    def read(self, *, with_processes: bool) -> dict[str, Any]:
        """All GPUs, by the driver's order of this moment."""
        gpus = [self._gpu(i, with_processes) for i in range(nv.nvmlDeviceGetCount())]
        return {"gpus": gpus, "xids": self._drain()}

    def _gpu(self, index: int, with_processes: bool) -> dict[str, Any]:
        # Handles are looked up each time: it costs microseconds and an order that changed is seen.
        row: dict[str, Any] = {"index": index, "uuid": None, "name": None, "failure": None}
        at(f"gpu {index} handle")
        try:
            handle = nv.nvmlDeviceGetHandleByIndex(index)
            row["uuid"] = nv.nvmlDeviceGetUUID(handle)
            if row["uuid"] not in self._unsupported_by_uuid:
                self._meet(handle, row["uuid"])
            row["name"] = self._name_by_uuid[row["uuid"]]
        except nv.NVMLError as error:
            if error.value in START_ANEW:
                raise
            row["failure"] = gpu_failure(error)
        else:
            self._ask(index, handle, row, with_processes)
        return row

    def _meet(self, handle: Handle, uuid: str) -> None:
        """First sight of a GPU: its name, and its XID events from now on."""
        self._name_by_uuid[uuid] = nv.nvmlDeviceGetName(handle)
        self._uuid_by_address[ctypes.cast(handle, ctypes.c_void_p).value] = uuid
        unsupported = set()
        try:
            wanted = nv.nvmlDeviceGetSupportedEventTypes(handle) & nv.nvmlEventTypeXidCriticalError
            if wanted == 0 or self._events is None:
                raise nv.NVMLError(nv.NVML_ERROR_NOT_SUPPORTED)
            nv.nvmlDeviceRegisterEvents(handle, wanted, self._events)
        except nv.NVMLError as error:
            if error.value in START_ANEW | NO_ANSWER:
                raise
            unsupported.add("xid_counts")
        self._unsupported_by_uuid[uuid] = unsupported

    def _ask(self, index: int, handle: Handle, row: dict[str, Any], with_processes: bool) -> None:
        """Fill `row`. An error leaves its fields out; errors alone are the GPU's failure."""
        unsupported = self._unsupported_by_uuid[row["uuid"]]
        errors: list[nv.NVMLError] = []
        has_answer = False
        for word, unit, question, fields in (*QUESTIONS, *PROCESSES[: int(with_processes)]):
            if fields[0] in unsupported:
                continue
            at(f"gpu {index} {word}")
            try:
                row.update(zip(fields, base(question(handle), unit), strict=True))
                has_answer = True
            except nv.NVMLError as error:
                if error.value in START_ANEW:
                    raise
                if error.value in NOT_THERE:
                    unsupported.update(fields)
                    continue
                row.update(dict.fromkeys(fields))
                errors.append(error)
                if error.value in NO_ANSWER:
                    break
        if errors and (errors[-1].value in NO_ANSWER or not has_answer):
            row["failure"] = gpu_failure(errors[-1])
        row["unsupported"] = sorted(unsupported)

    def _drain(self) -> list[tuple[str, int]]:
        """XID events since the last request, as (uuid, code). Never waits."""
        at("events")
        seen: list[tuple[str, int]] = []
        while self._events is not None and len(seen) < EVENTS_AT_ONCE:
            try:
                event = nv.nvmlEventSetWait_v2(self._events, 0)
            except nv.NVMLError:  # Nothing waits; or a GPU is lost, which its own row says.
                break
            uuid = self._uuid_by_address.get(ctypes.cast(event.device, ctypes.c_void_p).value)
            if uuid is not None and event.eventType == nv.nvmlEventTypeXidCriticalError:
                seen.append((uuid, int(event.eventData)))
        return seen


def at(place: str) -> None:
    """Say in the process's name (15 bytes, `ps` shows it) what is asked now, for whoever kills us.

    A microsecond each; the parent reads it back before the kill, to name the call that hung.
    """
    if COMM is not None:
        os.write(COMM, place.encode()[:15])


def open_comm() -> int | None:
    """This process's own name as a file."""
    try:
        return os.open("/proc/self/comm", os.O_WRONLY)
    except OSError:
        return None


COMM: Final = open_comm()


def leave_with_parent() -> None:
    """End this process when the other end of stdin is gone, also while NVML hangs.

    PR_SET_PDEATHSIG would not do: it fires when the *thread* that started us ends (prctl(2)).
    """
    poll = select.poll()
    poll.register(0, 0)  # No events asked for: a hang-up is always told.
    poll.poll()
    os._exit(0)


def main() -> None:
    """Greet with the driver's version, then answer each request until one cannot be answered."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="ascii")
    os.dup2(2, 1)  # Whatever a library prints goes to stderr, not between our lines.
    threading.Thread(target=leave_with_parent, daemon=True).start()
    try:
        reader = Reader()
        answers.write(json.dumps({"driver_version": reader.driver_version()}) + "\n")
        for line in sys.stdin:
            reply = reader.read(with_processes=json.loads(line)["with_processes"])
            at("nvml idle")
            answers.write(json.dumps(reply) + "\n")
    except nv.NVMLError as error:
        answers.write(json.dumps({"failure": failure(error)}) + "\n")


if __name__ == "__main__":
    main()
