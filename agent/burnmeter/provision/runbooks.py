"""What each alert is called, what it says and what to do about it: the reader of alerts.yaml.

Rules, their tests and the runbooks of alerts/README.md are all made from what this gives, so that
no alert is without a runbook and no link is typed twice. It makes no rule.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

import yaml

from burnmeter import indicators
from burnmeter.indicators import INDICATORS
from burnmeter.model import Objective
from burnmeter.provision.conventions import number
from burnmeter.provision.counted import INTERVAL_SECONDS
from burnmeter.provision.rules import Group, Rule

RUNBOOKS: Final = "alerts/README.md"
"""Where they are if nobody says at what address: in this repository."""
HEADINGS: Final = {
    "meaning": "Meaning",
    "impact": "Impact",
    "first_look": "First look",
    "fix": "Fix",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The alerts of one name, for objectives of some kinds of indicator."""

    alert: str
    indicators: tuple[str, ...]
    summary: str
    description: str
    causes: Mapping[str, Mapping[str, str]]
    runbook: Mapping[str, str]

    def texts(self, objective: Objective, severity: str) -> dict[str, str]:
        """Summary and description for one objective."""
        more = ", and will be gone within days" if severity == "page" else ""
        filled = _filled({"summary": self.summary, "description": self.description}, objective)
        return {**filled, "summary": filled["summary"] + more} if self.is_burn else filled

    @property
    def is_burn(self) -> bool:
        """Whether it is about a budget that is spent."""
        return self.alert.endswith("BudgetBurn")

    @property
    def severities(self) -> str:
        """As a runbook says them."""
        if not self.is_burn:
            return "ticket"
        is_paging = any(INDICATORS[name].is_paging for name in self.indicators)
        return "page and ticket" if is_paging else "ticket, unless the objective says `page: true`"

    def cause(self, objective: Objective, cause: str) -> dict[str, str]:
        """Summary and description where an objective is not measured for one of its causes."""
        said = {"summary": self.summary, "description": self.description}
        return _filled(said, objective, self.causes[cause])


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where people are sent from an alert."""

    runbooks_url: str = RUNBOOKS
    dashboards_url: str = ""
    """Of Grafana; without it the links are relative to where Grafana shows the alert."""

    def annotations(
        self, alert: str, said: Mapping[str, str], *, model: bool = True
    ) -> dict[str, str]:
        """What an alert says, with its links."""
        board = f"{self.dashboards_url.rstrip('/')}/d/burnmeter-{'model' if model else 'node'}"
        key = "model" if model else "instance"
        return {
            **said,
            "dashboard_url": f"{board}?var-{key}={{{{ $labels.{key} }}}}",
            "runbook_url": f"{self.runbooks_url}#{anchor(alert)}",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An alert that every fleet has, whatever its objectives."""

    alert: str
    group: str
    severity: str
    expr: str
    for_seconds: float
    summary: str
    description: str
    runbook: Mapping[str, str]
    tests: tuple[Mapping[str, Any], ...]

    def rule(self, links: Links) -> Rule:
        """As Prometheus evaluates it."""
        said = {"summary": self.summary, "description": self.description}
        return Rule(
            alert=self.alert,
            expr=self.expr,
            for_seconds=self.for_seconds,
            labels={"severity": self.severity},
            annotations=links.annotations(
                self.alert, said, model="$labels.model" in self.summary + self.description
            ),
        )


@cache
def _file() -> dict[str, Any]:
    text = files("burnmeter").joinpath("provision/alerts.yaml").read_text("utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


@cache
def families() -> tuple[Family, ...]:
    """Those of objectives."""
    return tuple(
        Family(
            alert=row["alert"],
            indicators=tuple(row["indicators"]),
            summary=row["summary"],
            description=row["description"],
            causes=row.get("causes", {}),
            runbook={key: row[key] for key in HEADINGS},
        )
        for row in _file()["burns"]
    )


def family(indicator: str) -> Family:
    """That of one indicator. Raises KeyError if it has none."""
    for one in families():
        if indicator in one.indicators:
            return one
    raise KeyError(indicator)


@cache
def standing() -> tuple[Standing, ...]:
    """Those of every fleet, in the order of the file."""
    return tuple(
        Standing(
            alert=row["alert"],
            group=row["group"],
            severity=row["severity"],
            expr=row["expr"],
            for_seconds=row.get("for_seconds", 0.0),
            summary=row["summary"],
            description=row["description"],
            runbook={key: row[key] for key in HEADINGS},
            tests=tuple(row["tests"]),
        )
        for row in _file()["fleet"]
    )


def standing_groups(links: Links) -> tuple[Group, ...]:
    """A group for each part of a fleet: engines, gpus, the agents themselves."""
    by_name: dict[str, list[Rule]] = {}
    for one in standing():
        by_name.setdefault(one.group, []).append(one.rule(links))
    return tuple(
        Group(name=f"burnmeter-{name}", interval_seconds=INTERVAL_SECONDS, rules=tuple(rules))
        for name, rules in by_name.items()
    )


def markdown() -> str:
    """A section for each alert: meaning, impact, first look, fix."""
    return "\n".join(_sections())


def _sections() -> Iterator[str]:
    for one in families():
        yield from _section(one.alert, one.severities, one.runbook)
    for alert in standing():
        yield from _section(alert.alert, alert.severity, alert.runbook)


def _section(alert: str, severity: str, runbook: Mapping[str, str]) -> Iterator[str]:
    yield f"## {alert}\n"
    yield f"*{severity}*\n"
    for key, heading in HEADINGS.items():
        yield f"**{heading}.** {runbook[key].strip()}\n"


def anchor(alert: str) -> str:
    """Of a heading, as GitHub, GitLab and most readers of Markdown make it."""
    return quote(alert.lower())


def _filled(
    said: Mapping[str, str], objective: Objective, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Our own places filled; those of Prometheus's templates (`{{ ... }}`) stay."""
    about = {
        **(more or {}),
        "threshold": threshold(objective),
        "percent": f"{number(objective.objective_ratio * 100)}%",
        "indicator": objective.indicator,
    }
    found = dict(said)
    for key, text in about.items():
        found = {name: old.replace(f"{{{key}}}", text) for name, old in found.items()}
    return found


def threshold(objective: Objective) -> str:
    """What is good enough, for people."""
    value, key = indicators.threshold(objective), indicators.of(objective).threshold
    if value is None or key is None:
        return ""
    unit = "s" if key == indicators.SECONDS else indicators.THRESHOLDS[key].unit
    return f"{number(value)} {unit}"
