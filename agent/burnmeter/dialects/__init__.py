"""Engines as data: one YAML file per serving engine, and the loader that checks them.

A dialect says how an engine's page is recognised and how its names become our measures. No engine's
name stands in Python outside this folder. README.md beside this file tells how to add one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

from burnmeter import catalog, units
from burnmeter.errors import DialectError
from burnmeter.model import ProcessHint

MERGES: Final = ("sum", "max")
INDICATORS: Final = {
    "ttft": "ttft_seconds",
    "itl": "itl_seconds",
    "tpot": "tpot_seconds",
    "duration": "duration_seconds",
    "queue": "queue_seconds",
}
"""Short name of a latency indicator -> the measure that it judges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way from an engine's series to one of our keys."""

    names: tuple[str, ...]
    """Newest first; the first that a page has is used, never two."""
    match: Mapping[str, re.Pattern[str]]
    """Label -> pattern that must fit the whole value."""
    labels: tuple[tuple[str, str], ...]
    """Our labels that this rule sets, sorted."""
    keep: tuple[str, ...]
    """The engine's labels that pass on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One of our measures as this engine gives it."""

    name: str
    kind: str
    factor: float
    """From the engine's unit to the base unit."""
    merge: str
    observed: str
    means: str
    bounds: tuple[float, ...]
    """The engine's default bucket bounds, a hint: versions and flags differ."""
    rules: tuple[Rule, ...]
    only_with: str | None
    """What must be switched on before a page has it; None: a page should have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A look-alike: a page with this family is not the engine itself."""

    role: str
    family: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """All that is known of one engine's page."""

    engine: str
    title: str
    recognise: str
    prefixes: tuple[str, ...]
    start: str | None
    model_labels: tuple[str, ...]
    roles: tuple[Role, ...]
    process: ProcessHint | None
    measures: Mapping[str, Measure]
    cancelled_estimate: tuple[str, str] | None
    """Measures (first token, finish) whose gap is the requests that ended without a trace."""
    progress: tuple[str, ...]
    not_available: Mapping[str, str]
    hints: Mapping[str, str]
    ignored: tuple[str, ...]
    source: str = field(repr=False, default="")
    """The file's text, for `explain`."""

    def is_ignored(self, family: str) -> bool:
        """Whether `family` is known and not wanted."""
        return any(
            re.fullmatch(re.escape(name).replace(r"\*", ".*"), family) for name in self.ignored
        )


def _rule(row: dict[str, Any]) -> Rule:
    return Rule(
        names=tuple(row["names"]),
        match={label: re.compile(str(pattern)) for label, pattern in row.get("match", {}).items()},
        labels=tuple(sorted((key, str(value)) for key, value in row.get("set", {}).items())),
        keep=tuple(row.get("keep", ())),
    )


def _measure(engine: str, name: str, row: dict[str, Any]) -> Measure:
    metric = catalog.measure(name)
    if metric is None:
        raise DialectError(f"{engine}: `{name}` is not in catalog.yaml")
    base, factor = units.FACTORS[row["unit"]]
    if (metric.kind, metric.unit) != (row["kind"], base):
        raise DialectError(
            f"{engine}: `{name}` is a {row['kind']} in {base} here,"
            f" and a {metric.kind} in {metric.unit} in catalog.yaml"
        )
    if row["merge"] not in MERGES:
        raise DialectError(f"{engine}: `{name}` merges by `{row['merge']}`; known: {MERGES}")
    rules = tuple(_rule(rule) for rule in row["from"])
    for rule in rules:
        labels = {key for key, _ in rule.labels} | set(rule.keep)
        if labels != set(metric.labels) - set(catalog.ENGINE_LABELS):
            raise DialectError(
                f"{engine}: `{name}` sets {sorted(labels)}, not the catalogue's labels"
            )
    return Measure(
        name=name,
        kind=row["kind"],
        factor=factor,
        merge=row["merge"],
        observed=row["observed"],
        means=row["means"],
        bounds=tuple(float(bound) for bound in row.get("bounds", ())),
        rules=rules,
        only_with=row.get("only_with"),
    )


def _hint(engine: str, row: dict[str, Any] | None) -> ProcessHint | None:
    if row is None:
        return None
    lists = ("command_patterns", "port_flags", "model_flags")
    fields: dict[str, Any] = {key: tuple(v) if key in lists else v for key, v in row.items()}
    return ProcessHint(engine=engine, **fields)


def parse(text: str) -> Dialect:
    """One dialect file's text -> Dialect. Raises DialectError with what contradicts what."""
    row = yaml.safe_load(text)
    engine = row["engine"]
    estimate = row.get("cancelled_estimate")
    return Dialect(
        engine=engine,
        title=row["title"],
        recognise=row["recognise"],
        prefixes=tuple(row["prefixes"]),
        start=row.get("start"),
        model_labels=tuple(row["model_labels"]),
        roles=tuple(Role(**role) for role in row.get("roles", ())),
        process=_hint(engine, row.get("process")),
        measures={name: _measure(engine, name, m) for name, m in row["measures"].items()},
        cancelled_estimate=(estimate["first"], estimate["finished"]) if estimate else None,
        progress=tuple(row.get("progress", ())),
        not_available=row.get("not_available", {}),
        hints=row.get("hints", {}),
        ignored=tuple(row.get("ignored", ())),
        source=text,
    )


@cache
def load_all() -> Mapping[str, Dialect]:
    """Every dialect that ships with the program, by engine."""
    folder = files("burnmeter").joinpath("dialects")
    texts = [f.read_text("utf-8") for f in folder.iterdir() if f.name.endswith(".yaml")]
    return {d.engine: d for d in sorted(map(parse, texts), key=lambda dialect: dialect.engine)}


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
