"""What servers do instead of sending a page: each gets its kind, its words and its limit."""

import gzip
import socket
import time

import pytest

from burnmeter.model import FAILURE_KINDS, Target
from tests.reading import (
    CHUNKED,
    DRIP,
    SLOW_AND_LARGE,
    SPARE_SECONDS,
    TIMEOUT_SECONDS,
    UNDELIMITED,
    read_once,
    reader,
    target,
)
from tests.servers import PAGE, Behaviour, Server, Talk, answer, drips, is_silent, says

WEB = (
    "answered with a web page, not metrics;"
    " is `url` of target `chat-a` the engine's own port and path?"
)
WRONG = {
    "401": (
        answer(b"no", "401 Unauthorized"),
        "http",
        "answered HTTP 401; set `token_file` or `token_environment` for target `chat-a`",
    ),
    "404": (
        answer(b"no", "404 Not Found"),
        "http",
        "answered HTTP 404; no page at `/metrics`, correct the path in `url` of target `chat-a`"
        " (TensorRT-LLM: /prometheus/metrics, NIM: /v1/metrics)",
    ),
    "501": (
        answer(b"no", "501 Not Implemented"),
        "http",
        "answered HTTP 501; llama.cpp says so when its metrics are off: start it with --metrics",
    ),
    "503": (
        answer(b"no", "503 Service Unavailable"),
        "http",
        "answered HTTP 503; the engine is starting, stopping or overloaded",
    ),
    "500 with a reason we do not repeat": (
        answer(b"secret", "500 secret"),
        "http",
        "answered HTTP 500",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "http", "answered HTTP 204"),
    "redirect": (
        answer(b"", "302 Found", "Location: https://u:p@login.example/in?key=secret"),
        "redirect",
        "points to `login.example`; put the final address into `url` of target `chat-a`",
    ),
    "redirect to itself": (
        answer(b"", "307 Temporary Redirect", "Location: /metrics/"),
        "redirect",
        "points to another path of its own; put the final address into `url` of target `chat-a`",
    ),
    "redirect out of HTTP": (
        answer(b"", "302 Found", "Location: file:///etc/passwd"),
        "redirect",
        "points to an address of `file`, which no page can be read from",
    ),
    "HTML by type": (answer(b"hello\n", "200 OK", "Content-Type: text/html"), "html", WEB),
    "HTML by look": (answer(b"\n <!doctype html><p>hi"), "html", WEB),
    "binary": (
        answer(b"\x7fELF\xff\xfe"),
        "encoding",
        "sent text that is not UTF-8: byte 4 is 0xff",
    ),
    "half a line": (
        UNDELIMITED + PAGE[:-4],
        "truncated",
        "closed the connection before its page had ended",
    ),
    "nothing but headers": (
        UNDELIMITED,
        "truncated",
        "closed the connection before its page had ended",
    ),
    "cut in the headers": (
        b"HTTP/1.1 200 OK\r\nContent-Le",
        "truncated",
        "closed the connection before its page had ended",
    ),
    "less than announced": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n",
        "truncated",
        "closed the connection after 44 bytes, before the answer's end",
    ),
    "cut in a chunk": (
        CHUNKED + b"64\r\na 1\n",
        "truncated",
        "closed the connection after 55 bytes, before the answer's end",
    ),
    "cut before the last chunk": (
        CHUNKED + b"4\r\na 1\n\r\n",
        "truncated",
        "closed the connection after 56 bytes, before the answer's end",
    ),
    "no gzip at all": (
        answer(PAGE, "200 OK", "Content-Encoding: gzip"),
        "encoding",
        "sent gzip that cannot be unpacked",
    ),
    "broken gzip": (
        answer(gzip.compress(PAGE)[:-6] + b"abcdef", "200 OK", "Content-Encoding: gzip"),
        "encoding",
        "sent gzip that cannot be unpacked",
    ),
    "cut gzip": (
        answer(gzip.compress(PAGE)[:-10], "200 OK", "Content-Encoding: gzip"),
        "encoding",
        "sent gzip that stops before its end",
    ),
    "a packing not offered": (
        answer(PAGE, "200 OK", "Content-Encoding: br"),
        "encoding",
        "packed its answer as `br`; only gzip was offered",
    ),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "not_metrics", "answered, but not in HTTP"),
    "garbage status": (b"HTTP/1.1 abc\r\n\r\n", "not_metrics", "answered, but not in HTTP"),
}


NOT_FOUND = answer(b"no", "404 Not Found")
OFF = "its metrics are probably off: start it with --enable-metrics"


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (NOT_FOUND, f"answered HTTP 404; no page at `/metrics`, {OFF}"),
        (answer(b"no", "501 Not Implemented"), f"answered HTTP 501; {OFF}"),
        (answer(b"<p>"), f"answered with a web page, not metrics; {OFF}"),
        (
            answer(b"no", "403 Forbidden"),
            "answered HTTP 403; list http://{place}/metrics under `targets`,"
            " with `token_file` or `token_environment`",
        ),
        (
            answer(b"", "302 Found", "Location: http://other/"),
            "points to `other`; list the final address under `targets`",
        ),
    ],
)
def test_of_a_discovered_target_no_url_is_blamed_that_nobody_wrote(
    behaviour: bytes, words: str
) -> None:
    with Server(says(behaviour)) as server, reader() as made:
        found = Target(
            name="sglang-30000",
            url=server.url,
            origin="process",
            remedy="start it with --enable-metrics",
        )
        failure = made.read(found).failure
        place = f"127.0.0.1:{server.port}"

    assert failure is not None
    assert failure.message == f"{place} {words.format(place=place)}"


def test_of_a_discovered_target_without_a_known_switch_the_engine_is_asked_for() -> None:
    with Server(says(NOT_FOUND)) as server, reader() as made:
        failure = made.read(Target(name="new-1", url=server.url, origin="process")).failure

    assert failure is not None
    assert failure.message.endswith("probably off: see how its engine turns them on")


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_page_is_named(name: str, caplog: pytest.LogCaptureFixture) -> None:
    raw, kind, words = WRONG[name]
    reading, place = read_once(says(raw))

    assert reading.text is None
    assert reading.failure is not None
    assert reading.failure.kind == kind
    assert kind in FAILURE_KINDS
    assert reading.failure.message == f"{place} {words}"
    assert "secret" not in reading.failure.message
    assert caplog.text == ""


def test_where_nothing_listens_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with reader() as made:
        failure = made.read(target(f"http://127.0.0.1:{port}/metrics")).failure

    assert failure == ("refused", f"nothing listens on 127.0.0.1:{port}; is the engine running?")


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("", "unreachable", "the `url` of target `chat-a` must be http://HOST:PORT/PATH"),
        ("ftp://h/x", "unreachable", "the `url` of target `chat-a` must be http://HOST:PORT/PATH"),
        (
            "http://me:secret@127.0.0.1/metrics",
            "unreachable",
            "the `url` of target `chat-a` may hold no password; set `token_file` instead",
        ),
        (
            "http://h:99999/secret",
            "unreachable",
            "the `url` of target `chat-a` is not a host that can be looked up",
        ),
    ],
)
def test_a_url_that_leads_nowhere_is_said(url: str, kind: str, message: str) -> None:
    with reader() as made:
        assert made.read(target(url)).failure == (kind, message)


def test_a_name_that_does_not_exist_is_unreachable() -> None:
    with reader() as made:
        failure = made.read(target("http://no-such-host.invalid:8000/metrics")).failure

    assert failure is not None
    assert failure.kind == "unreachable"
    assert failure.message.startswith("no-such-host.invalid:8000: the name cannot be found: ")


@pytest.mark.parametrize("name", SLOW_AND_LARGE)
def test_no_server_takes_more_time_or_memory_than_it_may(name: str) -> None:
    behaviour, kind, words = SLOW_AND_LARGE[name]
    began = time.monotonic()
    with Server(behaviour) as server, reader() as made:
        reading = made.read(target(server.url))
        seconds = time.monotonic() - began
        assert server.connections == 1

    assert reading.failure is not None
    assert reading.failure.kind == kind
    assert seconds < TIMEOUT_SECONDS + SPARE_SECONDS
    if words is not None:
        assert reading.failure.message == f"127.0.0.1:{server.port} {words}"
    assert reading.text is None


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(is_silent, id="silent"),
        # The head of a TLS record that announces 16 kB, and then its bytes one by one.
        pytest.param(drips(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", DRIP, 0.05), id="dripping"),
    ],
)
def test_a_slow_tls_handshake_ends_in_time(behaviour: Behaviour) -> None:
    with Server(behaviour) as server, reader() as made:
        began = time.monotonic()
        failure = made.read(target(server.url.replace("http:", "https:"))).failure

    assert time.monotonic() - began < TIMEOUT_SECONDS + SPARE_SECONDS
    assert failure is not None
    assert failure.kind == "timeout"


def test_a_server_that_takes_no_connection_ends_in_time() -> None:
    """A full backlog: the kernel drops what we send, as a dead host's network does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, reader() as made:
        port = listener.getsockname()[1]
        crowd = [socket.socket() for _ in range(8)]
        for sock in crowd:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        began = time.monotonic()
        failure = made.read(target(f"http://127.0.0.1:{port}/metrics")).failure
        seconds = time.monotonic() - began
        for sock in crowd:
            sock.close()

    assert failure == ("timeout", f"127.0.0.1:{port} did not take a connection within 0.6 s")
    assert seconds < TIMEOUT_SECONDS + SPARE_SECONDS


def test_slow_once_is_fine_again() -> None:
    def slow_once(talk: Talk) -> None:
        while talk.hears():
            if len(talk.server.requests) == 1:
                talk.sleeps(5.0)
            talk.says(answer())

    with Server(slow_once) as server, reader() as made:
        kinds = [made.read(target(server.url)).failure for _ in range(2)]

    assert kinds[0] is not None
    assert kinds[1] is None
