"""Real servers on 127.0.0.1 that follow a script, down to the byte.

They are no HTTP servers: a behaviour is a function that holds one accepted connection and writes
what it likes. Many lie, stall or flood, which no HTTP library would let a test do.
"""

import contextlib
import gzip
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

PAGE = b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 3.0\n"


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Talk:
    """One accepted connection, from the server's side."""

    def __init__(self, sock: socket.socket, server: "Server") -> None:
        self.sock = sock
        self.server = server

    def hears(self) -> bool:
        """Wait for a request and keep it; False once the client has hung up."""
        head = b""
        with contextlib.suppress(OSError):
            while not head.endswith(b"\r\n\r\n") and (piece := self.sock.recv(65536)):
                head += piece
        if head:
            self.server.requests.append(head.decode("latin-1"))
        return bool(head)

    def says(self, data: bytes) -> bool:
        """Write all of it; False if the client has gone."""
        try:
            self.sock.sendall(data)
        except OSError:
            return False
        return True

    def drips(self, data: bytes, seconds: float) -> None:
        """One byte at a time, that far apart."""
        for position in range(len(data)):
            if self.sleeps(seconds) or not self.says(data[position : position + 1]):
                return

    def sleeps(self, seconds: float) -> bool:
        """True if the test has ended meanwhile."""
        return self.server.is_over.wait(seconds)


Behaviour = Callable[[Talk], object]


class Server:
    """Listens on `port` while it is entered; each connection gets a thread and the behaviour."""

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.tls = tls
        self.connections = 0
        self.requests: list[str] = []
        self.is_over = threading.Event()
        self._socks: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/metrics"

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.is_over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._socks.append(sock)
            self._run(partial(self._serve, sock))

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
                self._socks.append(sock)
            self.behaviour(Talk(sock, self))
        except OSError:
            pass
        finally:
            sock.close()

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()


def answer(body: bytes = PAGE, status: str = "200 OK", *headers: str) -> bytes:
    """A complete answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def says(*pieces: bytes) -> Behaviour:
    """Answer the first request with these bytes and hang up."""

    def behaviour(talk: Talk) -> None:
        if talk.hears():
            for piece in pieces:
                talk.says(piece)

    return behaviour


def floods(head: bytes, piece: bytes) -> Behaviour:
    """`head`, and then `piece` for ever."""

    def behaviour(talk: Talk) -> None:
        talk.hears()
        talk.says(head)
        while talk.says(piece):
            pass

    return behaviour


def drips(head: bytes, data: bytes, seconds: float) -> Behaviour:
    """`head` at once, then `data` a byte at a time."""

    def behaviour(talk: Talk) -> None:
        talk.hears()
        talk.says(head)
        talk.drips(data, seconds)

    return behaviour


def keeps_alive(talk: Talk) -> None:
    """Answers each request on the same connection."""
    while talk.hears():
        talk.says(answer())


def is_silent(talk: Talk) -> None:
    """Takes the connection and says nothing."""
    talk.sleeps(60.0)


def zipped(body: bytes, *headers: str) -> bytes:
    """A complete answer, packed."""
    return answer(gzip.compress(body), "200 OK", "Content-Encoding: gzip", *headers)
