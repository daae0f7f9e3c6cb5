"""Dashboards as data: the reader of dashboards/*.yaml. Pure; it knows nothing of Grafana.

A dashboard says what is asked and what an answer means; how that looks is dashboard_panels.py's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

NAMES: Final = ("fleet", "model", "node", "money", "canary", "health")
"""In the order in which people go through them."""
HEIGHTS: Final = {"stat": 4, "table": 8}
"""In rows of Grafana's grid; of other kinds OTHER_HEIGHT."""
OTHER_HEIGHT: Final = 8
Thresholds = str | Mapping[float, str] | None
"""A word that objectives give a meaning, or values and colours from which on they hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question of a panel."""

    expr: str
    legend: str = ""
    name: str = ""
    """Of a table's column."""
    unit: str = ""
    thresholds: Thresholds = None
    optional: bool = False
    """It has an answer only where something is there that a fleet need not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel, with what it means and what to do about it."""

    kind: str
    title: str
    description: str
    width: int
    queries: tuple[Query, ...]
    height: int
    unit: str = ""
    thresholds: Thresholds = None
    links: Mapping[str, str] = field(default_factory=dict)
    """Column -> where a click on it leads, with its value as the variable of that name."""
    sort: str = ""
    """The column by which a table's rows stand."""
    interval: str = ""
    """The least time between two points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """What is chosen at the top of a dashboard: values that a query gives, or any text."""

    name: str
    label: str
    query: str = ""
    all: str = ""
    """What it is when everything is chosen; without it, one value is chosen."""
    text: str = ""
    """What it is at first, if it is a text."""
    optional: bool = False
    """A fleet need not have any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Moments that are marked in every chart."""

    title: str
    colour: str
    text: str
    expr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...]
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, in order."""
        return tuple(panel for row in self.rows for panel in row.panels)


def _read(name: str) -> dict[str, Any]:
    text = files("burnmeter").joinpath(f"provision/dashboards/{name}.yaml").read_text("utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


@cache
def plans() -> tuple[Plan, ...]:
    """All dashboards."""
    shared = _read("shared")
    return tuple(_plan(_read(name), shared) for name in NAMES)


def _plan(data: Mapping[str, Any], shared: Mapping[str, Any]) -> Plan:
    variables = [{"name": name, **shared["variables"][name]} for name in data["variables"]]
    annotations = [shared["annotations"][name] for name in data.get("annotations", ())]
    return Plan(
        uid=data["uid"],
        title=data["title"],
        description=data["description"],
        variables=tuple(Variable(**one) for one in variables),
        annotations=tuple(Annotation(**one) for one in annotations),
        rows=tuple(Row(title=one["title"], panels=_panels(one["panels"])) for one in data["rows"]),
    )


def _panels(rows: Sequence[Mapping[str, Any]]) -> tuple[Panel, ...]:
    found = []
    for row in rows:
        height = row.get("height", HEIGHTS.get(row["kind"], OTHER_HEIGHT))
        queries = tuple(Query(**one) for one in row["queries"])
        found.append(Panel(**{**row, "height": height, "queries": queries}))
    return tuple(found)
