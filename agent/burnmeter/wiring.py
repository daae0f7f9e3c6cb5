"""Which sources make up a World: this machine's, or the simulated node's.

Only here are sources built; loop.py takes what it is given.
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from burnmeter import dialects
from burnmeter.config import Config
from burnmeter.loop import Agent, World
from burnmeter.model import GpuReading, PageReading, Process, ProcessReading, Target, TargetView
from burnmeter.simulate.node import SimulatedNode
from burnmeter.sources.engines import EngineReader, ReaderPool
from burnmeter.sources.nvml import NvmlSource
from burnmeter.sources.own import OwnCostSource
from burnmeter.sources.processes import (
    ProcessSource,
    find_engines,
    local_addresses,
    with_processes,
)

SIMULATED_INTERVAL_SECONDS: Final = 2.0
"""A simulated node may be read as often as is pleasant to watch."""

NO_GPU_KINDS: Final = {"no_library", "disabled"}
"""Failures of the GPU source that a machine without GPUs has."""


def real_world(settings: Config) -> World:
    """This machine."""
    gpus = None
    if settings.gpus.enabled:
        gpus = NvmlSource(
            timeout_seconds=settings.gpus.timeout_seconds,
            processes_every=settings.gpus.processes_every,
        )
    return World(
        gpus=gpus,
        processes=ProcessSource(),
        pages=pages(settings),
        find_targets=_Finder(settings),
        own_cost=OwnCostSource(),
    )


def pages(settings: Config) -> ReaderPool:
    """The reader of all targets, within the config's limits."""
    reader = EngineReader(
        body_bytes=settings.limits.body_bytes,
        timeout_seconds=settings.limits.scrape_timeout_seconds,
    )
    return ReaderPool(reader, threads=settings.limits.targets)


class _Finder:
    """Listed targets with their processes, and found ones that are not listed."""

    def __init__(self, settings: Config) -> None:
        self._settings = settings
        self._addresses = local_addresses()
        self._hints = [d.process for d in dialects.load_all().values() if d.process is not None]

    def __call__(self, processes: Mapping[int, Process]) -> tuple[Target, ...]:
        listed = tuple(
            with_processes(target, processes, self._addresses) for target in self._settings.targets
        )
        if not self._settings.discovery.processes:
            return listed
        known = {target.pid for target in listed if target.pid is not None}
        names = {target.name for target in listed}
        found = [
            target
            for target in find_engines(processes, self._hints)
            if target.pid not in known and target.name not in names
        ]
        return (*listed, *found)


def simulated_world(settings: Config, stack: ExitStack) -> tuple[Config, World]:
    """A node that is not real, alive until `stack` is closed."""
    node = stack.enter_context(SimulatedNode())
    world = World(
        gpus=node.gpus,
        processes=node.processes,
        pages=pages(settings),
        find_targets=lambda _: node.targets,
        own_cost=OwnCostSource([node.pid]),
        is_simulated=True,
    )
    interval = min(settings.interval_seconds, SIMULATED_INTERVAL_SECONDS)
    timeout = min(settings.limits.scrape_timeout_seconds, interval * 0.8)
    limits = replace(settings.limits, scrape_timeout_seconds=timeout)
    return replace(settings, interval_seconds=interval, limits=limits), world


def has_something(world: World, settings: Config) -> bool:
    """Whether there is anything to watch: a GPU, an engine, or a target that somebody listed.

    A driver that is there and does not work is something too: whoever has one wants to be told, not
    to be shown a simulation.
    """
    if settings.targets:
        return True
    if world.gpus is not None:
        reading = world.gpus.read()
        if reading.gpus or (reading.failure and reading.failure.kind not in NO_GPU_KINDS):
            return True
    table = world.processes.read().processes if world.processes else {}
    return bool(world.find_targets(table))


def close(world: World) -> None:
    """Let go of a World that no Agent has taken."""
    sources: Iterable[object] = (world.gpus, world.processes, world.pages)
    for source in sources:
        if source is not None:
            source.close()  # type: ignore[attr-defined]


def read_once(target: Target) -> PageReading:
    """One page, within the default limits."""
    limits = Config().limits
    reader = EngineReader(
        body_bytes=limits.body_bytes, timeout_seconds=limits.scrape_timeout_seconds
    )
    try:
        return reader.read(target)
    finally:
        reader.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What one look at this node found."""

    gpus: GpuReading | None
    processes: ProcessReading | None
    targets: tuple[TargetView, ...]
    not_available: Mapping[str, Mapping[str, str]]


def look_once(settings: Config) -> Glance:
    """One look at everything, for `doctor`."""
    world = real_world(settings)
    gpus = world.gpus.read() if world.gpus else None
    processes = world.processes.read() if world.processes else None
    agent = Agent(settings, world)
    try:
        snapshot = agent.tick()
    finally:
        agent.close()
    by_model = {view.model: view.not_available for view in snapshot.models}
    return Glance(
        gpus=gpus,
        processes=processes if settings.discovery.processes else None,
        targets=snapshot.targets,
        not_available={v.target: by_model.get(v.model or "", {}) for v in snapshot.targets},
    )
