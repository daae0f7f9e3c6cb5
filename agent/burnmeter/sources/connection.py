"""A connection on which no server can hold us longer, or send us more, than one exchange allows.

It knows sockets and TLS, not HTTP and not targets: engines.py speaks over what `dial` returns.

A socket's own timeout starts anew with each read, so a server that drips one byte a second holds a
reader for ever, and no check between chunks helps while http.client waits for the end of a header.
Here the limits sit below http.client: each read of the socket waits only for what is left of the
exchange, and counts what came. That bounds headers, chunk sizes and trailers with the body.
"""

import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


QUICK_ACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
"""Linux. A server that writes headers and body apart under Nagle's algorithm waits 40 ms for our
acknowledgement of the first, which would be counted as time that we took from the engine."""


class LimitReached(Exception):  # noqa: N818 - it says what happened, as in the metric of that name
    """The server sent more bytes than the exchange allows."""


@dataclass(slots=True)
class Exchange:
    """What one request and its answer may take, and how far they have come."""

    ends_at_seconds: float
    """Monotonic."""
    allowed_bytes: int
    received_bytes: int = 0
    is_connected: bool = False

    def left_seconds(self) -> float:
        """Time that is left; never 0, which a socket takes for "do not wait" (TimeoutError)."""
        left = self.ends_at_seconds - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def count(self, received_bytes: int) -> int:
        """Add what one read brought and hand it on. Raises LimitReached."""
        self.received_bytes += received_bytes
        if self.received_bytes > self.allowed_bytes:
            raise LimitReached
        return received_bytes


class PlainSocket(socket.socket):
    """A TCP socket under an exchange. http.client reads only through `recv_into`."""

    exchange: Exchange

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        _prepare(self, self.exchange)
        return self.exchange.count(super().recv_into(buffer, nbytes, flags))


class TlsSocket(ssl.SSLSocket):
    """The same under TLS; CPython holds its loop over one record to the timeout in total."""

    exchange: Exchange

    def recv_into(
        self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0
    ) -> int:
        _prepare(self, self.exchange)
        return self.exchange.count(super().recv_into(buffer, nbytes, flags))


Socket = PlainSocket | TlsSocket


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Verifying context; trusts the system's authorities (SSL_CERT_FILE), or only `ca_file`."""
    context = ssl.create_default_context(cafile=ca_file)
    context.sslsocket_class = TlsSocket
    return context


def dial(host: str, port: int, exchange: Exchange, tls: ssl.SSLContext | None = None) -> Socket:
    """Connect to the first address of `host` that takes us, with TLS if a context is given.

    Each address gets an equal part of the time left, so that a dead IPv6 route leaves some for
    IPv4. The name's lookup cannot be bounded from Python: see ReaderPool. Raises OSError.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = None
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "the name has no address")
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        part_seconds = exchange.left_seconds() / (len(addresses) - position)
        try:
            sock = _connect(PlainSocket(family, kind, protocol), address, part_seconds)
            break
        except OSError as error:
            failure = error
    if sock is None:
        raise failure
    exchange.is_connected = True
    return _start(sock, host, exchange, tls)


def bind(sock: Socket, exchange: Exchange) -> None:
    """Put an open connection under a new exchange."""
    sock.exchange = exchange
    sock.settimeout(exchange.left_seconds())


def _prepare(sock: Socket, exchange: Exchange) -> None:
    sock.settimeout(exchange.left_seconds())
    if QUICK_ACK is not None:
        # The kernel takes it back with each packet that we send.
        sock.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)


def _connect(sock: PlainSocket, address: object, seconds: float) -> PlainSocket:
    try:
        sock.settimeout(seconds)
        sock.connect(address)  # type: ignore[arg-type]
    except BaseException:
        sock.close()
        raise
    return sock


def _start(sock: PlainSocket, host: str, exchange: Exchange, tls: ssl.SSLContext | None) -> Socket:
    result: Socket = sock
    try:
        bind(sock, exchange)
        if tls is not None:
            wrapped = tls.wrap_socket(sock, server_hostname=host)
            assert isinstance(wrapped, TlsSocket)
            result = wrapped
        bind(result, exchange)
    except BaseException:
        result.close()
        raise
    return result
