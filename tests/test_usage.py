"""What is known of what a model's GPUs did: half of a thing known is not the thing known."""

from dataclasses import replace
from typing import Any

import pytest

from burnmeter.model import Gpu
from burnmeter.model_facts import stated_facts
from burnmeter.model_facts.known import Known, Library
from burnmeter.pricing import Price
from burnmeter.snapshot import Factor, ModelView
from tests.fakes import gpu, processes, target, vllm
from tests.test_bill import view
from tests.test_pipeline import Node
from tests.test_roofline import served

A, B = target("a", pid=10), target("b", pid=20)
TABLE = processes((10, 1), (20, 1))
FACTS = stated_facts(parameters=8e9, kv_bytes_per_token=1e5)
NAME = "NVIDIA H100 80GB HBM3"
RENT = Price(3.6, 0.0, "the config")


def board(number: int, pid: int, name: str = NAME) -> Gpu:
    return replace(gpu(f"GPU-{number}", pid), name=name, memory_total_bytes=80e9)


KNOWN = Library(by_model={"llama": Known(FACTS, "a test")})


def node(library: Library = KNOWN) -> Node:
    made = Node()
    made.settings = replace(made.settings, prices={NAME: RENT})
    made.library = library
    return made


def factors(found: ModelView) -> dict[str, Factor]:
    assert found.signature is not None
    return {factor.name: factor for factor in found.signature.dollars}


def test_time_of_which_nobody_knows_whether_requests_ran_is_a_factor() -> None:
    """Its page cannot be read for a minute; a gateway counts its tokens all the same."""
    made = node()
    for place, every in enumerate((5.0, 5.0, 15.0, 5.0)):
        made.tick({A: served(100.0 * place, place)}, gpus=[board(0, 10)], table=TABLE, every=every)
    assert "unknown" not in factors(view(made))

    made.tick({A: served(400.0, 4)}, gpus=[board(0, 10)], table=TABLE, every=30.0)
    made.tick({A: served(500.0, 5)}, gpus=[board(0, 10)], table=TABLE)

    assert factors(view(made))["unknown"].value == pytest.approx(60 / 30)


def test_of_two_engines_of_which_one_s_work_is_not_known_none_is() -> None:
    """The second says nothing of how long its requests are. Until it makes tokens that is all."""
    made = node()
    gpus = [board(0, 10), board(1, 20)]
    for place in range(3):
        idle = vllm(tokens=5.0)
        made.tick({A: served(100.0 * place, place), B: idle}, gpus=gpus, table=TABLE)
    assert factors(view(made)).keys() >= {"stack", "batch", "model"}

    made.tick({A: served(300.0, 3), B: vllm(tokens=90.0, running=1)}, gpus=gpus, table=TABLE)

    assert factors(view(made)).keys() == {"price", "idle", "work"}


def test_a_price_of_which_a_part_is_listed_is_assumed() -> None:
    made = node()
    listed = Price(2.0, 0.0, "the shipped list", is_listed=True)
    made.settings = replace(made.settings, prices={NAME: RENT, "NVIDIA A100": listed})
    for place in range(3):
        gpus = [board(0, 10), board(1, 10, "NVIDIA A100")]
        made.tick({A: served(100.0 * place, place)}, gpus=gpus, table=TABLE)

    price = factors(view(made))["price"]
    assert price.how == "assumed"
    assert price.text == (
        "NVIDIA A100: 2 dollars an hour by the shipped list; "
        f"{NAME}: 3.6 dollars an hour by the config"
    )


def test_a_price_that_has_changed_within_the_window_is_said_to_be_a_mean() -> None:
    made = node()
    for place, dollars in enumerate((3.6, 3.6, 7.2)):
        price = Price(dollars, 0.0, "the config")
        made.settings = replace(made.settings, prices={NAME: price})
        made.tick({A: served(100.0 * place, place)}, gpus=[board(0, 10)], table=TABLE)

    price_factor = factors(view(made))["price"]
    assert price_factor.value == pytest.approx(5.4 / 3600)
    assert price_factor.text == (
        f"{NAME}: 7.2 dollars an hour by the config; before it was another, and this is the mean"
    )


@pytest.mark.parametrize(
    ("changes", "gpus", "note"),
    [
        pytest.param(
            *({}, 1),
            "Its weights do not fit into the 80 GB of its GPUs: these facts cannot be this "
            "model's.",
            id="too large",
        ),
        pytest.param(
            *({"gpus_per_rank": 1, "local_ranks": ("0", "1")}, 2),
            "Each rank is taken to read its experts by itself; where ranks share them, it seems "
            "faster than it is.",
            id="experts over ranks",
        ),
        pytest.param(
            *({"gpus_per_rank": 2}, 2),
            "Weights and cache are taken as divided among the 2 GPUs of a rank; what each keeps "
            "whole (a latent cache, more GPUs than KV heads) makes it seem slower.",
            id="two for each rank",
        ),
    ],
)
def test_what_is_taken_as_so_of_a_model_on_its_gpus_is_said(
    changes: dict[str, Any], gpus: int, note: str
) -> None:
    """120 GB of weights, in eight experts."""
    facts = stated_facts(
        parameters=60e9,
        active_parameters=15e9,
        kv_bytes_per_token=1e5,
        experts=8,
        experts_per_token=2,
    )
    made = node(Library(by_model={"llama": Known(facts, "a test")}))
    boards = [board(number, 10) for number in range(gpus)]
    for place in range(3):
        made.tick({replace(A, **changes): served(100.0 * place, place)}, gpus=boards, table=TABLE)

    found = view(made).signature
    assert found is not None
    kinds = ("Its weights", "Each rank", "Weights and cache")
    assert [text for text in found.notes if text.startswith(kinds)] == [note]
