"""TensorRT-LLM's JSON list of what each step of the engine did -> a metrics page's text.

Reading that list empties it, so whoever else reads it misses what we took. It is therefore taken
only from a target of which the config says that nobody else reads it; from any other it is asked
for once, since no address tells that it is one, and then left alone for an hour.

The list says what happened since it was last read. So counts are added up here, and begin anew with
a new process. Surprising: an empty list has no gauges, not the last ones; it says
that no step ended, which is as true of an idle engine as of one that hangs.
"""

import json
import time
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final

from burnmeter.model import Target
from burnmeter.sources.answers import Refusal, shown

LEFT_ALONE_SECONDS: Final = 3600.0
"""By then another engine may answer at that address."""
OUT_OF_ORDER_STEPS: Final = 100
"""Micro-batches end a little out of order; a new process begins at 0."""
BEFORE_JSON: Final = "\ufeff \t\r\n"
RUNNING: Final = "trtllm_num_requests_running"
WAITING: Final = "trtllm_num_requests_waiting"
KV_CACHE: Final = "trtllm_kv_cache_utilization"
COMPLETED: Final = "trtllm_num_requests_completed_total"
DRAFTED: Final = "trtllm_spec_decode_num_draft_tokens_total"
ACCEPTED: Final = "trtllm_spec_decode_num_accepted_tokens_total"
READ_FROM: Final = 'read_from="iteration_stats"'
"""A label that the engine's own page does not have: there the same requests are counted twice."""

Row = Mapping[str, Any]


class IterationStats:
    """What is known of one target between reads, which must not overlap."""

    def __init__(self) -> None:
        self._left_alone_since_seconds: float | None = None
        self._begin(())

    def _begin(self, process: tuple[object, ...]) -> None:
        self._process = process
        self._counts: dict[str, float] = {}
        self._last_step: dict[int, float] = {}  # by rank

    def check(self, target: Target) -> None:
        """Before asking: raises Refusal if what is there is not ours to empty."""
        process = (target.url, target.pid, target.started_timestamp_seconds)
        if process != self._process:
            self._begin(process)
            self._left_alone_since_seconds = None
        since = self._left_alone_since_seconds
        if since is not None and time.monotonic() - since < LEFT_ALONE_SECONDS:
            raise _not_ours(target)

    def page(self, target: Target, text: str) -> str:
        """A page's text: that of an answer which is no such list, or what the list says.

        Raises Refusal for a list that others may want, or that cannot be read.
        """
        if text.lstrip(BEFORE_JSON)[:1] != "[":  # no line of metrics can begin so
            return text
        if not target.is_only_reader:
            self._left_alone_since_seconds = time.monotonic()
            raise _not_ours(target)
        rows = _rows(text, target)
        for row in rows:
            self._count(row)
        return _page(rows, self._counts)

    def _count(self, row: Row) -> None:
        step, rank = _number(row, "iter"), _rank(row)
        if step is not None:
            if step + OUT_OF_ORDER_STEPS < self._last_step.get(rank, 0.0):
                self._begin(self._process)
            self._last_step[rank] = step
        speculation = _part(row, "specDecodingStats")
        grown = {
            COMPLETED: _number(row, "numCompletedRequests"),
            DRAFTED: _number(speculation, "numDraftTokens"),
            ACCEPTED: _number(speculation, "numAcceptedTokens"),
        }
        for name, value in grown.items():
            if value is not None:
                self._counts[name] = self._counts.get(name, 0.0) + value


def _not_ours(target: Target) -> Refusal:
    return Refusal(
        "not_metrics",
        "this is TensorRT-LLM's list of iteration stats, and reading it empties it: set `url` of"
        f" target `{target.name}` to /prometheus/metrics, which needs `return_perf_metrics: true`"
        " in the engine's config, or set `is_only_reader: true` if nobody else reads it",
    )


def _rows(text: str, target: Target) -> list[Row]:
    try:
        rows = json.loads(text.lstrip(BEFORE_JSON))
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        begins = shown(text.strip()[:40])
        message = f"target `{target.name}` answered JSON that is no list of steps: {begins}"
        raise Refusal("not_metrics", message)
    return rows


def _page(rows: Sequence[Row], counts: Mapping[str, float]) -> str:
    last = {_rank(row): row for row in rows}
    lines = [f"# TYPE {COMPLETED} counter"]  # known by its name, even if nothing was counted yet
    lines += [f"{name}{{{READ_FROM}}} {value!r}" for name, value in counts.items()]
    gauges = {
        RUNNING: {rank: _running(row, is_alone=len(last) == 1) for rank, row in last.items()},
        WAITING: {rank: _number(row, "numQueuedRequests") for rank, row in last.items()},
        KV_CACHE: {rank: _kv_cache(row) for rank, row in last.items()},
    }
    for name, by_rank in gauges.items():
        lines += [
            f'{name}{{attention_dp_rank="{rank}",{READ_FROM}}} {value!r}'
            for rank, value in sorted(by_rank.items())
            if value is not None
        ]
    return "\n".join(lines) + "\n"


def _running(row: Row, *, is_alone: bool) -> float | None:
    """Of several ranks, each has the first one's active requests but its own batch."""
    batch = _part(row, "inflightBatchingStats")
    phases = [_number(batch, "numContextRequests"), _number(batch, "numGenRequests")]
    known = [count for count in phases if count is not None]
    if is_alone or not known:
        return _number(row, "numActiveRequests")
    return sum(known)


def _kv_cache(row: Row) -> float | None:
    blocks = _part(row, "kvCacheStats")
    used, most = _number(blocks, "usedNumBlocks"), _number(blocks, "maxNumBlocks")
    return used / most if used is not None and most is not None and most > 0 else None


def _rank(row: Row) -> int:
    """Only under attention data parallelism is there more than one, a row for each."""
    return int(_number(row, "attentionDpRank") or 0)


def _part(row: Row, key: str) -> Row:
    """An inner mapping; backends leave out what they do not have, or write null."""
    found = row.get(key)
    return found if isinstance(found, dict) else {}


def _number(row: Row, key: str) -> float | None:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) and number >= 0 else None
