"""What an HTTP answer, or its absence, means for a target: a page's text, or a failure's words.

It opens nothing and waits for nothing but the response it is given. Messages are for whoever is
woken at night: who answered what, and what to change. They hold neither the body, nor a token, nor
a query (which may be a key), and a foreign word only if it is short and printable.
"""

import http
import http.client
import socket
import ssl
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from urllib3.exceptions import LocationParseError, ProtocolError
from urllib3.exceptions import SSLError as WrappedSslError
from urllib3.exceptions import TimeoutError as WrappedTimeoutError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Url, parse_url

from burnmeter.model import Failure, Target
from burnmeter.sources.connection import Exchange, LimitReached

CHUNK_BYTES: Final = 65536
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
GZIP_WINDOW: Final = 31
"""zlib's word for "a gzip header, largest window"."""


class Refusal(Exception):  # noqa: N818 - a finding about the server, not an error of ours
    """Why an answer is not taken."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(kind, message)


def port_of(url: Url) -> int:
    """The port that a URL means."""
    if url.port is not None:
        return url.port
    return 443 if url.scheme == "https" else 80


def place_of(url: Url) -> str:
    """How messages name the server."""
    return f"{url.host}:{port_of(url)}"


def check_head(response: BaseHTTPResponse, target: Target, url: Url, body_bytes: int) -> None:
    """Refuse what status and headers already tell. Raises Refusal."""
    place, status = place_of(url), response.status
    if status in REDIRECTS:
        raise Refusal("redirect", _redirect_words(response, target, place))
    if status != http.HTTPStatus.OK:
        raise Refusal("http", f"{place} answered HTTP {status}{_status_words(status, target, url)}")
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise Refusal("html", _html_words(place, target))
    declared = response.headers.get("Content-Length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > body_bytes:
        raise Refusal("too_large", f"{place} announced {declared} bytes; the limit is {body_bytes}")


def body_of(response: BaseHTTPResponse, url: Url, body_bytes: int) -> bytes:
    """The whole body, unpacked. Raises Refusal, and what the connection raises."""
    place = place_of(url)
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    pieces = _chunks(response)
    if coding in ("gzip", "x-gzip"):
        pieces = _unpacked(pieces, place)
    elif coding not in ("", "identity"):
        raise Refusal(
            "encoding", f"{place} packed its answer as {shown(coding)}; only gzip was offered"
        )
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > body_bytes:
            raise Refusal("too_large", f"{place} sent more than the limit of {body_bytes} bytes")
    return bytes(body)


def text_of(body: bytes, is_delimited: bool, target: Target, url: Url) -> str:
    """The page. `is_delimited`: the answer said where it ends. Raises Refusal."""
    place = place_of(url)
    if body[:256].lstrip().startswith(b"<"):
        # No line of metrics can begin so, and every web page and XML error does.
        raise Refusal("html", _html_words(place, target))
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(
            "encoding",
            f"{place} sent text that is not UTF-8: byte {error.start} is {body[error.start]:#04x}",
        ) from None
    if not is_delimited and not text.endswith("\n"):
        # Half a number would be a smaller counter, which growth would take for a restart. And
        # http.client takes headers that are cut for headers that are all there.
        raise Refusal("truncated", f"{place} closed the connection before its page had ended")
    return text


def explain(error: Exception, place: str, exchange: Exchange, timeout_seconds: float) -> Failure:
    """A failure's words for what sockets, TLS, http.client and urllib3 raise."""
    match error:
        case Refusal():
            return error.failure
        case LimitReached():
            return Failure("too_large", f"{place} sent more than {exchange.allowed_bytes} bytes")
        case TimeoutError() | WrappedTimeoutError():
            return Failure("timeout", f"{place} {_timeout_words(exchange, timeout_seconds)}")
        case ConnectionRefusedError():
            return Failure("refused", f"nothing listens on {place}; is the engine running?")
        case ssl.SSLCertVerificationError():
            return Failure(
                "unreachable",
                f"{place} shows a certificate we cannot trust: {error.verify_message}",
            )
        case ssl.SSLError() | WrappedSslError():
            reason = getattr(error, "reason", None)
            return Failure("unreachable", f"{place} does not speak TLS with us: {shown(reason)}")
        case socket.gaierror():
            return Failure("unreachable", f"{place}: the name cannot be found: {error.strerror}")
        case ConnectionError() | ProtocolError() | http.client.IncompleteRead():
            return Failure("truncated", f"{place} {_cut_words(exchange)}")
        case http.client.BadStatusLine():
            return Failure("not_metrics", f"{place} answered, but not in HTTP")
        case http.client.HTTPException():
            return Failure("too_large", f"{place} sent headers beyond measure")
        case LocationParseError() | UnicodeError():
            return Failure("unreachable", f"{place} is not a host that can be looked up")
        case OSError():
            return Failure("unreachable", f"{place} cannot be reached: {error.strerror}")
    return Failure("crashed", f"reading {place} failed with {type(error).__name__}; report this")


def shown(word: object) -> str:
    """A foreign word, made harmless."""
    return f"`{ascii(str(word))[1:-1][:60]}`"


def _chunks(response: BaseHTTPResponse) -> Iterator[bytes]:
    while chunk := response.read(CHUNK_BYTES, decode_content=False):
        yield chunk


def _unpacked(chunks: Iterable[bytes], place: str) -> Iterator[bytes]:
    """Unpack gzip in pieces of bounded size, so that a bomb is seen before it fills the memory."""
    decoder = zlib.decompressobj(GZIP_WINDOW)
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if decoder.eof:  # RFC 1952 2.2: members simply follow one another.
                    decoder = zlib.decompressobj(GZIP_WINDOW)
                yield decoder.decompress(rest, CHUNK_BYTES)
                rest = decoder.unconsumed_tail or decoder.unused_data
        yield decoder.flush()
    except zlib.error:
        raise Refusal("encoding", f"{place} sent gzip that cannot be unpacked") from None
    if not decoder.eof:
        raise Refusal("encoding", f"{place} sent gzip that stops before its end")


def metrics_off_words(target: Target) -> str | None:
    """Why a discovered engine answers without metrics; None: whoever wrote its URL may have erred.

    Nobody wrote the URL of a discovered target, so there is nothing in it to correct.
    """
    if target.origin != "process":
        return None
    return f"its metrics are probably off: {target.remedy or 'see how its engine turns them on'}"


def _status_words(status: int, target: Target, url: Url) -> str:
    name, off = f"target `{target.name}`", metrics_off_words(target)
    if status in (401, 403):
        if off is not None:
            return f"; list {target.url} under `targets`, with `token_file` or `token_environment`"
        if target.token_file is not None:
            return f" to the token in `token_file` of {name}"
        if target.token_environment is not None:
            return f" to the token in `token_environment` of {name}"
        return f"; set `token_file` or `token_environment` for {name}"
    if status == 404 and off is not None:
        return f"; no page at {shown(url.path)}, {off}"
    if status == 404:
        return (
            f"; no page at {shown(url.path)}, correct the path in `url` of {name}"
            " (TensorRT-LLM: /prometheus/metrics, NIM: /v1/metrics)"
        )
    if status == 501 and off is not None:
        return f"; {off}"
    if status == 501:
        return "; llama.cpp says so when its metrics are off: start it with --metrics"
    if status == 503:
        return "; the engine is starting, stopping or overloaded"
    return ""


def _redirect_words(response: BaseHTTPResponse, target: Target, place: str) -> str:
    try:
        to = parse_url(response.headers.get("Location", ""))
    except LocationParseError:
        to = Url()
    if to.scheme not in (None, "http", "https"):
        return f"{place} points to an address of {shown(to.scheme)}, which no page can be read from"
    where = "another path of its own" if to.host is None else shown(to.host)
    if target.origin == "process":
        return f"{place} points to {where}; list the final address under `targets`"
    return f"{place} points to {where}; put the final address into `url` of target `{target.name}`"


def _html_words(place: str, target: Target) -> str:
    off = metrics_off_words(target)
    if off is not None:
        return f"{place} answered with a web page, not metrics; {off}"
    return (
        f"{place} answered with a web page, not metrics;"
        f" is `url` of target `{target.name}` the engine's own port and path?"
    )


def _timeout_words(exchange: Exchange, timeout_seconds: float) -> str:
    if not exchange.is_connected:
        return f"did not take a connection within {timeout_seconds:g} s"
    if exchange.received_bytes == 0:
        return f"took the connection but said nothing within {timeout_seconds:g} s"
    return f"sent {exchange.received_bytes} bytes but no end within {timeout_seconds:g} s"


def _cut_words(exchange: Exchange) -> str:
    if exchange.received_bytes == 0:
        return "closed the connection without an answer"
    return f"closed the connection after {exchange.received_bytes} bytes, before the answer's end"
