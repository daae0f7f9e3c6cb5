"""Engines that end and start again under an agent that keeps watching: nothing lost, nothing twice.

llama.cpp's page does not say when its process started, so these hold the agent to what it can know
from the process table and from counters that fell.
"""

from pathlib import Path

import pytest

from tests.engines import load
from tests.engines.serving import free_port, llamacpp_server
from tests.engines.watching import Between, listed, watching

pytestmark = [pytest.mark.engines, pytest.mark.timeout(480)]


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def test_tokens_of_both_lives_are_counted_once(tmp_path: Path) -> None:
    port = free_port()
    target = f"llamacpp-{port}"
    with watching(tmp_path, "slos: []\n") as watch:
        first = watch.tick()
        with llamacpp_server(tmp_path, port=port):
            one = load.run_load(url_of(port), load.ok(12))
            watch.settled(target)
        gone = watch.until(lambda now: now.events(target)[-1:] == ["down"])
        with llamacpp_server(tmp_path, port=port):
            two = load.run_load(url_of(port), load.ok(7, max_tokens=20))
            after = watch.settled(target)

    # The engine is younger than our watch, so that what it counted before the first look counts.
    prompt = one.prompt_tokens() + two.prompt_tokens()
    generated = one.completion_tokens() + two.completion_tokens()
    assert Between(first, after, target).tokens() == (prompt, generated)
    assert gone.target(target).failure is not None
    assert after.events(target) == ["up", "down", "restart", "up"]
    assert after.target(target).restarts == 1
    assert after.total("burnmeter_requests_total", target=target, outcome="lost") == 0


@pytest.mark.parametrize("looks", [0, 1, 2], ids=["unseen", "seen-once", "seen-twice"])
@pytest.mark.parametrize("second", [3, 12], ids=["less", "more"])
@pytest.mark.parametrize("ticks", [1, 2], ids=["odd", "even"])
def test_a_restart_is_seen_whenever_we_look(
    tmp_path: Path, ticks: int, second: int, looks: int
) -> None:
    """The end may be seen or not, and afterwards the page may show less than before or more.

    All processes are looked at in every other tick only, so both kinds of tick have their turn.
    """
    port = free_port()
    with watching(tmp_path, listed(url_of(port), "quick")) as watch:
        with llamacpp_server(tmp_path, port=port):
            one = load.run_load(url_of(port), load.ok(6))
            watch.settled("quick")
            before = [watch.tick() for _ in range(ticks)][-1]
        down = [watch.tick().target("quick").is_up for _ in range(looks)]
        with llamacpp_server(tmp_path, port=port):
            two = load.run_load(url_of(port), load.ok(second))
            after = watch.settled("quick")

    assert one.requests() == {"ok": 6}
    assert not any(down)
    found = Between(before, after, "quick")
    assert found.tokens() == (two.prompt_tokens(), two.completion_tokens())
    assert after.target("quick").restarts == 1


def test_a_killed_engine_loses_what_was_in_flight_once(tmp_path: Path) -> None:
    port = free_port()
    target = f"llamacpp-{port}"
    with watching(tmp_path, "slos: []\n") as watch:
        with llamacpp_server(tmp_path, port=port) as server:
            watch.settled(target)
            with load.running(url_of(port), load.ok(3, max_tokens=900)) as truth:
                running = "burnmeter_running_requests"
                watch.until(lambda now: now.total(running, target=target) == 3, pause_seconds=0.01)
                server.processes()[0].kill()
                down = watch.tick(), watch.tick()
        dead = watch.tick()
        with llamacpp_server(tmp_path, port=port):
            after = watch.until(lambda now: now.target(target).is_up)

    assert truth.requests() == {"broken": 3}
    assert not any(now.target(target).is_up for now in down)
    for now in (*down, dead, after):
        assert now.total("burnmeter_requests_total", target=target, outcome="lost") == 3
    assert after.target(target).restarts == 1
