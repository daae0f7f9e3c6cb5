"""What one GPU costs per hour: the user's word, else the shipped list, else not known.

It bills nothing: dollars are accrued in attribution. Surprising: a listed name matches by words:
`H100` prices `NVIDIA H100 80GB HBM3`, but `L4` does not price an `NVIDIA L40S`; and a slice of a
GPU (MIG) is never priced as a whole one unless the list says `MIG` too.
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import yaml

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
    ours = _look_up(name, listed)
    if ours is not None:
        return ours
    return default if default is not None else _look_up(name, shipped)


def _look_up(name: str, dollars_by_name: Mapping[str, float]) -> float | None:
    """The exact name, else the entry with the most words among those whose words are all in it."""
    if name in dollars_by_name:
        return dollars_by_name[name]
    words = _words(name)
    best: tuple[int, float | None] = (0, None)
    for listed, dollars in dollars_by_name.items():
        wanted = _words(listed)
        is_whole_for_slice = "mig" in words and "mig" not in wanted
        if wanted <= words and len(wanted) > best[0] and not is_whole_for_slice:
            best = len(wanted), dollars
    return best[1]


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall("[a-z0-9]+", name.lower()))
