"""The server on real sockets: whatever some clients do, the others are answered."""

import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from burnmeter.errors import BurnmeterError
from burnmeter.export.server import Limits, Server

LIMITS = Limits(threads=4, idle_seconds=2, request_seconds=1.0)
LARGE = 32 * 1024 * 1024  # More than the kernel takes for a reader that does not read.
PAGE = 200_000  # A large live page.
PROMPT_SECONDS = 1.0


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answers `ok`, or as many bytes as the address says."""
    name = environ["PATH_INFO"].strip("/")
    if name == "broken":
        raise RuntimeError("a route with a mistake")
    body = b"x" * int(name) if name.isdigit() else b"ok"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(app, "127.0.0.1", 0, LIMITS) as started:
        yield started


def get(server: Server, path: str = "/", timeout: float = 5.0) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def client(server: Server, *, says: bytes = b"", window_bytes: int | None = None) -> socket.socket:
    """A client that says something and then does nothing more."""
    opened = socket.socket()
    if window_bytes is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
    opened.settimeout(10)
    opened.connect(("127.0.0.1", server.port))
    opened.sendall(says)
    return opened


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: node\r\n\r\n".encode()


def everything_from(opened: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionError):
        while piece := opened.recv(65536):
            data += piece
    return data


def seconds_for_an_answer(server: Server) -> float:
    started = time.monotonic()
    assert get(server) == (200, b"ok")
    return time.monotonic() - started


def test_it_answers_on_the_port_that_it_names() -> None:
    with Server(app, "127.0.0.1", 0) as server:
        assert server.port > 0
        assert get(server) == (200, b"ok")


def test_a_taken_port_is_said_in_words(server: Server) -> None:
    other = Server(app, "127.0.0.1", server.port)

    with pytest.raises(BurnmeterError) as raised:
        other.start()

    where = f"127.0.0.1:{server.port}"
    hint = "is in use by another program; stop it or set `listen:` in the config"
    assert str(raised.value) == f"{where} {hint}"


def test_an_address_of_another_machine_is_said_in_words() -> None:
    with pytest.raises(BurnmeterError, match=r"192\.0\.2\.1:0 is no address of this machine"):
        Server(app, "192.0.2.1", 0).start()


def test_a_name_that_leads_nowhere_is_said_in_words() -> None:
    with pytest.raises(BurnmeterError, match=r"cannot listen on nowhere\.invalid:0"):
        Server(app, "nowhere.invalid", 0).start()


def test_a_stopped_server_gives_its_port_and_its_threads_back() -> None:
    before = threading.active_count()
    with Server(app, "127.0.0.1", 0, LIMITS) as first:
        port = first.port
        get(first)

    with Server(app, "127.0.0.1", port, LIMITS) as second:
        assert get(second) == (200, b"ok")
    time.sleep(0.1)
    assert threading.active_count() <= before


def test_connections_are_kept_alive(server: Server) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=5)
    sockets = set()
    for _ in range(3):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"ok"
        sockets.add(connection.sock)
    connection.close()

    assert len(sockets) == 1


def test_40_clients_at_once_are_all_answered(server: Server) -> None:
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: get(server, f"/{PAGE}"), range(200)))

    assert {status for status, _ in answers} == {200}
    assert {len(body) for _, body in answers} == {PAGE}


def test_silent_clients_hold_no_thread(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(5 * LIMITS.threads):
            stack.enter_context(client(server))
        time.sleep(0.2)

        assert seconds_for_an_answer(server) < PROMPT_SECONDS


def test_a_silent_client_is_let_go(server: Server) -> None:
    with client(server) as opened:
        started = time.monotonic()

        assert everything_from(opened) == b""
        assert time.monotonic() - started < LIMITS.idle_seconds + 2


def test_readers_that_do_not_read_a_page_hold_no_thread(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(3 * LIMITS.threads):
            says = request(f"/{PAGE}")
            stack.enter_context(client(server, says=says, window_bytes=4096))
        time.sleep(0.2)

        assert seconds_for_an_answer(server) < PROMPT_SECONDS


def test_readers_of_something_huge_are_cut_at_the_deadline(server: Server) -> None:
    with ExitStack() as stack:
        says = request(f"/{LARGE}")
        held = [
            stack.enter_context(client(server, says=says, window_bytes=4096))
            for _ in range(LIMITS.threads)
        ]
        time.sleep(0.2)

        assert seconds_for_an_answer(server) < LIMITS.request_seconds + PROMPT_SECONDS
        assert all(len(everything_from(opened)) < LARGE for opened in held)


def test_a_client_that_drips_its_request_is_cut_at_the_deadline(server: Server) -> None:
    with client(server, says=b"GET / HTTP/1.1\r\nX-Slow: ") as opened:
        started = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - started < 10:
                opened.sendall(b"a")
                time.sleep(0.1)

    assert time.monotonic() - started < LIMITS.request_seconds + 2


def test_an_oversized_header_is_refused_and_others_are_answered(server: Server) -> None:
    large = b"GET / HTTP/1.1\r\nX-Large: " + b"a" * (2 * LIMITS.header_bytes) + b"\r\n\r\n"
    with client(server, says=large) as opened:
        answer = everything_from(opened)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert seconds_for_an_answer(server) < PROMPT_SECONDS


def test_an_oversized_body_is_refused_before_it_is_read(server: Server) -> None:
    head = f"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: {2 * LIMITS.body_bytes}\r\n\r\n"
    with client(server, says=head.encode()) as opened:
        assert everything_from(opened).startswith(b"HTTP/1.1 413 ")


def test_what_is_no_http_is_refused(server: Server) -> None:
    with client(server, says=b"\x16\x03\x01\x02\x00 hello\r\n") as opened:
        assert everything_from(opened).startswith(b"HTTP/1.1 400 ")


def test_more_than_the_queue_holds_is_refused_at_once() -> None:
    limits = Limits(
        threads=1, queued_requests=1, waiting_connections=0, idle_seconds=2, request_seconds=5.0
    )
    with Server(app, "127.0.0.1", 0, limits) as server, ExitStack() as stack:
        says = request(f"/{LARGE}")
        for _ in range(2):
            stack.enter_context(client(server, says=says, window_bytes=4096))
            time.sleep(0.2)
        with client(server, says=request("/")) as third:
            started = time.monotonic()

            assert everything_from(third).startswith(b"HTTP/1.1 503 ")
            assert time.monotonic() - started < PROMPT_SECONDS


def test_a_broken_route_answers_500_and_is_logged(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="burnmeter.export.server"):
        assert get(server, "/broken")[0] == 500

    assert "a route with a mistake" in caplog.text
    assert seconds_for_an_answer(server) < PROMPT_SECONDS
