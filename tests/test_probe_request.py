"""One probe against real servers that answer well, slowly, falsely, or not at all."""

import contextlib
import json
import ssl
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter.model import Failure
from burnmeter.sources import probe_stream
from burnmeter.sources.probe import target_of
from burnmeter.sources.probe_request import BYTES_BESIDE, BYTES_PER_TOKEN, Result, send
from burnmeter.sources.probe_stream import LINE_BYTES, Stream, Unserved
from tests import probing
from tests.probing import DONE, END, FINISH, GOOD, HEAD, ROLE, TEXT, TIMEOUT_SECONDS, UNDELIMITED
from tests.servers import Behaviour, Server, answer, is_silent

SPARE_SECONDS = 1.0
"""How much later than its timeout a request may end on a busy machine."""
PAUSE_SECONDS = 0.05
KEY = "sk-hunter2-hunter2-hunter2"


def read(*lines: bytes) -> Stream:
    """What a stream of these lines comes to; each is heard a second after the one before."""
    stream, rest, now = Stream(), list(lines), [0.0]

    def read_line(_: int) -> bytes:
        now[0] += 1.0
        return rest.pop(0) if rest else b""

    probe_stream.read(stream, read_line, lambda: now[0])
    return stream


# --- served ------------------------------------------------------------------------------------


def test_a_stream_is_timed_from_its_first_text_and_counted_by_its_usage() -> None:
    result, _, _ = probing.sent(probing.streams(*GOOD, pause_seconds=PAUSE_SECONDS))

    assert (result.outcome, result.illness, result.failure) == ("ok", None, None)
    assert (result.prompt_tokens, result.generated_tokens, result.chunks) == (12, 3, 3)
    # The role comes after one pause, the texts after two, three and four.
    assert result.first_token_seconds is not None
    assert result.first_token_seconds >= 2 * PAUSE_SECONDS
    assert len(result.gaps_seconds) == 2
    assert result.duration_seconds is not None
    assert result.duration_seconds >= 4 * PAUSE_SECONDS
    assert result.duration_seconds == pytest.approx(
        result.first_token_seconds + sum(result.gaps_seconds)
    )
    assert result.per_token_seconds == pytest.approx(sum(result.gaps_seconds) / 2)


def test_the_request_is_marked_and_says_what_the_config_says() -> None:
    _, place, heard = probing.sent(probing.streams(*GOOD), prompt="Name ten fish.", max_tokens=7)

    assert heard.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"\r\nHost: {place}\r\n" in heard
    assert "\r\nUser-Agent: burnmeter-probe/" in heard
    assert "\r\nX-Request-Id: burnmeter-probe-" in heard
    assert "Authorization" not in heard
    assert heard.endswith(
        '{"model": "tiny", "max_tokens": 7, "user": "burnmeter-probe",'
        ' "messages": [{"role": "user", "content": "Name ten fish."}],'
        ' "temperature": 0, "stream": true, "stream_options": {"include_usage": true}}'
    )


def test_completions_have_a_prompt_and_texts() -> None:
    texts = [probing.event({"choices": [{"text": word}]}) for word in ("a", "b")]
    end = probing.event({"choices": [{"text": "", "finish_reason": "stop"}]})

    result, _, heard = probing.sent(probing.streams(*texts, end), engine_api="completions")

    assert (result.outcome, result.chunks, result.generated_tokens) == ("ok", 2, None)
    assert '"prompt": "Count from' in heard
    assert "messages" not in heard


def test_without_a_usage_the_parts_with_text_are_counted() -> None:
    result, _, _ = probing.sent(probing.streams(ROLE, *TEXT, FINISH, DONE))

    assert (result.outcome, result.generated_tokens, result.chunks) == ("ok", None, 3)
    assert result.per_token_seconds == pytest.approx(sum(result.gaps_seconds) / 2)


def test_a_tokens_mean_is_over_the_usage_where_parts_hold_several() -> None:
    events = (*TEXT, FINISH, probing.usage(5, 9), DONE)
    result, _, _ = probing.sent(probing.streams(*events, pause_seconds=PAUSE_SECONDS))

    assert result.per_token_seconds == pytest.approx(sum(result.gaps_seconds) / 8)


@pytest.mark.parametrize(
    "events",
    [(*TEXT, DONE), (*TEXT, FINISH), (*TEXT, FINISH[:-2])],
    ids=["only DONE", "only a reason", "no blank line at the end"],
)
def test_an_end_may_be_said_in_either_way(events: tuple[bytes, ...]) -> None:
    assert probing.sent(probing.streams(*events))[0].outcome == "ok"


def test_a_stream_without_chunks_of_http_ends_with_its_connection() -> None:
    behaviour = probing.after_hearing(lambda talk: talk.says(UNDELIMITED + b"".join(GOOD)))

    assert probing.sent(behaviour)[0].outcome == "ok"


def test_thinking_aloud_is_text_and_comments_and_other_fields_are_nothing() -> None:
    stream = read(
        b": keep-alive\n",
        b"id: 7\r\n",
        b"retry: 5\n",
        b'data: {"choices": [{"delta": {"reasoning_content": "hm"}}]}\r\n',
        b"\r\n",
        b'data:{"choices": [{"delta":\n',
        b'data: {"content": "x"}, "finish_reason": "stop"}]}\n',
        b"\n",
    )

    assert stream.token_times_seconds == [5.0, 8.0]
    assert stream.is_finished


def test_a_role_an_empty_text_and_an_unknown_event_are_no_tokens() -> None:
    stream = read(
        ROLE.rstrip() + b"\n",
        b"\n",
        b'data: {"choices": [{"delta": {"content": null}}, 7, {"delta": 3}]}\n',
        b"\n",
        b'data: {"choices": "many"}\n',
        b"\n",
        b"data: [DONE]\n",
        b"\n",
    )

    assert stream.chunks == 0


@pytest.mark.parametrize(
    "events",
    [
        (probing.chat(tool_calls=[{"function": {"name": "count"}}]), FINISH, DONE),
        (probing.chat(finish="stop"), probing.usage(12, 1), DONE),
    ],
    ids=["a call of a tool", "only a count"],
)
def test_an_answer_without_text_is_one_if_anything_was_generated(
    events: tuple[bytes, ...],
) -> None:
    result, _, _ = probing.sent(probing.streams(*events))

    assert (result.outcome, result.chunks, result.first_token_seconds) == ("ok", 0, None)


@pytest.mark.parametrize("value", ["true", "-1", '"3"', "3.5", "1e30", "null", "10000001"])
def test_a_usage_that_is_no_count_is_not_believed(value: str) -> None:
    told = f'data: {{"choices": [], "usage": {{"completion_tokens": {value}}}}}\n'

    assert read(told.encode(), b"\n", b"data: [DONE]\n", b"\n").generated_tokens is None


# --- not served --------------------------------------------------------------------------------

ERROR = probing.event({"error": {"message": "out of memory", "code": 500}})
UNSERVED: dict[str, tuple[Behaviour, str]] = {
    "an error inside a 200": (
        probing.streams(ROLE, TEXT[0], ERROR, DONE),
        "sent an error inside its stream, after 1 parts",
    ),
    "an error event": (
        probing.streams(b'event: error\ndata: {"message": "x"}\n\n'),
        "sent an error inside its stream, after 0 parts",
    ),
    "a reason that is an error": (
        probing.streams(*TEXT, probing.chat(finish="abort"), DONE),
        "gave up its stream after 3 parts",
    ),
    "an end without saying so": (
        probing.streams(*TEXT),
        "ended its stream after 3 parts, without saying so",
    ),
    "a cut between two chunks": (
        probing.after_hearing(lambda talk: talk.says(HEAD + probing.chunk(TEXT[0]))),
        "ended its stream after 1 parts, without saying so",
    ),
    "an event that is no JSON": (
        probing.streams(b"data: {oops\n\n"),
        "sent an event that is no JSON",
    ),
    "an answer that is no stream": (
        probing.answers("200 OK", b'{"choices": [{"message": {"content": "hi"}}]}'),
        "answered, but not with a stream",
    ),
    "a web page": (probing.answers("200 OK", b"<html>"), "answered, but not with a stream"),
    "nothing at all": (
        probing.answers("200 OK", b""),
        "ended its stream after 0 parts, without saying so",
    ),
    "an end without a token": (
        probing.streams(DONE),
        "ended its stream without a token",
    ),
    "an empty text and its end": (
        probing.streams(ROLE, FINISH, probing.usage(12, 0), DONE),
        "ended its stream without a token",
    ),
    "a packed answer": (
        probing.answers("200 OK", b"x", "Content-Encoding: gzip"),
        "packed its answer, though it was asked not to",
    ),
    "500": (probing.answers("500 Internal Server Error"), "answered HTTP 500"),
    "503": (probing.answers("503 Service Unavailable"), "answered HTTP 503"),
    "429": (probing.answers("429 Too Many Requests"), "answered HTTP 429"),
    "204": (probing.answers("204 No Content", b""), "answered HTTP 204"),
    "a huge line": (
        probing.streams(b"data: " + b"x" * (LINE_BYTES + 9)),
        f"sent a line of more than {LINE_BYTES} bytes",
    ),
    "no HTTP": (probing.after_hearing(lambda talk: talk.says(b"hello\r\n")), "not in HTTP"),
    "a hang-up": (probing.after_hearing(lambda _: None), "closed the connection without an ans"),
}


@pytest.mark.parametrize("name", UNSERVED)
def test_whoever_waits_for_the_rest_was_not_served(name: str) -> None:
    behaviour, words = UNSERVED[name]
    result, place, _ = probing.sent(behaviour)

    assert (result.outcome, result.failure) == ("error", None)
    assert result.illness is not None
    assert result.illness.startswith(place)
    assert words in result.illness
    assert "out of memory" not in repr(result)
    assert (result.duration_seconds, result.per_token_seconds) == (None, None)


LATE: dict[str, tuple[Behaviour, str]] = {
    "silent after its head": (
        probing.after_hearing(lambda talk: talk.says(HEAD) and talk.sleeps(60.0)),
        "bytes but no end within 0.6 s",
    ),
    "dripping its head": (
        probing.after_hearing(lambda talk: talk.drips(HEAD[:17] + b"A: " + b"x" * 1000, 0.05)),
        "bytes but no end within 0.6 s",
    ),
    "dripping its stream": (
        probing.after_hearing(lambda talk: talk.drips(HEAD + probing.chunk(TEXT[0]), 0.05)),
        "bytes but no end within 0.6 s",
    ),
    "without end": (
        probing.streams(*[TEXT[0]] * 1000, pause_seconds=0.02),
        "bytes but no end within 0.6 s",
    ),
}


@pytest.mark.parametrize("name", LATE)
def test_a_request_ends_in_time_whatever_the_endpoint_does(name: str) -> None:
    behaviour, words = LATE[name]
    began = time.monotonic()
    result, place, _ = probing.sent(behaviour)

    assert time.monotonic() - began < TIMEOUT_SECONDS + SPARE_SECONDS
    assert (result.outcome, result.failure) == ("error", None)
    assert result.illness is not None
    assert result.illness.startswith(place)
    assert words in result.illness


def test_an_endpoint_that_says_nothing_in_time_has_not_answered_at_all() -> None:
    began = time.monotonic()
    result, place, _ = probing.sent(is_silent)

    assert time.monotonic() - began < TIMEOUT_SECONDS + SPARE_SECONDS
    assert (result.outcome, result.illness) == ("error", None)
    words = f"{place} took the connection but said nothing within 0.6 s"
    assert result.failure is not None
    assert result.failure.kind == "timeout"
    assert result.failure.message.startswith(words)


def test_a_flood_ends_at_the_limit_of_bytes() -> None:
    flood = probing.floods(probing.chunk(b"".join(TEXT) * 100))
    result, place, _ = probing.sent(flood, max_tokens=1, timeout_seconds=20.0)

    limit = BYTES_BESIDE + BYTES_PER_TOKEN
    assert result.illness == f"{place} sent more than {limit} bytes"


def test_first_tokens_before_a_failure_are_kept() -> None:
    result, _, _ = probing.sent(probing.streams(ROLE, *TEXT, ERROR))

    assert result.outcome == "error"
    assert result.first_token_seconds is not None
    assert len(result.gaps_seconds) == 2


def test_where_nothing_listens_the_request_has_failed() -> None:
    with Server(is_silent) as server:
        asked = probing.probe(server.url)
    result = send(asked, target_of(asked, {}))

    words = f"nothing listens on 127.0.0.1:{server.port}; is the engine running?"
    assert (result.outcome, result.illness) == ("error", None)
    assert result.failure == Failure("refused", words)
    assert not result.is_answered


@pytest.mark.parametrize("depth", [1, 100_000])
def test_an_event_of_any_shape_is_no_bug_of_ours(depth: int) -> None:
    with pytest.raises(Unserved):
        read(b"data: " + b"[" * depth + b"]" * depth + b"\n", b"\n")


# --- our own fault -----------------------------------------------------------------------------


def rejected(behaviour: Behaviour) -> Result:
    result, _, _ = probing.sent(behaviour)
    assert (result.outcome, result.illness) == ("rejected", None)
    return result


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ("400 Bad Request", "http", "answered HTTP 400 to probe `client`"),
        ("401 Unauthorized", "http", "is its `token_file` or `token_environment` the right one?"),
        ("404 Not Found", "http", "are the path in its `url` and its `model` right?"),
        ("308 Moved", "redirect", "put the final address into `url` of probe `client`"),
    ],
)
def test_a_request_that_was_wrong_accuses_nobody(status: str, kind: str, words: str) -> None:
    failure = rejected(probing.answers(status)).failure

    assert failure is not None
    assert failure.kind == kind
    assert words in failure.message


# --- the key -----------------------------------------------------------------------------------


def test_the_key_is_sent_and_nowhere_else(tmp_path: Path) -> None:
    path = probing.key_file(tmp_path, KEY)
    result, _, heard = probing.sent(probing.streams(*GOOD), token_file=path)

    assert f"\r\nAuthorization: Bearer {KEY}\r\n" in heard
    assert KEY not in repr(result)


def test_a_key_in_the_environment_is_read_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_KEY", KEY)
    _, _, heard = probing.sent(probing.streams(*GOOD), token_environment="PROBE_KEY")

    assert f"Bearer {KEY}\r\n" in heard


def test_without_its_key_nothing_is_sent(tmp_path: Path) -> None:
    with Server(is_silent) as server:
        asked = probing.probe(server.url, token_file=str(tmp_path / "none"))
        result = send(asked, target_of(asked, {}))
        connections = server.connections

    assert (result.outcome, connections) == (None, 0)
    assert result.failure is not None
    assert result.failure.kind == "no_permission"
    assert "`token_file` of probe `client` cannot be read" in result.failure.message


def test_an_endpoint_that_repeats_the_key_is_not_quoted(tmp_path: Path) -> None:
    path = probing.key_file(tmp_path, KEY)
    for status in ("401 Unauthorized", "500 Error", "200 OK"):
        body = f'{{"error": "wrong key {KEY}"}}'.encode()
        behaviour = probing.after_hearing(
            lambda talk, s=status, b=body: talk.says(answer(b, f"{s} {KEY}"))
        )
        assert KEY not in repr(probing.sent(behaviour, token_file=path)[0])
    leaky = probing.streams(probing.event({"error": KEY}), END)
    assert KEY not in repr(probing.sent(leaky, token_file=path)[0])


# --- over TLS ----------------------------------------------------------------------------------


def test_a_certificate_that_nobody_signed_gets_no_key(tmp_path: Path, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(probing.streams(*GOOD), tls=context) as server:
        path = probing.key_file(tmp_path, KEY)
        asked = probing.probe(server.url, token_file=path)
        result = send(asked, target_of(asked, {}))
        heard = server.requests

    assert (result.outcome, heard, result.is_answered) == ("error", [], False)
    assert result.failure is not None
    assert "shows a certificate we cannot trust" in result.failure.message


def test_a_stream_is_read_over_tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(probing.streams(*GOOD, pause_seconds=0.01), tls=context) as server:
        asked = probing.probe(server.url)
        result = send(asked, target_of(asked, {}))

    assert (result.outcome, result.chunks) == ("ok", 3)


# --- any bytes ---------------------------------------------------------------------------------

LINES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"", b"data: [DONE]", b"event: error", ROLE.strip(), *map(bytes.strip, TEXT)]),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=2),
            st.dictionaries(
                st.sampled_from(["choices", "delta", "text", "content", "finish_reason", "usage"]),
                inner,
                max_size=3,
            ),
        ),
    ).map(lambda value: b"data: " + json.dumps(value).encode()),
)


@given(st.lists(LINES, max_size=8))
def test_a_stream_of_any_bytes_ends_well_or_is_unserved(lines: list[bytes]) -> None:
    with contextlib.suppress(Unserved):
        assert read(*(line + b"\n" for line in lines)).is_finished
