"""Every metric that leaves burnmeter: name, kind, unit, labels, help.

The list is catalog.yaml; this module reads it and answers questions. Nothing is exported, and no
rule, dashboard or document may use a name, that is not in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

PREFIX: Final = "burnmeter_"
ENGINE_LABELS: Final = ("model", "engine", "target")
"""Labels that every metric of an engine, a gateway or a probe carries besides its own."""
VANTAGES: Final = ("engine", "gateway", "probe")
WITNESSES: Final = (*VANTAGES, "http")
"""Who counts requests that went well; HTTP knows least of what was in an answer."""
ESTIMATE: Final = "estimate"
"""In place of a witness: requests that nobody saw fail, as those lost with a dead engine."""
GROUPS: Final = {
    "engine": "What engines count",
    "gateway": "What a gateway before the engines counts",
    "probe": "What our own probes count",
    "target": "Whether an engine is there",
    "slo": "Objectives",
    "gpu": "GPUs",
    "money": "GPU time, energy and money",
    "agent": "The agent itself",
}
"""Group -> its heading in METRICS.md, in that order."""
INTRODUCTION: Final = """\
# Metrics

Every name that leaves burnmeter, written by a test from `burnmeter/catalog.yaml`. Units are base
units and the last word of a name. What was not measured is absent, never zero.
`burnmeter explain NAME` says where a number comes from."""
TABLE_HEAD: Final = ("| metric | kind | labels | meaning |", "|---|---|---|---|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One exported metric."""

    name: str
    group: str
    kind: str
    """counter, gauge or histogram."""
    unit: str
    labels: tuple[str, ...]
    help: str
    otel: str | None
    source: str | None
    """Where it comes from or how it is made; None for an engine's, which its dialect says."""

    @property
    def measure(self) -> str:
        """Our own word for it inside the program: the name without the prefix."""
        return self.name.removeprefix(PREFIX)

    @property
    def plain_measure(self) -> str:
        """What the dialects call it, from whatever vantage it is counted."""
        is_elsewhere = self.group in VANTAGES[1:]
        return self.measure.removeprefix(f"{self.group}_") if is_elsewhere else self.measure


def _metric(group: str, row: dict[str, Any]) -> Metric:
    own = tuple(row.get("labels", ()))
    common = ENGINE_LABELS if group in VANTAGES else ()
    return Metric(
        name=row["name"],
        group=group,
        kind=row["kind"],
        unit=row["unit"],
        labels=common + own,
        help=row["help"],
        otel=row.get("otel"),
        source=row.get("from"),
    )


@cache
def metrics() -> dict[str, Metric]:
    """All metrics by full name, in the order of the file."""
    text = files("burnmeter").joinpath("catalog.yaml").read_text("utf-8")
    groups = yaml.safe_load(text)
    found: dict[str, Metric] = {}
    for group, rows in groups.items():
        for row in rows:
            for metric in _like(group, row, found) if "like" in row else (_metric(group, row),):
                found[metric.name] = metric
    return found


def _like(group: str, row: dict[str, Any], known: dict[str, Metric]) -> Iterator[Metric]:
    """The engine metrics that a row lists, under the names of another vantage."""
    for name in row["like"]:
        base = known[PREFIX + name]
        seen = base.help[0].lower() + base.help[1:]
        yield replace(
            base,
            name=PREFIX + seen_from(group, name),
            group=group,
            help=f"{row['help']}: {seen}",
            otel=None,
        )


def seen_from(vantage: str, measure_name: str) -> str:
    """What a measure is called where it is counted by somebody else than the engine."""
    return measure_name if vantage == VANTAGES[0] else f"{vantage}_{measure_name}"


def document() -> str:
    """agent/METRICS.md: every metric in a table. `pytest --accept` writes it anew."""
    lines = [INTRODUCTION]
    for group, heading in GROUPS.items():
        lines += ["", f"## {heading}", "", *TABLE_HEAD]
        lines += [_row(metric) for metric in metrics().values() if metric.group == group]
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    otel = f" OpenTelemetry: `{metric.otel}`." if metric.otel else ""
    source = f" From: {metric.source}." if metric.source else ""
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help}{source}{otel} |"


def measure(name: str, vantage: str = VANTAGES[0]) -> Metric | None:
    """The metric that the dialects of a vantage call `name`, or None."""
    found = metrics().get(PREFIX + seen_from(vantage, name))
    return found if found is not None and found.group == vantage else None
