"""What the recent window is worth at each tick: throughput, cost and energy per token. Pure.

Objectives hold these numbers against a threshold; the ledgers count the time in which they met it.
They are those that bill.py gives, but between two ticks at which all tokens made so far were told:
of a time whose tokens come later there is a bill and no count, and it would burn for nothing.

Surprising: a page that could not be read leaves its tick out and not the window, unless the time
that can be told is less than half of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from burnmeter import bill, indicators, ledgers, paces, recent, usage, vantage, watch
from burnmeter.model import Objective
from burnmeter.recent import Recent
from burnmeter.sli import Worth
from burnmeter.state import Settings, State
from burnmeter.watch import DEAD_KINDS, Look, Watched

TOKENS: Final = "tokens_total"
LEAST_RATIO: Final = 0.5
"""Of the recent window: over less of it a single prompt can make any number of it."""
TOO_SHORT: Final = "its tokens are known for too short a time"
UNTOLD: Final = "how many of its requests run is not known"
UNSEEN: Final = "its requests are so short that no look saw one run"


class Tellers(NamedTuple):
    """Whose pages tell of one model's tokens, and whether all of them have at this tick."""

    source: str
    """Their vantage."""
    looks: Sequence[Look]
    watched: Sequence[Watched]
    """All targets of the model."""
    missing: str | None
    """Why one of them that should have told did not."""
    is_resting: bool
    """It was not time to read one of them."""

    @property
    def is_whole(self) -> bool:
        """All tokens that were made so far are counted."""
        return self.missing is None and not self.is_resting


def tellers(looks: Iterable[Look], objectives: Sequence[Objective]) -> dict[str, Tellers]:
    """By model, of those of which an objective wants to know what time is worth."""
    wanting = [objective for objective in objectives if indicators.of(objective).is_worth]
    by_model: dict[str, list[Look]] = {}
    for found in looks if wanting else ():
        for model in found.watched.models:
            if any(ledgers.concerns(objective, model) for objective in wanting):
                by_model.setdefault(model, []).append(found)
    return {model: _tellers(of_model) for model, of_model in by_model.items()}


def _tellers(of_model: Sequence[Look]) -> Tellers:
    served = [found for found in of_model if found.watched.vantage != "probe"] or of_model
    source = vantage.best([found.watched for found in served], TOKENS) or vantage.NEAREST_FIRST[0]
    here = [found for found in served if found.watched.vantage == source]
    own = [found for found in here if not vantage.leaves_out(found.watched, TOKENS)] or here
    silent = [found.watched for found in own if not found.is_resting and not _tells(found)]
    # Of a dead engine no token comes later, so nothing is missing unless all are.
    lost = [one for one in silent if not _is_dead(one)]
    if len(silent) == len(own):
        lost = lost or silent
    return Tellers(
        source=source,
        looks=own,
        watched=[found.watched for found in of_model],
        missing=watch.unmeasured(lost[0], TOKENS) if lost else None,
        is_resting=any(found.is_resting for found in own),
    )


def _tells(found: Look) -> bool:
    return found.growth is not None and found.watched.is_up and not found.watched.is_stale


def _is_dead(one: Watched) -> bool:
    return one.failure is not None and one.failure.kind in DEAD_KINDS


def told(now: State, settings: Settings, of: Mapping[str, Tellers]) -> dict[str, ledgers.Told]:
    """By model, what the ledgers are told of this tick. `now` has it as its last past."""
    did = recent.whole(now.past, {(model, one.source) for model, one in of.items()})
    return {model: _told(now, settings, did[model], one) for model, one in of.items()}


def _told(now: State, settings: Settings, did: Recent, one: Tellers) -> ledgers.Told:
    seconds = max((found.slice.seconds for found in one.looks), default=0.0)
    why = one.missing
    if why is None and did.seconds < LEAST_RATIO * settings.recent_seconds:
        why = TOO_SHORT
    return ledgers.Told(
        source=one.source,
        # Of a longer time the window says nothing.
        seconds=min(seconds, did.seconds),
        is_resting=one.is_resting and one.missing is None,
        worths=_unknown(why) if why is not None else _worths(now, settings, did, one),
    )


def _unknown(why: str) -> dict[str, Worth]:
    return {name: Worth(None, why) for name, one in indicators.INDICATORS.items() if one.is_worth}


def _worths(now: State, settings: Settings, did: Recent, one: Tellers) -> dict[str, Worth]:
    used = usage.measured(did, one.source)
    per = bill.per_token(now, settings, used, did.model, one.watched)
    return {
        "throughput": _throughput(did, one),
        "cost": _worth(per.dollars_per_million_tokens, per.why[bill.COST]),
        "energy": _worth(per.joules_per_token, per.why[bill.ENERGY]),
    }


def _worth(value: float | None, why: str | None) -> Worth:
    return Worth(value, None if why == bill.IDLE else why)


def _throughput(did: Recent, one: Tellers) -> Worth:
    """Tokens per second and running request."""
    for found in one.looks:
        if not (vantage.can_give(found.watched, paces.RUNNING) or _is_dead(found.watched)):
            return Worth(None, watch.unmeasured(found.watched, paces.RUNNING))
    if did.pace is None:
        return Worth(None, UNTOLD)
    tokens, request_seconds = did.pace
    if request_seconds > 0:
        return Worth(tokens / request_seconds, None)
    return Worth(None, UNSEEN if tokens > 0 else None)
