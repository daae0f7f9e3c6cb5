"""Engines as data: one YAML file per serving engine, and the loader that checks them.

A dialect says how an engine's page is recognised and how its names become our measures. No engine's
name stands in Python outside this folder. README.md beside this file tells how to add one.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from burnmeter.dialects.parsing import parse
from burnmeter.dialects.recognition import recognise, role_of
from burnmeter.dialects.schema import Dialect, Hint, Measure, Role, Rule

__all__ = [
    "INDICATORS",
    "Dialect",
    "Hint",
    "Measure",
    "Role",
    "Rule",
    "bounds_by_engine",
    "load_all",
    "parse",
    "recognise",
    "role_of",
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
    paths = [path for path in folder.iterdir() if path.name.endswith(".yaml")]
    parsed = [parse(path.read_text("utf-8"), path.name) for path in paths]
    return {d.engine: d for d in sorted(parsed, key=lambda dialect: dialect.engine)}


def bounds_by_engine() -> dict[str, dict[str, tuple[float, ...]]]:
    """Engine -> latency indicator -> default bounds, for the config's checks of thresholds."""
    return {
        engine: {
            short: dialect.measures[name].bounds
            for short, name in INDICATORS.items()
            if name in dialect.measures
        }
        for engine, dialect in load_all().items()
    }
