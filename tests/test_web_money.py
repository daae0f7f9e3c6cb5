"""What the live page says of money: what a token costs, why, and what it brings."""

import math
import re
from typing import Any

import pytest

from burnmeter.export import live
from burnmeter.model import Spend
from burnmeter.snapshot import Snapshot
from tests import snapshots
from tests.snapshot_parts import LLAMA, MISTRAL, QWEN, held, model, signature
from tests.web_reader import fact, page, words

HOUR = 3600.0


def of(**changes: Any) -> str:
    """The page of a node with one model."""
    return page(snapshots.empty(models=(model(**changes),)))


# --- one model -----------------------------------------------------------------------------------


def test_a_cost_that_is_not_known_says_why_in_its_title() -> None:
    why = "no price is known for NVIDIA GB300: set prices.gpu_dollars_per_hour"

    text = of(dollars_per_million_tokens=None, not_available={"cost_dollars_total": why})

    assert fact(text, "Cost per M tokens") == f"–{why}"
    assert f'<span class="none" title="{why}">' in text


def test_a_cost_that_is_not_known_for_no_reason_that_we_know_is_not_known() -> None:
    assert fact(of(dollars_per_million_tokens=None), "Cost per M tokens") == "–not known"


@pytest.mark.parametrize(
    ("brings", "margin"), [(18.7, "$6.74"), (11.96, "$0"), (4.0, "−$7.96"), (0.0, "−$11.96")]
)
def test_a_margin_is_what_tokens_bring_less_what_gpus_cost(brings: float, margin: str) -> None:
    text = of(cost_dollars_per_hour=11.96, revenue_dollars_per_hour=brings)

    assert fact(text, "Cost per hour") == "$11.96"
    assert fact(text, "Margin per hour") == margin


@pytest.mark.parametrize(("costs", "brings"), [(11.96, None), (None, 18.7), (None, None)])
def test_there_is_no_margin_unless_both_sides_are_known(
    costs: float | None, brings: float | None
) -> None:
    text = of(cost_dollars_per_hour=costs, revenue_dollars_per_hour=brings)

    assert "Margin per hour" not in text
    assert ("Cost per hour" in text) == (costs is not None)


# --- why a token costs that ----------------------------------------------------------------------


def product(table: str) -> float:
    """Of the factors as they are shown."""
    shown = re.findall(r'<td class="n">([^<]*)</td>', table)
    return math.prod(float(re.sub(r"[^\d.].*", "", text.lstrip("$"))) for text in shown)


def tables(snapshot: Snapshot) -> dict[str, str]:
    """Each model's table of factors."""
    found = re.findall(r'data-key="why ([^"]*)">(.*?)</details>', page(snapshot), re.DOTALL)
    return dict(found)


@pytest.mark.parametrize("name", ["good", "burning"])
def test_the_factors_that_are_shown_multiply_to_the_cost_that_is_shown(name: str) -> None:
    found = tables(snapshots.ALL[name]())

    assert found.keys() == {LLAMA, QWEN, MISTRAL}
    for table in found.values():
        cost = re.search(r"multiplied, are \$([\d.]+) per million tokens, over the last 5", table)
        assert cost is not None
        # Six factors of three digits each.
        assert product(table) == pytest.approx(float(cost[1]), rel=0.02)


def test_without_a_price_the_factors_are_those_of_energy_and_multiply_to_that() -> None:
    view = model("m", dollars_per_million_tokens=None, joules_per_token=0.9)

    (table,) = tables(snapshots.empty(models=(view,))).values()

    # 0.9 J x 1,000,000 / 3,600 s/h.
    assert "These, multiplied, are 250 Wh per million tokens" in table
    assert product(table) == pytest.approx(250.0, rel=0.02)
    assert "power of the GPUs" in table
    assert "$" not in table


def test_a_factor_says_what_it_is_how_it_is_known_and_by_what() -> None:
    text = words(tables(snapshots.good())[LLAMA])

    assert "idle time measured: requests were running in 78.1% of its GPU time1.28×" in text
    assert "price of the GPUs given: NVIDIA H100 80GB HBM3: 2.99 dollars an hour" in text
    assert "The KV cache is in bf16." in text


@pytest.mark.parametrize("made", [None, signature(None, None)], ids=["none", "empty"])
def test_a_model_without_a_signature_has_no_table_of_factors(made: Any) -> None:
    assert tables(snapshots.empty(models=(model(signature=made),))) == {}


# --- who used the GPUs ---------------------------------------------------------------------------


def spent(**changes: Any) -> Snapshot:
    """A model with two hours of busy time, one of idle, half of neither; nobody with four."""
    gpu_seconds = {"busy": 2 * HOUR, "idle": HOUR, "unknown": HOUR / 2}
    spends = {held(0, LLAMA, state): Spend(s, 1.0, 1.0) for state, s in gpu_seconds.items()}
    spends[held(1, "", "unattributed", "none")] = Spend(4 * HOUR, 1.0, 1.0)
    return snapshots.empty(models=(model(LLAMA, **changes),), spends=spends)


def test_time_of_which_nobody_knows_whether_there_was_work_is_not_called_idle() -> None:
    nobody, llama = live.money(spent())

    assert (llama.busy_gpu_seconds, llama.idle_gpu_seconds) == (2 * HOUR, HOUR)
    assert (llama.unknown_gpu_seconds, llama.gpu_seconds) == (HOUR / 2, 3.5 * HOUR)
    assert (nobody.model, nobody.unknown_gpu_seconds) == ("", 4 * HOUR)
    text = words(page(spent()))
    assert "llama-3.3-70b2 h busy, 1 h idle, 30 min not known" in text
    assert "nobody4 h" in text


def test_time_that_is_all_known_is_not_followed_by_a_word_on_it() -> None:
    assert "min not known" not in words(page(snapshots.good()))


def test_what_a_model_brought_is_its_own_and_nobody_brings_anything() -> None:
    found = {account.model: account.revenue_dollars for account in live.money(snapshots.good())}

    assert found == {LLAMA: 58.4, QWEN: None, MISTRAL: None, "": None}


def test_what_tokens_brought_is_a_column_only_where_some_have_a_price() -> None:
    priced, free = page(spent(revenue_dollars=58.4)), page(spent(revenue_dollars=None))

    assert 'data-label="revenue"><span class="num">$58.40<' in priced
    assert ">revenue<" not in free


def test_a_model_that_brought_nothing_has_a_column_with_0() -> None:
    assert 'data-label="revenue"><span class="num">$0<' in page(spent(revenue_dollars=0.0))


def test_revenue_that_is_not_known_says_why() -> None:
    cells = re.findall(r'data-label="revenue">(.*?)</td>', page(snapshots.good()))

    assert [words(cell) for cell in cells] == [
        "$58.40",
        "–no price of its tokens",
        "–no price of its tokens",
        "–nobody's GPUs make no tokens",
    ]
