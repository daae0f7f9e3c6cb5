"""Which files there are for which objectives."""

import yaml

from burnmeter.provision import rule_set
from burnmeter.provision.rule_set import Wanted
from tests.rule_files import objective

ERRORS = objective("errors")


def test_each_objective_has_a_file_and_tests_of_hours_and_of_days() -> None:
    assert list(rule_set.files([ERRORS], Wanted())) == [
        "fleet.yaml",
        "tests/fleet_test.yaml",
        "records.yaml",
        "slo-errors.yaml",
        "tests/slo-errors_test.yaml",
        "tests/slo-errors_days_test.yaml",
    ]


def test_without_objectives_there_is_what_every_fleet_has() -> None:
    assert list(rule_set.files([], Wanted())) == [
        "fleet.yaml",
        "tests/fleet_test.yaml",
        "records.yaml",
    ]


def test_the_same_objectives_give_the_same_bytes() -> None:
    assert rule_set.files([ERRORS], Wanted()) == rule_set.files([ERRORS], Wanted())


def test_objects_have_names_of_their_own_and_no_tests() -> None:
    found = rule_set.files([ERRORS], Wanted(form="operator"))

    names = [yaml.safe_load(text)["metadata"]["name"] for text in found.values()]
    assert names == ["burnmeter-fleet", "burnmeter-records", "burnmeter-slo-errors"]


def test_a_burn_in_has_no_alert_and_no_tests() -> None:
    found = rule_set.files([ERRORS], Wanted(is_burn_in=True))

    assert list(found) == ["fleet.yaml", "records.yaml", "slo-errors.yaml"]
    assert not [text for text in found.values() if "alert:" in text]
