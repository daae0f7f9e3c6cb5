"""The MIG instances of a GPU: how it is divided now, and the memory of each part.

An instance here is what NVML calls a MIG device: a compute instance within a GPU instance, with a
uuid of its own. Power, utilisation and temperature are the whole board's; what an instance does,
only gpm.py can tell. Surprising: handles are looked up each time, since a division may change.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import pynvml as nv

from burnmeter.sources.nvml.answers import NOT_THERE, START_ANEW, Answer, Handle
from burnmeter.sources.nvml.processes import Ids
from burnmeter.sources.nvml.questions import memory

NO_INSTANCE: Final = NOT_THERE | {nv.NVML_ERROR_NOT_FOUND, nv.NVML_ERROR_INVALID_ARGUMENT}
"""Answers that say that there is none; any other error says nothing of the division."""


class Instance(NamedTuple):
    """One instance, and what leaves of it."""

    ids: Ids
    row: dict[str, Any]


class Mig:
    """One GPU's instances."""

    word = "mig"
    every_seconds = 0.0
    titles = ("instances",)

    def __init__(self) -> None:
        self.uuids: dict[Ids, str] = {}
        self._known: dict[int, Instance] = {}
        """By NVML's index; of one that cannot tell for a moment, as it was."""
        self.is_on: bool | None = None
        """None: not known yet."""

    def ask(self, handle: Handle, _lacks: Collection[str]) -> Answer:
        """None as `instances` where it is off; each as uuid, name, share of the slices, memory."""
        answer = Answer()
        is_on = nv.nvmlDeviceGetMigMode(handle)[0] == nv.NVML_DEVICE_MIG_ENABLE
        slices = nv.nvmlDeviceGetMaxMigDeviceCount(handle) if is_on else 0
        found = [self._instance(handle, index, slices) for index in range(slices)]
        self.is_on = is_on
        self._known = {index: one for index, one in enumerate(found) if one is not None}
        self.uuids = {one.ids: one.row["uuid"] for one in self._known.values()}
        answer.fields["instances"] = [one.row for one in self._known.values()] if is_on else None
        return answer

    def _instance(self, gpu: Handle, index: int, slices: int) -> Instance | None:
        """None where there is no instance of that index, or it is being taken away."""
        try:
            mig = nv.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index)
            uuid = nv.nvmlDeviceGetUUID(mig)
            ids = nv.nvmlDeviceGetGpuInstanceId(mig), nv.nvmlDeviceGetComputeInstanceId(mig)
            own = nv.nvmlDeviceGetAttributes_v2(mig).computeInstanceSliceCount
            used, total = memory(mig)
            name = nv.nvmlDeviceGetName(mig)
        except nv.NVMLError as error:
            if error.value in START_ANEW:
                raise
            return None if error.value in NO_INSTANCE else self._known.get(index)
        row = {
            "uuid": uuid,
            "name": name,
            "compute_ratio": own / slices,
            "memory_used_bytes": float(used),
            "memory_total_bytes": float(total),
        }
        return Instance(ids, row)
