"""A rule file with one mistake in it makes one of its generated tests fail.

All mutants take minutes, so by default every so-many-th is made; BURNMETER_ALL_MUTANTS=1 makes all.
"""

import os
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnmeter.provision import rule_set
from burnmeter.provision.rule_set import Wanted
from tests import mutants, rule_files
from tests.mutants import Mutant

STEP = 1 if os.environ.get("BURNMETER_ALL_MUTANTS") == "1" else 13
FILES = rule_set.files([rule_files.objective("errors")], Wanted())
FLEET = list(islice(mutants.of(FILES["fleet.yaml"]), 0, None, STEP))
ERRORS = list(islice(mutants.of(FILES["slo-errors.yaml"]), 0, None, STEP))
CASES: dict[str, list[dict[str, Any]]] = {}
"""Stem of a rule file -> its tests one by one; who has found a mistake is asked first next time."""


def cases(stem: str) -> list[dict[str, Any]]:
    if stem not in CASES:
        texts = [text for name, text in FILES.items() if name.startswith(f"tests/{stem}_")]
        documents = [yaml.safe_load(text) for text in texts]
        CASES[stem] = [
            {**document, "rule_files": ["rules.yaml"], "tests": [test]}
            for document in documents
            for test in document["tests"]
        ]
    return CASES[stem]


def is_found(mutant: Mutant, stem: str, folder: Path) -> bool:
    """Whether a test of the rule file fails on it."""
    (folder / "rules.yaml").write_text(mutant.text, "utf-8")
    known = cases(stem)
    for place, case in enumerate(known):
        (folder / "case.yaml").write_text(yaml.safe_dump(case), "utf-8")
        if rule_files.failures([folder / "case.yaml"]):
            known.insert(0, known.pop(place))
            return True
    return False


def test_without_a_mistake_no_test_fails(tmp_path: Path) -> None:
    unchanged = yaml.safe_dump(yaml.safe_load(FILES["fleet.yaml"]))

    assert not is_found(Mutant("none", "unchanged", unchanged), "fleet", tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", ERRORS, ids=[mutant.what for mutant in ERRORS])
def test_a_mistake_in_an_objectives_rules_is_found(mutant: Mutant, tmp_path: Path) -> None:
    assert is_found(mutant, "slo-errors", tmp_path)


@pytest.mark.parametrize("mutant", FLEET, ids=[mutant.what for mutant in FLEET])
def test_a_mistake_in_the_fleets_rules_is_found(mutant: Mutant, tmp_path: Path) -> None:
    assert is_found(mutant, "fleet", tmp_path)
