"""One objective's rules, looked at as text; that they do what they should, promtool tells."""

from dataclasses import replace

import pytest

from burnmeter.provision import burn_rules, rule_set
from burnmeter.provision.rule_set import Wanted
from burnmeter.provision.rules import Rule
from tests.rule_files import objective


def rules(indicator: str = "errors", wanted: Wanted | None = None, **promise: float) -> list[Rule]:
    made = rule_set.making(objective(indicator, **promise), wanted or Wanted())
    return [rule for group in burn_rules.groups(made) for rule in group.rules]


def named(found: list[Rule], name: str) -> Rule:
    (rule,) = (one for one in found if one.record == name)
    return rule


def pages(found: list[Rule], severity: str = "page") -> str:
    (rule,) = (
        one
        for one in found
        if one.alert.endswith("BudgetBurn") and one.labels["severity"] == severity
    )
    return rule.expr


def test_good_and_valid_are_summed_over_nodes_before_they_are_divided() -> None:
    found = rules()

    assert "sum by (model) (increase(burnmeter_slo_valid_total" in (
        named(found, "slo:sli_valid:increase5m").expr
    )
    assert named(found, "slo:sli_error:ratio_rate5m").expr == (
        'slo:sli_bad:increase5m{slo="errors"}\n/\n(slo:sli_valid:increase5m{slo="errors"} > 0)'
    )
    assert not [rule for rule in found if "avg" in rule.expr]


def test_an_objective_that_pages_nobody_has_tickets_only() -> None:
    quiet = replace(objective("errors"), is_paging=False)
    made = rule_set.making(quiet, Wanted())
    found = [rule for group in burn_rules.groups(made) for rule in group.rules]

    assert {rule.labels["severity"] for rule in found if rule.alert} == {"ticket"}
    assert pages(found, "ticket") == pages(rules(), "ticket")
    # Doubt is held against its fastest tier, whose window is summed up from recorded increases.
    assert named(found, "slo:sli_bad_upper:increase1d").expr == (
        'sum_over_time(slo:sli_bad_upper:increase5m{slo="errors"}[1d]) * 30 / 300'
    )


def test_a_long_window_is_summed_from_what_was_recorded() -> None:
    assert named(rules(), "slo:sli_bad:increase3d").expr == (
        'sum_over_time(slo:sli_bad:increase5m{slo="errors"}[3d]) * 30 / 300'
    )


def test_the_names_are_sloths() -> None:
    found = {rule.record for rule in rules(percent=99.9)}

    windows = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")
    assert found >= {f"slo:sli_error:ratio_rate{window}" for window in windows}
    assert found >= {
        "slo:objective:ratio",
        "slo:error_budget:ratio",
        "slo:time_period:days",
        "slo:current_burn_rate:ratio",
        "slo:period_burn_rate:ratio",
        "slo:period_error_budget_remaining:ratio",
        "sloth_slo_info",
    }
    ratio = named(rules(), "slo:sli_error:ratio_rate5m")
    assert ratio.labels["sloth_window"] == "5m"
    assert ratio.labels["sloth_slo"] == "errors"


@pytest.mark.parametrize("wanted", ["(14.4 * 0.001)", "(6 * 0.001)"])
def test_factors_are_computed(wanted: str) -> None:
    assert wanted in pages(rules(percent=99.9))


def test_over_another_period_they_are_others() -> None:
    assert "(13.44 * 0.001)" in pages(rules(percent=99.9, days=28))


def test_a_rewritten_tier_has_its_own_windows() -> None:
    assert "ratio_rate20m" in pages(rules(percent=95))
    assert "ratio_rate1h" not in pages(rules(percent=95))


def test_a_floor_of_bad_events_is_asked_for_where_events_are_counted() -> None:
    assert 'slo:sli_bad:increase1h{slo="errors"} > 2.5' in pages(rules())
    assert "increase" not in pages(rules("availability"))
    assert "increase" not in pages(rules("cost"), "ticket")


def test_labels_beside_the_model_keep_objectives_apart() -> None:
    found = rules(wanted=Wanted(by=("model", "cluster")))

    assert "sum by (model, cluster) (increase(" in named(found, "slo:sli_valid:increase5m").expr


def test_an_objective_of_one_model_counts_no_other() -> None:
    one = replace(objective("errors"), match=(("model", 'a"b'),))
    made = rule_set.making(one, Wanted())
    first = burn_rules.groups(made)[0].rules[0]

    assert 'burnmeter_slo_valid_total{slo="errors",model="a\\"b"}' in first.expr


def test_what_runs_in_alerts_nobody() -> None:
    group = burn_rules.groups(rule_set.making(objective("errors"), Wanted()))[0]
    found = burn_rules.burnt_in(group)

    assert not [rule for rule in found.rules if rule.alert]
    recorded = [rule for rule in found.rules if rule.record == "slo:alert_burn_in:error_ratio"]
    assert {rule.labels["alertname"] for rule in recorded} == {
        "BurnmeterErrorBudgetBurn",
        "BurnmeterSloNotMeasured",
        "BurnmeterSloDiffers",
    }
    assert [rule.expr for rule in recorded] == [rule.expr for rule in group.rules if rule.alert]
