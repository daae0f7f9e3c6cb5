"""What a GPU costs, and when that is not known."""

import re

import pytest
import yaml

from burnmeter.prices import Listed, load, price, shipped

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
    ("name", "dollars"),
    [
        ("NVIDIA GB200", 10.5),
        ("NVIDIA B300 SXM6 AC", 7.5),
        ("NVIDIA B200", 6.5),
        ("NVIDIA GH200 480GB", 4.0),
        ("NVIDIA H200", 4.5),
        ("NVIDIA H200 NVL", 3.8),
        (H100, 3.5),
        ("NVIDIA H100 PCIe", 2.9),
        ("NVIDIA H100 NVL", 3.2),
        (A100_80, 2.0),
        ("NVIDIA A100 80GB PCIe", 2.0),
        ("NVIDIA A100-SXM4-40GB", 2.0),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 2.0),
        ("NVIDIA L40S", 1.5),
        ("NVIDIA L40", 1.0),
        ("NVIDIA L4", 0.7),
        ("NVIDIA A10", 1.3),
        ("NVIDIA A10G", 1.0),
        ("NVIDIA A40", 0.45),
        ("Tesla T4", 0.5),
        ("Tesla V100-SXM2-16GB", 0.8),
        ("NVIDIA RTX 6000 Ada Generation", 0.8),
        ("NVIDIA RTX A6000", 0.5),
        ("NVIDIA GeForce RTX 5090", 0.7),
        ("NVIDIA GeForce RTX 4090", 0.4),
    ],
)
def test_the_shipped_list_knows_the_usual_gpus(name: str, dollars: float) -> None:
    found = price(name, listed={}, default=None, shipped=shipped().gpu_dollars_per_hour)

    assert found == dollars


@pytest.mark.parametrize(
    "name", ["NVIDIA GB300", "NVIDIA H20", "NVIDIA A30", "AMD Instinct MI300X"]
)
def test_a_gpu_without_a_public_price_has_none(name: str) -> None:
    assert price(name, listed={}, default=None, shipped=shipped().gpu_dollars_per_hour) is None


@pytest.mark.parametrize(
    "listed", [pytest.param(listed, id=name) for name, listed in shipped().gpus.items()]
)
def test_each_shipped_price_says_whence_and_when(listed: Listed) -> None:
    """It lies within the asking prices of its source, but for rounding."""
    asked = [float(found) for found in re.findall(r"\d+\.\d+", listed.source)]

    assert re.fullmatch(r"20\d\d-[01]\d", listed.date)
    assert min(asked) * 0.9 <= listed.dollars_per_hour <= max(asked) * 1.1


def test_the_shipped_list_says_how_far_to_trust_it() -> None:
    assert "list price" in shipped().note
    assert "override" in shipped().note


GOOD = {"dollars_per_hour": 2.0, "date": "2026-11", "source": "some cloud 2.00"}


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"dollars_per_hour": 0.0}, id="a price of zero"),
        pytest.param({"dollars_per_hour": "2"}, id="a text for a price"),
        pytest.param({"date": None}, id="no date"),
        pytest.param({"source": ""}, id="no source"),
        pytest.param({"region": "north"}, id="an unknown key"),
    ],
)
def test_a_wrong_shipped_price_is_refused_by_name(wrong: dict[str, object]) -> None:
    text = yaml.safe_dump({"note": "", "gpus": {"X1": GOOD, "X2": GOOD | wrong}})

    with pytest.raises(ValueError, match="X2"):
        load(text)
