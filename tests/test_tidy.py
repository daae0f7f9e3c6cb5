"""The house rules hold, and each of them can fail. The rules themselves: tests/tidy.py."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import tidy
from tests.parts import ROOT

TEXT_SUFFIXES = {
    *tidy.words(".py .md .txt .toml .yaml .yml .json .sh .html .css .js .prom .c .h .tpl"),
    "",
}


def files_below(*folders: str) -> dict[str, str]:
    """Python files as they are on disk, committed or not."""
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def tracked_files() -> dict[str, str]:
    """All text that git would hand to somebody else."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout; there is no list of tracked files")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    paths = [Path(name) for name in listed if name and Path(name).suffix in TEXT_SUFFIXES]
    return {
        str(path): (ROOT / path).read_text(encoding="utf-8", errors="replace")
        for path in paths
        if (ROOT / path).is_file()
    }


def listed(complaints: list[str]) -> str:
    """One a line, so that a failure shows them all."""
    return "\n".join(complaints)


@pytest.mark.parametrize("rule", tidy.PROGRAM_RULES, ids=lambda rule: rule.__name__)
def test_the_program_and_its_tests_are_tidy(rule: Callable[[tidy.Files], list[str]]) -> None:
    assert listed(rule(files_below("agent", "tests"))) == ""


def test_no_tracked_file_names_a_registry_or_a_machine() -> None:
    assert listed(tidy.addresses(tracked_files())) == ""


DOC = '"""What it is for."""\n'
BAD: dict[str, tuple[Callable[[tidy.Files], list[str]], str, str, str]] = {
    "an upward import": (
        *(tidy.direction, "sli.py", "from burnmeter.slo import burn\n"),
        "`sli` imports `slo`, which stands after it",
    ),
    "an upward import of a module": (
        *(tidy.direction, "page.py", "from burnmeter import errors, loop\n"),
        "`page` imports `loop`",
    ),
    "a relative upward import": (
        *(tidy.direction, "sources/engines.py", "from ..export import web\n"),
        "`sources` imports `export`",
    ),
    "a module without a place": (tidy.direction, "helpers.py", "", "`helpers` has no place"),
    "a clock in the middle": (tidy.purity, "growth.py", "import time\n", "is pure"),
    "a socket in the middle": (
        *(tidy.purity, "slo.py", "from urllib.request import urlopen\n"),
        "may not import `urllib.request`",
    ),
    "a source that knows the middle": (
        *(tidy.strangers, "sources/engines.py", "from burnmeter import normalise\n"),
        "`sources` and `normalise` meet only in loop and cli",
    ),
    "an exporter that knows the simulated node": (
        *(tidy.strangers, "export/web.py", "import burnmeter.simulate.node\n"),
        "`export` and `simulate` meet only in loop and cli",
    ),
    "a lazy import": (
        *(tidy.hidden_imports, "cli.py", "def up():\n    from burnmeter import loop\n"),
        "cli.py:3: import our own modules at the top",
    ),
    "an import for types only": (
        *(
            tidy.hidden_imports,
            "sli.py",
            "if TYPE_CHECKING:\n    from burnmeter.model import Key\n",
        ),
        "import our own modules at the top",
    ),
    "a sleep in an exporter": (
        *(tidy.clocks, "export/otlp.py", "import time\ntime.sleep(1)\n"),
        "time.sleep belongs to",
    ),
    "a renamed clock": (tidy.clocks, "slo.py", "from time import time\n", "so that it shows"),
    "a long module": (tidy.sizes, "page.py", "x = 1\n" * 500, "501 lines; at most 500"),
    "a long function": (
        *(tidy.sizes, "page.py", "def read():\n" + "    x = 1\n" * 70),
        "read has 71 lines",
    ),
    "a function with many parameters": (
        *(tidy.sizes, "page.py", "def read(a, b, c, d, *, e, f, g, h): ...\n"),
        "read has 8 parameters",
    ),
    "an engine that decides in the middle": (
        *(tidy.engines, "sli.py", 'if engine == "sglang":\n    pass\n'),
        "sli.py:2: `sglang` names an engine",
    ),
    "a function for one engine": (
        *(tidy.engines, "views.py", "def show_vllm_page(): ...\n"),
        "`show_vllm_page` names an engine",
    ),
    "a foreign unit in a name": (tidy.units, "sli.py", "ttft_ms = 3\n", "`ttft_ms` names"),
    "a foreign unit in a parameter": (
        *(tidy.units, "sli.py", "def read(*, power_mw): ...\n"),
        "`power_mw` names",
    ),
    "a print": (tidy.prints, "loop.py", 'print("here")\n', "loop.py:2: print"),
    "a registry": (tidy.addresses, "loop.py", f"# see {tidy.HOSTS[0]}\n", "names the host"),
    "a machine's path": (
        *(tidy.addresses, "loop.py", "HOME = '/ro" + "ot/.cache'\n"),
        "a path of one machine",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_breach_is_found(name: str) -> None:
    rule, path, code, complaint = BAD[name]

    (found,) = rule({tidy.PACKAGE + path: DOC + code})

    assert complaint in found


def test_a_module_without_a_docstring_is_found() -> None:
    (found,) = tidy.docstrings({tidy.PACKAGE + "sli.py": "x = 1\n"})

    assert "sli.py: say in a docstring" in found


def test_what_the_rules_allow_passes() -> None:
    good = {
        "sli.py": DOC + "from burnmeter.model import Key\nfrom math import inf\n",
        "sources/nvml/child.py": DOC + "import time\n\npower_mw = 3\ntime.sleep(power_mw)\n",
        "loop.py": DOC
        + "from burnmeter import __version__, normalise\nfrom burnmeter.sources import nvml\n",
        "__init__.py": DOC,
    }

    files = {tidy.PACKAGE + path: text for path, text in good.items()}

    assert [line for rule in (*tidy.PROGRAM_RULES, tidy.addresses) for line in rule(files)] == []
