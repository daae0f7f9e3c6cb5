"""Posts alerts to Alertmanagers, each in a thread of its own, from the latest Snapshot.

What is told and when is alert_book.py's; here are threads, HTTP and failure. A tick only leaves
its Snapshot here and goes on: an Alertmanager that hangs costs its own thread, and what it missed
is told with the next Snapshot that it can take. Nobody waits for it at the end, either.

Surprising: if there is nothing to tell, an empty list is posted now and then. It takes the same way
through names, proxies and tokens as an alert will, so a wrong one is known before it is needed.
"""

import http.client
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import Url, parse_url

from burnmeter import __version__
from burnmeter.config_alertmanagers import Alertmanager
from burnmeter.export import alert_book, alerts
from burnmeter.export.alert_book import Book
from burnmeter.model import Failure
from burnmeter.snapshot import AlertmanagerView, Snapshot

log = logging.getLogger("burnmeter")

ALERTS_PATH: Final = "/api/v2/alerts"
ANSWER_BYTES: Final = 1_000_000
"""Longest answer that is read; that of one node's open alerts has some thousand."""
ANSWER_SEEN: Final = 256
"""Of an answer to what was posted, to tell a web page."""
Authorise = Callable[[Alertmanager], Mapping[str, str] | Failure]
"""The header with its token, read anew each time; or why there is none."""


class Alertmanagers:
    """All of the config's. `tell` returns at once, whatever they do."""

    def __init__(
        self,
        found: tuple[Alertmanager, ...],
        *,
        authorise: Authorise,
        page_url: str | None = None,
        settle_seconds: float = 0.0,
    ) -> None:
        self._senders = [
            Sender(one, authorise=authorise, page_url=page_url, settle_seconds=settle_seconds)
            for one in found
        ]

    def tell(self, snapshot: Snapshot) -> None:
        """Leave a Snapshot for all of them."""
        for sender in self._senders:
            sender.tell(snapshot)

    def views(self) -> tuple[AlertmanagerView, ...]:
        """How each is, in the order of the config."""
        return tuple(sender.view() for sender in self._senders)

    def ask(self) -> tuple[AlertmanagerView, ...]:
        """Whether each would take alerts; waits for them, and tells nothing. For `doctor`."""
        return tuple(sender.ask() for sender in self._senders)

    def close(self) -> None:
        """Send nothing any more; waits for nothing that is being sent."""
        for sender in self._senders:
            sender.close()


class Sender:
    """One Alertmanager: its book, its thread, and a place for one Snapshot."""

    def __init__(
        self,
        terms: Alertmanager,
        *,
        authorise: Authorise,
        page_url: str | None,
        settle_seconds: float,
    ) -> None:
        self._terms = terms
        self._settle_seconds = settle_seconds
        self._page_url = terms.page_url or page_url
        self._authorise = authorise
        self._tls = ssl.create_default_context() if terms.url.startswith("https:") else None
        self._book = Book()
        self._has_adopted = False
        self._reached_timestamp_seconds: float | None = None
        self._asking_since_seconds: float | None = None
        self._view = AlertmanagerView(
            url=terms.url, is_up=None, failure=None, active=0, sent=0, failed=0
        )
        self._place: Snapshot | None = None
        self._is_closed = False
        self._has_news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="alertmanager", daemon=True)

    def tell(self, snapshot: Snapshot) -> None:
        """Leave a Snapshot; one that was not taken up is no longer of interest."""
        with self._has_news:
            self._place = snapshot
            self._has_news.notify()
        if self._thread.ident is None and not self._is_closed:
            self._thread.start()

    def view(self) -> AlertmanagerView:
        """How it is now. One that holds our thread beyond its time has failed already."""
        since = self._asking_since_seconds
        if since is None or time.monotonic() - since <= 2 * self._terms.timeout_seconds:
            return self._view
        return replace(self._view, is_up=False, failure=self._failure("timeout", _SLOW))

    def ask(self) -> AlertmanagerView:
        """How it takes an empty list."""
        failure = self._post([])
        return replace(self._view, is_up=failure is None, failure=failure)

    def close(self) -> None:
        """Let the thread end."""
        with self._has_news:
            self._is_closed = True
            self._has_news.notify()

    def _run(self) -> None:
        while (snapshot := self._next()) is not None:
            try:
                self._take(snapshot)
            except Exception as error:  # the next Snapshot may fare better
                failure = Failure("crashed", f"telling {self._terms.url}: {error!r}")
                if failure != self._view.failure:  # A trace at every tick would fill the disk.
                    log.exception("sending alerts failed; this is a bug in burnmeter")
                self._view = replace(self._view, is_up=False, failure=failure)

    def _next(self) -> Snapshot | None:
        """The latest Snapshot, once there is a new one. None: it is over."""
        with self._has_news:
            self._has_news.wait_for(lambda: self._place is not None or self._is_closed)
            snapshot, self._place = self._place, None
            return None if self._is_closed else snapshot

    # --- one Snapshot ----------------------------------------------------------------------------

    def _take(self, snapshot: Snapshot) -> None:
        now, interval, terms = snapshot.timestamp_seconds, snapshot.interval_seconds, self._terms
        if not self._has_adopted:
            self._adopt(snapshot.node)
        self._book = alert_book.turned(self._book, snapshot, terms, self._settle_seconds)
        sent = alert_book.due(self._book, now, interval, terms)
        view = replace(self._view, active=self._book.active)
        last = self._reached_timestamp_seconds
        if sent.entries or last is None or not 0 <= now - last < terms.resend_seconds:
            told = alert_book.messages(sent, now, interval, terms, self._page_url)
            failure = self._post(told)
            view = replace(view, is_up=failure is None, failure=failure)
            if failure is None:
                self._book = alert_book.told(self._book, sent, now)
                self._reached_timestamp_seconds = now
                view = replace(view, sent=view.sent + len(told))
            else:
                view = replace(view, failed=view.failed + len(told))
        self._view = view

    def _adopt(self, node: str) -> None:
        """Take over what is open of ours, once it answers.

        An Alertmanager, or what stands before it, may let us post and not read.
        """
        quoted = json.dumps(node, ensure_ascii=False)
        matchers = (f'origin="{alerts.ORIGIN}"', f"node={quoted}")
        query = "&".join(f"filter={quote(one, safe='', errors='replace')}" for one in matchers)
        status, answer = self._ask("GET", f"{ALERTS_PATH}?{query}")
        if isinstance(answer, Failure):
            return
        self._has_adopted = status < HTTPStatus.INTERNAL_SERVER_ERROR
        if status == HTTPStatus.OK:
            self._book = alert_book.adopted(self._book, _rows(answer), node)

    def _post(self, told: list[dict[str, Any]]) -> Failure | None:
        status, answer = self._ask("POST", ALERTS_PATH, json.dumps(told).encode())
        if isinstance(answer, Failure):
            return answer
        if answer[:ANSWER_SEEN].lstrip().startswith(b"<"):
            return self._failure("html", f"answered with a web page{_HINTS[404]}")
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        return self._failure("http", f"answered HTTP {status}{_HINTS.get(status, '')}")

    # --- HTTP ------------------------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, bytes | Failure]:
        """Status and body of one answer; or why there is none, with status 0."""
        self._asking_since_seconds = time.monotonic()
        try:
            headers = self._authorise(self._terms)
            if isinstance(headers, Failure):
                return 0, headers
            url = parse_url(self._terms.url)
            asked = method, f"{url.path or ''}{path}", body, headers
            return _exchange(self._connection(url), asked, self._terms.timeout_seconds)
        except (*_RAISED, ValueError) as error:
            return 0, self._explained(error)
        finally:
            self._asking_since_seconds = None

    def _connection(self, url: Url) -> HTTPConnection:
        assert url.host is not None, "the config lets no address without a host pass"
        host, seconds = url.host.strip("[]"), self._terms.timeout_seconds
        if self._tls is not None:
            return HTTPSConnection(host, url.port, timeout=seconds, ssl_context=self._tls)
        return HTTPConnection(host, url.port, timeout=seconds)

    def _explained(self, error: Exception) -> Failure:
        """What sockets, TLS and urllib3 raise, in our words."""
        text = str(error)
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                words = f"shows a certificate that cannot be trusted: {cause.verify_message}"
                return self._failure("unreachable", words)
            if isinstance(cause, ConnectionRefusedError):
                return self._failure("refused", "refuses the connection: nothing listens there")
            if isinstance(cause, socket.gaierror):
                return self._failure("unreachable", f"cannot be found: {cause.strerror}")
            if isinstance(cause, TimeoutError):
                return self._failure("timeout", _SLOW)
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, TimeoutError) or "timed out" in text:
            return self._failure("timeout", _SLOW)
        return self._failure("unreachable", f"gave no answer in HTTP ({type(error).__name__})")

    def _failure(self, kind: str, what: str) -> Failure:
        return Failure(kind, f"{self._terms.url} {what}")


_RAISED: Final = (HTTPError, http.client.HTTPException, OSError)
_SLOW: Final = "did not answer in time"
_HINTS: Final = {
    401: "; is its `token_file` or `token_environment` right?",
    403: "; is its `token_file` or `token_environment` right?",
    404: f"; is `url` its address before {ALERTS_PATH}?",
    405: f"; is `url` its address before {ALERTS_PATH}?",
    429: ": too much at once; it is told again",
}


def _exchange(
    connection: HTTPConnection,
    asked: tuple[str, str, bytes | None, Mapping[str, str]],
    seconds: float,
) -> tuple[int, bytes]:
    """One request and its answer, cut when they take longer together. Raises as urllib3 does."""
    method, path, body, headers = asked
    is_late = threading.Event()

    def cut() -> None:
        is_late.set()
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    # A socket's own timeout starts anew with each byte that it is given.
    watch = threading.Timer(seconds, cut)
    watch.daemon = True
    watch.start()
    try:
        connection.request(method, path, body, {**_HEADERS, **headers}, preload_content=False)
        response = connection.getresponse()
        answer = response.read(ANSWER_BYTES, decode_content=False)
        if is_late.is_set():  # http.client takes headers that were cut for all of them.
            raise TimeoutError
        return response.status, answer
    except _RAISED:
        if is_late.is_set():
            raise TimeoutError from None
        raise
    finally:
        watch.cancel()
        connection.close()


_HEADERS: Final = {
    "User-Agent": f"burnmeter/{__version__}",
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


def _rows(answer: bytes) -> list[dict[str, Any]]:
    """The objects of a JSON list; none, if it is something else."""
    try:
        found = json.loads(answer)
    except ValueError:
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
