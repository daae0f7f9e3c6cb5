"""How long the driver is asked: the allowance, what waits, and what its time went to."""

import os
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter.sources.nvml.budget import EARLY_SECONDS, SAVED_SECONDS, Budget, Pace
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


def test_what_is_saved_is_no_more_than_that_of_half_a_minute() -> None:
    budget, pace = Budget(0.5, 0.0), Pace(0.5, 0.0)

    budget.earn(10_000.0)
    budget.spend(0.5 * SAVED_SECONDS)
    pace.earn(10_000.0)
    pace.sampled(0.5 * EARLY_SECONDS + 0.001)

    assert not budget.is_left
    assert not pace.is_due


@pytest.mark.parametrize(
    ("sample_seconds", "list_seconds", "apart_seconds"),
    [
        # By hand: 0.02 less 0.11 / 30 is 1.63 %, in which 2 ms are earned in 0.12 s.
        (0.002, 0.11, 0.2),
        (0.004, 0.22, 0.4),
        # All else takes more than there is: a quarter is left, in which 4 ms are earned in 0.8 s.
        (0.004, 1.5, 0.9),
        (0.0001, 0.11, 0.1),
    ],
    ids=["8 GPUs", "16 GPUs", "a slow driver", "a fast one"],
)
def test_samples_become_fewer_but_go_on_evenly_while_slow_questions_are_asked(
    sample_seconds: float, list_seconds: float, apart_seconds: float
) -> None:
    """One a tenth of a second is wanted, and processes are listed every 30 s, for ten minutes."""
    pace, sampled_seconds = Pace(0.02, 0.0), [0.0]
    for tenth in range(6000):
        if tenth % 300 == 0:
            pace.asked(list_seconds)
        pace.earn(tenth / 10)
        if pace.is_due:
            pace.sampled(sample_seconds)
            sampled_seconds.append(tenth / 10)

    gaps = [after - before for before, after in pairwise(sampled_seconds)]
    earned_seconds = 600 + SAVED_SECONDS
    left_seconds = max(0.02 * earned_seconds - 20 * list_seconds, 0.005 * earned_seconds)
    assert max(gaps) <= apart_seconds + 1e-6
    assert sample_seconds * len(gaps) <= left_seconds


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


OVERSPENT = """
import pynvml as nv
from burnmeter.sources.nvml.board import AT_LEAST_SECONDS, Board, Meter

now = 1000.0
meter = Meter(0.02, lambda: now, lambda place: None)
meter.charge("procs", 1000.0)
nv.nvmlInit()
board = Board("GPU-0", "a GPU", 9, meter)
handle = nv.nvmlDeviceGetHandleByIndex(0)
for seconds in (0.0, AT_LEAST_SECONDS - 1, 1.0, 1.0):
    now += seconds
    row = {}
    board.fill(row, handle, with_processes=False)
    print("gpu_ecc_errors_total" in str(row["meter"]))
"""


def test_what_was_never_asked_is_asked_although_no_time_is_ever_left(gpu_node: Node) -> None:
    """So is what a GPU seen or divided anew would be asked, on a node whose driver is slow."""
    gpu_node.has(gpus=1)
    environment = os.environ | {"LD_LIBRARY_PATH": gpu_node.library_path}
    command = [sys.executable, "-c", OVERSPENT]

    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)

    assert told.stdout.split() == ["False", "False", "True", "True"]


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

    # Each takes what is earned in 5 s; 75 would have been due.
    assert gpu_node.calls().count("nvmlDeviceGetUtilizationRates 0") < 15
