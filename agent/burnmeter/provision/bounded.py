"""What every client of somebody's HTTP API here shares: answers within bounds, reasons for people.

It knows no API. A server that sends a byte a second keeps each read in time and never ends, so an
answer is bounded as a whole: in size, and from its first byte in time.
"""

import re
import time
from typing import Final

import urllib3

from burnmeter.located import shown

PIECE_BYTES: Final = 1_000_000


class TooMuchError(Exception):
    """An answer that is too long or takes too long; its text completes `an answer ...`."""


def body(answer: urllib3.BaseHTTPResponse, *, most_bytes: int, seconds: float) -> bytes:
    """All of an answer. Raises TooMuchError, and what urllib3 raises."""
    until = time.monotonic() + seconds
    found = bytearray()
    while piece := answer.read1(PIECE_BYTES):
        found += piece
        is_late = time.monotonic() > until
        if is_late or len(found) > most_bytes:
            answer.close()  # What is left of it must not be read as the next answer.
            raise TooMuchError(
                f"that takes more than {seconds:g} s"
                if is_late
                else f"of more than {most_bytes} bytes"
            )
    answer.release_conn()
    return bytes(found)


def reason(error: BaseException) -> str:
    """The last words of a chain of errors, without the addresses of objects."""
    inner = getattr(error, "reason", None)
    said = str(inner if isinstance(inner, BaseException) else error)
    said = re.sub(r"\[Errno -?\d+\] ", "", said)  # A person reads what follows it.
    return shown(said.rpartition(": ")[2] or type(error).__name__, limit=200)
