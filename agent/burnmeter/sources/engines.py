"""Fetches engines' metrics pages over HTTP: a text or a reason why not, never an exception.

It does not read what a page says (page.py), and does not decide when to ask (loop.py). Every read
is bounded in total time and in bytes, on the wire and unpacked, whatever the server does; what is
not bounded is the lookup of a host's name, which the C library does. `ReaderPool` therefore leaves
a read that hangs behind in a daemon thread, and asks that target again only once it has ended.

urllib3's connection is used below its pool: a pool hides the socket, and the limits need it.
"""

import logging
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Final

from urllib3.connection import HTTPConnection
from urllib3.response import BaseHTTPResponse
from urllib3.util import Url, parse_url

from burnmeter import __version__
from burnmeter.dialects import Asks
from burnmeter.model import About, Checkup, Failure, PageReading, Target
from burnmeter.sources.answers import (
    Refusal,
    body_of,
    check_head,
    explain,
    place_of,
    port_of,
    text_of,
)
from burnmeter.sources.asking import about, checkup
from burnmeter.sources.connection import Exchange, Socket, bind, dial, tls_context
from burnmeter.sources.iteration_stats import IterationStats
from burnmeter.sources.tokens import authorisation

HEADERS: Final = {
    # OpenMetrics is not asked for: Prometheus's client for Python then sends it whatever `q` says,
    # with every `:` of a name as `_`, as SGLang does.
    "Accept": "text/plain;version=0.0.4;q=1,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": f"burnmeter/{__version__}",
}
HEAD_BYTES: Final = 131072
"""Allowed on the wire for status and headers, beside twice the body for its chunks' sizes."""
DELIMITERS: Final = ("Content-Length", "Transfer-Encoding")
"""Without one of these an answer ends where the connection does, and a cut cannot be seen."""

ASK_EVERY_SECONDS: Final = 600.0
CHECK_EVERY_SECONDS: Final = 15.0
ASK_TIMEOUT_SECONDS: Final = 1.0
ASK_BYTES: Final = 1_000_000
"""llama.cpp tells its version beside the whole chat template."""

# It writes a warning with a trace and the whole URL for each odd header, at every read.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)


@dataclass(slots=True)
class _Line:
    """One target's kept-alive connection. Whoever holds the lock may touch it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    connection: HTTPConnection | None = None
    origin: tuple[object, ...] = ()
    is_forgotten: bool = False
    asked_at_seconds: float | None = None
    asked_of: tuple[object, ...] = ()
    """Which process was asked who it is."""
    stats: IterationStats = field(default_factory=IterationStats)
    asks: Asks | None = None
    checked_at_seconds: float = -inf

    def drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def drop_if_forgotten(self) -> None:
        # Called after each release and after each forget, so that of two threads that meet here
        # the later one closes the connection.
        if self.is_forgotten and self.lock.acquire(blocking=False):
            self.drop()
            self.lock.release()


class EngineReader:
    """Reads targets' pages over kept-alive connections, one per target; threads may share it.

    A second read of a target while one is under way does not wait: it gives a `timeout` failure.
    """

    def __init__(
        self,
        *,
        body_bytes: int,
        timeout_seconds: float,
        ca_file: str | None = None,
        asks_of: Callable[[Target, str], Asks | None] = lambda _target, _page: None,
    ) -> None:
        """`asks_of`: where whoever made a page says who he is; None: nowhere."""
        self._body_bytes = body_bytes
        self._timeout_seconds = timeout_seconds
        self._ca_file = ca_file
        self._asks_of = asks_of
        self._tls: ssl.SSLContext | None = None
        self._lines: dict[str, _Line] = {}
        self._guard = threading.Lock()
        self._is_closed = False

    def read(self, target: Target) -> PageReading:
        """Ask once. Never raises; ends within the timeout, but for a name's lookup."""
        began = time.monotonic()
        with self._guard:
            if self._is_closed:
                return _reading(target, began, Failure("disabled", "the reader is closed"))
            line = self._lines.setdefault(target.name, _Line())
        if not line.lock.acquire(blocking=False):
            message = f"the read of `{target.name}` before this one has not ended"
            return _reading(target, began, Failure("timeout", message))
        try:
            reading = _reading(target, began, *self._attempt(line, target, began))
            # After the clock was read: the page is as old as its last byte.
            if reading.text is None:
                return reading
            said = self._ask(line, target, reading.text)
            return reading._replace(about=said, checkup=self._check(line, target))
        finally:
            line.lock.release()
            line.drop_if_forgotten()

    def forget(self, target_name: str) -> None:
        """Close a target's connection: now, or when the read under way ends."""
        with self._guard:
            line = self._lines.pop(target_name, None)
        if line is not None:
            line.is_forgotten = True
            line.drop_if_forgotten()

    def close(self) -> None:
        """Forget all targets, and read no more."""
        with self._guard:
            self._is_closed = True
            names = tuple(self._lines)
        for name in names:
            self.forget(name)

    def _attempt(
        self, line: _Line, target: Target, began: float
    ) -> tuple[Failure | None, str | None, int]:
        exchange = Exchange(began + self._timeout_seconds, 2 * self._body_bytes + HEAD_BYTES)
        place = f"the `url` of target `{target.name}`"
        try:
            url = _parsed(target, place)
            place = place_of(url)
            line.stats.check(target)
            text, size = self._fetch(line, target, url, exchange, self._body_bytes)
            text = line.stats.page(target, text)
        except Exception as error:  # noqa: BLE001 - one target's trouble is never another's
            line.drop()
            failure = explain(error, place, exchange, self._timeout_seconds)
            if failure.kind == "refused":
                line.asked_at_seconds = None  # Who answers next may serve another model.
            return failure, None, 0
        return None, text, size

    def _ask(self, line: _Line, target: Target, page: str) -> About | None:
        """Who it says it is, if it is time to ask: at first, of another process, now and then."""
        process, now = (target.pid, target.started_timestamp_seconds), time.monotonic()
        since = None if line.asked_at_seconds is None else now - line.asked_at_seconds
        if since is not None and since < ASK_EVERY_SECONDS and line.asked_of == process:
            return None
        line.asked_at_seconds, line.asked_of = now, process
        line.asks = self._asks_of(target, page)
        if line.asks is None:
            return None
        ends = self._brief()

        def get(path: str) -> str:
            try:
                return self._fetch(line, target, _beside(target, path), ends, ASK_BYTES)[0]
            except BaseException:
                line.drop()
                raise

        return about(line.asks, get)

    def _check(self, line: _Line, target: Target) -> Checkup | None:
        """Whether it says that it is well, if it is time to ask and there is where."""
        path, now = line.asks.health_path if line.asks else None, time.monotonic()
        if path is None or now - line.checked_at_seconds < CHECK_EVERY_SECONDS:
            return None
        line.checked_at_seconds = now
        ends = self._brief()

        def status_of(path: str) -> int:
            url = _beside(target, path)
            try:
                self._open(line, url, ends)
                response = _ask(line, url, {**HEADERS, **authorisation(target)})
                body_of(response, url, ASK_BYTES)
                response.close()
            except BaseException:
                line.drop()
                raise
            return int(response.status)

        return checkup(path, status_of)

    def _brief(self) -> Exchange:
        """What questions beside the page may take."""
        seconds = min(ASK_TIMEOUT_SECONDS, self._timeout_seconds / 3)
        return Exchange(time.monotonic() + seconds, 2 * ASK_BYTES)

    def _fetch(
        self, line: _Line, target: Target, url: Url, exchange: Exchange, most_bytes: int
    ) -> tuple[str, int]:
        headers = {**HEADERS, **authorisation(target)}
        was_open = self._open(line, url, exchange)
        try:
            response = _ask(line, url, headers)
        except ConnectionError:
            # A server may close a connection that it finds idle just as we speak. Once, and only
            # on an old connection, that says nothing about the server.
            if not was_open or exchange.received_bytes > 0:
                raise
            line.drop()
            self._open(line, url, exchange)
            response = _ask(line, url, headers)
        try:
            check_head(response, target, url, most_bytes)
            body = body_of(response, url, most_bytes)
            is_delimited = any(name in response.headers for name in DELIMITERS)
            return text_of(body, is_delimited, target, url), len(body)
        finally:
            response.close()

    def _open(self, line: _Line, url: Url, exchange: Exchange) -> bool:
        """Make sure of a connection under this exchange; True if it was open before."""
        assert url.host is not None
        host, port = url.host.strip("[]"), port_of(url)
        origin = (url.scheme, host, port)
        if line.connection is not None and line.origin == origin and line.connection.is_connected:
            sock: Socket = line.connection.sock  # type: ignore[assignment]
            bind(sock, exchange)
            exchange.is_connected = True
            return True
        line.drop()
        line.origin = origin
        sock = dial(host, port, exchange, self._context() if url.scheme == "https" else None)
        line.connection = HTTPConnection(host, port, timeout=self._timeout_seconds)
        line.connection.sock = sock
        return False

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = tls_context(self._ca_file)
        return self._tls


@dataclass(slots=True, eq=False)
class _Job:
    """One read that was asked for. Whoever takes `claim` decides: a worker to run it, or the
    pool to give it up before it began."""

    target: Target
    asked_seconds: float
    claim: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)
    reading: PageReading | None = None


class ReaderPool:
    """Reads many targets at once and is back in time, whatever they do. One caller at a time.

    As long as fewer reads hang than there are threads, no target waits for another.
    """

    def __init__(self, reader: EngineReader, *, threads: int = 64) -> None:
        self._reader = reader
        self._threads_limit = threads
        self._threads: list[threading.Thread] = []
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._running: dict[str, _Job] = {}

    def read_all(
        self, targets: Iterable[Target], deadline_seconds: float
    ) -> dict[str, PageReading]:
        """A reading of each target, by name, `deadline_seconds` from now at the latest.

        A read that is still running then becomes a `timeout`, now and in later calls until it has
        ended; what it brings in the end is too old to be used, and is dropped.
        """
        began = time.monotonic()
        readings: dict[str, PageReading] = {}
        jobs: dict[str, _Job] = {}
        for target in targets:
            running = self._running.get(target.name)
            if running is not None and not running.ended.is_set():
                readings[target.name] = _late(target, began, running.asked_seconds)
            elif target.name not in jobs:
                jobs[target.name] = self._running[target.name] = _Job(target, began)
        self._start(jobs.values())
        for name, job in jobs.items():
            job.ended.wait(max(0.0, began + deadline_seconds - time.monotonic()))
            readings[name] = self._collect(job)
        return readings

    def close(self) -> None:
        """Let idle threads end and close the reader; waits for nothing."""
        for _ in self._threads:
            self._queue.put(None)
        self._reader.close()

    def _start(self, jobs: Iterable[_Job]) -> None:
        for job in jobs:
            self._queue.put(job)
        self._running = {name: job for name, job in self._running.items() if not job.ended.is_set()}
        while len(self._threads) < min(self._threads_limit, len(self._running)):
            name = f"engine-reader-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if job.claim.acquire(blocking=False):
                job.reading = self._reader.read(job.target)
                job.ended.set()

    def _collect(self, job: _Job) -> PageReading:
        if job.reading is not None and job.ended.is_set():
            return job.reading
        if job.claim.acquire(blocking=False):
            job.ended.set()
            message = f"no thread was free to read `{job.target.name}`: too many reads hang"
            return _reading(job.target, job.asked_seconds, Failure("timeout", message))
        return _late(job.target, job.asked_seconds, job.asked_seconds)


def _late(target: Target, began: float, asked_seconds: float) -> PageReading:
    seconds = time.monotonic() - asked_seconds
    message = f"the read of `{target.name}` began {seconds:.1f} s ago and has not ended"
    return _reading(target, began, Failure("timeout", message))


def _reading(
    target: Target, began: float, failure: Failure | None, text: str | None = None, size: int = 0
) -> PageReading:
    now = time.monotonic()
    return PageReading(target.name, now, time.time(), now - began, text, failure, size)


def _parsed(target: Target, place: str) -> Url:
    url = parse_url(target.url)
    if url.scheme not in ("http", "https") or url.host is None:
        raise Refusal("unreachable", f"{place} must be http://HOST:PORT/PATH")
    if url.auth is not None:
        # It would be shown wherever the target's URL is.
        raise Refusal("unreachable", f"{place} may hold no password; set `token_file` instead")
    return url


def _beside(target: Target, path: str) -> Url:
    """Another path of the target's server."""
    return _parsed(target, "the `url`")._replace(path=path, query=None)


def _ask(line: _Line, url: Url, headers: dict[str, str]) -> BaseHTTPResponse:
    assert line.connection is not None
    line.connection.request(
        "GET", url.request_uri, headers=headers, preload_content=False, decode_content=False
    )
    return line.connection.getresponse()
