"""Over any history of an engine, growth adds up to what its pages showed, and never falls.

A history is a list of steps of one engine with three ranks; some looks are missed. The truth is
kept beside it: per life of the process and per rank, the last value that any page showed.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from burnmeter import growth
from burnmeter.growth import Identity, Seen
from burnmeter.model import Growth, Histogram
from tests.fakes import TOKENS, TTFT, page

RANKS = ("0", "1", "2")


class Step(NamedTuple):
    """What happens before one look."""

    counted: tuple[int, int, int]
    """By rank."""
    is_restart: bool
    away: frozenset[str]
    """Ranks that the page lacks."""
    is_missed: bool


steps = st.builds(
    Step,
    st.tuples(*[st.integers(0, 50)] * 3),
    st.sampled_from([False, False, False, True]),
    st.frozensets(st.sampled_from(RANKS), max_size=2),
    st.sampled_from([False, False, True]),
)
histories = st.lists(steps, min_size=1, max_size=12)


@dataclass
class Story:
    """An engine that lives through steps, and what its pages have shown."""

    scale: float = 1.0
    life: int = 0
    ranks: dict[str, float] = field(default_factory=lambda: dict.fromkeys(RANKS, 7.0))
    shown: dict[tuple[int, str], float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    looks: int = 0
    seen: Seen | None = None

    def take(self, step: Step, *, has_start: bool) -> Growth | None:
        """One step, and a look at the page unless it is missed."""
        if step.is_restart:
            self.life += 1
            self.ranks = dict.fromkeys(RANKS, 0.0)
        for rank, count in zip(RANKS, step.counted, strict=True):
            self.ranks[rank] += count
        return None if step.is_missed else self._look(step.away, has_start=has_start)

    def _look(self, away: frozenset[str], *, has_start: bool) -> Growth:
        here = {rank: value for rank, value in self.ranks.items() if rank not in away}
        if self.looks == 0:
            self.first = here
        self.looks += 1
        self.shown |= {(self.life, rank): value for rank, value in here.items()}
        scaled = {rank: value * self.scale for rank, value in here.items()}
        found = page({TOKENS: scaled}, started=100.0 * self.life if has_start else None)
        parts = {rank: Histogram((1.0,), (v,), v, None) for rank, v in scaled.items()}
        found = replace(found, histograms={TTFT: parts})
        self.seen, grown = growth.grow(
            self.seen,
            found,
            at_seconds=5.0 * self.looks,
            identity=Identity(found.started_timestamp_seconds, None, None),
            watching_since_timestamp_seconds=None,
            interval_seconds=5.0,
        )
        return grown

    def truth(self, first_life: int) -> float:
        """Final minus first value, per life and rank."""
        before = {(first_life, rank): value for rank, value in self.first.items()}
        return sum(value - before.get(place, 0.0) for place, value in self.shown.items())


def tokens(found: Growth) -> float:
    return found.counters.get(TOKENS, 0.0)


def total(found: Growth) -> float:
    return found.histograms[TTFT].total if TTFT in found.histograms else 0.0


@given(histories)
def test_growth_adds_up_to_the_last_minus_the_first_value_of_each_life(
    history: list[Step],
) -> None:
    story = Story()
    looks = [(story.take(step, has_start=True), story.life) for step in history]
    grown = [(found, life) for found, life in looks if found is not None]

    truth = story.truth(grown[0][1]) if grown else 0.0
    assert sum(tokens(found) for found, _ in grown) == truth
    assert sum(total(found) for found, _ in grown) == truth


@given(histories)
def test_growth_is_never_negative_nor_more_than_was_counted(history: list[Step]) -> None:
    """Also where nobody says who answers, and only falling counters tell of a restart."""
    story = Story()
    grown = [found for step in history if (found := story.take(step, has_start=False))]

    counted = sum(sum(step.counted) for step in history)
    lives = 1 + sum(step.is_restart for step in history)
    assert all(tokens(found) >= 0 and total(found) >= 0 for found in grown)
    # A rank that was away at first sight brings the 7 that it had counted before.
    assert sum(map(tokens, grown)) <= counted + 7.0 * len(RANKS) * lives


@given(histories, st.sampled_from([0.25, 2.0, 1024.0]))
def test_growth_scales_with_the_counters(history: list[Step], scale: float) -> None:
    one, other = Story(), Story(scale=scale)

    for step in history:
        plain = one.take(step, has_start=False)
        scaled = other.take(step, has_start=False)
        if plain is not None and scaled is not None:
            assert tokens(scaled) == tokens(plain) * scale
            assert total(scaled) == total(plain) * scale
