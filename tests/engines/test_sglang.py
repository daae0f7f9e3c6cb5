"""SGLang as the agent tells it, against the truth of its client.

Its page counts later and otherwise than vLLM's; what it says second by second is in
tests/fixtures/engines/README.md.
"""

from pathlib import Path

import pytest

from tests.engines import load
from tests.engines.serving import Server
from tests.engines.watching import Between, listed, watching

pytestmark = [pytest.mark.engines, pytest.mark.timeout(480)]

RUNNING = "burnmeter_running_requests"
# A stream is open for two seconds more than it lasts.
TIMES = "interval_seconds: 1\nstalled_after_seconds: 4\n" + (
    "limits: {scrape_timeout_seconds: 0.8}\n"
)
STALL_SECONDS = 20.0


def test_sglang_is_found_and_its_counts_are_the_clients(sglang: Server, tmp_path: Path) -> None:
    target = f"sglang-{sglang.url.rpartition(':')[2]}"
    with watching(tmp_path, "slos: []\n") as watch:
        before = watch.settled(target)
        truth = load.run_load(sglang.url, [*load.ok(10), *load.ok(6, is_stream=False)])
        after = watch.settled(target)

    found = Between(before, after, target)
    assert truth.requests() == found.requests() == {"ok": 16}
    assert found.tokens() == (truth.prompt_tokens(), truth.completion_tokens())
    assert found.grown("burnmeter_ttft_seconds_count") == 16
    assert found.grown("burnmeter_duration_seconds_count") == 16
    view = after.target(target)
    assert (view.origin, view.engine, view.pid) == ("process", "sglang", sglang.pid)
    assert (view.model, view.engine_model) == ("tiny", "tiny")


def test_what_the_client_did_wrong_is_rejected_and_no_failure(
    sglang: Server, tmp_path: Path
) -> None:
    with watching(tmp_path, listed(sglang.url, "refused")) as watch:
        before = watch.settled("refused")
        asks = [*load.ok(5), *load.bad_value(4), *load.too_long(2), *load.unknown_model(3)]
        truth = load.run_load(sglang.url, asks)
        after = watch.settled("refused")

    found = Between(before, after, "refused")
    # SGLang serves whatever model it is asked for.
    assert truth.requests() == {"http_400": 6, "ok": 8}
    assert found.requests() == {"ok": 8}
    assert found.requests("http") == {"rejected": 6}
    assert found.tokens() == (truth.prompt_tokens(), truth.completion_tokens())
    assert after.burn("errors", "refused").total == (8, 8, 8)


def test_dropped_streams_are_counted_as_cancelled_beside_the_served(
    sglang: Server, tmp_path: Path
) -> None:
    with watching(tmp_path, listed(sglang.url, "dropped")) as watch:
        before = watch.settled("dropped")
        truth = load.run_load(sglang.url, [*load.ok(6), *load.aborted(4)])
        after = watch.settled("dropped")

    found = Between(before, after, "dropped")
    assert truth.requests() == {"aborted": 4, "ok": 6}
    # The engine counts whoever began to run as a request, and the drop once more.
    assert found.requests() == {"cancelled": 4, "ok": 10}
    assert found.requests("estimate") == {}
    errors = after.burn("errors", "dropped").total
    assert errors == (10, 10, 10), "a client who leaves is no failure of the server"


def test_a_frozen_scheduler_is_stalled_and_loses_nothing(sglang: Server, tmp_path: Path) -> None:
    (scheduler,) = sglang.processes("sglang::scheduler")
    with watching(tmp_path, TIMES + listed(sglang.url, "frozen")) as watch:
        before = watch.settled("frozen")
        # Three at a time for long enough that a look which comes late still finds three.
        with load.running(sglang.url, load.ok(9, max_tokens=900), workers=3) as truth:
            watch.until(lambda now: now.total(RUNNING, target="frozen") == 3, pause_seconds=0.1)
            scheduler.suspend()
            try:
                stalled = watch.until(
                    lambda now: "stalled" in now.events("frozen"),
                    pause_seconds=1.0,
                    seconds=STALL_SECONDS,
                )
            finally:
                scheduler.resume()
            watch.until(lambda now: "resumed" in now.events("frozen"))
        after = watch.settled("frozen")

    assert stalled.total("burnmeter_target_stalled", target="frozen") == 1
    assert stalled.model("frozen").state == "burning"
    found = Between(before, after, "frozen")
    assert truth.requests() == found.requests() == {"ok": 9}
    assert found.tokens() == (truth.prompt_tokens(), truth.completion_tokens())


def test_whole_answers_that_a_full_queue_refuses_are_errors(
    sglang_narrow: Server, tmp_path: Path
) -> None:
    with watching(tmp_path, listed(sglang_narrow.url, "full")) as watch:
        before = watch.settled("full")
        asks = load.ok(12, max_tokens=60, is_stream=False)
        truth = load.run_load(sglang_narrow.url, asks, workers=12, interval_seconds=0.1)
        after = watch.settled("full")

    found = Between(before, after, "full")
    # How many are served is luck: one may end while others come.
    assert set(truth.requests()) == {"http_503", "ok"}
    served = truth.requests()["ok"]
    assert found.requests() == {"ok": served}
    assert found.requests("http") == {"error": 12 - served}
    assert after.burn("errors", "full").total == (12, served, served)
    assert found.tokens() == (truth.prompt_tokens(), truth.completion_tokens())


def test_streams_that_a_full_queue_refuses_are_no_successes(
    sglang_narrow: Server, tmp_path: Path
) -> None:
    """They begin with 200; no counter of the engine tells what became of them."""
    with watching(tmp_path, listed(sglang_narrow.url, "burst")) as watch:
        before = watch.settled("burst")
        truth = load.run_load(sglang_narrow.url, load.ok(8), workers=8)
        after = watch.settled("burst")

    found = Between(before, after, "burst")
    assert set(truth.requests()) == {"broken", "ok"}
    assert found.requests() == {"ok": truth.requests()["ok"]}
    assert found.tokens() == (truth.prompt_tokens(), truth.completion_tokens())
