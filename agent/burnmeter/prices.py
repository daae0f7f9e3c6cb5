"""What one GPU costs per hour: the user's word, else the shipped list, else not known.

It bills nothing: dollars are accrued in attribution. The shipped list is prices.yaml; each entry
says from which asking prices it is taken, and when.

Surprising: a listed name matches by words, as boards has it, so that a slice of a GPU (MIG) is
never priced as a whole one.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from burnmeter.boards import find


class Listed(NamedTuple):
    """One price of the shipped list."""

    dollars_per_hour: float
    date: str
    """The month of the newest asking price that it is taken from."""
    source: str


class PriceList(NamedTuple):
    """The list that ships with the program, and how far to trust it."""

    note: str
    gpus: Mapping[str, Listed]

    @property
    def gpu_dollars_per_hour(self) -> Mapping[str, float]:
        """The prices alone, as the config has its own."""
        return {name: listed.dollars_per_hour for name, listed in self.gpus.items()}


@cache
def shipped() -> PriceList:
    """The shipped list, read once."""
    return load(files("burnmeter").joinpath("prices.yaml").read_text("utf-8"))


def load(text: str) -> PriceList:
    """A price list from its YAML; ValueError names the GPU whose entry is wrong."""
    raw = yaml.safe_load(text)
    gpus = {str(name): _listed(name, entry) for name, entry in raw["gpus"].items()}
    return PriceList(raw["note"], gpus)


def _listed(name: str, entry: Mapping[str, Any]) -> Listed:
    if entry.keys() != set(Listed._fields) or not (entry["date"] and entry["source"]):
        raise ValueError(f"{name}: wanted {', '.join(Listed._fields)}, each said")
    dollars = entry["dollars_per_hour"]
    if not (isinstance(dollars, float) and dollars > 0):
        raise ValueError(f"{name}: {dollars!r} is not a price with a decimal point")
    return Listed(dollars, str(entry["date"]), entry["source"])


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
