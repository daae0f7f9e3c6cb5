"""How long the driver is asked: the allowance, what waits, and what its time went to."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter.sources.nvml.budget import SAVED_SECONDS, Budget
from burnmeter.sources.nvml.samples import Samples
from tests.nvml import Node, Sources, figures, read

steps = st.lists(st.tuples(st.floats(0.001, 10), st.floats(0.0001, 0.5)), min_size=1)


@given(steps)
def test_no_more_is_spent_than_was_earned_and_one_question(
    steps: list[tuple[float, float]],
) -> None:
    budget, now, spent, longest = Budget(0.02, 0.0), 0.0, 0.0, 0.0

    for passes, takes in steps:
        now += passes
        budget.earn(now)
        if budget.is_left:
            budget.spend(takes)
            spent, longest = spent + takes, max(longest, takes)

    assert spent <= 0.02 * (now + SAVED_SECONDS) + longest + 1e-9


def test_a_clock_that_steps_back_earns_nothing() -> None:
    budget = Budget(0.5, 100.0)
    budget.spend(0.5 * SAVED_SECONDS)

    budget.earn(40.0)

    assert not budget.is_left


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 700)), min_size=1))
def test_a_summary_lies_within_its_samples(samples: list[tuple[float, float]]) -> None:
    one, now = Samples(gap_seconds=2.0), 0.0
    for passes, value in samples:
        now += passes
        one.add(now, value)

    summary = one.take()

    assert summary is not None
    assert summary.least - 1e-9 <= summary.mean <= summary.greatest + 1e-9
    assert 0 <= summary.integral <= summary.greatest * now + 1e-6
    assert one.take() is None


@pytest.mark.parametrize(
    ("samples", "mean", "integral"),
    [
        # By hand: (100 + 300) / 2 x 1 s + 300 x 0.5 s over 1.5 s.
        ([(0, 100), (1, 300), (1.5, 300)], 350 / 1.5, 350.0),
        # The stretch of 5 s is nobody's: only the first second counts.
        ([(0, 100), (1, 100), (6, 700)], 100.0, 100.0),
        ([(3, 250)], 250.0, 0.0),
    ],
    ids=["uneven", "gap", "single"],
)
def test_means_are_over_time_and_gaps_are_left_out(
    samples: list[tuple[float, float]], mean: float, integral: float
) -> None:
    one = Samples(gap_seconds=2.0)
    for at, value in samples:
        one.add(at, value)

    summary = one.take()

    assert summary is not None
    assert (summary.mean, summary.integral) == (pytest.approx(mean), integral)


def test_two_windows_come_to_the_whole() -> None:
    one, both = Samples(2.0), Samples(2.0)
    parts = []
    for at in range(10):
        one.add(at, at * 10.0)
        both.add(at, at * 10.0)
        if at in (4, 9):
            parts.append(one.take())

    whole = both.take()

    assert whole is not None
    assert sum(part.integral for part in parts if part) == whole.integral


# --- in the child --------------------------------------------------------------------------------


def test_what_can_wait_waits_when_time_is_used_up_and_is_counted(
    gpu_node: Node, gpu_source: Sources
) -> None:
    """The list of processes alone takes more than a thousandth of the time."""
    gpu_node.has(gpus=2)
    gpu_node.says({"delay": "nvmlDeviceGetComputeRunningProcesses_v3 50000"})
    reader = gpu_source(nvml_time_ratio=0.001, processes_every=1)

    reading = read(reader)
    again = read(reader)

    first, second = reading.gpus
    assert "gpu_ecc_errors_total{error=corrected}" not in figures(first)
    assert first.temperature_celsius == second.temperature_celsius == 41.0  # What must be, is.
    assert again.nvml_put_off > reading.nvml_put_off > 0
    assert again.gpus[0].processes is not None


def test_a_slow_answer_stands_until_it_is_due_again(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)
    reader = gpu_source(nvml_time_ratio=1.0)

    read(reader)
    gpu_node.says({"0.field.3": 7})
    (gpu,) = read(reader).gpus

    assert figures(gpu)["gpu_ecc_errors_total{error=corrected}"] == 2.0


def test_time_inside_the_driver_is_told_by_what_was_asked_and_only_grows(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    gpu_node.says({"delay": "nvmlDeviceGetTemperature 5000"})
    reader = gpu_source(samples_per_second=20)

    before = read(reader)
    time.sleep(0.2)
    after = read(reader)

    assert 0.01 <= before.nvml_seconds["heat"] < 0.2
    assert after.nvml_seconds["heat"] >= before.nvml_seconds["heat"] + 0.01
    assert after.nvml_seconds["samples"] > before.nvml_seconds["samples"]
    assert {"handles", "procs", "fields", "gpm"} <= after.nvml_seconds.keys()


def test_samples_are_skipped_when_the_driver_is_slow(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"delay": "nvmlDeviceGetUtilizationRates 50000"})
    reader = gpu_source(samples_per_second=50, nvml_time_ratio=0.01)
    read(reader)
    gpu_node.calls()

    time.sleep(1.5)

    # 0.3 s are saved up at first, which 6 samples use up; 75 would have been due.
    assert gpu_node.calls().count("nvmlDeviceGetUtilizationRates 0") < 15
