"""What a GPU says beyond the usual: clocks held down, links, errors, the profile, fast samples."""

import time

import pytest

from burnmeter import catalog
from burnmeter.sources.nvml.answers import Place
from burnmeter.sources.nvml.fast import window_seconds
from burnmeter.sources.nvml.questions import CLOCKS, HEALTH, LINKS, PAGES, PCIE, PLAIN
from tests.nvml import Node, Sources, figures, read

QUICK = {"nvml_time_ratio": 1.0}
"""Nothing waits for its turn: two readings in a row may ask everything."""


def test_measures_that_are_only_passed_on_arrive_in_base_units(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)

    (gpu,) = read(gpu_source(**QUICK)).gpus

    found = figures(gpu)
    assert found["gpu_memory_temperature_celsius"] == 46.0
    assert found["gpu_sm_clock_max_hertz"] == 1.98e9
    assert found["gpu_temperature_limit_celsius{limit=slowdown}"] == 90.0
    assert found["gpu_throttle_seconds_total{reason=power_cap}"] == 5.0
    assert found["gpu_pcie_bytes_total{direction=received}"] == 9e12
    assert found["gpu_nvlink_bytes_total{direction=sent}"] == 1_000_000 * 1024.0
    assert found["gpu_ecc_errors_total{error=corrected}"] == 2.0
    assert found["gpu_ecc_errors_total{error=uncorrected}"] == 0.0
    assert found["gpu_ecc_lifetime_errors{error=corrected}"] == 12.0
    assert found["gpu_remapped_rows{error=corrected}"] == 1.0
    assert found["gpu_row_remap_failed"] == 0.0
    assert found["gpu_pcie_replays_total"] == 3.0
    assert gpu.recovery_action == "none"
    assert gpu.unsupported == ()


def test_every_measure_of_the_questions_is_in_the_catalogue() -> None:
    places: list[Place] = [place for plain in (*PLAIN, PCIE) for place in plain.places]
    places += [one.place for group in (CLOCKS, LINKS, HEALTH, PAGES) for one in group]
    passed_on = [place for place in places if place.kind != "field"]

    assert len(passed_on) > 20
    for place in passed_on:
        metric = catalog.metrics()[catalog.PREFIX + place.name]
        assert set(metric.labels) == {"gpu", "index", *dict(place.labels)}
        assert (metric.kind == "counter") == (place.kind == "meter")


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("field.82", ["gpu_memory_temperature_celsius"]),
        ("field.74", []),  # Sampled instead.
        ("field.138", []),  # The GPM's rate instead.
        ("field.79", ["gpu_throttle_seconds_total{reason=reliability}"]),
        ("field.230", ["recovery_code"]),
        ("slowdown_temperature", ["gpu_temperature_limit_celsius{limit=slowdown}"]),
    ],
)
def test_a_field_that_a_board_lacks_is_absent_and_listed_unless_something_else_gives_it(
    field: str, names: list[str], gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({f"0.{field}": None})

    (gpu,) = read(gpu_source(**QUICK)).gpus

    assert list(gpu.unsupported) == names
    assert not set(names) & figures(gpu).keys()


def test_bytes_counted_in_32_bits_are_not_taken(gpu_node: Node, gpu_source: Sources) -> None:
    """They wrap within a tick: 4 GiB pass over PCIe 5 in a tenth of a second."""
    gpu_node.has(gpus=1)
    gpu_node.says({"0.field.197": "3000000000 1", "0.gpm.20": 100.0})
    reader = gpu_source(**QUICK)

    read(reader)
    time.sleep(0.15)
    found = figures(read(reader).gpus[0])

    assert 0 < found["gpu_pcie_bytes_total{direction=sent}"] < 1e9  # 100 MiB/s by the GPM
    assert found["gpu_pcie_bytes_total{direction=received}"] == 9e12


def test_old_boards_have_retired_pages_and_new_ones_remapped_rows(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    old = {f"1.field.{number}": None for number in (142, 143, 144, 145)}
    gpu_node.says(old | {"1.field.29": 4, "1.field.30": 1, "1.field.31": 1, "0.field.29": 9})

    new_board, old_board = map(figures, read(gpu_source(**QUICK)).gpus)

    assert old_board["gpu_retired_pages{error=corrected}"] == 4.0
    assert old_board["gpu_page_retirement_pending"] == 1.0
    assert "gpu_remapped_rows{error=corrected}" not in old_board
    assert "gpu_retired_pages{error=corrected}" not in new_board


def test_what_the_driver_would_have_done_with_a_gpu_has_a_word(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.field.230": 4})

    (gpu,) = read(gpu_source(**QUICK)).gpus

    assert gpu.recovery_action == "drain_and_reset"


def test_the_profile_is_the_mean_between_two_readings(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)
    reader = gpu_source(**QUICK)

    first = figures(read(reader).gpus[0])
    time.sleep(0.15)
    second = figures(read(reader).gpus[0])
    at_once = figures(read(reader).gpus[0])

    assert "gpu_sm_active_ratio{mig=}" not in first
    assert second["gpu_sm_active_ratio{mig=}"] == 0.4
    assert second["gpu_sm_occupancy_ratio{mig=}"] == 0.2
    assert second["gpu_tensor_active_ratio{mig=}"] == 0.1
    assert second["gpu_dram_active_ratio{mig=}"] == 0.6
    assert "gpu_sm_active_ratio{mig=}" not in at_once  # Too close for the driver to tell.


def test_a_board_without_a_profile_lists_it(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.gpm": None})
    reader = gpu_source(**QUICK)

    (gpu,) = read(reader).gpus
    gpu_node.calls()
    read(reader)

    assert "gpu_dram_active_ratio" in gpu.unsupported
    assert not [call for call in gpu_node.calls() if "Gpm" in call]


def test_profile_samples_are_given_back_when_the_gpu_stops_answering(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    reader = gpu_source(**QUICK)
    for _ in range(4):
        read(reader)
        time.sleep(0.11)
    allocated = gpu_node.calls().count("nvmlGpmSampleAlloc -1")
    gpu_node.says({"0.error.nvmlGpmSampleGet": 999})
    read(reader)

    assert allocated == 2
    assert gpu_node.calls().count("nvmlGpmSampleFree -1") == 2


# --- fast samples ------------------------------------------------------------------------------


def test_a_burst_between_two_readings_is_seen(gpu_node: Node, gpu_source: Sources) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.utilisation": 10, "0.power": 100_000})
    reader = gpu_source(samples_per_second=50, **QUICK)
    read(reader)

    time.sleep(0.2)
    gpu_node.says({"0.utilisation": 90, "0.power": 600_000})
    time.sleep(0.2)
    gpu_node.says({"0.utilisation": 10, "0.power": 100_000})
    time.sleep(0.2)
    (gpu,) = read(reader).gpus

    assert (gpu.power_min_watts, gpu.power_max_watts) == (100.0, 600.0)
    assert (gpu.utilisation_min_ratio, gpu.utilisation_max_ratio) == (0.1, 0.9)
    # A third of the time at 600 W: about 267 W; a loaded machine stretches the parts unevenly.
    assert gpu.power_watts is not None
    assert 130 < gpu.power_watts < 500
    assert gpu.utilisation_ratio is not None
    assert 0.12 < gpu.utilisation_ratio < 0.8


def test_the_integrals_of_samples_only_grow_also_over_a_crash(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    reader = gpu_source(samples_per_second=50, **QUICK)
    read(reader)
    time.sleep(0.3)
    (before,) = read(reader).gpus

    gpu_node.says({"segfault": "nvmlDeviceGetTemperature"})
    read(reader)
    gpu_node.says({"segfault": None})
    reader._start_at_seconds = 0.0
    (after,) = read(reader).gpus

    assert before.power_joules is not None
    assert after.power_joules is not None
    assert 0.2 * 312.5 < before.power_joules <= after.power_joules
    busy = "gpu_utilised_seconds_total"
    assert 0.1 < figures(before)[busy] <= figures(after)[busy]


def test_where_only_readings_sample_their_integral_grows_all_the_same(
    gpu_node: Node, gpu_source: Sources
) -> None:
    """The two are 2.5 s apart, which would be a gap if there should have been more between."""
    gpu_node.has(gpus=1)
    gpu_node.says({"0.utilisation": 40})
    reader = gpu_source(samples_per_second=0, **QUICK)
    read(reader)

    time.sleep(2.5)
    (gpu,) = read(reader).gpus

    assert figures(gpu)["gpu_utilised_seconds_total"] == pytest.approx(0.4 * 2.5, rel=0.3)


def test_a_slowdown_of_the_hardware_is_sampled_into_seconds(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.reasons": 0x40 | 0x01})
    reader = gpu_source(samples_per_second=50, **QUICK)
    read(reader)

    time.sleep(0.3)
    found = figures(read(reader).gpus[0])

    assert 0.2 < found["gpu_throttle_seconds_total{reason=hardware_thermal}"] < 3
    assert found["gpu_throttle_seconds_total{reason=power_brake}"] == 0.0
    assert found["gpu_throttle_seconds_total{reason=power_cap}"] == 5.0  # The driver's own count.


def test_clocks_were_held_until_a_sample_by_what_held_them_at_the_sample_before(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.reasons": 0x40})
    reader = gpu_source(samples_per_second=0, **QUICK)
    read(reader)

    time.sleep(0.2)
    gpu_node.says({"0.reasons": 0x80})
    found = figures(read(reader).gpus[0])

    assert found["gpu_throttle_seconds_total{reason=hardware_thermal}"] >= 0.2
    assert found["gpu_throttle_seconds_total{reason=power_brake}"] == 0.0


@pytest.mark.parametrize("error", [999, 4], ids=["unknown", "no_permission"])
def test_power_and_reasons_are_sampled_although_utilisation_fails(
    error: int, gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.error.nvmlDeviceGetUtilizationRates": error, "0.reasons": 0x40})
    reader = gpu_source(samples_per_second=50, **QUICK)
    read(reader)

    time.sleep(0.3)
    (failing,) = read(reader).gpus
    gpu_node.says({"0.error.nvmlDeviceGetUtilizationRates": None})
    (mended,) = read(reader).gpus

    assert (failing.utilisation_ratio, failing.power_max_watts) == (None, 312.5)
    assert (failing.unsupported, failing.failure) == ((), None)
    assert failing.power_joules is not None
    assert 0.2 * 312.5 < failing.power_joules < 3 * 312.5
    assert figures(failing)["gpu_throttle_seconds_total{reason=hardware_thermal}"] > 0.2
    assert mended.utilisation_ratio == 0.5


def test_a_utilisation_above_all_of_the_time_is_no_sample(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    gpu_node.says({"0.utilisation": 255, "1.utilisation": 100})
    reader = gpu_source(samples_per_second=50, **QUICK)

    impossible, full = read(reader).gpus
    gpu_node.says({"0.utilisation": 30})
    time.sleep(0.2)
    read(reader)
    gpu_node.says({"0.utilisation": 101})
    time.sleep(0.2)
    gpu_node.says({"0.utilisation": 30})
    mixed = read(reader).gpus[0]

    assert (impossible.utilisation_ratio, impossible.utilisation_max_ratio) == (None, None)
    assert (impossible.unsupported, impossible.power_max_watts) == ((), 312.5)
    assert full.utilisation_ratio == 1.0
    assert (mixed.utilisation_max_ratio, mixed.utilisation_ratio) == (0.3, pytest.approx(0.3))


@pytest.mark.parametrize(
    "said",
    [f"{2**64 - 5_000} 4", "18446744073709551615", "4294967295 1"],
    ids=["negative", "not_available_in_64_bits", "not_available_in_32_bits"],
)
def test_a_power_that_cannot_be_is_no_sample_and_no_energy(
    said: str, gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    gpu_node.says({"0.field.186": said})
    reader = gpu_source(samples_per_second=50, **QUICK)

    (impossible,) = read(reader).gpus
    gpu_node.says({"0.field.186": 400_000})
    read(reader)
    time.sleep(0.2)
    (possible,) = read(reader).gpus

    assert (impossible.power_watts, impossible.power_min_watts) == (None, None)
    assert impossible.utilisation_ratio == 0.5
    assert (possible.power_watts, possible.power_max_watts) == (pytest.approx(400.0), 400.0)
    assert possible.power_joules is not None
    assert 0 < possible.power_joules < 5 * 400


def test_a_gpu_that_is_lost_is_not_asked_the_rest_of_a_sample(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=1)
    reader = gpu_source(**QUICK)
    read(reader)

    gpu_node.says({"0.error.nvmlDeviceGetUtilizationRates": 15})
    gpu_node.calls()
    read(reader)

    calls = gpu_node.calls()
    assert "nvmlDeviceGetUtilizationRates 0" in calls
    assert "nvmlDeviceGetPowerUsage 0" not in calls


def test_power_is_asked_as_it_is_now_where_the_board_can_tell(
    gpu_node: Node, gpu_source: Sources
) -> None:
    gpu_node.has(gpus=2)
    gpu_node.says({"1.field.186": 400_000})
    reader = gpu_source(**QUICK)

    averaged, instant = read(reader).gpus

    assert (averaged.power_watts, averaged.power_window_seconds) == (312.5, 1.0)
    assert (instant.power_watts, instant.power_window_seconds) == (400.0, 0.0)
    assert "nvmlDeviceGetPowerUsage 1" not in gpu_node.calls()


@pytest.mark.parametrize(
    ("name", "architecture", "seconds"),
    [
        ("NVIDIA H100 80GB HBM3", 9, 1.0),
        ("NVIDIA A10", 7, 1.0),
        ("NVIDIA A100-SXM4-80GB", 7, 0.0),
        ("NVIDIA A30", 7, 0.0),
        ("Tesla T4", 6, 0.0),
        ("unheard of", 2**32 - 1, 0.0),
    ],
)
def test_the_window_of_the_plain_power_reading_is_that_of_the_chip(
    name: str, architecture: int, seconds: float
) -> None:
    assert window_seconds(name, architecture) == seconds
