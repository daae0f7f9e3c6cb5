"""Tokens and the time that requests ran for them, of the looks that told both."""

from dataclasses import replace

import pytest

from burnmeter.model import Failure, Target
from burnmeter.paces import Pace
from burnmeter.page import Page, read_page
from tests.fakes import target, vllm
from tests.test_pipeline import Node
from tests.test_vantage import litellm

A, B = target("a"), target("b")
TIMEOUT = Failure("timeout", "no answer within 4 s")


def pace(*looks: dict[Target, Page | Failure]) -> dict[tuple[str, str], Pace]:
    """After a tick with each of these."""
    node = Node()
    for seen in looks:
        node.tick(seen)
    return dict(node.state.paces)


def test_what_runs_at_a_look_has_run_since_the_one_before() -> None:
    found = pace(
        {A: vllm(tokens=100.0, running=7.0)},
        {A: vllm(tokens=130.0, running=2.0)},
        {A: vllm(tokens=150.0, running=3.0)},
    )

    assert found == {("llama", "engine"): Pace(50.0, 25.0)}


def test_tokens_of_a_time_without_a_page_have_the_time_that_they_took() -> None:
    found = pace(
        {A: vllm(tokens=0.0, running=2.0)},
        {A: TIMEOUT},
        {A: vllm(tokens=100.0, running=2.0)},
    )

    assert found == {("llama", "engine"): Pace(100.0, 20.0)}


def test_engines_of_a_model_are_added_and_vantages_are_not() -> None:
    gate = target("gate")
    a, b = replace(A, model="chat"), replace(B, model="chat")
    found = pace(
        {a: vllm(running=1.0), b: vllm(running=2.0), gate: litellm()},
        {a: vllm(tokens=5.0, running=1.0), b: vllm(tokens=6.0, running=2.0), gate: litellm(ok=9)},
    )

    assert found == {("chat", "engine"): Pace(11.0, 15.0)}


@pytest.mark.parametrize(
    "series",
    [
        pytest.param('vllm:generation_tokens_total{engine="0",model_name="llama"} 5', id="tokens"),
        pytest.param('vllm:num_requests_running{engine="0",model_name="llama"} 5', id="running"),
    ],
)
def test_of_half_of_it_there_is_no_pace(series: str) -> None:
    assert pace(*[{A: read_page(f"{series}\n")}] * 3) == {}


def test_what_no_target_is_called_any_more_is_forgotten() -> None:
    node = Node()
    for _ in range(2):
        node.tick({A: vllm(running=1.0)})
    for _ in range(12):
        node.tick({A: vllm(model="other", running=1.0)}, every=60.0)

    assert set(node.state.paces) == {("other", "engine")}
