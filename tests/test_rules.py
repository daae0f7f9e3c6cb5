"""How a rule file is written."""

import yaml

from burnmeter.provision.rules import HEADER, Group, Rule, dump, to_yaml

GROUP = Group(
    name="g",
    interval_seconds=30.0,
    rules=(
        Rule(record="a:b", expr="sum(x)", labels={"slo": "s"}),
        Rule(
            alert="Bad",
            expr="a:b > 1\nand\nc",
            for_seconds=900.0,
            labels={"severity": "page"},
            annotations={"summary": "{{ $labels.model }}: no"},
        ),
    ),
)


def test_a_file_is_what_prometheus_reads_and_a_person_too() -> None:
    assert to_yaml([GROUP]) == HEADER + (
        "groups:\n"
        "- name: g\n"
        "  interval: 30s\n"
        "  rules:\n"
        "  - record: a:b\n"
        "    expr: sum(x)\n"
        "    labels:\n"
        "      slo: s\n"
        "  - alert: Bad\n"
        "    expr: |-\n"
        "      a:b > 1\n"
        "      and\n"
        "      c\n"
        "    for: 15m\n"
        "    labels:\n"
        "      severity: page\n"
        "    annotations:\n"
        "      summary: '{{ $labels.model }}: no'\n"
    )


def test_an_object_of_the_operator_holds_the_same_groups() -> None:
    plain, made = (yaml.safe_load(to_yaml([GROUP], form=f)) for f in ("prometheus", "operator"))

    assert made["spec"] == plain
    assert (made["apiVersion"], made["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert made["metadata"]["name"] == "burnmeter"


def test_what_is_used_twice_is_written_twice() -> None:
    shared = {"a": 1}

    assert dump({"x": shared, "y": shared}) == "x:\n  a: 1\ny:\n  a: 1\n"
