"""A rule file with one mistake in it makes one of its generated tests fail.

All mutants take minutes, so by default every so-many-th is made; BURNMETER_ALL_MUTANTS=1 makes all.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnmeter.provision import rule_set
from burnmeter.provision.rule_set import Wanted
from tests import mutants, rule_files
from tests.mutants import Mutant

STEP = 1 if os.environ.get("BURNMETER_ALL_MUTANTS") == "1" else 29
FILES = rule_set.files([rule_files.objective("errors")], Wanted())


class Hunt:
    """Looks for a test that fails on a mutant: who has found one is asked first next time."""

    def __init__(self, stem: str) -> None:
        texts = [text for name, text in FILES.items() if name.startswith(f"tests/{stem}_")]
        self.cases: list[dict[str, Any]] = [
            {**document, "rule_files": ["rules.yaml"], "tests": [test]}
            for document in map(yaml.safe_load, texts)
            for test in document["tests"]
        ]

    def finds(self, mutant: Mutant, folder: Path) -> bool:
        """Whether a test of the rule file fails on it."""
        folder.mkdir()
        (folder / "rules.yaml").write_text(mutant.text, "utf-8")
        for case in list(self.cases):
            (folder / "case.yaml").write_text(yaml.safe_dump(case), "utf-8")
            if rule_files.failures([folder / "case.yaml"]):
                self.cases.sort(key=lambda other: other is not case)
                return True
        return False

    def survivors(self, of: list[Mutant], folder: Path) -> list[str]:
        """What no test fails on; as many at once as there are processors."""
        folders = [folder / str(number) for number in range(len(of))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(self.finds, of, folders)
            return [one.what for one, is_found in zip(of, found, strict=True) if not is_found]


def test_without_a_mistake_no_test_fails(tmp_path: Path) -> None:
    unchanged = Mutant("none", "unchanged", FILES["fleet.yaml"])

    assert Hunt("fleet").survivors([unchanged], tmp_path) == ["unchanged"]


@pytest.mark.timeout(3600 if STEP == 1 else 900)
@pytest.mark.parametrize("stem", ["fleet", "slo-errors"])
def test_every_mistake_is_found(stem: str, tmp_path: Path) -> None:
    made = list(islice(mutants.of(FILES[f"{stem}.yaml"]), 0, None, STEP))

    assert made
    assert Hunt(stem).survivors(made, tmp_path) == []
