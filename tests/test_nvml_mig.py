"""A GPU that is divided, and one that several processes share."""

import time

import pytest

from burnmeter.model import GpuInstance, GpuProcess
from tests.nvml import Clock, Node, Sources, figures, read

QUICK = {"nvml_time_ratio": 1.0, "processes_every": 1}

INSTANCE = {
    "uuid": "MIG-c",
    "name": "another",
    "gi": 3,
    "ci": 3,
    "slices": 2,
    "memory_used": 0,
    "memory_total": 12_000_000_000,
}


def divide(node: Node, gpu: int) -> None:
    """One H100 into 3g.40gb and 2g.20gb, with holes in the numbering, as after a change."""
    parts = {
        "mig": 7,
        "utilisation": None,
        "mig0.uuid": "MIG-a",
        "mig0.name": "NVIDIA H100 80GB HBM3 MIG 3g.40gb",
        "mig0.gi": 2,
        "mig0.ci": 0,
        "mig0.slices": 3,
        "mig0.memory_used": 30_000_000_000,
        "mig0.memory_total": 42_000_000_000,
        "mig4.uuid": "MIG-b",
        "mig4.name": "NVIDIA H100 80GB HBM3 MIG 2g.20gb",
        "mig4.gi": 5,
        "mig4.ci": 0,
        "mig4.slices": 2,
        "mig4.memory_used": 0,
        "mig4.memory_total": 20_000_000_000,
        "gi2.gpm.2": 80.0,
        "gi5.gpm.2": 5.0,
        "compute": ["71 1000 2 0", "72 2000 5 0", "71 500 5 0"],
    }
    node.says({f"{gpu}.{key}": value for key, value in parts.items()})


def test_each_instance_has_its_share_memory_and_processes(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    divide(gpu_node, 1)

    whole, divided = read(gpu_source(**QUICK)).gpus

    assert whole.instances is None
    assert divided.instances == (
        GpuInstance(
            uuid="MIG-a",
            name="NVIDIA H100 80GB HBM3 MIG 3g.40gb",
            compute_ratio=3 / 7,
            memory_used_bytes=30e9,
            memory_total_bytes=42e9,
        ),
        GpuInstance(
            uuid="MIG-b",
            name="NVIDIA H100 80GB HBM3 MIG 2g.20gb",
            compute_ratio=2 / 7,
            memory_used_bytes=0.0,
            memory_total_bytes=20e9,
        ),
    )
    assert divided.processes == (
        GpuProcess(pid=71, memory_bytes=1000.0, instance="MIG-a"),
        GpuProcess(pid=71, memory_bytes=500.0, instance="MIG-b"),
        GpuProcess(pid=72, memory_bytes=2000.0, instance="MIG-b"),
    )
    assert "utilisation_ratio" in divided.unsupported


def test_shares_are_of_the_slices_that_the_board_has(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)
    divide(gpu_node, 0)
    gpu_node.says({"0.name": "NVIDIA A30", "0.mig": 4, "0.mig0.slices": 1, "0.mig4.uuid": None})
    gpu_node.says({f"0.mig1.{key}": value for key, value in INSTANCE.items()})

    (gpu,) = read(gpu_source(**QUICK)).gpus

    assert [one.compute_ratio for one in gpu.instances or ()] == [1 / 4, 2 / 4]


def test_compute_instances_within_one_gpu_instance_are_told_apart(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    divide(gpu_node, 0)
    gpu_node.says({"0.mig0.gi": 0, "0.compute": ["71 1000 0 0", "72 2000 0 3"]})
    gpu_node.says({f"0.mig1.{key}": value for key, value in (INSTANCE | {"gi": 0}).items()})

    (gpu,) = read(gpu_source(**QUICK)).gpus

    assert [(one.pid, one.instance) for one in gpu.processes or ()] == [
        (71, "MIG-a"),
        (72, "MIG-c"),
    ]


def test_a_process_on_no_instance_is_not_one_on_an_instance_that_is_half_known(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    divide(gpu_node, 0)
    unknown = 2**32 - 1
    gpu_node.says({"0.compute": ["71 1000", f"71 500 2 {unknown}", f"71 30 {unknown} 0"]})

    (gpu,) = read(gpu_source(**QUICK)).gpus

    assert [(one.memory_bytes, one.instance) for one in gpu.processes or ()] == [
        (1000.0, None),
        (500.0, None),
        (30.0, None),
    ]


def test_each_instance_has_a_profile_of_its_own(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)
    divide(gpu_node, 0)
    reader = gpu_source(**QUICK)

    read(reader)
    time.sleep(0.15)
    found = figures(read(reader).gpus[0])

    active = {key: value for key, value in found.items() if key.startswith("gpu_sm_active")}
    assert active == {"gpu_sm_active_ratio{mig=MIG-a}": 0.8, "gpu_sm_active_ratio{mig=MIG-b}": 0.05}


def test_a_gpu_that_is_made_whole_again_is_asked_again_what_it_lacked(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    divide(gpu_node, 0)
    reader = gpu_source(**QUICK)
    (divided,) = read(reader).gpus

    gpu_node.says({"0.mig": 0, "0.utilisation": 50, "0.compute": ["71 1000"]})
    read(reader)
    (whole,) = read(reader).gpus

    assert divided.utilisation_ratio is None
    assert (whole.instances, whole.utilisation_ratio) == (None, 0.5)
    assert whole.processes == (GpuProcess(pid=71, memory_bytes=1000.0),)


def test_an_instance_that_is_being_taken_away_is_left_out(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    divide(gpu_node, 0)
    gpu_node.says({"0.mig4.slices": None})

    (gpu,) = read(gpu_source(**QUICK)).gpus

    assert gpu.instances is not None
    assert [instance.uuid for instance in gpu.instances] == ["MIG-a"]


@pytest.mark.parametrize(
    "function",
    [
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetMaxMigDeviceCount",
        "nvmlDeviceGetMigDeviceHandleByIndex",
        "nvmlDeviceGetAttributes_v2",
    ],
)
def test_a_gpu_stays_divided_as_it_was_while_the_driver_cannot_tell(
    function: str, gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    divide(gpu_node, 0)
    reader = gpu_source(**QUICK)
    (before,) = read(reader).gpus

    gpu_node.says({f"0.error.{function}": 999})
    (unknown,) = read(reader).gpus
    gpu_node.says({f"0.error.{function}": None})
    (after,) = read(reader).gpus

    assert before.instances is not None
    assert before.instances == unknown.instances == after.instances
    assert before.processes == unknown.processes
    assert (unknown.failure, unknown.unsupported) == (None, before.unsupported)


def test_a_new_reader_that_cannot_tell_at_first_does_not_make_a_gpu_whole(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=1)
    divide(gpu_node, 0)
    reader = gpu_source(nvml_time_ratio=1.0, processes_every=100)
    (before,) = read(reader).gpus

    gpu_node.says({"segfault": "nvmlDeviceGetTemperature"})
    read(reader)
    gpu_node.says({"segfault": None, "0.error.nvmlDeviceGetMigMode": 999})
    gpu_clock.passes(1)
    (unknown,) = read(reader).gpus
    gpu_node.says({"0.error.nvmlDeviceGetMigMode": None})
    for _ in range(3):
        time.sleep(0.11)
        (known,) = read(reader).gpus
    gpu_node.says({"0.mig": 0})
    (whole,) = read(reader).gpus

    assert before.instances is not None
    assert unknown.instances == known.instances == before.instances
    assert known.processes == before.processes
    assert figures(known)["gpu_sm_active_ratio{mig=MIG-a}"] == 0.8
    assert whole.instances is None


def test_a_gpu_that_is_divided_anew_has_its_processes_listed_by_the_next_reading(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    divide(gpu_node, 0)
    reader = gpu_source(nvml_time_ratio=1.0, processes_every=100)
    read(reader)

    gpu_node.says({"0.mig4.uuid": "MIG-c", "0.compute": ["73 10 5 0"]})
    read(reader)
    (gpu,) = read(reader).gpus

    assert gpu.processes == (GpuProcess(pid=73, memory_bytes=10.0, instance="MIG-c"),)


def test_a_figure_goes_on_where_it_was_when_the_driver_begins_or_ceases_to_count_it(
    gpu_node: Node, gpu_source: Sources
) -> None:
    """While it is divided the board has no such counter, so that it is sampled."""
    gpu_node.has(gpus=1)
    divide(gpu_node, 0)
    gpu_node.says({"0.field.74": None, "0.reasons": 0x04})
    reader = gpu_source(**QUICK)
    capped = "gpu_throttle_seconds_total{reason=power_cap}"

    read(reader)
    time.sleep(0.2)
    (divided,) = read(reader).gpus
    gpu_node.says({"0.mig": 0, "0.field.74": 9_000_000_000})
    for _ in range(2):
        read(reader)
    (first,) = read(reader).gpus
    gpu_node.says({"0.field.74": 11_500_000_000, "0.reasons": 0})
    (whole,) = read(reader).gpus
    gpu_node.says({"0.field.74": 500_000_000})  # The driver was loaded anew.
    (reloaded,) = read(reader).gpus
    gpu_node.says({"0.mig": 7, "0.field.74": None})
    for _ in range(3):
        read(reader)
    (divided_again,) = read(reader).gpus

    sampled = figures(divided)[capped]
    assert 0.1 < sampled < 3
    assert sampled <= figures(first)[capped] < sampled + 1
    assert figures(whole)[capped] == pytest.approx(figures(first)[capped] + 2.5)
    assert figures(reloaded)[capped] == pytest.approx(figures(whole)[capped] + 0.5)
    assert figures(divided_again)[capped] == figures(reloaded)[capped]
    for gpu in (divided, first, whole, divided_again):
        assert [one[:2] for one in gpu.meters].count(
            (capped.split("{")[0], (("reason", "power_cap"),))
        ) == 1


# --- several processes on one GPU --------------------------------------------------------------


def test_shared_gpus_say_how_much_each_process_computed_each_sample_once(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says(
        {
            "0.compute": ["71 1000", "72 2000", "73 10"],
            "0.sm": ["1000 71 60", "1000 72 20", "2000 71 40", "2000 72 40"],
        }
    )
    reader = gpu_source(**QUICK)

    ratios = [[one.sm_ratio for one in read(reader).gpus[0].processes or ()]]
    ratios.append([one.sm_ratio for one in read(reader).gpus[0].processes or ()])
    gpu_node.says({"0.sm": ["1000 71 60", "2000 71 40", "3000 72 90"]})
    ratios.append([one.sm_ratio for one in read(reader).gpus[0].processes or ()])

    assert ratios == [
        [0.5, 0.3, 0.0],
        [None, None, None],  # Nothing new: not known, and not what it was.
        [0.0, 0.9, 0.0],
    ]


def test_one_process_alone_is_not_asked_how_much_it_computed(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.sm": ["1000 4242 60"]})
    reader = gpu_source(**QUICK)

    read(reader)
    (gpu,) = read(reader).gpus

    assert [one.sm_ratio for one in gpu.processes or ()] == [None]
    assert "nvmlDeviceGetProcessUtilization 0" not in gpu_node.calls()


def test_a_driver_that_cannot_tell_processes_apart_says_nothing(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.compute": ["71 1000", "72 2000"]})
    reader = gpu_source(**QUICK)

    read(reader)
    gpu_node.calls()
    (gpu,) = read(reader).gpus

    assert [one.sm_ratio for one in gpu.processes or ()] == [None, None]
    assert "nvmlDeviceGetProcessUtilization 0" not in gpu_node.calls()
    assert gpu.unsupported == ()
