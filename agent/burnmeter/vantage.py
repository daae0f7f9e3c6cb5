"""From where a model's numbers are taken: its engines, the gateway before them, or a probe. Pure.

All three may see the same request, so nothing is ever added across them. Each measure is taken from
the nearest that can give it. Surprising: who can give it is asked of their pages, not of the last
look, or a page that came late would have its requests counted by the gateway now and again by the
engine at the next look. Only a dead engine, which will count nothing more, gives way.
"""

from collections.abc import Sequence
from typing import Final

from burnmeter.watch import DEAD_KINDS, Watched

NEAREST_FIRST: Final = ("engine", "gateway", "probe")
FAILED: Final = "requests_total{outcome=error}"
"""What the error rate needs besides requests that went well."""


def can_give(one: Watched, measure: str | None) -> bool:
    """Whether a target's page has a measure, if only nothing of it yet. None: its time."""
    if one.page is None:
        return False
    wanted = () if measure is None else (measure, measure.partition("{")[0])
    page = one.page
    return all(name not in page.not_available or name in page.not_yet for name in wanted)


def leaves_out(one: Watched, measure: str | None) -> bool:
    """Whether another of the model's pages counts it for the same requests."""
    left = one.page.left_out if one.page is not None else frozenset()
    return measure is not None and not left.isdisjoint((measure, measure.partition("{")[0]))


def best(watched: Sequence[Watched], measure: str | None) -> str | None:
    """The nearest vantage of those there that can give it; None: nobody is there.

    If nobody can now, who could if it lived, else the nearest. Time is always the nearest's: that a
    gateway answers is no comfort while its engine is dead.
    """
    there = {one.vantage for one in watched}
    if measure is None or len(there) < 2:
        return min(there, key=NEAREST_FIRST.index, default=None)
    # Half of its engines say half the truth of a model; its gateway sees all, a probe itself.
    whole = [
        where
        for where in NEAREST_FIRST[:2]
        if (of_it := [one for one in watched if one.vantage == where and not _is_dead(one)])
        and all(can_give(one, measure) or leaves_out(one, measure) for one in of_it)
        and any(can_give(one, measure) for one in of_it)
    ]
    if whole:
        return whole[0]
    able = [one.vantage for one in watched if _is_able(one, measure)]
    could = [one.vantage for one in watched if can_give(one, measure)]
    return min(able or could or there, key=NEAREST_FIRST.index, default=None)


def _is_able(one: Watched, measure: str | None) -> bool:
    return not _is_dead(one) and can_give(one, measure)


def _is_dead(one: Watched) -> bool:
    return one.failure is not None and one.failure.kind in DEAD_KINDS
