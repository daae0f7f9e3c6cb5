"""What an engine says of itself is asked rarely, bounded, and never costs the target its page."""

import json
import time
from collections.abc import Callable

import pytest

from burnmeter.dialects import Asks
from burnmeter.model import About, Checkup, ServedModel, Target
from burnmeter.sources.asking import about
from burnmeter.sources.engines import EngineReader
from tests.servers import PAGE, Server, Talk

BOTH = Asks(
    version_path="/version", version_key="version", models_path="/v1/models", health_path=None
)
LIST = {
    "object": "list",
    "data": [
        {"id": "llama", "root": "/mnt/models", "parent": None},
        {"id": "sql-adapter", "root": "/mnt/sql", "parent": "llama"},
    ],
}


def answers(texts: dict[str, str]) -> Callable[[str], str]:
    """An engine that says these texts at these paths, and raises at all others."""
    return lambda path: texts[path]


def test_version_and_models_are_taken_with_their_roots_and_parents() -> None:
    version = '{"version": "0.32.0"}'
    said = about(BOTH, answers({"/version": version, "/v1/models": json.dumps(LIST)}))

    assert said == About(
        version="0.32.0",
        models=(
            ServedModel("llama", "/mnt/models", None),
            ServedModel("sql-adapter", "/mnt/sql", "llama"),
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", "no json", "null", "[]", "7", '"x"', '{"version": 7, "data": {}}'),
        *('{"version": ""}', '{"version": "a\\u0000b"}'),
        '{"data": [null, 1, {}, {"id": 5}, {"id": ""}]}',
        json.dumps({"version": "x" * 300, "data": [{"id": "y" * 300}]}),
    ],
)
def test_nonsense_is_nothing_said(text: str) -> None:
    assert about(BOTH, answers({"/version": text, "/v1/models": text})) == About()


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("b0-unknown", None),
        ("Unknown", None),
        ("dev", None),
        ("0.0.0+unknown", None),
        ("0.0.0.dev0", None),
        ("b11549-a1b2c3", "b11549-a1b2c3"),
        ("0.33.0.dev12", "0.33.0.dev12"),
        ("0.0.1", "0.0.1"),
    ],
)
def test_a_version_that_says_it_is_not_known_is_none(said: str, version: str | None) -> None:
    text = json.dumps({"version": said})
    assert about(BOTH, answers({"/version": text})).version == version


def test_one_answer_that_fails_does_not_cost_the_other() -> None:
    assert about(BOTH, answers({"/version": '{"version": "1"}'})) == About(version="1")


def test_a_list_is_taken_up_to_a_limit() -> None:
    endless = json.dumps({"data": [{"id": str(number)} for number in range(5000)]})

    assert len(about(BOTH, answers({"/version": "", "/v1/models": endless})).models) == 1000


# --- over HTTP -----------------------------------------------------------------------------------


def sent(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def engine(talk: Talk) -> None:
    """A page, a version and a list."""
    while talk.hears():
        path = talk.server.requests[-1].split()[1]
        talk.says(
            {
                "/metrics": sent(PAGE),
                "/version": sent(b'{"version": "0.32.0"}'),
                "/v1/models": sent(json.dumps(LIST).encode()),
            }[path]
        )


def reader(**changes: float) -> EngineReader:
    settings = {"body_bytes": 100_000, "timeout_seconds": 3.0, **changes}
    return EngineReader(
        body_bytes=int(settings["body_bytes"]),
        timeout_seconds=settings["timeout_seconds"],
        asks_of=lambda _target, _page: BOTH,
    )


def target(server: Server, pid: int | None = None) -> Target:
    return Target(name="t", url=server.url, origin="config", pid=pid)


def paths(server: Server) -> list[str]:
    return [request.split()[1] for request in server.requests]


def test_it_is_asked_at_the_first_read_and_not_at_the_next_over_one_connection() -> None:
    with Server(engine) as server:
        reading = reader()
        first, second = reading.read(target(server)), reading.read(target(server))
        reading.close()

    assert first.about is not None
    assert first.about.version == "0.32.0"
    assert second.about is None
    assert paths(server) == ["/metrics", "/version", "/v1/models", "/metrics"]
    assert server.connections == 1


def test_another_process_on_the_port_is_asked_again() -> None:
    with Server(engine) as server:
        reading = reader()
        for pid in (1, 1, 2):
            reading.read(target(server, pid))
        reading.close()

    assert paths(server).count("/version") == 2


def test_who_answers_after_a_refusal_is_asked_again() -> None:
    """It may be another process, with another model, of which this machine knows no pid."""
    reading = reader()
    with Server(engine) as before:
        reading.read(target(before))
    refused = reading.read(target(before))
    with Server(engine) as after:
        again = reading.read(target(after))
    reading.close()

    assert refused.failure is not None
    assert refused.failure.kind == "refused"
    assert again.about is not None
    assert paths(after) == ["/metrics", "/version", "/v1/models"]


def test_the_pages_time_does_not_hold_the_time_of_asking() -> None:
    def slow(talk: Talk) -> None:
        while talk.hears():
            if "/metrics" not in talk.server.requests[-1]:
                talk.sleeps(0.3)
                talk.says(sent(b"{}"))
            else:
                talk.says(sent(PAGE))

    with Server(slow) as server:
        reading = reader()
        first = reading.read(target(server))
        reading.close()

    assert first.duration_seconds < 0.3


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "500 Oops"])
def test_an_engine_that_refuses_to_say_keeps_its_page_and_is_not_pressed(status: str) -> None:
    def closed(talk: Talk) -> None:
        while talk.hears():
            is_page = "/metrics" in talk.server.requests[-1]
            talk.says(sent(PAGE) if is_page else sent(b"no", status))

    with Server(closed) as server:
        reading = reader()
        readings = [reading.read(target(server)) for _ in range(3)]
        reading.close()

    assert [one.failure for one in readings] == [None, None, None]
    assert readings[0].about == About()
    assert paths(server).count("/version") == 1


def test_an_engine_that_never_answers_costs_a_bounded_time_and_the_next_page_is_read() -> None:
    def mute(talk: Talk) -> None:
        while talk.hears():
            if "/metrics" in talk.server.requests[-1]:
                talk.says(sent(PAGE))
            else:
                talk.sleeps(30)

    with Server(mute) as server:
        reading = reader(timeout_seconds=0.9)
        began = time.monotonic()
        first = reading.read(target(server))
        took = time.monotonic() - began
        second = reading.read(target(server))
        reading.close()

    assert (first.failure, first.about, second.failure) == (None, About(), None)
    assert took < 0.9, "both questions together wait a third of the time for a page"


# --- is it well ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("200 OK", Checkup(is_well=True, is_answer=True, text="")),
        ("503 No", Checkup(is_well=False, is_answer=True, text="/health answers HTTP 503")),
        ("404 Not Found", None),
        ("401 Unauthorized", None),
    ],
)
def test_the_status_of_the_health_page_says_whether_it_is_well(
    status: str, expected: Checkup | None
) -> None:
    def says(talk: Talk) -> None:
        while talk.hears():
            is_page = "/metrics" in talk.server.requests[-1]
            talk.says(sent(PAGE) if is_page else sent(b"", status))

    with Server(says) as server:
        reading = health_reader()
        readings = [reading.read(target(server)) for _ in range(2)]
        reading.close()

    assert [one.checkup for one in readings] == [expected, None], "asked once in 15 s"
    assert [one.failure for one in readings] == [None, None]
    assert server.connections == 1


def test_a_health_page_that_hangs_is_no_answer_and_costs_no_page() -> None:
    def hangs(talk: Talk) -> None:
        while talk.hears():
            if "/metrics" in talk.server.requests[-1]:
                talk.says(sent(PAGE))
            else:
                talk.sleeps(30)

    with Server(hangs) as server:
        reading = health_reader()
        first, second = reading.read(target(server)), reading.read(target(server))
        reading.close()

    assert first.checkup == Checkup(is_well=False, is_answer=False, text="/health does not answer")
    assert (first.failure, second.failure, second.checkup) == (None, None, None)


def health_reader() -> EngineReader:
    """A reader of an engine that has a health page and nothing else to ask."""
    asks = Asks(version_path=None, version_key="", models_path=None, health_path="/health")
    return EngineReader(
        body_bytes=100_000, timeout_seconds=0.9, asks_of=lambda _target, _page: asks
    )
