"""EngineReader against real servers: pages, connections, tokens, TLS."""

import gzip
import ssl
import threading
import time
from pathlib import Path

import pytest

from burnmeter import __version__
from burnmeter.model import PageReading
from burnmeter.sources.engines import EngineReader
from tests.reading import (
    BODY_BYTES,
    CHUNKED,
    DRIP,
    SPARE_SECONDS,
    TIMEOUT_SECONDS,
    UNDELIMITED,
    read_once,
    reader,
    target,
)
from tests.servers import PAGE, Behaviour, Server, Talk, answer, drips, keeps_alive, says, zipped

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
    assert "Accept: text/plain;version=0.0.4;q=1,*/*;q=0.1" in lines
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
