"""EngineReader and ReaderPool against real servers that behave well, badly and worse."""

import gzip
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from burnmeter import __version__
from burnmeter.model import FAILURE_KINDS, PageReading, Target
from burnmeter.sources.engines import EngineReader, ReaderPool
from tests import parts
from tests.servers import (
    PAGE,
    Behaviour,
    Server,
    Talk,
    answer,
    drips,
    floods,
    is_silent,
    keeps_alive,
    says,
    zipped,
)

BODY_BYTES = 100_000
TIMEOUT_SECONDS = 0.6
SPARE_SECONDS = 1.0
"""How much later than its timeout a read may end on a busy machine."""
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNDELIMITED = b"HTTP/1.1 200 OK\r\n\r\n"


def target(
    url: str,
    name: str = "chat-a",
    token_file: str | None = None,
    token_environment: str | None = None,
) -> Target:
    return Target(
        name=name,
        url=url,
        origin="config",
        token_file=token_file,
        token_environment=token_environment,
    )


@contextmanager
def reader(body_bytes: int = BODY_BYTES, ca_file: str | None = None) -> Iterator[EngineReader]:
    made = EngineReader(body_bytes=body_bytes, timeout_seconds=TIMEOUT_SECONDS, ca_file=ca_file)
    try:
        yield made
    finally:
        made.close()


def read_once(behaviour: Behaviour, token_file: str | None = None) -> tuple[PageReading, str]:
    """The reading, and the server's place as messages name it."""
    with Server(behaviour) as server, reader() as made:
        return made.read(target(server.url, token_file=token_file)), f"127.0.0.1:{server.port}"


# --- answers that are pages --------------------------------------------------------------------


def test_a_page_comes_with_its_size_and_its_moment() -> None:
    before = time.monotonic()
    reading, _ = read_once(says(answer()))

    assert reading.text == PAGE.decode()
    assert reading.failure is None
    assert reading.target == "chat-a"
    assert reading.body_bytes == len(PAGE)
    assert before <= reading.at_seconds - reading.duration_seconds <= reading.at_seconds
    assert abs(reading.timestamp_seconds - time.time()) < 5.0


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(answer(PAGE, "200 OK", "Connection: close"), id="closing"),
        pytest.param(UNDELIMITED + PAGE, id="ended by hanging up"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + PAGE, id="HTTP 1.0"),
        pytest.param(CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(PAGE), PAGE), id="chunked"),
        pytest.param(zipped(PAGE), id="gzip"),
        pytest.param(
            answer(
                gzip.compress(PAGE[:20]) + gzip.compress(PAGE[20:]),
                "200 OK",
                "Content-Encoding: gzip",
            ),
            id="gzip in two members",
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(), id="after 100 Continue"),
    ],
)
def test_every_honest_way_to_send_a_page_is_read(raw: bytes) -> None:
    reading, _ = read_once(says(raw))

    assert reading.text == PAGE.decode()
    assert reading.body_bytes == len(PAGE)


def test_a_page_as_long_as_the_limit_is_read_and_one_byte_more_is_not() -> None:
    with Server(says(answer(b"a" * 1000))) as server, reader(body_bytes=1000) as made:
        assert made.read(target(server.url)).body_bytes == 1000
    with Server(says(answer(b"a" * 1001))) as server, reader(body_bytes=1000) as made:
        failure = made.read(target(server.url)).failure

    assert failure is not None
    assert failure.kind == "too_large"


def test_the_request_says_who_asks_and_what_for() -> None:
    with Server(keeps_alive) as server, reader() as made:
        made.read(target(server.url + "?model=tiny"))
        lines = server.requests[0].split("\r\n")

    assert lines[0] == "GET /metrics?model=tiny HTTP/1.1"
    assert f"User-Agent: burnmeter/{__version__}" in lines
    assert "Accept-Encoding: gzip" in lines
    assert (
        "Accept: text/plain;version=0.0.4;q=1,"
        "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1" in lines
    )
    assert not any(line.lower().startswith("authorization") for line in lines)


def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    reading, _ = read_once(says(answer()))

    assert reading.failure is None


# --- connections -------------------------------------------------------------------------------


def test_reads_share_one_connection() -> None:
    with Server(keeps_alive) as server, reader() as made:
        readings = [made.read(target(server.url)) for _ in range(5)]
        assert server.connections == 1

    assert all(reading.text for reading in readings)
    assert len(server.requests) == 5


def test_a_page_in_two_packets_does_not_wait_for_our_acknowledgement() -> None:
    """Nagle's algorithm and a delayed acknowledgement make 40 ms of what takes under 1."""

    def apart(talk: Talk) -> None:
        while talk.hears():
            talk.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE))
            talk.says(PAGE)

    with Server(apart) as server, reader() as made:
        durations = [made.read(target(server.url)).duration_seconds for _ in range(10)]

    assert min(durations[2:]) < 0.03


def test_a_connection_closed_while_idle_is_opened_again() -> None:
    with Server(says(answer())) as server, reader() as made:
        readings = [made.read(target(server.url)) for _ in range(3)]
        time.sleep(0.05)
        readings.append(made.read(target(server.url)))
        assert server.connections == 4

    assert [reading.failure for reading in readings] == [None] * 4


def test_a_connection_closed_on_the_second_request_is_tried_once_more_and_only_once() -> None:
    def answers_once_then_hangs_up(talk: Talk) -> None:
        if talk.server.connections == 1:
            talk.hears()
            talk.says(answer())
        talk.hears()

    with Server(answers_once_then_hangs_up) as server, reader() as made:
        first, second = (made.read(target(server.url)) for _ in range(2))
        assert server.connections == 2

    assert first.failure is None
    assert second.failure == (
        "truncated",
        f"127.0.0.1:{server.port} closed the connection without an answer",
    )


def test_a_fresh_connection_closed_without_an_answer_is_not_tried_again() -> None:
    with Server(lambda talk: talk.hears()) as server, reader() as made:
        failure = made.read(target(server.url)).failure
        assert server.connections == 1

    assert failure is not None
    assert failure.kind == "truncated"


def test_after_a_timeout_the_late_answer_is_never_taken_for_the_next_one() -> None:
    def late_at_first(talk: Talk) -> None:
        while talk.hears():
            if len(talk.server.requests) == 1:
                talk.sleeps(TIMEOUT_SECONDS + 0.2)
                talk.says(answer(b"old 1\n"))
            talk.says(answer(b"new 1\n"))

    with Server(late_at_first) as server, reader() as made:
        first = made.read(target(server.url))
        time.sleep(0.4)
        second = made.read(target(server.url))

    assert first.failure is not None
    assert first.failure.kind == "timeout"
    assert second.text == "new 1\n"


def test_an_answer_longer_than_it_says_does_not_spoil_the_next() -> None:
    def two_for_one(talk: Talk) -> None:
        while talk.hears():
            talk.says(answer(b"a 1\n") + answer(b"b 1\n"))

    with Server(two_for_one) as server, reader() as made:
        texts = [made.read(target(server.url)).text for _ in range(3)]

    assert texts == ["a 1\n"] * 3


def test_a_target_that_moves_is_asked_at_its_new_place() -> None:
    with Server(keeps_alive) as old, Server(keeps_alive) as new, reader() as made:
        made.read(target(old.url))
        made.read(target(new.url))
        assert (len(old.requests), len(new.requests)) == (1, 1)


def test_forgetting_a_target_closes_its_connection() -> None:
    hung_up = threading.Event()

    def behaviour(talk: Talk) -> None:
        keeps_alive(talk)
        hung_up.set()

    with Server(behaviour) as server, reader() as made:
        made.read(target(server.url))
        made.forget("chat-a")
        assert hung_up.wait(2.0)
        made.forget("never-heard-of")
        assert made.read(target(server.url)).failure is None


def test_forgetting_a_target_while_it_is_read_lets_the_read_end() -> None:
    hung_up = threading.Event()
    asked = threading.Event()

    def behaviour(talk: Talk) -> None:
        talk.hears()
        asked.set()
        talk.sleeps(0.2)
        talk.says(answer())
        talk.hears()
        hung_up.set()

    readings: list[PageReading] = []
    with Server(behaviour) as server, reader() as made:
        thread = threading.Thread(target=lambda: readings.append(made.read(target(server.url))))
        thread.start()
        assert asked.wait(2.0)
        made.forget("chat-a")
        thread.join()
        assert hung_up.wait(2.0)

    assert readings[0].text == PAGE.decode()


def test_a_second_read_of_the_same_target_does_not_wait_for_the_first() -> None:
    asked = threading.Event()

    def behaviour(talk: Talk) -> None:
        talk.hears()
        asked.set()
        talk.sleeps(0.3)
        talk.says(answer())

    readings: list[PageReading] = []
    with Server(behaviour) as server, reader() as made:
        thread = threading.Thread(target=lambda: readings.append(made.read(target(server.url))))
        thread.start()
        assert asked.wait(2.0)
        second = made.read(target(server.url))
        thread.join()
        assert len(server.requests) == 1

    assert readings[0].text == PAGE.decode()
    assert second.failure == ("timeout", "the read of `chat-a` before this one has not ended")
    assert second.duration_seconds < 0.2


def test_a_closed_reader_reads_no_more() -> None:
    with Server(keeps_alive) as server:
        made = EngineReader(body_bytes=BODY_BYTES, timeout_seconds=TIMEOUT_SECONDS)
        made.close()
        assert made.read(target(server.url)).failure == ("disabled", "the reader is closed")
        assert server.connections == 0


# --- servers that take our time or our memory ----------------------------------------------------

DRIP = b"x" * 1000
BOMB = gzip.compress(b"\0" * 50_000_000)
SLOW_AND_LARGE = {
    "silent": (is_silent, "timeout", "took the connection but said nothing within 0.6 s"),
    "drips its status": (drips(b"", b"HTTP/1.1 200 OK" + DRIP, 0.05), "timeout", None),
    "drips headers": (drips(b"HTTP/1.1 200 OK\r\nA: ", DRIP, 0.05), "timeout", None),
    "drips its body": (
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", DRIP, 0.05),
        "timeout",
        None,
    ),
    "drips a chunk's size": (drips(CHUNKED, b"0" * 1000, 0.05), "timeout", None),
    "stops in its body": (
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcd", DRIP, 60.0),
        "timeout",
        "sent 42 bytes but no end within 0.6 s",
    ),
    "endless body": (
        floods(UNDELIMITED, b"a 1\n" * 10000),
        "too_large",
        "sent more than the limit of 100000 bytes",
    ),
    "endless chunks": (
        floods(CHUNKED, b"4\r\na 1\n\r\n" * 10000),
        "too_large",
        "sent more than the limit of 100000 bytes",
    ),
    "endless small chunks": (
        floods(CHUNKED, b"1;%s\r\na\r\n" % (b"x" * 100) * 1000),
        "too_large",
        "sent more than 331072 bytes",
    ),
    "endless chunk size": (floods(CHUNKED, b"0" * 65536), "truncated", None),
    "endless trailers": (
        floods(CHUNKED + b"4\r\na 1\n\r\n0\r\n", b"A: b\r\n" * 10000),
        "too_large",
        "sent more than 331072 bytes",
    ),
    "endless headers": (
        floods(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 1000),
        "too_large",
        "sent headers beyond measure",
    ),
    "endless header": (
        floods(b"HTTP/1.1 200 OK\r\nA: ", b"x" * 65536),
        "too_large",
        "sent headers beyond measure",
    ),
    "endless 100 Continue": (
        floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        "too_large",
        "sent more than 331072 bytes",
    ),
    "100 MB announced": (
        floods(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", b"x" * 65536),
        "too_large",
        "announced 100000000 bytes; the limit is 100000",
    ),
    "100 MB sent": (
        says(UNDELIMITED + b"x" * 100_000_000),
        "too_large",
        "sent more than the limit of 100000 bytes",
    ),
    "gzip bomb": (
        says(answer(BOMB, "200 OK", "Content-Encoding: gzip")),
        "too_large",
        "sent more than the limit of 100000 bytes",
    ),
}


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


# --- servers that say something else -------------------------------------------------------------

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


# --- tokens --------------------------------------------------------------------------------------


def test_a_token_is_read_from_its_file_at_each_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with Server(keeps_alive) as server, reader() as made:
        for token in ("first", "second"):
            file.write_text(f"{token}\n")
            made.read(target(server.url, token_file=str(file)))

    assert "\r\nAuthorization: Bearer first\r\n" in server.requests[0]
    assert "\r\nAuthorization: Bearer second\r\n" in server.requests[1]


def test_a_token_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_TOKEN", "sesame")
    with Server(keeps_alive) as server, reader() as made:
        made.read(target(server.url, token_environment="ENGINE_TOKEN"))

    assert "\r\nAuthorization: Bearer sesame\r\n" in server.requests[0]


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (None, "gone", "cannot be read: No such file or directory"),
        (b" \n", "gone", "leads to no token: it is empty or not set"),
        (b"sec ret\r\nX: y", "encoding", "leads to a token with characters no token may hold"),
        (b"sec\xffret", "encoding", "leads to a token with characters no token may hold"),
    ],
)
def test_without_a_usable_token_nothing_is_sent(
    tmp_path: Path, content: bytes | None, kind: str, words: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with Server(keeps_alive) as server, reader() as made:
        failure = made.read(target(server.url, token_file=str(file))).failure
        assert server.connections == 0

    assert failure == (kind, f"`token_file` of target `chat-a` {words}")


def test_a_refused_token_is_never_repeated(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret")
    reading, place = read_once(says(answer(b"secret", "403 secret")), token_file=str(file))

    assert reading.failure == (
        "http",
        f"{place} answered HTTP 403 to the token in `token_file` of target `chat-a`",
    )


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate for 127.0.0.1 in one file."""
    openssl = parts.program("openssl", package="openssl")
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    subject = ("-subj", "/CN=burnmeter test", "-addext", "subjectAltName=IP:127.0.0.1")
    kind = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    command = (openssl, *kind, *subject, "-days", "2", "-keyout", file, "-out", f"{file}.crt")
    subprocess.run(command, check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


def tls_server(behaviour: Behaviour, certificate: Path) -> Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return Server(behaviour, tls=context)


def test_a_page_is_read_over_tls_on_one_connection(certificate: Path) -> None:
    with tls_server(keeps_alive, certificate) as server, reader(ca_file=str(certificate)) as made:
        texts = [made.read(target(server.url)).text for _ in range(3)]
        assert server.connections == 1

    assert texts == [PAGE.decode()] * 3


def test_a_drip_over_tls_ends_in_time(certificate: Path) -> None:
    behaviour = drips(b"HTTP/1.1 200 OK\r\nA: ", DRIP, 0.05)
    with tls_server(behaviour, certificate) as server, reader(ca_file=str(certificate)) as made:
        began = time.monotonic()
        failure = made.read(target(server.url)).failure

    assert time.monotonic() - began < TIMEOUT_SECONDS + SPARE_SECONDS
    assert failure is not None
    assert failure.kind == "timeout"


def test_a_certificate_that_nobody_signed_is_refused(certificate: Path) -> None:
    with tls_server(keeps_alive, certificate) as server, reader() as made:
        failure = made.read(target(server.url)).failure

    assert failure == (
        "unreachable",
        f"127.0.0.1:{server.port} shows a certificate we cannot trust: self-signed certificate",
    )


def test_https_to_a_plain_server_is_said() -> None:
    def refuses(talk: Talk) -> None:
        talk.says(answer(b"", "400 Bad Request"))
        talk.sleeps(0.3)

    with Server(refuses) as server, reader() as made:
        failure = made.read(target(server.url.replace("http:", "https:"))).failure

    assert failure is not None
    assert failure.kind == "unreachable"
    assert failure.message.startswith(f"127.0.0.1:{server.port} does not speak TLS with us: `")


# --- many at once --------------------------------------------------------------------------------


@contextmanager
def pool(timeout_seconds: float = TIMEOUT_SECONDS, threads: int = 64) -> Iterator[ReaderPool]:
    made = ReaderPool(
        EngineReader(body_bytes=BODY_BYTES, timeout_seconds=timeout_seconds), threads=threads
    )
    try:
        yield made
    finally:
        made.close()


def test_bad_targets_neither_delay_nor_change_the_good_ones() -> None:
    bad = [is_silent, *(behaviour for behaviour, _, _ in SLOW_AND_LARGE.values())]
    servers = [Server(behaviour) for behaviour in bad]
    for server in servers:
        server.__enter__()
    try:
        with Server(keeps_alive) as good, pool() as made:
            targets = [target(s.url, f"bad-{n}") for n, s in enumerate(servers)]
            targets.insert(3, target(good.url, "good"))
            began = time.monotonic()
            readings = made.read_all(targets, TIMEOUT_SECONDS + 1.0)
            seconds = time.monotonic() - began
    finally:
        for server in servers:
            server.__exit__(None, None, None)

    assert readings.keys() == {t.name for t in targets}
    assert readings["good"].text == PAGE.decode()
    assert all(r.failure is not None for name, r in readings.items() if name != "good")
    assert seconds < TIMEOUT_SECONDS + 1.0 + SPARE_SECONDS


def test_a_read_that_hangs_is_left_behind_and_not_asked_again_until_it_ends() -> None:
    let_go = threading.Event()

    def behaviour(talk: Talk) -> None:
        while talk.hears():
            let_go.wait(5.0)
            talk.says(answer())

    with Server(behaviour) as slow, Server(keeps_alive) as good, pool(timeout_seconds=5.0) as made:
        targets = [target(slow.url, "slow"), target(good.url, "good")]
        for _ in range(3):
            began = time.monotonic()
            readings = made.read_all(targets, 0.2)
            assert time.monotonic() - began < 0.2 + SPARE_SECONDS
            failure = readings["slow"].failure
            assert failure is not None
            assert failure.kind == "timeout"
            assert "the read of `slow` began 0." in failure.message
            assert readings["good"].text == PAGE.decode()
        assert len(slow.requests) == 1
        let_go.set()
        time.sleep(0.3)
        assert made.read_all(targets, 2.0)["slow"].text == PAGE.decode()
        assert len(slow.requests) == 2


def test_more_hanging_reads_than_threads_are_said_and_do_not_run_later() -> None:
    with Server(is_silent) as slow, Server(keeps_alive) as good, pool(threads=2) as made:
        targets = [target(slow.url, f"slow-{n}") for n in range(2)] + [target(good.url, "good")]
        first = made.read_all(targets, 0.2)
        time.sleep(TIMEOUT_SECONDS)
        assert good.requests == []
        second = made.read_all(targets[2:], 2.0)

    assert first["good"].failure == (
        "timeout",
        "no thread was free to read `good`: too many reads hang",
    )
    assert second["good"].text == PAGE.decode()


def test_threads_are_kept_and_no_more_are_started_than_targets() -> None:
    before = set(threading.enumerate())
    with Server(keeps_alive) as server, pool() as made:
        targets = [target(server.url, f"t-{n}") for n in range(3)]
        for _ in range(20):
            readings = made.read_all(targets, 2.0)
            assert all(reading.failure is None for reading in readings.values())
        started = set(threading.enumerate()) - before
        assert server.connections == 3

    assert sum(thread.name.startswith("engine-reader") for thread in started) == 3


def test_a_program_ends_at_once_though_a_read_hangs() -> None:
    """In a process of its own, since only there can its end be waited for."""
    code = (
        "import sys\n"
        "from burnmeter.model import Target\n"
        "from burnmeter.sources.engines import EngineReader, ReaderPool\n"
        "pool = ReaderPool(EngineReader(body_bytes=1000, timeout_seconds=30.0))\n"
        "target = Target(name='a', url=sys.argv[1], origin='config')\n"
        "print(pool.read_all([target], 0.2)['a'].failure.kind)\n"
        "pool.close()\n"
    )
    with Server(is_silent) as server:
        command = [sys.executable, "-c", code, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=15.0, check=True)

    assert done.stdout == "timeout\n"
    assert done.stderr == ""
