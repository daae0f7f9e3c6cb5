"""What tokens bring: by kind, from one vantage, at the prices in force when they were counted."""

from dataclasses import replace

import pytest

from burnmeter.config_prices import Prices, TokenPrices
from burnmeter.page import Page, read_page
from tests.fakes import target
from tests.test_pipeline import Node

A = target("a")
PRICES = TokenPrices(
    prompt_dollars_per_million_tokens=1.0,
    cached_prompt_dollars_per_million_tokens=0.25,
    generated_dollars_per_million_tokens=4.0,
)


def page(prompt: float, cached: float | None, generated: float, *, model: str = "llama") -> Page:
    """Tokens of a vLLM; an old one does not say what was cached."""
    who = f'{{engine="0",model_name="{model}"}}'
    lines = [
        f"vllm:prompt_tokens_total{who} {prompt}",
        f"vllm:generation_tokens_total{who} {generated}",
    ]
    if cached is not None:
        lines.append(f"vllm:prompt_tokens_cached_total{who} {cached}")
    return read_page("\n".join(lines) + "\n")


def node(**tokens: TokenPrices) -> Node:
    made = Node()
    made.settings = replace(made.settings, books=(Prices(tokens=tokens),))
    return made


def brought(made: Node) -> dict[str, float]:
    return {dict(key.labels)["kind"]: value for key, value in made.state.revenue.items()}


def test_each_kind_of_token_brings_its_price() -> None:
    """Of a million of prompt four tenths were cached."""
    made = node(llama=PRICES)
    for seen in (page(0.0, 0.0, 0.0), page(1e6, 4e5, 2e5)):
        made.tick({A: seen})

    assert brought(made) == {
        "prompt": pytest.approx(0.6),
        "prompt_cached": pytest.approx(0.1),
        "generated": pytest.approx(0.8),
    }


@pytest.mark.parametrize(
    ("cached", "price", "expected"),
    [
        pytest.param(4e5, None, 1.0, id="no price of its own: as for all prompts"),
        pytest.param(None, 0.25, 1.0, id="the engine does not say: all is billed as new"),
        pytest.param(4e5, 0.0, 0.6, id="what was cached is free"),
    ],
)
def test_a_cached_prompt_is_billed_by_what_is_known(
    cached: float | None, price: float | None, expected: float
) -> None:
    prices = replace(PRICES, cached_prompt_dollars_per_million_tokens=price)
    made = node(llama=prices)
    for seen in (page(0.0, None if cached is None else 0.0, 0.0), page(1e6, cached, 0.0)):
        made.tick({A: seen})

    assert sum(brought(made).values()) == pytest.approx(expected)


def test_a_model_without_prices_brings_nothing_that_is_known() -> None:
    made = node(qwen=PRICES)
    for generated in (0.0, 1e6):
        made.tick({A: page(0.0, 0.0, generated)})

    assert made.state.revenue == {}


def test_before_its_first_token_a_model_with_prices_has_brought_nothing() -> None:
    made = node(llama=PRICES)
    made.tick({A: page(0.0, 0.0, 0.0)})

    assert brought(made) == {"prompt": 0.0, "prompt_cached": 0.0, "generated": 0.0}


def test_a_price_that_changes_holds_from_then_on() -> None:
    made = node(llama=PRICES)
    made.tick({A: page(0.0, 0.0, 0.0)})
    made.tick({A: page(0.0, 0.0, 1e6)})
    dearer = replace(PRICES, generated_dollars_per_million_tokens=10.0)
    made.settings = replace(made.settings, books=(Prices(tokens={"llama": dearer}),))
    made.tick({A: page(0.0, 0.0, 2e6)})

    assert brought(made)["generated"] == pytest.approx(14.0)


def test_a_restart_bills_no_token_twice() -> None:
    made = node(llama=PRICES)
    for generated in (0.0, 1e6, 0.0, 5e5):
        made.tick({A: page(generated, 0.0, generated)})

    assert brought(made)["generated"] == pytest.approx(6.0)


def test_a_gateway_s_tokens_are_not_billed_beside_its_engines() -> None:
    """LiteLLM counts the same requests before them."""
    gate = target("gate")
    made = node(llama=PRICES)
    for generated in (0.0, 1e6):
        text = f'litellm_output_tokens_metric_total{{requested_model="llama"}} {generated}\n'
        made.tick({A: page(0.0, 0.0, generated), gate: read_page(text)})

    assert made.state.watched["gate"].vantage == "gateway"
    assert brought(made)["generated"] == pytest.approx(4.0)


def test_two_engines_of_one_model_bring_together() -> None:
    made = node(llama=PRICES)
    for generated in (0.0, 1e6):
        made.tick({A: page(0.0, 0.0, generated), target("b"): page(0.0, 0.0, generated)})

    assert brought(made)["generated"] == pytest.approx(8.0)


def test_what_is_told_later_to_have_been_cached_is_taken_off_the_prompts_that_come_next() -> None:
    """An engine that counts prompts as they begin, and what of them was cached as they end."""
    made = node(llama=PRICES)
    for seen in (page(0.0, 0.0, 0.0), page(1e6, 0.0, 0.0), page(1e6, 9e5, 0.0)):
        made.tick({A: seen})
    assert brought(made)["prompt"] == pytest.approx(1.0)  # A counter does not fall.

    made.tick({A: page(2e6, 9e5, 0.0)})
    made.tick({A: page(2e6, 1.8e6, 0.0)})
    made.tick({A: page(3e6, 1.8e6, 0.0)})

    assert brought(made)["prompt"] == pytest.approx(1.2)
    assert brought(made)["prompt_cached"] == pytest.approx(1.8 * 0.25)


def test_a_probe_s_tokens_bring_nothing() -> None:
    """They are ours, and nobody pays for them."""
    made = node(llama=PRICES)
    probe = replace(target("probe"), origin="probe")
    for generated in (0.0, 1e6):
        text = (
            f'burnmeter_probe:tokens_total{{kind="generated",model="llama"}} {generated}\n'
            'burnmeter_probe:requests_total{outcome="ok",model="llama"} 1\n'
        )
        state = made.tick({probe: read_page(text)})

    assert state.watched["probe"].models == ("llama",)
    assert made.total("probe_tokens_total") == 1e6
    assert state.revenue == {}
