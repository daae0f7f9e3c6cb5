"""GPUs as the agent sees them: the real pynvml in the real child process, over a stub library."""

from dataclasses import replace
from pathlib import Path

from burnmeter.model import Gpu, GpuProcess
from tests.nvml import Clock, Node, Sources, build, figures, read

# --- what a GPU says ---------------------------------------------------------------------------


def test_readings_arrive_in_base_units(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)

    reading = read(gpu_source())

    assert reading.failure is None
    assert reading.driver_version == "570.86.15"
    (gpu,) = reading.gpus
    assert replace(gpu, gauges=(), meters=()) == Gpu(
        index=0,
        uuid="GPU-0",
        name="NVIDIA H100 80GB HBM3",
        utilisation_ratio=0.5,
        utilisation_min_ratio=0.5,
        utilisation_max_ratio=0.5,
        memory_used_bytes=42e9,
        memory_total_bytes=85_520_809_984.0,
        memory_bandwidth_bytes_per_second=3.35232e12,
        power_watts=312.5,
        power_min_watts=312.5,
        power_max_watts=312.5,
        power_window_seconds=1.0,
        power_limit_watts=700.0,
        power_joules=0.0,
        energy_joules=123_456.5,
        temperature_celsius=41.0,
        sm_clock_hertz=1.98e9,
        memory_clock_hertz=2.619e9,
        processes=(GpuProcess(pid=4242, memory_bytes=1_048_576.0),),
        recovery_action="none",
    )


def test_a_reading_of_zero_stays_zero(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.utilisation": 0, "0.memory_used": 0, "0.energy": 0, "0.compute": "none"})

    (gpu,) = read(gpu_source()).gpus

    assert (gpu.utilisation_ratio, gpu.memory_used_bytes, gpu.energy_joules) == (0.0, 0.0, 0.0)
    assert gpu.processes == ()
    assert gpu.unsupported == ()


def test_what_a_board_does_not_support_is_absent_listed_and_not_asked_again(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    gpu_node.says({"0.utilisation": None, "0.memory_used": None, "0.compute": None})
    reader = gpu_source(processes_every=1)

    gpus = read(reader).gpus
    gpu_node.calls()
    again = read(reader).gpus

    assert [gpu.unsupported for gpu in gpus] == [gpu.unsupported for gpu in again]
    assert (gpus[0].utilisation_ratio, gpus[0].memory_used_bytes, gpus[0].processes) == (None,) * 3
    assert gpus[0].unsupported == (
        "memory_total_bytes",
        "memory_used_bytes",
        "processes",
        "utilisation_ratio",
    )
    assert gpus[1].unsupported == ()
    calls = gpu_node.calls()
    assert "nvmlDeviceGetUtilizationRates 0" not in calls
    assert "nvmlDeviceGetUtilizationRates 1" in calls


def test_a_value_that_nvml_marks_as_not_available_is_absent(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.power": 2**32 - 1, "0.compute": ["7 -", "8 0"]})

    (gpu,) = read(gpu_source()).gpus

    assert gpu.power_watts is None
    assert gpu.processes == (GpuProcess(pid=7), GpuProcess(pid=8, memory_bytes=0.0))


def test_a_field_that_fails_once_is_absent_once(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.error.nvmlDeviceGetPowerUsage": 999})
    reader = gpu_source()

    (failing,) = read(reader).gpus
    gpu_node.says({"0.error.nvmlDeviceGetPowerUsage": None})
    (gpu,) = read(reader).gpus

    assert (failing.power_watts, failing.failure, failing.unsupported) == (None, None, ())
    assert failing.temperature_celsius == 41.0
    assert gpu.power_watts == 312.5


def test_an_old_driver_lacks_functions_but_not_the_rest(
    gpu_node: Node, gpu_source: Sources, tmp_path: Path
) -> None:
    gpu_node.has(gpus=1)
    old = build(tmp_path, "-DOLD_DRIVER")

    (gpu,) = read(gpu_source(library_path=str(old))).gpus

    assert gpu.energy_joules is None
    assert "energy_joules" in gpu.unsupported
    assert "gpu_sm_active_ratio" in gpu.unsupported
    assert gpu.power_watts == 312.5
    # What no counter has is sampled: seconds held down, and PCIe by its slow call.
    assert "gpu_throttle_seconds_total{reason=power_cap}" not in gpu.unsupported
    assert figures(gpu)["gpu_pcie_bytes_per_second{direction=sent}"] == 2_048_000.0
    assert gpu.memory_used_bytes == 42.6e9  # Version 1 of the call counts the reserve as used.
    assert gpu.processes == (GpuProcess(pid=4242, memory_bytes=1_048_576.0),)


def test_sixteen_gpus_are_read_in_one_go(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=16)

    reading = read(gpu_source())

    assert [gpu.uuid for gpu in reading.gpus] == [f"GPU-{i}" for i in range(16)]
    assert {gpu.energy_joules for gpu in reading.gpus} == {123_456.5}


def test_a_gpu_is_its_uuid_when_the_order_changes(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=2)
    gpu_node.says({"0.power": 100_000, "1.power": 200_000, "1.temperature": None})
    reader = gpu_source()

    before = read(reader).gpus
    gpu_node.says({"order": "1 0"})
    after = read(reader).gpus

    assert [(g.index, g.uuid, g.power_watts) for g in before] == [
        (0, "GPU-0", 100.0),
        (1, "GPU-1", 200.0),
    ]
    assert [(g.index, g.uuid, g.power_watts) for g in after] == [
        (0, "GPU-1", 200.0),
        (1, "GPU-0", 100.0),
    ]
    assert [g.unsupported for g in after] == [("temperature_celsius",), ()]


def test_a_node_with_a_driver_and_no_gpu_is_no_failure(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=0)

    reading = read(gpu_source())

    assert (reading.gpus, reading.failure) == ((), None)


# --- processes and events ----------------------------------------------------------------------


def test_process_lists_are_asked_rarely_and_remembered(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)
    reader = gpu_source(processes_every=3)
    pids = []
    lists = []

    for pid in range(1, 8):
        gpu_node.says({"0.compute": f"{pid} 100"})
        (gpu,) = read(reader).gpus
        assert gpu.processes is not None
        pids.append(gpu.processes[0].pid)
        lists.append(gpu_node.calls().count("nvmlDeviceGetGraphicsRunningProcesses_v3 0"))

    assert pids == [1, 1, 1, 4, 4, 4, 7]
    assert lists == [1, 0, 0, 1, 0, 0, 1]


def test_a_list_that_fails_is_not_known_rather_than_old(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    reader = gpu_source(processes_every=2)

    read(reader)
    read(reader)
    gpu_node.says({"0.error.nvmlDeviceGetComputeRunningProcesses_v3": 999})
    failed = [read(reader).gpus[0].processes for _ in range(2)]
    gpu_node.says({"0.error.nvmlDeviceGetComputeRunningProcesses_v3": None})

    assert failed == [None, None]
    assert read(reader).gpus[0].processes is not None


def test_a_process_is_counted_once_over_lists_and_summed_over_mig_instances(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.compute": ["5 100", "5 20", "6 -"], "0.graphics": ["5 120", "6 30", "9 40"]})

    (gpu,) = read(gpu_source()).gpus

    assert gpu.processes is not None
    assert [(p.pid, p.memory_bytes) for p in gpu.processes] == [(5, 120), (6, 30), (9, 40)]


def test_the_slow_pcie_counters_are_never_asked(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)

    read(gpu_source(processes_every=1))

    calls = gpu_node.calls()
    assert "nvmlDeviceGetPowerUsage 0" in calls
    assert not [call for call in calls if "Pcie" in call]


def test_xids_are_counted_by_code_and_gpu_also_over_a_crash(
    gpu_node: Node, gpu_source: Sources, gpu_clock: Clock
) -> None:
    gpu_node.has(gpus=2)
    gpu_node.says({"xid": ["1 0 13"]})  # Before anybody listened.
    reader = gpu_source()

    read(reader)
    gpu_node.says({"xid": ["1 0 13", "2 0 79", "3 1 31", "4 1 31"]})
    counts = [dict(gpu.xid_counts) for gpu in read(reader).gpus]
    gpu_node.says({"segfault": "nvmlDeviceGetPowerUsage"})
    read(reader)
    gpu_node.says({"segfault": None})
    gpu_clock.passes(1)
    read(reader)
    gpu_node.says({"xid": ["4 1 31", "5 1 31"]})

    assert counts == [{79: 1}, {31: 2}]
    assert [dict(gpu.xid_counts) for gpu in read(reader).gpus] == [{79: 1}, {31: 3}]


def test_a_board_without_events_lists_xids_as_unsupported(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"error.nvmlDeviceRegisterEvents": 3})

    (gpu,) = read(gpu_source()).gpus

    assert gpu.unsupported == ("xid_counts",)
    assert gpu.power_watts is not None
