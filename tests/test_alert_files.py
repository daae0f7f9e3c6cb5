"""The committed rule files: as they would be written now, right by promtool, with runbooks."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from burnmeter.provision import rule_set, runbooks
from burnmeter.provision.rule_set import Wanted
from tests import promql, rule_files
from tests.parts import ROOT

WRITTEN = rule_set.files(rule_files.objectives(), Wanted())
RULES = sorted(name for name in WRITTEN if not name.startswith("tests/"))
TESTS = sorted(name for name in WRITTEN if name.startswith("tests/"))


def rules_of(name: str) -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(WRITTEN[name])["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_file_is_as_it_would_be_written_now(name: str, accept: bool) -> None:
    path = rule_files.FOLDER / name
    if accept:
        path.parent.mkdir(exist_ok=True)
        path.write_text(WRITTEN[name], "utf-8")

    assert path.read_text("utf-8") == WRITTEN[name], "if this is right, run pytest --accept"


def test_no_file_is_left_of_an_objective_that_is_gone() -> None:
    there = {str(path.relative_to(rule_files.FOLDER)) for path in rule_files.FOLDER.rglob("*.yaml")}

    assert there == WRITTEN.keys() | {"slos.yaml"}


def test_the_document_has_every_runbook_and_the_table_of_now(accept: bool) -> None:
    path = rule_files.FOLDER / "README.md"
    now = rule_files.readme(path.read_text("utf-8"))
    if accept:
        path.write_text(now, "utf-8")

    assert path.read_text("utf-8") == now, "if this is right, run pytest --accept"


@pytest.mark.parametrize("name", RULES)
def test_promtool_finds_nothing_wrong(name: str) -> None:
    ran = rule_files.promtool("check", "rules", rule_files.FOLDER / name)

    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.timeout(600)
def test_what_is_promised_holds() -> None:
    ran = rule_files.all_failures(rule_files.FOLDER / name for name in TESTS)

    assert set(ran.values()) == {""}, "\n".join(ran.values())


@pytest.mark.parametrize("name", RULES)
def test_a_rule_reads_only_what_agents_export_or_rules_record(name: str) -> None:
    found = rules_of(name)
    read = {promql.name_of(s) for rule in found for s in promql.selectors(str(rule["expr"]))}
    recorded = {str(rule["record"]) for rule in found if "record" in rule}

    assert read - promql.exported() - recorded == set()


@pytest.mark.parametrize("name", [name for name in RULES if name != "records.yaml"])
def test_every_alert_says_what_how_urgent_and_where_to_read_on(name: str) -> None:
    document = (rule_files.FOLDER / "README.md").read_text("utf-8")
    headings = {line[3:].lower() for line in document.splitlines() if line.startswith("## ")}
    found = [rule for rule in rules_of(name) if "alert" in rule]

    assert found
    for rule in found:
        labels, said = rule["labels"], rule["annotations"]
        assert isinstance(labels, dict)
        assert isinstance(said, dict)
        assert labels["severity"] in ("page", "ticket")
        assert {"summary", "description", "dashboard_url", "runbook_url"} == said.keys()
        place, _, anchor = said["runbook_url"].partition("#")
        assert (ROOT / place).is_file()
        assert anchor in headings
        assert "{" not in re.sub(r"\{\{.*?\}\}", "", said["summary"] + said["description"])


def test_every_alert_of_a_fleet_is_tested_both_ways() -> None:
    for one in runbooks.standing():
        assert any(case.get("fires_at") for case in one.tests), one.alert
        assert any(case.get("quiet_at") for case in one.tests), one.alert


def test_a_page_may_silence_the_ticket_of_its_own_objective_and_nothing_else() -> None:
    text = (rule_files.FOLDER / "README.md").read_text("utf-8")
    (found,) = (b for b in re.findall(r"```yaml\n(.*?)```", text, re.S) if "inhibit" in b)
    (rule,) = yaml.safe_load(found)["inhibit_rules"]

    # Labels that both lack are equal to Alertmanager: a lost GPU must not silence absent agents.
    assert 'slo!=""' in rule["source_matchers"]
    assert 'slo!=""' in rule["target_matchers"]
    # Nor may a burning budget silence that the same objective is not measured.
    assert rule["equal"] == ["alertname", "slo", "model"]


ODD = [
    (99.0, 1.0, True),
    (99.0, 3.0, True),
    (75.0, 30.0, True),
    (50.0, 90.0, True),
    (10.0, 30.0, True),
    (99.0, 3.0, False),
    (50.0, 30.0, False),
]
"""Percent, days, and whether it pages."""


@pytest.mark.timeout(600)
def test_odd_promises_have_rules_without_doubles_and_tests_that_pass(tmp_path: Path) -> None:
    tests: list[Path] = []
    for percent, days, is_paging in ODD:
        folder = tmp_path / f"{percent}-{days}-{is_paging}"
        wanted = rule_files.objective("errors", percent=percent, days=days)
        tests.append(rule_files.write(folder, replace(wanted, is_paging=is_paging))[-1])
        ran = rule_files.promtool("check", "rules", "--lint-fatal", folder / "slo-errors.yaml")
        assert ran.returncode == 0, ran.stdout + ran.stderr
    found = rule_files.all_failures(tests)

    assert [path.name for path in found] == ["slo-errors_test.yaml"] * len(ODD)
    assert set(found.values()) == {""}, "\n".join(found.values())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("days", [28.0, 30.0])
def test_other_promises_hold_as_well(days: float, tmp_path: Path) -> None:
    tests: list[Path] = []
    for percent in (99.9, 99.0, 95.0, 90.0):
        folder = tmp_path / f"{percent}"
        wanted = rule_files.objective("errors", percent=percent, days=days)
        tests += rule_files.write(folder, wanted)
        checked = rule_files.promtool("check", "rules", folder / "slo-errors.yaml")
        assert checked.returncode == 0, checked.stdout
    ran = rule_files.all_failures(tests)

    assert len(ran) == 8
    assert set(ran.values()) == {""}, "\n".join(ran.values())
