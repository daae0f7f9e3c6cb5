"""How many of a tick's prompt tokens came from the cache, whenever that is told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import prompts
from burnmeter.model import Growth, Key
from burnmeter.watch import Look, Slice, Watched
from tests.fakes import target

HERE = ("a", "llama")
ticks = st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=20)


def look(prompt: float, cached: float) -> Look:
    counters = {
        Key("tokens_total", (("kind", kind), ("model", "llama"))): value
        for kind, value in (("prompt", prompt), ("prompt_cached", cached))
    }
    return Look(
        watched=Watched(target=replace(target("a"), model="llama")),
        growth=Growth(seconds=5.0, counters=counters, histograms={}),
        slice=Slice(5.0, None),
        events=(),
    )


def ratios(*ticks: tuple[float, float]) -> list[float]:
    """Of each tick."""
    ahead: dict[prompts.Where, float] = {}
    found = []
    for prompt, cached in ticks:
        told, ahead = prompts.settle(ahead, [look(prompt, cached)])
        found.append(told[HERE])
    return found


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([(1000.0, 400.0)], [0.4]),
        ([(1000.0, 0.0), (0.0, 900.0), (1000.0, 0.0)], [0.0, 0.0, 0.9]),
        ([(0.0, 900.0), (600.0, 0.0), (600.0, 0.0)], [0.0, 1.0, 0.5]),
        ([(0.0, 0.0)], [0.0]),
    ],
    ids=["at once", "later", "earlier", "nothing"],
)
def test_what_was_cached_is_taken_off_prompts_and_kept_until_there_are_some(
    seen: list[tuple[float, float]], expected: list[float]
) -> None:
    assert ratios(*seen) == expected


@given(ticks)
def test_no_more_is_taken_than_was_cached_nor_than_there_was(
    seen: list[tuple[float, float]],
) -> None:
    found = ratios(*seen)

    taken = sum(ratio * prompt for ratio, (prompt, _) in zip(found, seen, strict=True))
    assert all(0.0 <= ratio <= 1.0 for ratio in found)
    assert taken <= sum(cached for _, cached in seen) * (1 + 1e-9) + 1e-6


def test_of_a_target_that_is_not_read_what_was_told_is_kept() -> None:
    _, ahead = prompts.settle({}, [look(0.0, 900.0)])

    _, kept = prompts.settle(ahead, [replace(look(0.0, 0.0), growth=None)])

    assert kept == {HERE: 900.0}
    assert prompts.settle(kept, []) == ({}, {})
