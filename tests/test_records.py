"""Recording rules for dashboards: what they give for counters that were made up, by promtool."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from burnmeter import histograms
from burnmeter.model import Histogram
from burnmeter.provision import records
from burnmeter.provision.dashboard_files import plans
from burnmeter.provision.rules import to_yaml
from tests import promql, rule_files

BOUNDS = (0.001, 0.025, 0.5, 1.0, 7.5, 80.0)
MODELS = 60
MINUTES = 10


def histogram(chance: random.Random) -> Histogram:
    """Some distribution; many have empty buckets."""
    return of([chance.choice((0, 0, 1, 3, 20)) for _ in range(len(BOUNDS) + 1)])


def of(weights: Sequence[int]) -> Histogram:
    """How many fell between each two bounds, the last above all of them."""
    counts = [float(sum(weights[: n + 1])) for n in range(len(BOUNDS))]
    return Histogram(BOUNDS, tuple(counts), float(sum(weights)), None)


def series(name: str, labels: str, per_minute: float) -> dict[str, str]:
    return {"series": f"{name}{{{labels}}}", "values": f"0+{per_minute:g}x{MINUTES}"}


def exported(model: str, one: Histogram, engine: str = "vllm") -> list[dict[str, str]]:
    rows = [*zip(one.bounds, one.counts, strict=True), ("+Inf", one.total)]
    labels = f'model="{model}",engine="{engine}",instance="a"'
    return [series("burnmeter_ttft_seconds_bucket", f'{labels},le="{b}"', n) for b, n in rows]


def failures(folder: Path, tests: Sequence[dict[str, Any]]) -> str:
    """What promtool finds wrong with expectations of the records."""
    (folder / "records.yaml").write_text(to_yaml(records.groups(("model",))), "utf-8")
    asked = {"rule_files": ["records.yaml"], "evaluation_interval": "30s", "tests": list(tests)}
    (folder / "test.yaml").write_text(yaml.safe_dump(asked), "utf-8")
    return rule_files.failures([folder / "test.yaml"])


def expected(query: str, samples: dict[str, float]) -> dict[str, Any]:
    rows = [{"labels": f'{{model="{m}"}}', "value": value} for m, value in samples.items()]
    return {"expr": query, "eval_time": f"{MINUTES}m", "exp_samples": rows}


def test_a_quantile_has_the_bounds_of_the_bucket_that_holds_it(tmp_path: Path) -> None:
    """As the agent itself gives them; above the last bucket there is no upper one."""
    chance = random.Random(7)
    made = {f"m{n}": histogram(chance) for n in range(MODELS)}
    none = [0] * len(BOUNDS)
    made |= {"idle": of([*none, 0]), "tail": of([*none, 5]), "first": of([5, *none])}
    checks = []
    for name, q in (("p50", 0.5), ("p95", 0.95)):
        bounds = {m: b for m, one in made.items() if (b := histograms.quantile(one, q)) is not None}
        lower = {m: b.lower_seconds for m, b in bounds.items()}
        upper = {m: b.upper_seconds for m, b in bounds.items() if b.upper_seconds is not None}
        assert len({*lower.values()}) > 3
        assert len(upper) < len(lower) < len(made)
        for side, samples in (("lower", lower), ("upper", upper)):
            recorded = f"model:burnmeter_ttft_seconds:{name}_{side}5m"
            checks.append(expected(f"round(max by (model) ({recorded}), 1e-6)", samples))
    rows = [row for model, one in made.items() for row in exported(model, one)]

    assert (
        failures(tmp_path, [{"interval": "1m", "input_series": rows, "promql_expr_test": checks}])
        == ""
    )


def test_failures_that_two_saw_count_once_at_least_and_twice_at_most(tmp_path: Path) -> None:
    rows = [
        series("burnmeter_requests_total", f'model="m",target="{target}",instance="a",{seen}', rate)
        for target, seen, rate in (
            ("one", 'outcome="ok",counted_by="engine"', 600),
            ("one", 'outcome="ok",counted_by="http"', 480),
            ("one", 'outcome="error",counted_by="engine"', 60),
            ("one", 'outcome="error",counted_by="http"', 120),
            ("two", 'outcome="error",counted_by="engine"', 60),
            ("two", 'outcome="lost",counted_by="estimate"', 6),
        )
    ]
    answered, at_least, at_most = 10.0, 3.0, 4.1
    checks = [
        expected(f"round(max by (model) (model:burnmeter_{what}:rate5m), 1e-6)", {"m": value})
        for what, value in (
            ("answered_requests", answered),
            ("failed_requests_lower", at_least),
            ("failed_requests_upper", at_most),
        )
    ]

    assert (
        failures(tmp_path, [{"interval": "1m", "input_series": rows, "promql_expr_test": checks}])
        == ""
    )


def test_without_a_failure_the_ratio_is_zero_and_not_absent(tmp_path: Path) -> None:
    where = 'model="m",target="one",instance="a",outcome="ok",counted_by="engine"'
    rows = [series("burnmeter_requests_total", where, 600)]
    checks = [
        expected(f"max by (model) (model:burnmeter_failed_requests_{side}:rate5m)", {"m": 0.0})
        for side in ("lower", "upper")
    ]

    assert (
        failures(tmp_path, [{"interval": "1m", "input_series": rows, "promql_expr_test": checks}])
        == ""
    )


def test_labels_that_keep_clusters_apart_are_kept() -> None:
    found = [rule for group in records.groups(("model", "zone")) for rule in group.rules]

    model = [rule.expr for rule in found if rule.record.startswith("model:burnmeter_tokens:")]
    assert model == ["sum by (cluster, model, zone, kind) (rate(burnmeter_tokens_total[5m]))"]
    assert not [rule for rule in found if "{by}" in rule.expr]


def test_a_mean_is_two_sums() -> None:
    found = [rule.record for group in records.groups(("model",)) for rule in group.rules]

    assert "model:burnmeter_queue_seconds_sum:rate5m" in found
    assert "model:burnmeter_queue_seconds_count:rate5m" in found


def of_target(name: str, labels: str, values: str) -> dict[str, str]:
    where = f'instance="a",target="gate"{labels}'
    return {"series": f"burnmeter_target_{name}{{{where}}}", "values": values}


def test_a_target_of_two_models_is_counted_for_both_and_its_restarts_while_it_is_down(
    tmp_path: Path,
) -> None:
    """Beside `up` it names none of several models, and a restart is told when it is down again."""
    rows = [
        *(of_target("info", f',model="{m}",engine="vllm",version="1"', "1x20") for m in "mn"),
        of_target("up", ',model=""', "1x8 0x12"),
        of_target("restarts_total", "", "0x7 1x12"),
    ]
    both = {"m": 1.0, "n": 1.0}
    down = {"m": 0.0, "n": 0.0}
    checks = [
        expected("max by (model) (model:burnmeter_targets:count)", both),
        expected("max by (model) (model:burnmeter_targets_up:count)", down),
        expected("max by (model) (model:burnmeter_target_restarts:increase5m) > bool 0", both),
        {
            "expr": "cluster:burnmeter_targets_down:count",
            "eval_time": f"{MINUTES}m",
            "exp_samples": [{"labels": "cluster:burnmeter_targets_down:count", "value": 1}],
        },
    ]

    found = failures(
        tmp_path, [{"interval": "1m", "input_series": rows, "promql_expr_test": checks}]
    )
    assert found == ""


def test_where_nothing_succeeds_there_is_an_answered_rate_and_it_is_zero(tmp_path: Path) -> None:
    where = 'model="m",target="one",instance="a",outcome="error",counted_by="http"'
    rows = [series("burnmeter_requests_total", where, 60)]
    checks = [expected("max by (model) (model:burnmeter_answered_requests:rate5m)", {"m": 0.0})]

    found = failures(
        tmp_path, [{"interval": "1m", "input_series": rows, "promql_expr_test": checks}]
    )
    assert found == ""


def test_an_upper_bound_in_the_fleet_s_table_is_not_another_engine_s(tmp_path: Path) -> None:
    """Above the last bucket of one engine there is none, whatever the other's is."""
    tail, quick = of([*[0] * len(BOUNDS), 5]), of([0, 5, *[0] * (len(BOUNDS) - 1)])
    rows = [
        row
        for model, engine, one in (("m", "vllm", tail), ("m", "sglang", quick), ("n", "x", quick))
        for row in exported(model, one, engine)
    ]
    (query,) = (
        query.expr
        for panel in plans()[0].panels
        for query in panel.queries
        if query.name == "p95 to"
    )
    asked = promql.filled(query, {"cluster": ".*", "model": ".*"})
    checks = [expected(f"round({asked}, 1e-6)", {"n": 0.025})]

    found = failures(
        tmp_path, [{"interval": "1m", "input_series": rows, "promql_expr_test": checks}]
    )
    assert found == ""
