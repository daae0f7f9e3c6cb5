"""What one GPU costs per hour: the user's word, else the shipped list, else not known.

It bills nothing: dollars are accrued in attribution. Surprising: a listed name matches by words, as
boards has it, so that a slice of a GPU (MIG) is never priced as a whole one.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from burnmeter.boards import find

_FILE: Final = Path(__file__).with_name("prices.yaml")


class PriceList(NamedTuple):
    """The list that ships with the program, and how far to trust it."""

    date: str
    note: str
    gpu_dollars_per_hour: Mapping[str, float]


@functools.cache
def shipped() -> PriceList:
    """The shipped list, read once."""
    raw = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    dollars = {str(name): float(price) for name, price in raw["gpu_dollars_per_hour"].items()}
    return PriceList(str(raw["date"]), raw["note"], dollars)


def price(
    name: str,
    *,
    listed: Mapping[str, float],
    default: float | None,
    shipped: Mapping[str, float],
) -> float | None:
    """Dollars per hour of the GPU that NVML calls `name`. None: not known.

    `listed` and `default` are the config's `prices`; the shipped list is asked last.
    """
    ours = find(name, listed)
    if ours is not None:
        return ours
    return default if default is not None else find(name, shipped)
