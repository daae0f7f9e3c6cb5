"""The simulated node's hardware as JSON: from the process that plays it to the agent. Pure.

Engines need no such thing: they speak HTTP as real ones do. This stands where the driver's library
and /proc stand on a real node, so it carries the values of model.py and nothing else. It does not
know what plays the node: the agent would hold all of that in its memory.
"""

import json
from dataclasses import asdict
from typing import Any, NamedTuple

from burnmeter.model import Failure, Figure, Gpu, GpuInstance, GpuProcess, Process, Target


class NodeState(NamedTuple):
    """One answer of the control page."""

    now_seconds: float
    """Simulated, since the start of the story."""
    targets: tuple[Target, ...]
    gpus: tuple[Gpu, ...]
    processes: dict[int, Process]


def encode(state: NodeState) -> str:
    """The node as text."""
    return json.dumps(
        {
            "now_seconds": state.now_seconds,
            "targets": [asdict(target) for target in state.targets],
            "gpus": [asdict(gpu) for gpu in state.gpus],
            "processes": [asdict(process) for process in state.processes.values()],
        }
    )


def decode(text: str) -> NodeState:
    """The same node on the other side."""
    raw = json.loads(text)
    processes = [
        Process(**{**one, "command": tuple(one["command"]), "ports": tuple(one["ports"])})
        for one in raw["processes"]
    ]
    return NodeState(
        now_seconds=raw["now_seconds"],
        targets=tuple(
            Target(**{**one, "worker_roots": tuple(one["worker_roots"])}) for one in raw["targets"]
        ),
        gpus=tuple(_gpu(one) for one in raw["gpus"]),
        processes={process.pid: process for process in processes},
    )


def _figure(raw: list[Any]) -> Figure:
    measure, labels, value = raw
    return Figure(measure, tuple((name, text) for name, text in labels), value)


def _by_code(raw: dict[str, Any]) -> dict[int, Any]:
    """JSON keys are text."""
    return {int(code): value for code, value in raw.items()}


def _gpu(raw: dict[str, Any]) -> Gpu:
    holders, instances = raw.pop("processes"), raw.pop("instances")
    failure = raw.pop("failure")
    return Gpu(
        **{
            **raw,
            "processes": None if holders is None else tuple(GpuProcess(**one) for one in holders),
            "failure": None if failure is None else Failure(*failure),
            "unsupported": tuple(raw["unsupported"]),
            "instances": None
            if instances is None
            else tuple(GpuInstance(**one) for one in instances),
            "gauges": tuple(map(_figure, raw["gauges"])),
            "meters": tuple(map(_figure, raw["meters"])),
            **{name: _by_code(raw[name]) for name in ("xid_counts", "xid_timestamps_seconds")},
        }
    )
