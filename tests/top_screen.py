"""`burnmeter top` on a screen of a size, without a terminal: what stands on it, as text."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from burnmeter.export.top_app import Top
from burnmeter.export.top_status import Seen
from burnmeter.snapshot import Snapshot
from tests import snapshots

Step = str | Callable[["Still"], object]
"""A key that is pressed, or something that happens to the source."""
AGENT = "agent at http://127.0.0.1:9778"


class Still:
    """A source that gives what it is told to."""

    def __init__(self, snapshot: Snapshot | None = None, age_seconds: float = 3.0) -> None:
        self.snapshot = snapshots.simulated() if snapshot is None else snapshot
        self.failure: str | None = None
        self.age = age_seconds

    def seen(self) -> Seen:
        return Seen(AGENT, self.snapshot, self.failure)

    def age_seconds(self, _: Snapshot) -> float:
        return self.age


def screens(size: tuple[int, int], feed: Still, *visits: Sequence[Step]) -> list[str]:
    """The screen after each visit's steps, one after the other in the same run."""
    return asyncio.run(_screens(size, feed, visits))


async def _screens(
    size: tuple[int, int], feed: Still, visits: Sequence[Sequence[Step]]
) -> list[str]:
    app, found = Top(feed), []
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for steps in visits:
            for step in steps:
                if isinstance(step, str):
                    await pilot.press(step)
                else:
                    step(feed)
                    app.look()
                await pilot.pause()
            await pilot.pause()
            found.append(shown(app))
    return found


def shown(app: Top) -> str:
    """All that is on the screen, without what is white at the ends of lines."""
    strips = app.screen._compositor.render_strips()
    return "".join(f"{strip.text.rstrip()}\n" for strip in strips)


def styles(app: Top) -> set[Any]:
    """Every style that something on the screen has."""
    strips = app.screen._compositor.render_strips()
    return {segment.style for strip in strips for segment in strip if segment.text.strip()}
