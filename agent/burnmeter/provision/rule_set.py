"""All rule files of a set of objectives, and their tests: what `burnmeter rules` writes. Pure.

One file for each objective, so that one can be left out, one for what every fleet has, and one for
what dashboards read.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from burnmeter.model import Objective
from burnmeter.provision import burn_rules, fleet_tests, records, rule_tests, runbooks
from burnmeter.provision.burn_rules import Making
from burnmeter.provision.counted import least_bad
from burnmeter.provision.rules import Group, to_yaml
from burnmeter.provision.runbooks import Links

FLEET: Final = "fleet"
RECORDS: Final = "records"
"""What dashboards read."""
TESTS: Final = "tests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How rules are to be written."""

    form: str = "prometheus"
    is_burn_in: bool = False
    """Record what would fire, and alert nobody."""
    by: tuple[str, ...] = ("model",)
    links: Links = field(default_factory=Links)


def making(objective: Objective, wanted: Wanted) -> Making:
    """One objective as its rules are made."""
    floor = least_bad(objective.indicator)
    return Making(objective=objective, by=wanted.by, links=wanted.links, floor=floor)


def files(objectives: Iterable[Objective], wanted: Wanted) -> dict[str, str]:
    """Name of each file below the folder -> its text; those of tests stand in `tests/`.

    What is only recorded cannot be tested by the alerts that it makes, so a burn-in has no tests;
    nor have objects of the operator, which promtool does not read.
    """
    has_tests = wanted.form == "prometheus" and not wanted.is_burn_in
    name = f"{FLEET}.yaml"
    found = {name: _text(runbooks.standing_groups(wanted.links), "burnmeter-fleet", wanted)}
    if has_tests:
        found[f"{TESTS}/{FLEET}_test.yaml"] = fleet_tests.file(f"../{name}")
    found[f"{RECORDS}.yaml"] = to_yaml(
        records.groups(wanted.by), form=wanted.form, name=f"burnmeter-{RECORDS}"
    )
    for objective in objectives:
        made, stem = making(objective, wanted), f"slo-{objective.name}"
        groups = burn_rules.groups(made)
        found[f"{stem}.yaml"] = _text(groups, f"burnmeter-{stem}", wanted)
        if has_tests:
            for suffix, text in rule_tests.files(made, f"../{stem}.yaml").items():
                found[f"{TESTS}/{stem}{suffix}_test.yaml"] = text
    return found


def _text(groups: Iterable[Group], name: str, wanted: Wanted) -> str:
    if wanted.is_burn_in:
        groups = map(burn_rules.burnt_in, groups)
    return to_yaml(groups, form=wanted.form, name=name)
