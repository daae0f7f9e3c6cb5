"""What `explain cost` and `explain energy` print, and of which models."""

import math
import re
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import reports
from burnmeter.cost_explanation import SUBJECTS, Costed, amount, chosen, costed
from burnmeter.snapshot import Factor, Signature
from tests.snapshot_parts import LLAMA, MISTRAL, QWEN, model

WHY = "no GPU of this node is known to be its"


def found(**changes: Any) -> Costed:
    """One model; `changes` are fields of ModelView."""
    return costed(model(**changes))


class Printed(NamedTuple):
    """What stands in the lines of the product."""

    factors: list[float]
    result: float
    unit: str

    @property
    def product(self) -> float:
        return math.prod(self.factors)


def printed(told: str) -> Printed:
    numbers = re.findall(
        r"^  [x ] +([\d.]+)  [a-z]+ +(?:measured|given|assumed)", told, re.MULTILINE
    )
    ((result, unit),) = re.findall(r"^  = +([\d.]+)  (.*)$", told, re.MULTILINE)
    return Printed([float(number) for number in numbers], float(result), unit)


# --- the product ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "value", "unit"),
    [("cost", 1.38, "dollars per million tokens"), ("energy", 0.988, "joules per token")],
)
def test_the_printed_factors_multiply_to_what_is_printed_below_them(
    subject: str, value: float, unit: str
) -> None:
    made = printed(reports.cost(found(), subject))

    assert len(made.factors) == 6
    assert made.product == pytest.approx(made.result, rel=0.001)
    assert made.result == pytest.approx(value, rel=1e-4)
    assert made.unit == unit


SIZES = st.floats(min_value=1.0, max_value=1e5)


@given(
    st.floats(min_value=1e-4, max_value=1e3),
    st.floats(min_value=0.01, max_value=1500.0),
    st.lists(SIZES, min_size=4, max_size=4),
    st.floats(min_value=1e-9, max_value=10.0),
)
def test_they_do_so_whatever_their_sizes_and_none_has_an_exponent(
    dollars_per_hour: float, watts: float, ratios: list[float], seconds: float
) -> None:
    names = ("idle", "prefill", "stack", "batch")
    shared = [Factor(n, v, "ratio", "measured", n) for n, v in zip(names, ratios, strict=True)]
    last = Factor("model", seconds, "GPU-seconds per token", "assumed", "at the limits")
    price = Factor("price", dollars_per_hour / 3600, "dollars per GPU-second", "given", "a list")
    power = Factor("power", watts, "watts", "measured", "mean")
    token_seconds = math.prod(ratios) * seconds
    seen = replace(
        found(signature=Signature(dollars=(price, *shared, last), joules=(power, *shared, last))),
        dollars_per_million_tokens=price.value * token_seconds * 1e6,
        joules_per_token=watts * token_seconds,
    )

    for subject in SUBJECTS:
        made = printed(reports.cost(seen, subject))
        assert len(made.factors) == 6
        assert made.product == pytest.approx(made.result, rel=0.001)


def test_every_line_fits_80_columns_and_the_numbers_stand_below_each_other() -> None:
    told = reports.cost(found(revenue_dollars_per_hour=18.7), "cost")

    assert [line for line in told.splitlines() if len(line) > 80] == []
    numbers = [re.match(r"  [x= ] +[\d.]+(?=  )", line) for line in told.splitlines()]
    assert [number.end() for number in numbers if number] == [12] * 7


def test_a_factor_says_how_it_is_known_in_what_unit_and_by_what() -> None:
    told = reports.cost(found(), "cost")

    assert "    2.99  price   given, dollars per GPU-hour\n" in told
    assert "    1.28  idle    measured\n              requests were running in 78.1%" in told
    assert "0.051667  model   assumed, GPU-hours per million tokens\n" in told
    assert "  what this goes by:\n  - The model is as /models/llama/config.json has it." in told


def test_energy_is_told_per_token_and_by_power() -> None:
    told = reports.cost(found(), "energy")

    assert told.startswith(f"{LLAMA}: 0.988 J per generated token\nover the last 5 min ")
    assert "  power   measured, watts\n" in told
    assert "  model   assumed, GPU-seconds per token\n" in told
    assert "price" not in told


# --- the hour ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("costs", "brings", "line"),
    [
        (11.96, None, " its GPUs cost $11.96 an hour"),
        (11.96, 18.7, " its GPUs cost $11.96 an hour; its tokens bring $18.70, a margin of $6.74"),
        (11.96, 4.0, " its GPUs cost $11.96 an hour; its tokens bring $4.00, a loss of $7.96"),
        (11.96, 0.0, " its GPUs cost $11.96 an hour; its tokens bring $0, a loss of $11.96"),
        (0.0, 0.0, " its GPUs cost $0 an hour; its tokens bring $0, a margin of $0"),
        (None, 18.7, ""),
    ],
)
def test_what_an_hour_costs_and_brings_is_told_where_it_is_known(
    costs: float | None, brings: float | None, line: str
) -> None:
    told = reports.cost(found(cost_dollars_per_hour=costs, revenue_dollars_per_hour=brings), "cost")

    first, *rest = told.partition("\n\n")[0].splitlines()
    second = " ".join(" ".join(rest).split())
    assert second == f"over the last 5 min{line}"
    assert first == f"{LLAMA}: $1.38 per million generated tokens"


# --- not measured --------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", SUBJECTS)
def test_what_is_not_measured_says_why(subject: str) -> None:
    nothing = found(
        dollars_per_million_tokens=None,
        joules_per_token=None,
        signature=None,
        not_available={"cost_dollars_total": WHY, "energy_joules_total": WHY},
    )
    unpriced = replace(nothing, cost_dollars_per_hour=None)

    assert reports.cost(unpriced, subject) == f"{LLAMA}: not measured: {WHY}\n"
    # What idle GPUs cost is known without a token.
    assert reports.cost(nothing, subject) == (
        f"{LLAMA}: not measured: {WHY}\nover the last 5 min its GPUs cost $11.96 an hour\n"
    )


def test_energy_that_is_not_known_is_not_laid_to_a_price() -> None:
    why = "no price is known for NVIDIA GB300: set prices.gpu_dollars_per_hour"
    unmetered = "the energy of its GPUs was not known all of the time lately"
    lacks = {"cost_dollars_total": why, "energy_joules_total": unmetered}
    seen = found(
        dollars_per_million_tokens=None,
        joules_per_token=None,
        cost_dollars_per_hour=None,
        not_available=lacks,
    )

    told = " ".join(reports.cost(seen, "energy").split())
    assert told == f"{LLAMA}: not measured: {unmetered}"
    assert why in " ".join(reports.cost(seen, "cost").split())


def test_energy_is_told_where_only_the_price_is_not_known() -> None:
    told = reports.cost(found(dollars_per_million_tokens=None), "energy")

    assert printed(told).result == pytest.approx(0.988)


def test_a_model_that_has_only_just_its_gpus_says_that() -> None:
    seen = found(dollars_per_million_tokens=None, joules_per_token=None, signature=None)

    told = reports.cost(seen, "cost")

    assert told.startswith(f"{LLAMA}: not measured: its GPUs have not been watched for long\n")


def test_a_cost_of_nothing_is_a_cost() -> None:
    seen = found(dollars_per_million_tokens=0.0)

    told = reports.cost(seen, "cost")

    assert told.startswith(f"{LLAMA}: $0 per million generated tokens")
    assert printed(told).product == printed(told).result == 0.0


# --- of which model ------------------------------------------------------------------------------

ALL = tuple(found(model=name) for name in (LLAMA, QWEN, MISTRAL))


def test_the_model_of_that_name_is_chosen_or_all_of_them() -> None:
    assert chosen(ALL, QWEN) == (ALL[1],)
    assert chosen(ALL, None) == ALL


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("llama-3.1-70b", f"`{LLAMA}`"),
        ("CODER", f"`{QWEN}`"),
        ("ll", f"`{LLAMA}`, `{MISTRAL}`"),
        ("zzz", f"`{LLAMA}`, `{QWEN}`, `{MISTRAL}`"),
    ],
    ids=["a slip of the pen", "a part of it", "a short part", "nothing like it"],
)
def test_a_name_that_is_none_gets_the_names_that_are_near_else_all(asked: str, near: str) -> None:
    with pytest.raises(KeyError) as error:
        chosen(ALL, asked)

    assert error.value.args[0] == near


def test_an_amount_is_that_of_its_subject() -> None:
    seen = found(dollars_per_million_tokens=1.38, joules_per_token=0.0)

    assert [amount(seen, subject) for subject in SUBJECTS] == [1.38, 0.0]


def test_a_signature_takes_nothing_from_a_model_but_what_it_needs() -> None:
    view = model()

    assert costed(view) == Costed(
        model=LLAMA,
        recent_seconds=300.0,
        dollars_per_million_tokens=1.38,
        joules_per_token=0.988,
        cost_dollars_per_hour=11.96,
        revenue_dollars_per_hour=None,
        signature=view.signature,
        not_available={},
    )
