"""Looks at this node for commands that end: one for `doctor`, two for `once`, or the agent's own.

It prints nothing. A daemon's first look may miss a driver that is slow to start; a person waits.
"""

import json
import time
from dataclasses import replace
from typing import Final

from burnmeter import dialects, pricing
from burnmeter.background import Source
from burnmeter.config import Config
from burnmeter.config_prices import Prices
from burnmeter.cost_explanation import Costed
from burnmeter.doctor import Glance
from burnmeter.errors import PageError
from burnmeter.loop import Agent, World
from burnmeter.model import GpuReading
from burnmeter.model_facts.known import Library
from burnmeter.pricing import Price
from burnmeter.snapshot import Snapshot
from burnmeter.sources.answers import Refusal
from burnmeter.sources.engine_processes import engine_processes
from burnmeter.sources.plain import from_plain
from burnmeter.sources.probe import target_of
from burnmeter.sources.tokens import authorisation
from burnmeter.wiring import alertmanagers, read_url, real_world

READS_TO_START: Final = 6
"""GPUs without persistence mode take some seconds each to initialise; a person waits that long."""
ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def look_once(settings: Config) -> Glance:
    """One look at everything, for `doctor`; it sends no probe and no alert."""
    quiet = replace(settings, probes=())
    world = real_world(quiet, is_one_look=True)
    gpus = _patient(world.gpus) if world.gpus else None
    processes = world.processes.read() if world.processes else None
    said = world.prices.read() if world.prices else None
    agent = Agent(quiet, world)
    try:
        snapshot = agent.tick()
        models = world.models.read().library if world.models is not None else None
    finally:
        agent.close()
    hints = [hint for dialect in dialects.load_all().values() for hint in dialect.processes]
    return Glance(
        gpus=gpus,
        processes=processes if settings.discovery.processes else None,
        engines=engine_processes(processes.processes, hints) if processes else (),
        snapshot=replace(snapshot, alertmanagers=alertmanagers(settings).ask()),
        probes=settings.probes,
        keyless=_keyless(settings),
        library=models or Library(),
        model_names=settings.models,
        prices=_prices(settings, said.prices if said else None, snapshot),
        price_file=settings.prices.file,
        price_failure=said.failure if said else None,
    )


def _prices(settings: Config, said: Prices | None, snapshot: Snapshot) -> dict[str, Price]:
    """Of each kind of GPU that has one."""
    books = pricing.books(said, settings.prices)
    names = {view.gpu.name for view in snapshot.gpus}
    found = {name: pricing.price(name, books, settings.node_labels) for name in names}
    return {name: price for name, price in found.items() if price is not None}


def _keyless(settings: Config) -> dict[str, str]:
    """Each probe whose key cannot be read -> why."""
    found: dict[str, str] = {}
    for probe in settings.probes:
        try:
            authorisation(target_of(probe, settings.models))
        except Refusal as error:
            found[probe.name] = error.failure.message
    return found


def _patient(source: Source[GpuReading]) -> GpuReading:
    """A reading by a driver that may take several to start; others answer or fail at once."""
    reading = source.read()
    for _ in range(READS_TO_START):
        if reading.failure is None or reading.failure.kind != "timeout":
            break
        reading = source.read()
    return reading


def looks(settings: Config, world: World, seconds: float, *, apart_seconds: float) -> Snapshot:
    """What happens within `seconds`; the World is closed.

    More than two looks tell more surely how often there is work; without an engine one will do.
    """
    steps = max(1, round(seconds / apart_seconds))
    # A stretch longer than the interval would count as one that nobody watched.
    agent = Agent(replace(settings, interval_seconds=seconds / steps), world)
    try:
        if world.gpus is not None:
            _patient(world.gpus)
        snapshot = agent.tick()
        for _ in range(steps if snapshot.targets else 0):
            time.sleep(seconds / steps)
            snapshot = agent.tick()
        return snapshot
    finally:
        agent.close()


def running_agent(settings: Config) -> str | None:
    """The address of an agent with these settings; None: it may listen anywhere."""
    if settings.listen_port == 0:
        return None
    host = ANY_HOST.get(settings.listen_host, settings.listen_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.listen_port}"


def costs_of(address: str) -> tuple[Costed, ...]:
    """What the agent at an address says of its models. Raises PageError."""
    text, _ = read_url(f"{address}/api/v1/snapshot")
    try:
        found = json.loads(text)
        return tuple(from_plain(Costed, model) for model in found["models"])
    except (ValueError, KeyError, TypeError) as error:
        text = f"what answers at {address} is no burnmeter of this version ({error})"
        raise PageError("not_metrics", text) from None
