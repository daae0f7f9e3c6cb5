"""What a board can do at most, and when that is not known."""

import re
from math import inf

import pytest
import yaml

from burnmeter.hardware import (
    COMPUTED_IN,
    FORMATS,
    Peak,
    load,
    operations_per_second,
    peak,
    shipped,
)

LISTED = {name: entry for name, entry in shipped().items() if entry is not None}


def known(name: str) -> Peak:
    found = peak(name)
    assert found is not None, name
    return found


@pytest.mark.parametrize(
    ("name", "bus_bits", "memory_clock_hertz"),
    [
        ("Tesla V100-SXM2-16GB", 4096, 877e6),
        ("Tesla T4", 256, 5001e6),
        ("NVIDIA A10", 384, 6251e6),
        ("NVIDIA A40", 384, 7251e6),
        ("NVIDIA A100-SXM4-40GB", 5120, 1215e6),
        ("NVIDIA A100-SXM4-80GB", 5120, 1593e6),
        ("NVIDIA L4", 192, 6251e6),
        ("NVIDIA H100 80GB HBM3", 5120, 2619e6),
        ("NVIDIA H100 NVL", 6016, 2619e6),
        ("NVIDIA GH200 480GB", 6144, 2619e6),
        ("NVIDIA B200", 7680, 3996e6),
    ],
)
def test_bandwidth_is_what_bus_and_memory_clock_allow(
    name: str, bus_bits: int, memory_clock_hertz: float
) -> None:
    """NVML gives the clock; at both of its edges each wire of the bus carries a bit."""
    by_clock = bus_bits * memory_clock_hertz * 2 / 8

    assert known(name).bandwidth_bytes_per_second == pytest.approx(by_clock, rel=0.02)


@pytest.mark.parametrize(
    ("name", "multiprocessors", "operations_per_clock", "boost_clock_hertz"),
    [
        ("Tesla V100-SXM2-16GB", 80, 1024, 1.53e9),
        ("Tesla T4", 40, 1024, 1.59e9),
        ("NVIDIA A100-SXM4-80GB", 108, 2048, 1.41e9),
        ("NVIDIA GeForce RTX 4090", 128, 512, 2.52e9),
        ("NVIDIA L40S", 142, 1024, 2.52e9),
        ("NVIDIA H100 80GB HBM3", 132, 4096, 1.83e9),
    ],
)
def test_operations_are_those_of_a_dense_product(
    name: str, multiprocessors: int, operations_per_clock: int, boost_clock_hertz: float
) -> None:
    by_clock = multiprocessors * operations_per_clock * boost_clock_hertz

    assert operations_per_second(known(name), "bf16") == pytest.approx(by_clock, rel=0.02)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in LISTED.items()])
def test_half_the_bits_is_twice_the_rate(entry: Peak) -> None:
    """A figure with sparsity among dense ones would be out by two."""
    rates = entry.operations_per_second
    for wide, narrow in (("tf32", "bf16"), ("bf16", "fp8")):
        if wide in rates and narrow in rates:
            assert rates[narrow] == pytest.approx(2 * rates[wide], rel=0.03)


@pytest.mark.parametrize(
    ("name", "bandwidth_bytes_per_second", "bf16"),
    [
        ("NVIDIA H100 80GB HBM3", 3.35e12, 989.4e12),
        ("NVIDIA H100 PCIe", 2.0e12, 756e12),
        ("NVIDIA H100 NVL", 3.938e12, 835.5e12),
        ("NVIDIA H200", 4.8e12, 989.5e12),
        ("NVIDIA H200 NVL", 4.8e12, 835.5e12),
        ("NVIDIA A100 80GB PCIe", 1.935e12, 312e12),
        ("NVIDIA A100-PCIE-40GB", 1.555e12, 312e12),
        ("NVIDIA GB200", 8.0e12, 2500e12),
        ("NVIDIA B300 SXM6 AC", 7.7e12, 2250e12),
        ("NVIDIA L40", 864e9, 181.05e12),
        ("NVIDIA RTX A6000", 768e9, 154.8e12),
        ("NVIDIA RTX 6000 Ada Generation", 960e9, 364.2e12),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 1.597e12, 480e12),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 1.792e12, 503.8e12),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 1.792e12, 440e12),
    ],
)
def test_variants_of_a_product_are_told_apart(
    name: str, bandwidth_bytes_per_second: float, bf16: float
) -> None:
    found = known(name)

    assert found.bandwidth_bytes_per_second == bandwidth_bytes_per_second
    assert found.operations_per_second["bf16"] == pytest.approx(bf16)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA H100",
        "NVIDIA H20-3e",
        "NVIDIA H800 NVL",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 5090 D v2",
        "NVIDIA GeForce RTX 3090 Ti",
        "Tesla V100-FHHL-16GB",
        "AMD Instinct MI300X",
        "",
    ],
)
def test_a_board_that_only_looks_like_one_listed_is_not_known(name: str) -> None:
    assert peak(name) is None


@pytest.mark.parametrize(
    ("name", "weights", "computed_in"),
    [
        ("NVIDIA A100-SXM4-80GB", "fp8", "bf16"),
        ("NVIDIA A100-SXM4-80GB", "int8", "int8"),
        ("NVIDIA A100-SXM4-80GB", "int4", "bf16"),
        ("NVIDIA A100-SXM4-80GB", "fp16", "bf16"),
        ("NVIDIA H100 80GB HBM3", "fp8", "fp8"),
        ("NVIDIA H100 80GB HBM3", "fp4", "bf16"),
        ("NVIDIA B200", "fp4", "fp4"),
        ("Tesla T4", "bf16", "fp16"),
        ("Tesla V100-SXM2-16GB", "int8", "fp16"),
    ],
)
def test_weights_are_computed_in_the_format_that_the_board_has(
    name: str, weights: str, computed_in: str
) -> None:
    found = known(name)

    assert operations_per_second(found, weights) == found.operations_per_second[computed_in]


def test_a_roof_is_not_known_where_format_or_board_are_not() -> None:
    assert operations_per_second(known("NVIDIA B200"), "fp6") is None
    assert operations_per_second(known("Tesla T4"), "tf32") is None
    assert operations_per_second(known("NVIDIA GB10"), "bf16") is None


def test_every_format_of_a_board_can_be_asked_for() -> None:
    assert set(FORMATS) <= COMPUTED_IN.keys()
    assert {fmt for order in COMPUTED_IN.values() for fmt in order} == set(FORMATS)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in LISTED.items()])
def test_each_shipped_entry_says_whence_and_when(entry: Peak) -> None:
    assert len(entry.source) > 10
    assert re.fullmatch(r"20\d\d-[01]\d", entry.date)


GOOD = {
    "bandwidth_bytes_per_second": 1e9,
    "operations_per_second": {"bf16": 1e12},
    "source": "a sheet",
    "date": "2026-11",
}


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"bandwidth_bytes_per_second": 0.0}, id="no bandwidth"),
        pytest.param({"bandwidth_bytes_per_second": "1e9"}, id="a text for a number"),
        pytest.param({"operations_per_second": {"bf16": -1e12}}, id="a negative rate"),
        pytest.param({"operations_per_second": {"bf16": inf}}, id="an endless rate"),
        pytest.param({"operations_per_second": {"bf17": 1e12}}, id="an unknown format"),
        pytest.param({"operations_per_second": {}}, id="no format"),
        pytest.param({"source": ""}, id="no source"),
        pytest.param({"date": None}, id="no date"),
        pytest.param({"memory": 1e9}, id="an unknown key"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(wrong: dict[str, object]) -> None:
    text = yaml.safe_dump({"boards": {"X1": GOOD, "X2": GOOD | wrong}})

    with pytest.raises(ValueError, match="X2"):
        load(text)


def test_a_good_list_is_taken() -> None:
    found = load(yaml.safe_dump({"boards": {"X1": GOOD}, "other_boards": ["X1 D"]}))

    assert found == {"X1": Peak(1e9, {"bf16": 1e12}, "a sheet", "2026-11"), "X1 D": None}
