"""The list of prices that ships with the program."""

import re

import pytest
import yaml

from burnmeter.boards import find
from burnmeter.prices import Listed, load, shipped

H100 = "NVIDIA H100 80GB HBM3"
A100_80 = "NVIDIA A100-SXM4-80GB"


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
    found = find(name, shipped().gpus)

    assert found is not None
    assert found.dollars_per_hour == dollars


@pytest.mark.parametrize(
    "name", ["NVIDIA GB300", "NVIDIA H20", "NVIDIA A30", "AMD Instinct MI300X"]
)
def test_a_gpu_without_a_public_price_has_none(name: str) -> None:
    assert find(name, shipped().gpus) is None


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
