"""The only module that knows time, threads and failure.

Once per interval it asks every source at the same time, waits no longer than the deadline, hands
what came to the pure pipeline, and puts one rendered Outlet where the web server finds it. A
source that does not answer is a value; a bug in the middle is logged and counted, and the last
Snapshot stays, growing old where everybody can see it.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from burnmeter import __version__, pricing, views
from burnmeter.background import Background, Source
from burnmeter.config import Config
from burnmeter.config_prices import Prices
from burnmeter.dialects import load_all
from burnmeter.errors import PageError
from burnmeter.export import prometheus
from burnmeter.export.web import Outlet, render
from burnmeter.frame import Frame
from burnmeter.model import (
    Failure,
    GpuReading,
    Launch,
    PageReading,
    Process,
    ProcessReading,
    Target,
)
from burnmeter.model_facts.known import Library, LibraryReading
from burnmeter.page import Page, PageMemory, read_page
from burnmeter.pipeline import Readings, tick
from burnmeter.snapshot import AlertmanagerView, Health, Snapshot, SourceView
from burnmeter.sources.own import OwnCost
from burnmeter.sources.price_file import PriceReading
from burnmeter.sources.recording import RawTick
from burnmeter.state import Settings, State
from burnmeter.telling import tell
from burnmeter.watch import Terms

log = logging.getLogger("burnmeter")
Reading = GpuReading | ProcessReading | PriceReading | LibraryReading

PROCESSES_EVERY_TICKS: Final = 2
FILES_WAIT_SECONDS: Final = 0.1
"""Files on a disk that hangs are not waited for; what they said last stands meanwhile."""
GPU_WAIT_RATIO: Final = 0.1
"""The driver holds a tick up by this share of the interval at most; a late answer is the next's."""
LATE_RATIO: Final = 0.1
LIMITS_BY_KIND: Final = {"too_large": "body_bytes", "too_many_series": "series_per_target"}


class Models(Source[LibraryReading], Protocol):
    """Looks for what is known of the models that are served."""

    def want(self, targets: Iterable[Target], processes: Mapping[int, Process]) -> None: ...


class Pages(Protocol):
    """Reads many targets at once, by a deadline."""

    def read_all(
        self, targets: Iterable[Target], deadline_seconds: float
    ) -> Mapping[str, PageReading]: ...
    def close(self) -> None: ...


class Alerting(Protocol):
    """Told of each Snapshot, so that it can tell others at once. Never waits for them."""

    def tell(self, snapshot: Snapshot) -> None: ...
    def views(self) -> tuple[AlertmanagerView, ...]: ...
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
    find_launches: Callable[[Mapping[int, Process], Collection[int]], tuple[Launch, ...]] = (
        lambda _, __: ()
    )
    """Engines that were started here, near the processes that hold GPUs."""
    limits_reached: Callable[[], Mapping[str, int]] = dict
    """Limits that sources keep for themselves: name -> times reached."""
    prices: Source[PriceReading] | None = None
    """A file of prices that may change; None: there is none."""
    models: Models | None = None
    """What is known of the models; None: nobody looks."""
    is_running: Callable[[int], bool] = lambda _: True
    """Whether a process is still there: cheap, and asked between two looks at all of them."""
    witness: Callable[[RawTick], object] = lambda _: None
    """Told of every tick what the sources brought, before anything is made of it."""
    alerting: Alerting | None = None
    """Who tells Alertmanagers; None: nobody does."""
    is_simulated: bool = False
    gpu_wait_ratio: float = GPU_WAIT_RATIO
    files_wait_seconds: float = FILES_WAIT_SECONDS
    monotonic: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time


class Agent:
    """Ticks until told to stop. `outlet` is the last complete answer."""

    def __init__(self, config: Config, world: World) -> None:
        self.config, self.world = config, world
        self.outlet: Outlet | None = None
        self._state = State(started_timestamp_seconds=world.wall_clock())
        self._memories: dict[str, PageMemory] = {}
        self._limits: Counter[str] = Counter()
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
        self._prices = world.prices and Background("prices", world.prices, self._no_prices, clock)
        self._models = world.models and Background("models", world.models, self._no_models, clock)
        self._said: Prices | None = None
        self._library = Library()
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
            owners=config.owners,
            shares=config.limits.shares,
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
        settings = self._priced(readings)
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
        if self.world.alerting is not None:
            snapshot = replace(snapshot, alertmanagers=self.world.alerting.views())
        self._state, self._frame = frame.state, frame
        for held in (self._memories, self._asked_seconds):
            for name in held.keys() - state.watched.keys():
                del held[name]
        self.outlet = render(snapshot, prometheus.render(snapshot))
        if self.world.alerting is not None:
            self.world.alerting.tell(snapshot)
        self._tick_seconds = self.world.monotonic() - began
        return snapshot

    def close(self) -> None:
        """Let go of every source; waits for none."""
        sources = (self._gpus, self._processes, self._prices, self._models, self.world.pages)
        for source in (*sources, self.world.alerting):
            if source is not None:
                source.close()

    # --- reading -----------------------------------------------------------------------------

    def _read(self, began: float) -> tuple[Readings, tuple[SourceView, ...]]:
        allowed = self.config.limits.scrape_timeout_seconds
        look = self._state.ticks % PROCESSES_EVERY_TICKS == 0 or self._has_lost_an_engine()
        for source in (self._gpus, self._prices):
            if source:
                source.ask()
        processes = None
        if self._processes and look:
            self._processes.ask()
            processes = self._processes.take(allowed / 2)
        known = (
            processes.processes if processes and not processes.failure else self._state.processes
        )
        targets = self._limited(self.world.find_targets(known))
        if self._models and self.world.models and look:
            self.world.models.want(targets, known)
            self._models.ask()
        due = tuple(target for target in targets if self._is_due(target, began))
        pages = self.world.pages.read_all(due, began + allowed - self.world.monotonic())
        gpus = None
        if self._gpus:
            waits = min(allowed, self.world.gpu_wait_ratio * self.config.interval_seconds)
            gpus = self._gpus.take(began + waits - self.world.monotonic())
        files = self.world.files_wait_seconds
        prices = self._prices.take(files) if self._prices else None
        if prices is not None and prices.prices is not None:
            self._said = prices.prices
        models = self._models.take(files) if self._models and look else None
        if models is not None and models.library == self._library:
            models = models._replace(library=None)  # There is nothing new.
        elif models is not None and models.library is not None:
            self._library = models.library
        raw = RawTick(
            began_seconds=began,
            at_seconds=self.world.monotonic(),
            timestamp_seconds=self.world.wall_clock(),
            started_timestamp_seconds=self._state.started_timestamp_seconds,
            targets=targets,
            pages=pages,
            gpus=gpus,
            processes=processes,
            prices=prices,
            models=models,
        )
        raw = replace(raw, launches=self._launches(raw))
        self.world.witness(raw)
        found = Readings(
            at_seconds=raw.at_seconds,
            timestamp_seconds=raw.timestamp_seconds,
            targets=targets,
            pages={name: self._parsed(reading) for name, reading in pages.items()},
            gpus=gpus,
            processes=processes,
            launches=raw.launches,
            prices=self._said,
            library=models.library if models is not None else None,
        )
        brought = {"gpus": gpus, "processes": processes, "prices": prices, "models": models}
        return found, self._source_views(brought)

    def _launches(self, raw: RawTick) -> tuple[Launch, ...]:
        """Those near whoever holds a GPU or did, by the latest table of processes."""
        table = self._state.processes
        if raw.processes is not None and raw.processes.failure is None:
            table = raw.processes.processes
        listed = [gpu.processes for gpu in (raw.gpus.gpus if raw.gpus else ())]
        holders = {one.pid for found in listed for one in found or ()}
        # While the driver is silent, they hold it still.
        holders |= {one.process.pid for held in self._state.held.values() for one in held}
        return self.world.find_launches(table, holders)

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

    def _source_views(self, brought: Mapping[str, Reading | None]) -> tuple[SourceView, ...]:
        before = {view.source: view for view in self.outlet.snapshot.sources} if self.outlet else {}
        found: list[SourceView] = []
        for name, reading in brought.items():
            if reading is not None:
                # One GPU may say nothing while the others do.
                is_part = isinstance(reading, GpuReading) and bool(reading.gpus)
                if reading.failure is None or is_part:
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

    def _priced(self, readings: Readings) -> Settings:
        """With the price of every GPU that is here or was, by what is said of prices now."""
        books = pricing.books(readings.prices, self.config.prices)
        known = self._settings.prices if books == self._settings.books else {}
        gpus = (*(readings.gpus.gpus if readings.gpus else ()), *self._state.boards.gpus.values())
        fresh = {gpu.name for gpu in gpus} - known.keys()
        labels = self.config.node_labels
        found = {name: pricing.price(name, books, labels) for name in fresh}
        return replace(self._settings, books=books, prices={**known, **found})

    def _health(self, gpus: GpuReading | None) -> Health:
        cost = self.world.own_cost.read()
        if gpus is not None and gpus.nvml_seconds:
            self._nvml = gpus.nvml_seconds, gpus.nvml_put_off
        elsewhere = {**self.world.limits_reached(), "shares": self._state.purse.overflows}
        return Health(
            cpu_seconds=cost.cpu_seconds,
            memory_bytes=cost.memory_bytes,
            tick_duration_seconds=self._tick_seconds,
            ticks=self._state.ticks + 1,
            late_ticks=self._late_ticks,
            failed_ticks=self._failed_ticks,
            limits_reached=self._limits | {name: n for name, n in elsewhere.items() if n > 0},
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

    def _no_prices(self, failure: Failure, seconds: float) -> PriceReading:
        return PriceReading(self.world.monotonic(), seconds, None, failure)

    def _no_models(self, failure: Failure, seconds: float) -> LibraryReading:
        return LibraryReading(self.world.monotonic(), seconds, None, failure)
