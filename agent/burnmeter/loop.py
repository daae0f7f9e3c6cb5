"""The only module that knows time, threads and failure.

Once per interval it asks every source at the same time, waits no longer than the deadline, hands
what came to the pure pipeline, and puts one rendered Outlet where the web server finds it. A
source that does not answer is a value; a bug in the middle is logged and counted, and the last
Snapshot stays, growing old where everybody can see it.
"""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar

from burnmeter import __version__, names, prices, views
from burnmeter.config import Config
from burnmeter.dialects import load_all
from burnmeter.errors import PageError
from burnmeter.export import prometheus
from burnmeter.export.web import Outlet, render
from burnmeter.frame import Frame
from burnmeter.model import Failure, GpuReading, PageReading, Process, ProcessReading, Target
from burnmeter.names import OVERFLOW
from burnmeter.page import Page, PageMemory, read_page
from burnmeter.pipeline import Readings, Settings, State, tick
from burnmeter.snapshot import Health, Snapshot, SourceView
from burnmeter.sources.own import OwnCost
from burnmeter.sources.recording import RawTick
from burnmeter.watch import Terms

log = logging.getLogger("burnmeter")

PROCESSES_EVERY_TICKS: Final = 2
GPU_WAIT_RATIO: Final = 0.1
"""The driver holds a tick up by this share of the interval at most; a late answer is the next's."""
LATE_RATIO: Final = 0.1
LIMITS_BY_KIND: Final = {"too_large": "body_bytes", "too_many_series": "series_per_target"}
BEYOND: Final = {
    "models": f"is counted as the model `{OVERFLOW}`",
    "probes": "waits for the next day",
}
"""What becomes of what is beyond a limit, if it is read at all."""
PLACES: Final = {"probes": "probes[].tokens_per_day` or `dollars_per_day"}
"""Where a limit stands in the config, if not under `limits`."""
SUBJECTS_TOLD: Final = 3
"""Of those of which the same is told at once: a target that stalls makes all its models burn."""
BAD_NEWS: Final = {
    *("down", "stalled", "stale", "sick", "burning"),
    *("xid", "gpu_lost", "throttled", "recovery"),
}
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Source(Protocol[R_co]):
    """Something that can be read once and closed."""

    def read(self) -> R_co: ...
    def close(self) -> None: ...


class Pages(Protocol):
    """Reads many targets at once, by a deadline."""

    def read_all(
        self, targets: Iterable[Target], deadline_seconds: float
    ) -> Mapping[str, PageReading]: ...
    def close(self) -> None: ...


class OwnCosts(Protocol):
    """What the agent itself costs."""

    def read(self) -> OwnCost: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that the agent touches. Tests and the simulated node bring their own."""

    gpus: Source[GpuReading] | None
    processes: Source[ProcessReading] | None
    pages: Pages
    find_targets: Callable[[Mapping[int, Process]], tuple[Target, ...]]
    own_cost: OwnCosts
    limits_reached: Callable[[], Mapping[str, int]] = dict
    """Limits that sources keep for themselves: name -> times reached."""
    is_running: Callable[[int], bool] = lambda _: True
    """Whether a process is still there: cheap, and asked between two looks at all of them."""
    witness: Callable[[RawTick], object] = lambda _: None
    """Told of every tick what the sources brought, before anything is made of it."""
    is_simulated: bool = False
    gpu_wait_ratio: float = GPU_WAIT_RATIO
    monotonic: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time


class Background(Generic[R]):
    """One source read in a thread of its own, one read at a time, waited for until a deadline.

    A read that hangs (a process in the kernel's hands can make /proc hang) costs one thread and
    yields a timeout at each tick until it ends; it is never started twice, and only the tick that
    started it waits for it. An answer that came too late for its tick stands in at the next one, if
    that one's own is late too. The threads are daemons, so that no source can keep the agent from
    ending.
    """

    def __init__(
        self,
        name: str,
        source: Source[R],
        late: Callable[[Failure, float], R],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._source: Source[R] = source
        self._late: Callable[[Failure, float], R] = late
        self._clock = clock
        self._answers: queue.SimpleQueue[R] = queue.SimpleQueue()
        self._asked_seconds: float | None = None
        self._belated: R | None = None
        self._is_new = False
        self._is_closed = False

    def ask(self) -> None:
        """Begin a read, unless the last one has not ended."""
        with suppress(queue.Empty):
            self._belated = self._answers.get_nowait()
            self._asked_seconds = None
        self._is_new = self._asked_seconds is None
        if self._is_new:
            self._asked_seconds = self._clock()
            threading.Thread(target=self._read, name=self._name, daemon=True).start()

    def take(self, seconds: float) -> R:
        """What the read brought, or a timeout."""
        try:
            # One that an earlier tick has waited for is not waited for again: others need the time.
            reading = self._answers.get(timeout=max(0.0, seconds) if self._is_new else 0.0)
        except queue.Empty:
            belated, self._belated = self._belated, None
            if belated is not None:
                return belated
            since = self._clock() - (self._asked_seconds or 0.0)
            text = f"reading the {self._name} began {since:.1f} s ago and has not ended"
            return self._late(Failure("timeout", text), since)
        self._asked_seconds, self._belated = None, None
        return reading

    def close(self) -> None:
        """Close the source; waits for no read."""
        self._is_closed = True
        self._source.close()

    def _read(self) -> None:
        began = self._clock()
        try:
            reading = self._source.read()
        except Exception as error:
            if self._is_closed:  # It was closed under a read that hung: nobody wants to know.
                return
            log.exception("reading the %s failed; this is a bug in burnmeter", self._name)
            failure = Failure("crashed", f"reading the {self._name}: {error!r}")
            reading = self._late(failure, self._clock() - began)
        self._answers.put(reading)


class Agent:
    """Ticks until told to stop. `outlet` is the last complete answer."""

    def __init__(self, config: Config, world: World) -> None:
        self.config, self.world = config, world
        self.outlet: Outlet | None = None
        self._state = State(started_timestamp_seconds=world.wall_clock())
        self._memories: dict[str, PageMemory] = {}
        self._limits: Counter[str] = Counter()
        self._prices: dict[str, float | None] = {}
        self._frame: Frame | None = None
        self._last_gave: dict[str, float] = {}
        self._asked_seconds: dict[str, float] = {}
        self._nvml: tuple[Mapping[str, float], int] = ({}, 0)
        self._late_ticks = 0
        self._failed_ticks = 0
        self._last_bug = ""
        self._tick_seconds = 0.0
        clock = world.monotonic
        self._gpus = world.gpus and Background("gpus", world.gpus, self._no_gpus, clock)
        self._processes = world.processes and Background(
            "processes", world.processes, self._no_processes, clock
        )
        self._settings = Settings(
            terms=Terms(
                dialects=load_all(),
                model_names=config.models,
                models_per_target=config.limits.models,
                interval_seconds=config.interval_seconds,
                stalled_after_seconds=config.stalled_after_seconds,
                watching_since_timestamp_seconds=self._state.started_timestamp_seconds,
            ),
            objectives=config.objectives,
            recent_seconds=config.recent_seconds,
        )

    def run(self, stop: threading.Event) -> None:
        """Tick at a steady pace. A tick that took too long is not made up for."""
        interval = self.config.interval_seconds
        due = self.world.monotonic()
        while not stop.is_set():
            late = self.world.monotonic() - due
            if late > LATE_RATIO * interval:
                self._late_ticks += 1
                due += interval * int(late // interval)
            self._tick_and_tell()
            due += interval
            stop.wait(max(0.0, due - self.world.monotonic()))

    def _tick_and_tell(self) -> None:
        before = self.outlet.snapshot if self.outlet else None
        try:
            tell(before, self.tick())
            self._last_bug = ""
        except Exception as error:  # the last Snapshot stays and ages, /healthz tells
            self._failed_ticks += 1
            if repr(error) != self._last_bug:  # A trace at every tick would fill the disk.
                log.exception("a tick failed; this is a bug in burnmeter, please report it")
            self._last_bug = repr(error)

    def tick(self) -> Snapshot:
        """One pass: ask everybody, take in what came, render."""
        began = self.world.monotonic()
        readings, sources = self._read(began)
        settings = replace(self._settings, dollars_per_hour=self._price(readings.gpus))
        self._settings = settings
        state = tick(self._state, readings, settings)
        self._count_models(state)
        frame, models = views.turn(
            state,
            settings,
            timestamp_seconds=readings.timestamp_seconds,
            at_seconds=readings.at_seconds,
            before=self._frame,
        )
        snapshot = views.snapshot(
            frame,
            version=__version__,
            node=self.config.node,
            is_simulated=self.world.is_simulated,
            sources=sources,
            health=self._health(readings.gpus),
            models=models,
        )
        self._state, self._frame = frame.state, frame
        for held in (self._memories, self._asked_seconds):
            for name in held.keys() - state.watched.keys():
                del held[name]
        self.outlet = render(snapshot, prometheus.render(snapshot))
        self._tick_seconds = self.world.monotonic() - began
        return snapshot

    def close(self) -> None:
        """Let go of every source; waits for none."""
        for source in (self._gpus, self._processes, self.world.pages):
            if source is not None:
                source.close()

    # --- reading -----------------------------------------------------------------------------

    def _read(self, began: float) -> tuple[Readings, tuple[SourceView, ...]]:
        allowed = self.config.limits.scrape_timeout_seconds
        look = self._state.ticks % PROCESSES_EVERY_TICKS == 0 or self._has_lost_an_engine()
        if self._gpus:
            self._gpus.ask()
        processes = None
        if self._processes and look:
            self._processes.ask()
            processes = self._processes.take(allowed / 2)
        known = (
            processes.processes if processes and not processes.failure else self._state.processes
        )
        targets = self._limited(self.world.find_targets(known))
        due = tuple(target for target in targets if self._is_due(target, began))
        pages = self.world.pages.read_all(due, began + allowed - self.world.monotonic())
        gpus = None
        if self._gpus:
            waits = min(allowed, self.world.gpu_wait_ratio * self.config.interval_seconds)
            gpus = self._gpus.take(began + waits - self.world.monotonic())
        raw = RawTick(
            began_seconds=began,
            at_seconds=self.world.monotonic(),
            timestamp_seconds=self.world.wall_clock(),
            started_timestamp_seconds=self._state.started_timestamp_seconds,
            targets=targets,
            pages=pages,
            gpus=gpus,
            processes=processes,
        )
        self.world.witness(raw)
        found = Readings(
            at_seconds=raw.at_seconds,
            timestamp_seconds=raw.timestamp_seconds,
            targets=targets,
            pages={name: self._parsed(reading) for name, reading in pages.items()},
            gpus=gpus,
            processes=processes,
        )
        return found, self._source_views(gpus, processes)

    def _has_lost_an_engine(self) -> bool:
        """Whether an engine's process has ended: another has its port now, or will before long.

        Until we know that process, its page would be held against the counts of the one before.
        """
        known = self._state.processes
        return any(
            pid is not None and (pid not in known or not self.world.is_running(pid))
            for one in self._state.watched.values()
            if one.seen is not None and one.gone_since_seconds is None
            for pid in (one.seen.identity.pid,)
        )

    def _is_due(self, target: Target, now_seconds: float) -> bool:
        """Whether it is time to read a target that is not to be read at every tick."""
        least, asked = target.least_interval_seconds, self._asked_seconds.get(target.name)
        early = LATE_RATIO * self.config.interval_seconds
        if least is not None and asked is not None and now_seconds - asked < least - early:
            return False
        self._asked_seconds[target.name] = now_seconds
        return True

    def _limited(self, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        most = self.config.limits.targets
        if len(targets) > most:
            self._limits["targets"] += 1
        return targets[:most]

    def _parsed(self, reading: PageReading) -> tuple[PageReading, Page | None]:
        """The page in a reading; a text that is no page makes it a failure."""
        if reading.text is None:
            self._count_limit(reading.failure)
            return reading, None
        memory = self._memories.setdefault(reading.target, PageMemory())
        limit = self.config.limits.series_per_target
        try:
            page = read_page(reading.text, memory=memory, series_limit=limit)
        except PageError as error:
            failure = Failure(error.kind, error.message)
            self._count_limit(failure)
            return reading._replace(text=None, failure=failure), None
        return reading._replace(text=None), page

    def _count_limit(self, failure: Failure | None) -> None:
        if failure is not None and failure.kind in LIMITS_BY_KIND:
            self._limits[LIMITS_BY_KIND[failure.kind]] += 1

    def _count_models(self, state: State) -> None:
        """Each page whose models did not all find a place, as for each other limit."""
        plans = [one.plan for one in state.watched.values() if one.is_up]
        crowded = sum(1 for plan in plans if plan is not None and plan.beyond)
        if crowded:
            self._limits["models"] += crowded

    def _source_views(
        self, gpus: GpuReading | None, processes: ProcessReading | None
    ) -> tuple[SourceView, ...]:
        before = {view.source: view for view in self.outlet.snapshot.sources} if self.outlet else {}
        found: list[SourceView] = []
        for name, reading in (("gpus", gpus), ("processes", processes)):
            if reading is not None:
                if reading.failure is None:
                    self._last_gave[name] = reading.at_seconds
                found.append(self._source_view(name, reading.failure, reading.duration_seconds))
            elif name in before:
                found.append(
                    self._source_view(name, before[name].failure, before[name].duration_seconds)
                )
        return tuple(found)

    def _source_view(self, name: str, failure: Failure | None, seconds: float) -> SourceView:
        gave = self._last_gave.get(name)
        return SourceView(
            source=name,
            is_up=failure is None,
            failure=failure,
            duration_seconds=seconds,
            age_seconds=None if gave is None else self.world.monotonic() - gave,
        )

    def _price(self, gpus: GpuReading | None) -> Mapping[str, float | None]:
        for gpu in gpus.gpus if gpus else ():
            if gpu.name not in self._prices:
                self._prices[gpu.name] = prices.price(
                    gpu.name,
                    listed=self.config.prices.gpu_dollars_per_hour,
                    default=self.config.prices.default_gpu_dollars_per_hour,
                    shipped=prices.shipped().gpu_dollars_per_hour,
                )
        return self._prices

    def _health(self, gpus: GpuReading | None) -> Health:
        cost = self.world.own_cost.read()
        if gpus is not None and gpus.nvml_seconds:
            self._nvml = gpus.nvml_seconds, gpus.nvml_put_off
        elsewhere = {name: n for name, n in self.world.limits_reached().items() if n > 0}
        return Health(
            cpu_seconds=cost.cpu_seconds,
            memory_bytes=cost.memory_bytes,
            tick_duration_seconds=self._tick_seconds,
            ticks=self._state.ticks + 1,
            late_ticks=self._late_ticks,
            failed_ticks=self._failed_ticks,
            limits_reached={**self._limits, **elsewhere},
            nvml_seconds=self._nvml[0],
            nvml_put_off=self._nvml[1],
        )

    def _no_gpus(self, failure: Failure, seconds: float) -> GpuReading:
        return GpuReading(
            at_seconds=self.world.monotonic(),
            timestamp_seconds=self.world.wall_clock(),
            duration_seconds=seconds,
            failure=failure,
        )

    def _no_processes(self, failure: Failure, seconds: float) -> ProcessReading:
        return ProcessReading(
            at_seconds=self.world.monotonic(),
            timestamp_seconds=self.world.wall_clock(),
            duration_seconds=seconds,
            failure=failure,
        )


def tell(before: Snapshot | None, now: Snapshot) -> None:
    """Log what is new since the Snapshot before, once: for those who read logs, not metrics."""
    fresh: dict[tuple[str, str], list[str]] = {}
    for event in now.events:
        if event.timestamp_seconds == now.timestamp_seconds:
            fresh.setdefault((event.kind, event.text), []).append(event.subject)
    for (kind, text), subjects in fresh.items():
        level = logging.WARNING if kind in BAD_NEWS else logging.INFO
        more = f" and {len(subjects) - SUBJECTS_TOLD} more" * (len(subjects) > SUBJECTS_TOLD)
        _say(level, f"{', '.join(subjects[:SUBJECTS_TOLD])}{more}: {kind}: {text}")
    was = {view.source: view.failure for view in before.sources} if before else {}
    for view in now.sources:
        old = was.get(view.source)
        if view.failure is not None and (old is None or old.kind != view.failure.kind):
            _say(logging.WARNING, f"{view.source}: {view.failure.message}")
        elif view.failure is None and old is not None:
            log.info("%s: answers again", view.source)
    for name in now.health.limits_reached.keys() - (before.health.limits_reached if before else ()):
        where, what = PLACES.get(name, f"limits.{name}"), BEYOND.get(name, "is not read")
        log.warning("the limit `%s` was reached; what is beyond it %s", where, what)


def _say(level: int, text: str) -> None:
    """One line, whatever an engine put into the text."""
    log.log(level, "%s", names.visible(text))
