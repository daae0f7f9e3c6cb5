"""A recording made in a test: an agent in a world of doubles, its snapshots, and the file."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from burnmeter import wiring
from burnmeter.config import Config
from burnmeter.loop import Agent, World
from burnmeter.snapshot import Snapshot
from burnmeter.sources.recording import RawTick, Recording
from burnmeter.sources.replay import Replay
from tests.fakes_world import settings, world
from tests.nvml import Clock

INTERVAL_SECONDS = 1.0


def record(
    path: Path,
    steps: Iterable[Callable[[], object]],
    config: Config | None = None,
    *,
    clock: Clock | None = None,
    is_scrubbed: bool = False,
    with_models: bool = False,
    **changes: Any,
) -> list[Snapshot]:
    """One tick after each step, an interval apart; `changes` are fields of World."""
    config = config or settings()
    clock = clock or Clock()
    made: World = world(**{"monotonic": clock, "wall_clock": lambda: clock() + 1e9, **changes})
    into = wiring.recorder(path, config, made, is_scrubbed=is_scrubbed, with_models=with_models)
    agent = Agent(config, wiring.recorded(made, into))
    snapshots = []
    for step in steps:
        clock.passes(INTERVAL_SECONDS)
        step()
        snapshots.append(agent.tick())
    agent.close()
    into.close()
    assert into.stopped_by is None
    return snapshots


def ticks(path: Path) -> list[RawTick]:
    """All ticks of a complete file."""
    recording = Recording(path)
    found = list(recording.ticks())
    assert recording.cut is None
    return found


def replay(path: Path, config: Config | None = None) -> list[Snapshot]:
    """What each tick comes to, none of which may fail."""
    found = list(wiring.replayed(Replay(Recording(path)), config))
    return [snapshot for snapshot in found if snapshot is not None]


def without_cost(snapshot: Snapshot) -> Snapshot:
    """The snapshot but for what the agent itself cost."""
    health = replace(snapshot.health, cpu_seconds=0.0, memory_bytes=0.0, tick_duration_seconds=0.0)
    return replace(snapshot, health=health)
