"""A streamed answer of an OpenAI-compatible endpoint: when its tokens came, and how it ended.

It reads lines and knows no socket. Surprising: a stream of status 200 may hold an error, or end
without saying that it has; both are failures for whoever waits for the rest. An endpoint's words
are never kept: they may repeat what was asked.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

LINE_BYTES: Final = 65_536
MOST_TOKENS: Final = 10_000_000
"""A usage above it is no count."""
TEXTS: Final = ("content", "reasoning_content", "reasoning", "text")
"""Where a part of an answer has its text: of chat, of models that think aloud, of completions."""
COUNTS: Final = {"prompt_tokens": "prompt_tokens", "generated_tokens": "completion_tokens"}
"""Field -> its key in `usage`."""
CALLS: Final = ("tool_calls", "function_call")
"""Where a part of an answer has what is to be called."""
BAD_ENDS: Final = ("error", "abort")

ReadLine = Callable[[int], bytes]
Clock = Callable[[], float]


class Unserved(Exception):  # noqa: N818 - it says what became of the request, not of us
    """The endpoint took the request and did not serve it. The text is for people."""


@dataclass(slots=True, kw_only=True)
class Stream:
    """What one stream has brought so far. Times are of the caller's clock."""

    token_times_seconds: list[float] = field(default_factory=list)
    """When each part with text came; a part may hold several tokens."""
    prompt_tokens: int | None = None
    generated_tokens: int | None = None
    """By the endpoint's own word; None: it has not said."""
    is_finished: bool = False
    """It has said that it ends."""
    has_call: bool = False
    """It has called a tool, which is an answer without text."""

    @property
    def chunks(self) -> int:
        """Parts with text."""
        return len(self.token_times_seconds)

    @property
    def has_token(self) -> bool:
        """Anything was generated, by what came or by the endpoint's own count."""
        return self.chunks > 0 or self.has_call or (self.generated_tokens or 0) > 0


def read(stream: Stream, read_line: ReadLine, clock: Clock) -> None:
    """Fill `stream` up to the end of the answer. Raises Unserved, and what `read_line` raises.

    What came before stays in `stream` in either case.
    """
    data: list[bytes] = []
    kind = b""
    while line := read_line(LINE_BYTES + 1):
        if len(line) > LINE_BYTES:
            raise Unserved(f"sent a line of more than {LINE_BYTES} bytes")
        name, _, value = line.rstrip(b"\r\n").partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
        elif line.strip() == b"":
            if data and _take(stream, b"\n".join(data), kind, clock()):
                return
            data, kind = [], b""
        elif not stream.chunks and line[:1] in b"{<":
            raise Unserved("answered, but not with a stream")
    # The blank line after the last event may be missing.
    if data:
        _take(stream, b"\n".join(data), kind, clock())
    if not stream.is_finished:
        raise Unserved(f"ended its stream after {stream.chunks} parts, without saying so")


def _take(stream: Stream, data: bytes, kind: bytes, now_seconds: float) -> bool:
    """Take in one event; true if it is the last."""
    if data.strip() == b"[DONE]":
        stream.is_finished = True
        return True
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        raise Unserved("sent an event that is no JSON") from None
    if kind == b"error" or not isinstance(event, dict) or event.get("error") is not None:
        raise Unserved(f"sent an error inside its stream, after {stream.chunks} parts")
    _count(stream, event.get("usage"))
    choices = event.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            _choose(stream, choice, now_seconds)
    return False


def _choose(stream: Stream, choice: dict[str, Any], now_seconds: float) -> None:
    delta = choice.get("delta")
    parts = [choice, *([delta] if isinstance(delta, dict) else [])]
    if any(isinstance(part.get(text), str) and part[text] for part in parts for text in TEXTS):
        stream.token_times_seconds.append(now_seconds)
    stream.has_call |= any(part.get(call) for part in parts for call in CALLS)
    reason = choice.get("finish_reason")
    if reason in BAD_ENDS:
        raise Unserved(f"gave up its stream after {stream.chunks} parts")
    if isinstance(reason, str) and reason:
        stream.is_finished = True


def _count(stream: Stream, usage: object) -> None:
    """The endpoint's own count; some tell it in every event, the last one counts."""
    if not isinstance(usage, dict):
        return
    for name, key in (
        ("prompt_tokens", "prompt_tokens"),
        ("generated_tokens", "completion_tokens"),
    ):
        count = usage.get(key)
        if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MOST_TOKENS:
            setattr(stream, name, count)
