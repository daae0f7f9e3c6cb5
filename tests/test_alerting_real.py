"""Alerts all the way: a fake engine, the installed agent, a real Alertmanager, and its webhook.

What is posted to an Alertmanager that misbehaves is in test_alertmanager.py.
"""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.fakes_world import AFTER
from tests.parts import program
from tests.receivers import Receiver, hangs
from tests.servers import free_port
from tests.test_running import END_SECONDS, Running, eventually, running

INTERVAL_SECONDS = 2.0
HAIR_SECONDS = 1.5
"""What two processes and a webhook may take beyond two ticks on a busy machine."""
ROUTES = """
route:
  receiver: hook
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs: [{url: "HOOK", send_resolved: true}]
"""
CONFIG = """
node: gpu-a01
listen: 127.0.0.1:0
interval_seconds: 2
stalled_after_seconds: 2
limits: {scrape_timeout_seconds: 1}
gpus: {enabled: false}
discovery: {processes: false}
targets: [{name: chat, url: "http://127.0.0.1:ENGINE"}]
alertmanagers:
  - {url: "ALERTMANAGER", resend_seconds: 15, page_url: "http://gpu-a01:9778/"}
"""


class Manager:
    """A real Alertmanager and what it told its webhook."""

    def __init__(self, url: str, hook: Receiver) -> None:
        self.url, self.hook = url, hook

    def told(self) -> list[tuple[str, str]]:
        """Name and status of every notification so far."""
        return [
            (one.json["alerts"][0]["labels"]["alertname"], one.json["status"])
            for one in self.hook.posts()
        ]

    def alerts(self) -> list[dict[str, Any]]:
        """What it says is open."""
        with urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
            return list(json.load(answer))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """One that tells a webhook at once."""
    path = program("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager")
    port, config = free_port(), tmp_path / "am.yml"
    url = f"http://127.0.0.1:{port}"
    with Receiver() as hook, (tmp_path / "am.log").open("w") as log:
        config.write_text(ROUTES.replace("HOOK", hook.url))
        arguments = [f"--config.file={config}", f"--storage.path={tmp_path / 'am'}"]
        arguments += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
        with subprocess.Popen([path, *arguments], stderr=log) as process:
            try:
                eventually(lambda: is_ready(f"{url}/-/ready"))
                yield Manager(url, hook)
            finally:
                process.kill()


def is_ready(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except URLError:
        return False


@contextmanager
def engine(port: int, page: Callable[[], str] = lambda: AFTER) -> Iterator[Receiver]:
    """An engine with a recorded page."""
    with Receiver(port=port) as made:
        made.answer = lambda handler: (
            handler.says(200, page().encode(), "text/plain")
            if handler.path == "/metrics"
            else handler.says(404)
        )
        yield made


def agent(folder: Path, port: int, url: str) -> Any:
    """The installed daemon beside them."""
    text = CONFIG.replace("ENGINE", str(port)).replace("ALERTMANAGER", url)
    return running(folder, "run", config=text)


def is_watching(started: Running) -> bool:
    """The engine answers it, and the Alertmanager does."""
    seen = started.snapshot()
    return bool(
        seen and seen["targets"][0]["is_up"] and (seen["alertmanagers"] or [{}])[0].get("is_up")
    )


def more_ticks(started: Running, count: int) -> None:
    """Wait for so many more."""
    now = started.snapshot()["health"]["ticks"]
    eventually(lambda: started.snapshot()["health"]["ticks"] >= now + count)


def told_again(started: Running) -> bool:
    """A new agent has seen the engine down and its Alertmanager has taken that."""
    seen = started.snapshot()
    views = seen.get("alertmanagers") or [{"active": 0, "sent": 0}]
    return bool(views[0]["active"] == 1 and views[0]["sent"] > 0)


def test_a_death_is_told_within_two_ticks_once_though_the_agent_is_killed_and_its_end_once(
    tmp_path: Path, manager: Manager
) -> None:
    port = free_port()
    with engine(port) as alive, agent(tmp_path, port, manager.url) as first:
        eventually(lambda: is_watching(first))
        alive.dies()
        died = time.monotonic()
        eventually(manager.told)
        took = manager.hook.posts()[0].at_seconds - died
        (before,) = manager.alerts()
        first.process.kill()

    assert took < 2 * INTERVAL_SECONDS + HAIR_SECONDS, took
    with agent(tmp_path, port, manager.url) as second:
        eventually(lambda: told_again(second))
        more_ticks(second, 2)
        (now,) = manager.alerts()
        told_before_the_end = manager.told()
        with engine(port):
            eventually(lambda: len(manager.told()) > 1)
            more_ticks(second, 3)

    names = ["alertname", "node", "origin", "severity", "target", "engine", "model"]
    assert sorted(before["labels"]) == sorted(names)
    assert before["labels"]["model"]  # Only the page has named it, which the second never saw.
    assert before["generatorURL"] == "http://gpu-a01:9778/#targets"
    assert (now["fingerprint"], now["startsAt"]) == (before["fingerprint"], before["startsAt"])
    assert told_before_the_end == [("BurnmeterEngineDown", "firing")]
    down = "BurnmeterEngineDown"
    assert manager.told() == [(down, "firing"), (down, "resolved")]


def test_a_stall_is_told_once_though_a_new_agent_needs_a_while_to_see_it(
    tmp_path: Path, manager: Manager
) -> None:
    port = free_port()
    frozen = re.sub(r"(?m)^(vllm:num_requests_running\{.*\}) .*$", r"\1 2.0", AFTER)
    with engine(port, lambda: frozen):
        with agent(tmp_path, port, manager.url) as first:
            eventually(manager.told)
            first.process.kill()
        with agent(tmp_path, port, manager.url) as second:
            eventually(lambda: told_again(second))
            eventually(lambda: second.snapshot()["targets"][0]["is_stalled"])
            more_ticks(second, 1)
            still_open = manager.alerts()

    assert manager.told() == [("BurnmeterEngineStalled", "firing")]
    assert len(still_open) == 1


def test_what_is_over_while_no_agent_runs_is_ended_by_the_next_at_once(
    tmp_path: Path, manager: Manager
) -> None:
    port = free_port()
    with agent(tmp_path, port, manager.url) as first:
        eventually(manager.told)
        first.process.kill()

    with engine(port), agent(tmp_path, port, manager.url) as second:
        eventually(lambda: len(manager.told()) > 1)
        more_ticks(second, 1)
        ended = manager.hook.posts()[-1].json["alerts"][0]

    assert [status for _, status in manager.told()] == ["firing", "resolved"]
    # Of itself it would have ended 60 s after it was last told.
    assert not manager.alerts()
    assert ended["labels"]["target"] == "chat"


def test_an_alertmanager_that_hangs_delays_no_tick_and_not_the_end(tmp_path: Path) -> None:
    with Receiver(hangs) as am, agent(tmp_path, free_port(), am.url) as started:
        eventually(lambda: am.came)
        more_ticks(started, 2)
        health = started.snapshot()["health"]
        code, took = started.ends(signal.SIGTERM)

    assert health["failed_ticks"] == 0
    assert health["tick_duration_seconds"] < INTERVAL_SECONDS / 2
    assert (code, took < END_SECONDS) == (0, True), took


def test_the_verdict_follows_the_engine_over_real_http(tmp_path: Path) -> None:
    port = free_port()
    with (
        engine(port) as alive,
        Receiver() as am,
        agent(tmp_path, port, am.url) as started,
    ):
        eventually(lambda: is_watching(started))
        (model,) = (view["model"] for view in started.snapshot()["models"])
        for path in (quote(model), quote(model, safe="")):
            assert json.loads(started.get(f"/api/v1/verdict/{path}"))["model"] == model
        alive.dies()
        status = eventually(lambda: refused(f"{started.url}/api/v1/verdict/{quote(model)}"))

    assert status == (503, "burning")


def refused(url: str) -> tuple[int, str] | None:
    """Status and state of an answer that is no success."""
    try:
        with urlopen(url, timeout=5):
            return None
    except URLError as error:
        return error.code, error.headers["X-Burnmeter-State"]  # type: ignore[attr-defined]
