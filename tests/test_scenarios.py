"""Stories from tests/scenarios, played through the whole middle: page text in, Snapshot out.

Each story is a list of steps: at `at` seconds the page said this, the process was that, so this
must be shown. tests/scenarios/README.md explains the words; expected numbers are worked out by
hand in the stories' comments.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnmeter import pipeline, views
from burnmeter.frame import Frame
from burnmeter.model import Failure, GpuReading, PageReading, ProcessReading, Target
from burnmeter.page import Page, PageMemory, read_page
from burnmeter.pipeline import Readings, Settings, State
from burnmeter.pricing import Price
from burnmeter.snapshot import Health, Snapshot
from tests import notation
from tests.fakes import gpu, objective, processes, terms

FOLDER = Path(__file__).resolve().parent / "scenarios"
STORIES = {
    f"{path.stem}: {story['story']}": story
    for path in sorted(FOLDER.glob("*.yaml"))
    for story in yaml.safe_load(path.read_text("utf-8"))
}
STARTED = 1000.0
WATTS = 500.0
DEFAULT_SLOS = [
    {"indicator": "ttft", "percent": 99, "threshold_seconds": 0.5},
    {"indicator": "errors", "percent": 99},
    {"indicator": "availability", "percent": 99},
]
HEALTH = Health(
    cpu_seconds=0.0,
    memory_bytes=0.0,
    tick_duration_seconds=0.0,
    ticks=0,
    late_ticks=0,
    failed_ticks=0,
    limits_reached={},
)
Words = dict[str, Any]


@dataclass
class Engine:
    """One target of a story, as it is now."""

    target: Target
    words: Words = field(default_factory=dict)
    failure: str | None = None
    is_there: bool = True
    memory: PageMemory = field(default_factory=PageMemory)

    def change(self, said: Words | str) -> None:
        """A word alone is a kind of failure; a mapping is added to what the page said before."""
        self.is_there = said != "absent"
        self.failure = said if isinstance(said, str) else None
        if isinstance(said, dict):
            pid = said.pop("pid", self.target.pid)
            begun = said.pop("pid_started", self.target.started_timestamp_seconds)
            self.target = replace(self.target, pid=pid, started_timestamp_seconds=begun)
            self.words = said if said.pop("anew", False) else {**self.words, **said}

    def read(self, at: float, timestamp: float) -> tuple[PageReading, Page | None]:
        """The page through the real reader."""
        failure = Failure(self.failure, f"it is {self.failure}") if self.failure else None
        reading = PageReading(self.target.name, at, timestamp, 0.01, None, failure)
        text = notation.text(self.words)
        return reading, None if failure else read_page(text, memory=self.memory)


class Theatre:
    """A node that plays one story."""

    def __init__(self, story: Words) -> None:
        self.interval = float(story.get("interval", 5))
        origin = story.get("origin", "config")
        self.engines = {
            name: Engine(Target(name=name, url=f"http://{name}", origin=origin))
            for name in story.get("engines", ["a"])
        }
        # Target -> how many GPUs its process holds; each draws 500 W.
        self.gpus = dict(story.get("gpus", {}))
        hourly = story.get("gpu_dollars_per_hour")
        slos = story.get("slos", DEFAULT_SLOS)
        self.settings = Settings(
            terms=terms(interval_seconds=self.interval),
            objectives=tuple(
                objective(
                    slo["indicator"],
                    slo["percent"] / 100,
                    **{key: value for key, value in slo.items() if key.startswith("threshold_")},
                )
                for slo in slos
            ),
            recent_seconds=60.0,
            prices={"NVIDIA H100": None if hourly is None else Price(hourly, 0.0, "a story")},
        )
        self.state = State(started_timestamp_seconds=STARTED)
        self.at, self.wall_shift = 0.0, 0.0
        self.frame: Frame | None = None
        self.told: list[str] = []

    def play(self, step: Words) -> Iterator[Snapshot]:
        """One step: one tick, or one each interval until a time."""
        self.wall_shift += step.get("wall_clock_set_by", 0.0)
        for name, said in step.get("pages", {}).items():
            self.engines[name].change(said if isinstance(said, str) else dict(said))
        if "until" not in step:
            self.at = float(step["at"])
            yield self._tick()
        while "until" in step and self.at < step["until"]:
            self.at += self.interval
            for name, more in step.get("each", {}).items():
                self._add(self.engines[name].words, more)
            yield self._tick()

    def _add(self, words: Words, more: Words) -> None:
        for word, step in more.items():
            old = words.get(word, 0)
            if isinstance(step, dict):
                words[word] = {bound: old[bound] + count for bound, count in step.items()}
            else:
                words[word] = old + step

    def _gpus(self) -> GpuReading:
        pids = [self.engines[name].target.pid for name, n in self.gpus.items() for _ in range(n)]
        return GpuReading(
            at_seconds=self.at,
            timestamp_seconds=STARTED + self.at,
            duration_seconds=0.0,
            gpus=tuple(
                gpu(f"GPU-{place}", *([pid] if pid else []), energy_joules=WATTS * self.at)
                for place, pid in enumerate(pids)
            ),
        )

    def _tick(self) -> Snapshot:
        timestamp = STARTED + self.at + self.wall_shift
        there = {name: e for name, e in self.engines.items() if e.is_there}
        readings = Readings(
            at_seconds=self.at,
            timestamp_seconds=timestamp,
            targets=tuple(engine.target for engine in there.values()),
            pages={name: engine.read(self.at, timestamp) for name, engine in there.items()},
            gpus=self._gpus() if self.gpus else None,
            processes=ProcessReading(
                at_seconds=self.at,
                timestamp_seconds=timestamp,
                duration_seconds=0.0,
                processes=processes(*((e.target.pid, 1) for e in there.values() if e.target.pid)),
            ),
        )
        self.state = pipeline.tick(self.state, readings, self.settings)
        self.frame, models = views.turn(
            self.state,
            self.settings,
            timestamp_seconds=timestamp,
            at_seconds=self.at,
            before=self.frame,
        )
        self.told += [event.kind for event in self.state.events]
        self.state = replace(self.state, events=())
        return views.snapshot(
            self.frame,
            version="0",
            node="n",
            is_simulated=False,
            sources=(),
            health=HEALTH,
            models=models,
        )


# --- what is expected ----------------------------------------------------------------------------


def total(snapshot: Snapshot, what: str) -> float | None:
    """`tokens_total kind=generated target=a`: the sum of the counters that fit; None if none."""
    measure, *pairs = what.split()
    wanted = {tuple(pair.split("=")) for pair in pairs}
    rows = snapshot.counters.items()
    found = [v for key, v in rows if key.measure == measure and wanted <= set(key.labels)]
    return sum(found) if found else None


def of_slo(snapshot: Snapshot, what: str, name: str) -> Any:
    """One objective's state with its severity, its reason, its time, or its total."""
    (burn,) = [b for b in snapshot.burns if b.objective.name == name]
    if what == "covered":
        return [burn.measured_seconds, burn.watched_seconds]
    if what == "slo":
        return burn.state if burn.severity is None else f"{burn.state} {burn.severity}"
    return burn.reason if what == "why" else list(burn.total)


def seen(snapshot: Snapshot, what: str) -> Any:
    """What a Snapshot shows of one expected thing, named as in the stories."""
    subject, _, rest = what.partition(" ")
    if subject == "total":
        return total(snapshot, rest)
    if subject in ("slo", "why", "covered", "valid"):
        return of_slo(snapshot, subject, rest)
    if subject == "target":
        name, _, attribute = rest.partition(" ")
        (view,) = [v for v in snapshot.targets if v.target == name]
        return getattr(view, attribute)
    if subject == "buckets":
        (histogram,) = [h for k, h in snapshot.histograms.items() if k.measure == rest]
        pairs = zip(histogram.bounds, histogram.counts, strict=True)
        return {**dict(pairs), "inf": histogram.total}
    if subject == "models":
        return [view.model for view in snapshot.models]
    (model,) = snapshot.models
    return getattr(model, subject)


def rounded(value: Any) -> Any:
    """Without what binary fractions add."""
    return round(value, 9) if isinstance(value, float) else value


@pytest.mark.parametrize("name", STORIES, ids=str)
def test_a_story_ends_as_it_must(name: str) -> None:
    story = STORIES[name]
    theatre = Theatre(story)
    counters: dict[Any, float] = {}
    for step in story["steps"]:
        for snapshot in theatre.play(step):
            for key, value in snapshot.counters.items():
                assert value >= counters.get(key, 0.0), f"{key} fell at {theatre.at} s"
            counters = dict(snapshot.counters)
            for burn in snapshot.burns:
                assert 0 <= burn.measured_seconds <= burn.watched_seconds
        if "expect" in step:
            shown = {
                what: rounded(seen(snapshot, what)) for what in step["expect"].keys() - {"told"}
            }
            if "told" in step["expect"]:
                shown["told"] = list(theatre.told)
                theatre.told.clear()
            assert shown == step["expect"], f"at {theatre.at} s"


def test_every_story_expects_something() -> None:
    assert len(STORIES) >= 20
    assert [name for name, s in STORIES.items() if not any("expect" in e for e in s["steps"])] == []
