"""The chart as a file: it is a picture of the right size, and where it cannot be, that is said."""

import builtins
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from burnmeter.provision import hindsight_chart
from burnmeter.provision.hindsight import judged
from tests.test_hindsight import GRID, OBJECTIVE, constant, outage, past

FOUND = judged(OBJECTIVE, "a $model$ of 5 %", "x", past(constant(10.0), outage(300, 400)), GRID)


def size(file: Path) -> tuple[int, int]:
    """Width and height by a PNG's first chunk."""
    width, height = struct.unpack(">II", file.read_bytes()[16:24])
    return width, height


@pytest.mark.parametrize("number", [1, 3])
def test_each_objective_has_a_chart_below_the_last(tmp_path: Path, number: int) -> None:
    file = tmp_path / "chart.png"

    hindsight_chart.write([FOUND] * number, file)

    assert file.read_bytes().startswith(b"\x89PNG\r\n")
    assert size(file) == (1100, int(110 * (2.0 * number + 0.8)))


def test_an_outage_colours_the_picture(tmp_path: Path) -> None:
    quiet = judged(OBJECTIVE, "m", "x", past(constant(10.0), constant(0.0)), GRID)
    red = {"calm.png": quiet, "outage.png": FOUND}

    counts = {}
    for name, one in red.items():
        hindsight_chart.write([one], tmp_path / name)
        pixels = pytest.importorskip("matplotlib.image").imread(tmp_path / name)
        counts[name] = int(((pixels[..., 0] - pixels[..., 2]) > 0.1).sum())

    assert counts["calm.png"] == 0
    assert counts["outage.png"] > 10_000


def test_what_is_too_much_for_one_picture_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "chart.png"

    hindsight_chart.write([FOUND] * (hindsight_chart.MOST + 5), file)

    assert size(file)[1] == int(110 * (2.0 * hindsight_chart.MOST + 0.8))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "no folder" / "chart.png"

    with pytest.raises(hindsight_chart.ChartError) as caught:
        hindsight_chart.write([FOUND], file)

    assert str(caught.value) == f"{file}: cannot be written: No such file or directory"


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuses(
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, globals_, locals_, fromlist, level)

    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuses)

    with pytest.raises(hindsight_chart.ChartError) as caught:
        hindsight_chart.need()

    text = "a chart as a file needs matplotlib; install it with: pip install 'burnmeter[charts]'"
    assert str(caught.value) == text
