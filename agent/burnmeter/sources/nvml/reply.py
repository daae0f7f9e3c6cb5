"""What the NVML reader's lines mean: who is who among the GPUs, and what is remembered of them.

It starts, waits for and kills nothing; that is `source.py`. A line is believed only if every part
of it is of the right type. Surprising: the driver stops listing a GPU that fell off the bus, or
lists it without its uuid, so that whoever was here once is kept, and reported as gone. One that
never said its uuid is no GPU of the answer: it would be paid for beside itself once it does.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from burnmeter import catalog
from burnmeter.model import (
    FAILURE_KINDS,
    Failure,
    Figure,
    Gpu,
    GpuInstance,
    GpuProcess,
    Labels,
)
from burnmeter.xids import recovery

NUMBERS: Final = tuple(field.name for field in fields(Gpu) if field.type == float | None)
"""What a GPU is asked for, by the model: every field that is a number or not known."""
ADDED_UP: Final = "power_joules"
"""The one of them that the child sends as what it grew by."""

GONE: Final = Failure(
    "gone",
    "this GPU was here and the driver lists it no more, fallen off the bus or taken away: see "
    "`dmesg | grep -i xid`, drain the node; if it was taken away on purpose, restart the agent",
)


def decoded(line: bytes) -> dict[str, Any] | Failure:
    """A line as an answer, or as the failure it tells of. Raises ValueError if it is neither."""
    try:
        reply = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(reply, dict):
        raise ValueError("not an object")
    return failure_of(reply) or reply


def failure_of(row: Mapping[str, Any]) -> Failure | None:
    """The failure that an answer, or one GPU's part of it, tells of."""
    if row.get("failure") is None:
        return None
    kind, message = row["failure"]
    if kind not in FAILURE_KINDS or not isinstance(message, str):
        raise ValueError(f"unknown failure {kind!r}")
    return Failure(kind, message)


class _Totals:
    """What only grows of one GPU: as the driver counts it, else as the child's samples grew.

    Whether the driver counts may change (MIG). A figure then goes on from where it was, by what
    the new source saw: each source has counted what the other did, too, and from another zero.
    """

    def __init__(self) -> None:
        self.so_far: dict[tuple[str, Labels], float] = {}
        self._counted: dict[tuple[str, Labels], float] = {}
        """The driver's own numbers, of what it counts now."""

    def add(self, counted: Sequence[Figure], grown: Sequence[Figure]) -> list[Figure]:
        """All figures after one more answer: each that the driver counts, if it was in that."""
        now = {one[:2]: one.value for one in counted}
        for key, value in now.items():
            if key in self._counted:
                before = self._counted[key]
                self.so_far[key] += value - before if value >= before else value
            else:
                self.so_far.setdefault(key, value)
        self._counted |= now
        for one in grown:
            if one[:2] not in now:
                self.so_far[one[:2]] = self.so_far.get(one[:2], 0.0) + one.value
                self._counted.pop(one[:2], None)
        shown = (key for key in self.so_far if key in now or key not in self._counted)
        return [Figure(*key, self.so_far[key]) for key in shown]


class Roster:
    """The GPUs that this node has, and had since the agent started. A GPU is its uuid."""

    def __init__(self) -> None:
        self._last_by_uuid: dict[str, Gpu] = {}
        """Who was seen last stands last."""
        self._processes_by_uuid: dict[str, tuple[GpuProcess, ...]] = {}
        self._unlisted: set[str] = set()
        """Whose processes nobody asked for since they began to answer, or were divided anew."""
        self._instances_by_uuid: dict[str, tuple[GpuInstance, ...] | None] = {}
        self._xids_by_uuid: dict[str, Counter[int]] = {}
        self._xid_timestamps: dict[str, dict[int, float]] = {}
        self._totals: dict[str, _Totals] = {}
        self.nvml_seconds: Mapping[str, float] = {}
        """What was asked -> time spent in the driver for it, over all children."""
        self.nvml_put_off = 0
        self.unnamed: Mapping[int, Failure] = {}
        """Of the newest answer: index -> failure of each GPU that nobody knows the uuid of."""
        self.wants_processes = False
        """Whether a GPU answers of which it was not asked yet who holds it."""

    def gpus(self, reply: Mapping[str, Any]) -> tuple[Gpu, ...]:
        """The GPUs of one answer, by index. Raises ValueError if it is no such answer."""
        try:
            # Here, not in the child, so that a child that dies does not set the counts back.
            self._count(reply)
            gpus = [self._gpu(row) for row in reply["gpus"] if row["uuid"] is not None]
            listed = {gpu.uuid for gpu in gpus}
            missing = [last for uuid, last in self._last_by_uuid.items() if uuid not in listed]
            nameless = [_nameless(row) for row in reply["gpus"] if row["uuid"] is None]
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None
        pairs, self.unnamed = _recognised(missing, dict(nameless))
        self.wants_processes = any(gpu.uuid in self._unlisted for gpu in gpus if not gpu.failure)
        gpus += [self._silent(last, pairs.get(last.uuid, GONE)) for last in missing]
        return tuple(sorted(gpus, key=lambda gpu: (gpu.index, gpu.uuid)))

    def _count(self, reply: Mapping[str, Any]) -> None:
        for uuid, code, timestamp_seconds in reply["xids"]:
            self._xids_by_uuid.setdefault(_text(uuid), Counter())[int(code)] += 1
            self._xid_timestamps.setdefault(uuid, {})[int(code)] = _float(timestamp_seconds)
        more = {_text(word): _float(took) for word, took in reply["nvml_seconds"].items()}
        words = self.nvml_seconds.keys() | more.keys()
        self.nvml_seconds = {
            word: self.nvml_seconds.get(word, 0.0) + more.get(word, 0.0) for word in words
        }
        self.nvml_put_off += int(reply["nvml_put_off"])

    def _gpu(self, row: Mapping[str, Any]) -> Gpu:
        uuid, index = _text(row["uuid"]), int(row["index"])
        last = self._last_by_uuid.get(uuid)
        if last is None:
            self._unlisted.add(uuid)
        if row["name"] is None and last is not None:
            name = last.name
        else:
            name = "unknown" if row["name"] is None else _text(row["name"])
        self._last_by_uuid.pop(uuid, None)
        self._last_by_uuid[uuid] = Gpu(index=index, uuid=uuid, name=name)
        failure = failure_of(row)
        if failure is not None:
            return self._silent(self._last_by_uuid[uuid], failure)
        instances = self._instances(uuid, row)
        numbers: dict[str, Any] = {field: _number(row.get(field)) for field in NUMBERS}
        totals = self._totals.setdefault(uuid, _Totals())
        meters = totals.add(_figures(row["meter"]), _figures(row["grown"]))
        numbers[ADDED_UP] = totals.so_far.get((ADDED_UP, ()))
        code = _number(row.get("recovery_code"))
        return Gpu(
            index=index,
            uuid=uuid,
            name=name,
            processes=self._processes(uuid, row),
            instances=instances,
            recovery_action=None if code is None else recovery(int(code)).word,
            gauges=tuple(_figures(row["gauge"])),
            meters=tuple(one for one in meters if one.measure != ADDED_UP),
            unsupported=tuple(_text(field) for field in row["unsupported"]),
            **self._xids(uuid),
            **numbers,
        )

    def _xids(self, uuid: str) -> dict[str, Any]:
        return {
            "xid_counts": dict(self._xids_by_uuid.get(uuid, {})),
            "xid_timestamps_seconds": dict(self._xid_timestamps.get(uuid, {})),
        }

    def _instances(self, uuid: str, row: Mapping[str, Any]) -> tuple[GpuInstance, ...] | None:
        """As it is divided; while the driver does not say, as it was."""
        before = self._instances_by_uuid.get(uuid)
        if "instances" not in row:
            return before
        now = self._instances_by_uuid[uuid] = _divided(row["instances"])
        if _uuids(now) != _uuids(before):
            self._unlisted.add(uuid)
        return now

    def _processes(self, uuid: str, row: Mapping[str, Any]) -> tuple[GpuProcess, ...] | None:
        """The last list that was had, since most requests ask for none.

        None if there was none since the GPU began to answer, or the newest attempt failed. What was
        said before is then not said again as news: whether it still holds, attribution judges by
        the processes that live.
        """
        is_divided = self._instances_by_uuid.get(uuid) is not None
        if "processes" in row and is_divided and "instances" not in row:
            self._unlisted.add(uuid)  # A child that does not know the division cannot say where.
        elif "processes" in row or "processes" in row["unsupported"]:
            self._unlisted.discard(uuid)
        if "processes" in row or "processes" in row["unsupported"]:
            self._processes_by_uuid.pop(uuid, None)
            if row.get("processes") is not None:
                self._processes_by_uuid[uuid] = tuple(
                    GpuProcess(
                        pid=int(pid),
                        memory_bytes=_number(used),
                        instance=None if instance is None else _text(instance),
                    )
                    for pid, used, instance in row["processes"]
                )
        known = self._processes_by_uuid.get(uuid)
        ratios = row.get("sm_ratios")
        if known is None or ratios is None:
            return known
        return tuple(replace(one, sm_ratio=_number(ratios.get(str(one.pid)))) for one in known)

    def _silent(self, last: Gpu, failure: Failure) -> Gpu:
        """A GPU that gives nothing now; its XIDs are what an engineer asks for first."""
        self._processes_by_uuid.pop(last.uuid, None)
        self._unlisted.add(last.uuid)
        return replace(last, failure=failure, **self._xids(last.uuid))


def _nameless(row: Mapping[str, Any]) -> tuple[int, Failure]:
    """Index and failure of a GPU that did not say its uuid."""
    failure = failure_of(row)
    if failure is None:
        raise ValueError("a GPU without uuid and without failure")
    return int(row["index"]), failure


def _recognised(
    missing: Sequence[Gpu], nameless: Mapping[int, Failure]
) -> tuple[dict[str, Failure], dict[int, Failure]]:
    """Uuid of a missing GPU -> the failure under which it is listed; and what else is nameless.

    Of the missing, who was seen last comes last. Whoever had that index is meant, and the others
    are the other ones: whichever is which, none is there a second time under another name.
    """
    left, found = dict(nameless), {}
    latest = list(reversed(missing))
    for last in latest:
        if last.index in left:
            found[last.uuid] = left.pop(last.index)
    moved = [last for last in latest if last.uuid not in found]
    for last, index in zip(moved, sorted(left, reverse=True), strict=False):
        found[last.uuid] = left.pop(index)
    return found, left


def _figures(rows: Any) -> list[Figure]:
    """Figures, each of them in the catalogue but for the one that becomes a field."""
    found = []
    for name, labels, value in rows:
        figure = Figure(_text(name), tuple(sorted(labels.items())), _float(value))
        known = catalog.metrics().get(catalog.PREFIX + name)
        own = set(known.labels) - {"gpu", "index"} if known and known.group == "gpu" else None
        if name != ADDED_UP and own != labels.keys():
            raise ValueError(f"no measure {name!r} with {sorted(labels)}")
        found.append(figure)
    return found


def _divided(rows: Any) -> tuple[GpuInstance, ...] | None:
    if rows is None:
        return None
    return tuple(
        GpuInstance(
            uuid=_text(row["uuid"]),
            name=_text(row["name"]),
            compute_ratio=_number(row["compute_ratio"]),
            memory_used_bytes=_number(row["memory_used_bytes"]),
            memory_total_bytes=_number(row["memory_total_bytes"]),
        )
        for row in rows
    )


def _uuids(instances: Sequence[GpuInstance] | None) -> set[str]:
    return {one.uuid for one in instances or ()}


def _float(value: Any) -> float:
    number = _number(value)
    if number is None:
        raise ValueError("nothing where a number belongs")
    return number


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value
