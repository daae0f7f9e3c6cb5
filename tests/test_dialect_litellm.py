"""LiteLLM's dialect: what its clients were told, by alias, and nothing of what it does besides.

The numbers are worked out from how the page was made. Its recorded pages are held against their
client in test_recorded_gateways.py.
"""

import pytest

from burnmeter.inspection import Inspection, inspect
from burnmeter.page import Page, read_page
from tests import pages
from tests.fakes import target
from tests.test_pipeline import Node


def read(page: str) -> Inspection:
    """One page, inspected."""
    return inspect(pages.text_of("litellm", page))


def buckets(measure: str) -> list[tuple[float, ...]]:
    """Cumulative counts of a measure's parts on the page of 2025, without the last."""
    found = pages.engine_page(pages.text_of("litellm", "history/mid-2025")).histograms
    parts = [parts for key, parts in found.items() if key.measure == measure]
    return [h.counts for one in parts for h in one.values()]


def test_litellm_counts_what_clients_asked_for_and_not_who_looked_at_its_page() -> None:
    found = read("history/mid-2025")

    # 5 + 1 answered; 4 embeddings, 7 looks at /metrics/ and 3 of /v1/models are no generation;
    # 503 is an error, 429 perhaps one, and no key is refused.
    assert found.models["chat"].requests == {
        "ok": 6.0, "error": 1.0, "error_upper": 2.0, "rejected": 1.0,
    }  # fmt: skip
    assert found.models["vision"].requests == {"ok": 2.0}
    assert set(found.models) == {"chat", "vision"}


def test_litellms_older_names_of_tokens_are_read() -> None:
    models = read("history/mid-2025").models
    assert models["chat"].tokens == {"generated": 100.0, "prompt": 600.0}
    assert models["vision"].tokens == {"generated": 4.0, "prompt": 40.0}


def test_litellms_first_tokens_are_of_its_streams_only() -> None:
    assert buckets("ttft_seconds") == [(0.0, 2.0, 3.0, 3.0, 3.0)]
    assert buckets("duration_seconds") == [
        (0.0, 0.0, 4.0, 4.0, 6.0),
        (0.0, 0.0, 2.0, 2.0, 2.0),
    ]


LABELS = 'requested_model="chat",route="/v1/chat/completions"'


@pytest.mark.parametrize(
    ("labels", "outcome"),
    [
        ('hashed_api_key="k",status_code="200"', ("ok", "gateway")),
        ('hashed_api_key="k",status_code="408"', ("error", "gateway")),
        ('hashed_api_key="k",status_code="429"', ("error", "estimate")),
        ('hashed_api_key="k",status_code="400"', ("rejected", "gateway")),
        ('hashed_api_key="k",status_code="499"', ("cancelled", "gateway")),
        ('hashed_api_key="k",status_code="504"', ("error", "gateway")),
        ('hashed_api_key="k",status_code="None"', ("error", "gateway")),
        ('hashed_api_key="None",status_code="None"', ("rejected", "gateway")),
        ('status_code="None"', ("rejected", "gateway")),
    ],
)
def test_each_of_litellms_answers_has_one_outcome(labels: str, outcome: tuple[str, str]) -> None:
    text = f"litellm_proxy_total_requests_metric_total{{{LABELS},{labels}}} 1\n"
    counters = pages.engine_page(text).counters
    # Without a row of its own what went well is known to be nothing.
    keys = [dict(key.labels) for key, parts in counters.items() if parts]
    assert [(key["outcome"], key["counted_by"]) for key in keys] == [outcome]


@pytest.mark.parametrize(
    ("route", "is_counted"),
    [
        ("/v1/chat/completions", True),
        ("/chat/completions", True),
        ("/openai/deployments/chat/chat/completions", True),
        ("/v1/responses", True),
        ("/anthropic/v1/messages", True),
        ("/v1beta/models/chat:streamGenerateContent", True),
        ("/v1/messages/count_tokens", False),
        ("/v1/embeddings", False),
        ("/metrics/", False),
        ("/key/info", False),
    ],
)
def test_of_litellms_routes_those_that_generate_count(route: str, is_counted: bool) -> None:
    labels = f'requested_model="chat",route="{route}",status_code="200"'
    page = pages.engine_page(f"litellm_proxy_total_requests_metric_total{{{labels}}} 1\n")
    assert bool(page.counters) == is_counted


def test_litellms_word_for_nobodys_model_is_no_model() -> None:
    words = ["None", "other", "", "chat"]
    rows = [f'x_total{{requested_model="{word}",model_group=""}} 1\n' for word in words]
    _, plan = pages.planned("".join(f"litellm_{row}" for row in rows))
    assert plan.models == {"chat": "chat"}


def refused(by_word: dict[str, float]) -> Page:
    """What a proxy answered with 400, by the name that was asked for."""
    name = "litellm_proxy_total_requests_metric_total"
    more = 'route="/v1/chat/completions",status_code="400"'
    rows = [f'{name}{{requested_model="{word}",{more}}} {n}\n' for word, n in by_word.items()]
    return read_page("".join(rows))


@pytest.mark.parametrize("named", [{}, {"chat": 1.0}, {"chat": 1.0, "vision": 2.0}])
def test_calls_of_a_name_that_litellm_does_not_know_are_counted_as_unknown(
    named: dict[str, float],
) -> None:
    node, gateway = Node(), target("gateway")
    node.tick({gateway: refused({**named, "other": 0.0, "None": 0.0, "": 0.0})})
    node.tick({gateway: refused({**named, "other": 3.0, "None": 4.0, "": 5.0})})

    measure = "gateway_requests_total"
    assert node.total(measure) == node.total(measure, outcome="rejected") == 12.0
    assert node.total(measure, model="unknown") == 12.0
    assert "unknown" not in node.state.watched["gateway"].models


def test_litellm_is_never_stalled_by_its_own_page_among_the_requests_in_flight() -> None:
    node, gateway = Node(), target("gateway")
    page = read_page(pages.text_of("litellm", "1.106.2-served-after"))
    assert "litellm_in_flight_requests" in page.series
    for _ in range(5):
        node.tick({gateway: page})

    assert node.state.watched["gateway"].is_stalled is None
