"""The process that talks to NVIDIA's library, so that the agent need not: one line in, one out.

It is no source by itself (`source.py` starts, bounds and kills it) and decides nothing: it asks
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
import time
from collections.abc import Collection
from typing import Any, Final, TextIO

import pynvml as nv

from burnmeter.sources.nvml.answers import NO_ANSWER, START_ANEW, Handle
from burnmeter.sources.nvml.board import Board, Meter
from burnmeter.sources.nvml.words import NO_HANDLE, failure, gpu_failure

EVENTS_AT_ONCE: Final = 64
LISTED_SECONDS: Final = 30.0
"""So long the driver's list of GPUs is believed when there is no time to ask for it anew."""


class Reader:
    """An initialised NVML and what this process has learnt about its GPUs."""

    def __init__(
        self, *, sample_seconds: float, time_ratio: float, skipped: Collection[str]
    ) -> None:
        at("init")
        nv.nvmlInit()
        self.meter = Meter(time_ratio, time.monotonic, at, sample_seconds, skipped)
        self._boards: dict[str, Board] = {}
        self._handles: list[tuple[dict[str, Any], Handle | None]] = []
        self._listed_seconds = -LISTED_SECONDS
        self._without_events: set[str] = set()
        self._uuid_by_address: dict[int | None, str] = {}
        self._xids: list[tuple[str, int, float]] = []
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

    def sample(self) -> None:
        """One fast sample of every GPU, if there is time for it; and the XIDs up to now."""
        if self._handles and self.meter.may_sample():
            for row, handle in self._handles:
                if handle is not None:
                    self._boards[row["uuid"]].sample(handle)
        self._drain()

    def read(self, *, with_processes: bool) -> dict[str, Any]:
        """All GPUs, by the driver's order of this moment, and what asking them has cost."""
        self._list()
        rows = []
        for known, handle in self._handles:
            row = dict(known)
            if handle is not None:
                board = self._boards[row["uuid"]]
                board.sample(handle)
                board.fill(row, handle, with_processes=with_processes)
                if row["uuid"] in self._without_events and row["failure"] is None:
                    row["unsupported"] = sorted([*row["unsupported"], "xid_counts"])
            rows.append(row)
        self._drain()
        xids, self._xids = self._xids, []
        seconds, self.meter.seconds = self.meter.seconds, {}
        put_off, self.meter.put_off = self.meter.put_off, 0
        return {"gpus": rows, "xids": xids, "nvml_seconds": seconds, "nvml_put_off": put_off}

    def _list(self) -> None:
        """The GPUs that the driver lists. One handle took 6 ms on one machine, 1 us on others."""
        began = time.monotonic()
        is_young = began - self._listed_seconds < LISTED_SECONDS
        if self._handles and is_young and not self.meter.is_left():
            return
        self._handles = [self._handle(index) for index in range(nv.nvmlDeviceGetCount())]
        self._listed_seconds = began
        self.meter.charge("handles", time.monotonic() - began)

    def _handle(self, index: int) -> tuple[dict[str, Any], Handle | None]:
        """What is known of a GPU, and its handle; none if it does not say who it is."""
        row: dict[str, Any] = {"index": index, "uuid": None, "name": None, "failure": None}
        place = f"gpu {index} handle"
        if place in self.meter.skipped:
            row["failure"] = "driver", NO_HANDLE
            return row, None
        at(place)
        try:
            handle = nv.nvmlDeviceGetHandleByIndex(index)
            row["uuid"] = nv.nvmlDeviceGetUUID(handle)
            if row["uuid"] not in self._boards:
                self._boards[row["uuid"]] = self._meet(handle, row["uuid"])
            self._boards[row["uuid"]].index = index
            row["name"] = self._boards[row["uuid"]].name
        except nv.NVMLError as error:
            if error.value in START_ANEW:
                raise
            row["failure"] = gpu_failure(error)
            return row, None
        return row, handle

    def _meet(self, handle: Handle, uuid: str) -> Board:
        """First sight of a GPU: what it is, and its XID events from now on."""
        name = nv.nvmlDeviceGetName(handle)
        try:
            architecture = nv.nvmlDeviceGetArchitecture(handle)
        except nv.NVMLError:
            architecture = nv.NVML_DEVICE_ARCH_UNKNOWN
        self._uuid_by_address[ctypes.cast(handle, ctypes.c_void_p).value] = uuid
        try:
            wanted = nv.nvmlDeviceGetSupportedEventTypes(handle) & nv.nvmlEventTypeXidCriticalError
            if wanted == 0 or self._events is None:
                raise nv.NVMLError(nv.NVML_ERROR_NOT_SUPPORTED)
            nv.nvmlDeviceRegisterEvents(handle, wanted, self._events)
        except nv.NVMLError as error:
            if error.value in START_ANEW | NO_ANSWER:
                raise
            self._without_events.add(uuid)
        return Board(uuid, name, architecture, self.meter)

    def _drain(self) -> None:
        """XID events since the last look, with the time of this one. Never waits."""
        at("events")
        while self._events is not None and len(self._xids) < EVENTS_AT_ONCE:
            try:
                event = nv.nvmlEventSetWait_v2(self._events, 0)
            except nv.NVMLError:  # Nothing waits; or a GPU is lost, which its own row says.
                break
            uuid = self._uuid_by_address.get(ctypes.cast(event.device, ctypes.c_void_p).value)
            if uuid is not None and event.eventType == nv.nvmlEventTypeXidCriticalError:
                self._xids.append((uuid, int(event.eventData), time.time()))


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


def serve(reader: Reader, sample_seconds: float, answers: TextIO) -> None:
    """Answer each line, and sample in between, until there are no more lines."""
    poll, lines = select.poll(), b""
    poll.register(0, select.POLLIN)
    due_seconds = time.monotonic()
    while True:
        left_seconds = max(0.0, due_seconds - time.monotonic())
        if poll.poll(left_seconds * 1000):
            chunk = os.read(0, 1 << 12)
            if not chunk:
                return
            *requests, lines = (lines + chunk).split(b"\n")
            for request in requests:
                reply = reader.read(with_processes=json.loads(request)["with_processes"])
                at("nvml idle")
                answers.write(json.dumps(reply) + "\n")
        else:
            reader.sample()
            at("nvml idle")
            # Not one after the other to catch up: what was missed is over.
            due_seconds = max(due_seconds + sample_seconds, time.monotonic())


def main() -> None:
    """Greet with the driver's version, then answer each request until one cannot be answered.

    Arguments: seconds between two fast samples, the share of time the driver may be asked, and
    what is not to be asked, as `at` says it.
    """
    sample_seconds, time_ratio = map(float, sys.argv[1:3])
    skipped = frozenset(sys.argv[3:])
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="ascii")
    os.dup2(2, 1)  # Whatever a library prints goes to stderr, not between our lines.
    threading.Thread(target=leave_with_parent, daemon=True).start()
    try:
        reader = Reader(sample_seconds=sample_seconds, time_ratio=time_ratio, skipped=skipped)
        answers.write(json.dumps({"driver_version": reader.driver_version()}) + "\n")
        serve(reader, sample_seconds, answers)
    except nv.NVMLError as error:
        answers.write(json.dumps({"failure": failure(error)}) + "\n")


if __name__ == "__main__":
    main()
