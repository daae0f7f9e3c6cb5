"""Our alerts as Grafana's rules: they fire where Prometheus' would, and say the same."""

import re

import pytest

from burnmeter.config import Config
from burnmeter.provision import burn_rules, rule_set, runbooks
from burnmeter.provision.grafana_alerts import Asking, groups
from burnmeter.provision.grafana_objects import Wanted
from burnmeter.provision.rules import Rule
from burnmeter.provision.runbooks import Links

OBJECTIVES = Config().objectives
ASKING = Asking(datasource_uid="prom", links=Links(dashboards_url="https://grafana"))
RULES = [rule for group in groups(OBJECTIVES, ASKING) for rule in group.rules]


def prometheus_alerts() -> list[Rule]:
    made = [*runbooks.standing_groups(Links())]
    for objective in OBJECTIVES:
        made += burn_rules.groups(rule_set.making(objective, rule_set.Wanted()))
    return [rule for group in made for rule in group.rules if rule.alert]


def test_every_alert_is_there_once_with_its_own_expression_and_no_recording_rule_is() -> None:
    expressions = [rule.document["data"][0]["model"]["expr"] for rule in RULES]

    assert expressions == [rule.expr for rule in prometheus_alerts()]
    assert len(RULES) > 40


def test_titles_and_uids_are_unique_and_as_grafana_allows() -> None:
    assert len({rule.title for rule in RULES}) == len(RULES)
    assert len({rule.uid for rule in RULES}) == len(RULES)
    assert all(re.fullmatch("[a-z0-9-]{1,40}", rule.uid) for rule in RULES)


def test_a_uid_stays_if_only_the_expression_or_the_data_source_changes() -> None:
    others = groups(OBJECTIVES, Asking(datasource_uid="other", by=("model", "cluster")))

    assert [rule.uid for group in others for rule in group.rules] == [r.uid for r in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.title)
def test_a_rule_fires_for_any_value_and_is_quiet_without_one(rule: Wanted) -> None:
    query, condition = rule.document["data"]

    assert query["model"]["instant"] is True
    assert query["datasourceUid"] == "prom"
    assert rule.document["condition"] == condition["refId"] == "B"
    # 0 is a value: `burnmeter_target_up == 0` fires in Prometheus.
    assert condition["model"]["expression"] == "is_number($A) || is_inf($A) || is_nan($A)"
    assert (rule.document["noDataState"], rule.document["execErrState"]) == ("OK", "Error")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.title)
def test_texts_take_the_value_where_grafana_has_it(rule: Wanted) -> None:
    said = "\n".join(rule.document["annotations"].values())

    assert "$value " not in said
    assert "https://grafana/d/burnmeter-" in said
    assert rule.document["labels"]["burnmeter_alert"] == rule.title.split()[0]
    assert rule.document["labels"]["severity"] in ("page", "ticket")


def test_a_value_in_a_text_is_that_of_the_query() -> None:
    (rule,) = (rule for rule in RULES if rule.title == "BurnmeterErrorBudgetBurn errors page")

    assert (
        "{{ $values.A.Value | humanizePercentage }}" in rule.document["annotations"]["description"]
    )


def test_groups_keep_their_names_and_intervals() -> None:
    found = {group.name: group.interval_seconds for group in groups(OBJECTIVES, ASKING)}

    assert found["burnmeter-engines"] == found["burnmeter-slo-ttft"] == 30
    assert "burnmeter-slo-ttft-period" not in found
