"""Record an engine's pages under a scripted load or fault, with the client's truth beside them.

Not a test, and run by none: it makes the files under tests/fixtures/engines that tests read. Each
story starts its own engine. What a fault looks like from outside is kept second by second, since
the pages alone do not show when they stopped answering.

usage: python -m tests.engines.record vllm|sglang|llamacpp [STORY ...]
"""

import contextlib
import datetime
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.engines import load
from tests.engines.serving import Server, llamacpp_server, sglang_server, vllm_server
from tests.parts import ROOT

PLACE = ROOT / "tests" / "fixtures" / "engines"


@dataclass(frozen=True)
class Habits:
    """What an engine needs from whoever records it."""

    version: str
    start: Callable[..., contextlib.AbstractContextManager[Server]]
    core: str = ""
    """What the process that computes calls itself."""
    settle_seconds: float = 1.0
    """How long after the last answer its counters still move."""
    is_health_free: bool = True
    """Whether /health may be asked every second; SGLang computes a token for each."""
    watched: tuple[str, ...] = ()
    """Names whose sums go into a timeline."""


HABITS = {
    "vllm": Habits(
        version="0.32.0",
        start=vllm_server,
        core="EngineCore",
        watched=(
            "vllm:num_requests_running",
            "vllm:num_requests_waiting",
            "vllm:generation_tokens_total",
            "vllm:time_to_first_token_seconds_count",
            "vllm:request_success_total",
        ),
    ),
    "sglang": Habits(
        version="0.5.23",
        start=sglang_server,
        core="sglang::scheduler",
        settle_seconds=3.0,
        is_health_free=False,
        watched=(
            "sglang:num_running_reqs",
            "sglang:num_queue_reqs",
            "sglang:realtime_tokens_total",
            "sglang:generation_tokens_total",
            "sglang:time_to_first_token_seconds_count",
            "sglang:num_requests_total",
        ),
    ),
    # xllamacpp's version ends in llama.cpp's build number.
    "llamacpp": Habits(version="b11549", start=llamacpp_server),
}


@dataclass
class Scene:
    """One story while it plays: its engine, and what is kept of it."""

    server: Server
    pages: dict[str, str] = field(default_factory=dict)
    truth: load.Truth = field(default_factory=load.Truth)
    timeline: list[dict[str, Any]] = field(default_factory=list)

    @property
    def habits(self) -> Habits:
        """Of the engine that plays."""
        return HABITS[self.server.engine]

    def core(self) -> psutil.Process:
        """The process that computes."""
        (found,) = self.server.processes(self.habits.core)
        return found

    def settle(self) -> None:
        """Wait until the last counters have moved."""
        time.sleep(self.habits.settle_seconds)

    def keep(self, name: str) -> None:
        """Keep the page as it is now under this name."""
        self.pages[name] = self.server.page()

    def play(self, asks: list[load.Ask], **pace: Any) -> None:
        """Send a load between a page before and a page after."""
        self.keep("before")
        self.truth = load.run_load(self.server.url, asks, **pace)
        self.settle()
        self.keep("after")

    @contextlib.contextmanager
    def under_load(self, asks: list[load.Ask], settle_seconds: float) -> Iterator[None]:
        """The load runs in the background while the body plays; leaving waits for its end."""

        with load.running(self.server.url, asks, workers=8) as truth:
            time.sleep(settle_seconds)
            yield
        self.truth.answers.extend(truth.answers)

    def watch(self, seconds: float, every_seconds: float) -> None:
        """Note what /health and /metrics say; the last page that came is kept as `after`.

        A /health that costs a token is asked once, at the end.
        """
        began_seconds = time.monotonic()
        while (at_seconds := time.monotonic() - began_seconds) < seconds:
            moment: dict[str, Any] = {"seconds": round(at_seconds, 2)}
            if self.habits.is_health_free:
                moment["health"], _ = look(self.server, "/health")
            metrics, page = look(self.server, "/metrics")
            moment["metrics"] = metrics
            if metrics == 200:
                self.pages["after"] = page
                moment |= {name: total(page, name) for name in self.habits.watched}
            moment["processes"] = len(self.server.processes())
            self.timeline.append(moment)
            spent_seconds = time.monotonic() - began_seconds - at_seconds
            time.sleep(max(0.0, every_seconds - spent_seconds))
        if not self.habits.is_health_free:
            at_seconds = time.monotonic() - began_seconds
            health, _ = look(self.server, "/health")
            self.timeline.append({"seconds": round(at_seconds, 2), "health": health})


def look(server: Server, path: str) -> tuple[int | str, str]:
    """Status and text, or the name of what went wrong."""
    try:
        return server.get(path, timeout_seconds=2.0)
    except OSError as error:
        reason = getattr(error, "reason", error)
        return type(reason).__name__, ""


def total(page: str, name: str) -> float:
    """Sum of all series of one name."""
    return sum(
        float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)", page, re.MULTILINE)
    )


# --- stories -------------------------------------------------------------------------------------


def idle(scene: Scene) -> None:
    """Just started, never asked."""
    scene.keep("only")


def steady(scene: Scene) -> None:
    """40 streams of 24 tokens, two a second."""
    scene.play(load.ok(40, max_tokens=24), interval_seconds=0.5, workers=8)


def mixed(scene: Scene) -> None:
    """20 streams and 10 whole answers of 16 tokens."""
    scene.play([*load.ok(20), *load.ok(10, is_stream=False)])


def aborts(scene: Scene) -> None:
    """10 streams read to their end and 6 dropped by the client after 3 chunks."""
    scene.play([*load.ok(10), *load.aborted(6)])


def bad_requests(scene: Scene) -> None:
    """5 served; 4 with a bad value, 2 too long, 3 for a model that is not served."""
    refused = [*load.bad_value(4), *load.too_long(2), *load.unknown_model(3)]
    scene.play([*load.ok(5), *refused])


def queue_full(scene: Scene) -> None:
    """12 in a second, where four may be unfinished: the others get 503."""
    scene.play(load.ok(12, max_tokens=60), workers=12, interval_seconds=0.1)


def whole_queue_full(scene: Scene) -> None:
    """12 whole answers asked for in a second, where four may be unfinished: the others get 503."""
    asks = load.ok(12, max_tokens=60, is_stream=False)
    scene.play(asks, workers=12, interval_seconds=0.1)


def queue_burst(scene: Scene) -> None:
    """12 streams at once, where four may be unfinished: the others get 200 with an error in it."""
    scene.play(load.ok(12, max_tokens=60), workers=12)


def preempted(scene: Scene) -> None:
    """8 at once in a KV cache that cannot hold them all."""
    scene.play(load.ok(8, max_tokens=200), workers=8)


def priorities(scene: Scene) -> None:
    """9 streams with priority 0, 5 and none in turn, 4 at a time; `during` is in their midst."""
    asks = load.with_priorities(9, 0, 5, None, max_tokens=100)
    scene.keep("before")
    with scene.under_load(asks, settle_seconds=4.0):  # the gauges are written at every 40th step
        scene.keep("during")
    scene.settle()
    scene.keep("after")


def hung(scene: Scene) -> None:
    """The core is stopped (SIGSTOP) under 3 streams, 2 more come, 11 s later it goes on."""
    with scene.under_load(load.ok(3, max_tokens=400), settle_seconds=2.0):
        core = scene.core()
        core.suspend()
        with scene.under_load(load.ok(2), settle_seconds=1.0):
            scene.keep("before")
            scene.watch(10.0, 1.0)
            core.resume()
    scene.settle()
    scene.keep("resumed")


def core_killed(scene: Scene) -> None:
    """The engine core is killed (SIGKILL) under 3 streams; `after` is the last page that came."""
    with scene.under_load(load.ok(3, max_tokens=400), settle_seconds=2.0):
        scene.keep("before")
        scene.core().kill()
        scene.watch(8.0, 0.25)


@dataclass(frozen=True)
class Story:
    """What to play, on what."""

    play: Callable[[Scene], None]
    size: str = "tiny"
    flags: tuple[str, ...] = ()


BUCKETS = {
    "time_to_first_token": [0.05, 0.1, 0.2, 0.4],
    "inter_token_latency": [0.02, 0.04],
    "request_latency": [0.5, 1, 2],
}
NARROW = ("--max-num-seqs", "1", "--max-num-queued-reqs", "4")
SGLANG_NARROW = ("--max-running-requests", "1", "--max-queued-requests", "3")
SGLANG_PRIORITIES = ("--enable-priority-scheduling", "--max-running-requests", "4")
STORIES: dict[str, dict[str, Story]] = {
    "vllm": {
        "never-asked": Story(idle),
        "steady": Story(steady, "mid"),
        "aborts": Story(aborts),
        "bad-requests": Story(bad_requests),
        "queue-full": Story(queue_full, "mid", NARROW),
        "queue-burst": Story(queue_burst, "mid", NARROW),
        "preempted": Story(
            preempted, "tiny", ("--num-gpu-blocks-override", "36", "--block-size", "32")
        ),
        "hung": Story(hung, "mid"),
        "core-killed": Story(core_killed, "mid"),
        "two-api-servers": Story(mixed, "tiny", ("--api-server-count", "2")),
        "custom-buckets": Story(
            mixed,
            "tiny",
            ("--custom-histogram-buckets", json.dumps(BUCKETS, separators=(",", ":"))),
        ),
        "dp2": Story(mixed, "tiny", ("--data-parallel-size", "2")),
        "estimates": Story(mixed, "tiny", ("--enable-mfu-metrics",)),
    },
    "sglang": {
        "never-asked": Story(idle),
        "steady": Story(steady, "mid"),
        "mixed": Story(mixed, "mid"),
        "aborts": Story(aborts, "mid"),
        "bad-requests": Story(bad_requests, "mid"),
        "queue-full": Story(whole_queue_full, "mid", SGLANG_NARROW),
        "queue-burst": Story(queue_burst, "mid", SGLANG_NARROW),
        "hung": Story(hung, "mid"),
        "scheduler-killed": Story(core_killed, "mid"),
        "priorities": Story(priorities, "mid", SGLANG_PRIORITIES),
        "dp2": Story(mixed, "tiny", ("--dp-size", "2")),
        "estimates": Story(mixed, "tiny", ("--enable-mfu-metrics",)),
        "tp2-all-schedulers": Story(
            mixed, "tiny", ("--tp-size", "2", "--enable-metrics-for-all-schedulers")
        ),
    },
    "llamacpp": {"never-asked": Story(idle), "mixed": Story(mixed), "aborts": Story(aborts)},
}


def record(engine: str, name: str) -> None:
    """Play one story and write its files."""
    story = STORIES[engine][name]
    with tempfile.TemporaryDirectory() as folder:
        size = {} if engine == "llamacpp" else {"size": story.size}
        with HABITS[engine].start(Path(folder), *story.flags, **size) as server:
            scene = Scene(server)
            story.play(scene)
    write(engine, name, story, scene)


def write(engine: str, name: str, story: Story, scene: Scene) -> None:
    """One file per page and one for the client's truth; none may tell whose machine it was."""
    today = datetime.datetime.now(datetime.UTC).date()
    about = (
        f"{engine} {HABITS[engine].version} on the CPU, recorded {today}. "
        f"Model: {story.size}. Flags: {' '.join(story.flags) or 'none beside the usual'}. "
        f"Story: {story.play.__doc__}"
    )
    texts = {
        f"{name}.prom" if page == "only" else f"{name}-{page}.prom": f"# {about}\n{text}"
        for page, text in scene.pages.items()
    }
    if scene.truth.answers:
        client = {"about": about, "timeline": scene.timeline, **scene.truth.as_json()}
        texts[f"{name}-client.json"] = json.dumps(client, indent=1) + "\n"
    for file, text in texts.items():
        assert str(ROOT) not in text
        assert str(Path.home()) not in text
        path = PLACE / engine / f"{HABITS[engine].version}-{file}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{engine} {name}: {scene.truth.requests()} -> {', '.join(texts)}\n")


def main(arguments: list[str]) -> None:
    """Play the stories named, or all of that engine."""
    engine, *names = arguments
    for name in names or STORIES[engine]:
        record(engine, name)


if __name__ == "__main__":
    main(sys.argv[1:])
