"""Rule files as tests use them: written anew, and run through promtool."""

import os
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from burnmeter import config, dialects
from burnmeter.model import Objective
from burnmeter.provision import reach, rule_set, runbooks
from burnmeter.provision.rule_set import Wanted
from burnmeter.units import SECONDS_PER_DAY
from tests.parts import ROOT, program

FOLDER = ROOT / "alerts"


def objectives() -> tuple[Objective, ...]:
    """Those of the committed rule files."""
    loaded = config.load(FOLDER / "slos.yaml", bounds=dialects.bounds_by_engine())
    return loaded.objectives


def objective(indicator: str, *, percent: float = 99.0, days: float = 30.0) -> Objective:
    """One of the committed ones with another promise."""
    found = next(one for one in objectives() if one.indicator == indicator)
    ratio, period = round(percent / 100, 9), days * SECONDS_PER_DAY
    return replace(found, objective_ratio=ratio, period_seconds=period)


def write(folder: Path, *wanted: Objective) -> list[Path]:
    """All files for objectives, below a folder; those of tests are given."""
    for name, text in rule_set.files(wanted, Wanted()).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return sorted((folder / rule_set.TESTS).glob("slo-*_test.yaml"))


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """What promtool says."""
    command = [program("promtool", package="prometheus"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def failures(tests: Iterable[Path]) -> str:
    """What fails in test files; nothing if nothing does."""
    ran = promtool("test", "rules", *tests)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def all_failures(tests: Iterable[Path]) -> dict[Path, str]:
    """What fails in each of many test files, as many at once as there are processors."""
    known = list(tests)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(known, pool.map(lambda path: failures([path]), known), strict=True))


def readme(text: str) -> str:
    """The document with its written parts as they should be."""
    table = "\n".join(["```", *reach.table(objectives()), "```"])
    told = "\n".join(f"- {line}" for line in reach.rewritten(objectives()))
    text = _placed(text, "promises", f"{table}\n\nRewritten:\n\n{told}")
    return _placed(text, "runbooks", runbooks.markdown().rstrip())


def _placed(text: str, part: str, body: str) -> str:
    begin, end = f"<!-- {part}: written by a test -->\n", f"<!-- {part}: end -->"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{body}\n\n{end}{rest.partition(end)[2]}"
