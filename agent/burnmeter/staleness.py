"""A page that stands still while its engine's GPUs work is not believed. Pure.

Its numbers are frozen, whatever they say: an exporter that hangs beside an engine that serves. Only
GPUs that the engine holds alone can tell. Surprising: this is no stall; users may well be served.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from burnmeter.attribution import Portion
from burnmeter.model import Gpu
from burnmeter.watch import STALE, Look, Terms

WORKING_RATIO: Final = 0.5
"""A GPU that is used more than this works; an idle engine's housekeeping takes far less."""


def judge(
    looks: Mapping[str, Look],
    portions: Mapping[str, Sequence[Portion]],
    gpus: Mapping[str, Gpu],
    terms: Terms,
) -> dict[str, Look]:
    """The looks, with those at a stale page not measured."""
    working = _working(portions, gpus)
    return {name: _judged(look, name in working, terms) for name, look in looks.items()}


def _working(portions: Mapping[str, Sequence[Portion]], gpus: Mapping[str, Gpu]) -> Collection[str]:
    """Targets that hold a GPU alone which works."""
    alone = {uuid: rows[0].share.target for uuid, rows in portions.items() if len(rows) == 1}
    used = {uuid: gpu.utilisation_ratio for uuid, gpu in gpus.items()}
    return {
        target
        for uuid, target in alone.items()
        if (ratio := used[uuid]) is not None and ratio > WORKING_RATIO
    }


def _judged(look: Look, is_working: bool, terms: Terms) -> Look:
    one, at = look.watched, look.watched.looked_at_seconds
    if look.is_resting or at is None:
        return look
    since = one.working_since_seconds if one.working_since_seconds is not None else at
    if not (is_working and one.is_up):
        return replace(look, watched=replace(one, working_since_seconds=None, is_stale=False))
    assert one.page is not None, "what is up has a page"
    same_since = one.same_since_seconds if one.same_since_seconds is not None else at
    patience = terms.stalled_after_seconds + terms.dialects[one.page.engine].stale_seconds
    is_stale = at - max(since, same_since) >= patience and not one.is_stalled
    told = (("stale", STALE),) if is_stale and not one.is_stale else ()
    if one.is_stale and not is_stale:
        told = (("fresh", "its page moves again"),)
    return replace(
        look,
        watched=replace(one, working_since_seconds=since, is_stale=is_stale),
        slice=look.slice._replace(is_good=None) if is_stale else look.slice,
        events=(*look.events, *told),
    )
