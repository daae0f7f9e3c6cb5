"""What a model's view says of money: over the window, and why it is not known."""

from dataclasses import replace
from typing import Any

import pytest

from burnmeter import views
from burnmeter.config_prices import Prices, TokenPrices
from burnmeter.model import Failure, Launch, Target
from burnmeter.page import read_page
from burnmeter.pricing import Price
from burnmeter.snapshot import ModelView
from tests.fakes import gpu, processes, target, vllm
from tests.test_pipeline import Node

A = target("a", pid=10)
TABLE = processes((10, 1), (11, 10), (12, 10))
COST = "cost_dollars_total"


def view(node: Node, model: str = "llama") -> ModelView:
    _, shown = views.turn(
        node.state, node.settings, timestamp_seconds=0.0, at_seconds=node.at - 5.0, before=None
    )
    return next(one for one in shown if one.model == model)


def served(node: Node, *tokens: float, one: Target = A, **changes: Any) -> ModelView:
    """Looks at a page with so many tokens each, GPUs 0 and 1 held by its workers."""
    gpus = [gpu("GPU-0", 11, energy_joules=0.0), gpu("GPU-1", 12, energy_joules=0.0)]
    for place, count in enumerate(tokens):
        read = [replace(one_, energy_joules=1000.0 * place) for one_ in gpus]
        given = {"gpus": read, "table": TABLE} | changes
        node.tick({one: vllm(tokens=count, running=1)}, **given)
    return view(node)


def test_cost_and_energy_are_of_all_its_gpus_over_its_tokens() -> None:
    """Two GPUs at 3.60 dollars an hour for 10 s: 2 cents, for 4000 tokens."""
    found = served(Node(), 0.0, 2000.0, 4000.0)

    assert found.dollars_per_million_tokens == pytest.approx(5.0)
    assert found.joules_per_token == pytest.approx(1.0)
    assert found.cost_dollars == pytest.approx(0.02)
    assert found.cost_dollars_per_hour == pytest.approx(7.2)
    assert (found.revenue_dollars, found.revenue_dollars_per_hour) == (None, None)
    assert COST not in found.not_available


def test_what_it_brings_stands_beside_what_it_costs() -> None:
    node = Node()
    prices = Prices(tokens={"llama": TokenPrices(generated_dollars_per_million_tokens=9.0)})
    node.settings = replace(node.settings, books=(prices,))

    found = served(node, 0.0, 2000.0, 4000.0)

    assert found.revenue_dollars == pytest.approx(0.036)
    assert found.revenue_dollars_per_hour == pytest.approx(0.036 * 360)


@pytest.mark.parametrize(
    ("changes", "tokens", "why"),
    [
        pytest.param({"gpus": None}, (0.0, 5.0), "no GPU of this node is known to be its", id="no"),
        pytest.param(
            {"gpus": [gpu("GPU-0")]},
            (0.0, 5.0),
            "no GPU of this node is known to be its",
            id="not its GPU",
        ),
        pytest.param({}, (5.0, 5.0), "no token was generated lately", id="no token"),
        pytest.param({}, (5.0,), "its tokens are not known", id="first sight"),
    ],
)
def test_a_cost_that_is_not_known_says_why(
    changes: dict[str, Any], tokens: tuple[float, ...], why: str
) -> None:
    found = served(Node(), *tokens, **changes)

    assert found.dollars_per_million_tokens is None
    assert found.not_available[COST] == why


def test_a_gpu_without_a_price_leaves_energy_and_says_what_to_set() -> None:
    node = Node()
    node.settings = replace(node.settings, prices={"NVIDIA H100": None})

    found = served(node, 0.0, 2000.0)

    assert (found.dollars_per_million_tokens, found.cost_dollars) == (None, None)
    assert found.joules_per_token == pytest.approx(1.0)
    assert found.not_available[COST] == (
        "no price is known for NVIDIA H100: set prices.gpu_dollars_per_hour"
    )
    assert found.signature is not None
    assert (found.signature.dollars, found.signature.joules[0].name) == ((), "power")


def test_an_engine_with_gpus_on_other_nodes_has_dollars_and_no_cost_per_token() -> None:
    """Four GPUs for each rank by its command line, and two of them are here."""
    found = served(Node(), 0.0, 2000.0, one=replace(A, gpus_per_rank=4))

    assert found.cost_dollars == pytest.approx(0.01)
    assert (found.dollars_per_million_tokens, found.joules_per_token) == (None, None)
    assert found.signature is None
    assert found.not_available[COST] == (
        "2 of the 4 GPUs of a are on this node: sum burnmeter_cost_dollars_total over its nodes"
    )


def test_gpus_of_a_headless_engine_are_its_model_s_though_no_page_is_here() -> None:
    """By its command line: its page is on another node, and so are its tokens."""
    node = Node()
    table = processes((20, 1), (21, 20))
    node.launches = (Launch(20, "big"),)
    for _ in range(3):
        node.tick(gpus=[gpu("GPU-0", 21)], table=table)

    (share,) = {share for share, spend in node.state.purse.spends.items() if spend.gpu_seconds}
    assert (share.model, share.target, share.state) == ("big", "", "unknown")
    assert share.method == "command_line"


@pytest.mark.parametrize(
    ("gpus_per_rank", "cost"),
    [
        pytest.param(2, 0.01 / 1000 * 1e6, id="all of its GPUs are here"),
        pytest.param(4, None, id="half of them are elsewhere"),
    ],
)
def test_ranks_of_another_node_are_not_in_the_cost_of_this_one(
    gpus_per_rank: int, cost: float | None
) -> None:
    """The head's page has both ranks; one of them is here, with two GPUs."""
    one = replace(A, local_ranks=("0",), gpus_per_rank=gpus_per_rank)
    node = Node()
    gpus = [gpu("GPU-0", 11), gpu("GPU-1", 12)]
    for count in (0.0, 1000.0):
        text = "".join(
            f'vllm:generation_tokens_total{{engine="{rank}",model_name="llama"}} {count * times}\n'
            for rank, times in (("0", 1), ("1", 3))
        )
        node.tick({one: read_page(text)}, gpus=gpus, table=TABLE)

    found = view(node)

    assert found.tokens["generated"] == 4000.0
    assert found.dollars_per_million_tokens == (None if cost is None else pytest.approx(cost))


def test_an_engine_with_ranks_elsewhere_and_a_whole_one_are_both_in_its_model_s_cost() -> None:
    """Each has two GPUs here and makes 1000 tokens on them; the first makes 3000 elsewhere."""
    apart = replace(A, local_ranks=("0",), gpus_per_rank=2)
    whole = replace(target("b", pid=20), gpus_per_rank=2)
    node = Node()
    pids = (11, 12, 21, 22)
    gpus = [gpu(f"GPU-{number}", pid) for number, pid in enumerate(pids)]
    table = processes((10, 1), (20, 1), *((pid, pid // 10 * 10) for pid in pids))
    for count in (0.0, 1000.0):
        text = "".join(
            f'vllm:generation_tokens_total{{engine="{rank}",model_name="llama"}} {count * times}\n'
            for rank, times in (("0", 1), ("1", 3))
        )
        pages = {apart: read_page(text), whole: vllm(tokens=count, running=1)}
        node.tick(pages, gpus=gpus, table=table)

    assert view(node).dollars_per_million_tokens == pytest.approx(0.02 / 2000 * 1e6)


def test_gpus_held_for_an_engine_elsewhere_are_not_in_the_cost_of_the_one_here() -> None:
    """A headless rank by its command line, and a whole engine of the same model."""
    node = Node()
    node.launches = (Launch(30, "llama"),)
    table = TABLE | processes((30, 1), (31, 30))
    gpus = [gpu("GPU-0", 11), gpu("GPU-1", 12), gpu("GPU-2", 31)]

    found = served(node, 0.0, 1000.0, gpus=gpus, table=table)

    assert found.dollars_per_million_tokens is None
    assert found.cost_dollars_per_hour == pytest.approx(10.8)
    assert found.not_available[COST] == (
        "1 of its GPUs are held for an engine whose tokens are not counted here: "
        "sum burnmeter_cost_dollars_total over its nodes"
    )


def test_the_rest_of_an_engine_that_needs_as_many_is_its_own() -> None:
    """Ray's workers are below a process of its own: only the model is known, by a rule."""
    node = Node()
    node.launches = (Launch(30, "llama"),)
    table = TABLE | processes((30, 1), (31, 30))
    gpus = [gpu("GPU-0", 11), gpu("GPU-1", 12), gpu("GPU-2", 31)]

    found = served(node, 0.0, 1000.0, one=replace(A, gpus_per_rank=3), gpus=gpus, table=table)

    assert found.dollars_per_million_tokens == pytest.approx(0.015 / 1000 * 1e6)


@pytest.mark.parametrize(
    ("held", "whole"),
    [
        # Each rank needs two GPUs, and both of one rank are here.
        (replace(A, local_ranks=("0",), gpus_per_rank=2), True),
        # Two ranks, and two of their four.
        (replace(A, local_ranks=("0", "1"), gpus_per_rank=2), False),
        (replace(A, gpus_per_rank=2), True),
    ],
)
def test_a_cost_per_token_needs_all_gpus_of_its_ranks(held: Target, whole: bool) -> None:
    found = served(Node(), 0.0, 1000.0, one=held)

    assert (found.dollars_per_million_tokens is not None) == whole


def test_models_of_one_engine_have_no_cost_each() -> None:
    text = "".join(
        f'vllm:generation_tokens_total{{model_name="{name}"}} 5\n' for name in ("llama", "lora")
    )
    node = Node()
    for _ in range(2):
        node.tick({A: read_page(text)}, gpus=[gpu("GPU-0", 11)], table=TABLE)

    told = view(node, "lora").not_available
    assert told[COST] == "its GPUs serve llama,lora together, and are not divided"
    assert told["energy_joules_total"] == told[COST]


# --- what is known of one half only --------------------------------------------------------------


def test_tokens_made_while_nobody_knew_whose_the_gpus_were_are_not_in_the_cost() -> None:
    """The driver lists processes only at the fourth look; 2000 tokens come at each."""
    node = Node()
    for place in range(7):
        held = gpu("GPU-0", 11, energy_joules=500.0 * place)
        bare = replace(held, processes=None) if place < 3 else held
        node.tick({A: vllm(tokens=2000.0 * place, running=1)}, gpus=[bare], table=TABLE)
        if place > 3:
            found = view(node)
            assert found.dollars_per_million_tokens == pytest.approx(2.5)
            assert found.joules_per_token == pytest.approx(0.25)
            assert found.cost_dollars_per_hour == pytest.approx(3.6)

    assert found.tokens["generated"] == 12_000.0


@pytest.mark.parametrize(
    ("prices", "text"),
    [
        ((3.6, 3.6, None, None), "no price is known for NVIDIA H100: set"),
        ((None, None, 3.6, 3.6), "what its GPUs cost was not known all of the time lately"),
    ],
    ids=["lost", "found"],
)
def test_a_price_that_comes_or_goes_leaves_no_cost_of_that_window(
    prices: tuple[float | None, ...], text: str
) -> None:
    node = Node(recent_seconds=15.0)
    for place, dollars in enumerate(prices):
        price = Price(dollars, 0.0, "x") if dollars is not None else None
        node.settings = replace(node.settings, prices={"NVIDIA H100": price})
        served(node, 1000.0 * place)

    found = view(node)

    assert found.dollars_per_million_tokens is None
    assert found.cost_dollars_per_hour is None
    assert found.not_available[COST].startswith(text)
    assert found.cost_dollars == pytest.approx(0.01 if prices[0] else 0.02)
    share = "66.7%" if prices[0] else "33.3%"
    assert found.not_available["cost_dollars"].startswith(f"{share} of its GPU time is not in it")


def test_while_the_driver_is_silent_energy_is_not_known_and_cost_is() -> None:
    node = Node(recent_seconds=15.0)
    silent = {"gpus": Failure("timeout", "it hangs")}
    for place in range(9):
        given = silent if place in (3, 4) else {}
        energy = [gpu(f"GPU-{n}", 11 + n, energy_joules=500.0 * place) for n in (0, 1)]
        found = served(node, 1000.0 * place, **({"gpus": energy} | given))
        # Looks 3 and 4 are in the window, or the catching up without them.
        is_known = place in (1, 2, 5, 8)
        assert (found.joules_per_token is not None) == is_known, place
        if is_known:
            assert found.joules_per_token == pytest.approx(1.0)
        if place:
            assert found.dollars_per_million_tokens == pytest.approx(10.0)

    assert found.signature is not None


def test_a_listed_price_is_said_to_be_one() -> None:
    listed = Price(3.6, 0.0, "the shipped list of 2026-11", is_listed=True)
    node = Node()
    node.settings = replace(node.settings, prices={"NVIDIA H100": listed})

    found = served(node, 0.0, 2000.0).signature

    assert found is not None
    assert found.dollars[0].how == "assumed"
    assert found.dollars[0].text == (
        "NVIDIA H100: 3.6 dollars an hour by the shipped list of 2026-11"
    )


def test_a_share_that_it_had_before_the_window_says_nothing_of_it() -> None:
    """At first sight nobody knows the energy of an idle GPU; it has been busy ever since."""
    node = Node(recent_seconds=10.0)
    node.tick({A: vllm(running=0)}, gpus=[gpu("GPU-0", 11)], table=TABLE)
    node.tick({A: vllm(running=0)}, gpus=[gpu("GPU-0", 11)], table=TABLE)

    found = served(node, 0.0, 1000.0, 2000.0, 3000.0)

    assert found.joules_per_token == pytest.approx(2.0)
