"""The real agent over real sources, ticked by hand, and what it exports.

Not a double of anything: the config comes from a file, pages over HTTP, processes from /proc, and
what tests read is the text of /metrics through the reference parser. Only the clock is ours: a
test decides when a tick is due, so that it need not wait for one.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from burnmeter import config
from burnmeter.dialects import bounds_by_engine
from burnmeter.loop import Agent
from burnmeter.model import Burn
from burnmeter.snapshot import ModelView, Snapshot, TargetView
from burnmeter.wiring import real_world

PAUSE_SECONDS = 0.25
SETTLE_SECONDS = 15.0
QUIET_TICKS = 2
"""A cancelled request is counted by the second look that misses it."""


class Row(NamedTuple):
    """One exported series."""

    name: str
    labels: dict[str, str]
    value: float


class Exported:
    """One answer of /metrics and the Snapshot that it was made of."""

    def __init__(self, text: bytes, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.rows = [
            Row(sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """Sum of the series of that name with those labels."""
        return sum(row.value for row in self._with(name, labels))

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """The same, by the values of one label."""
        found: dict[str, float] = {}
        for row in self._with(name, labels):
            found[row.labels[label]] = found.get(row.labels[label], 0.0) + row.value
        return found

    def counters(self) -> dict[str, float]:
        """All series that may only rise."""
        ends = ("_total", "_bucket", "_count")
        return {f"{r.name} {r.labels}": r.value for r in self.rows if r.name.endswith(ends)}

    def target(self, name: str) -> TargetView:
        """The view of one target."""
        (found,) = [view for view in self.snapshot.targets if view.target == name]
        return found

    def model(self, name: str) -> ModelView:
        """The view of one model."""
        (found,) = [view for view in self.snapshot.models if view.model == name]
        return found

    def burn(self, slo: str, model: str) -> Burn:
        """One objective of one model."""
        burns = self.snapshot.burns
        (found,) = [b for b in burns if (b.objective.name, b.model) == (slo, model)]
        return found

    def events(self, target: str) -> list[str]:
        """Kinds of all that happened to a target; not to its model, which may have its name."""
        of_models = ("burning", "recovered")
        events = [event for event in self.snapshot.events if event.kind not in of_models]
        return [event.kind for event in events if event.subject == target]

    def _with(self, name: str, labels: dict[str, str]) -> Iterator[Row]:
        wanted = labels.items()
        return (row for row in self.rows if row.name == name and wanted <= row.labels.items())


class Watcher:
    """An agent that ticks when told."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._counters: dict[str, float] = {}

    def tick(self) -> Exported:
        """One tick, and what it exports. Whatever happens, none of our counters falls."""
        self.agent.tick()
        assert self.agent.outlet is not None
        found = Exported(self.agent.outlet.metrics, self.agent.outlet.snapshot)
        now = found.counters()
        fell = [name for name, value in self._counters.items() if now.get(name, 0.0) < value]
        assert fell == []
        self._counters = now
        return found

    def until(
        self,
        condition: Callable[[Exported], bool],
        *,
        seconds: float = SETTLE_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> Exported:
        """Tick until it is true; fail if that takes longer than `seconds`."""
        give_up_seconds = time.monotonic() + seconds
        while not condition(found := self.tick()):
            assert time.monotonic() < give_up_seconds, f"not after {seconds} s: {told(found)}"
            time.sleep(pause_seconds)
        return found

    def settled(self, target: str) -> Exported:
        """Tick until the target is idle and its counts have stood still."""
        last: list[Row] = []
        quiet = 0

        def is_settled(now: Exported) -> bool:
            nonlocal last, quiet
            counts = [r for r in now.rows if r.labels.get("target") == target and is_count(r)]
            busy = now.total("burnmeter_running_requests", target=target)
            busy += now.total("burnmeter_waiting_requests", target=target)
            quiet = quiet + 1 if counts and counts == last and busy == 0 else 0
            last = counts
            return quiet >= QUIET_TICKS

        return self.until(is_settled)


def is_count(row: Row) -> bool:
    """Whether a series only moves when the engine works."""
    return row.name.startswith(("burnmeter_tokens_", "burnmeter_requests_", "burnmeter_ttft_"))


def told(found: Exported) -> str:
    """The end of the story, for the reader of a failure."""
    events = [f"{e.subject} {e.kind}: {e.text}" for e in found.snapshot.events[-5:]]
    return "; ".join(events) or "nothing happened"


@contextmanager
def watching(folder: Path, text: str) -> Iterator[Watcher]:
    """An agent with the config of this text."""
    path = folder / "burnmeter.yaml"
    path.write_text(f"gpus: {{enabled: false}}\n{text}", encoding="utf-8")
    settings = config.load(path, bounds=bounds_by_engine())
    agent = Agent(settings, real_world(settings))
    try:
        yield Watcher(agent)
    finally:
        agent.close()


def listed(url: str, name: str, **keys: object) -> str:
    """Config of one target, alone: nothing else on this machine is read."""
    lines = [f"  - url: {url}", *(f"    {key}: {value}" for key, value in keys.items())]
    return "\n".join(
        [
            "discovery: {processes: false}",
            "targets:",
            *lines,
            f"    name: {name}",
            f"    model: {name}\n",
        ]
    )


class Between(NamedTuple):
    """What was exported of one target between two looks."""

    before: Exported
    after: Exported
    target: str

    def grown(self, name: str, **labels: str) -> float:
        """How much more there is."""
        labels = {"target": self.target, **labels}
        return self.after.total(name, **labels) - self.before.total(name, **labels)

    def requests(self, counted_by: str = "engine") -> dict[str, float]:
        """Outcome -> requests by one witness, of outcomes that there were."""
        name, labels = "burnmeter_requests_total", {"target": self.target, "counted_by": counted_by}
        before = self.before.by("outcome", name, **labels)
        after = self.after.by("outcome", name, **labels)
        grown = {outcome: n - before.get(outcome, 0.0) for outcome, n in after.items()}
        return {outcome: n for outcome, n in grown.items() if n != 0}

    def tokens(self) -> tuple[float, float]:
        """Prompt and generated tokens."""
        name = "burnmeter_tokens_total"
        return self.grown(name, kind="prompt"), self.grown(name, kind="generated")
