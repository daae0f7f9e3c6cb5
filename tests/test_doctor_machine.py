"""What doctor says of the boards themselves."""

from typing import Any

import pytest

from burnmeter.doctor import machine
from burnmeter.model import Failure, Gpu, GpuReading

H100 = "NVIDIA H100 80GB HBM3"


def gpu(index: int, *unsupported: str, **changes: Any) -> Gpu:
    given = {"name": H100, "unsupported": unsupported} | changes
    return Gpu(index=index, uuid=f"GPU-{index}", **given)


def told(*gpus: Gpu) -> list[tuple[str, str, str]]:
    """State, subject and text of each line but the first, which counts them."""
    reading = GpuReading(
        at_seconds=0.0,
        timestamp_seconds=0.0,
        duration_seconds=0.0,
        gpus=gpus,
        driver_version="570.86",
    )
    first, *rest = machine.gpus(reading)
    assert first.text == f"{len(gpus)} GPUs, driver 570.86"
    return [(one.state, one.subject, one.text) for one in rest]


def test_a_gpu_that_says_not_who_it_is_stands_beside_those_that_do() -> None:
    text = "GPU 1 never said its uuid, and is left out until it does"
    part = GpuReading(
        at_seconds=0.0,
        timestamp_seconds=0.0,
        duration_seconds=0.0,
        gpus=(gpu(0),),
        failure=Failure("driver", text),
    )

    found = [(one.state, one.text) for one in machine.gpus(part)]
    assert found == [("wrong", text), ("ok", "1 GPUs, driver unknown")]


@pytest.mark.parametrize("action", [None, "none"])
def test_a_board_of_which_nothing_is_to_be_said_has_no_line(action: str | None) -> None:
    assert told(gpu(0, recovery_action=action)) == []


@pytest.mark.parametrize(
    ("action", "meaning"),
    [
        ("drain_p2p", "Stop the programs that reach other GPUs from here, then ask again."),
        ("unknown", "One that burnmeter does not know; see `nvidia-smi -q`."),
    ],
)
def test_a_recovery_that_the_driver_asks_for_is_wrong(action: str, meaning: str) -> None:
    text = f"the driver asks for a recovery: {meaning}"

    assert told(gpu(0), gpu(1, recovery_action=action)) == [("wrong", "gpu 1", text)]


def test_what_boards_alike_do_not_give_is_said_once() -> None:
    lacks = "gpu_dram_active_ratio", "gpu_sm_active_ratio"
    old = gpu(2, *lacks, name="Tesla T4")

    found = told(gpu(0, *lacks), gpu(1, *lacks), old, gpu(3, lacks[0]), gpu(4))

    both = "it does not give gpu_dram_active_ratio, gpu_sm_active_ratio"
    assert found == [
        ("ok", "gpu 0, 1", f"{H100}; {both}"),
        ("ok", "gpu 2", f"Tesla T4; {both}"),
        ("ok", "gpu 3", f"{H100}; it does not give gpu_dram_active_ratio"),
    ]


def test_a_board_that_does_not_answer_says_that_alone() -> None:
    lost = gpu(0, "energy_joules", failure=Failure("gone", "GPU is lost"), recovery_action="x")

    assert told(lost) == [("wrong", "gpu 0", "GPU is lost")]


def test_a_board_that_asks_for_a_recovery_still_says_what_it_does_not_give() -> None:
    found = told(gpu(0, "energy_joules", recovery_action="reset_gpu"))

    assert [state for state, _, _ in found] == ["wrong", "ok"]
