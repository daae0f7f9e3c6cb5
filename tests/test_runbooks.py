"""What alerts are called and say, and what a person then does."""

import pytest

from burnmeter.indicators import INDICATORS
from burnmeter.provision import runbooks
from burnmeter.provision.runbooks import Links
from tests.rule_files import objective


@pytest.mark.parametrize("indicator", INDICATORS)
def test_every_indicator_has_an_alert(indicator: str) -> None:
    assert runbooks.family(indicator).alert.endswith("BudgetBurn")


@pytest.mark.parametrize(
    ("indicator", "threshold"),
    [("ttft", "1 s"), ("errors", ""), ("cost", "2 dollars per million tokens")],
)
def test_a_threshold_is_said_with_its_unit(indicator: str, threshold: str) -> None:
    assert runbooks.threshold(objective(indicator)) == threshold


def test_a_page_says_what_users_feel() -> None:
    said = runbooks.family("ttft").texts(objective("ttft", percent=95), "page")

    assert said == {
        "summary": "{{ $labels.model }} is slow: {{ $labels.slo }} burns its error budget, and"
        " will be gone within days",
        "description": "{{ $value | humanizePercentage }} of events were slower than 1 s (ttft),"
        " where 95% are promised to be faster.",
    }


def test_what_is_not_measured_says_why() -> None:
    said = runbooks.family("not_measured").cause(objective("errors"), "vanished")

    assert said["summary"] == "{{ $labels.slo }} is not measured: it vanished"
    assert said["description"].startswith("It was counted for {{ $labels.model }}")


def test_links_lead_to_the_section_and_the_model() -> None:
    links = Links(runbooks_url="https://wiki/alerts", dashboards_url="https://grafana/")
    said = links.annotations("BurnmeterXid", {"summary": "s"})

    assert said == {
        "summary": "s",
        "dashboard_url": "https://grafana/d/burnmeter-model?var-model={{ $labels.model }}",
        "runbook_url": "https://wiki/alerts#burnmeterxid",
    }


def test_an_alert_of_a_node_leads_to_its_node() -> None:
    rule = next(one for one in runbooks.standing() if one.alert == "BurnmeterGpuLost").rule(Links())

    assert rule.annotations["dashboard_url"] == (
        "/d/burnmeter-node?var-instance={{ $labels.instance }}"
    )


def test_each_section_has_all_its_parts_once() -> None:
    text = runbooks.markdown()
    alerts = [one.alert for one in (*runbooks.families(), *runbooks.standing())]

    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == alerts
    for heading in runbooks.HEADINGS.values():
        assert text.count(f"**{heading}.** ") == len(alerts)
