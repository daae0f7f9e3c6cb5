"""Record the pages of gateways and model servers, with the client's truth and the engines' behind.

Not a test, and run by none: the sibling of `record`, for what stands in front of engines. Of one
story all pages are of the same moments, so that what a gateway says can be held against what its
engines say of the same requests.

usage: python -m tests.engines.record_gateways litellm|kserve|ray [STORY ...]
"""

import datetime
import http.client
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.engines import load
from tests.engines.gateways import Gateway, kserve_server, litellm_proxy, ray_serve, through
from tests.engines.record import PLACE
from tests.engines.serving import Server, llamacpp_server
from tests.parts import ROOT, engine_environment

SETTLE_SECONDS = 3.0  # LiteLLM counts after the answer has gone
RAY_SECONDS = 15.0  # Ray's workers tell their node every 5 s
KEPT_OF_RAY = re.compile(
    r"(ray_serve_|ray_vllm_|ray_node_cpu|ray_node_mem_|ray_component_cpu_|process_|python_info|target_)"
)
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@dataclass
class Scene:
    """One story while it plays: who is in it, and what is kept of it."""

    gateway: Gateway
    engines: list[Server] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)
    truths: dict[str, load.Truth] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)

    def keep(self, moment: str, accept: str | None = None) -> None:
        """Keep the gateway's page and those of the engines that still answer."""
        self.pages[moment] = self.gateway.page(accept)
        for number, engine in enumerate(self.engines, start=1):
            if engine.processes():
                self.pages[f"behind/{number}-{moment}"] = engine.page()

    def send(self, who: str, asks: list[load.Ask], workers: int = 4) -> None:
        """Send a load through the gateway and keep its truth under this name."""
        self.truths[who] = load.run_load(self.gateway.server.url, asks, workers=workers)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> None:
        """One plain request, of which only the status is kept."""
        netloc = urlsplit(self.gateway.server.url).netloc
        connection = http.client.HTTPConnection(netloc, timeout=load.ANSWER_SECONDS)
        headers = {"Content-Type": "application/json"}
        text = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, text, headers)
        with connection.getresponse() as answer:
            self.statuses[f"{path.partition('?')[0]} {answer.status}"] += 1
        connection.close()


# --- LiteLLM -------------------------------------------------------------------------------------


def served(scene: Scene) -> None:
    """Served by one of two engines or by a named one; refused for five reasons; scraped unasked."""
    scene.keep("before")
    both = [*load.ok(10), *load.ok(6, is_stream=False)]
    scene.send("chat", through([*both, *load.too_long(2)], "chat"))
    scene.send("chat-1", through(load.ok(4, max_tokens=24), "chat-1"))
    scene.send("chat-2", through(load.ok(3, max_tokens=8, is_stream=False), "chat-2"))
    scene.send("no-such-model", through(load.unknown_model(3), "no-such-model"))
    scene.send("without a key", through(load.ok(1, is_stream=False), "chat", key=None))
    for _ in range(2):
        scene.statuses[f"/metrics {scene.gateway.look()[0]}"] += 1
    time.sleep(SETTLE_SECONDS)
    scene.keep("after")


def one_killed(scene: Scene) -> None:
    """One of two engines is killed; then, one by one: 8 to either, 6 streams to either, 3 to it."""
    scene.send("chat, before", through(load.ok(4, is_stream=False), "chat"))
    time.sleep(SETTLE_SECONDS)
    scene.keep("before")
    (engine,) = scene.engines[0].processes()
    engine.kill()
    scene.send("chat", through(load.ok(8, is_stream=False), "chat"), workers=1)
    scene.send("chat, streams", through(load.ok(6), "chat"), workers=1)
    scene.send("chat-1", through(load.ok(3, is_stream=False), "chat-1"), workers=1)
    time.sleep(SETTLE_SECONDS)
    scene.keep("after")


def aborts(scene: Scene) -> None:
    """5 streams read to their end and 4 dropped by the client after 3 chunks."""
    scene.keep("before")
    scene.send("chat", through([*load.ok(5), *load.aborted(4)], "chat"))
    time.sleep(SETTLE_SECONDS)
    scene.keep("after")


# --- KServe and Ray ------------------------------------------------------------------------------


def never_asked(scene: Scene) -> None:
    """Just started, never asked."""
    scene.keep("only")


def predicted(scene: Scene) -> None:
    """5 predictions, 2 that raise in the model, 1 for another model; then in OpenMetrics, too."""
    scene.keep("before")
    for _ in range(5):
        scene.ask("/v1/models/echo:predict", {"instances": ["a"]})
    for _ in range(2):
        scene.ask("/v1/models/echo:predict", {"instances": ["fail"]})
    scene.ask("/v1/models/no-such-model:predict", {"instances": ["a"]})
    scene.keep("after")
    scene.keep("after-openmetrics", OPENMETRICS)


def answered(scene: Scene) -> None:
    """5 answered, 2 that raise (500), 1 that says 503, 1 that says 404, 1 on no route (404).

    Trimmed to what its pages say of Serve, of the node's processor and memory, and of the process
    that answers. The vllm metrics are no vLLM's: a stand-in registers and moves them as vLLM does
    (16 tokens and a TTFT of 4 ms for each of the 5).
    """
    time.sleep(RAY_SECONDS)
    scene.keep("before")
    for _ in range(5):
        scene.ask("/chat")
    for query in ("fail=1", "fail=1", "status=503", "status=404"):
        scene.ask(f"/chat?{query}")
    scene.ask("/nowhere")
    time.sleep(RAY_SECONDS)
    scene.keep("after")
    for moment, page in scene.pages.items():
        scene.pages[moment] = trimmed(page)


def trimmed(page: str) -> str:
    """The lines of the families that are kept."""
    lines = page.splitlines(keepends=True)
    return "".join(line for line in lines if KEPT_OF_RAY.match(re.sub(r"^# \w+ ", "", line)))


# --- files ---------------------------------------------------------------------------------------

ALIASES = {"chat": (0, 1), "chat-1": (0,), "chat-2": (1,)}


def litellm(stack: ExitStack, folder: Path) -> Scene:
    """A proxy over two engines: `chat` is both, `chat-1` and `chat-2` are one each."""
    engines = [stack.enter_context(llamacpp_server(folder)) for _ in range(2)]
    upstreams = {alias: [engines[n] for n in numbers] for alias, numbers in ALIASES.items()}
    return Scene(stack.enter_context(litellm_proxy(folder, upstreams)), engines)


def kserve(stack: ExitStack, folder: Path) -> Scene:
    """The model server."""
    return Scene(stack.enter_context(kserve_server(folder)))


def ray(stack: ExitStack, folder: Path) -> Scene:
    """A node."""
    return Scene(stack.enter_context(ray_serve(folder)))


@dataclass(frozen=True)
class Story:
    """What to play, on what."""

    title: str
    start: Callable[[ExitStack, Path], Scene]
    play: Callable[[Scene], None]


PROXY = (
    "LiteLLM {} over two llama.cpp b11549, model tiny; alias chat is both, chat-1 the first, "
    "chat-2 the second; callbacks: [prometheus], a master key, no database"
)
KSERVE = "KServe {} Python model server, one model that gives back what it is asked, no gRPC"
RAY = "Ray Serve {}, one node, one deployment"
STORIES = {
    "litellm": {
        "served": Story(PROXY, litellm, served),
        "one-killed": Story(PROXY, litellm, one_killed),
        "aborts": Story(PROXY, litellm, aborts),
    },
    "kserve": {
        "never-asked": Story(KSERVE, kserve, never_asked),
        "predicted": Story(KSERVE, kserve, predicted),
    },
    "ray": {"answered": Story(RAY, ray, answered)},
}


def version_of(what: str) -> str:
    """What its environment holds: pages of other versions are recorded from other folders."""
    ask = f"import importlib.metadata; print(importlib.metadata.version({what!r}))"
    command = [str(engine_environment(what) / "bin" / "python"), "-c", ask]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def record(what: str, name: str) -> None:
    """Play one story and write its files."""
    story = STORIES[what][name]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scene = story.start(stack, Path(folder))
        story.play(scene)
    today = datetime.datetime.now(datetime.UTC).date()
    words = " ".join((story.play.__doc__ or "").split())
    version = version_of(what)
    about = f"{story.title.format(version)}; on the CPU, recorded {today}. Story: {words}"
    for moment, page in scene.pages.items():
        behind, _, rest = moment.rpartition("/")
        end = "" if rest == "only" else f"-{rest}"
        whose = f"llama.cpp {rest.partition('-')[0]} behind " if behind else ""
        write(PLACE / what / behind / f"{version}-{name}{end}.prom", f"# {whose}{about}\n{page}")
    if scene.truths or scene.statuses:
        client = {"about": about, **client_side(scene)}
        text = json.dumps(client, indent=1) + "\n"
        write(PLACE / what / f"{version}-{name}-client.json", text)


def client_side(scene: Scene) -> dict[str, Any]:
    """What was asked under each name, in sum and one by one, and the statuses of plain requests."""
    return {
        "statuses": dict(sorted(scene.statuses.items())),
        "loads": {who: truth.as_json() for who, truth in scene.truths.items()},
    }


def write(path: Path, text: str) -> None:
    """One file, which may not tell whose machine it was."""
    assert str(ROOT) not in text
    assert str(Path.home()) not in text
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{path.relative_to(PLACE)}: {len(text)} bytes\n")


def main(arguments: list[str]) -> None:
    """Play the stories named, or all of that kind."""
    what, *names = arguments
    for name in names or STORIES[what]:
        record(what, name)


if __name__ == "__main__":
    main(sys.argv[1:])
