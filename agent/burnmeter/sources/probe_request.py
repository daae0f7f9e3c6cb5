"""One probe: a small marked request to an OpenAI-compatible endpoint, and what became of it.

Bounded in time and bytes over the whole exchange, by connection.py. Never raises. It keeps times,
counts and an outcome; neither the key, nor what was asked, nor what was answered is in them.
"""

import http
import http.client
import json
import ssl
import time
import uuid
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

from urllib3.util import Url, parse_url

from burnmeter import __version__
from burnmeter.config_probes import Probe
from burnmeter.model import Failure, Target
from burnmeter.sources import probe_stream
from burnmeter.sources.answers import REDIRECTS, Refusal, explain, place_of, port_of
from burnmeter.sources.connection import Exchange, dial, tls_context
from burnmeter.sources.probe_stream import Stream, Unserved
from burnmeter.sources.tokens import authorisation

MARK: Final = "burnmeter-probe"
"""By this the requests are told from those of users, wherever they are logged or counted."""
BYTES_PER_TOKEN: Final = 4096
"""An event of one token is some hundred bytes; with log probabilities, some thousand."""
BYTES_BESIDE: Final = 262_144
"""For headers, and for events without tokens."""
SILENT_KINDS: Final = ("refused", "timeout", "unreachable")
"""Failures in which nothing answered at all."""
OVERLOADED: Final = http.HTTPStatus.TOO_MANY_REQUESTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one request. Times in seconds, from when it was sent; None: never came."""

    outcome: str | None
    """ok, error or rejected; None: nothing was sent."""
    illness: str | None = None
    """Of an error: what is wrong with an endpoint that answers."""
    failure: Failure | None = None
    """Otherwise not ok: nothing answered (an error), or what is wrong with the probe."""
    first_token_seconds: float | None = None
    gaps_seconds: tuple[float, ...] = ()
    """Between one part with text and the next."""
    per_token_seconds: float | None = None
    """A mean over what followed the first token; None: not a second token, or not ok."""
    duration_seconds: float | None = None
    """To the last token of an answer that is ok."""
    prompt_tokens: int | None = None
    generated_tokens: int | None = None
    """By the endpoint's own count; None: it has not told."""
    chunks: int = 0
    """Parts with text, which were counted instead."""
    is_answered: bool = False
    """The endpoint has begun to work on it, so it may have to be paid."""


@dataclass(slots=True)
class _Ask:
    """One request under way."""

    exchange: Exchange
    stream: Stream = field(default_factory=Stream)
    sent_seconds: float | None = None
    status: int | None = None


def send(probe: Probe, target: Target) -> Result:
    """Ask once. Ends within the probe's timeout, but for a name's lookup."""
    allowed = BYTES_BESIDE + BYTES_PER_TOKEN * probe.max_tokens
    ask = _Ask(Exchange(time.monotonic() + probe.timeout_seconds, allowed))
    place = f"the `url` of probe `{probe.name}`"
    try:
        headers = authorisation(target)
    except Refusal as error:
        # Nobody else is to blame, and nothing was asked.
        return Result(outcome=None, failure=Failure("no_permission", error.failure.message))
    try:
        url = parse_url(probe.url)
        place = place_of(url)
        _exchange(ask, probe, url, headers)
    except Unserved as error:
        return _result(ask, "error", illness=f"{place} {error}")
    except Refusal as error:
        return _result(ask, "rejected", failure=error.failure)
    except Exception as error:  # noqa: BLE001 - whatever it is, the agent goes on
        failure = explain(error, place, ask.exchange, probe.timeout_seconds)
        if not ask.exchange.received_bytes and failure.kind in SILENT_KINDS:
            return _result(ask, "error", failure=failure)
        return _result(ask, "error", illness=failure.message)
    return _result(ask, "ok")


def _exchange(ask: _Ask, probe: Probe, url: Url, headers: dict[str, str]) -> None:
    assert url.host is not None, "the config lets no address without a host pass"
    host, port = url.host.strip("[]"), port_of(url)
    tls: ssl.SSLContext | None = tls_context(None) if url.scheme == "https" else None
    connection = http.client.HTTPConnection(host, port)
    connection.sock = dial(host, port, ask.exchange, tls)
    try:
        # The connection is there: what is measured is the endpoint, not the way to it.
        ask.sent_seconds = time.monotonic()
        connection.request("POST", url.request_uri, body(probe), {**_headers(url), **headers})
        with connection.getresponse() as response:
            ask.status = response.status
            _check(response, probe, url)
            probe_stream.read(ask.stream, response.readline, time.monotonic)
        if not ask.stream.has_token:
            raise Unserved("ended its stream without a token")
    finally:
        connection.close()


def body(probe: Probe) -> bytes:
    """What is asked, as JSON."""
    asked: dict[str, Any] = {"prompt": probe.prompt}
    if probe.engine_api == "chat":
        asked = {"messages": [{"role": "user", "content": probe.prompt}]}
    fixed = {"temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
    named = {"model": probe.model, "max_tokens": probe.max_tokens, "user": MARK}
    return json.dumps({**named, **asked, **fixed}).encode()


def _headers(url: Url) -> dict[str, str]:
    return {
        "Host": url.netloc or "",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Content-Type": "application/json",
        "User-Agent": f"{MARK}/{__version__}",
        "X-Request-Id": f"{MARK}-{uuid.uuid4().hex}",
    }


def _check(response: http.client.HTTPResponse, probe: Probe, url: Url) -> None:
    """What the status says. Raises Unserved where the endpoint failed, Refusal where we did."""
    status, place = response.status, place_of(url)
    if status == http.HTTPStatus.OK:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Unserved("packed its answer, though it was asked not to")
        return
    if status in REDIRECTS:
        text = f"{place} points elsewhere (HTTP {status}); put the final address into `url`"
        raise Refusal("redirect", f"{text} of probe `{probe.name}`")
    if status == OVERLOADED or not 400 <= status < 500:
        raise Unserved(f"answered HTTP {status}")
    words = f"{place} answered HTTP {status} to probe `{probe.name}`"
    if status in (401, 403):
        words += "; is its `token_file` or `token_environment` the right one?"
    if status == 404:
        words += "; are the path in its `url` and its `model` right?"
    raise Refusal("http", words)


def _result(
    ask: _Ask, outcome: str, *, illness: str | None = None, failure: Failure | None = None
) -> Result:
    stream, times, began = ask.stream, ask.stream.token_times_seconds, ask.sent_seconds
    sent = Result(
        outcome=outcome,
        illness=illness,
        failure=failure,
        prompt_tokens=stream.prompt_tokens,
        generated_tokens=stream.generated_tokens,
        chunks=len(times),
        is_answered=began is not None and ask.status in (None, http.HTTPStatus.OK),
    )
    if began is None or not times:
        return sent
    timed = replace(
        sent,
        first_token_seconds=times[0] - began,
        gaps_seconds=tuple(b - a for a, b in pairwise(times)),
    )
    if outcome != "ok":
        return timed
    generated = stream.generated_tokens if stream.generated_tokens is not None else len(times)
    after_first = times[-1] - times[0]
    return replace(
        timed,
        per_token_seconds=after_first / (generated - 1) if generated > 1 else None,
        duration_seconds=times[-1] - began,
    )
