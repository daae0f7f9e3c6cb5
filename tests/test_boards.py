"""Which entry of a list is meant by the name that NVML gives a GPU."""

import pytest

from burnmeter.boards import find

H100 = "NVIDIA H100 80GB HBM3"
SLICE = f"{H100} MIG 1g.10gb"
BY_WORDS = {"H100": "any H100", "H100 PCIe": "the PCIe card", "A100 80GB": "80 GB", "L4": "L4"}


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        pytest.param(H100, "any H100", id="one word is enough"),
        pytest.param("NVIDIA H100 PCIe", "the PCIe card", id="the entry with more words wins"),
        pytest.param("NVIDIA A100-SXM4-80GB", "80 GB", id="punctuation parts words"),
        pytest.param("nvidia h100 pcie", "the PCIe card", id="case does not matter"),
        pytest.param("NVIDIA A100-PCIE-40GB", None, id="all words must be there"),
        pytest.param("NVIDIA GH200 480GB", None, id="a part of a word is no match"),
        pytest.param("NVIDIA L40S", None, id="an L40S is not an L4"),
        pytest.param("", None, id="a GPU without a name is none"),
    ],
)
def test_an_entry_is_found_by_its_words(name: str, entry: str | None) -> None:
    assert find(name, BY_WORDS) == entry


def test_the_exact_name_wins() -> None:
    assert find(H100, {"HBM3 80GB H100 NVIDIA": 1, H100: 2}) == 2


def test_of_two_entries_with_as_many_words_the_first_wins() -> None:
    assert find(H100, {"H100 80GB": 1, "H100 HBM3": 2}) == 1


def test_a_word_said_twice_counts_once() -> None:
    assert find(H100, {"H100 H100 H100": 1, "H100 80GB": 2}) == 2


def test_a_slice_is_found_only_by_an_entry_that_says_so() -> None:
    assert find(SLICE, {"H100": 1, "H100 80GB HBM3": 2}) is None
    assert find(SLICE, {"H100 80GB HBM3": 2, "H100 MIG": 3}) == 3
    assert find(H100, {"H100 MIG": 3}) is None


def test_a_virtual_gpu_is_found_only_by_an_entry_that_names_its_profile() -> None:
    listed = {"A10": "the board", "A10 4Q": "a virtual one of 4 GB"}

    assert find("NVIDIA A10-8Q", listed) is None
    assert find("NVIDIA A10-4Q", listed) == "a virtual one of 4 GB"
    assert find("NVIDIA A10", listed) == "the board"


def test_a_slice_of_exactly_this_name_is_found() -> None:
    assert find(SLICE, {SLICE: 1}) == 1


def test_an_entry_without_words_finds_nothing() -> None:
    assert find("NVIDIA T4", {"": 1, "-": 2}) is None
