"""What a GPU costs, and when that is not known."""

import re

import pytest

from burnmeter.prices import price, shipped

# Names as NVML gives them.
H100 = "NVIDIA H100 80GB HBM3"
A100_80 = "NVIDIA A100-SXM4-80GB"
LISTED = {"H100": 2.5, "A100": 1.0, "A100 80GB": 1.5, H100: 9.0}


def ask(name: str, listed: dict[str, float], default: float | None = None) -> float | None:
    return price(name, listed=listed, default=default, shipped={"H100": 3.0, "L4": 0.7})


@pytest.mark.parametrize(
    ("name", "dollars"),
    [
        pytest.param(H100, 9.0, id="the exact name wins"),
        pytest.param("NVIDIA H100 PCIe", 2.5, id="one word is enough"),
        pytest.param(A100_80, 1.5, id="the entry with more words wins"),
        pytest.param("NVIDIA GH200 480GB", None, id="what is not listed has no price"),
    ],
)
def test_a_listed_gpu_is_found_by_its_words(name: str, dollars: float | None) -> None:
    assert ask(name, LISTED) == dollars


def test_a_default_of_the_config_is_asked_before_the_shipped_list() -> None:
    assert ask(H100, {}, default=2.0) == 2.0
    assert ask(H100, {}) == 3.0


def test_a_price_of_zero_is_a_price() -> None:
    assert ask(H100, {"H100": 0.0}, default=2.0) == 0.0
    assert ask(H100, {}, default=0.0) == 0.0


def test_a_slice_is_not_priced_as_a_whole_gpu() -> None:
    slice_name = f"{H100} MIG 1g.10gb"

    assert ask(slice_name, {}) is None
    assert ask(slice_name, {"H100 MIG 1g.10gb": 0.4}) == 0.4


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA B200",
        "NVIDIA H200",
        H100,
        A100_80,
        "NVIDIA A100-SXM4-40GB",
        "NVIDIA L40S",
        "NVIDIA L4",
        "NVIDIA A10",
        "NVIDIA A10G",
    ],
)
def test_the_shipped_list_knows_the_usual_gpus(name: str) -> None:
    dollars = price(name, listed={}, default=None, shipped=shipped().gpu_dollars_per_hour)

    assert dollars is not None
    assert 0.1 < dollars < 20


def test_the_shipped_list_says_when_and_how_far_to_trust_it() -> None:
    assert re.fullmatch(r"20\d\d-[01]\d", shipped().date)
    assert "list price" in shipped().note
    assert "override" in shipped().note
