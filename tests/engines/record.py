"""Record an engine's pages under a scripted load or fault, with the client's truth beside them.

Not a test, and run by none: it makes the files under tests/fixtures/engines that tests read. Each
story starts its own engine. What a fault looks like from outside is kept second by second, since
the pages alone do not show when they stopped answering.

usage: python -m tests.engines.record vllm|llamacpp [STORY ...]
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

from tests.engines import load
from tests.engines.serving import Server, llamacpp_server, vllm_server
from tests.parts import ROOT

PLACE = ROOT / "tests" / "fixtures" / "engines"
WATCHED = (
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:generation_tokens_total",
    "vllm:time_to_first_token_seconds_count",
    "vllm:request_success_total",
)


@dataclass
class Scene:
    """One story while it plays: its engine, and what is kept of it."""

    server: Server
    pages: dict[str, str] = field(default_factory=dict)
    truth: load.Truth = field(default_factory=load.Truth)
    timeline: list[dict[str, Any]] = field(default_factory=list)

    def keep(self, name: str) -> None:
        """Keep the page as it is now under this name."""
        self.pages[name] = self.server.page()

    def play(self, asks: list[load.Ask], **pace: Any) -> None:
        """Send a load between a page before and a page after."""
        self.keep("before")
        self.truth = load.run_load(self.server.url, asks, **pace)
        time.sleep(1.0)  # the last counters move after the last answer
        self.keep("after")

    @contextlib.contextmanager
    def under_load(self, asks: list[load.Ask], settle_seconds: float) -> Iterator[None]:
        """The load runs in the background while the body plays; leaving waits for its end."""

        with load.running(self.server.url, asks, workers=8) as truth:
            time.sleep(settle_seconds)
            yield
        self.truth.answers.extend(truth.answers)

    def watch(self, seconds: float, every_seconds: float) -> None:
        """Note what /health and /metrics say; the last page that came is kept as `after`."""
        began_seconds = time.monotonic()
        while (at_seconds := time.monotonic() - began_seconds) < seconds:
            health, _ = look(self.server, "/health")
            metrics, page = look(self.server, "/metrics")
            moment = {"seconds": round(at_seconds, 2), "health": health, "metrics": metrics}
            if metrics == 200:
                self.pages["after"] = page
                moment |= {name: total(page, name) for name in WATCHED}
            moment["processes"] = len(self.server.processes())
            self.timeline.append(moment)
            spent_seconds = time.monotonic() - began_seconds - at_seconds
            time.sleep(max(0.0, every_seconds - spent_seconds))


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
    """5 served; 4 with a bad value and 2 too long (400); 3 for a model not served (404)."""
    refused = [*load.bad_value(4), *load.too_long(2), *load.unknown_model(3)]
    scene.play([*load.ok(5), *refused])


def queue_full(scene: Scene) -> None:
    """12 in a second, where four may be unfinished: the others get 503."""
    scene.play(load.ok(12, max_tokens=60), workers=12, interval_seconds=0.1)


def queue_burst(scene: Scene) -> None:
    """12 streams at once, where four may be unfinished: the others get 200 with an error in it."""
    scene.play(load.ok(12, max_tokens=60), workers=12)


def preempted(scene: Scene) -> None:
    """8 at once in a KV cache that cannot hold them all."""
    scene.play(load.ok(8, max_tokens=200), workers=8)


def hung(scene: Scene) -> None:
    """The core is stopped (SIGSTOP) under 3 streams, 2 more come, 11 s later it goes on."""
    with scene.under_load(load.ok(3, max_tokens=400), settle_seconds=2.0):
        (core,) = scene.server.processes("EngineCore")
        core.suspend()
        with scene.under_load(load.ok(2), settle_seconds=1.0):
            scene.keep("before")
            scene.watch(10.0, 1.0)
            core.resume()
    time.sleep(1.0)
    scene.keep("resumed")


def core_killed(scene: Scene) -> None:
    """The engine core is killed (SIGKILL) under 3 streams; `after` is the last page that came."""
    with scene.under_load(load.ok(3, max_tokens=400), settle_seconds=2.0):
        scene.keep("before")
        (core,) = scene.server.processes("EngineCore")
        core.kill()
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
    },
    "llamacpp": {"never-asked": Story(idle), "mixed": Story(mixed), "aborts": Story(aborts)},
}
VERSIONS = {"vllm": "0.32.0", "llamacpp": "b11549"}  # xllamacpp ends in llama.cpp's build number


def record(engine: str, name: str) -> None:
    """Play one story and write its files."""
    story = STORIES[engine][name]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        start = (
            llamacpp_server(place)
            if engine == "llamacpp"
            else vllm_server(place, *story.flags, size=story.size)
        )
        with start as server:
            scene = Scene(server)
            story.play(scene)
    write(engine, name, story, scene)


def write(engine: str, name: str, story: Story, scene: Scene) -> None:
    """One file per page and one for the client's truth; none may tell whose machine it was."""
    today = datetime.datetime.now(datetime.UTC).date()
    about = (
        f"{engine} {VERSIONS[engine]} on the CPU, recorded {today}. "
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
        path = PLACE / engine / f"{VERSIONS[engine]}-{file}"
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
