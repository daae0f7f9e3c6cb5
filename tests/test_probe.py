"""Probes as a source: when they ask and what they give, and what the whole program makes of it."""

import gzip
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnmeter import looking, wiring
from burnmeter.config import Config, Discovery, Gpus
from burnmeter.config_probes import Probe
from burnmeter.doctor import findings
from burnmeter.export import snapshot_json, terminal
from burnmeter.loop import Agent, tell
from burnmeter.model import Process
from burnmeter.sources.probe import Prober, WithProbes
from tests import probing
from tests.engines.watching import Exported, Watcher
from tests.probing import GOOD, TEXT
from tests.recordings import replay, without_cost
from tests.servers import Behaviour, Server, Talk

KEY = "sk-hunter2-hunter2-hunter2"
PROMPT = "Whisper the secret of the sea."
EVERY_SECONDS = 0.05
PRICED = {"prompt_dollars_per_million_tokens": 1000, "generated_dollars_per_million_tokens": 4000}
"""A token of the prompt is 0.001 dollars here, a generated one 0.004."""


def probe(**changes: Any) -> Probe:
    return probing.probe("http://127.0.0.1:9/metrics", **changes)


# --- in its own thread -------------------------------------------------------------------------


@contextmanager
def prober(behaviour: Behaviour, **changes: Any) -> Iterator[tuple[Prober, Server]]:
    with Server(behaviour) as server:
        made = Prober(probing.probe(server.url, every_seconds=EVERY_SECONDS, **changes))
        try:
            yield made, server
        finally:
            made.close()


def within(seconds: float, ask: Callable[[], Any]) -> Any:
    """The first answer that is something."""
    give_up_seconds = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < give_up_seconds, f"not after {seconds} s"
        time.sleep(0.01)
    return found


def test_nothing_is_asked_before_the_first_look_and_looks_never_wait() -> None:
    with prober(lambda talk: talk.sleeps(60.0)) as (made, server):
        time.sleep(2 * EVERY_SECONDS)
        assert server.connections == 0

        began = time.monotonic()
        assert made.take() is None
        assert time.monotonic() - began < 0.3
        within(5.0, lambda: server.connections)


def test_no_two_requests_of_a_probe_are_under_way_however_slow_the_endpoint() -> None:
    now, most = [0], [0]

    def behaviour(talk: Talk) -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        probing.streams(*GOOD, pause_seconds=0.03)(talk)
        now[0] -= 1

    with prober(behaviour) as (made, server):
        within(10.0, lambda: made.take() is None and server.connections >= 4)

    assert most[0] == 1


def test_each_result_is_given_once() -> None:
    with prober(probing.streams(*GOOD)) as (made, _):
        reading = within(5.0, made.take)
        made.close()
        time.sleep(4 * EVERY_SECONDS)
        made.take()

        assert made.take() is None
    assert (reading.target, reading.failure) == ("client", None)
    assert reading.checkup.is_well


def test_a_lookup_that_never_ends_is_told_and_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: let_go.wait(60.0) and [])
    made = Prober(replace(probe(), every_seconds=0.1, timeout_seconds=0.1))
    try:
        reading = within(5.0, made.take)
        assert (reading.text, reading.failure.kind) == (None, "timeout")
        assert "hangs, perhaps looking up a name" in reading.failure.message
        assert reading.checkup is None
    finally:
        made.close()
        let_go.set()


def test_a_reader_without_probes_counts_no_limit_of_theirs() -> None:
    made = WithProbes(wiring.pages(Config()), ())
    made.close()

    assert made.limits_reached() == {}


# --- in the whole program ----------------------------------------------------------------------


def settings(*probes: Probe, **changes: Any) -> Config:
    return Config(
        gpus=Gpus(enabled=False),
        discovery=Discovery(processes=False),
        interval_seconds=1.0,
        probes=probes,
        models={"tiny": "ours"},
        **changes,
    )


@contextmanager
def watched(behaviour: Behaviour, **changes: Any) -> Iterator[tuple[Watcher, Server]]:
    """The agent with one probe of such an endpoint."""
    with Server(behaviour) as server:
        config = settings(probing.probe(server.url, every_seconds=EVERY_SECONDS, **changes))
        agent = Agent(config, wiring.real_world(config))
        try:
            yield Watcher(agent), server
        finally:
            agent.close()


def answered(now: Exported, **labels: str) -> float:
    return now.total("burnmeter_probe_requests_total", model="ours", **labels)


def test_a_model_that_only_a_probe_sees_has_all_its_numbers() -> None:
    with watched(probing.streams(*GOOD), **PRICED) as (watch, _):
        first = watch.tick()
        now = watch.until(lambda now: answered(now, outcome="ok") >= 3, pause_seconds=0.02)

    assert first.model("ours").state == "not_measured"
    requests = answered(now)
    labels = {"engine": "probe", "target": "client", "counted_by": "probe", "outcome": "ok"}
    assert answered(now, **labels) == requests
    tokens = now.by("kind", "burnmeter_probe_tokens_total", model="ours")
    assert tokens == {"prompt": 12 * requests, "generated": 3 * requests}
    spent = now.total("burnmeter_probe_spent_dollars_total", model="ours")
    assert spent == pytest.approx(requests * (12 * 0.001 + 3 * 0.004))
    view = now.model("ours")
    assert view.latencies["ttft"].count >= 2
    assert view.latencies.keys() == {"ttft", "itl", "tpot", "duration"}
    for slo in ("ttft", "tpot", "errors", "availability"):
        burn = now.burn(slo, "ours")
        assert burn.source == "probe"
        assert burn.total.valid == burn.total.good_lower > 0
    assert now.burn("errors", "ours").total.valid == requests
    target = now.target("client")
    assert (target.is_up, target.engine_model, target.vantage) == (True, "tiny", "probe")
    # Nothing of ours is counted as an engine's.
    assert now.total("burnmeter_requests_total") == now.total("burnmeter_tokens_total") == 0


def test_while_its_requests_fail_the_model_is_not_available_and_then_is_again() -> None:
    is_broken = threading.Event()
    broken = probing.streams(TEXT[0], probing.event({"error": {"message": "oops"}}))

    def behaviour(talk: Talk) -> None:
        (broken if is_broken.is_set() else probing.streams(*GOOD))(talk)

    def good(now: Exported) -> float:
        return now.burn("availability", "ours").total.good_upper

    with watched(behaviour) as (watch, _):
        watch.until(lambda now: answered(now, outcome="ok") >= 2, pause_seconds=0.02)
        is_broken.set()
        before = watch.until(lambda now: answered(now, outcome="error") >= 1, pause_seconds=0.02)
        ill = watch.until(lambda now: answered(now, outcome="error") >= 4, pause_seconds=0.02)
        is_broken.clear()
        well = watch.until(lambda now: now.target("client").illness is None, pause_seconds=0.02)

    assert good(ill) == good(before)
    assert ill.burn("availability", "ours").total.valid > good(ill)
    errors = ill.burn("errors", "ours").total
    assert errors.valid - errors.good_upper == answered(ill, outcome="error")
    assert ill.model("ours").state == "burning"
    assert "client is not well: 127.0.0.1:" in ill.model("ours").reason
    assert "sent an error inside its stream, after 1 parts" in ill.model("ours").reason
    assert "oops" not in ill.model("ours").reason
    assert good(well) > good(ill)
    assert well.events("client") == ["up", "sick", "well"]


def test_a_wrong_key_is_not_the_endpoints_fault_and_is_told() -> None:
    with watched(probing.answers("401 Unauthorized")) as (watch, _):
        now = watch.until(lambda now: now.target("client").failure is not None, pause_seconds=0.02)
        now = watch.tick()

    view = now.model("ours")
    assert view.state == "not_measured"
    assert "answered HTTP 401 to probe `client`; is its `token_file`" in view.reason
    assert now.burn("availability", "ours").total.valid == 0
    assert now.total("burnmeter_target_failure", target="client", kind="http") == 1
    # What was refused is counted all the same, and is no verdict on the endpoint.
    assert answered(now, outcome="rejected") >= 1
    assert answered(now, outcome="error") == answered(now, outcome="ok") == 0
    assert now.burn("errors", "ours").total.valid == 0
    assert "answered HTTP 401" in now.burn("errors", "ours").reason
    assert now.events("client") == ["down"]


def test_a_probe_that_nothing_answers_is_down_and_counts_each_failure() -> None:
    with Server(lambda _: None) as gone:
        url = gone.url
    config = settings(probing.probe(url, every_seconds=EVERY_SECONDS))
    agent = Agent(config, wiring.real_world(config))
    try:
        watch = Watcher(agent)
        now = watch.until(lambda now: answered(now, outcome="error") >= 3, pause_seconds=0.02)
    finally:
        agent.close()

    target, view = now.target("client"), now.model("ours")
    assert (target.is_up, target.illness, now.events("client")) == (False, None, ["down"])
    assert now.total("burnmeter_target_up", target="client") == 0
    assert view.state == "burning"
    assert (
        view.reason
        == f"probe client is down: nothing listens on 127.0.0.1:{gone.port}; is the engine running?"
    )
    errors, seconds = now.burn("errors", "ours").total, now.burn("availability", "ours").total
    assert (errors.valid, errors.good_upper) == (answered(now, outcome="error"), 0)
    assert seconds.valid > seconds.good_upper == 0


def test_an_endpoint_that_falls_silent_is_down_at_the_first_request_and_up_again_after() -> None:
    is_silent = threading.Event()

    def behaviour(talk: Talk) -> None:
        if is_silent.is_set():
            talk.sleeps(60.0)
        else:
            probing.streams(*GOOD)(talk)

    with watched(behaviour) as (watch, _):
        watch.until(lambda now: answered(now, outcome="ok") >= 1, pause_seconds=0.02)
        is_silent.set()
        down = watch.until(lambda now: answered(now, outcome="error") >= 1, pause_seconds=0.02)
        is_silent.clear()
        well = watch.until(lambda now: now.target("client").is_up, pause_seconds=0.02)

    assert not down.target("client").is_up
    assert down.model("ours").state == "burning"
    assert well.events("client") == ["up", "down", "up"]
    texts = [event.text for event in well.snapshot.events if event.kind == "up"]
    assert texts == ["the endpoint answers"] * 2


def test_a_spent_budget_lets_it_rest_and_says_until_when(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # 15 tokens each: after 13 there are 195, and one more would be 210.
    with watched(probing.streams(*GOOD), tokens_per_day=200) as (watch, server):
        now = watch.until(
            lambda now: (
                now.total("burnmeter_limit_reached_total", limit="probes") > 0
                and now.target("client").failure is not None
            ),
            pause_seconds=0.02,
        )
        time.sleep(4 * EVERY_SECONDS)
        now = watch.tick()
        tell(None, now.snapshot)
        connections = server.connections

    assert connections == 13
    assert now.total("burnmeter_limit_reached_total", limit="probes") == 1
    failure = now.target("client").failure
    assert failure is not None
    assert failure.kind == "disabled"
    words = "its `tokens_per_day` (200) would be exceeded; it rests until 00:00 UTC"
    assert failure.message == words
    assert now.burn("availability", "ours").reason == f"client: {words}"
    assert "the limit `probes[].tokens_per_day` or `dollars_per_day` was reached" in caplog.text


def test_a_probe_that_rests_says_nothing_against_an_engine_that_is_well(tmp_path: Path) -> None:
    with watched(probing.streams(*GOOD), tokens_per_day=141) as (watch, _):
        now = watch.until(
            lambda now: (f := now.target("client").failure) is not None and f.kind == "disabled",
            pause_seconds=0.02,
        )

    assert "cannot be read" not in now.model("ours").reason


TOLD = (
    b"sent an error inside its stream",
    b"is no JSON",
    b"answered HTTP 401",
    b"answered HTTP 500",
)


def test_neither_key_nor_prompt_nor_answer_leaves_in_any_form(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    leaky = [
        probing.streams(*GOOD, pause_seconds=0.001),
        probing.streams(probing.event({"error": f"bad key {KEY} for {PROMPT}"})),
        probing.streams(b"data: {" + KEY.encode() + b"\n\n"),
        probing.answers("401 Unauthorized", KEY.encode(), f"X-Key: {KEY}"),
        probing.answers(f"500 {KEY}", KEY.encode()),
    ]
    turn = [0]

    def behaviour(talk: Talk) -> None:
        turn[0] += 1
        leaky[turn[0] % len(leaky)](talk)

    said: list[bytes] = []
    with Server(behaviour) as server:
        path = probing.key_file(tmp_path, KEY)
        asked = probing.probe(server.url, every_seconds=0.1, token_file=path, prompt=PROMPT)
        config = settings(asked)
        world = wiring.real_world(config)
        into = wiring.recorder(
            tmp_path / "r.gz", config, world, is_scrubbed=False, with_models=False
        )
        agent = Agent(config, wiring.recorded(world, into))
        watch = Watcher(agent)
        give_up_seconds = time.monotonic() + 30.0
        while not all(any(word in text for text in said) for word in TOLD):
            assert time.monotonic() < give_up_seconds
            snapshot = watch.tick().snapshot
            tell(None, snapshot)
            assert agent.outlet is not None
            said += [agent.outlet.metrics, agent.outlet.page, snapshot_json.to_bytes(snapshot)]
            said += [terminal.snapshot(snapshot).encode(), repr(snapshot).encode()]
            time.sleep(0.02)
        agent.close()
        into.close()
        heard = "".join(server.requests)

    streams = capfd.readouterr()
    said += [repr((config, world, agent.__dict__)).encode(), caplog.text.encode()]
    said += [streams.out.encode(), streams.err.encode()]
    with gzip.open(tmp_path / "r.gz") as file:
        said.append(file.read())
    everything = b"\n".join(said)
    assert KEY in heard
    assert PROMPT in heard
    for secret in (KEY, PROMPT, "hunter2", "three"):
        assert secret.encode() not in everything


def test_a_recorded_probe_replays_to_the_same_snapshots(tmp_path: Path) -> None:
    live = []
    with Server(probing.streams(*GOOD)) as server:
        config = settings(probing.probe(server.url, every_seconds=EVERY_SECONDS))
        world = wiring.real_world(config)
        into = wiring.recorder(
            tmp_path / "r.gz", config, world, is_scrubbed=False, with_models=False
        )
        agent = Agent(config, wiring.recorded(world, into))
        watch = Watcher(agent)
        while len(live) < 8 or answered(Exported(agent.outlet.metrics, live[-1])) < 2:  # type: ignore[union-attr]
            live.append(watch.tick().snapshot)
            time.sleep(0.03)
        agent.close()
        into.close()

    again = replay(tmp_path / "r.gz")
    assert [one.counters for one in again] == [one.counters for one in live]
    assert [one.models for one in again] == [one.models for one in live]
    assert without_cost(again[-1]).targets == live[-1].targets


def test_doctor_sends_nothing() -> None:
    with Server(probing.streams(*GOOD)) as server:
        looking.look_once(settings(probing.probe(server.url)))
        connections = server.connections

    assert connections == 0


def test_doctor_finds_a_probe_wrong_whose_key_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READ_KEY", KEY)
    monkeypatch.delenv("UNSET_KEY", raising=False)
    glance = looking.look_once(
        settings(
            probe(name="well", token_environment="READ_KEY"),
            probe(name="unset", token_environment="UNSET_KEY"),
            probe(name="lost", token_file=str(tmp_path / "none")),
        )
    )
    lines = {one.subject: one for one in findings(glance)}

    assert (lines["well"].state, lines["well"].remedy) == ("ok", None)
    unset, lost = lines["unset"], lines["lost"]
    assert unset.state == lost.state == "wrong"
    assert unset.text == (
        "`token_environment` of probe `unset` leads to no token: it is empty or not set;"
        " it asks nothing"
    )
    assert unset.remedy is not None
    assert "set the variable UNSET_KEY" in unset.remedy
    assert "`token_file` of probe `lost` cannot be read: No such file" in lost.text
    assert KEY not in repr(lines)


def test_probes_stand_among_the_targets_under_names_of_their_own() -> None:
    asked = probe(name="vllm-8000", model="tiny", every_seconds=60.0)
    serving = ("python3", "/bin/vllm", "serve", "tiny", "--port", "8000")
    engine = Process(
        pid=41,
        parent_pid=1,
        started_timestamp_seconds=1000.0,
        command=serving,
        title="VLLM::APIServer",
        ports=(8000,),
    )
    config = replace(settings(asked), discovery=Discovery())

    ours, found = wiring.Finder(config)({41: engine})

    assert (ours.name, ours.origin, ours.model, ours.pid) == ("vllm-8000", "probe", "ours", None)
    assert ours.least_interval_seconds == 60.0
    assert (found.name, found.origin, found.pid) == ("vllm-8000-found", "process", 41)


def test_a_probe_is_something_to_watch() -> None:
    config = settings(probe())
    world = wiring.real_world(config)
    try:
        assert wiring.has_something(world, config)
    finally:
        wiring.close(world)
