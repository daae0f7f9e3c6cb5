"""Posting to an Alertmanager, over real sockets, also where it errs, lies, hangs or is not there.

What is told when is test_alert_book.py's; a real Alertmanager is in test_alerting_real.py.
"""

import json
import logging
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnmeter import looking
from burnmeter.config import Config, Discovery, Gpus
from burnmeter.config_alertmanagers import Alertmanager
from burnmeter.doctor import findings
from burnmeter.export.alertmanager import Alertmanagers
from burnmeter.export.alerts import NAMES
from burnmeter.model import Failure
from burnmeter.snapshot import AlertmanagerView, Snapshot
from burnmeter.wiring import alertmanagers, with_alerting
from tests import fakes_world, receivers, snapshots
from tests.fakes_world import metrics
from tests.parts import ROOT
from tests.receivers import Answer, Receiver, says
from tests.servers import free_port
from tests.snapshot_parts import NOW, target
from tests.test_running import eventually

DEAD: dict[str, Any] = {
    "is_up": False,
    "is_down": True,
    "failure": Failure("refused", "nothing listens there"),
}
TIMEOUT_SECONDS = 0.3
TICK_SECONDS = 0.2
"""Far less than the timeout, and far more than a tick of a world of fakes takes."""


def node(after_seconds: float = 0.0, *, is_dead: bool = True) -> Snapshot:
    view = target(**DEAD) if is_dead else target()
    return snapshots.empty(targets=(view,), timestamp_seconds=NOW + after_seconds)


@contextmanager
def told(url: str, *, authorise: Any = lambda _: {}, **changes: Any) -> Iterator[Alertmanagers]:
    """One Alertmanager of a config, closed in the end."""
    terms = Alertmanager(**({"url": url, "timeout_seconds": TIMEOUT_SECONDS} | changes))
    made = Alertmanagers((terms,), page_url="http://n:9778/", authorise=authorise)
    try:
        yield made
    finally:
        made.close()


def view(made: Alertmanagers) -> AlertmanagerView:
    (found,) = made.views()
    return found


def after(made: Alertmanagers, snapshot: Snapshot) -> AlertmanagerView:
    """How it is once a Snapshot has been taken up."""
    before = view(made)
    made.tell(snapshot)
    return eventually(lambda: found if (found := view(made)) is not before else None, 10.0)


# --- what is posted ------------------------------------------------------------------------------


def test_an_alert_is_posted_to_the_api_under_a_prefix_with_a_token() -> None:
    bearer = {"Authorization": "Bearer abc"}
    with Receiver() as am, told(f"{am.url}/prefix", authorise=lambda _: bearer) as made:
        found = after(made, node())

    (post,) = am.posts()
    assert post.path == "/prefix/api/v2/alerts"
    assert post.headers["authorization"] == "Bearer abc"
    assert post.headers["content-type"] == "application/json"
    assert post.json[0]["labels"]["alertname"] == "BurnmeterEngineDown"
    assert post.json[0]["generatorURL"] == "http://n:9778/#targets"
    assert found == AlertmanagerView(
        url=f"{am.url}/prefix", is_up=True, failure=None, active=1, sent=1, failed=0
    )


def test_what_is_open_is_asked_once_by_our_label_and_node() -> None:
    with Receiver() as am, told(am.url) as made:
        after(made, node())
        after(made, node(100))

    asked = [one.path for one in am.came if one.method == "GET"]
    assert asked == ["/api/v2/alerts?filter=origin%3D%22agent%22&filter=node%3D%22gpu-node-07%22"]


def test_a_stall_of_before_is_not_ended_by_an_agent_that_has_just_started() -> None:
    labels = {"alertname": "BurnmeterEngineStalled", "origin": "agent", "node": "gpu-node-07"}
    row = {"labels": {**labels, "target": "vllm-8000"}, "startsAt": "2023-11-15T09:00:00Z"}
    young = replace(node(is_dead=False), started_timestamp_seconds=NOW - 79)
    with Receiver(says(200, json.dumps([row]).encode())) as am:
        settings = fakes_world.settings(
            interval_seconds=5.0,
            targets=(fakes_world.target(least_interval_seconds=30.0),),
            alertmanagers=(Alertmanager(url=am.url),),
        )
        alerting = alertmanagers(settings)
        first = after(alerting, young)
        # 10 s to be stalled, 60 s for the slowest dialect, two looks.
        later = after(alerting, replace(young, timestamp_seconds=NOW + 50.9))
        settled = after(alerting, replace(young, timestamp_seconds=NOW + 51.0))
        alerting.close()

    assert (first.active, later.active, settled.active) == (1, 1, 0)


def test_what_is_open_and_over_is_ended_by_the_first_message() -> None:
    labels = {"alertname": "BurnmeterEngineDown", "origin": "agent", "node": "gpu-node-07"}
    row = {"labels": {**labels, "target": "vllm-8000"}, "startsAt": "2023-11-15T09:00:00Z"}
    with Receiver(says(200, json.dumps([row, "x"]).encode())) as am, told(am.url) as made:
        found = after(made, node(is_dead=False))

    (post,) = am.posts()
    assert post.json[0]["labels"] == row["labels"]
    assert (post.json[0]["startsAt"], post.json[0]["endsAt"]) == (
        "2023-11-15T09:00:00.000Z",
        "2023-11-15T09:26:40.000Z",
    )
    assert (found.active, found.sent) == (0, 1)


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"null", b"[[]]"])
def test_a_list_that_makes_no_sense_is_no_list(body: bytes) -> None:
    with Receiver(says(200, body)) as am, told(am.url) as made:
        found = after(made, node())

    assert (found.is_up, found.active, found.sent) == (True, 1, 1)


def test_one_that_lets_nobody_read_is_told_all_the_same_and_asked_no_more() -> None:
    def post_only(handler: receivers.Handler) -> None:
        handler.says(200 if handler.command == "POST" else 403)

    with Receiver(post_only) as am, told(am.url) as made:
        found = after(made, node())
        after(made, node(100))

    assert (found.is_up, found.sent) == (True, 1)
    assert [one.method for one in am.came] == ["GET", "POST", "POST"]


def test_if_there_is_nothing_to_tell_it_is_asked_each_minute_whether_it_would_listen() -> None:
    with Receiver() as am, told(am.url) as made:
        found = after(made, node(is_dead=False))
        after(made, node(30, is_dead=False))
        after(made, node(60, is_dead=False))

    assert [one.body for one in am.came if one.method == "POST"] == [b"[]", b"[]"]
    assert (found.is_up, found.active, found.sent, found.failed) == (True, 0, 0, 0)


def test_only_the_latest_snapshot_is_taken_up_by_one_that_was_busy() -> None:
    go = threading.Event()

    def waits(handler: receivers.Handler) -> None:
        go.wait(10.0)
        handler.says(200, b"[]")

    with Receiver(waits) as am, told(am.url, timeout_seconds=30.0) as made:
        made.tell(node(is_dead=False))
        eventually(lambda: am.came)
        for after_seconds in range(100, 1000):
            made.tell(node(after_seconds))
        go.set()
        (post,) = eventually(am.posts)

    assert post.json[0]["endsAt"] == "2023-11-15T09:47:19.000Z"  # NOW + 999 s, and four minutes.


# --- failure is a value --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "what"),
    [
        (says(500), "http", "answered HTTP 500"),
        (says(429), "http", "answered HTTP 429: too much at once; it is told again"),
        (
            says(401),
            "http",
            "answered HTTP 401; is its `token_file` or `token_environment` right?",
        ),
        (
            says(404),
            "http",
            "answered HTTP 404; is `url` its address before /api/v2/alerts?",
        ),
        (says(302), "http", "answered HTTP 302"),
        (
            says(200, b"<html>sign in", "text/html"),
            "html",
            "answered with a web page; is `url` its address before /api/v2/alerts?",
        ),
        (receivers.hangs, "timeout", "did not answer in time"),
        (receivers.drips, "timeout", "did not answer in time"),
        (receivers.babbles, "unreachable", "gave no answer in HTTP (BadStatusLine)"),
        (receivers.hangs_up, "unreachable", "gave no answer in HTTP (RemoteDisconnected)"),
    ],
    ids=["500", "429", "401", "404", "302", "html", "hang", "drip", "garbage", "hang-up"],
)
def test_what_is_not_taken_is_said_and_told_again(answer: Answer, kind: str, what: str) -> None:
    with Receiver(answer) as am, told(am.url) as made:
        failed = after(made, node())
        am.answer = says(200, b"[]")
        taken = after(made, node(5))

    assert failed == AlertmanagerView(
        url=am.url,
        is_up=False,
        failure=Failure(kind, f"{am.url} {what}"),
        active=1,
        sent=0,
        failed=1,
    )
    assert (taken.is_up, taken.failure, taken.sent, taken.failed) == (True, None, 1, 1)


def test_nothing_that_listens_and_no_such_name_are_said() -> None:
    port = free_port()
    with told(f"http://127.0.0.1:{port}") as made:
        refused = after(made, node())
    with told("http://alertmanager.invalid:9093", timeout_seconds=20.0) as made:
        unknown = after(made, node())

    assert refused.failure == Failure(
        "refused", f"http://127.0.0.1:{port} refuses the connection: nothing listens there"
    )
    assert unknown.failure is not None
    assert unknown.failure.kind == "unreachable"
    assert "alertmanager.invalid:9093 cannot be found: " in unknown.failure.message


def test_tls_needs_a_certificate_that_is_trusted_and_for_that_name(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    with Receiver(tls=server) as am:
        with told(am.url, timeout_seconds=5.0) as made:
            untrusted = after(made, node())
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
        with told(am.url.replace("127.0.0.1", "localhost"), timeout_seconds=5.0) as made:
            misnamed = after(made, node())
        with told(am.url, timeout_seconds=5.0) as made:
            trusted = after(made, node())

    assert untrusted.failure == Failure(
        "unreachable",
        f"{am.url} shows a certificate that cannot be trusted: self-signed certificate",
    )
    assert misnamed.failure is not None
    assert "Hostname mismatch, certificate is not valid for 'localhost'" in misnamed.failure.message
    assert (trusted.is_up, trusted.sent) == (True, 1)
    assert len(am.posts()) == 1


def test_without_its_token_nothing_is_sent() -> None:
    gone = Failure("gone", "`token_file` of `x` cannot be read: No such file or directory")
    with Receiver() as am, told(am.url, authorise=lambda _: gone) as made:
        found = after(made, node())

    assert (found.is_up, found.failure, am.came) == (False, gone, [])


def test_one_that_hangs_is_no_hindrance_to_another() -> None:
    with Receiver(receivers.hangs) as slow, Receiver() as quick:
        terms = [Alertmanager(url=one.url, timeout_seconds=30.0) for one in (slow, quick)]
        made = Alertmanagers(tuple(terms), authorise=lambda _: {})
        made.tell(node())
        eventually(quick.posts)
        eventually(lambda: made.views()[1].is_up)

        assert made.views()[0].is_up is None
        made.close()


def test_one_that_holds_us_beyond_its_time_has_failed_before_it_lets_go() -> None:
    """As a name that is looked up for a minute does, which nothing can cut short."""
    go = threading.Event()

    def slow(_: Alertmanager) -> dict[str, str]:
        go.wait(30.0)
        return {}

    with Receiver() as am, told(am.url, authorise=slow, timeout_seconds=0.1) as made:
        made.tell(node())
        found = eventually(lambda: one if (one := view(made)).failure else None)
        go.set()

    assert (found.is_up, found.failure) == (
        False,
        Failure("timeout", f"{am.url} did not answer in time"),
    )


def test_a_bug_is_told_once_and_the_next_snapshot_tried(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Alertmanager) -> dict[str, str]:
        raise RuntimeError("a bug")

    with Receiver() as am, told(am.url, authorise=broken) as made:
        found = after(made, node())
        made.tell(node(5))
        after(made, node(10))

    assert found.failure == Failure("crashed", f"telling {am.url}: RuntimeError('a bug')")
    traces = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert [one.getMessage() for one in traces] == [
        "sending alerts failed; this is a bug in burnmeter"
    ]


# --- beside the tick -----------------------------------------------------------------------------


def config(*urls: str, **changes: Any) -> Config:
    found = tuple(Alertmanager(url=url, timeout_seconds=5.0) for url in urls)
    return fakes_world.settings(alertmanagers=found, **changes)


@pytest.mark.parametrize("answer", [receivers.hangs, receivers.drips], ids=["hang", "drip"])
def test_no_tick_waits_for_one_that_hangs_nor_does_the_end(answer: Answer) -> None:
    with Receiver(answer) as am:
        settings = config(am.url)
        pages = fakes_world.Pages()  # Nothing answers: the engine is dead.
        world = with_alerting(fakes_world.world(pages=pages), settings)
        agent = fakes_world.Agent(settings, world)
        took = []
        for _ in range(5):
            began = time.monotonic()
            agent.tick()
            took.append(time.monotonic() - began)
        eventually(lambda: am.came)
        began = time.monotonic()
        agent.close()
        took.append(time.monotonic() - began)

    assert max(took) < TICK_SECONDS, took


def test_a_dead_engine_of_a_real_pipeline_is_told_and_the_metrics_say_so() -> None:
    port = free_port()
    with Receiver() as am:
        settings = config(am.url, f"http://127.0.0.1:{port}")
        world = with_alerting(fakes_world.world(pages=fakes_world.Pages()), settings)
        agent = fakes_world.Agent(settings, world)
        snapshot = agent.tick()
        assert snapshot.targets[0].is_down
        eventually(am.posts)
        eventually(lambda: all(one.is_up is not None for one in world.alerting.views()))
        agent.tick()
        found = metrics(agent)
        agent.close()

    up, down = (("url", am.url),), (("url", f"http://127.0.0.1:{port}"),)
    assert found["burnmeter_alertmanager_up"] == {up: 1.0, down: 0.0}
    assert found["burnmeter_alerts_active"] == {up: 1.0, down: 1.0}
    assert found["burnmeter_alerts_sent_total"] == {up: 1.0, down: 0.0}
    assert found["burnmeter_alerts_failed_total"] == {up: 0.0, down: 1.0}
    (post,) = am.posts()
    assert post.json[0]["labels"]["target"] == "chat"
    assert post.json[0]["generatorURL"] == "http://127.0.0.1:9778/#targets"


def test_doctor_asks_whether_each_would_take_alerts_and_tells_none() -> None:
    port = free_port()
    quiet = {"discovery": Discovery(processes=False), "gpus": Gpus(enabled=False)}
    with Receiver() as am:
        seen = looking.look_once(config(am.url, f"http://127.0.0.1:{port}", **quiet))

    said = [(one.state, one.text) for one in findings(seen) if one.subject == "alerts"]
    assert said == [
        ("ok", f"{am.url} takes them"),
        ("wrong", f"http://127.0.0.1:{port} refuses the connection: nothing listens there"),
    ]
    assert [one.body for one in am.came] == [b"[]"]


def test_a_simulated_node_wakes_nobody() -> None:
    settings = config("http://127.0.0.1:9093")

    assert with_alerting(fakes_world.world(is_simulated=True), settings).alerting is None
    assert with_alerting(fakes_world.world(), fakes_world.settings()).alerting is None


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:9778", "http://127.0.0.1:9778/#targets"),
        ("[::1]:9778", "http://[::1]:9778/#targets"),
        ("0.0.0.0:9000", "http://test-node:9000/#targets"),
        ("127.0.0.1:0", None),
    ],
)
def test_alerts_lead_to_the_live_page_where_that_can_be_known(
    listen: str, expected: str | None
) -> None:
    with Receiver() as am:
        settings = config(am.url, listen=listen)
        world = with_alerting(fakes_world.world(), settings)
        world.alerting.tell(node())
        (post,) = eventually(am.posts)
        world.alerting.close()

    assert post.json[0].get("generatorURL") == expected


def test_the_token_is_read_anew_each_time_and_named_if_it_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with Receiver() as am:
        terms = Alertmanager(url=am.url, token_file=str(file))
        settings = fakes_world.settings(alertmanagers=(terms,))
        world = with_alerting(fakes_world.world(), settings)
        gone = after(world.alerting, node())
        file.write_text("first\n")
        after(world.alerting, node(5))
        file.write_text("second\n")
        after(world.alerting, node(100))
        world.alerting.close()

    assert gone.failure == Failure(
        "gone", f"`token_file` of `{am.url}` cannot be read: No such file or directory"
    )
    assert [one.headers["authorization"] for one in am.posts()] == [
        "Bearer first",
        "Bearer second",
    ]


def test_the_names_that_are_sent_are_documented() -> None:
    text = (ROOT / "agent" / "CONFIG.md").read_text("utf-8")
    assert [name for name in NAMES if f"| {name} |" not in text] == []
