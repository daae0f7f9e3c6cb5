"""Where `top` has its Snapshots from: a real agent's HTTP server, or looks of its own."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from burnmeter import looking, watching, wiring
from burnmeter.config import Config
from burnmeter.errors import PageError
from burnmeter.export import snapshot_json, web
from burnmeter.export.live import stale_after_seconds
from burnmeter.export.server import Server
from burnmeter.export.top_sections import sections
from burnmeter.loop import Agent
from burnmeter.snapshot import Snapshot
from burnmeter.watching import AgentFeed, AgentReader, OwnFeed, snapshot_of
from tests import servers, snapshots
from tests.fakes_world import Scripted, gpus, world
from tests.snapshot_parts import NOW


@contextmanager
def agent(outlet: Callable[[], web.Outlet | None]) -> Iterator[str]:
    """The address of an agent's real server."""
    with Server(web.application(outlet, clock=time.time), "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.port}"


def said(reader: AgentReader) -> str:
    """Why it gives nothing."""
    with pytest.raises(PageError) as caught:
        reader.read()
    reader.close()
    return caught.value.message


# --- the JSON ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", snapshots.ALL)
def test_what_is_shown_of_the_json_is_what_is_shown_of_the_snapshot(kind: str) -> None:
    snapshot = snapshots.ALL[kind]()

    again = snapshot_of(snapshot_json.to_bytes(snapshot).decode())

    assert sections(again) == sections(snapshot)


def test_a_figure_that_is_not_known_is_left_out() -> None:
    plain = snapshot_json.as_json(snapshots.good())
    plain["gpus"][0]["gpu"]["gauges"][0]["value"] = None
    plain["gpus"][0]["meters"] = [{"measure": "x", "labels": [], "value": None}]

    view = snapshot_of(json.dumps(plain)).gpus[0]

    assert len(view.gpu.gauges) == 1
    assert view.meters == ()


def test_fields_of_a_later_version_are_passed_over() -> None:
    plain = snapshot_json.as_json(snapshots.good())
    plain["invented"] = plain["models"][0]["invented"] = 1

    assert snapshot_of(json.dumps(plain)).node == "gpu-node-07"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '"x"', '{"gpus": 3, "burns": [1]}', '{"models": {}}', "null", "[" * 9999],
)
def test_other_json_is_none_of_ours(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        snapshot_of(text)


# --- an agent that is asked ----------------------------------------------------------------------


def test_the_snapshot_of_a_real_agent_over_a_simulated_node_is_shown() -> None:
    with ExitStack() as stack:
        settings, made = wiring.simulated_world(Config(), stack)
        ticking = Agent(settings, made)
        stack.callback(ticking.close)
        ticking.tick()
        reader = AgentReader(stack.enter_context(agent(lambda: ticking.outlet)))
        stack.callback(reader.close)

        found = reader.read()

        assert ticking.outlet is not None
        assert sections(found) == sections(ticking.outlet.snapshot)
        assert found.is_simulated
        assert len(sections(found)["models"].rows) == 3
        assert len(sections(found)["gpus"].rows) == 8
        assert reader.read() is found
        ticking.tick()
        assert reader.read() is not found


def test_an_agent_that_does_not_run_is_told_from_one_that_has_just_started() -> None:
    port = servers.free_port()

    assert said(AgentReader(f"http://127.0.0.1:{port}")) == (
        f"nothing listens on 127.0.0.1:{port}; is the agent running?"
    )
    with agent(lambda: None) as address:
        text = said(AgentReader(address))
    assert text.endswith(
        "answered HTTP 503: its agent has made no reading yet; try again in a few seconds"
    )


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param(
            servers.answer(b"<html>hello</html>"),
            "answered with a web page; an agent's address is like http://host:9778",
            id="a web page",
        ),
        pytest.param(
            servers.answer(b"gone", "404 Not Found"),
            "answered HTTP 404 to /api/v1/snapshot; is it burnmeter?",
            id="another server",
        ),
        pytest.param(
            servers.answer(b"no", "401 Unauthorized"),
            "answered HTTP 401 to /api/v1/snapshot; is it burnmeter?",
            id="a server that wants a password",
        ),
        pytest.param(servers.answer(b"{}\n"), "is no burnmeter of this version", id="other JSON"),
        pytest.param(servers.answer(), "is no burnmeter of this version", id="no JSON"),
        pytest.param(servers.answer(b"[" * 99999), "is no burnmeter of this version", id="deep"),
    ],
)
def test_what_is_no_agent_is_said(answer: bytes, text: str) -> None:
    with servers.Server(servers.says(answer)) as server:
        assert text in said(AgentReader(server.url.removesuffix("/metrics")))


def test_an_agent_that_says_nothing_or_does_not_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(watching, "BODY_BYTES", 100_000)
    with servers.Server(servers.is_silent) as server:
        assert "said nothing within 0.3 s" in said(AgentReader(server.url.removesuffix("/metrics")))
    flood = servers.floods(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536)
    with servers.Server(flood) as server:
        assert "sent more than" in said(AgentReader(server.url.removesuffix("/metrics")))


# --- a feed over time ----------------------------------------------------------------------------


class Clock:
    """This machine's clock, as far from the agent's as it is said to be."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@contextmanager
def watched(clock: Clock) -> Iterator[tuple[AgentFeed, list[Snapshot]]]:
    """A feed of a real server whose agent said last what stands last in the list."""
    told = [snapshots.good()]
    with agent(lambda: web.render(told[-1], b"")) as address:
        feed = AgentFeed(AgentReader(address), wall_clock=clock)
        feed.look()
        yield feed, told
        feed.close()


def test_the_age_is_that_of_the_reading() -> None:
    with watched(Clock(NOW + 3.0)) as (feed, told):
        found = feed.seen()

        assert found.failure is None
        assert found.snapshot is not None
        assert found.snapshot.models == told[0].models
        assert feed.age_seconds(found.snapshot) == 3.0


def test_what_was_last_known_stays_while_the_agent_is_gone_and_until_it_is_back() -> None:
    clock, told = Clock(NOW + 3.0), [snapshots.good()]
    with ExitStack() as stack:
        answers: list[web.Outlet | None] = [web.render(told[0], b"")]
        address = stack.enter_context(agent(lambda: answers[-1]))
        feed = AgentFeed(AgentReader(address), wall_clock=clock)
        stack.callback(feed.close)
        feed.look()

        answers.append(None)
        clock.seconds += 60.0
        feed.look()

        lost = feed.seen()
        assert lost.snapshot is not None
        assert "HTTP 503" in (lost.failure or "")
        assert feed.age_seconds(lost.snapshot) == 63.0
        answers.append(web.render(snapshots.moved(told[0], NOW + 60.0), b""))
        feed.look()
        back = feed.seen()
        assert back.failure is None
        assert back.snapshot is not None
        assert feed.age_seconds(back.snapshot) == 3.0


@pytest.mark.parametrize("apart", [-3600.0, 3600.0])
def test_clocks_that_differ_make_nothing_old_that_is_new(apart: float) -> None:
    clock = Clock(NOW + apart)
    with watched(clock) as (feed, told):
        told.append(snapshots.moved(told[0], NOW + 5.0))
        clock.seconds += 5.0
        feed.look()
        found = feed.seen().snapshot
        assert found is not None

        assert feed.age_seconds(found) == 0.0
        clock.seconds += 40.0
        feed.look()
        assert feed.age_seconds(found) == 40.0 > stale_after_seconds(found)


def test_a_feed_looks_by_itself_until_it_is_closed() -> None:
    with watched(Clock(NOW)) as (feed, told):
        told.append(replace(snapshots.moved(told[0], NOW + 5.0), interval_seconds=0.1))
        feed.look()
        feed.start()
        told.append(snapshots.moved(told[0], NOW + 10.0))
        ends = time.monotonic() + 5.0
        while time.monotonic() < ends:
            found = feed.seen().snapshot
            if found is not None and found.timestamp_seconds == NOW + 10.0:
                return
            time.sleep(0.02)
    pytest.fail("it did not look")


# --- which one -----------------------------------------------------------------------------------


def settings(port: int) -> Config:
    """Of an agent that would listen there; nothing is searched on this machine."""
    base = Config()
    return replace(
        base,
        listen=f"127.0.0.1:{port}",
        gpus=replace(base.gpus, enabled=False),
        discovery=replace(base.discovery, processes=False),
    )


def test_the_agent_that_runs_here_is_asked_before_we_look_for_ourselves() -> None:
    outlet = web.render(snapshots.good(), b"")
    with agent(lambda: outlet) as address, ExitStack() as stack:
        config = settings(int(address.rpartition(":")[2]))
        assert looking.running_agent(config) == address

        found = watching.feed(config, stack, url=None, simulate=False)

        assert isinstance(found, AgentFeed)
        assert found.seen().snapshot is not None
        assert found.seen().source == f"agent at {address}"


def test_where_no_agent_runs_we_look_for_ourselves_and_say_so() -> None:
    with ExitStack() as stack:
        found = watching.feed(settings(servers.free_port()), stack, url=None, simulate=False)

        assert isinstance(found, OwnFeed)
        assert found.seen().source == "no agent is asked: looking from here"


def test_something_else_on_the_agents_port_is_said_and_no_reason_not_to_look() -> None:
    with servers.Server(servers.says(servers.answer(b"<html>"))) as server, ExitStack() as stack:
        found = watching.feed(settings(server.port), stack, url=None, simulate=False)

        assert isinstance(found, OwnFeed)
        assert "answered with a web page" in found.seen().source
        assert found.seen().source.endswith("; looking from here")


def test_an_address_that_was_given_is_never_replaced_by_our_own_looks() -> None:
    url, config = f"http://127.0.0.1:{servers.free_port()}", settings(servers.free_port())

    with ExitStack() as stack, pytest.raises(PageError, match="nothing listens"):
        watching.feed(config, stack, url=url, simulate=False)


def test_our_own_looks_are_those_of_an_agent() -> None:
    made = world(gpus=Scripted(gpus), find_targets=lambda _: ())
    feed = OwnFeed(Config(interval_seconds=1.0), made, "here")
    assert feed.seen().snapshot is None

    feed.start()
    ends = time.monotonic() + 5.0
    while (found := feed.seen().snapshot) is None and time.monotonic() < ends:
        time.sleep(0.02)
    feed.close()

    assert found is not None
    assert [view.gpu.index for view in found.gpus] == [0]
    assert feed.age_seconds(found) >= 0.0
