"""A vLLM that hangs, dies or refuses, as the agent tells it and as its client lived through it.

Faults come from outside (a signal to the engine core, a queue too short), never from a double. What
they look like on the page is in tests/fixtures/engines/README.md.
"""

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.engines import load
from tests.engines.conftest import House
from tests.engines.serving import Server, free_port, vllm_server
from tests.engines.watching import Between, Exported, Watcher, listed, watching

pytestmark = [pytest.mark.engines, pytest.mark.timeout(480)]

INTERVAL_SECONDS = 1.0
STALLED_AFTER_SECONDS = 2.0
TIMES = f"interval_seconds: 1\nstalled_after_seconds: {STALLED_AFTER_SECONDS:g}\n" + (
    "recent_seconds: 60\nlimits: {scrape_timeout_seconds: 0.8}\n"
)
RUNNING = "burnmeter_running_requests"
FIRST_TOKENS = "burnmeter_ttft_seconds_count"


def core_of(server: Server) -> psutil.Process:
    (found,) = server.processes("EngineCore")
    return found


def bad_seconds(now: Exported, model: str) -> float:
    """Time in which the model was not available, for sure."""
    total = now.burn("availability", model).total
    return total.valid - total.good_upper


def wait_for_streams(watch: Watcher, target: str, before: Exported, count: int) -> Exported:
    """Tick until so many more have their first token, and that many run."""
    begun = before.total(FIRST_TOKENS, target=target) + count
    return watch.until(
        lambda now: (
            now.total(FIRST_TOKENS, target=target) == begun
            and now.total(RUNNING, target=target) == count
        ),
        pause_seconds=0.1,
    )


def freeze(watch: Watcher, target: str) -> tuple[list[Exported], float]:
    """Tick at the interval until it is stalled and two ticks more; the ticks that this took after
    the time allowed for a pause, and how long it lasted."""
    began_seconds = time.monotonic()
    late: list[Exported] = []
    while len(late) < 4:
        time.sleep(INTERVAL_SECONDS)
        now = watch.tick()
        if time.monotonic() - began_seconds > STALLED_AFTER_SECONDS:
            late.append(now)
    return late, time.monotonic() - began_seconds


def test_a_frozen_core_is_stalled_within_two_ticks_and_loses_nothing(
    vllm_mid: Server, tmp_path: Path
) -> None:
    core = core_of(vllm_mid)
    with watching(tmp_path, TIMES + listed(vllm_mid.url, "frozen")) as watch:
        before = watch.settled("frozen")
        with load.running(vllm_mid.url, load.ok(3, max_tokens=150), workers=3) as early:
            wait_for_streams(watch, "frozen", before, 3)
            core.suspend()
            try:
                with load.running(vllm_mid.url, load.ok(2), workers=2) as late:
                    ticks, seconds = freeze(watch, "frozen")
                    core.resume()
            finally:
                core.resume()
            moving = watch.until(lambda now: "resumed" in now.events("frozen"))
        after = watch.settled("frozen")

    stalled = ticks[1]
    assert "stalled" in stalled.events("frozen")
    assert stalled.total("burnmeter_target_stalled", target="frozen") == 1
    assert stalled.model("frozen").state == "burning"
    assert stalled.model("frozen").reason.startswith("frozen is stalled")
    # Time is bad from the tick that knows; what came before it was thought to be good.
    assert 2 * INTERVAL_SECONDS <= bad_seconds(ticks[-1], "frozen") <= seconds
    assert bad_seconds(after, "frozen") == bad_seconds(ticks[-1], "frozen")
    assert moving.total("burnmeter_target_stalled", target="frozen") == 0

    found = Between(before, after, "frozen")
    assert found.requests() == {"ok": 5}
    assert found.requests("estimate") == {}
    assert found.tokens() == (
        early.prompt_tokens() + late.prompt_tokens(),
        early.completion_tokens() + late.completion_tokens(),
    )
    # The two that came meanwhile waited for their first token; the promise is one second.
    assert after.burn("ttft", "frozen").total == (5, 3, 3)


def test_dropped_streams_are_counted_as_cancelled(vllm_mid: Server, tmp_path: Path) -> None:
    """`mid` is slow enough: of a faster one the engine may have served all before it is told."""
    with watching(tmp_path, listed(vllm_mid.url, "dropped")) as watch:
        before = watch.settled("dropped")
        truth = load.run_load(vllm_mid.url, [*load.ok(10), *load.aborted(6)])
        after = watch.settled("dropped")

    found = Between(before, after, "dropped")
    assert truth.requests() == {"aborted": 6, "ok": 10}
    assert found.requests() == {"ok": 10}
    assert found.requests("estimate") == {"cancelled": 6}
    errors = after.burn("errors", "dropped").total
    assert errors == (10, 10, 10), "a client who leaves is no failure of the server"


def kill_core_under_load(watch: Watcher, server: Server) -> tuple[list[Exported], load.Truth]:
    """Three streams break; a tick before it, and ticks until the engine has long been down."""
    before = watch.settled("killed")
    with load.running(server.url, load.ok(3, max_tokens=300), workers=3) as truth:
        ticks = [wait_for_streams(watch, "killed", before, 3)]
        core_of(server).kill()
        for _ in range(3):
            time.sleep(3 * INTERVAL_SECONDS)
            ticks.append(watch.tick())
    return ticks, truth


def test_a_killed_core_is_down_within_two_ticks_and_what_it_lost_counts_once(
    no_vllm: None, tmp_path: Path
) -> None:
    port = free_port()
    text = "interval_seconds: 3\nlimits: {scrape_timeout_seconds: 2}\n"
    with watching(tmp_path, text + listed(f"http://127.0.0.1:{port}", "killed")) as watch:
        with vllm_server(tmp_path, size="mid", port=port) as server:
            first = watch.tick()
            one = load.run_load(server.url, load.ok(4))
            ticks, broken = kill_core_under_load(watch, server)
        dead = watch.tick()
        with vllm_server(tmp_path, port=port) as server:
            two = load.run_load(server.url, load.ok(6))
            after = watch.settled("killed")

    assert ticks[0].total(RUNNING, target="killed") == 3
    assert not ticks[2].target("killed").is_up
    assert ticks[2].events("killed")[-1] == "down"
    assert ticks[2].model("killed").state == "burning"
    # What ran at the last look was lost, and these were the streams that broke.
    assert broken.requests() == {"broken": 3}
    for now in (ticks[2], ticks[3], dead, after):
        assert now.total("burnmeter_requests_total", target="killed", outcome="lost") == 3
    found = Between(first, after, "killed")
    assert found.requests() == {"ok": len(one.answers) + len(two.answers)} == {"ok": 10}
    assert after.target("killed").restarts == 1
    assert after.burn("errors", "killed").total == (13, 10, 13), "lost is an estimate"

    # The broken streams' tokens count as far as the last page that could be read had them.
    lives = Between(dead, after, "killed")
    assert lives.tokens() == (two.prompt_tokens(), two.completion_tokens())
    assert bad_seconds(dead, "killed") >= 3 * INTERVAL_SECONDS


def test_a_graceful_restart_loses_nothing_that_a_page_had(
    vllm: Server, house: House, tmp_path: Path
) -> None:
    port = int(vllm.url.rpartition(":")[2])
    target = f"vllm-{port}"
    with watching(tmp_path, "slos: []\n") as watch:
        first = watch.settled(target)
        one = load.run_load(vllm.url, load.ok(8))
        unread = watch.settled(target)
        house.empty()
        down = watch.tick()
        again = house.serve(size="tiny", port=port)
        two = load.run_load(again.url, load.ok(5, max_tokens=30))
        after = watch.settled(target)

    assert not down.target(target).is_up
    life = Between(first, unread, target)
    assert life.requests() == one.requests() == {"ok": 8}
    assert life.tokens() == (one.prompt_tokens(), one.completion_tokens())
    lives = Between(unread, after, target)
    assert lives.tokens() == (two.prompt_tokens(), two.completion_tokens())
    assert lives.requests() == two.requests() == {"ok": 5}
    assert Between(first, after, target).requests("estimate") == {}
    assert after.events(target)[-3:] == ["down", "restart", "up"]
    assert after.target(target).restarts == 1


def one_by_one(server: Server) -> load.Truth:
    """Refused at the door: HTTP 503. How many are served is luck: one may end while others come."""
    truth = load.run_load(server.url, load.ok(12, max_tokens=60), workers=12, interval_seconds=0.1)
    assert set(truth.requests()) == {"http_503", "ok"}
    return truth


def burst(server: Server) -> load.Truth:
    """Refused at the door or, which takes luck, after a 200 was sent: until some were."""
    truth = load.Truth()
    for _ in range(6):
        truth.answers.extend(load.run_load(server.url, load.ok(12), workers=12).answers)
        if "broken" in truth.requests():
            break
    assert set(truth.requests()) <= {"broken", "http_503", "ok"}
    assert "broken" in truth.requests()
    return truth


@pytest.mark.parametrize("send", [one_by_one, burst])
def test_refusals_of_a_full_queue_are_errors_within_bounds(
    vllm_narrow: Server, tmp_path: Path, send: Callable[[Server], load.Truth]
) -> None:
    with watching(tmp_path, listed(vllm_narrow.url, "full")) as watch:
        before = watch.settled("full")
        truth = send(vllm_narrow)
        after = watch.settled("full")

    served, everyone = truth.requests()["ok"], len(truth.answers)
    found = Between(before, after, "full")
    assert found.requests() == {"ok": served}, "a stream that began with 200 is no success"
    assert found.requests("estimate") == {}
    witnessed = [found.requests(by).get("error", 0.0) for by in ("http", "admission")]
    assert max(witnessed) <= everyone - served <= sum(witnessed)
    assert found.requests("http").get("error", 0.0) == truth.requests().get("http_503", 0)
    view = after.model("full")
    assert view.error_ratio_lower is not None
    assert view.error_ratio_upper is not None
    assert view.error_ratio_lower <= (everyone - served) / everyone <= view.error_ratio_upper
    valid, good_lower, good_upper = after.burn("errors", "full").total
    assert good_lower == served
    assert good_upper < valid
    assert found.tokens() == (truth.prompt_tokens(), truth.completion_tokens())
