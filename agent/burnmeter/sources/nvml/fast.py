"""What is asked ten times a second: utilisation, power, and what holds the clocks down.

A load that comes in bursts is missed by one look every five seconds; a tick gets the mean, the
least, the greatest and the integral of these samples. Surprising: power is asked for as the field
`instant` where the board has it. The plain call gives an average over a second on most boards since
Ampere (not on the A100), which would smooth away what the samples are for, and can take 3 ms.
"""

import math
from collections.abc import Collection
from typing import Final

import pynvml as nv

from burnmeter.sources.nvml.answers import (
    NO_ANSWER,
    NOT_AVAILABLE,
    NOT_THERE,
    START_ANEW,
    Answer,
    Handle,
    field,
    grown,
)
from burnmeter.sources.nvml.questions import THROTTLED, values
from burnmeter.sources.nvml.samples import Samples, Summary

POWER_INSTANT: Final = 186
"""NVML_FI_DEV_POWER_INSTANT, in milliwatts."""
AVERAGED_SECONDS: Final = 1.0
"""What nvmlDeviceGetPowerUsage averages over, on Ampere and later but for GA100 (nvml.h)."""
GA100: Final = ("A100", "A30", "A800")
"""Boards with that chip, by name."""
GAP_SECONDS: Final = 2.0
"""Samples further apart are not joined: something else held the driver."""
FULL_PERCENT: Final = 100
"""Drivers were seen to say 255 or more, which is no utilisation."""
LONGEST_GAP_SECONDS: Final = 600.0
"""Nor are these, however seldom samples are wanted: twice the longest interval."""

REASONS: Final = {
    0x04: "power_cap",
    0x08: "hardware_slowdown",
    0x10: "sync_boost",
    0x20: "software_thermal",
    0x40: "hardware_thermal",
    0x80: "power_brake",
}
"""nvmlClocksEventReason*: what holds clocks down. Idle clocks or a set clock are no fault."""

SAMPLED: Final = ("utilisation_ratio", "power_watts", THROTTLED)
"""What a sample asks for."""
ONLY_SAMPLED: Final = ("hardware_slowdown", "hardware_thermal", "power_brake")
"""Those of which the driver has no counter whose number is the same in every version."""


class Fast:
    """One GPU's samples since the last reading."""

    def __init__(self, name: str, architecture: int, wanted_seconds: float = 0.0) -> None:
        """`wanted_seconds`: between two samples, if there is time."""
        self._gap_seconds = min(max(GAP_SECONDS, 2 * wanted_seconds), LONGEST_GAP_SECONDS)
        self._usage, self._power = Samples(self._gap_seconds), Samples(self._gap_seconds)
        self._is_instant = True
        self._averaged_seconds = window_seconds(name, architecture)
        self._held: tuple[float, int] | None = None
        self._held_seconds: dict[str, float] = {}
        self.lacks: set[str] = set()

    def sample(self, handle: Handle, now_seconds: float) -> None:
        """One sample of each, whatever becomes of the others. Raises NVMLError if asking is futile.

        What the board lacks is not asked again.
        """
        asks = (self._ask_usage, self._ask_power, self._ask_reasons)
        for name, ask in zip(SAMPLED, asks, strict=True):
            if name not in self.lacks:
                try:
                    ask(handle, now_seconds)
                except nv.NVMLError as error:
                    if error.value in START_ANEW | NO_ANSWER:
                        raise
                    if error.value in NOT_THERE:
                        self.lacks.add(name)

    def take(self, lacks: Collection[str]) -> Answer:
        """What the samples come to. `lacks`: reasons that no counter of the driver's has."""
        answer = Answer()
        usage, power = self._usage.take(), self._power.take()
        if usage is not None:
            _put(answer, "utilisation", "ratio", usage, "percent")
            answer.put(grown("gpu_utilised_seconds_total"), usage.integral, "percent")
        if power is not None:
            _put(answer, "power", "watts", power, "milliwatts")
            answer.put(grown("power_joules"), power.integral, "millijoules")
            window = 0.0 if self._is_instant else self._averaged_seconds
            answer.put(field("power_window_seconds"), window, "seconds")
        held, self._held_seconds = self._held_seconds, {}
        for reason in () if THROTTLED in self.lacks else REASONS.values():
            place = grown(THROTTLED, reason=reason)
            if reason in ONLY_SAMPLED or place.title in lacks:
                answer.put(place, held.get(reason, 0.0), "seconds")
        return answer

    def _ask_usage(self, handle: Handle, now_seconds: float) -> None:
        percent = float(nv.nvmlDeviceGetUtilizationRates(handle).gpu)
        if 0 <= percent <= FULL_PERCENT:
            self._usage.add(now_seconds, percent)

    def _ask_power(self, handle: Handle, now_seconds: float) -> None:
        if self._is_instant:
            try:
                found = values(handle, [(POWER_INSTANT, 0)])[0]
            except nv.NVMLError as error:
                found = error
            if not isinstance(found, nv.NVMLError):
                self._add_power(now_seconds, found.number)
                return
            if found.value not in NOT_THERE:
                raise found
            self._is_instant = False
        self._add_power(now_seconds, float(nv.nvmlDeviceGetPowerUsage(handle)))

    def _add_power(self, now_seconds: float, milliwatts: float) -> None:
        """None is negative, without end or the mark of what is not available."""
        if 0 <= milliwatts < math.inf and milliwatts not in NOT_AVAILABLE:
            self._power.add(now_seconds, milliwatts)

    def _ask_reasons(self, handle: Handle, now_seconds: float) -> None:
        """What held the clocks at the sample before held them until now."""
        bits = reasons(handle)
        if self._held is not None and 0 < now_seconds - self._held[0] <= self._gap_seconds:
            for bit, reason in REASONS.items():
                if self._held[1] & bit:
                    so_far = self._held_seconds.get(reason, 0.0)
                    self._held_seconds[reason] = so_far + now_seconds - self._held[0]
        self._held = now_seconds, bits


def _put(answer: Answer, what: str, unit: str, summary: Summary, said_in: str) -> None:
    """Mean, least and greatest."""
    answer.put(field(f"{what}_{unit}"), summary.mean, said_in)
    answer.put(field(f"{what}_min_{unit}"), summary.least, said_in)
    answer.put(field(f"{what}_max_{unit}"), summary.greatest, said_in)


def reasons(handle: Handle) -> int:
    """The mask of reasons; under its old name before driver 535."""
    try:
        return int(nv.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except nv.NVMLError as error:
        if error.value != nv.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
    return int(nv.nvmlDeviceGetCurrentClocksThrottleReasons(handle))


def window_seconds(name: str, architecture: int) -> float:
    """What the plain power reading is averaged over; see AVERAGED_SECONDS."""
    is_newer = nv.NVML_DEVICE_ARCH_AMPERE <= architecture < nv.NVML_DEVICE_ARCH_UNKNOWN
    is_ga100 = architecture == nv.NVML_DEVICE_ARCH_AMPERE and any(
        word in name.replace("-", " ").split() for word in GA100
    )
    return AVERAGED_SECONDS if is_newer and not is_ga100 else 0.0
