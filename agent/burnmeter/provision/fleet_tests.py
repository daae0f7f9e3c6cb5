"""The test file for the alerts that every fleet has, by what alerts.yaml says of each."""

from collections.abc import Mapping
from typing import Any, Final

from burnmeter.provision.conventions import duration
from burnmeter.provision.rule_tests import HEADER
from burnmeter.provision.rules import dump
from burnmeter.provision.runbooks import Standing, standing

EVERY_SECONDS: Final = 60.0


def file(rule_file: str) -> str:
    """For the rules in `rule_file`, a path beside it."""
    made: dict[str, Any] = {
        "rule_files": [rule_file],
        "evaluation_interval": duration(EVERY_SECONDS),
        "tests": [_test(one, case) for one in standing() for case in one.tests],
    }
    return HEADER + dump(made)


def _test(one: Standing, case: Mapping[str, Any]) -> dict[str, Any]:
    quiet: dict[int, list[Mapping[str, str]]] = {at: [] for at in case.get("quiet_at", ())}
    expected = quiet | dict(case.get("fires_at", {}))
    return {
        "name": f"{one.alert}: {case['case']}",
        "interval": duration(EVERY_SECONDS),
        "input_series": [{"series": name, "values": values} for name, values in case["series"]],
        "promql_expr_test": [
            _check(one, minute, labels) for minute, labels in sorted(expected.items())
        ],
    }


def _check(one: Standing, minute: int, firing: list[Mapping[str, str]]) -> dict[str, Any]:
    samples = []
    for labels in firing:
        all_labels = {"alertname": one.alert, "severity": one.severity, **labels}
        said = ",".join(f'{key}="{value}"' for key, value in sorted(all_labels.items()))
        samples.append({"labels": f'ALERTS{{alertstate="firing",{said}}}', "value": 1})
    return {
        "expr": f'ALERTS{{alertname="{one.alert}",alertstate="firing"}}',
        "eval_time": duration(minute * 60.0),
        "exp_samples": samples,
    }
