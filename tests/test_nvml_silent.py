"""A GPU that does not answer, cannot say who it is, or comes back: one GPU all the time."""

from itertools import pairwise

import pytest

from burnmeter.model import GpuProcess
from tests.nvml import Clock, Node, Sources, failure, read


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [(15, "gone", "fell off the bus"), (16, "driver", "reset"), (999, "driver", "Unknown Error")],
    ids=["lost", "reset_required", "unknown"],
)
def test_a_gpu_that_does_not_answer_fails_alone_and_comes_back(
    error: int, kind: str, words: str, gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source()
    read(reader)

    gpu_node.fails(0, error)
    lost, other = read(reader).gpus
    gpu_node.fails(0, None)
    back, _ = read(reader).gpus

    assert lost.failure is not None
    assert lost.failure.kind == kind
    assert words in lost.failure.message
    assert (lost.uuid, lost.name, lost.power_watts) == ("GPU-0", "NVIDIA H100 80GB HBM3", None)
    assert lost.processes is None
    assert (other.failure, other.temperature_celsius) == (None, 41.0)
    assert (back.failure, back.power_watts) == (None, 312.5)


@pytest.mark.parametrize(("error", "kind"), [(15, "gone"), (16, "driver")])
def test_a_gpu_lost_in_the_midst_of_a_reading_has_failed_and_is_asked_no_more(
    error: int, kind: str, gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source()
    read(reader)

    gpu_node.says({"0.error.nvmlDeviceGetTemperature": error})
    gpu_node.calls()
    lost, other = read(reader).gpus

    assert lost.failure is not None
    assert (lost.failure.kind, lost.memory_used_bytes) == (kind, None)
    assert other.failure is None
    calls = gpu_node.calls()
    assert "nvmlDeviceGetMemoryInfo_v2 0" in calls
    assert "nvmlDeviceGetClockInfo 0" not in calls


def test_a_lost_gpu_that_cannot_say_its_uuid_keeps_its_identity(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source()
    read(reader)

    gpu_node.says({"0.error": 15})

    lost, other = read(reader).gpus
    assert (lost.uuid, lost.name) == ("GPU-0", "NVIDIA H100 80GB HBM3")
    assert lost.failure is not None
    assert other.failure is None


def test_a_gpu_lost_before_it_was_ever_seen_is_told_of_and_is_no_gpu_beside_itself(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    gpu_node.says({"1.error": 15})
    reader = gpu_source()

    lost = read(reader)
    gpu_node.says({"1.error": None})
    back = read(reader)

    assert [(gpu.uuid, gpu.failure) for gpu in lost.gpus] == [("GPU-0", None)]
    assert lost.failure is not None
    assert lost.failure.kind == "gone"
    assert lost.failure.message.startswith("GPU 1 never said its uuid, and is left out until it")
    assert "fell off the bus" in lost.failure.message
    assert [(gpu.uuid, gpu.failure) for gpu in back.gpus] == [("GPU-0", None), ("GPU-1", None)]
    assert back.failure is None


def test_a_node_whose_only_gpu_never_said_its_uuid_has_a_failure_and_starts_anew(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.error": 15})
    reader = gpu_source()

    lost = failure(read(reader))
    gpu_node.says({"0.error": None})
    gpu_clock.passes(1)
    gpu_node.calls()
    back = read(reader)

    assert "GPU 0 never said its uuid" in lost.message
    assert [gpu.uuid for gpu in back.gpus] == ["GPU-0"]
    assert "nvmlInitWithFlags -1" in gpu_node.calls()


def test_a_gpu_without_uuid_at_another_index_is_the_one_that_is_missing(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=3)
    reader = gpu_source()
    read(reader)

    gpu_node.says({"order": "1 2 0", "0.error": 16})
    moved = read(reader)

    assert moved.failure is None
    kinds = {gpu.uuid: gpu.failure and gpu.failure.kind for gpu in moved.gpus}
    assert kinds == {"GPU-0": "driver", "GPU-1": None, "GPU-2": None}


def test_several_gpus_without_uuid_are_those_that_are_missing_whatever_the_order(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=3)
    reader = gpu_source()
    read(reader)

    gpu_node.says({"order": "2 0 1", "0.error": 16, "1.error": 16})
    two = read(reader)
    gpu_node.says({"gpus": 4, "order": "3 2 0 1", "3.error": 999, "2.error": 16})
    all_and_a_new_one = read(reader)

    kinds = {gpu.uuid: gpu.failure and gpu.failure.kind for gpu in two.gpus}
    assert kinds == {"GPU-0": "driver", "GPU-1": "driver", "GPU-2": None}
    assert two.failure is None
    assert {gpu.uuid for gpu in all_and_a_new_one.gpus} == {"GPU-0", "GPU-1", "GPU-2"}
    assert all(gpu.failure is not None for gpu in all_and_a_new_one.gpus)
    assert all_and_a_new_one.failure is not None


def test_of_two_that_had_an_index_the_one_seen_last_is_meant(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source()
    read(reader)

    gpu_node.says({"1.uuid": "GPU-swapped"})
    read(reader)
    gpu_node.says({"1.error": 16})
    lost = read(reader)

    messages = {gpu.uuid: gpu.failure and gpu.failure.message for gpu in lost.gpus}
    assert "lists it no more" in (messages["GPU-1"] or "")
    assert "needs a reset" in (messages["GPU-swapped"] or "")


def test_a_gpu_that_the_driver_lists_no_more_is_gone_not_forgotten(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source()
    read(reader)

    gpu_node.says({"gpus": 1})

    _, gone = read(reader).gpus
    assert gone.uuid == "GPU-1"
    assert gone.failure is not None
    assert gone.failure.kind == "gone"
    assert "lists it no more" in gone.failure.message


def test_while_a_gpu_is_lost_a_new_session_looks_for_it_each_minute(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=2)
    gpu_node.says({"0.error": 15})
    reader = gpu_source()
    sessions = []

    for _ in range(6):
        read(reader)
        sessions.append(gpu_node.calls().count("nvmlInitWithFlags -1"))
        gpu_clock.passes(25)

    assert sessions == [1, 0, 0, 0, 1, 0]


def test_when_all_gpus_are_lost_nvml_is_initialised_anew(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source()
    read(reader)

    gpu_node.says({"0.error": 15, "1.error": 15})
    lost = read(reader)
    waiting = failure(read(reader))
    gpu_node.says({"0.error": None, "1.error": None})
    gpu_clock.passes(1)
    gpu_node.calls()
    back = read(reader)

    assert [gpu.failure is None for gpu in lost.gpus] == [False, False]
    assert waiting.kind == "driver"
    assert "no GPU answered" in waiting.message
    assert [gpu.failure for gpu in back.gpus] == [None, None]
    assert "nvmlInitWithFlags -1" in gpu_node.calls()


# --- who holds it when it is back --------------------------------------------------------------

LIST = "nvmlDeviceGetComputeRunningProcesses_v3 {}"


def test_a_gpu_that_answers_again_has_its_processes_listed_by_the_next_reading(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source(processes_every=100)
    read(reader)

    gpu_node.fails(0, 15)
    read(reader)
    gpu_node.fails(0, None)
    gpu_node.calls()
    found = [read(reader).gpus[0].processes for _ in range(5)]

    assert found == [None, *[(GpuProcess(pid=4242, memory_bytes=1_048_576.0),)] * 4]
    assert gpu_node.calls().count(LIST.format(0)) == 2  # NVML is asked how many first.


def test_a_gpu_that_is_new_has_its_processes_listed_by_the_next_reading(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    gpu_node.says({"gpus": 1})
    reader = gpu_source(processes_every=100)
    read(reader)

    gpu_node.says({"gpus": 2})
    found = [read(reader).gpus[1].processes is None for _ in range(3)]

    assert found == [True, False, False]


def test_gpus_that_were_all_silent_when_processes_were_due_are_listed_when_they_are_back(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=1)
    reader = gpu_source(processes_every=3)
    for _ in range(3):
        read(reader)

    gpu_node.fails(0, 15)
    read(reader)
    gpu_node.fails(0, None)
    gpu_clock.passes(1)

    assert read(reader).gpus[0].processes is not None


def test_a_gpu_that_comes_and_goes_has_its_processes_listed_early_once_in_five_readings(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    reader = gpu_source(processes_every=100)
    read(reader)
    lists = []

    for reading in range(20):
        gpu_node.fails(0, 15 if reading % 2 == 0 else None)
        gpu_node.calls()
        read(reader)
        lists.append(LIST.format(1) in gpu_node.calls())

    early = [reading for reading, is_listed in enumerate(lists) if is_listed]
    assert 2 <= len(early) <= 4
    assert all(later - earlier >= 5 for earlier, later in pairwise(early))


def test_a_gpu_that_cannot_list_processes_is_not_asked_early_again(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    gpu_node.says({"0.compute": None})
    reader = gpu_source(processes_every=100)
    read(reader)

    gpu_node.calls()
    for _ in range(7):
        read(reader)

    assert LIST.format(1) not in gpu_node.calls()
