"""The generated tests themselves: what they hold and how they write it."""

import yaml

from burnmeter.provision import rule_set, rule_tests
from burnmeter.provision.rule_set import Wanted
from burnmeter.provision.rule_story import Stretch
from tests.rule_files import objective


def cases(indicator: str, suffix: str = "", percent: float = 99.0) -> list[dict[str, object]]:
    made = rule_set.making(objective(indicator, percent=percent), Wanted())
    found: list[dict[str, object]] = yaml.safe_load(
        rule_tests.files(made, "../rules.yaml")[suffix]
    )["tests"]
    return found


def test_every_kind_of_case_is_there() -> None:
    said = " | ".join(str(case["name"]) for case in cases("errors"))

    for part in (
        "everything fails",
        "half of what the tier bears",
        "after recovery",
        "in a quiet hour fail",
        "in a quiet hour may have failed",
        "though ten requests an hour come",
        "counters that begin anew",
        "a gap",
        "starts again",
        "no agent counts it",
        "one of two nodes",
        "nobody can tell",
    ):
        assert part in said


def test_every_tier_is_tried_above_and_below() -> None:
    above = [case for s in ("", "_days") for case in cases("errors", s)]
    names = [str(case["name"]) for case in above]

    assert len([name for name in names if "after recovery" in name]) == 4
    assert len([name for name in names if "half of what the tier bears" in name]) == 4


def test_of_seconds_no_quiet_hour_is_asked() -> None:
    assert not [case for case in cases("availability") if "quiet" in str(case["name"])]


def test_of_money_no_page_is_asked_and_its_ticket_stays_as_an_outage_s_page_does() -> None:
    found = cases("cost")
    checks = [
        check
        for case in found
        for check in case["promql_expr_test"]  # type: ignore[attr-defined]
        if 'severity="page"' in check["expr"]
    ]

    assert "the ticket of an outage stays" in " | ".join(str(case["name"]) for case in found)
    assert checks
    assert not [check for check in checks if check["exp_samples"]]


def counter(*stretches: Stretch) -> str:
    return rule_tests._counter(stretches, [one.valid for one in stretches], 30.0)


def test_a_counter_goes_on_where_it_was() -> None:
    assert counter(Stretch(seconds=60, valid=10), Stretch(seconds=90, valid=5)) == "0+10x2 25+5x2"


def test_a_gap_has_no_samples_and_loses_nothing() -> None:
    found = counter(
        Stretch(seconds=60, valid=10), Stretch(seconds=60, valid=None), Stretch(seconds=60, valid=1)
    )

    assert found == "0+10x2 _x2 21+1x1"


def test_a_restart_begins_from_nothing() -> None:
    found = counter(Stretch(seconds=60, valid=10), Stretch(seconds=60, valid=10, is_restart=True))

    assert found == "0+10x2 0+10x1"
