"""What a GPU's meters came to: over reloads, silence, and boards that count no energy."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import meters
from burnmeter.meters import Energy, Meters
from burnmeter.model import Failure, Figure, Gpu
from tests.fakes import gpu

NONE = Energy(None, 0.0)
LOST = Gpu(index=0, uuid="GPU-0", name="H100", failure=Failure("gone", "fell off the bus"))


def seen(*looks: Gpu) -> Meters:
    """What is known after some looks at one GPU, 5 s apart."""
    found = Meters()
    for look in looks:
        found = meters.read(found, [look], 5.0)
    return found


def took(*looks: Gpu) -> Energy | None:
    """What it took in the last tick."""
    return seen(*looks).energy.get("GPU-0")


def counted(joules: float | None, *, sampled: float | None = None) -> Gpu:
    return replace(gpu("GPU-0", energy_joules=joules), power_joules=sampled)


def held_down(seconds: float) -> Gpu:
    reason = (("reason", "power_cap"),)
    figure = Figure("gpu_throttle_seconds_total", reason, seconds)
    return replace(gpu("GPU-0"), meters=(figure,))


def test_what_was_counted_before_our_time_is_not_ours() -> None:
    found = seen(counted(1e9))

    assert found.energy == {}
    assert found.joules == {"GPU-0": 0.0}


@pytest.mark.parametrize(
    ("shown", "total"),
    [
        ([1000.0, 1700.0], 700.0),
        ([1000.0, 1700.0, 50.0], 750.0),
        ([1000.0, None, 2400.0], 1400.0),
        ([1000.0, None, 100.0, 150.0], 150.0),
        ([1000.0, 1000.0], 0.0),
    ],
    ids=["grown", "reloaded", "silent once", "reloaded while silent", "standing"],
)
def test_energy_is_what_the_driver_s_counter_grew_by(
    shown: list[float | None], total: float
) -> None:
    assert seen(*map(counted, shown)).joules["GPU-0"] == total


def test_samples_of_power_stand_in_where_the_board_counts_no_energy() -> None:
    found = seen(counted(None, sampled=0.0), counted(None, sampled=1500.0))

    assert found.energy["GPU-0"] == Energy(1500.0, 5.0)
    assert found.joules["GPU-0"] == 1500.0


def test_a_counter_that_is_silent_once_is_not_made_up_for_by_samples() -> None:
    """It catches up by itself; samples beside it would count the time twice."""
    found = seen(counted(1000.0, sampled=0.0), counted(None, sampled=900.0))

    assert found.energy["GPU-0"] == Energy(None, 0.0)
    assert found.joules["GPU-0"] == 0.0


def test_while_the_driver_is_silent_energy_is_not_known_and_then_of_all_that_time() -> None:
    silent = replace(LOST, failure=Failure("timeout", "the driver hangs"))
    readings = counted(1000.0), counted(1500.0)

    assert took(*readings, silent) == took(*readings, LOST) == Energy(None, 0.0)
    assert took(*readings, silent, silent, counted(2200.0)) == Energy(700.0, 15.0)
    assert took(*readings, LOST, LOST, counted(2200.0)) == Energy(700.0, 5.0)  # Nobody's time.
    assert took(silent) is None


def test_samples_do_not_catch_up() -> None:
    silent = replace(LOST, failure=Failure("timeout", "the driver hangs"))
    readings = counted(None, sampled=0.0), counted(None, sampled=1500.0)

    assert took(*readings, silent) == Energy(None, 0.0)
    assert took(*readings, silent, counted(None, sampled=1800.0)) == Energy(300.0, 5.0)


def test_energy_that_no_board_can_draw_is_not_believed() -> None:
    """A counter that fell to 0 and came back with all that it ever counted; 700 W is its limit."""
    shown = [replace(counted(joules), power_limit_watts=700.0) for joules in (9e9, 9e9, 0.0, 9e9)]

    assert took(*shown) is None
    assert took(*shown, replace(shown[-1], energy_joules=9e9 + 3500.0)) == Energy(3500.0, 5.0)
    assert seen(*shown).joules["GPU-0"] == 0.0
    assert took(counted(0.0), counted(50_000.0)) == Energy(50_000.0, 5.0)
    assert took(counted(0.0), counted(50_001.0)) is None


def test_a_total_goes_on_when_the_driver_begins_to_count_what_was_sampled() -> None:
    readings = counted(None, sampled=0.0), counted(None, sampled=200.0)
    both = counted(7000.0, sampled=500.0)

    assert seen(*readings, both).joules["GPU-0"] == 500.0
    assert seen(*readings, both, counted(7400.0, sampled=950.0)).joules["GPU-0"] == 900.0


def test_a_lost_gpu_keeps_what_it_came_to_and_goes_on_from_there() -> None:
    before = seen(counted(1000.0), counted(1500.0), LOST)
    after = seen(counted(1000.0), counted(1500.0), LOST, counted(1800.0))

    assert before.joules["GPU-0"] == 500.0
    assert after.joules["GPU-0"] == 800.0


def test_a_meter_that_is_passed_on_leaves_as_its_total() -> None:
    found = seen(held_down(100.0), held_down(104.0), held_down(1.0))

    assert found.figures("GPU-0") == (
        Figure("gpu_throttle_seconds_total", (("reason", "power_cap"),), 5.0),
    )


def test_a_meter_that_a_board_gives_only_later_begins_at_zero() -> None:
    found = seen(gpu("GPU-0"), held_down(100.0), held_down(101.0))

    assert found.figures("GPU-0")[0].value == 1.0


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e9)), max_size=20))
def test_a_total_never_falls_and_a_growth_is_never_negative(shown: list[float | None]) -> None:
    found, total = Meters(), 0.0
    for joules in shown:
        found = meters.read(found, [LOST if joules is None else counted(joules)], 5.0)
        now = found.joules.get("GPU-0", 0.0)

        assert now >= total
        assert (found.energy.get("GPU-0", NONE).joules or 0.0) == pytest.approx(
            now - total, abs=1e-3
        )
        total = now
