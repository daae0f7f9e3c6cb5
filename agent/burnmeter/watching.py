"""Where `burnmeter top` has its Snapshots from: an agent's JSON, or looks of our own.

Both are read in a thread of their own, so that no screen waits for a source. Surprising: an agent's
clock may not be ours. What it says the moment after it has said something else is new, so if that
seems old or of the future, it is the clocks that differ, and ages are told without the difference.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import urlsplit

from burnmeter import looking, wiring
from burnmeter.config import Config
from burnmeter.errors import PageError
from burnmeter.export.live import stale_after_seconds
from burnmeter.export.top_status import Seen
from burnmeter.loop import Agent, World
from burnmeter.model import Failure, Target
from burnmeter.snapshot import Snapshot
from burnmeter.sources.engines import EngineReader
from burnmeter.sources.plain import from_plain

PATH: Final = "/api/v1/snapshot"
BODY_BYTES: Final = 64_000_000
TIMEOUT_SECONDS: Final = 4.0
LEAST_WAIT_SECONDS, MOST_WAIT_SECONDS = 0.5, 5.0
LOOKS_PER_INTERVAL: Final = 2.0
"""So that what is shown is late by half an interval at most."""
UNUSED: Final = ("counters", "histograms", "gauges", "spends")
"""Lists of everything that is counted: large, and on no screen."""
ON_THE_WAY: Final = {"timeout", "unreachable", "redirect", "too_large", "truncated", "encoding"}
"""Failures of which the reader's words hold whoever was asked."""
OWN: Final = "no agent is asked: looking from here"


# --- an agent's JSON -----------------------------------------------------------------------------


def snapshot_of(text: str) -> Snapshot:
    """A Snapshot from its JSON, but for UNUSED. Raises ValueError: it is none of this version."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("no object of JSON")
    for view in _listed(found, "gpus"):
        for kept in (view, view.get("gpu")):
            _drop_unknown(kept)
    for burn in _listed(found, "burns"):
        objective = burn.get("objective")
        if isinstance(objective, dict) and isinstance(objective.get("match"), dict):
            objective["match"] = [list(pair) for pair in objective["match"].items()]
    return from_plain(Snapshot, {**found, **{name: {} for name in UNUSED}})


def _listed(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = found.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _drop_unknown(gpu: Any) -> None:
    """Figures that are not known: JSON has null for what is no finite number."""
    for name in ("gauges", "meters"):
        if isinstance(gpu, dict) and isinstance(gpu.get(name), list):
            gpu[name] = [
                one for one in gpu[name] if isinstance(one, dict) and one.get("value") is not None
            ]


class AgentReader:
    """Asks one agent, within bounds of time and size."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._target = Target(name=address, url=f"{address}{PATH}", origin="config")
        self._reader = EngineReader(body_bytes=BODY_BYTES, timeout_seconds=TIMEOUT_SECONDS)
        self._last: tuple[str, Snapshot] | None = None
        self._not_ours = f"what answers at {address} is no burnmeter of this version"

    def read(self) -> Snapshot:
        """The same object as before if nothing is new. Raises PageError."""
        reading = self._reader.read(self._target)
        if reading.text is None:
            assert reading.failure is not None, "a reading has a text or a failure"
            raise PageError(reading.failure.kind, self._words(reading.failure))
        if self._last is None or self._last[0] != reading.text:
            try:
                self._last = reading.text, snapshot_of(reading.text)
            except (ValueError, TypeError, RecursionError) as error:
                raise PageError("not_metrics", f"{self._not_ours} ({error})") from None
        return self._last[1]

    def close(self) -> None:
        """Let go of the connection."""
        self._reader.close()

    def _words(self, failure: Failure) -> str:
        """A failure as it is said of an agent; the reader speaks of engines."""
        place = urlsplit(self.address).netloc
        said = failure.message.partition(";")[0]
        if failure.kind == "refused":
            return f"nothing listens on {place}; is the agent running?"
        if failure.kind == "html":
            return f"{place} answered with a web page; an agent's address is like http://host:9778"
        if said.endswith("HTTP 503"):
            return f"{said}: its agent has made no reading yet; try again in a few seconds"
        if failure.kind == "http":
            return f"{place} answered {said.rpartition('answered ')[2]} to {PATH}; is it burnmeter?"
        return said if failure.kind in ON_THE_WAY else self._not_ours


# --- feeds ---------------------------------------------------------------------------------------


class AgentFeed:
    """What an agent says, again and again until it is closed."""

    def __init__(
        self,
        reader: AgentReader,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._reader = reader
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._seen = Seen(f"agent at {reader.address}")
        self._clocks_differ_seconds = 0.0
        self._stop = threading.Event()

    def start(self) -> None:
        """From now on in a thread of its own."""
        threading.Thread(target=self._run, name="top-agent", daemon=True).start()

    def look(self) -> None:
        """Ask once, whatever comes of it."""
        before = self._seen.snapshot
        try:
            now = self._reader.read()
        except PageError as error:
            self._seen = self._seen._replace(failure=error.message)
            return
        if before is not None and now.timestamp_seconds != before.timestamp_seconds:
            apart = self._wall_clock() - now.timestamp_seconds
            is_possible = 0.0 <= apart <= stale_after_seconds(now)
            self._clocks_differ_seconds = 0.0 if is_possible else apart
        self._seen = self._seen._replace(snapshot=now, failure=None)

    def seen(self) -> Seen:
        """What came last."""
        return self._seen

    def age_seconds(self, snapshot: Snapshot) -> float:
        """How old a Snapshot is now."""
        age = self._wall_clock() - snapshot.timestamp_seconds - self._clocks_differ_seconds
        return max(0.0, age)

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._reader.close()

    def _run(self) -> None:
        while not self._stop.wait(self._wait_seconds()):
            self.look()

    def _wait_seconds(self) -> float:
        snapshot = self._seen.snapshot
        wanted = snapshot.interval_seconds / LOOKS_PER_INTERVAL if snapshot is not None else 0.0
        return min(MOST_WAIT_SECONDS, max(LEAST_WAIT_SECONDS, wanted))


class OwnFeed:
    """An agent of our own that serves nothing and tells no Alertmanager."""

    def __init__(self, settings: Config, world: World, source: str) -> None:
        self._agent, self._world, self._source = Agent(settings, world), world, source
        self._stop = threading.Event()

    def start(self) -> None:
        """From now on in a thread of its own."""
        run = self._agent.run
        threading.Thread(target=run, args=(self._stop,), name="top-ticks", daemon=True).start()

    def seen(self) -> Seen:
        """What the last tick made."""
        outlet = self._agent.outlet
        return Seen(self._source, outlet.snapshot if outlet is not None else None)

    def age_seconds(self, snapshot: Snapshot) -> float:
        """How old a Snapshot is now."""
        return max(0.0, self._world.wall_clock() - snapshot.timestamp_seconds)

    def close(self) -> None:
        """Tick no more; waits for nothing."""
        self._stop.set()
        self._agent.close()


def feed(
    settings: Config, stack: ExitStack, *, url: str | None, simulate: bool
) -> AgentFeed | OwnFeed:
    """What is to be watched; closed with the stack. Raises PageError if `url` does not answer.

    Without a word of where: the agent that runs here with these settings, or, where none does, this
    machine as `once` looks at it. What is not real is shown only if that is asked for.
    """
    source = OWN
    address = url if url is not None or simulate else looking.running_agent(settings)
    if address is not None and not simulate:
        reader = AgentReader(address)
        try:
            reader.read()
        except PageError as error:
            reader.close()
            if url is not None:
                raise
            if error.kind != "refused":
                source = f"{error.message}; looking from here"
        else:
            found = AgentFeed(reader)
            stack.callback(found.close)
            found.look()
            found.start()
            return found
    world = None if simulate else wiring.real_world(settings)
    if world is None:
        settings, world = wiring.simulated_world(settings, stack)
    own = OwnFeed(settings, world, source)
    stack.callback(own.close)
    own.start()
    return own
