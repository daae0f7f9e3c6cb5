"""The screen of `top`: transcripts at two sizes, and what no transcript can show."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from burnmeter.export.top_app import Top
from tests import snapshots
from tests.snapshot_parts import NOW
from tests.top_screen import Step, Still, screens, shown, styles

FOLDER = Path(__file__).parent / "cli"


def goes(feed: Still) -> None:
    """Its agent is no more."""
    feed.failure, feed.age = "nothing listens on 127.0.0.1:9778; is the agent running?", 245.0


def recovers(feed: Still) -> None:
    """A later reading, in which nothing burns."""
    feed.snapshot = replace(snapshots.moved(snapshots.good(), NOW + 5.0), is_simulated=True)


VISITS: dict[str, Sequence[Step]] = {
    "at the start": (),
    "2: engines": ("2",),
    "3, down four times: GPUs": ("3", *("down",) * 4),
    "4: objectives": ("4",),
    "5: what needs somebody": ("5",),
    "6: events": ("6",),
    "0: all sections": ("0",),
    "3, then s five times: sorted by the fifth column": ("3", *("s",) * 5),
    "r: the other way round": ("r",),
    "/ qwen: only what has that in it": ("slash", *"qwen", "enter"),
    "Esc, 1, Enter: all of the first model": ("escape", "1", "enter"),
    "Enter, p, and a later reading: paused": ("enter", "p", recovers),
    "p: the later reading": ("p",),
    "the agent is gone": (goes,),
    "?: help": ("question_mark",),
}


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60)])
def test_the_screen_comes_out_as_written(width: int, height: int, accept: bool) -> None:
    path = FOLDER / f"top-{width}x{height}.txt"

    found = screens((width, height), Still(), *VISITS.values())

    head = f"`burnmeter top` on {width} columns and {height} lines, after one key and another.\n"
    told = [f"\n--- {what} ---\n{screen}" for what, screen in zip(VISITS, found, strict=True)]
    now = "".join([head, *told])
    if accept:
        path.write_text(now)
    assert now == path.read_text(), "if this is meant: pytest --accept"
    assert max(len(line) for line in now.splitlines()) <= width


def test_a_paused_screen_stands_still_until_it_goes_on() -> None:
    before, paused, after = screens((80, 24), Still(), (), ("p", recovers), ("p",))

    assert "1 of 3 models is burning" in before
    assert "1 of 3 models is burning" in paused
    assert "PAUSED" in paused
    assert "All 3 models are good" in after
    assert "PAUSED" not in after


def test_the_cursor_stays_on_its_row_wherever_that_goes() -> None:
    def turns(feed: Still) -> None:
        before = snapshots.simulated()
        feed.snapshot = replace(before, gpus=tuple(reversed(before.gpus)))

    _, after = screens((80, 24), Still(), ("3", "down", "down"), (turns,))

    assert "\nGPU 2: NVIDIA H100" in after


def test_keys_typed_into_the_filter_are_no_commands() -> None:
    typed, kept, cleared = screens((80, 24), Still(), ("slash", *"qps"), ("enter",), ("escape",))

    assert "0 of 3 with `qps`" in typed
    assert "None of 3 has `qps` in it" in kept
    assert "PAUSED" not in kept
    assert "with `qps`" not in cleared


def test_tab_goes_to_the_next_section_and_shift_tab_back() -> None:
    on, back = screens((80, 24), Still(), ("tab",), ("shift+tab", "shift+tab"))

    assert "[2 Engines]" in on
    assert "[6 Events]" in back


def test_a_terminal_that_grows_shows_all_sections() -> None:
    async def grown() -> str:
        app = Top(Still())
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.resize_terminal(200, 60)
            await pilot.pause()
            await pilot.pause()
            return shown(app)

    assert "\n 6 Events " in asyncio.run(grown())


@pytest.mark.parametrize("size", [(1, 1), (79, 23), (500, 200)])
@pytest.mark.parametrize("kind", ["burning", "hostile"])
def test_every_state_can_be_drawn_on_a_screen_of_any_size(kind: str, size: tuple[int, int]) -> None:
    (screen,) = screens(size, Still(snapshots.ALL[kind]()), "035")

    assert len(screen.splitlines()) == size[1]


def test_foreign_names_are_no_markup_and_steer_nothing() -> None:
    name = "[bold]\x1b[2J[/nosuch]"
    view = replace(snapshots.good().models[0], model=name)
    (screen,) = screens((80, 24), Still(snapshots.empty(models=(view,))), ())

    assert "● [bold] [2J[/nosuch]" in screen
    assert "\x1b" not in screen


def test_before_the_first_reading_it_waits_and_says_so() -> None:
    feed = Still()
    first = feed.snapshot

    def starts(feed: Still) -> None:
        feed.snapshot = None

    def comes(feed: Still) -> None:
        feed.snapshot = first

    starts(feed)
    before, after = screens((80, 24), feed, ("s", "r", "enter", "3", "1"), (comes,))

    assert "waiting for the first reading" in before
    assert "TTFT p50" in after


@pytest.mark.parametrize("has_colour", [True, False])
def test_colours_are_the_terminals_own_sixteen_or_none(
    has_colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not has_colour:
        monkeypatch.setenv("NO_COLOR", "1")

    async def seen() -> set[object]:
        app = Top(Still())
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            return {colour for style in styles(app) for colour in (style.color, style.bgcolor)}

    numbers = {colour.number for colour in asyncio.run(seen()) if colour is not None}

    assert all(number is None or number < 16 for number in numbers)
    assert (numbers != {None}) == has_colour
