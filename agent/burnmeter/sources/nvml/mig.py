"""The MIG instances of a GPU: how it is divided now, and the memory of each part.

An instance here is what NVML calls a MIG device: a compute instance within a GPU instance, with a
uuid of its own. Power, utilisation and temperature are the whole board's; what an instance does,
only gpm.py can tell. Surprising: handles are looked up each time, since a division may change.
"""

from collections.abc import Collection

import pynvml as nv

from burnmeter.sources.nvml.answers import START_ANEW, Answer, Handle
from burnmeter.sources.nvml.processes import Ids
from burnmeter.sources.nvml.questions import memory


class Mig:
    """One GPU's instances."""

    word = "mig"
    every_seconds = 0.0
    titles = ("instances",)

    def __init__(self) -> None:
        self.uuids: dict[Ids, str] = {}
        self.is_on: bool | None = None
        """None: not known yet."""

    def ask(self, handle: Handle, _lacks: Collection[str]) -> Answer:
        """None as `instances` where it is off; each as uuid, name, share of the slices, memory."""
        answer = Answer()
        self.is_on = nv.nvmlDeviceGetMigMode(handle)[0] == nv.NVML_DEVICE_MIG_ENABLE
        self.uuids = {}
        answer.fields["instances"] = None
        if self.is_on:
            slices = nv.nvmlDeviceGetMaxMigDeviceCount(handle)
            found = (self._instance(handle, index, slices) for index in range(slices))
            answer.fields["instances"] = [row for row in found if row is not None]
        return answer

    def _instance(self, gpu: Handle, index: int, slices: int) -> dict[str, object] | None:
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
            return None
        self.uuids[ids] = uuid
        return {
            "uuid": uuid,
            "name": name,
            "compute_ratio": own / slices,
            "memory_used_bytes": float(used),
            "memory_total_bytes": float(total),
        }
