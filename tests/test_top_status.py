"""The head of `top`: whose numbers, how old, and never a good state that is not now."""

import pytest

from burnmeter.export.top_layout import breadth
from burnmeter.export.top_sections import sections
from burnmeter.export.top_status import HELP, Mode, Seen, bar, nothing, status, tabs
from tests import snapshots

GONE = "nothing listens on 127.0.0.1:9778; is the agent running?"
AGENT = "agent at http://127.0.0.1:9778"


PLAIN = Mode()


def text(seen: Seen, age: float | None = 3.0, mode: Mode = PLAIN, width: int = 100) -> list[str]:
    lines = status(seen, age, mode, width)
    return ["".join(said for said, _ in line) for line in lines]


def test_it_says_whose_numbers_they_are_and_how_old() -> None:
    title, verdict = text(Seen(AGENT, snapshots.good()))

    assert title.startswith(f"gpu-node-07  {AGENT} ")
    assert title.endswith(" 3 s old, every 5 s")
    assert verdict == "● good: All 3 models are good enough right now"


def test_what_is_not_real_says_so_before_anything_else_may_be_cut() -> None:
    for width in (60, 80, 200):
        assert "SIMULATED: not a real node" in text(Seen("", snapshots.simulated()), width=width)[0]


def test_a_pause_is_said_with_the_age_of_what_is_shown() -> None:
    (title, *_) = text(Seen("", snapshots.good()), 42.0, Mode(is_paused=True))

    assert title.endswith(" PAUSED  42 s old")


def test_a_source_that_is_gone_leaves_the_last_known_state_with_its_age() -> None:
    _, *doubt, verdict = text(Seen(AGENT, snapshots.good(), GONE), 200.0)

    said = " ".join(doubt)
    assert said.startswith("SOURCE GONE: this is the last known state, 3 min old: nothing listens")
    assert said.endswith("is the agent running?")
    assert verdict.startswith("○ not measured now; 3 min ago good: All 3 models")


@pytest.mark.parametrize(("age", "is_stale"), [(24.9, False), (25.1, True)])
def test_a_reading_that_is_older_than_healthz_allows_is_stale(age: float, is_stale: bool) -> None:
    lines = text(Seen(AGENT, snapshots.good()), age)

    assert ("STALE" in "".join(lines)) == is_stale
    assert ("● good" in "".join(lines)) != is_stale


def test_before_the_first_reading_it_says_so_or_why_there_is_none() -> None:
    assert text(Seen(AGENT), None)[1] == "waiting for the first reading ..."
    assert text(Seen(AGENT, failure=GONE), None)[1] == GONE


@pytest.mark.parametrize("kind", snapshots.ALL)
@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_screen(kind: str, width: int) -> None:
    seen = Seen(AGENT, snapshots.ALL[kind](), GONE)

    assert all(breadth(line) <= width for line in text(seen, 99.0, Mode(True, "x"), width))


def test_a_bar_says_what_its_rows_come_to_or_how_many_are_left_of_them() -> None:
    gpus = sections(snapshots.burning())["gpus"]

    def said(mode: Mode, shown: int = 8, *, is_cut: bool = False) -> str:
        return "".join(part for part, _ in bar(gpus, shown, mode, 80, is_cut=is_cut))

    assert said(Mode()).startswith(" 3 GPUs  6 busy, 1 not answering, 1 idle ──")
    assert said(Mode(section="gpus")).startswith("[3 GPUs] 6 busy")
    assert said(Mode(text="qwen"), 2).startswith(" 3 GPUs  2 of 8 with `qwen`; Esc: all ──")
    assert "; not all fit, 3 shows more ──" in said(Mode(), is_cut=True)
    assert breadth(said(Mode())) == 80


def test_the_names_of_all_sections_fit_80_columns_with_how_many_need_somebody() -> None:
    found = sections(snapshots.burning())
    line = "".join(part for part, _ in tabs(found, "gpus"))

    assert "[3 GPUs] 4 Objectives  5 Attention 7 " in line
    assert breadth(line) <= 80


def test_no_row_is_said_in_words_by_whose_fault() -> None:
    found = sections(snapshots.burning())["gpus"]

    assert nothing(found, Mode(text="x")) == "None of 8 has `x` in it; Esc shows all."
    assert nothing(sections(snapshots.good())["attention"], Mode()) == "Nothing here needs anybody."


def test_the_help_fits_a_small_terminal() -> None:
    lines = HELP.splitlines()

    assert len(lines) <= 22
    assert max(map(breadth, lines)) <= 74
