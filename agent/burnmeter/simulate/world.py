"""The whole simulated node: engines, GPUs and processes, moved through the story together. Pure.

Its time is a number of seconds that somebody else moves; it starts at 0 with engines that have
been busy for a while. All changes happen on ticks of a fixed length, so that the same seed gives
the same node however the time is cut up.
"""

from collections.abc import Callable, Mapping
from typing import Final

from burnmeter.model import Gpu, Process, Target
from burnmeter.simulate.fleet import FLEET, GPU_COUNT
from burnmeter.simulate.gpu import Work, boards
from burnmeter.simulate.page import render
from burnmeter.simulate.service import Service
from burnmeter.simulate.story import DEFAULT, LOST_XID, Playing, Story

TICK_SECONDS: Final = 0.25
WARM_SECONDS: Final = 60.0
FIRST_TIMESTAMP_SECONDS: Final = 1_790_000_000.0
"""The wall clock of a node that nobody gave one."""


class World:
    """A node at one moment."""

    def __init__(
        self,
        seed: int = 1,
        story: Story = DEFAULT,
        *,
        ports: Mapping[str, int] | None = None,
        wall: Callable[[float], float] = lambda seconds: FIRST_TIMESTAMP_SECONDS + seconds,
    ) -> None:
        self.now = -WARM_SECONDS
        self.story = story
        self.boards = boards(GPU_COUNT, seed)
        self.services = {
            spec.name: Service(spec, place, seed, (ports or {}).get(spec.name, spec.port), self.now)
            for place, spec in enumerate(FLEET)
        }
        self._wall = wall
        self.advance_to(0.0)

    def advance_to(self, seconds: float) -> None:
        """Let time pass until `seconds`, in whole ticks."""
        while self.now + TICK_SECONDS <= seconds:
            self._tick()

    def page(self, name: str) -> str | None:
        """What the engine `name` answers on /metrics. None: nothing listens."""
        engine = self.services[name].engine
        return None if engine is None else render(engine, self.now, self._wall)

    def targets(self) -> tuple[Target, ...]:
        """The engines, as discovery would have found them; one that is gone stays a target."""
        return tuple(
            Target(
                name=service.spec.name,
                url=f"http://127.0.0.1:{service.port}/metrics",
                origin="simulated",
                served_model=service.spec.served_model,
                pid=None if service.phase == "gone" else service.pid,
                started_timestamp_seconds=self._wall(service.process_started),
            )
            for service in self.services.values()
        )

    def gpus(self) -> tuple[Gpu, ...]:
        """What NVML would say."""
        return tuple(board.read(self._holders(board.index)) for board in self.boards)

    def processes(self) -> dict[int, Process]:
        """The process table, as far as it is simulated."""
        return {
            process.pid: process
            for service in self.services.values()
            for process in service.processes(self._wall(service.process_started))
        }

    def _holders(self, gpu: int) -> tuple[int, ...]:
        return tuple(pid for s in self.services.values() for pid in s.holders(gpu))

    def _tick(self) -> None:
        playing = self.story.at(self.now)
        work: dict[int, Work] = {}
        for name, service in self.services.items():
            mine = tuple(one for one in playing if one.scene.engine == name)
            service.advance(self.now, TICK_SECONDS, mine)
            work |= service.work(TICK_SECONDS)
        for board in self.boards:
            self._report(board.index, playing)
            if not board.is_lost:
                board.advance(TICK_SECONDS, work.get(board.index, Work()))
        self.now += TICK_SECONDS

    def _report(self, gpu: int, playing: tuple[Playing, ...]) -> None:
        board = self.boards[gpu]
        mine = [one for one in playing if one.scene.kind == "xid" and one.scene.gpu == gpu]
        for scene, elapsed in mine:
            if elapsed < TICK_SECONDS:
                board.report_xid(scene.xid, self._wall(self.now))
        board.is_lost = any(one.scene.xid == LOST_XID for one in mine)
