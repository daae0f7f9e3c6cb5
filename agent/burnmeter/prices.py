"""The list of prices that ships with the program: typical dollars per hour of a GPU in a cloud.

It decides for nobody; pricing.py asks it last. Each entry of prices.yaml says from which asking
prices it is taken, and when. Names match by words, as boards has it.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml


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
