"""What one model costs and brings, from differences of totals; and why it is not known. Pure.

Its GPUs' dollars and joules, busy and idle, over the tokens that these GPUs made. Surprising: an
engine that has GPUs on other nodes has no cost per token here, only dollars: neither of its nodes
knows the other's. Where ranks are told apart, each node has its own tokens, and its own cost. Of a
time in which a part was not known (a price, energy) there is no cost: half of it would look cheap.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from burnmeter import attribution, usage
from burnmeter.attribution import Portion
from burnmeter.model import Spend, Target
from burnmeter.recent import WHOLE_RATIO, Recent
from burnmeter.signature import signature
from burnmeter.snapshot import Signature
from burnmeter.state import Settings, State
from burnmeter.units import SECONDS_PER_HOUR, TOKENS_PER_MILLION
from burnmeter.usage import Used
from burnmeter.watch import Watched

NO_GPU: Final = "no GPU of this node is known to be its"
IDLE: Final = "no token was generated lately"
UNCOUNTED: Final = ("its tokens are not known", IDLE)
"""Why there is no cost per token where nothing is wrong."""
NEW: Final = "its GPUs are known for too short a time"
COST, ENERGY, TOTAL = "cost_dollars_total", "energy_joules_total", "cost_dollars"
REASONED: Final = (COST, ENERGY, TOTAL)
"""Names under which a view says why: cost and energy per token, and dollars in all."""


class Money(NamedTuple):
    """One model's, as ModelView has it."""

    dollars_per_million_tokens: float | None
    joules_per_token: float | None
    cost_dollars: float | None
    revenue_dollars: float | None
    cost_dollars_per_hour: float | None
    revenue_dollars_per_hour: float | None
    signature: Signature | None
    why: Mapping[str, str | None]
    """What is not known, or not whole -> why."""


class PerToken(NamedTuple):
    """What a token costs and takes."""

    dollars_per_million_tokens: float | None
    joules_per_token: float | None
    is_split: bool
    """Its GPUs here and its tokens are not of the same engines."""
    why: Mapping[str, str | None]
    """COST and ENERGY -> why it is not known; None where it is."""


def money(
    state: State, settings: Settings, did: Recent, vantage: str, watched: Sequence[Watched]
) -> Money:
    """`vantage`: the one from which its tokens are taken."""
    used = usage.used(state, settings, did, vantage, watched)
    per = per_token(state, settings, used, did.model, watched)
    ours = attribution.total(
        spend for share, spend in state.purse.spends.items() if share.model == did.model
    )
    return Money(
        dollars_per_million_tokens=per.dollars_per_million_tokens,
        joules_per_token=per.joules_per_token,
        cost_dollars=ours.dollars,
        revenue_dollars=did.earned,
        cost_dollars_per_hour=_per(used.dollars, used.seconds, SECONDS_PER_HOUR),
        revenue_dollars_per_hour=_per(did.earned_lately, did.seconds, SECONDS_PER_HOUR),
        signature=None if per.is_split else signature(used),
        why={**per.why, TOTAL: _left_out(ours)},
    )


def per_token(
    state: State, settings: Settings, used: Used, model: str, watched: Sequence[Watched]
) -> PerToken:
    """What one of its tokens costs, and takes."""
    split = _split(state.portions, model, watched)
    no_gpus = split or _nobodys(state, model, watched)
    cost = None if split else _per(used.dollars, used.generated, TOKENS_PER_MILLION)
    joules = None if split else _per(used.joules, used.generated)
    why_not = {
        COST: no_gpus or _unpriced(state, settings, model, used) or _no_tokens(used),
        ENERGY: no_gpus or _unmetered(used) or _no_tokens(used),
    }
    known = {COST: cost, ENERGY: joules}
    return PerToken(
        dollars_per_million_tokens=cost,
        joules_per_token=joules,
        is_split=split is not None,
        why={name: why if known[name] is None else None for name, why in why_not.items()},
    )


def _per(amount: float | None, count: float | None, scale: float = 1.0) -> float | None:
    return None if amount is None or not count else amount / count * scale


def _split(
    portions: Mapping[str, Sequence[Portion]], model: str, watched: Sequence[Watched]
) -> str | None:
    """Why its GPUs here and its tokens are not of the same engines."""
    have = {one.target.name: _gpus(portions, one.target.name, model) for one in watched}
    wants = {
        one.target.name: _wants(one.target) or have[one.target.name]
        for one in watched
        if have[one.target.name]
    }
    strangers = _gpus(portions, "", model)
    missing = sum(wants[name] - have[name] for name in wants)
    if strangers and wants and strangers != missing:
        return (
            f"{strangers} of its GPUs are held for an engine whose tokens are not counted here: "
            "sum burnmeter_cost_dollars_total over its nodes"
        )
    for name, needs in wants.items():
        if not strangers and have[name] < needs:
            return (
                f"{have[name]} of the {needs} GPUs of {name} are on this node: sum "
                "burnmeter_cost_dollars_total over its nodes"
            )
    return None


def _gpus(portions: Mapping[str, Sequence[Portion]], target: str, model: str) -> int:
    """On how many GPUs a target has a part; without one, the model by itself."""
    return sum(
        any(p.share.target == target and (target or p.share.model == model) for p in of)
        for of in portions.values()
    )


def _wants(target: Target) -> int | None:
    needs = target.gpus_per_rank
    return None if needs is None else needs * len(target.local_ranks or ("",))


def _nobodys(state: State, model: str, watched: Sequence[Watched]) -> str | None:
    """Nobody knows its GPUs, or not which part of them is its."""
    if usage.gpus_of(state, model):
        return None
    targets = {one.target.name for one in watched}
    together = {
        p.share.model for of in state.portions.values() for p in of if p.share.target in targets
    }
    if together:
        return f"its GPUs serve {', '.join(sorted(together))} together, and are not divided"
    return NO_GPU


def _unpriced(state: State, settings: Settings, model: str, used: Used) -> str | None:
    """What its GPUs cost is not known, or was not all the time."""
    names = {state.boards.gpus[uuid].name for uuid in usage.gpus_of(state, model)}
    unpriced = sorted(name for name in names if settings.prices.get(name) is None)
    if unpriced:
        return f"no price is known for {', '.join(unpriced)}: set prices.gpu_dollars_per_hour"
    if used.dollars is None and used.gpu_seconds > 0:
        return "what its GPUs cost was not known all of the time lately"
    return None


def _unmetered(used: Used) -> str | None:
    if used.joules is None and used.gpu_seconds > 0:
        return "the energy of its GPUs was not known all of the time lately"
    return None


def _left_out(ours: Spend) -> str | None:
    """What is not in its dollars since the agent started."""
    seconds = ours.gpu_seconds - ours.priced_seconds
    if ours.dollars is None or seconds <= WHOLE_RATIO * ours.gpu_seconds:
        return None
    share = seconds / ours.gpu_seconds
    return f"{share:.1%} of its GPU time is not in it: its price was not known"


def _no_tokens(used: Used) -> str | None:
    if used.generated is None:
        return UNCOUNTED[0]
    if used.gpu_seconds <= 0:
        return NEW
    return UNCOUNTED[1] if used.generated <= 0 else None
