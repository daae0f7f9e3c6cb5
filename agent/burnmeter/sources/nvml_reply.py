"""What the NVML reader's lines mean: who is who among the GPUs, and what is remembered of them.

It starts, waits for and kills nothing; that is `nvml.py`. A line is believed only if every part of
it is of the right type. Surprising: the driver stops listing a GPU that fell off the bus, or lists
it without its uuid, so that whoever was here once is kept, and reported as gone.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from burnmeter.model import FAILURE_KINDS, Failure, Gpu, GpuProcess

NUMBERS: Final = tuple(field.name for field in fields(Gpu) if field.type == float | None)

"""What a GPU is asked for, by the model: every field that is a number or not known."""

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


class Roster:
    """The GPUs that this node has, and had since the agent started. A GPU is its uuid."""

    def __init__(self) -> None:
        self._last_by_uuid: dict[str, Gpu] = {}
        self._processes_by_uuid: dict[str, tuple[GpuProcess, ...]] = {}
        self._xids_by_uuid: dict[str, Counter[int]] = {}

    def gpus(self, reply: Mapping[str, Any]) -> tuple[Gpu, ...]:
        """The GPUs of one answer, by index. Raises ValueError if it is no such answer."""
        try:
            # Here, not in the child, so that a child that dies does not set the counts back.
            for uuid, code in reply["xids"]:
                self._xids_by_uuid.setdefault(_text(uuid), Counter())[int(code)] += 1
            gpus = [self._gpu(row) for row in reply["gpus"] if row["uuid"] is not None]
            listed = {gpu.uuid for gpu in gpus}
            missing = [last for uuid, last in self._last_by_uuid.items() if uuid not in listed]
            nameless = [row for row in reply["gpus"] if row["uuid"] is None]
            gpus += [self._nameless(row, missing) for row in nameless]
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None
        gpus += [self._silent(last, GONE) for last in missing]
        return tuple(sorted(gpus, key=lambda gpu: (gpu.index, gpu.uuid)))

    def _gpu(self, row: Mapping[str, Any]) -> Gpu:
        uuid, index = _text(row["uuid"]), int(row["index"])
        last = self._last_by_uuid.get(uuid)
        if row["name"] is None and last is not None:
            name = last.name
        else:
            name = "unknown" if row["name"] is None else _text(row["name"])
        self._last_by_uuid[uuid] = Gpu(index=index, uuid=uuid, name=name)
        failure = failure_of(row)
        if failure is not None:
            return self._silent(self._last_by_uuid[uuid], failure)
        numbers: dict[str, Any] = {field: _number(row.get(field)) for field in NUMBERS}
        return Gpu(
            index=index,
            uuid=uuid,
            name=name,
            processes=self._processes(uuid, row),
            unsupported=tuple(_text(field) for field in row["unsupported"]),
            xid_counts=dict(self._xids_by_uuid.get(uuid, {})),
            **numbers,
        )

    def _processes(self, uuid: str, row: Mapping[str, Any]) -> tuple[GpuProcess, ...] | None:
        """The last list that was had, since most requests ask for none.

        None only if there never was one, or the newest attempt failed: then nobody knows whose
        the GPU is, and attribution must not go on with who had it before.
        """
        if "processes" in row:
            self._processes_by_uuid.pop(uuid, None)
            if row["processes"] is not None:
                self._processes_by_uuid[uuid] = tuple(
                    GpuProcess(pid=int(pid), memory_bytes=_number(used))
                    for pid, used in row["processes"]
                )
        return self._processes_by_uuid.get(uuid)

    def _silent(self, last: Gpu, failure: Failure) -> Gpu:
        """A GPU that gives nothing now; its XIDs are what an engineer asks for first."""
        self._processes_by_uuid.pop(last.uuid, None)
        counts = dict(self._xids_by_uuid.get(last.uuid, {}))
        return replace(last, failure=failure, xid_counts=counts)

    def _nameless(self, row: Mapping[str, Any], missing: list[Gpu]) -> Gpu:
        """A GPU that could not say its uuid: the missing one of that index, else a new unknown."""
        index, failure = int(row["index"]), failure_of(row)
        if failure is None:
            raise ValueError("a GPU without uuid and without failure")
        for last in missing:
            if last.index == index:
                missing.remove(last)
                return self._silent(last, failure)
        return Gpu(index=index, uuid=f"unknown-{index}", name="unknown", failure=failure)


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
