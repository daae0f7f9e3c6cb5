"""Dashboards as they are written: drift, and what a careful reader of their queries would mind."""

import re

import pytest

from burnmeter.config_slos import DEFAULTS
from burnmeter.provision import burn_rules, dashboard_set, grafana_files, records, rule_set
from burnmeter.provision.dashboard_files import Plan, plans
from burnmeter.provision.dashboard_panels import UNITS
from burnmeter.provision.rule_set import Wanted
from tests import promql, rule_files
from tests.parts import ROOT

FOLDER = ROOT / "dashboards"
WRITTEN = grafana_files.board_files(dashboard_set.dashboards(rule_files.objectives()))
FILLED = {
    **dict.fromkeys(("cluster", "model", "slo", "engine", "instance"), ".*"),
    **dict.fromkeys(("baseline", "candidate"), 'target=~".+"'),
    "__rate_interval": "5m",
}
OF_A_FLEET = ("burnmeter-fleet", "burnmeter-model", "burnmeter-money")
"""Dashboards that show a whole fleet: at a thousand nodes they may read recorded series only."""
QUANTILE = re.compile(r":p\d+_(lower|upper)")
RECORDS = [rule for group in records.groups(("model",)) for rule in group.rules]
QUERIES = [
    (plan, panel, query) for plan in plans() for panel in plan.panels for query in panel.queries
]


def recorded() -> set[str]:
    """Every series that our rules record."""
    found = {rule.record for rule in RECORDS}
    for objective in rule_files.objectives():
        made = rule_set.making(objective, Wanted())
        found |= {rule.record for group in burn_rules.groups(made) for rule in group.rules}
    return found - {""}


def exprs(plan: Plan) -> list[str]:
    """Every query of a dashboard, with its variables in place; of variables what they select."""
    found = [query.expr for panel in plan.panels for query in panel.queries]
    found += [annotation.expr for annotation in plan.annotations]
    found += [
        v.query.removeprefix("label_values(").rpartition(",")[0] for v in plan.variables if v.query
    ]
    return [promql.filled(expr, FILLED) for expr in found]


def test_the_committed_files_are_those_that_would_be_written(accept: bool) -> None:
    if accept:
        for name, text in WRITTEN.items():
            (FOLDER / name).write_text(text, "utf-8")
    there = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.json")}

    assert there == WRITTEN, "if this is right, run pytest --accept"


@pytest.mark.parametrize("plan", plans(), ids=lambda plan: plan.uid)
def test_every_query_reads_what_agents_export_or_rules_record(plan: Plan) -> None:
    known = recorded() | {"ALERTS"}

    for expr in exprs(plan):
        for selector in promql.selectors(expr):
            name = promql.name_of(selector)
            fits = {one for one in known if re.fullmatch(name, one)}
            assert name in promql.exported() or fits, f"{plan.uid}: {name}"


@pytest.mark.parametrize("plan", plans(), ids=lambda plan: plan.uid)
def test_what_shows_a_fleet_reads_recorded_series_only(plan: Plan) -> None:
    raw = [
        selector
        for expr in exprs(plan)
        for selector in promql.selectors(expr)
        if promql.name_of(selector).startswith("burnmeter_")
    ]

    if plan.uid in OF_A_FLEET:
        assert [promql.name_of(one) for one in raw] == []
    for selector in raw:  # One node's own, or those of two versions of one model.
        labels = promql.matchers(selector)
        assert {"instance", "model", "cluster"} & labels.keys(), promql.name_of(selector)


def test_no_average_is_averaged_and_no_quantile_made_of_quantiles() -> None:
    found = [promql.filled(query.expr, FILLED) for _, _, query in QUERIES]
    for expr in (*found, *(rule.expr for rule in RECORDS)):
        for node in promql.nodes(expr):
            does = promql.done(node)
            assert does not in ("avg", "avg_over_time", "quantile", "quantile_over_time"), expr
            inner = node.prettify() if does else ""
            if does == "histogram_quantile":
                assert inner.count("histogram_quantile") == 1, expr
            if does in ("sum", "sum_over_time", "rate", "increase"):
                # A sum of bounds means nothing; the worst of several engines does.
                assert not QUANTILE.search(inner), expr


def test_every_record_is_read() -> None:
    readers = [expr for plan in plans() for expr in exprs(plan)] + [rule.expr for rule in RECORDS]
    read = {promql.name_of(one) for expr in readers for one in promql.selectors(expr)}

    assert {rule.record for rule in RECORDS} - read == set()


@pytest.mark.parametrize("plan", plans(), ids=lambda plan: plan.uid)
def test_every_panel_says_what_it_means_in_which_unit_and_fills_its_line(plan: Plan) -> None:
    for row in plan.rows:
        filled = 0
        for panel in row.panels:
            assert len(panel.description) > 10, panel.title
            assert panel.description[-1] in ".:", panel.title
            assert {panel.unit, *(query.unit for query in panel.queries)} <= UNITS.keys()
            filled += panel.width
            assert filled <= 24, panel.title
            filled %= 24
        assert filled == 0, row.title
    titles = [panel.title for row in plan.rows for panel in row.panels]
    assert len(titles) == len({(row.title, p.title) for row in plan.rows for p in row.panels})


def panel_of(uid: str, title: str) -> dict[str, object]:
    (found,) = (
        panel
        for one in dashboard_set.dashboards(DEFAULTS)
        if one.uid == uid
        for panel in one.document["panels"]
        if panel["title"] == title
    )
    return dict(found)


def test_thresholds_are_those_of_the_objectives() -> None:
    ttft = panel_of("burnmeter-model", "TTFT, median and 95 %, as the bounds of a bucket")
    burn = panel_of("burnmeter-fleet", "Burn of each model's worst objective")

    def steps(panel: dict[str, object]) -> object:
        return panel["fieldConfig"]["defaults"]["thresholds"]["steps"]  # type: ignore[index]

    assert steps(ttft) == [{"value": None, "color": "green"}, {"value": 1.0, "color": "red"}]
    assert steps(burn)[1:] == [  # type: ignore[index]
        {"value": 1.0, "color": "orange"},
        {"value": 6.0, "color": "red"},
    ]


def test_without_an_objective_there_is_no_threshold() -> None:
    (found,) = (d for d in dashboard_set.dashboards(()) if d.uid == "burnmeter-model")
    (ttft,) = (p for p in found.document["panels"] if p["title"].startswith("TTFT"))

    assert "thresholds" not in ttft["fieldConfig"]["defaults"]


def test_every_panel_has_a_number_and_a_place_of_its_own() -> None:
    for one in dashboard_set.dashboards(DEFAULTS):
        panels = one.document["panels"]
        places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
        assert len({p["id"] for p in panels}) == len(panels)
        assert len(set(places)) == len(places)


def test_links_of_alerts_lead_to_a_dashboard_and_fill_its_variable() -> None:
    known = {plan.uid: {v.name for v in plan.variables} for plan in plans()}
    for text in rule_set.files(rule_files.objectives(), Wanted()).values():
        for uid, variable in re.findall(r"/d/([a-z-]+)\?var-([a-z]+)=", text):
            assert variable in known[uid]


def test_a_click_in_a_table_leads_to_a_dashboard_with_that_variable() -> None:
    known = {f"/d/{plan.uid}": {v.name for v in plan.variables} for plan in plans()}
    links = [link for _, panel, _ in QUERIES for link in panel.links.items()]

    assert links
    assert all(column in known[path] for column, path in links)
