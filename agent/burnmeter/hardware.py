"""What a board can do at most: bytes per second of its memory, operations per second by format.

The list is hardware.yaml, with the source of each entry. It measures nothing, and says nothing of
what an engine reaches: these are the roofs under which its numbers are read.

Surprising: the peaks are dense, so half of what vendors print first; and the format of the weights
is often not the one that the board computes in (`operations_per_second`).
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Any, Final, NamedTuple

import yaml

from burnmeter.boards import find

FORMATS: Final = ("tf32", "fp16", "bf16", "fp8", "fp4", "int8")
"""Number formats that a tensor core may multiply in."""
COMPUTED_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "tf32": ("tf32",),
    "fp16": ("fp16", "bf16"),
    "bf16": ("bf16", "fp16"),
    "fp8": ("fp8", "bf16", "fp16"),
    "int8": ("int8", "bf16", "fp16"),
    "fp4": ("fp4", "bf16", "fp16"),
    "int4": ("bf16", "fp16"),
}
"""Format of the weights -> the formats it is computed in, the first that the board has.

Where a board has no tensor cores for a format, engines keep the weights in it to save memory and
bandwidth, and widen them to 16 bit to multiply (weight-only kernels, such as Marlin in vLLM; it
warns of it for fp8 before Ada and for fp4 before Blackwell). So fp4 on Hopper runs at the rate of
bf16, not of fp8, and int4 always at that of 16 bit. 16 bit is either of two at one rate.
"""


class Peak(NamedTuple):
    """The roofs of one board."""

    bandwidth_bytes_per_second: float
    operations_per_second: Mapping[str, float]
    """By number format, dense; a format that is absent is not known, or the board lacks it."""
    source: str
    date: str
    """The month in which the figures were last held against their source."""


def peak(name: str) -> Peak | None:
    """The roofs of the GPU that NVML calls `name`. None: not known."""
    return find(name, shipped())


def operations_per_second(peak: Peak, weights: str) -> float | None:
    """The roof for weights in this format, by the format that they are computed in.

    None: not known, for the board or for the format.
    """
    rates = peak.operations_per_second
    return next((rates[fmt] for fmt in COMPUTED_IN.get(weights, ()) if fmt in rates), None)


@cache
def shipped() -> Mapping[str, Peak | None]:
    """The shipped list, read once. None: a board that only looks like one of the others."""
    return load(files("burnmeter").joinpath("hardware.yaml").read_text("utf-8"))


def load(text: str) -> Mapping[str, Peak | None]:
    """A list of boards from its YAML; ValueError names the board that is wrong."""
    raw = yaml.safe_load(text)
    others: dict[str, Peak | None] = {str(name): None for name in raw.get("other_boards", ())}
    return others | {str(name): _peak(str(name), entry) for name, entry in raw["boards"].items()}


def _peak(name: str, entry: Mapping[str, Any]) -> Peak:
    if entry.keys() != set(Peak._fields):
        raise ValueError(f"{name}: has {', '.join(entry)}; wanted {', '.join(Peak._fields)}")
    rates = entry["operations_per_second"]
    if not rates or rates.keys() - set(FORMATS):
        raise ValueError(f"{name}: knows the formats {', '.join(FORMATS)}, not {list(rates)}")
    for rate in (entry["bandwidth_bytes_per_second"], *rates.values()):
        if not (isinstance(rate, float) and isfinite(rate) and rate > 0):
            raise ValueError(f"{name}: {rate!r} is not a positive number with a decimal point")
    if not (entry["source"] and entry["date"]):
        raise ValueError(f"{name}: says not whence or when")
    return Peak(entry["bandwidth_bytes_per_second"], rates, entry["source"], str(entry["date"]))
