"""What `inspect` says of recorded pages, held against what the engine's client saw.

Needs no engine: the pages and their clients' answers lie in tests/fixtures/engines. It does not
check single families (test_normalise.py does); it asks whether a person who reads our numbers is
told the truth. The client's clock sees more than the engine's, never less: the way there and back.
"""

import json
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from burnmeter.inspection import Inspection, ModelFindings, inspect

ENGINES = Path(__file__).resolve().parent / "fixtures" / "engines"
VERSIONS = {"vllm": "0.32.0", "llamacpp": "b11549"}
OURS = {
    "ok": "ok",
    "aborted": "cancelled",
    "broken": "error",
    "http_400": "rejected",
    "http_404": "rejected",
    "http_503": "error",
}
"""What a client calls an outcome -> what we do."""
SLOWER_RATIO = 0.15
"""How much longer a request may take for the client than for the engine. Measured: 0 to 5 % where a
first token takes longer than a tokeniser and an event loop do, which is in STORIES_WITH_CLOCKS."""
WAY_SECONDS = 0.010
"""The way there and back, once. Measured: 3 to 9 ms in the mean."""
ABORTED_PROMPT_TOKENS = len("0: go on")  # tests/engines/load.py; one character is one token


class Recording(NamedTuple):
    """A story between two pages, as told by us and by the client."""

    ours: Inspection
    client: dict[str, Any]

    @property
    def model(self) -> ModelFindings:
        """The only model's numbers."""
        (found,) = self.ours.models.values()
        return found

    def client_requests(self) -> dict[str, int]:
        """The client's requests by our outcomes."""
        found: dict[str, int] = {}
        for outcome, count in self.client["requests"].items():
            found[OURS[outcome]] = found.get(OURS[outcome], 0) + count
        return found

    def seconds(self, measure: str) -> list[float]:
        """What the client measured of each request that was served, sorted."""
        end = {"ttft": "first_token_seconds", "duration": "finished_seconds"}[measure]
        served = [answer for answer in self.client["answers"] if answer["outcome"] == "ok"]
        return sorted(answer[end] - answer["sent_seconds"] for answer in served)


def page(engine: str, story: str, moment: str) -> str:
    return (ENGINES / engine / f"{VERSIONS[engine]}-{story}-{moment}.prom").read_text("utf-8")


def client(engine: str, story: str) -> dict[str, Any]:
    text = (ENGINES / engine / f"{VERSIONS[engine]}-{story}-client.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def recording(engine: str, story: str) -> Recording:
    ours = inspect(page(engine, story, "after"), page(engine, story, "before"))
    return Recording(ours, client(engine, story))


STORIES = (
    *("steady", "aborts", "bad-requests", "queue-full", "queue-burst", "preempted"),
    *("custom-buckets", "two-api-servers", "dp2"),
)
STORIES_WITH_CLOCKS = ("steady", "preempted", "queue-full", "queue-burst")
"""Streams only, each with more to do than to be received."""


@pytest.mark.parametrize("story", STORIES)
def test_vllm_requests_by_outcome_are_the_clients(story: str) -> None:
    found = recording("vllm", story)

    ours = {outcome: n for outcome, n in found.model.requests.items() if n > 0}
    upper = ours.pop("error_upper", ours.get("error", 0.0))

    assert ours == found.client_requests()
    assert upper >= found.client_requests().get("error", 0)


@pytest.mark.parametrize("story", STORIES)
def test_a_failure_that_began_with_200_is_no_success(story: str) -> None:
    found = recording("vllm", story)

    assert found.model.requests["ok"] == found.client["requests"]["ok"]
    assert not found.ours.is_restart


@pytest.mark.parametrize("story", [story for story in STORIES if story != "aborts"])
def test_vllm_tokens_are_the_clients(story: str) -> None:
    found = recording("vllm", story)

    assert found.model.tokens["prompt"] == found.client["prompt_tokens"]
    assert found.model.tokens["generated"] == found.client["completion_tokens"]


def test_llamacpp_tokens_are_the_clients() -> None:
    found = recording("llamacpp", "mixed")

    assert found.model.tokens["prompt"] == found.client["prompt_tokens"]
    assert found.model.tokens["generated"] == found.client["completion_tokens"]
    assert found.model.tokens["prompt_cached"] < found.client["prompt_tokens"]
    assert found.model.requests == {}, "llama.cpp counts no requests, and nor may we"


@pytest.mark.parametrize("engine", sorted(VERSIONS))
def test_tokens_of_dropped_streams_count_at_least_as_far_as_the_client_read(engine: str) -> None:
    """The engine computes ahead of its reader, so generated tokens have only a lower truth."""
    found = recording(engine, "aborts")
    dropped = [a for a in found.client["answers"] if a["outcome"] == "aborted"]

    prompts = found.client["prompt_tokens"] + len(dropped) * ABORTED_PROMPT_TOKENS
    assert found.model.tokens["prompt"] == prompts
    read = found.client["completion_tokens"] + sum(a["chunks"] for a in dropped)
    assert read <= found.model.tokens["generated"] < read + 900, "one stream alone asked for 900"


@pytest.mark.parametrize("measure", ["ttft", "duration"])
@pytest.mark.parametrize("story", STORIES_WITH_CLOCKS)
def test_means_are_the_clients_but_for_the_way_there_and_back(story: str, measure: str) -> None:
    found = recording("vllm", story)
    seconds = found.seconds(measure)

    ours = found.model.latencies[measure]
    assert ours.count == len(seconds)
    assert ours.mean_seconds is not None
    slower_ratio = sum(seconds) / len(seconds) / ours.mean_seconds - 1.0
    limit = SLOWER_RATIO if ours.mean_seconds > 0.05 else 0.25  # 5 ms are a sixth of 30 ms
    assert 0.0 <= slower_ratio < limit


@pytest.mark.parametrize("measure", ["ttft", "duration"])
@pytest.mark.parametrize("story", STORIES_WITH_CLOCKS)
def test_quantiles_hold_the_clients_within_their_bucket(story: str, measure: str) -> None:
    found = recording("vllm", story)
    seconds = found.seconds(measure)

    quantiles = found.model.latencies[measure].quantiles
    for name, q in {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}.items():
        truth = seconds[ceil(q * len(seconds)) - 1]
        lower, upper = quantiles[name]
        assert upper is not None
        assert lower < truth <= upper + WAY_SECONDS, name


def test_no_first_token_was_sooner_than_its_bucket_says() -> None:
    """Streams only, so that the client timed each first token that the engine counted."""
    for story in ("steady", "aborts", "bad-requests", "preempted"):
        found = recording("vllm", story)
        seconds = found.client["ttft_seconds"]

        ours = found.model.latencies["ttft"]
        assert ours.count == len(seconds)
        for name, q in {"p50": 0.5, "p90": 0.9, "p95": 0.95}.items():
            assert ours.quantiles[name].lower_seconds < seconds[ceil(q * len(seconds)) - 1]


def test_custom_buckets_are_read_as_they_are() -> None:
    found = recording("vllm", "custom-buckets")

    assert found.model.latencies["ttft"].quantiles["p99"] == (0.0, 0.05)
    assert found.model.latencies["itl"].quantiles["p99"] == (0.0, 0.02)
    assert found.model.latencies["duration"].quantiles["p99"] == (0.0, 0.5)


def test_a_frozen_page_says_that_nothing_happened_and_that_requests_run() -> None:
    found = recording("vllm", "hung")

    assert all(count == 0 for count in found.model.requests.values())
    assert all(count == 0 for count in found.model.tokens.values())
    assert found.model.latencies["ttft"].mean_seconds is None
    assert found.ours.gauges["tiny"]["running_requests"] == 3


def test_after_a_freeze_nothing_is_missing() -> None:
    truth = client("vllm", "hung")

    # Its engine was started for the story, so that the page itself is what happened.
    (found,) = inspect(page("vllm", "hung", "resumed")).models.values()

    assert found.requests["ok"] == truth["requests"]["ok"] == 5
    assert found.tokens["prompt"] == truth["prompt_tokens"]
    assert found.tokens["generated"] == truth["completion_tokens"]
    assert found.latencies["ttft"].quantiles["p99"] == (10.0, 20.0)


def test_a_killed_core_is_never_told_as_success() -> None:
    """Its last page claims three served requests by HTTP status; the client has three broken."""
    found = recording("vllm", "core-killed")

    assert found.client["requests"] == {"broken": 3}
    assert found.model.requests["ok"] == 0
    assert found.ours.gauges["tiny"]["running_requests"] == 3
