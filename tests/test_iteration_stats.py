"""TensorRT-LLM's JSON list, which reading empties: read only by leave, from real servers."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from burnmeter.inspection import inspect
from burnmeter.model import PageReading, Target
from burnmeter.sources.engines import EngineReader
from tests.reading import reader, target
from tests.servers import PAGE, Server, Talk, answer

EMPTIES = (
    "this is TensorRT-LLM's list of iteration stats, and reading it empties it: set `url` of target"
    " `chat-a` to /prometheus/metrics, which needs `return_perf_metrics: true` in the engine's"
    " config, or set `is_only_reader: true` if nobody else reads it"
)


def step(number: int, **changed: Any) -> dict[str, Any]:
    """One row as the PyTorch backend of 1.2 writes it, with what it does not have as null."""
    row: dict[str, Any] = {
        "timestamp": "11-23-2026 10:00:00.000000",
        "iter": number,
        "iterLatencyMS": 12.5,
        "newActiveRequestsQueueLatencyMS": 0.0,
        "numNewActiveRequests": 0,
        "numActiveRequests": 3,
        "numQueuedRequests": 2,
        "numCompletedRequests": 0,
        "maxNumActiveRequests": 256,
        "gpuMemUsage": 40_000_000_000,
        "cpuMemUsage": 0,
        "pinnedMemUsage": 0,
        "kvCacheStats": {
            "maxNumBlocks": 1000,
            "freeNumBlocks": 750,
            "usedNumBlocks": 250,
            "tokensPerBlock": 32,
            "reusedBlocks": 5,
            "missedBlocks": 20,
            "cacheHitRate": 0.2,
        },
        "staticBatchingStats": None,
        "inflightBatchingStats": {
            "numScheduledRequests": 3,
            "numContextRequests": 1,
            "numGenRequests": 2,
            "numPausedRequests": 0,
            "numCtxTokens": 128,
            "microBatchId": 0,
            "avgNumDecodedTokensPerIter": 0,
        },
        "specDecodingStats": None,
        "attentionDpRank": 0,
    }
    return row | changed


class Engine:
    """Serves each of its answers once, like the engine that forgets what it has told."""

    def __init__(self, *answers: Any) -> None:
        self.bodies = [a if isinstance(a, bytes) else json.dumps(a).encode() for a in answers]

    def __call__(self, talk: Talk) -> None:
        while talk.hears():
            body = self.bodies.pop(0) if self.bodies else b"[]"
            talk.says(answer(body, "200 OK", "Content-Type: application/json"))


@contextmanager
def reading(*answers: Any) -> Iterator[tuple[EngineReader, Target, Server]]:
    with Server(Engine(*answers)) as server, reader() as made:
        yield made, replace(target(server.url), is_only_reader=True), server


def text_of(read: PageReading) -> str:
    assert read.failure is None
    assert read.text is not None
    return read.text


def gauges(text: str) -> Mapping[str, float]:
    """Of its only model, which it never names."""
    return inspect(text).gauges.get("unnamed", {})


# --- whose list it is ----------------------------------------------------------------------------


def test_a_list_that_others_may_want_is_asked_for_once_and_then_left_alone() -> None:
    with Server(Engine([step(1)])) as server, reader() as made:
        readings = [made.read(target(server.url)) for _ in range(3)]

    assert [r.failure for r in readings] == [("not_metrics", EMPTIES)] * 3
    assert len(server.requests) == 1


@pytest.mark.parametrize("change", [{"pid": 2}, {"started_timestamp_seconds": 2.0}])
def test_another_process_at_that_address_is_asked_again(change: dict[str, Any]) -> None:
    with Server(Engine([step(1)], PAGE)) as server, reader() as made:
        before = made.read(target(server.url))
        after = made.read(replace(target(server.url), **change))

    assert before.failure is not None
    assert after.text == PAGE.decode()


def test_a_list_that_is_only_ours_is_a_page_that_the_dialect_reads() -> None:
    with reading([step(1, numActiveRequests=7), step(2, numCompletedRequests=4)]) as (made, at, _):
        read = made.read(at)

    found = inspect(text_of(read))
    assert (found.engine, found.role, found.unknown_families) == ("trtllm", "engine", ())
    assert found.models["unnamed"].requests == {"ok": 4.0}
    assert gauges(text_of(read)) == {
        "running_requests": 3.0,
        "waiting_requests": 2.0,
        "kv_cache_used_ratio": 0.25,
    }


# --- from lists to counts ------------------------------------------------------------------------


def test_what_each_step_completed_is_added_up_from_read_to_read() -> None:
    first = [step(n, numCompletedRequests=n) for n in (1, 2, 3)]
    speculation = {"numDraftTokens": 20, "numAcceptedTokens": 15}
    second = [step(4, numCompletedRequests=5, specDecodingStats=speculation)]
    with reading(first, second) as (made, at, _):
        before, after = text_of(made.read(at)), text_of(made.read(at))

    assert inspect(before).models["unnamed"].requests == {"ok": 6.0}
    assert inspect(after).models["unnamed"].requests == {"ok": 11.0}
    assert inspect(after, before).models["unnamed"].requests == {"ok": 5.0}
    assert 'trtllm_spec_decode_num_draft_tokens_total{read_from="iteration_stats"} 20.0' in after


def test_an_empty_list_counts_nothing_and_does_not_say_that_gauges_still_hold() -> None:
    with reading([step(1, numCompletedRequests=4)], []) as (made, at, _):
        before, after = text_of(made.read(at)), text_of(made.read(at))

    assert inspect(after, before).models["unnamed"].requests == {"ok": 0.0}
    assert gauges(after) == {}


def test_an_engine_that_never_told_a_step_is_known_and_has_counted_nothing() -> None:
    with reading([]) as (made, at, _):
        found = inspect(text_of(made.read(at)))

    assert (found.engine, found.models) == ("trtllm", {})
    assert found.not_available["requests_total"] == "this page has counted nothing of it yet"


def test_a_new_process_begins_at_zero_whether_its_number_or_its_steps_tell() -> None:
    answers = [[step(5000, numCompletedRequests=9)], [step(1, numCompletedRequests=2)]]
    with reading(*answers, [step(2, numCompletedRequests=3)]) as (made, at, _):
        old, steps_fell = text_of(made.read(at)), text_of(made.read(at))
        other_pid = text_of(made.read(replace(at, pid=7)))

    assert inspect(old).models["unnamed"].requests == {"ok": 9.0}
    assert inspect(steps_fell).models["unnamed"].requests == {"ok": 2.0}
    assert inspect(other_pid).models["unnamed"].requests == {"ok": 3.0}


def test_micro_batches_that_end_out_of_order_are_no_new_process() -> None:
    rows = [step(n, numCompletedRequests=1) for n in (200, 202, 201, 203)]
    with reading(rows) as (made, at, _):
        found = inspect(text_of(made.read(at)))

    assert found.models["unnamed"].requests == {"ok": 4.0}


def test_ranks_each_have_their_own_batch_and_a_copy_of_the_firsts_active_requests() -> None:
    def rank(number: int, *, used: int, **changed: Any) -> dict[str, Any]:
        batch = {"numContextRequests": number, "numGenRequests": 10 * number + 4}
        cache = {"usedNumBlocks": used, "maxNumBlocks": 1000}
        inner = {"inflightBatchingStats": batch, "kvCacheStats": cache}
        return step(1, attentionDpRank=number, numActiveRequests=4, **inner, **changed)

    none_here = {"numQueuedRequests": 0, "numCompletedRequests": 0}
    rows = [rank(0, used=100, numCompletedRequests=2), rank(1, used=600, **none_here)]
    with reading(rows) as (made, at, _):
        text = text_of(made.read(at))

    assert inspect(text).models["unnamed"].requests == {"ok": 2.0}
    assert gauges(text) == {
        "running_requests": 19.0,  # 0 + 4 of the first, 1 + 14 of the second
        "waiting_requests": 2.0,
        "kv_cache_used_ratio": 0.6,
    }


def test_a_backend_that_tells_less_is_read_as_far_as_it_goes() -> None:
    rows = [{"numActiveRequests": 1, "kvCacheStats": {"usedNumBlocks": 3, "maxNumBlocks": 0}}]
    odd = [{"iter": 7, "numActiveRequests": True, "numQueuedRequests": -1, "kvCacheStats": []}]
    absurd = b'[{"numCompletedRequests": 1e999, "numQueuedRequests": NaN, "iter": %s}]' % (
        b"9" * 400
    )
    with reading(rows, odd, absurd) as (made, at, _):
        little, nothing, wild = (text_of(made.read(at)) for _ in range(3))

    assert gauges(little) == {"running_requests": 1.0}
    assert (gauges(nothing), gauges(wild)) == ({}, {})
    assert inspect(wild).models == {}


@pytest.mark.parametrize(
    "body", [b'[{"iter": 1}', b"[1, 2]", b"[" * 100_000, b"[9999]"], ids=["cut", "no", "deep", "9"]
)
def test_json_that_is_no_list_of_steps_is_told(body: bytes) -> None:
    with reading(body[:99_000]) as (made, at, _):
        failure = made.read(at).failure

    assert failure is not None
    assert failure.kind == "not_metrics"
    assert failure.message.startswith("target `chat-a` answered JSON that is no list of steps: `[")


def test_other_pages_pass_unchanged_and_a_json_object_is_no_page() -> None:
    with reading(PAGE, b'{"detail": "Not Found"}') as (made, at, _):
        page, other = made.read(at), made.read(at)

    assert page.text == PAGE.decode()
    assert other.text == '{"detail": "Not Found"}'  # page.py says what is wrong with it
