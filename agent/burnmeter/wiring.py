"""Which sources make up a World: this machine's, or the simulated node's.

Only here are sources built; loop.py takes what it is given.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from burnmeter import dialects
from burnmeter.config import Config
from burnmeter.config_alertmanagers import Alertmanager
from burnmeter.config_targets import bare_url
from burnmeter.dialects import Asks
from burnmeter.errors import PageError
from burnmeter.export.alertmanager import Alertmanagers
from burnmeter.loop import Agent, World
from burnmeter.model import About, Failure, Launch, Process, Target
from burnmeter.page import read_page
from burnmeter.planning import dialect_of
from burnmeter.simulate.fleet import TOKEN_PRICES
from burnmeter.simulate.node import SimulatedModels, SimulatedNode
from burnmeter.snapshot import Snapshot
from burnmeter.sources.answers import Refusal
from burnmeter.sources.engines import EngineReader, ReaderPool
from burnmeter.sources.launches import Matcher, launches, with_parts
from burnmeter.sources.model_files import ModelFiles
from burnmeter.sources.nvml.source import NvmlSource
from burnmeter.sources.own import OwnCostSource
from burnmeter.sources.price_file import PriceFile
from burnmeter.sources.probe import WithProbes, target_of
from burnmeter.sources.processes import (
    ProcessSource,
    find_engines,
    is_running,
    local_addresses,
    with_processes,
)
from burnmeter.sources.recording import Header, Recorder
from burnmeter.sources.replay import Replay
from burnmeter.sources.scrub import Scrubber
from burnmeter.sources.tokens import bearer

log = logging.getLogger("burnmeter")

SIMULATED_INTERVAL_SECONDS: Final = 2.0
"""A simulated node may be read as often as is pleasant to watch."""
REPLAY_SECONDS: Final = 3600.0
"""A recorded reading is there at once, however busy the machine."""
GZIP_MAGIC: Final = b"\x1f\x8b"

NO_GPU_KINDS: Final = {"no_library", "disabled"}
"""Failures of the GPU source that a machine without GPUs has."""


def real_world(settings: Config, *, is_one_look: bool = False) -> World:
    """This machine. One look comes to no second start of what failed, and so tells of none."""
    gpus = None
    if settings.gpus.enabled:
        gpus = NvmlSource(settings.gpus)
        gpus.tells_wait = not is_one_look
    processes, finder = ProcessSource(), Finder(settings)
    read = WithProbes(pages(settings), settings.probes)
    return World(
        gpus=gpus,
        processes=processes,
        pages=read,
        find_targets=finder,
        find_launches=finder.launches,
        own_cost=OwnCostSource(),
        prices=_price_file(settings),
        models=ModelFiles(finder.matching, settings.model_facts),
        limits_reached=lambda: {"processes": processes.limit_reached, **read.limits_reached()},
        is_running=is_running,
    )


def _price_file(settings: Config) -> PriceFile | None:
    return PriceFile(settings.prices.file) if settings.prices.file is not None else None


def pages(settings: Config) -> ReaderPool:
    """The reader of all targets, within the config's limits."""
    reader = EngineReader(
        body_bytes=settings.limits.body_bytes,
        timeout_seconds=settings.limits.scrape_timeout_seconds,
        asks_of=asks_of,
    )
    return ReaderPool(reader, threads=settings.limits.targets)


def asks_of(target: Target, text: str) -> Asks | None:
    """Where whoever made a page says who he is."""
    try:
        return dialect_of(read_page(text), dialects.load_all(), target.engine).asks
    except PageError:
        return None


class Finder:
    """Listed targets with their processes, our probes, and found ones that are not listed."""

    def __init__(self, settings: Config) -> None:
        self._settings = settings
        self._probes = tuple(target_of(one, settings.models) for one in settings.probes)
        self._addresses = local_addresses()
        hints = [hint for d in dialects.load_all().values() for hint in d.processes]
        self._hints = [hint for hint in hints if hint.is_read]
        self.matching = Matcher(hints)

    def __call__(self, processes: Mapping[int, Process]) -> tuple[Target, ...]:
        """Each with where its workers are, if it runs here."""
        found = self._find(processes)
        return tuple(with_parts(target, processes, self.matching) for target in found)

    def launches(
        self, processes: Mapping[int, Process], holders: Collection[int]
    ) -> tuple[Launch, ...]:
        """Engines that were started here, near the holders of GPUs."""
        return launches(processes, holders, self.matching)

    def _find(self, processes: Mapping[int, Process]) -> tuple[Target, ...]:
        listed = tuple(
            with_processes(target, processes, self._addresses) for target in self._settings.targets
        )
        if not self._settings.discovery.processes:
            return (*listed, *self._probes)
        # By port, not by pid: one engine's server and its listener may be two processes.
        known = {port_of(target) for target in listed if target.pid is not None}
        names = {target.name for target in (*listed, *self._probes)}
        found = (t for t in find_engines(processes, self._hints) if port_of(t) not in known)
        ours = (*listed, *self._probes)
        return (*ours, *(_named_apart(target, names) for target in found))


def port_of(target: Target) -> int:
    """The port that a target's URL means."""
    parts = urlsplit(target.url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _named_apart(target: Target, names: Collection[str]) -> Target:
    """A found target under a name that no listed one has; theirs is what the user knows."""
    name = target.name
    while name in names:
        name += "-found"
    return replace(target, name=name)


def simulated_world(
    settings: Config, stack: ExitStack, *, story: Path | None = None
) -> tuple[Config, World]:
    """A node that is not real, alive until `stack` is closed. `story`: what goes wrong there."""
    node = stack.enter_context(SimulatedNode(story=story))
    world = World(
        gpus=node.gpus,
        processes=node.processes,
        pages=pages(settings),
        find_targets=lambda _: node.targets,
        own_cost=OwnCostSource([node.pid]),
        prices=_price_file(settings),
        models=SimulatedModels(),
        is_simulated=True,
    )
    interval = min(settings.interval_seconds, SIMULATED_INTERVAL_SECONDS)
    timeout = min(settings.limits.scrape_timeout_seconds, interval * 0.8)
    limits = replace(settings.limits, scrape_timeout_seconds=timeout)
    prices = replace(settings.prices, tokens={**TOKEN_PRICES, **settings.prices.tokens})
    settings = replace(settings, interval_seconds=interval, limits=limits, prices=prices)
    return settings, world


LOOKS_TO_SETTLE: Final = 2.0
"""The first of an engine shows what it holds, and one silence of a health page is none yet."""
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")


def with_alerting(world: World, settings: Config) -> World:
    """The same World, with the config's Alertmanagers told. What is not real wakes nobody."""
    if not settings.alertmanagers or world.is_simulated:
        return world
    return replace(world, alerting=alertmanagers(settings))


def alertmanagers(settings: Config) -> Alertmanagers:
    """Those of the config."""
    return Alertmanagers(
        settings.alertmanagers,
        authorise=_authorise,
        page_url=_page_url(settings),
        settle_seconds=_settle_seconds(settings),
    )


def _settle_seconds(settings: Config) -> float:
    """How long a new agent cannot know that an engine is neither stalled nor ill, at most."""
    stale = max(dialect.stale_seconds for dialect in dialects.load_all().values())
    rare = max((one.least_interval_seconds or 0.0 for one in settings.targets), default=0.0)
    looks = LOOKS_TO_SETTLE * max(rare, settings.interval_seconds)
    return settings.stalled_after_seconds + stale + looks


def _page_url(settings: Config) -> str | None:
    """Where people may find the live page; None: on a port that only the system knows."""
    host, port = settings.listen_host, settings.listen_port
    if host not in LOCAL_HOSTS:
        host = settings.node
    return None if port == 0 else f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _authorise(terms: Alertmanager) -> Mapping[str, str] | Failure:
    try:
        return bearer(f"`{terms.url}`", terms.token_file, terms.token_environment)
    except Refusal as error:
        return error.failure


def recorder(
    path: Path, settings: Config, world: World, *, is_scrubbed: bool, with_models: bool
) -> Recorder:
    """A new file for what `world` brings. Raises RecordingError."""
    header = Header(
        is_simulated=world.is_simulated,
        has_gpus=world.gpus is not None,
        has_processes=world.processes is not None,
        has_prices=world.prices is not None,
        has_models=world.models is not None,
        is_scrubbed=is_scrubbed,
        config=settings,
    )
    scrubber = Scrubber(settings.node, models=with_models) if is_scrubbed else None
    return Recorder(path, header, scrubber=scrubber)


def recorded(world: World, into: Recorder) -> World:
    """The same World, with every tick of it written down."""
    return replace(world, witness=into.witness, is_running=into.noting(world.is_running))


def replayed(replay: Replay, settings: Config | None = None) -> Iterator[Snapshot | None]:
    """Every tick of a recording through the whole pipeline; None for one that a bug ended.

    `settings` are in force in place of the recorded ones, but for the node and the interval.
    """
    header = replay.recording.header
    config = settings or header.config
    config = replace(
        config,
        node=header.config.node,
        interval_seconds=header.config.interval_seconds,
        limits=replace(config.limits, scrape_timeout_seconds=REPLAY_SECONDS),
    )
    listed = {target.name: target for target in config.targets}
    world = World(
        gpus=replay.gpus if header.has_gpus else None,
        processes=replay.processes if header.has_processes else None,
        pages=replay,
        find_targets=lambda _: tuple(_renamed(t, listed.get(t.name)) for t in replay.targets({})),
        own_cost=replay,
        find_launches=lambda _, __: replay.launches,
        is_running=replay.is_running,
        is_simulated=header.is_simulated,
        gpu_wait_ratio=REPLAY_SECONDS,
        files_wait_seconds=REPLAY_SECONDS,
        prices=replay.prices if header.has_prices else None,
        models=replay.models if header.has_models else None,
        monotonic=replay.monotonic,
        wall_clock=replay.wall_clock,
    )
    agent = Agent(config, world)
    number = 0
    while replay.next_tick():
        number += 1
        try:
            snapshot = agent.tick()
        except Exception:
            log.exception("tick %d failed; this is a bug in burnmeter", number)
            yield None
        else:
            yield snapshot
    agent.close()


def _renamed(target: Target, listed: Target | None) -> Target:
    """A recorded target as a config calls it that lists one of the same name."""
    if listed is None:
        return target
    return replace(target, model=listed.model, engine=listed.engine)


def has_something(world: World, settings: Config) -> bool:
    """Whether there is anything to watch: a GPU, an engine, or a target that somebody listed.

    A driver that is slow, sick or not ours to ask is something: only its absence is nothing.
    """
    if settings.targets or settings.probes:
        return True
    if world.gpus is not None:
        reading = world.gpus.read()
        if reading.gpus or (reading.failure and reading.failure.kind != "no_library"):
            return True
    table = world.processes.read().processes if world.processes else {}
    return bool(world.find_targets(table))


def close(world: World) -> None:
    """Let go of a World that no Agent has taken."""
    sources: Iterable[object] = (world.gpus, world.processes, world.pages)
    for source in sources:
        if source is not None:
            source.close()  # type: ignore[attr-defined]


def read_url(url: str) -> tuple[str, About | None]:
    """The text of one page within the default limits, and what its server says of itself.

    Raises PageError.
    """
    limits = Config().limits
    reader = EngineReader(
        body_bytes=limits.body_bytes,
        timeout_seconds=limits.scrape_timeout_seconds,
        asks_of=asks_of,
    )
    try:
        reading = reader.read(Target(name=bare_url(url), url=url, origin="config"))
    finally:
        reader.close()
    if reading.text is None:
        assert reading.failure is not None, "a reading has a page or a failure"
        raise PageError(*reading.failure)
    return reading.text, reading.about


def read_file(place: str | BinaryIO) -> str:
    """The text of a page in a file, or in one that is open, within the same limit of bytes.

    Raises PageError.
    """
    limit = Config().limits.body_bytes
    try:
        with open(place, "rb") if isinstance(place, str) else nullcontext(place) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise PageError("unreachable", f"cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise PageError("too_large", f"holds more than {limit} bytes; is it a metrics page?")
    if content.startswith(GZIP_MAGIC):
        text = "is packed with gzip; write `gunzip -c FILE | burnmeter inspect -`"
        raise PageError("encoding", text)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        text = f"is not UTF-8 text: byte {error.start} is {content[error.start]:#04x}"
        raise PageError("encoding", text) from None
