"""Every exported metric: its name tells kind and unit, its help is a sentence, METRICS.md is true.

Whether exporters use only these names is tested where they are.
"""

import re

import pytest
import yaml

from burnmeter import catalog, units
from tests.parts import ROOT

METRICS = list(catalog.metrics().values())
UNITS = {base for base, _ in units.FACTORS.values()} | {
    "bytes_per_second",
    "dollars_per_hour",
    "dollars_per_second",
    "seconds_per_token",
    "none",
}
EVENTS = {"burnmeter_preemptions_total", "burnmeter_admission_rejections_total"}
"""Counts of events that happen to requests: the event is the last word, the unit is in the help."""
named = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def stem(metric):
    """The name up to its unit: without _total."""
    return metric.name.removesuffix("_total")


@named
def test_a_name_begins_with_ours_and_is_plain(metric):
    assert re.fullmatch(r"burnmeter_[a-z][a-z0-9]*(_[a-z0-9]+)*", metric.name)
    assert metric.measure == metric.name.removeprefix("burnmeter_")


@named
def test_a_unit_is_one_of_ours_and_the_last_word_of_the_name(metric):
    assert metric.unit in UNITS
    if metric.unit != "none" and metric.name not in EVENTS:
        assert stem(metric).endswith(f"_{metric.unit}")


@named
def test_a_name_that_ends_in_a_unit_has_it(metric):
    last = stem(metric).rpartition("_")[2]
    if last in UNITS:
        assert metric.unit == last


@named
def test_the_kind_is_in_the_name(metric):
    assert metric.kind in ("counter", "gauge", "histogram")
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    if metric.name.endswith("_info"):
        assert (metric.kind, metric.unit) == ("gauge", "none")


@named
def test_the_help_is_one_line_and_ends_with_a_full_stop(metric):
    assert metric.help.endswith(".")
    assert "|" not in metric.help
    assert "\n" not in metric.help
    assert metric.help[0].isupper() or metric.help[0].isdigit()


@named
def test_every_number_that_is_not_an_engines_says_where_it_comes_from(metric):
    assert (metric.source is None) == (metric.group in catalog.VANTAGES)
    if metric.source is not None:
        assert not metric.source.endswith(".")
        assert "\n" not in metric.source
        assert "|" not in metric.source


@named
def test_labels_are_plain_and_none_is_given_twice(metric):
    assert len(set(metric.labels)) == len(metric.labels)
    assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in metric.labels)
    assert not set(metric.labels) & {"le", "quantile", "job", "instance"}
    if metric.group in catalog.VANTAGES:
        assert metric.labels[:3] == catalog.ENGINE_LABELS


def test_no_name_is_given_twice():
    text = (ROOT / "agent/burnmeter/catalog.yaml").read_text("utf-8")
    names = [
        name
        for group, rows in yaml.safe_load(text).items()
        for row in rows
        for name in (
            [row["name"]]
            if "name" in row
            else [f"burnmeter_{group}_{measure}" for measure in row["like"]]
        )
    ]
    assert sorted(names) == sorted(set(names)) == sorted(catalog.metrics())


def test_no_two_metrics_share_an_opentelemetry_name():
    names = [metric.otel for metric in METRICS if metric.otel is not None]
    assert sorted(names) == sorted(set(names))


def test_a_gateways_and_a_probes_metrics_have_the_engines_kind_and_unit_under_their_own_name():
    engine, gateway = catalog.measure("ttft_seconds"), catalog.measure("ttft_seconds", "gateway")

    assert gateway.name == "burnmeter_gateway_ttft_seconds"
    assert (gateway.kind, gateway.unit, gateway.labels) == (
        engine.kind,
        engine.unit,
        engine.labels,
    )
    assert (gateway.measure, gateway.plain_measure) == ("gateway_ttft_seconds", "ttft_seconds")
    assert catalog.measure("preemptions_total", "gateway") is None
    assert catalog.measure("gateway_ttft_seconds") is None


def test_only_engine_metrics_are_measures():
    assert catalog.measure("ttft_seconds").name == "burnmeter_ttft_seconds"
    assert catalog.measure("target_up") is None
    assert catalog.measure("nothing") is None


def test_the_document_has_every_metric_and_is_up_to_date(accept):
    path, text = ROOT / "agent/METRICS.md", catalog.document()
    assert {metric.group for metric in METRICS} == set(catalog.GROUPS)
    assert all(f"| `{metric.name}` |" in text for metric in METRICS)

    if accept:
        path.write_text(text, "utf-8")
    assert path.read_text("utf-8") == text, "if this is right, run pytest --accept"
