"""A real HTTP server on 127.0.0.1 that takes what is posted to it: in place of an Alertmanager, as
its webhook, or as an engine with a page. What it answers is a function, so that it may be wrong.
"""

import json
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self


class Post(NamedTuple):
    """One request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at_seconds: float
    """Monotonic."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[["Handler"], object]


class Handler(BaseHTTPRequestHandler):
    """Notes the request, then answers as the receiver says."""

    def __init__(self, receiver: "Receiver", *given: Any) -> None:
        self.receiver = receiver
        super().__init__(*given)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {key.lower(): value for key, value in self.headers.items()}
        made = Post(self.command, self.path, headers, body, time.monotonic())
        self.receiver.came.append(made)
        self.receiver.answer(self)

    do_GET = do_POST  # noqa: N815 - the standard library's names

    def says(self, status: int, body: bytes = b"", kind: str = "application/json") -> None:
        """A whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are what some tests want."""


class Receiver:
    """Listens while it is entered, on a port of its own or on one that was known before."""

    def __init__(
        self, answer: Answer | None = None, *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.answer: Answer = answer or says(200, b"[]")
        self.came: list[Post] = []
        self.is_over = threading.Event()
        self._server = _Server(("127.0.0.1", port), partial(Handler, self))
        self.port = self._server.server_port
        self.scheme = "http"
        if tls is not None:
            self.scheme = "https"
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def posts(self) -> list[Post]:
        """What was posted, with something in it."""
        return [one for one in list(self.came) if one.method == "POST" and one.body != b"[]"]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.dies()

    def dies(self) -> None:
        """From now on nothing listens there."""
        self.is_over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def says(status: int, body: bytes = b"", kind: str = "application/json") -> Answer:
    """The same answer to all."""
    return lambda handler: handler.says(status, body, kind)


def hangs(handler: Handler) -> None:
    """No answer until the test is over."""
    handler.receiver.is_over.wait(60.0)


def drips(handler: Handler) -> None:
    """A byte now and then: each within any timeout of a single read, for ever."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.receiver.is_over.wait(0.05):
        handler.wfile.write(b"a")


def babbles(handler: Handler) -> None:
    """What is no HTTP."""
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n")


def hangs_up(handler: Handler) -> None:
    """Nothing at all."""
    handler.close_connection = True
