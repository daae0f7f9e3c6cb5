"""Where tests find the parts that are not Python: found if present, else the test is skipped.

With BURNMETER_REQUIRE_ALL=1 an absent part is a failure, so that a green run cannot hide a skip.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent


def missing(what: str, how: str) -> NoReturn:
    """Skip this test because `what` is absent, or fail it if everything is required."""
    text = f"{what} is not on this machine; {how}"
    if os.environ.get("BURNMETER_REQUIRE_ALL") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def program(*names: str, package: str) -> str:
    """Path of the first of `names` on PATH; else skip, naming the Debian `package` to install."""
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    missing(names[0], f"install the package `{package}`")


def engine_environment(engine: str) -> Path:
    """Folder of one real engine's own Python environment, made by tests/engines/setup.sh."""
    folder = Path(os.environ.get("BURNMETER_ENGINES", ROOT / ".parts" / "engines")) / engine
    if not (folder / "bin" / "python").exists():
        missing(f"engine {engine}", f"run `tests/engines/setup.sh {engine}`")
    return folder


def axe() -> str:
    """The text of axe-core, installed by tests/axe/setup.sh."""
    file = ROOT / ".parts" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists():
        missing("axe-core", "run `tests/axe/setup.sh`")
    return file.read_text("utf-8")
