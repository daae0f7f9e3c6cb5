"""A Snapshot as JSON, for scripts and for people with `jq`: `/api/v1/snapshot`.

Names are those of model.py and are described in the README beside this file. It is not how numbers
reach a database (that is /metrics and OTLP) and it leaves nothing out. JSON objects cannot have
compound keys, so mappings by Key or Share become lists; JSON has no NaN, so what is not finite
becomes null, which everywhere means "not known".
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from burnmeter.model import Key, Labels, Objective
from burnmeter.snapshot import Snapshot


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """The whole Snapshot in values that `json` knows."""
    return _fields(snapshot) | {
        "counters": _by_key(snapshot.counters),
        "histograms": _by_key(snapshot.histograms),
        "gauges": _by_key(snapshot.gauges),
        "spends": [_plain(share) | _plain(spend) for share, spend in snapshot.spends.items()],
    }


def to_bytes(snapshot: Snapshot) -> bytes:
    """The same as UTF-8 text on one line, with a line end."""
    text = json.dumps(as_json(snapshot), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate can come from a process's command line; it has no UTF-8 form.
    return text.encode("utf-8", "replace") + b"\n"


def _plain(value: object) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Objective):
        return _fields(value) | {"match": _labels(value.match)}
    if is_dataclass(value):
        return _fields(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    raise TypeError(f"{type(value).__name__} has no place in the JSON of a Snapshot")


def _fields(value: Any) -> dict[str, Any]:
    compound = ("counters", "histograms", "gauges", "spends") if isinstance(value, Snapshot) else ()
    names = (field.name for field in fields(value))
    return {name: _plain(getattr(value, name)) for name in names if name not in compound}


def _by_key(values: Mapping[Key, Any]) -> list[dict[str, Any]]:
    return [
        {"measure": key.measure, "labels": _labels(key.labels), "value": _plain(value)}
        for key, value in values.items()
    ]


def _labels(labels: Labels) -> dict[str, str]:
    return dict(labels)
