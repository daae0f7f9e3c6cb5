"""LiteLLM's recorded pages, its engines' of the same moments, and what the client saw.

Needs no engine. It asks whether a gateway's numbers are the same events as its engines', which is
why they may never be added, and where they are not: in what the gateway never noticed.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import pages

VERSION = "1.106.2"
STORIES = ("served", "one-killed", "aborts")
OURS = {"ok": "ok", "http_400": "rejected", "http_401": "rejected", "http_500": "error"}


def told(path: str) -> Counter[tuple[str, ...]]:
    """Counters of one page by measure and label values, parts added up."""
    found: Counter[tuple[str, ...]] = Counter()
    page = pages.engine_page(pages.text_of("litellm", path))
    for key, parts in page.counters.items():
        labels = dict(key.labels)
        says = [labels.get(label, "") for label in ("model", "outcome", "kind")]
        found[key.measure, *says] += sum(parts.values())  # type: ignore[assignment]
    return found


def grown(story: str, who: str = "") -> Counter[tuple[str, ...]]:
    """What a page gained in a story; of the gateway, or of the engine `1` or `2`."""
    stem = f"behind/{VERSION}-{story}-{who}" if who else f"{VERSION}-{story}"
    before, after = told(f"{stem}-before"), told(f"{stem}-after")
    return Counter({key: n - before[key] for key, n in after.items() if n != before[key]})


def client(story: str) -> dict[str, dict[str, Any]]:
    """Load -> its truth, of loads between the two pages."""
    path: Path = pages.ENGINES / "litellm" / f"{VERSION}-{story}-client.json"
    loads: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))["loads"]
    return {name: load for name, load in loads.items() if "before" not in name}


def tokens(counts: Counter[tuple[str, ...]], kind: str) -> float:
    """Over all models."""
    return sum(n for (name, *_, k), n in counts.items() if (name, k) == ("tokens_total", kind))


@pytest.mark.parametrize("story", STORIES)
def test_a_gateways_requests_by_outcome_are_the_clients_whatever_it_retried(story: str) -> None:
    expected: Counter[str] = Counter()
    for load in client(story).values():
        for outcome, n in load["requests"].items():
            if outcome != "aborted":
                expected[OURS[outcome]] += n

    found: Counter[str] = Counter()
    for (name, _, outcome, _), n in grown(story).items():
        if name == "requests_total":
            found[outcome] += n

    assert found == expected


@pytest.mark.parametrize("story", STORIES)
def test_a_gateways_tokens_are_the_clients(story: str) -> None:
    loads, found = client(story).values(), grown(story)

    assert tokens(found, "prompt") == sum(load["prompt_tokens"] for load in loads)
    assert tokens(found, "generated") == sum(load["completion_tokens"] for load in loads)


def test_tokens_of_a_gateway_are_those_of_its_engines_and_no_others() -> None:
    gateway, first, second = (grown("served", who) for who in ("", "1", "2"))

    for kind in ("prompt", "generated"):
        assert tokens(gateway, kind) == tokens(first, kind) + tokens(second, kind) > 0


def test_after_a_death_the_gateways_tokens_are_those_of_the_engine_that_lives() -> None:
    gateway, second = grown("one-killed"), grown("one-killed", "2")

    for kind in ("prompt", "generated"):
        assert tokens(gateway, kind) == tokens(second, kind) > 0


def test_streams_that_a_client_drops_are_generated_to_their_end_and_never_counted() -> None:
    gateway, first, second = (grown("aborts", who) for who in ("", "1", "2"))

    # 4 dropped streams of 900 tokens; the gateway went on reading, and told nobody.
    unseen = tokens(first, "generated") + tokens(second, "generated") - tokens(gateway, "generated")
    assert unseen == 4 * 900
    assert gateway["requests_total", "chat", "ok", ""] == 5


def test_a_model_is_called_what_users_ask_for() -> None:
    served = {model: n for (name, model, o, _), n in grown("served").items() if o == "ok"}

    assert served == {"chat": 16, "chat-1": 4, "chat-2": 3}
