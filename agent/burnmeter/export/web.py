"""What the agent answers over HTTP: the live page, /metrics, JSON, verdicts, two health checks.

A WSGI application over the last Outlet; it never waits for a source or for the loop. It is not the
server (server.py) and writes no markup (live.py). The page and the JSON are made when somebody
asks, at most once per tick: most ticks nobody looks, and a page that cannot be drawn must not stop
the tick.
"""

import gzip
import threading
from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from burnmeter.export import live, snapshot_json, verdict_json
from burnmeter.export.words import span
from burnmeter.snapshot import Snapshot

ROUTES: Final = {
    "/": "the live page",
    "/metrics": "metrics in the Prometheus text format",
    "/api/v1/snapshot": "everything that is known now, as JSON",
    verdict_json.PATH: "every model with its state; of one: /api/v1/verdict/<model>",
    "/healthz": "200 while readings are recent, else 503",
    "/readyz": "200 after the first reading, else 503",
    "/style.css": "the live page's style",
    "/live.js": "the live page's script",
}

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_SAFETY = [
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_TEXT = "text/plain; charset=utf-8"
_GZIP_FROM_BYTES = 1024  # Below, the headers weigh more than what is saved.
_FIRST_TICK_SECONDS = 60.0  # How long a start may take before it counts as hanging.


class Outlet:
    """One Snapshot in the forms in which it leaves over HTTP."""

    def __init__(self, snapshot: Snapshot, metrics: bytes) -> None:
        self.snapshot = snapshot
        self.metrics = metrics

    @cached_property
    def page(self) -> bytes:
        return live.page(self.snapshot)

    @cached_property
    def json(self) -> bytes:
        return snapshot_json.to_bytes(self.snapshot)


def render(snapshot: Snapshot, metrics: bytes) -> Outlet:
    """The Outlet of one tick. `metrics` is what the Prometheus exporter made of `snapshot`."""
    return Outlet(snapshot, metrics)


class Answer(NamedTuple):
    """What goes back, before compression and the common headers."""

    status: str
    content_type: str
    body: bytes
    cache: str = "no-store"
    timestamp_seconds: float | None = None
    extra: tuple[tuple[str, str], ...] = ()


def application(
    latest: Callable[[], Outlet | None], *, clock: Callable[[], float]
) -> WSGIApplication:
    """The WSGI application. `clock` is the wall clock that Snapshots are stamped with."""
    site = _Site(latest, clock)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO") or "/", environ["REQUEST_METHOD"]
        made = site.answer(path, method, environ.get("QUERY_STRING", ""))
        body, headers = site.encoded(path, made, environ.get("HTTP_ACCEPT_ENCODING", ""))
        start_response(made.status, headers)
        return [] if method == "HEAD" else [body]

    return answer


class _Site:
    """The routes, and the last compressed body of each."""

    def __init__(self, latest: Callable[[], Outlet | None], clock: Callable[[], float]) -> None:
        self._latest = latest
        self._clock = clock
        self._started_seconds = clock()
        self._compressed: dict[str, tuple[bytes, bytes]] = {}
        self._drawing = threading.Lock()

    def answer(self, path: str, method: str, query: str) -> Answer:
        if path not in ROUTES and not verdict_json.is_route(path):
            return _plain("404 Not Found", f"There is nothing at this address.\n\n{_listing()}")
        if method not in ("GET", "HEAD"):
            text = f"Nothing here can be changed: only GET and HEAD.\n\n{_listing()}"
            return _plain("405 Method Not Allowed", text, extra=(("Allow", "GET, HEAD"),))
        if path in _STATIC:
            return _STATIC[path]
        outlet = self._latest()
        if verdict_json.is_route(path):
            return self._verdict(path, query, outlet)
        if path == "/healthz":
            return self._health(outlet)
        if outlet is None:
            return self._too_early(path)
        if path == "/readyz":
            return _plain("200 OK", "ready\n")
        return self._view(path, outlet)

    def _view(self, path: str, outlet: Outlet) -> Answer:
        # One at a time, so that many viewers of one tick cost one drawing of it.
        with self._drawing:
            content_type, body = _TYPES[path], _body(path, outlet)
            stamp = outlet.snapshot.timestamp_seconds
            return Answer("200 OK", content_type, body, timestamp_seconds=stamp)

    def _verdict(self, path: str, query: str, outlet: Outlet | None) -> Answer:
        snapshot = outlet.snapshot if outlet is not None else None
        said = verdict_json.answer(path, query, snapshot, self._clock())
        extra = ((verdict_json.STATE_HEADER, said.state),) if said.state is not None else ()
        stamp = said.timestamp_seconds
        return Answer(
            said.status, verdict_json.TYPE, said.body, timestamp_seconds=stamp, extra=extra
        )

    def _too_early(self, path: str) -> Answer:
        status = "503 Service Unavailable"
        if path == "/":
            return Answer(status, _TYPES["/"], live.waiting())
        return _plain(status, "No reading has been made yet; try again in a few seconds.\n")

    def _health(self, outlet: Outlet | None) -> Answer:
        if outlet is None:
            age, limit = self._clock() - self._started_seconds, _FIRST_TICK_SECONDS
            text = f"no reading yet, {span(age)} after the start"
        else:
            age = self._clock() - outlet.snapshot.timestamp_seconds
            limit = live.stale_after_seconds(outlet.snapshot)
            text = f"the last reading is {span(age)} old"
        if age <= limit:
            return _plain("200 OK", f"ok: {text}\n")
        late = f"stuck: {text}; it should be at most {span(limit)}\n"
        return _plain("503 Service Unavailable", late)

    def encoded(
        self, path: str, made: Answer, accepted: str
    ) -> tuple[bytes, list[tuple[str, str]]]:
        """The body as the client takes it, with all headers."""
        headers = [("Content-Type", made.content_type), ("Cache-Control", made.cache)]
        if made.timestamp_seconds is not None:
            headers.append(("Last-Modified", formatdate(made.timestamp_seconds, usegmt=True)))
        headers += [*_SAFETY, *made.extra, ("Vary", "Accept-Encoding")]
        body = made.body
        # Packed bodies are kept by path, and of verdicts there are as many paths as askers like.
        is_kept = path in ROUTES and len(body) >= _GZIP_FROM_BYTES
        if is_kept and _takes_gzip(accepted):
            body = self._gzip(path, body)
            headers.append(("Content-Encoding", "gzip"))
        return body, [*headers, ("Content-Length", str(len(body)))]

    def _gzip(self, path: str, body: bytes) -> bytes:
        known, compressed = self._compressed.get(path, (b"", b""))
        if known is not body:
            # Level 1: three quarters of the saving for a third of the time of the default.
            compressed = gzip.compress(body, compresslevel=1, mtime=0)
            self._compressed[path] = (body, compressed)
        return compressed


_TYPES: Final = {
    "/": "text/html; charset=utf-8",
    "/metrics": "text/plain; version=0.0.4; charset=utf-8",
    "/api/v1/snapshot": "application/json",
}


def _body(path: str, outlet: Outlet) -> bytes:
    if path == "/metrics":
        return outlet.metrics
    return outlet.page if path == "/" else outlet.json


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110, section 12.5.3)."""
    for part in accepted.lower().split(","):
        coding, _, parameter = part.partition(";")
        if coding.strip() == "gzip":
            return parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _plain(status: str, text: str, *, extra: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, _TEXT, text.encode(), extra=extra)


def _listing() -> str:
    width = max(map(len, ROUTES))
    return "\n".join(f"{path:<{width}}  {what}" for path, what in ROUTES.items()) + "\n"


def _static(name: str, content_type: str) -> Answer:
    body = (Path(__file__).parent / "web_files" / name).read_bytes()
    return Answer("200 OK", content_type, body, cache="max-age=86400")


_STATIC: Final = {
    "/style.css": _static("style.css", "text/css; charset=utf-8"),
    "/live.js": _static("live.js", "text/javascript; charset=utf-8"),
}
