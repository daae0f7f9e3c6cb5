"""The name that NVML gives a GPU -> the entry of a list that is meant by it. Pure.

It knows no board: the lists are the config's and those that ship (prices, peaks). An entry is named
by words, all of which must be in the GPU's name: `H100` finds `NVIDIA H100 80GB HBM3`, but `L4`
does not find an `NVIDIA L40S`.

Surprising: a slice of a GPU (MIG, or a virtual GPU such as `NVIDIA A10-4Q`) is never found by an
entry that does not name the slice, since what holds for the whole board does not hold for a part.
"""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

T = TypeVar("T")

SLICE: Final = "mig"
"""The word by which NVML's name of a slice is known."""
VIRTUAL: Final = re.compile(r"\d+[abcq]")
"""The word that says so of a virtual GPU: its gigabytes, and what it is licensed for."""


def find(name: str, by_words: Mapping[str, T]) -> T | None:
    """The entry of exactly this name, else that with the most words, all of them in the name.

    Of two with as many words, the first. An entry without words finds nothing.
    """
    if name in by_words:
        return by_words[name]
    there = words(name)
    sliced = {word for word in there if word == SLICE or VIRTUAL.fullmatch(word)}
    best: tuple[int, T | None] = (0, None)
    for listed, entry in by_words.items():
        wanted = words(listed)
        is_whole_for_slice = not sliced <= wanted
        if wanted <= there and len(wanted) > best[0] and not is_whole_for_slice:
            best = len(wanted), entry
    return best[1]


def words(name: str) -> frozenset[str]:
    """The words of a name: runs of letters and digits, case aside."""
    return frozenset(re.findall("[a-z0-9]+", name.lower()))
