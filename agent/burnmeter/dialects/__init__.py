"""Engines as data: one YAML file per serving engine, and the loader that checks them.

A dialect says how an engine's page is recognised and how its names become our measures. No engine's
name stands in Python outside this folder. README.md beside this file tells how to add one.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from burnmeter.dialects.parsing import base_of, parse
from burnmeter.dialects.recognition import others, recognise, role_of
from burnmeter.dialects.schema import Asks, Dialect, Hint, Mark, Measure, Role, Rule
from burnmeter.dialects.series import series
from burnmeter.slo_meanings import Series

__all__ = [
    "INDICATORS",
    "Asks",
    "Dialect",
    "Hint",
    "Mark",
    "Measure",
    "Role",
    "Rule",
    "bounds_by_engine",
    "load_all",
    "others",
    "parse",
    "recognise",
    "role_of",
    "series_known",
]

INDICATORS: Final = {
    "ttft": "ttft_seconds",
    "itl": "itl_seconds",
    "tpot": "tpot_seconds",
    "duration": "duration_seconds",
    "queue": "queue_seconds",
}
"""Short name of a latency indicator -> the measure that it judges."""


@cache
def load_all() -> Mapping[str, Dialect]:
    """Every dialect that ships with the program, by engine."""
    folder = files("burnmeter").joinpath("dialects")
    texts = {p.name: p.read_text("utf-8") for p in folder.iterdir() if p.name.endswith(".yaml")}
    found: dict[str, Dialect] = {}
    # What is like another is read after it.
    for name in sorted(texts, key=lambda name: base_of(texts[name], name) is not None):
        dialect = parse(texts[name], name, found)
        found[dialect.engine] = dialect
    return dict(sorted(found.items()))


def bounds_by_engine() -> dict[str, dict[str, tuple[float, ...]]]:
    """Engine -> latency indicator -> default bounds, for the config's checks of thresholds.

    Not of our own probe, which nobody lists as a target."""
    return {
        engine: {
            short: dialect.measures[name].bounds
            for short, name in INDICATORS.items()
            if name in dialect.measures
        }
        for engine, dialect in load_all().items()
        if dialect.vantage != "probe"
    }


@cache
def series_known() -> Mapping[str, tuple[Series, ...]]:
    """Name on a page -> what it is to each engine that has it, of those that objectives count."""
    found: dict[str, list[Series]] = {}
    for dialect in load_all().values():
        if dialect.vantage != "probe":
            for name, meaning in series(dialect, INDICATORS):
                found.setdefault(name, []).append(meaning)
    return {name: tuple(meanings) for name, meanings in found.items()}
