"""Every GPU between two ticks: who is there, what their meters say, what happened to them. Pure.

Surprising: a GPU that was ever seen stays, whether or not the driver still answers for it, since it
is paid for. If nobody answers, it is the source that is down, and no GPU is told to be lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from burnmeter import meters, xids
from burnmeter.meters import Meters
from burnmeter.model import Failure, Gpu, GpuReading, Key

THROTTLED: Final = "gpu_throttle_seconds_total"
USUAL: Final = {"power_cap", "sync_boost"}
"""Reasons that a busy GPU at full load has all day; they are counted, and no news."""
THROTTLED_RATIO: Final = 0.2
FREE_RATIO: Final = 0.02
"""Of a tick's time held down: what begins to be news, and below what it has ended."""


class Told(NamedTuple):
    """Something that happened to one GPU."""

    kind: str
    uuid: str
    text: str


class XidSeen(NamedTuple):
    """One code on one GPU since the agent started."""

    times: int
    timestamp_seconds: float | None
    """When it was last seen; None: the reader did not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boards:
    """What is known of the node's GPUs, each by its uuid."""

    gpus: Mapping[str, Gpu] = field(default_factory=dict)
    meters: Meters = field(default_factory=Meters)
    xids: Mapping[tuple[str, int], XidSeen] = field(default_factory=dict)
    xid_readings: Mapping[tuple[str, int], int] = field(default_factory=dict)
    throttled: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By what each is held down now."""
    lost: Mapping[str, str] = field(default_factory=dict)
    """Those that do not answer while the driver does -> the kind of failure."""
    asked: Mapping[str, str] = field(default_factory=dict)
    """What the driver asks for, as last told."""


def look(was: Boards, reading: GpuReading | None, seconds: float) -> tuple[Boards, list[Told]]:
    """The GPUs after one more reading, `seconds` after the last; None: GPUs are switched off."""
    gpus = _gpus(was, reading)
    lost, lost_told = _lost(was, gpus, reading)
    metered = meters.read(was.meters, gpus.values(), seconds)
    seen, readings, xid_told = _xids(was, gpus.values())
    throttled = {uuid: _throttled(was, metered, uuid, seconds) for uuid in gpus}
    now = Boards(
        gpus=gpus,
        meters=metered,
        xids=seen,
        xid_readings=readings,
        throttled=throttled,
        lost=lost,
        asked={**was.asked, **{u: g.recovery_action for u, g in gpus.items() if g.recovery_action}},
    )
    return now, [*lost_told, *xid_told, *_slowed(was, now), *_recoveries(was, now)]


def _gpus(was: Boards, reading: GpuReading | None) -> dict[str, Gpu]:
    """Every GPU known, as it is now; those that did not answer carry a failure."""
    if reading is None:
        return {}
    silent = reading.failure or Failure("gone", "the driver no longer lists this GPU")
    gpus = {
        uuid: Gpu(index=g.index, uuid=uuid, name=g.name, failure=silent)
        for uuid, g in was.gpus.items()
    }
    gpus |= {gpu.uuid: gpu for gpu in reading.gpus}
    return {uuid: _as_divided(gpu, was.gpus.get(uuid)) for uuid, gpu in gpus.items()}


def _as_divided(gpu: Gpu, before: Gpu | None) -> Gpu:
    """One that does not answer is divided as it was: nobody can do that without a driver."""
    if gpu.failure is None or gpu.instances is not None or before is None:
        return gpu
    return replace(gpu, instances=before.instances)


def _lost(
    was: Boards, gpus: Mapping[str, Gpu], reading: GpuReading | None
) -> tuple[Mapping[str, str], list[Told]]:
    """Which GPUs do not answer; while nobody answers, those that did not before."""
    if reading is None or (reading.failure is not None and not reading.gpus):
        return was.lost, []
    lost = {uuid: gpu.failure.kind for uuid, gpu in gpus.items() if gpu.failure is not None}
    told = []
    for uuid, gpu in gpus.items():
        if gpu.failure is not None and was.lost.get(uuid) != gpu.failure.kind and uuid in was.gpus:
            told.append(Told("gpu_lost", uuid, gpu.failure.message))
        elif gpu.failure is None and uuid in was.lost:
            told.append(Told("gpu_back", uuid, "answers again"))
    return lost, told


def _xids(
    was: Boards, gpus: Iterable[Gpu]
) -> tuple[dict[tuple[str, int], XidSeen], dict[tuple[str, int], int], list[Told]]:
    """XIDs since the agent started; the reader's own counts begin again when it does."""
    seen, readings = dict(was.xids), dict(was.xid_readings)
    told: list[Told] = []
    for gpu in gpus:
        for code, count in gpu.xid_counts.items():
            which = gpu.uuid, code
            before = readings.get(which, 0)
            more = count - before if count >= before else count
            readings[which] = count
            old = seen.get(which, XidSeen(0, None))
            at = gpu.xid_timestamps_seconds.get(code, old.timestamp_seconds)
            seen[which] = XidSeen(old.times + more, at)
            if more > 0:
                told.append(Told("xid", gpu.uuid, xid_text(code, more)))
    return seen, readings, told


def xid_text(code: int, times: int) -> str:
    """What an XID is and what to do, in a line."""
    known = xids.xid(code)
    repeated = f" ({times} times)" if times > 1 else ""
    action = xids.ACTIONS[known.action]
    return f"XID {code}{repeated}, {known.name}: {known.meaning} {action}"


# --- clocks held down ----------------------------------------------------------------------------


def _throttled(was: Boards, now: Meters, uuid: str, seconds: float) -> frozenset[str]:
    """The reasons that are news: begun at a fifth of the time, over below a fiftieth."""
    before = was.throttled.get(uuid, frozenset())
    grown = now.grown.get(uuid)
    was_silent = uuid in was.gpus and was.gpus[uuid].failure is not None
    if grown is None or seconds <= 0 or was_silent:
        return before  # What came while it was silent was in more than one tick.
    ratios = {_reason(k): v / seconds for k, v in grown.items() if k.measure == THROTTLED}
    return frozenset(
        reason
        for reason, ratio in ratios.items()
        if reason not in USUAL and ratio >= (FREE_RATIO if reason in before else THROTTLED_RATIO)
    )


def _reason(key: Key) -> str:
    return dict(key.labels)["reason"]


def _slowed(was: Boards, now: Boards) -> list[Told]:
    told = []
    for uuid, reasons in now.throttled.items():
        before = was.throttled.get(uuid, frozenset())
        if reasons and reasons != before:
            told.append(Told("throttled", uuid, f"clocks are held down: {_words(reasons)}"))
        elif before and not reasons:
            told.append(Told("unthrottled", uuid, f"clocks are free again of {_words(before)}"))
    return told


def _words(reasons: Iterable[str]) -> str:
    return ", ".join(reason.replace("_", " ") for reason in sorted(reasons))


def _recoveries(was: Boards, now: Boards) -> Sequence[Told]:
    """What the driver asks for anew; nothing where it asks for the same as before, or no more."""
    meanings = {one.word: one.meaning for one in xids.RECOVERIES.values()}
    told = []
    for uuid, action in now.asked.items():
        if action not in ("none", was.asked.get(uuid)):
            told.append(Told("recovery", uuid, f"the driver asks: {meanings.get(action, action)}"))
    return told
