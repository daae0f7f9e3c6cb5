"""Runs a WSGI application on a port, so that no client can hold it.

It knows HTTP but none of our routes. The server is cheroot with three additions, because its own
limits are per read: a connection waits for its first byte without taking a thread, an answer must
be over by a deadline however slowly it is taken, and what is too much is refused at once.
"""

import errno
import logging
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple
from wsgiref.types import WSGIApplication

from cheroot.server import HTTPConnection
from cheroot.wsgi import Server as CherootServer

from burnmeter.errors import BurnmeterError

_LOG = logging.getLogger(__name__)
_DRAINED_BYTES = 64 * 1024


class Limits(NamedTuple):
    """What clients may use together. Small, because the agent shares its node with the work."""

    threads: int = 8
    queued_requests: int = 64
    waiting_connections: int = 128
    idle_seconds: int = 10
    request_seconds: float = 5.0
    header_bytes: int = 16 * 1024
    body_bytes: int = 4 * 1024
    send_buffer_bytes: int = 256 * 1024
    """What the kernel may hold for a slow reader, so that no thread has to."""


_LAST_SECONDS = 0.5  # How long requests may hold a server that is told to stop.


class _Connection(HTTPConnection):
    """A connection that is cut when one request takes longer than its limit."""

    def communicate(self) -> bool:
        watch: _Watch = self.server.watch
        watch.begin(self)
        try:
            return bool(super().communicate())  # type: ignore[no-untyped-call]
        finally:
            watch.end(self)

    def close(self) -> None:
        """Close now, also after a refusal, which cheroot leaves open until it is collected."""
        if self.linger:
            # Closing with unread data resets the connection, and the refusal would be lost.
            with suppress(OSError):
                self.socket.settimeout(0)
                self.socket.recv(_DRAINED_BYTES)
            self.linger = False
        super().close()


class _Watch:
    """Cuts connections that are past their deadline.

    The deadline is for the whole request; a socket's own timeout starts anew with each byte.
    """

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._deadlines: dict[Any, float] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def begin(self, connection: Any) -> None:
        with self._lock:
            self._deadlines[connection] = time.monotonic() + self._limit_seconds

    def end(self, connection: Any) -> None:
        with self._lock:
            self._deadlines.pop(connection, None)

    def hurry(self, limit_seconds: float) -> None:
        """From now on a request may last so long, and what is under way no longer than that."""
        with self._lock:
            self._limit_seconds = limit_seconds
            latest = time.monotonic() + limit_seconds
            for connection, deadline in self._deadlines.items():
                self._deadlines[connection] = min(deadline, latest)

    def _run(self) -> None:
        while not self._stopped.wait(0.25):
            with self._lock:
                now = time.monotonic()
                for connection, deadline in self._deadlines.items():
                    if deadline <= now:
                        _cut(connection.socket)


def _cut(connection: socket.socket) -> None:
    """End both directions; the thread that serves it gets an error and moves on."""
    with suppress(OSError):  # The other side was faster.
        connection.shutdown(socket.SHUT_RDWR)


class _Cheroot(CherootServer):
    """cheroot with a waiting room for silent connections, and our words for errors."""

    ConnectionClass = _Connection

    def __init__(self, address: tuple[str, int], app: WSGIApplication, limits: Limits) -> None:
        super().__init__(
            address,
            app,
            numthreads=limits.threads,
            max=limits.threads,
            server_name="burnmeter",
            request_queue_size=limits.queued_requests,
            timeout=limits.idle_seconds,
            # A client that hangs up also queues, to be let go, and must take nobody's place.
            accepted_queue_size=limits.waiting_connections + limits.queued_requests,
            accepted_queue_timeout=0,
        )
        self.max_request_header_size = limits.header_bytes
        self.max_request_body_size = limits.body_bytes
        self.keep_alive_conn_limit = limits.waiting_connections
        self.limits = limits
        self.watch = _Watch(limits.request_seconds)

    def bind(self, family: int, type: int, proto: int = 0) -> Any:
        host, port = self.bind_addr[:2]
        made = self.prepare_socket(
            self.bind_addr, family, type, proto, self.nodelay, self.ssl_adapter
        )
        try:
            made.bind(self.bind_addr)
        except OSError as error:
            made.close()
            if error.errno in _REASONS:
                where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                raise BurnmeterError(f"{where} {_REASONS[error.errno]}") from error
            raise
        # Set here because accepted sockets inherit it; the kernel may give less.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.limits.send_buffer_bytes)
        self.bind_addr = made.getsockname()[:2]
        self.socket = made
        return made

    def process_conn(self, conn: Any) -> None:
        """Give a thread to connections that have said something; let the others wait."""
        is_new = conn.last_used is None
        if is_new and self.can_add_keepalive_connection:
            self.put_conn(conn)
        else:
            super().process_conn(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        # What a client can cause is never louder than debug: logs must not fill because of it.
        _LOG.log(level if level >= logging.ERROR else logging.DEBUG, msg, exc_info=traceback)


_REASONS = {
    errno.EADDRINUSE: "is in use by another program; stop it or set `listen:` in the config",
    errno.EACCES: "may not be used by this user; set a port above 1023 as `listen:` in the config",
    errno.EADDRNOTAVAIL: "is no address of this machine; correct `listen:` in the config",
}


class Server:
    """One port that answers with one WSGI application."""

    def __init__(
        self, app: WSGIApplication, host: str, port: int, limits: Limits | None = None
    ) -> None:
        self.host = host
        self._server = _Cheroot((host, port), app, limits or Limits())
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port in use, known after start() if 0 was asked for."""
        return int(self._server.bind_addr[1])

    def start(self) -> None:
        """Bind and answer from now on. Raises BurnmeterError if the port cannot be had."""
        try:
            self._server.prepare()
        except OSError as error:
            where = f"{self.host}:{self._server.bind_addr[1]}"
            raise BurnmeterError(f"cannot listen on {where}: {error}") from error
        self._server.watch.start()
        self._thread.start()

    def stop(self) -> None:
        """Finish what is being answered, if that is soon, and give the port back."""
        self._server.watch.hurry(_LAST_SECONDS)
        self._server.stop()
        self._server.watch.stop()
        self._thread.join()

    def _serve(self) -> None:
        self._server.serve()

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
