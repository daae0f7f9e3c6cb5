"""What tests of the page reader share: a target, a reader that is closed again, one read."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager

from burnmeter.model import PageReading, Target
from burnmeter.sources.engines import EngineReader
from tests.servers import Behaviour, Server, answer, drips, floods, is_silent, says

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
