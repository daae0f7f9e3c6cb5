"""Send requests to an engine and keep the truth about each, as its client saw it.

Not a benchmark: it is the other side that a metrics page is held against. Token counts are the
engine's own `usage`, never a count of chunks, since a chunk may hold several tokens. A stream that
ends in an error after its 200 is `broken`, as it is for the person who waits for it.
"""

import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to send. `abort_after_chunks`: drop the stream after so many; `key`: a bearer's.

    `priority` is SGLang's, where it was started to schedule by it.
    """

    prompt: str = "tell me of the sea"
    max_tokens: int = 16
    is_stream: bool = True
    abort_after_chunks: int | None = None
    model: str = "tiny"
    temperature: float = 0.0
    priority: int | None = None
    key: str | None = None
    """Sent as a bearer token."""

    def body(self) -> dict[str, Any]:
        """As JSON for /v1/completions; never ends before `max_tokens`."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": self.prompt,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "ignore_eos": True,
            "stream": self.is_stream,
        }
        if self.is_stream:
            body["stream_options"] = {"include_usage": True}
        if self.priority is not None:
            body["priority"] = self.priority
        return body


@dataclass(slots=True, kw_only=True)
class Answer:
    """What became of one request. Times are seconds since the load began; None: never came."""

    sent_seconds: float
    first_token_seconds: float | None = None
    finished_seconds: float | None = None
    status: int | None = None
    outcome: str = "no_answer"
    """ok, aborted (by us), http_<status>, broken (an error or an end in mid-stream), no_answer."""
    is_stream: bool = True
    chunks: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None
    """What the engine said of it: an HTTP body's or, in mid-stream, an event's words."""


@dataclass(frozen=True, slots=True)
class Truth:
    """All answers of one load."""

    answers: list[Answer] = field(default_factory=list)

    def requests(self) -> dict[str, int]:
        """Requests by outcome."""
        return dict(sorted(Counter(answer.outcome for answer in self.answers).items()))

    def prompt_tokens(self) -> int:
        """Of all answers that told."""
        return sum(answer.prompt_tokens or 0 for answer in self.answers)

    def completion_tokens(self) -> int:
        """Of all answers that told; an aborted stream never does."""
        return sum(answer.completion_tokens or 0 for answer in self.answers)

    def ttft_seconds(self) -> list[float]:
        """Time to first token of each stream that had one, sorted."""
        return sorted(
            answer.first_token_seconds - answer.sent_seconds
            for answer in self.answers
            if answer.first_token_seconds is not None
        )

    def as_json(self) -> dict[str, Any]:
        """Summary first, then every answer, in seconds to the microsecond."""
        answers = [asdict(answer) for answer in self.answers]
        for answer in answers:
            for name in ("sent_seconds", "first_token_seconds", "finished_seconds"):
                if answer[name] is not None:
                    answer[name] = round(answer[name], 6)
        return {
            "requests": self.requests(),
            "prompt_tokens": self.prompt_tokens(),
            "completion_tokens": self.completion_tokens(),
            "ttft_seconds": [round(ttft, 6) for ttft in self.ttft_seconds()],
            "answers": answers,
        }


def ok(count: int, *, max_tokens: int = 16, is_stream: bool = True) -> list[Ask]:
    """Requests that will be served to the end; each prompt is another, of another length."""
    return [
        Ask(
            prompt=f"{number}: tell me of the sea{' and of the wind' * (number % 5)}",
            max_tokens=max_tokens,
            is_stream=is_stream,
        )
        for number in range(count)
    ]


def with_priorities(count: int, *priorities: int | None, max_tokens: int = 16) -> list[Ask]:
    """Requests that will be served to the end, with these priorities in turn."""
    asks = ok(count, max_tokens=max_tokens)
    return [replace(ask, priority=priorities[n % len(priorities)]) for n, ask in enumerate(asks)]


def aborted(count: int, *, after_chunks: int = 3, max_tokens: int = 900) -> list[Ask]:
    """Streams that we drop after some chunks, long before their end."""
    return [
        Ask(prompt=f"{number}: go on", max_tokens=max_tokens, abort_after_chunks=after_chunks)
        for number in range(count)
    ]


def bad_value(count: int) -> list[Ask]:
    """Requests with a parameter out of range: HTTP 400."""
    return [Ask(temperature=-1.0)] * count


def too_long(count: int) -> list[Ask]:
    """Requests whose prompt does not fit the model's context: HTTP 400."""
    return [Ask(prompt="x" * 5000)] * count


def unknown_model(count: int) -> list[Ask]:
    """Requests for a model that is not served: HTTP 404."""
    return [Ask(model="no-such-model")] * count


def run_load(
    url: str, asks: Iterable[Ask], *, workers: int = 4, interval_seconds: float = 0.0
) -> Truth:
    """Send all, at most `workers` at once and no two within `interval_seconds`; wait for all."""
    began_seconds = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        futures = []
        for number, ask in enumerate(asks):
            wait_seconds = began_seconds + number * interval_seconds - time.monotonic()
            time.sleep(max(0.0, wait_seconds))
            futures.append(pool.submit(send, url, ask, began_seconds))
        return Truth([future.result() for future in futures])


@contextlib.contextmanager
def running(url: str, asks: Iterable[Ask], **pace: Any) -> Iterator[Truth]:
    """The load runs in the background while the body does; leaving waits for its end.

    The truth is empty until all have been answered.
    """
    truth = Truth()
    thread = threading.Thread(
        target=lambda: truth.answers.extend(run_load(url, asks, **pace).answers)
    )
    thread.start()
    try:
        yield truth
    finally:
        thread.join()


@contextlib.contextmanager
def lasting(url: str, asks: Sequence[Ask], **pace: Any) -> Iterator[None]:
    """The load begins again as it ends, in the background, for as long as the body runs."""
    is_over = threading.Event()

    def repeat() -> None:
        while not is_over.is_set():
            run_load(url, asks, **pace)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def send(url: str, ask: Ask, began_seconds: float) -> Answer:
    """One request on a connection of its own; a failure is an outcome, not an exception."""
    answer = Answer(sent_seconds=time.monotonic() - began_seconds, is_stream=ask.is_stream)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_SECONDS)
    headers = {"Content-Type": "application/json"}
    if ask.key is not None:
        headers["Authorization"] = f"Bearer {ask.key}"
    try:
        with contextlib.closing(connection):
            connection.request("POST", "/v1/completions", json.dumps(ask.body()), headers)
            with connection.getresponse() as response:
                receive(response, ask, answer, began_seconds)
    except (OSError, http.client.HTTPException):
        answer.outcome = "no_answer" if answer.status is None else "broken"
    answer.finished_seconds = time.monotonic() - began_seconds
    return answer


def receive(
    response: http.client.HTTPResponse, ask: Ask, answer: Answer, began_seconds: float
) -> None:
    """Fill in `answer` from a response that has begun."""
    answer.status = response.status
    if response.status != 200:
        answer.outcome = f"http_{response.status}"
        answer.error = response.read().decode(errors="replace")
        return
    answer.outcome = "broken"  # until its end has been seen
    if not ask.is_stream:
        take_usage(answer, json.loads(response.read()))
        answer.outcome = "ok"
        return
    for event in events(response):
        if event == "[DONE]":
            answer.outcome = "ok" if answer.completion_tokens is not None else "broken"
            return
        content = json.loads(event)
        if "error" in content:
            answer.error = event
            return
        take_usage(answer, content)
        take_chunk(answer, content, began_seconds)
        if answer.chunks == ask.abort_after_chunks:
            answer.outcome = "aborted"
            return


def events(response: http.client.HTTPResponse) -> Iterator[str]:
    """The data of each server-sent event."""
    while line := response.readline():
        if line.startswith(b"data: "):
            yield line[6:].decode().strip()


def take_usage(answer: Answer, content: dict[str, Any]) -> None:
    """Keep the engine's own count of tokens, if this part of the answer has it."""
    usage = content.get("usage")
    if usage is not None:
        answer.prompt_tokens = usage["prompt_tokens"]
        answer.completion_tokens = usage["completion_tokens"]


def take_chunk(answer: Answer, content: dict[str, Any], began_seconds: float) -> None:
    """Count a chunk with text in it, and remember when the first one came."""
    if any(choice.get("text") for choice in content.get("choices", ())):
        answer.chunks += 1
        if answer.first_token_seconds is None:
            answer.first_token_seconds = time.monotonic() - began_seconds
