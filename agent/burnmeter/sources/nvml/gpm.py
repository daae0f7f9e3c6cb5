"""What a GPU really did, on Hopper and later: NVML's GPM, per MIG instance too.

Utilisation says that some kernel ran; this says how many SMs were busy, how full they were, how
much the tensor cores and the memory worked. Each number is the mean between two samples, so the
first reading has none. Surprising: two sample buffers per instance live as long as the instance,
since the driver's allocations are not for the agent to churn.
"""

import time
from collections.abc import Collection
from typing import Any, Final, NamedTuple

import pynvml as nv

from burnmeter.sources.nvml.answers import NOT_THERE, Answer, Handle, Place, gauge, grown
from burnmeter.sources.nvml.mig import Mig

LEAST_SECONDS: Final = 0.1
"""Samples closer than this give no metrics (nvml.h, nvmlGpmMetricsGet)."""

RATIOS: Final = {
    2: "gpu_sm_active_ratio",
    3: "gpu_sm_occupancy_ratio",
    5: "gpu_tensor_active_ratio",
    10: "gpu_dram_active_ratio",
}
"""NVML_GPM_METRIC_*: SM_UTIL, SM_OCCUPANCY, ANY_TENSOR_UTIL, DRAM_BW_UTIL; in percent."""
RATES: Final = {
    20: grown("gpu_pcie_bytes_total", direction="sent"),
    21: grown("gpu_pcie_bytes_total", direction="received"),
    61: grown("gpu_nvlink_bytes_total", direction="sent"),
    60: grown("gpu_nvlink_bytes_total", direction="received"),
}
"""NVML_GPM_METRIC_*_PER_SEC in MiB; what they come to, where the driver counts no bytes."""


class Moment(NamedTuple):
    """A sample and when it was taken."""

    sample: Any
    at_seconds: float


class Gpm:
    """The profile of one GPU, or of each of its instances."""

    word = "gpm"
    every_seconds = 0.0
    titles = tuple(RATIOS.values())

    def __init__(self, mig: Mig) -> None:
        self._mig = mig
        self._is_known = False
        self._last: dict[str, Moment] = {}
        self._spare: dict[str, Any] = {}
        self._metrics = nv.c_nvmlGpmMetricsGet_t()

    def ask(self, handle: Handle, lacks: Collection[str]) -> Answer:
        """Means since the last reading. Raises NVMLError where the board has no GPM."""
        if not self._is_known:
            if not nv.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
                raise nv.NVMLError(nv.NVML_ERROR_NOT_SUPPORTED)
            self._is_known = True
        answer = Answer()
        wanted = {uuid: ids[0] for ids, uuid in self._mig.uuids.items()}
        for uuid in self._last.keys() - (wanted.keys() if self._mig.is_on else {""}):
            self._free(uuid)
        for uuid, instance in wanted.items() if self._mig.is_on else (("", None),):
            try:
                self._measure(handle, uuid, instance, lacks, answer)
            except nv.NVMLError as error:
                self._free(uuid)
                if error.value not in NOT_THERE or not self._mig.is_on:
                    raise
        return answer

    def _measure(
        self,
        handle: Handle,
        uuid: str,
        instance: int | None,
        lacks: Collection[str],
        answer: Answer,
    ) -> None:
        sample = self._spare.pop(uuid, None) or nv.nvmlGpmSampleAlloc()
        self._spare[uuid] = sample
        if instance is None:
            nv.nvmlGpmSampleGet(handle, sample)
        else:
            nv.nvmlGpmMigSampleGet(handle, instance, sample)
        now, before = Moment(sample, time.monotonic()), self._last.get(uuid)
        if before is not None and now.at_seconds - before.at_seconds < LEAST_SECONDS:
            return
        self._last[uuid] = now
        del self._spare[uuid]
        if before is not None:
            self._spare[uuid] = before.sample
            places = _places(uuid, lacks, now.at_seconds - before.at_seconds)
            self._between(before, now, places, answer)

    def _between(
        self,
        before: Moment,
        now: Moment,
        places: dict[int, tuple[Place, float, str]],
        answer: Answer,
    ) -> None:
        asked = self._metrics
        asked.version = nv.NVML_GPM_METRICS_GET_VERSION
        asked.numMetrics = len(places)
        asked.sample1, asked.sample2 = before.sample, now.sample
        for slot, number in enumerate(places):
            asked.metrics[slot].metricId = number
        nv.nvmlGpmMetricsGet(asked)
        for slot, (place, factor, unit) in enumerate(places.values()):
            metric = asked.metrics[slot]
            if metric.nvmlReturn == nv.NVML_SUCCESS and metric.value == metric.value:
                answer.put(place, metric.value * factor, unit)

    def _free(self, uuid: str) -> None:
        """Give the buffers of an instance back."""
        last, spare = self._last.pop(uuid, None), self._spare.pop(uuid, None)
        for sample in (last.sample if last else None, spare):
            if sample is not None:
                nv.nvmlGpmSampleFree(sample)


def _places(
    uuid: str, lacks: Collection[str], seconds: float
) -> dict[int, tuple[Place, float, str]]:
    """Metric's number -> where it goes, what it is multiplied by first, and its unit then."""
    wanted = {n: (gauge(name, mig=uuid), 1.0, "percent") for n, name in RATIOS.items()}
    if uuid == "":
        wanted |= {
            number: (place, seconds, "mebibytes")
            for number, place in RATES.items()
            if place.title in lacks
        }
    return wanted
