"""What each objective has come to on each model, from what every target's look told. Pure.

One vantage counts a model's events at a time, and what two of them saw is counted once: who may
count is decided by what the pages can give (vantage.py) and by when they were last read for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final, NamedTuple

from burnmeter import growth, indicators, sli, slo, vantage, watch
from burnmeter.dialects import INDICATORS
from burnmeter.model import Growth, Objective, Tally
from burnmeter.sli import Worth
from burnmeter.watch import Look, Watched

MEASURES: Final = {**INDICATORS, sli.ERRORS: vantage.FAILED}
"""Indicator -> the measure that it needs; availability needs none."""
Name = tuple[str, str]
"""Objective and model."""


def concerns(objective: Objective, model: str) -> bool:
    """Whether an objective is about a model."""
    return all(value == model for name, value in objective.match if name == "model")


class Counted(NamedTuple):
    """The last tick in which a vantage has counted: all that it told was read within it."""

    after_seconds: float
    until_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one objective on one model has come to."""

    ledger: slo.Ledger
    unmeasured: str | None
    source: str | None
    """Who counted its events at the last tick; see model.Burn."""
    tallies: Mapping[str, Tally]
    """Source -> what it has counted since first sight."""
    counted: Mapping[str, Counted]
    """By vantage, each that has."""
    watched_seconds: float = 0.0
    """Of time since first sight in which it was not shelved, measured or not."""
    is_shelved: bool = False
    """No page names the model now; it may come back, as an adapter does that is loaded again."""


class Told(NamedTuple):
    """What the recent window of one model is worth at a tick; see worth.py."""

    source: str
    """From which vantage its tokens are counted."""
    seconds: float
    """Of the tick, as far as the window says anything of it."""
    is_resting: bool
    """It was not time to look: nothing is known that was not known before."""
    worths: Mapping[str, Worth]
    """By indicator."""


class Before(NamedTuple):
    """What the tick before left."""

    kept: Mapping[Name, Kept]
    watched: Mapping[str, Watched]
    at_seconds: float | None


NOTHING_KEPT: Final = Kept(ledger=(), unmeasured=None, source=None, tallies={}, counted={})


def keep(
    before: Before,
    looks: Iterable[Look],
    at_seconds: float,
    objectives: Sequence[Objective],
    told: Mapping[str, Told],
) -> dict[Name, Kept]:
    """What each objective has come to on each model that it is about.

    A model that left its pages is shelved for as long as its name is held, so that a gateway that
    starts anew with no traffic does not begin a budget anew.
    """
    by_model: dict[str, list[Look]] = {}
    held: set[str] = set()
    for found in looks:
        held |= found.watched.names_held.keys()
        # Split once: models that each look through all growth take the square of it.
        grown = growth.by_model(found.growth) if found.growth is not None else {}
        for model in found.watched.models:
            by_model.setdefault(model, []).append(replace(found, growth=grown.get(model)))
    kept: dict[Name, Kept] = {}
    for objective in objectives:
        for model, of_model in by_model.items():
            if not concerns(objective, model):
                continue
            name = objective.name, model
            was = _watched(before, name, at_seconds)
            if indicators.of(objective).is_worth:
                kept[name] = _keep_worth(was, objective, told[model], at_seconds)
            else:
                kept[name] = _keep(before, was, objective, model, of_model, at_seconds)
    left = (name for name in before.kept.keys() - kept.keys() if name[1] in held)
    return kept | {name: replace(before.kept[name], is_shelved=True) for name in left}


def _watched(before: Before, name: Name, at_seconds: float) -> Kept:
    """What was kept, on show again, and with the time since the last tick as watched."""
    was = before.kept.get(name)
    if was is None or before.at_seconds is None:
        return was or NOTHING_KEPT
    seconds = was.watched_seconds + at_seconds - before.at_seconds
    return replace(was, is_shelved=False, watched_seconds=seconds)


def _keep_worth(was: Kept, objective: Objective, told: Told, at_seconds: float) -> Kept:
    if told.is_resting and was.ledger:
        return was
    worth = told.worths[objective.indicator]
    seconds = told.seconds
    if was.ledger:
        seconds = min(seconds, at_seconds - was.ledger[-1].at_seconds)
    tally = sli.worth(objective, worth, seconds)
    return _recorded(was, at_seconds, tally, seconds, source=told.source, unmeasured=worth.why)


def _keep(
    before: Before,
    was: Kept,
    objective: Objective,
    model: str,
    looks: Sequence[Look],
    at_seconds: float,
) -> Kept:
    ledger, counted = was.ledger, was.counted
    measure = MEASURES.get(objective.indicator)
    asked = _asked(before, looks, counted) if measure is not None else looks
    source = vantage.best([found.watched for found in asked], measure)
    here = [found for found in asked if found.watched.vantage == source]
    awake = [found for found in here if not found.is_resting]
    if not awake and ledger:
        return was
    # Of a prefill and a decode worker only one counts a request that both have seen.
    own = [found for found in awake if not vantage.leaves_out(found.watched, measure)]
    tally, seconds, unmeasured = _sum(objective, model, own or awake)
    if ledger and len({found.watched.target.least_interval_seconds for found in here}) > 1:
        # Who is read more often has measured most of that time already.
        seconds = min(seconds, at_seconds - ledger[-1].at_seconds)
    others = [last.until_seconds for at, last in counted.items() if at != source]
    if others:  # What another vantage has measured is not measured again by one that comes back.
        seconds = min(seconds, at_seconds - max(others))
    if tally is not None and source is not None:
        after = before.at_seconds if before.at_seconds is not None else -inf
        counted = {**counted, source: Counted(after, at_seconds)}
    if objective.indicator == sli.ERRORS and source == "engine":
        source = _witness(model, own)
    was = replace(was, counted=counted)
    return _recorded(was, at_seconds, tally, seconds, source=source, unmeasured=unmeasured)


def _recorded(
    was: Kept,
    at_seconds: float,
    tally: Tally | None,
    seconds: float,
    *,
    source: str | None,
    unmeasured: str | None,
) -> Kept:
    """What was kept, and this tick's. `tally` None: not measured."""
    ledger = slo.record(was.ledger, at_seconds, tally, seconds)
    tallies = was.tallies
    if tally is not None and source is not None:
        tallies = {**tallies, source: _plus(tallies.get(source), tally)}
    return replace(
        was,
        ledger=ledger,
        unmeasured=unmeasured,
        source=source if tally is not None else None,
        tallies=tallies,
        # A young engine's first look, and one after a rest, are of time before this tick.
        watched_seconds=max(was.watched_seconds, ledger[-1].measured_seconds),
    )


def _plus(so_far: Tally | None, more: Tally) -> Tally:
    return more if so_far is None else Tally(*map(sum, zip(so_far, more, strict=True)))


def _asked(before: Before, looks: Sequence[Look], counted: Mapping[str, Counted]) -> Sequence[Look]:
    """Who may count now: whose page says only what nobody at another vantage has counted yet.

    One that was not read while another counted begins with its next look; if nobody is left, this
    one tells nothing.
    """
    able = [
        found
        for found in looks
        if all(
            _tells_only_after(before, found, last.after_seconds)
            for at, last in counted.items()
            if at != found.watched.vantage
        )
    ]
    return able or [replace(found, growth=None) for found in looks]


def _tells_only_after(before: Before, found: Look, at_seconds: float) -> bool:
    """Whether all that grew on a target did so after it was read, and that after `at_seconds`."""
    grown, now = found.growth, found.watched
    if grown is None:
        return True
    was = before.watched.get(now.target.name)
    if grown.is_first_sight or was is None or now.looked_at_seconds is None:
        return False
    if grown.is_restart and was.failure is not None and was.failure.kind in watch.DEAD_KINDS:
        return True  # It began after the last look, at which it was dead.
    return now.looked_at_seconds - grown.seconds > at_seconds


def _witness(model: str, looks: Iterable[Look]) -> str | None:
    """engine, or http where the engine itself counts no outcome."""
    counts: dict[tuple[str, str], float] = {}
    for found in looks:
        counts |= sli.outcomes(model, found.growth.counters) if found.growth else {}
    return sli.witness_of(counts)


def _sum(
    objective: Objective, model: str, looks: Sequence[Look]
) -> tuple[Tally | None, float, str | None]:
    """The tallies of a model's targets together, and why they are not all that there was.

    A dead engine serves nobody, so nothing is missing of it, and what was told to rest is not
    missed while another counts; one that is alive and cannot say leaves the others' numbers
    recorded, and the whole not measured.
    """
    parts: list[Tally] = []
    seconds = 0.0
    dead, missing, resting = None, None, None
    measure = MEASURES.get(objective.indicator)
    for found in looks:
        grown = found.growth or Growth(seconds=0.0, counters={}, histograms={})
        part = None
        is_able = measure is None or vantage.can_give(found.watched, measure)
        # A probe that was refused counts, but says nothing of its endpoint.
        is_told = found.watched.failure is None or found.watched.is_down
        if is_able and is_told and not found.watched.is_stale:
            part = sli.tally(objective, model, grown, found.slice)
        if part is not None:
            parts.append(part)
            seconds = max(seconds, found.slice.seconds)
            continue
        why = watch.unmeasured(found.watched, measure)
        if found.watched.is_down:
            dead = dead or why
        elif found.watched.failure is not None and found.watched.failure.kind == "disabled":
            resting = resting or why
        else:
            missing = missing or why
    if not parts:
        return None, 0.0, missing or dead or resting
    return Tally(*map(sum, zip(*parts, strict=True))), seconds, missing
