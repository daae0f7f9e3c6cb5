"""What each GPU is asked, as tables: plain questions, and groups of NVML's field values.

Whatever remembers something between two readings has a module of its own beside this one (fast,
mig, gpm, processes). Surprising: most numbers come by their field's number, all of a group in one
call, since a field that a board lacks then costs nothing and no function can be missing.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, NamedTuple

import pynvml as nv

from burnmeter.sources.nvml.answers import (
    NOT_THERE,
    Answer,
    Handle,
    Place,
    field,
    gauge,
    meter,
)

HEALTH_SECONDS: Final = 30.0
"""How often what changes by mishap only is asked: counts of errors, rows, pages."""
FIXED_SECONDS: Final = 600.0
"""How often what an admin or a driver changes is asked: highest clocks, limits of temperature."""
ALL_LINKS: Final = 2**32 - 1
"""A field's scope that stands for all NVLinks together."""


class Plain(NamedTuple):
    """A question that NVML answers with one number, or with one for each place."""

    word: str
    unit: str
    function: Callable[[Handle], Any]
    places: tuple[Place, ...]
    every_seconds: float = 0.0
    only_without: tuple[str, ...] = ()
    """Asked only where all of these are known to be lacking."""

    @property
    def titles(self) -> tuple[str, ...]:
        """All its places'."""
        return tuple(place.title for place in self.places)

    def ask(self, handle: Handle, lacks: Collection[str]) -> Answer:
        """One call of NVML."""
        answer = Answer()
        if not all(title in lacks for title in self.only_without):
            return answer
        found = self.function(handle)
        values = found if isinstance(found, tuple) else (found,)
        for place, value in zip(self.places, values, strict=True):
            answer.put(place, value, self.unit)
        return answer


class FieldValue(NamedTuple):
    """One of NVML's field values."""

    number: int
    unit: str
    place: Place
    scope: int = 0
    is_wide: bool = False
    """A count that 32 bits do not hold for a tick: bytes. One of 32 bits is not taken."""


class Fields:
    """A group of field values, asked in one call; what the board lacks is not asked again."""

    def __init__(
        self,
        word: str,
        every_seconds: float,
        wanted: Iterable[FieldValue],
        only_without: tuple[str, ...] = (),
    ) -> None:
        self.word, self.every_seconds = word, every_seconds
        self._wanted = list(wanted)
        self._only_without = only_without

    @property
    def titles(self) -> tuple[str, ...]:
        """All that are still asked."""
        return tuple(one.place.title for one in self._wanted)

    def ask(self, handle: Handle, lacks: Collection[str]) -> Answer:
        """One call of NVML; each field has an error of its own."""
        answer = Answer()
        if not self._wanted or not all(title in lacks for title in self._only_without):
            return answer
        pairs = [(one.number, one.scope) for one in self._wanted]
        for one, value in zip(list(self._wanted), values(handle, pairs), strict=True):
            if isinstance(value, nv.NVMLError):
                if value.value not in NOT_THERE:
                    continue  # Absent this once; a lost GPU says so to whoever asks it plainly.
                value = None
            elif one.is_wide and not value.is_wide:
                value = None
            if value is None:
                self._wanted.remove(one)
                answer.unsupported.append(one.place.title)
            else:
                answer.put(one.place, value.number, one.unit)
        return answer


class Value(NamedTuple):
    """A field's value as NVML gave it."""

    number: float
    is_wide: bool


MEMBERS: Final = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""nvmlValue_t's members by nvmlValueType_t."""
WIDE: Final = {"dVal", "ulVal", "ullVal", "sllVal"}


def values(handle: Handle, pairs: list[tuple[int, int]]) -> list[Value | nv.NVMLError]:
    """Field numbers with scopes -> their values, or each one's error. Raises NVMLError."""
    found: list[Value | nv.NVMLError] = []
    for one in nv.nvmlDeviceGetFieldValues(handle, pairs):
        if one.nvmlReturn != nv.NVML_SUCCESS or one.valueType >= len(MEMBERS):
            found.append(nv.NVMLError(one.nvmlReturn or nv.NVML_ERROR_NOT_SUPPORTED))
        else:
            member = MEMBERS[one.valueType]
            found.append(Value(getattr(one.value, member), member in WIDE))
    return found


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


def bandwidth(gpu: Handle) -> float:
    """Bytes per second of the memory at its highest clock.

    Two transfers a clock, as NVML counts clocks: an H100's 5,120 bits at 2,619 MHz are its 3.35
    TB/s, an L4's 192 bits at 6,251 MHz its 300 GB/s.
    """
    bits = nv.nvmlDeviceGetMemoryBusWidth(gpu)
    return float(bits / 8 * nv.nvmlDeviceGetMaxClockInfo(gpu, nv.NVML_CLOCK_MEM) * 1e6 * 2)


def clock(kind: int, *, is_highest: bool = False) -> Callable[[Handle], int]:
    """Megahertz now, or at most."""
    name = "nvmlDeviceGetMaxClockInfo" if is_highest else "nvmlDeviceGetClockInfo"
    return lambda gpu: int(getattr(nv, name)(gpu, kind))


def threshold(kind: int) -> Callable[[Handle], int]:
    """Celsius at which the driver slows the GPU down, or the GPU itself off."""
    return lambda gpu: int(nv.nvmlDeviceGetTemperatureThreshold(gpu, kind))


def pcie(gpu: Handle) -> tuple[int, int]:
    """Kibibytes per second sent and received, over the 20 ms that each call takes."""
    sent = nv.nvmlDeviceGetPcieThroughput(gpu, nv.NVML_PCIE_UTIL_TX_BYTES)
    return sent, nv.nvmlDeviceGetPcieThroughput(gpu, nv.NVML_PCIE_UTIL_RX_BYTES)


PLAIN: Final = (
    Plain("memory", "bytes", memory, (field("memory_used_bytes"), field("memory_total_bytes"))),
    # The enforced limit is the lowest of what the board, an admin and the chassis allow.
    Plain("limit", "milliwatts", nv.nvmlDeviceGetEnforcedPowerLimit, (field("power_limit_watts"),)),
    Plain(
        "energy", "millijoules", nv.nvmlDeviceGetTotalEnergyConsumption, (field("energy_joules"),)
    ),
    Plain(
        "heat",
        "celsius",
        lambda gpu: int(nv.nvmlDeviceGetTemperature(gpu, nv.NVML_TEMPERATURE_GPU)),
        (field("temperature_celsius"),),
    ),
    Plain("sm clock", "megahertz", clock(nv.NVML_CLOCK_SM), (field("sm_clock_hertz"),)),
    Plain("memclock", "megahertz", clock(nv.NVML_CLOCK_MEM), (field("memory_clock_hertz"),)),
    Plain(
        "maxclock",
        "megahertz",
        clock(nv.NVML_CLOCK_SM, is_highest=True),
        (gauge("gpu_sm_clock_max_hertz"),),
        FIXED_SECONDS,
    ),
    Plain(
        "max mclk",
        "megahertz",
        clock(nv.NVML_CLOCK_MEM, is_highest=True),
        (gauge("gpu_memory_clock_max_hertz"),),
        FIXED_SECONDS,
    ),
    Plain(
        "slowdown",
        "celsius",
        threshold(nv.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
        (gauge("gpu_temperature_limit_celsius", limit="slowdown"),),
        FIXED_SECONDS,
    ),
    Plain(
        "shutdown",
        "celsius",
        threshold(nv.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN),
        (gauge("gpu_temperature_limit_celsius", limit="shutdown"),),
        FIXED_SECONDS,
    ),
    Plain(
        "memwidth",
        "none",
        bandwidth,
        (field("memory_bandwidth_bytes_per_second"),),
        FIXED_SECONDS,
    ),
)
PCIE: Final = Plain(
    "pcie",
    "kibibytes",
    pcie,
    (
        gauge("gpu_pcie_bytes_per_second", direction="sent"),
        gauge("gpu_pcie_bytes_per_second", direction="received"),
    ),
    HEALTH_SECONDS,
    only_without=("gpu_pcie_bytes_total{direction=sent}", "gpu_sm_active_ratio"),
)
"""20 ms a call and direction, during which others wait for the driver: only where nothing else
tells, and seldom. To be asked after all that might."""


THROTTLED: Final = "gpu_throttle_seconds_total"
# Numbers and meanings of field values are nvml.h's (NVML_FI_DEV_*); all of these kept theirs over
# the years. The newer counters of hardware slowdowns do not: 251 in one header is 269 in the next.
CLOCKS: Final = (
    FieldValue(82, "celsius", gauge("gpu_memory_temperature_celsius")),
    # PERF_POLICY_*: nanoseconds in which clocks were held down, in steps of 0.1 s.
    FieldValue(74, "nanoseconds", meter(THROTTLED, reason="power_cap")),
    FieldValue(75, "nanoseconds", meter(THROTTLED, reason="software_thermal")),
    FieldValue(76, "nanoseconds", meter(THROTTLED, reason="sync_boost")),
    FieldValue(77, "nanoseconds", meter(THROTTLED, reason="board_limit")),
    FieldValue(79, "nanoseconds", meter(THROTTLED, reason="reliability")),
)
SENT: Final = {"direction": "sent"}
RECEIVED: Final = {"direction": "received"}
LINKS: Final = (
    # 0.2 to 0.4 ms each on one board, where the throughput took 21 ms.
    FieldValue(197, "bytes", meter("gpu_pcie_bytes_total", **SENT), is_wide=True),
    FieldValue(198, "bytes", meter("gpu_pcie_bytes_total", **RECEIVED), is_wide=True),
    FieldValue(138, "kibibytes", meter("gpu_nvlink_bytes_total", **SENT), ALL_LINKS),
    FieldValue(139, "kibibytes", meter("gpu_nvlink_bytes_total", **RECEIVED), ALL_LINKS),
)
HEALTH: Final = (
    FieldValue(3, "none", meter("gpu_ecc_errors_total", error="corrected")),
    FieldValue(4, "none", meter("gpu_ecc_errors_total", error="uncorrected")),
    FieldValue(5, "none", gauge("gpu_ecc_lifetime_errors", error="corrected")),
    FieldValue(6, "none", gauge("gpu_ecc_lifetime_errors", error="uncorrected")),
    FieldValue(142, "none", gauge("gpu_remapped_rows", error="corrected")),
    FieldValue(143, "none", gauge("gpu_remapped_rows", error="uncorrected")),
    FieldValue(144, "none", gauge("gpu_row_remap_pending")),
    FieldValue(145, "none", gauge("gpu_row_remap_failed")),
    FieldValue(94, "none", meter("gpu_pcie_replays_total")),
    FieldValue(230, "none", field("recovery_code")),
)
PAGES: Final = (
    FieldValue(29, "none", gauge("gpu_retired_pages", error="corrected")),
    FieldValue(30, "none", gauge("gpu_retired_pages", error="uncorrected")),
    FieldValue(31, "none", gauge("gpu_page_retirement_pending")),
)
"""Of boards before Ampere; later ones remap rows instead."""


def groups() -> tuple[Fields, ...]:
    """The groups of field values, new for each GPU: each forgets what its board lacks."""
    remapped = "gpu_remapped_rows{error=corrected}"
    return (
        Fields("fields", 0.0, CLOCKS),
        Fields("links", 0.0, LINKS),
        Fields("health", HEALTH_SECONDS, HEALTH),
        Fields("pages", HEALTH_SECONDS, PAGES, only_without=(remapped,)),
    )
