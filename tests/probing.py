"""Endpoints for probes: real servers on 127.0.0.1 that take a POST and stream by a script."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from burnmeter.config_probes import Probe
from burnmeter.sources.probe import target_of
from burnmeter.sources.probe_request import Result, send
from tests.servers import Behaviour, Server, Talk, answer

TIMEOUT_SECONDS = 0.6
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
UNDELIMITED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
DONE = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"


def hears(talk: Talk) -> None:
    """Wait for one POST with its whole body, and keep it."""
    found = b""
    with contextlib.suppress(OSError):
        while b"\r\n\r\n" not in found:
            found += talk.sock.recv(65536)
        head, _, rest = found.partition(b"\r\n\r\n")
        (length,) = (
            int(line[15:])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-len")
        )
        while len(rest) < length:
            rest += talk.sock.recv(65536)
        talk.server.requests.append((head + b"\r\n\r\n" + rest).decode("latin-1"))


def event(value: Any) -> bytes:
    """One event of JSON."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chat(text: str | None = None, *, finish: str | None = None, **delta: Any) -> bytes:
    """A part of a chat's answer."""
    words = {"content": text} if text is not None else {}
    choice = {"index": 0, "delta": {**delta, **words}, "finish_reason": finish}
    return event({"object": "chat.completion.chunk", "choices": [choice]})


def usage(prompt: int, generated: int) -> bytes:
    """The last event but one: what it took."""
    return event(
        {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": generated}}
    )


ROLE = chat("", role="assistant")
TEXT = (chat("one"), chat(" two"), chat(" three"))
FINISH = chat(finish="length")
GOOD = (ROLE, *TEXT, FINISH, usage(12, 3), DONE)


def chunk(data: bytes) -> bytes:
    """As one chunk of HTTP."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def streams(*events: bytes, pause_seconds: float = 0.0, head: bytes = HEAD) -> Behaviour:
    """Events, each as a chunk of its own, so far apart; then the end."""

    def behaviour(talk: Talk) -> None:
        hears(talk)
        talk.says(head)
        for one in events:
            if talk.sleeps(pause_seconds) or not talk.says(chunk(one)):
                return
        talk.says(END)

    return behaviour


def after_hearing(act: Callable[[Talk], object]) -> Behaviour:
    """Hear the request, then do something else."""

    def behaviour(talk: Talk) -> None:
        hears(talk)
        act(talk)

    return behaviour


def floods(piece: bytes) -> Behaviour:
    """The head, and then `piece` for ever."""

    def act(talk: Talk) -> None:
        talk.says(HEAD)
        while talk.says(piece):
            pass

    return after_hearing(act)


def answers(status: str, body: bytes = b'{"error": {"message": "no"}}', *headers: str) -> Behaviour:
    """A whole answer that is no stream."""
    return after_hearing(lambda talk: talk.says(answer(body, status, *headers)))


def probe(url: str, **changes: Any) -> Probe:
    """A probe of such a server; `changes` are its fields."""
    known: dict[str, Any] = {
        "name": "client",
        "url": url.replace("/metrics", "/v1/chat/completions"),
        "model": "tiny",
        "timeout_seconds": TIMEOUT_SECONDS,
        "max_tokens": 3,
    }
    return Probe(**(known | changes))


def sent(behaviour: Behaviour, **changes: Any) -> tuple[Result, str, str]:
    """What became of one request; the server's place; and the request as it came."""
    with Server(behaviour) as server:
        asked = probe(server.url, **changes)
        result = send(asked, target_of(asked, {}))
        return result, f"127.0.0.1:{server.port}", "".join(server.requests)


def key_file(folder: Path, key: str) -> str:
    """A file with a key."""
    path = folder / "key"
    path.write_text(f"{key}\n", encoding="utf-8")
    return str(path)
