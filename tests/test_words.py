"""Words for numbers: one table per function, and the roundings that would tell a lie."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import roofline
from burnmeter.export import words
from burnmeter.model import Tally
from burnmeter.signature import signature as signed
from burnmeter.snapshot import Factor, Quantile
from burnmeter.usage import Used
from tests.snapshot_parts import burn, objective, signature

FINITE = st.floats(min_value=0, max_value=1e15)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (0.0000042, "4.2 µs"),
        (0.0004, "400 µs"),
        (0.0032, "3.2 ms"),
        (0.0832, "83 ms"),
        (0.9997, "1 s"),
        (1.0, "1 s"),
        (1.25, "1.2 s"),
        (9.99, "10 s"),
        (140.4, "140 s"),
    ],
)
def test_seconds_of_a_request(value: float | None, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("lower", "upper", "text"),
    [
        (0.25, 0.5, "0.25–0.5 s"),
        (0.0, 0.005, "≤ 5 ms"),
        (0.0, 1.0, "≤ 1 s"),
        (0.05, 0.1, "50–100 ms"),
        (0.1, 0.25, "0.1–0.25 s"),
        (2560.0, None, "above 2560 s"),
        (0.0025, 0.00375, "2.5–3.75 ms"),
    ],
)
def test_a_quantile_is_said_as_its_bucket(lower: float, upper: float | None, text: str) -> None:
    assert words.quantile(Quantile(lower, upper)) == text


def test_a_quantile_that_is_not_known_is_a_dash() -> None:
    assert words.quantile(None) == words.NOT_MEASURED


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.421, "0.421"),
        (12.34, "12.3"),
        (999.4, "999"),
        (999.7, "1 k"),
        (1234.0, "1.23 k"),
        (4_000_000.0, "4 M"),
        (0.00001, "0.00001"),
    ],
)
def test_numbers_have_three_digits_and_a_prefix(value: float | None, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "$0"),
        (0.0031, "$0.0031"),
        (0.42, "$0.42"),
        (2.9, "$2.90"),
        (1234.5, "$1,234"),
        (-3.0, "−$3.00"),
    ],
)
def test_dollars(value: float | None, text: str) -> None:
    assert words.dollars(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (0.000004, "<0.001 %"),
        (0.00012, "0.012 %"),
        (0.0123, "1.2 %"),
        (0.375, "37.5 %"),
        (0.9973, "99.7 %"),
        (0.9997, "99.97 %"),
        (0.99998, "99.998 %"),
        (0.9999999, ">99.999 %"),
        (1.0, "100 %"),
        (12.5, "1250 %"),
        (-0.08, "−8 %"),
    ],
)
def test_ratios_of_a_hundred(value: float | None, text: str) -> None:
    assert words.ratio(value) == text


@given(st.floats(min_value=0, max_value=1, exclude_min=True, exclude_max=True))
def test_only_nothing_is_0_percent_and_only_everything_is_100(value: float) -> None:
    assert words.ratio(value) not in ("0 %", "100 %")


def test_a_range_of_ratios_collapses_when_both_ends_are_said_the_same() -> None:
    assert words.ratio_range(0.012, 0.034) == "1.2–3.4 %"
    assert words.ratio_range(0.0120, 0.0121) == "1.2 %"
    assert words.ratio_range(None, 0.1) == words.NOT_MEASURED


def test_burns_keep_the_digit_that_decides() -> None:
    assert words.burn(14.4, 14.4) == "14.4×"
    assert words.burn(3.1, 12.0) == "3.1–12×"
    assert words.burn(0.0, 0.0) == "0×"
    assert words.burn(None, None) == words.NOT_MEASURED


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.62, "62 % left"),
        (0.0, "0 % left"),
        (-0.34, "overspent by 34 %"),
        (None, "not measured"),
    ],
)
def test_budgets_are_left_or_overspent(value: float | None, text: str) -> None:
    assert words.budget(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (-3.0, "0 s"),
        (0.0, "0 s"),
        (0.3, "<1 s"),
        (42.0, "42 s"),
        (119.0, "119 s"),
        (300.0, "5 min"),
        (3600.0, "1 h"),
        (7500.0, "2 h 5 min"),
        (259200.0, "3 d"),
        (2592000.0, "30 d"),
        (100000.0, "1 d 3 h"),
    ],
)
def test_spans_are_said_in_two_units_at_most(value: float | None, text: str) -> None:
    assert words.span(value) == text


def test_bytes_and_units() -> None:
    assert words.size(79.6 * 1024**3) == "79.6 GiB"
    assert words.size(0.0) == "0 B"
    assert words.size(None) == words.NOT_MEASURED
    assert words.unit(412.4, "W") == "412 W"
    assert words.unit(4.9e6, "J") == "4.9 MJ"
    assert words.unit(None, "W") == words.NOT_MEASURED
    assert words.count(12345.0) == "12,345"


def test_times_are_said_in_utc() -> None:
    assert words.moment(1_700_040_400.0) == "09:26:40 UTC"
    assert words.stamp(1_700_040_400.0) == "2023-11-15T09:26:40Z"


def test_an_objective_is_said_short_and_in_full() -> None:
    assert words.objective(objective()) == "TTFT below 1 s"
    assert words.promise(objective()) == "99 % with TTFT below 1 s, over 30 d"
    assert words.promise(objective("errors", objective_ratio=0.9995)).startswith("99.95 % without")
    assert words.promise(objective("availability")) == "99 % available, over 30 d"


@pytest.mark.parametrize(
    ("indicator", "threshold", "short"),
    [
        (
            "throughput",
            {"threshold_tokens_per_second": 20.0},
            "throughput above 20 tokens/s per request",
        ),
        (
            "cost",
            {"threshold_dollars_per_million_tokens": 0.625},
            "cost below $0.625 per million tokens",
        ),
        ("energy", {"threshold_joules_per_token": 1.5}, "energy below 1.5 J per token"),
    ],
)
def test_what_time_is_worth_is_promised_of_working_time(
    indicator: str, threshold: dict[str, float], short: str
) -> None:
    goal = objective(indicator, threshold_seconds=None, **threshold)

    assert words.objective(goal) == short
    assert words.promise(goal) == f"99 % of working time with {short}, over 30 d"


@pytest.mark.parametrize(
    ("goal", "good", "told"),
    [
        ("ttft", (61010.0, 61022.0), "valid 61,240, good 61,010 to 61,022"),
        ("ttft", (61022.0, 61022.0), "valid 61,240, good 61,022"),
        ("availability", (61022.4, 61022.4), "valid 61,240 s, good 61,022 s"),
    ],
)
def test_a_tally_is_told_in_events_or_in_seconds(
    goal: str, good: tuple[float, float], told: str
) -> None:
    total = Tally(61240.0, *good)

    assert words.tallied(burn("m", (0.0,) * 6, objective=objective(goal), total=total)) == told


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.99 / 3600, "dollars per GPU-second", "$2.99 / GPU-h"),
        (0.1049 / 3600, "dollars per GPU-second", "$0.105 / GPU-h"),
        (0.0, "dollars per GPU-second", "$0 / GPU-h"),
        (1.86e-4, "GPU-seconds per token", "0.0517 GPU-h / M tokens"),
        (3.1e-9, "GPU-seconds per token", "0.000000861 GPU-h / M tokens"),
        (654.4, "watts", "654 W"),
        (1.284, "ratio", "1.28×"),
        (1.0, "ratio", "1×"),
        (51234.0, "ratio", "51200×"),
    ],
)
def test_a_factor_is_said_as_it_is_multiplied(value: float, unit: str, text: str) -> None:
    assert words.factor(Factor("any", value, unit, "measured", "")) == text


def test_factors_in_a_line_have_short_names_and_no_sign_twice() -> None:
    told = words.factors(signature(1.38).dollars)

    assert told.startswith("price $2.99 / GPU-h × idle 1.28 × prefill 1.31 × stack ")
    assert told.endswith(" × batch 2.4 × model 0.0517 GPU-h / M tokens")


SIGNED: dict[str, dict[str, Any]] = {
    "all of it": {
        "roofline_seconds": {roofline.PREFILL: 3.0, roofline.DECODE: 6.0, roofline.FLOOR: 2.0}
    },
    "the engine's estimate": {"roofline_seconds": {roofline.ESTIMATED: 6.0}},
    "when it was busy, mostly": {"known_seconds": 45.0},
    "nothing": {"busy_seconds": 0.0},
}
"""What is known of a model."""


def used(**changes: Any) -> Used:
    given = {"gpu_seconds": 60.0, "known_seconds": 60.0, "busy_seconds": 30.0, "generated": 1e4}
    return Used(**{"seconds": 60.0, "dollars": 0.05, "joules": 3e4, **given, **changes})


def test_every_factor_that_a_signature_can_have_has_a_word_and_no_other_has() -> None:
    made = [signed(used(**known)) for known in SIGNED.values()]

    names = {f.name for one in made if one is not None for f in (*one.dollars, *one.joules)}
    assert names == words.FACTORS.keys()


def test_energy_of_a_million_tokens_is_said_in_watt_hours() -> None:
    # 0.9 J x 1,000,000 / 3,600 s/h.
    assert words.watt_hours(0.9) == "250 Wh"
    assert words.watt_hours(0.0) == "0 Wh"
    assert words.watt_hours(None) == words.NOT_MEASURED


def test_lists_end_with_and() -> None:
    assert words.some(["a"]) == "a"
    assert words.some(["a", "b", "c"]) == "a, b and c"
    assert words.some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@given(FINITE)
def test_no_number_is_ever_said_with_an_exponent(value: float) -> None:
    said = [words.number(value), words.seconds(value), words.dollars(value), words.size(value)]

    assert not [text for text in said if "e" in text.replace("KiB", "").replace("MiB", "")]
