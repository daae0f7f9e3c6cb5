"""The tests of what every fleet has, as they are written."""

import yaml

from burnmeter.provision import fleet_tests, runbooks


def test_each_case_expects_the_alert_with_all_its_labels() -> None:
    document = yaml.safe_load(fleet_tests.file("../fleet.yaml"))
    down = document["tests"][0]

    assert document["rule_files"] == ["../fleet.yaml"]
    assert down["name"].startswith("BurnmeterEngineDown: ")
    assert [check["eval_time"] for check in down["promql_expr_test"]] == [
        *("5m", "6m", "8m", "16m", "17m")
    ]
    assert down["promql_expr_test"][2]["exp_samples"] == [
        {
            "labels": 'ALERTS{alertstate="firing",alertname="BurnmeterEngineDown",engine="vllm",'
            'instance="a",model="m",severity="page",target="chat"}',
            "value": 1,
        }
    ]
    assert down["promql_expr_test"][4]["exp_samples"] == []


def test_no_alert_is_without_a_case() -> None:
    document = yaml.safe_load(fleet_tests.file("../fleet.yaml"))

    tested = {test["name"].partition(":")[0] for test in document["tests"]}
    assert tested == {one.alert for one in runbooks.standing()}
