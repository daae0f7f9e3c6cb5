"""A canary's verdict is wrong as seldom as it says, on traffic that is harder than most."""

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from burnmeter.provision import canary
from burnmeter.provision.canary import (
    FAIL,
    INCONCLUSIVE,
    MARGINS,
    MEASURES,
    PASS,
    Compared,
    Plan,
    Side,
    Slice,
    compare,
)
from tests.canary_traffic import EQUAL, KINDS, Traffic, Worse, pair

PLAN = Plan(measures=MEASURES)
TERMS = {measure: PLAN.terms(measure, MARGINS[measure]) for measure in MEASURES}
PAIRS = 1000
ALLOWED = round(PAIRS * PLAN.alpha)
"""A program that errs just as often as it claims would stay below this half of the time: what is
asserted is the claim itself, with no room added for the luck of a thousand draws."""


def verdicts(kind: Traffic, worse: Worse, seed: int, pairs: int = PAIRS) -> Counter[str]:
    """How often each verdict was given, on all measures together and on each."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    for _ in range(pairs):
        slices = pair(rng, kind, worse)
        by_measure = {name: compare(slices[name], TERMS[name]).verdict for name in MEASURES}
        found[canary.overall(list(by_measure.values()))] += 1
        found.update(f"{name} {verdict}" for name, verdict in by_measure.items())
    return found


# --- what is claimed -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_thousand_pairs_without_a_difference_at_most_alpha_fail(kind: str) -> None:
    found = verdicts(KINDS[kind], EQUAL, seed=1)

    assert found[FAIL] <= ALLOWED
    assert found.total() == PAIRS * (1 + len(MEASURES))


@pytest.mark.parametrize(
    ("measure", "worse"),
    [
        ("ttft", Worse(slow=MARGINS["ttft"])),
        ("errors", Worse(error=MARGINS["errors"])),
        ("cost", Worse(cost_ratio=1 + MARGINS["cost"])),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_of_a_thousand_that_are_worse_by_the_margin_at_most_alpha_pass(
    kind: str, measure: str, worse: Worse
) -> None:
    found = verdicts(KINDS[kind], worse, seed=2)

    assert found[f"{measure} {PASS}"] <= ALLOWED


EASY = Traffic(per_slice=300, uneven=0.2, own_burst=0.02, tail=6.0)
"""Five requests a second on each side, and money that hardly varies but for the load."""


@pytest.mark.parametrize(
    ("measure", "worse", "at_least"),
    [
        ("errors", Worse(error=0.01), 0.95),
        ("cost", Worse(cost_ratio=1.3), 0.6),
        ("ttft", Worse(slow=0.1), 0.95),
    ],
    ids=["twice the errors", "30 % dearer", "ten points slower"],
)
def test_what_is_worse_is_found(measure: str, worse: Worse, at_least: float) -> None:
    found = verdicts(EASY, worse, seed=3, pairs=300)

    assert found[f"{measure} {FAIL}"] / 300 >= at_least


def test_what_is_alike_passes_where_there_is_much_traffic() -> None:
    found = verdicts(replace(EASY, per_slice=1000), EQUAL, seed=4, pairs=300)

    assert {name: found[f"{name} {PASS}"] / 300 >= 0.95 for name in ("ttft", "errors")} == {
        "ttft": True,
        "errors": True,
    }


def test_slowness_that_lasts_on_one_side_is_no_proof_by_each_of_its_minutes() -> None:
    """In another order the same slices look as if they knew nothing of each other: too sure."""
    kind = Traffic(own_burst=0.1, burst_slices=2.0, shared_burst=0.0)
    by = replace(TERMS["ttft"], alpha_fail=0.05)
    rng = random.Random(5)
    slices = [pair(rng, kind)["ttft"] for _ in range(PAIRS)]

    as_it_was = sum(compare(one, by).verdict == FAIL for one in slices) / PAIRS
    as_if_apart = sum(compare(mixed(one, rng), by).verdict == FAIL for one in slices) / PAIRS

    assert as_it_was <= 0.05 < as_if_apart


def mixed(slices: list[Slice], rng: random.Random) -> list[Slice]:
    """The same slices in another order, so that what lasts is spread."""
    other = rng.sample(slices, len(slices))
    return [one._replace(at_seconds=at.at_seconds) for one, at in zip(other, slices, strict=True)]


# --- by hand -------------------------------------------------------------------------------------


def even(base: Side, cand: Side, count: int = 30) -> list[Slice]:
    """The same in each slice."""
    return [Slice(60.0 * number, base, cand) for number in range(count)]


def test_what_never_varies_is_known_to_the_margin_alone() -> None:
    found = compare(even(Side(5, 100), Side(5, 100)), TERMS["ttft"])

    # No slice differs, so the error is what 3000 requests at the margin would vary by:
    # 1.7291 * sqrt(0.05 / 3000) = 0.00706.
    assert (found.difference, found.lower) == (0.0, 0.0)
    assert found.upper == pytest.approx(0.00706, abs=5e-6)
    assert found.verdict == PASS


def test_the_error_is_that_of_the_paired_differences() -> None:
    # The candidate has 10 or 14 slow ones of 100, in turn by two; the baseline 10. The residuals
    # are +-0.02, their variance 0.0004. Half of the mean squared step is 0.0016 / 2 in 14 of 29
    # steps: 0.000386, less 1/30 of the variance is 0.932 of it: 2 / 0.932 - 1 = 1.146.
    slices = [
        Slice(60.0 * n, Side(10, 100), Side(10 if n // 2 % 2 else 14, 100)) for n in range(32)
    ]
    by = replace(TERMS["ttft"], least_slices=20)

    found = compare(slices, by)

    variance, steps = 0.0004, 15 * 0.0016 / 31 / 2
    error = math.sqrt(variance / 31 * (2 / (steps / variance - 1 / 32) - 1))
    assert found.difference == pytest.approx(0.02)
    assert found.lower == pytest.approx(0.02 - by.t_fail * error)
    assert found.upper == pytest.approx(0.02 + by.t_pass * math.sqrt(error**2 + 0.03 / 3200))


def test_busy_slices_weigh_more_than_idle_ones() -> None:
    slices = even(Side(1, 10), Side(1, 10), 15) + [
        Slice(900 + 60.0 * n, Side(100, 1000), Side(300, 1000)) for n in range(15)
    ]

    found = compare(slices, TERMS["ttft"])

    assert found.candidate == pytest.approx(301 / 1010)


def test_money_is_compared_as_a_ratio() -> None:
    found = compare(even(Side(2.0, 1e6), Side(3.0, 2e6)), TERMS["cost"])

    assert found.difference == pytest.approx(-0.25)
    assert found.upper == pytest.approx(-0.25)
    assert found.verdict == PASS


def test_what_is_certainly_worse_by_less_than_the_margin_is_tolerated() -> None:
    found = compare(even(Side(500, 10_000), Side(600, 10_000)), TERMS["ttft"])

    assert found.lower is not None
    assert found.lower > 0
    assert found.verdict == PASS


def test_what_is_worse_in_every_slice_fails() -> None:
    found = compare(even(Side(5, 100), Side(15, 100)), TERMS["ttft"])

    assert (found.verdict, found.reason) == (FAIL, "worse than the baseline")


# --- too little is never a pass ------------------------------------------------------------------


def test_few_slices_are_inconclusive() -> None:
    found = compare(even(Side(0, 1000), Side(0, 1000), 19), TERMS["errors"])

    text = "19 slices have data on both sides; 20 are needed"
    assert found == Compared(verdict=INCONCLUSIVE, reason=text, slices=19)


def test_no_errors_among_few_requests_are_inconclusive() -> None:
    found = compare(even(Side(0, 9), Side(0, 100)), TERMS["errors"])

    assert found.verdict == INCONCLUSIVE
    assert found.upper is None
    assert found.reason == "270 requests on one side; 300 are needed to pass"


def test_a_handful_of_bad_events_fails_nobody() -> None:
    slices = even(Side(0, 20), Side(0, 20), 21) + [
        Slice(1260 + 60.0 * n, Side(0, 20), Side(1, 20)) for n in range(9)
    ]

    found = compare(slices, TERMS["errors"])

    assert (found.verdict, found.lower) == (INCONCLUSIVE, None)
    assert found.reason.startswith("9 bad ones are too few to call it worse; ")


def test_a_side_that_costs_nothing_is_not_compared() -> None:
    found = compare(even(Side(0.0, 1e6), Side(1.0, 1e6)), TERMS["cost"])

    assert (found.verdict, found.difference) == (INCONCLUSIVE, None)
    assert found.reason == "the baseline used nothing in this time"


def test_slices_that_never_follow_each_other_are_inconclusive() -> None:
    apart = [one._replace(at_seconds=2 * one.at_seconds) for one in even(Side(5, 99), Side(5, 99))]

    found = compare(apart, TERMS["ttft"])

    assert (found.verdict, found.upper) == (INCONCLUSIVE, None)
    assert found.reason == "no two slices with data follow each other"


@pytest.mark.parametrize(
    ("several", "together"),
    [
        ((PASS, PASS), PASS),
        ((PASS, INCONCLUSIVE), INCONCLUSIVE),
        ((FAIL, INCONCLUSIVE, PASS), FAIL),
        ((), INCONCLUSIVE),
    ],
)
def test_verdicts_together(several: tuple[str, ...], together: str) -> None:
    assert canary.overall(several) == together


# --- who shares alpha ----------------------------------------------------------------------------


def test_measures_and_looks_share_alpha_for_failing_and_looks_alone_for_passing() -> None:
    terms = Plan(measures=("ttft", "errors"), alpha=0.04, looks=2).terms("ttft", 0.05)

    assert (terms.alpha_fail, terms.alpha_pass) == (0.01, 0.02)


def test_a_long_window_needs_two_thirds_of_its_slices() -> None:
    plan = Plan(measures=MEASURES, window_seconds=7200)

    assert plan.terms("cost", 0.1).least_slices == 80
