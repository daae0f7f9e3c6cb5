"""Asks a Prometheus, or what speaks its HTTP API: bounded queries, errors for a person.

It knows no metric and does no arithmetic. A long range is asked in pieces, because Prometheus gives
at most 11,000 points per series and query; who waits is told how far it has come.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError

from burnmeter import __version__
from burnmeter.config_targets import bare_url
from burnmeter.errors import BurnmeterError
from burnmeter.located import shown
from burnmeter.provision import bounded
from burnmeter.provision.bounded import TooMuchError

MOST_POINTS: Final = 10_000
"""Of one series in one query; Prometheus refuses more than 11,000."""
BODY_BYTES: Final = 128_000_000
TIMEOUT_SECONDS: Final = 60.0
"""For the first byte, and then for all of an answer."""
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
HINTS: Final = {
    401: "; give a token that it knows",
    403: "; the token may not ask this",
    404: "; nothing is asked there. Give the address as Grafana has it, without /api/v1",
    502: "; a proxy answers, and Prometheus behind it does not",
    503: "; it is starting, or a proxy has none to ask",
    504: "; a proxy waits no longer, so ask for less time",
}
"""What to do where an answer has no words of Prometheus'."""
Labels = tuple[tuple[str, str], ...]
"""Sorted by name."""
Progress = Callable[[int, int], None]
"""Told after each query: how many are done, of how many."""


class PrometheusError(BurnmeterError):
    """It cannot be asked, or refuses a query; one sentence with where and why."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer; points by time, in seconds since 1970."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


def quiet(_done: int, _of: int) -> None:
    """Progress that nobody watches."""


class Prometheus:
    """One server. Every method raises PrometheusError, and nothing else of the network."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        progress: Progress = quiet,
    ) -> None:
        """`url` as for Grafana: without /api/v1. `token` is sent as a bearer's."""
        if not url.startswith(("http://", "https://")):
            text = f"`{shown(bare_url(url))}` is no address; write one like http://prometheus:9090"
            raise PrometheusError(text)
        parsed = urllib3.util.parse_url(url)
        headers = {"User-Agent": f"burnmeter/{__version__}", "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        elif parsed.auth is not None:
            headers |= urllib3.make_headers(basic_auth=parsed.auth)
        self.place = bare_url(url)
        self._url = parsed._replace(auth=None, query=None, fragment=None).url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._pool = urllib3.PoolManager(headers=headers, retries=False)
        self._progress = progress

    def instant(self, query: str, at_seconds: float) -> tuple[Series, ...]:
        """The query's vector at one time: one point a series."""
        data = self._ask("query", {"query": query, "time": repr(at_seconds)})
        if data.get("resultType") != "vector":
            raise PrometheusError(f"{self.place}: a {data.get('resultType')}, no vector: {query}")
        return tuple(
            Series(row["metric"], ((float(row["value"][0]), float(row["value"][1])),))
            for row in data["result"]
        )

    def range(
        self, query: str, *, start_seconds: float, end_seconds: float, step_seconds: float
    ) -> tuple[Series, ...]:
        """The query at start, start + step ... up to and with the end, asked in pieces."""
        pieces = tuple(_pieces(start_seconds, end_seconds, step_seconds))
        found: dict[Labels, list[tuple[float, float]]] = {}
        for done, (first, last) in enumerate(pieces, 1):
            asked = {"query": query, "start": repr(first), "end": repr(last)}
            data = self._ask("query_range", {**asked, "step": repr(step_seconds)})
            for row in data["result"]:
                points = found.setdefault(tuple(sorted(row["metric"].items())), [])
                points += [(float(at), float(value)) for at, value in row["values"]]
            self._progress(done, len(pieces))
        return tuple(Series(dict(labels), tuple(points)) for labels, points in found.items())

    def label_values(
        self, label: str, matches: Sequence[str], *, start_seconds: float, end_seconds: float
    ) -> tuple[str, ...]:
        """Values of a label among series that match a selector, within a time."""
        between = {"start": repr(start_seconds), "end": repr(end_seconds)}
        found: list[str] = self._ask(f"label/{label}/values", between, matches)
        return tuple(found)

    def series(
        self, matches: Sequence[str], *, start_seconds: float, end_seconds: float
    ) -> tuple[Mapping[str, str], ...]:
        """Labels of every series that matches a selector and has a sample within a time."""
        between = {"start": repr(start_seconds), "end": repr(end_seconds)}
        found: list[dict[str, str]] = self._ask("series", between, matches)
        return tuple(found)

    def _ask(self, path: str, fields: Mapping[str, str], matches: Sequence[str] = ()) -> Any:
        """What stands under `data` of the answer."""
        sent = [*fields.items(), *(("match[]", match) for match in matches)]
        method = "GET" if path.startswith("label/") else "POST"  # A long query fits into no URL.
        url, written = f"{self._url}/api/v1/{path}", urlencode(sent)
        try:
            answer = self._pool.request(
                method,
                url if method == "POST" else f"{url}?{written}",
                body=written if method == "POST" else None,
                headers={**self._pool.headers, **(FORM if method == "POST" else {})},
                timeout=self._timeout_seconds,
                preload_content=False,
            )
            body = self._body(answer)
        except (HTTPError, OSError) as error:
            raise PrometheusError(
                f"{self.place} does not answer: {bounded.reason(error)}"
            ) from None
        return self._data(answer.status, body)

    def _body(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        """All of it, within bounds of size and time: each piece in time is not enough."""
        try:
            return bounded.body(answer, most_bytes=BODY_BYTES, seconds=self._timeout_seconds)
        except TooMuchError as error:
            text = f"{self.place}: an answer {error}; ask for less time or narrow what is asked"
            raise PrometheusError(text) from None

    def _data(self, status: int, body: bytes) -> Any:
        try:
            told = json.loads(body)
            if told["status"] == "success":
                return told["data"]
            said = f"{told['errorType']}: {told['error']}"
        except (ValueError, KeyError, TypeError):
            if status == HTTPStatus.OK:
                text = f"{self.place} answers, but not as Prometheus does; is it the right address?"
                raise PrometheusError(text) from None
            said = f"HTTP {status}{HINTS.get(status, '')}"
        raise PrometheusError(f"{self.place} refuses: {shown(said, limit=300)}")


def _pieces(start: float, end: float, step: float) -> Iterator[tuple[float, float]]:
    """First and last time of each query; together they are every step, each once."""
    count = int((end - start) / step + 1e-9) + 1
    for first in range(0, count, MOST_POINTS):
        last = min(first + MOST_POINTS, count) - 1
        yield start + first * step, start + last * step
