"""The factors of what a token costs: their product is the cost, whatever is known of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import roofline
from burnmeter.signature import product, signature
from burnmeter.snapshot import Factor, Signature
from burnmeter.usage import Used

KNOWN = {roofline.PREFILL: 30.0, roofline.DECODE: 60.0, roofline.FLOOR: 12.0}


def used(**changes: Any) -> Used:
    """Four GPUs for a minute, three quarters of it busy, at 3.60 dollars an hour and 500 W."""
    values: dict[str, Any] = {
        "seconds": 60.0,
        "generated": 24_000.0,
        "gpu_seconds": 240.0,
        "known_seconds": 240.0,
        "busy_seconds": 180.0,
        "dollars": 0.24,
        "joules": 120_000.0,
        "price_text": "H100: 3.6 dollars an hour by the config, by the GPU's name",
        "roofline_seconds": KNOWN,
        "notes": ("The model is as /m/config.json has it.",),
    }
    return Used(**(values | changes))


def made(**changes: Any) -> Signature:
    found = signature(used(**changes))
    assert found is not None
    return found


def factors(found: tuple[Factor, ...]) -> dict[str, float]:
    return {factor.name: factor.value for factor in found}


def test_each_factor_is_what_it_says_by_hand() -> None:
    found = factors(made().dollars)

    assert found == {
        "price": pytest.approx(0.001),
        "idle": pytest.approx(240 / 180),
        "prefill": pytest.approx(90 / 60),
        "stack": pytest.approx(120 / 60),
        "batch": pytest.approx(60 / 12),
        "model": pytest.approx(12 / 24_000),
    }


def test_of_energy_the_first_factor_is_power_and_the_rest_the_same() -> None:
    found = made()

    assert factors(found.joules)["power"] == pytest.approx(500.0)
    assert found.joules[1:] == found.dollars[1:]


def test_each_says_what_is_measured_and_what_is_assumed() -> None:
    found = {factor.name: factor.how for factor in made().dollars}

    assert found == {
        "price": "given",
        "idle": "measured",
        "prefill": "assumed",
        "stack": "assumed",
        "batch": "assumed",
        "model": "assumed",
    }
    assert made(is_listed_price=True).dollars[0].how == "assumed"


def test_where_the_engine_counted_no_time_on_tokens_the_split_is_by_the_limits() -> None:
    assert factors(made(split=(30.0, 0.0)).dollars) == factors(made().dollars)
    assert factors(made(split=(0.0, 30.0)).dollars)["prefill"] == 1.0


def test_more_than_gpus_allow_is_said_to_be_an_assumption_that_is_not_so() -> None:
    over = {**KNOWN, roofline.DECODE: 180.0}

    (stack,) = (one for one in made(roofline_seconds=over).dollars if one.name == "stack")

    assert stack.text == (
        "it reaches 116.7 % of what its GPUs allow for the batches that there were: "
        "more than can be, so that something that is assumed is not so"
    )


def test_the_texts_say_what_each_is_made_of() -> None:
    assert [factor.text for factor in made().dollars] == [
        "H100: 3.6 dollars an hour by the config, by the GPU's name",
        "requests were running in 75.0 % of its GPU time",
        "prompts take 33.3 % of the busy time, if both are as far from their limits",
        "it reaches 50.0 % of what its GPUs allow for the batches that there were",
        "in endless batches decoding would take 20.0 % of that time",
        "what its cache and operations take at the limits of the GPUs",
    ]


def test_prompts_are_measured_where_the_engine_counts_its_seconds() -> None:
    found = made(split=(45.0, 135.0)).dollars

    assert factors(found)["prefill"] == pytest.approx(180 / 135)
    assert found[2].how == "measured"
    assert product(found) == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        pytest.param({"busy_seconds": 0.0}, ["price", "time"], id="no look saw it working"),
        pytest.param(
            {"busy_seconds": 0.0, "known_seconds": 0.0}, ["price", "time"], id="nobody knows"
        ),
        pytest.param(
            {"known_seconds": 200.0},
            ["price", "unknown", "idle", "prefill", "stack", "batch", "model"],
            id="of a part nobody knows whether it had work",
        ),
        pytest.param({"roofline_seconds": {}}, ["price", "idle", "work"], id="an unknown model"),
        pytest.param(
            {"roofline_seconds": {roofline.ESTIMATED: 90.0}},
            ["price", "idle", "stack", "work"],
            id="only the engine's own estimate",
        ),
        pytest.param(
            {"roofline_seconds": {**KNOWN, roofline.FLOOR: 0.0}},
            ["price", "idle", "work"],
            id="nothing is known of its cache",
        ),
    ],
)
def test_what_is_not_known_is_taken_together_and_the_product_stays(
    changes: dict[str, Any], names: list[str]
) -> None:
    found = made(**changes)

    assert list(factors(found.dollars)) == names
    assert product(found.dollars) == pytest.approx(1e-5)
    assert product(found.joules) == pytest.approx(5.0)


def test_without_a_price_there_are_the_factors_of_energy_and_the_other_way_round() -> None:
    unpriced, unmetered = made(dollars=None), made(joules=None)

    assert (unpriced.dollars, product(unpriced.dollars)) == ((), None)
    assert product(unpriced.joules) == pytest.approx(5.0)
    assert unmetered.joules == ()


@pytest.mark.parametrize("changes", [{"generated": 0.0}, {"generated": None}, {"gpu_seconds": 0.0}])
def test_without_tokens_or_gpus_there_is_nothing_to_explain(changes: dict[str, Any]) -> None:
    assert signature(used(**changes)) is None


amounts = st.floats(1e-3, 1e9)
shares = st.just(0.0) | st.floats(1e-6, 1.0)


@given(
    st.fixed_dictionaries(
        {
            "generated": amounts,
            "gpu_seconds": amounts,
            "dollars": st.none() | amounts,
            "joules": st.none() | amounts,
            "split": st.none() | st.tuples(amounts, amounts),
        }
    ),
    st.tuples(shares, shares),
    st.dictionaries(st.sampled_from(list(roofline.WORKS)), st.just(0.0) | amounts),
)
def test_the_product_is_the_cost_whatever_is_known(
    known: dict[str, Any], ratios: tuple[float, float], limits: dict[str, float]
) -> None:
    told = known["gpu_seconds"] * ratios[0]
    time = {"known_seconds": told, "busy_seconds": told * ratios[1]}
    found = made(**known, **time, roofline_seconds=limits)

    for amount, factors_ in ((known["dollars"], found.dollars), (known["joules"], found.joules)):
        expected = None if amount is None else pytest.approx(amount / known["generated"], rel=1e-9)
        assert product(factors_) == expected
