"""All dashboards for a set of objectives, as Grafana reads them. Pure.

It needs Grafana's own SDK, which few need (`grafana`), and which is imported only when asked for.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from burnmeter.errors import BurnmeterError
from burnmeter.model import Objective
from burnmeter.provision import dashboard_panels
from burnmeter.provision.dashboard_files import Annotation, Plan, Variable, plans

FOLDER_UID: Final = "burnmeter"
FOLDER_TITLE: Final = "burnmeter"
TAG: Final = "burnmeter"
REFRESH: Final = "30s"
SINCE: Final = "now-6h"
INSTALL: Final = "pip install 'burnmeter[grafana]'"


class DashboardError(BurnmeterError):
    """They cannot be made; one sentence with what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """One dashboard."""

    uid: str
    title: str
    document: Mapping[str, Any]
    """As Grafana stores it, with its uid, without an id and a version."""


def dashboards(objectives: Sequence[Objective]) -> tuple[Dashboard, ...]:
    """All of them, with the objectives' thresholds. Raises DashboardError without the SDK."""
    try:
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
    except ImportError:
        text = f"dashboards need Grafana's SDK; install it with: {INSTALL}"
        raise DashboardError(text) from None
    found = []
    for plan in plans():
        document = json.loads(JSONEncoder().encode(_built(plan, objectives)))
        for asked, written in zip(plan.annotations, document["annotations"]["list"], strict=True):
            # The SDK's form of an annotation has no place for its words.
            written["titleFormat"] = asked.text
        found.append(Dashboard(uid=plan.uid, title=plan.title, document=document))
    return tuple(found)


def _built(plan: Plan, objectives: Sequence[Objective]) -> Any:
    from grafana_foundation_sdk.builders.dashboard import Dashboard as Builder
    from grafana_foundation_sdk.builders.dashboard import DatasourceVariable, Row
    from grafana_foundation_sdk.models.dashboard import DashboardCursorSync

    made = (
        Builder(plan.title)
        .uid(plan.uid)
        .description(plan.description)
        .tags([TAG])
        .editable()
        .refresh(REFRESH)
        .time(SINCE, "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(dashboard_panels.board_link("burnmeter", TAG))
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for variable in plan.variables:
        made = made.with_variable(_variable(variable))
    made = made.annotations([_annotation(one) for one in plan.annotations])
    number = 0
    for row in plan.rows:
        number += 1
        made = made.with_row(Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            made = made.with_panel(dashboard_panels.built(panel, number, objectives))
    return made.build()


def _variable(variable: Variable) -> Any:
    from grafana_foundation_sdk.builders.dashboard import QueryVariable, TextBoxVariable
    from grafana_foundation_sdk.models.dashboard import (
        VariableOption,
        VariableRefresh,
        VariableSort,
    )

    if variable.text:
        text = TextBoxVariable(variable.name).label(variable.label)
        return text.default_value(variable.text)
    made = (
        QueryVariable(variable.name)
        .label(variable.label)
        .query({"query": variable.query, "refId": variable.name})
        .datasource(dashboard_panels.source())
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    if variable.all:
        chosen = VariableOption(selected=True, text="All", value="$__all")
        made = made.multi(True).include_all(True).all_value(variable.all).current(chosen)
    return made


def _annotation(one: Annotation) -> Any:
    from grafana_foundation_sdk.builders.dashboard import AnnotationQuery

    made = (
        AnnotationQuery()
        .name(one.title)
        .datasource(dashboard_panels.source())
        .enable(True)
        .hide(False)
    )
    return made.icon_color(one.colour).expr(one.expr)
