"""What one model's GPUs did and used over the recent window, as far as it is known. Pure.

bill.py and signature.py make money and factors of it. Only differences of totals are taken here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from burnmeter import roofline
from burnmeter.attribution import Portion
from burnmeter.model import Gpu, Spend, Target
from burnmeter.model_facts import ModelFacts
from burnmeter.pricing import Price
from burnmeter.recent import Recent
from burnmeter.state import Settings, State
from burnmeter.units import SECONDS_PER_HOUR
from burnmeter.watch import Watched

SAME_RATIO: Final = 1e-6
"""Two prices that differ by less are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Of one model, over `seconds`."""

    seconds: float
    """As long as it had GPUs."""
    generated: float | None
    """Tokens that these GPUs made. None: not known."""
    gpu_seconds: float
    known_seconds: float
    """Of these, of which it is known whether requests ran."""
    busy_seconds: float
    """Of these, with requests running."""
    dollars: float | None
    joules: float | None
    price_text: str = ""
    """Whose word the price is, for people."""
    is_listed_price: bool = False
    """By the shipped list, which is nobody's word."""
    roofline_seconds: Mapping[str, float] = field(default_factory=dict)
    """Work -> seconds of one GPU at its limits; what is not known is not in it."""
    split: tuple[float, float] | None = None
    """Busy seconds on prompts and on tokens, where the engine tells."""
    notes: tuple[str, ...] = ()
    """What the model's facts go by, or why they are not known."""


def used(
    state: State, settings: Settings, did: Recent, vantage: str, watched: Sequence[Watched]
) -> Used:
    """`vantage`: the one from which its tokens are taken."""
    text, is_listed = _price(state, settings, did.model, did.spend)
    engines = [one for one in watched if one.vantage == "engine"]
    return replace(
        measured(did, vantage),
        price_text=text,
        is_listed_price=is_listed,
        roofline_seconds=_roofline(did, engines),
        split=_split(did),
        notes=_notes(state, did.model, engines),
    )


def measured(did: Recent, vantage: str) -> Used:
    """Without what is only told to people."""
    by_state = {state: spend.gpu_seconds for state, spend in did.spends.items()}
    spend = did.spend
    return Used(
        seconds=did.held_seconds,
        generated=did.made.get(vantage),
        gpu_seconds=spend.gpu_seconds,
        known_seconds=by_state.get("busy", 0.0) + by_state.get("idle", 0.0),
        busy_seconds=by_state.get("busy", 0.0),
        dollars=spend.dollars,
        joules=spend.joules,
    )


def gpus_of(state: State, model: str) -> list[str]:
    """The uuids of GPUs that are the model's now."""
    portions = state.portions
    return [uuid for uuid in state.boards.gpus if _has(portions.get(uuid, ()), model)]


def _has(portions: Sequence[Portion], model: str) -> bool:
    return any(portion.share.model == model for portion in portions)


def _price(state: State, settings: Settings, model: str, spend: Spend) -> tuple[str, bool]:
    """What each kind of its GPUs costs, and by whose word."""
    names = sorted({state.boards.gpus[uuid].name for uuid in gpus_of(state, model)})
    found = {name: price for name in names if (price := settings.prices.get(name)) is not None}
    text = "; ".join(f"{name}: {price.text}" for name, price in found.items())
    if _has_changed(list(found.values()), spend):
        text += "; before it was another, and this is the mean"
    return text, any(price.is_listed for price in found.values())


def _has_changed(prices: Sequence[Price], spend: Spend) -> bool:
    """Whether what was paid lies outside of the prices of now. With power nobody can tell."""
    if spend.dollars is None or not prices or any(price.dollars_per_joule for price in prices):
        return False
    hourly = [price.dollars_per_hour for price in prices]
    paid = spend.dollars / spend.gpu_seconds * SECONDS_PER_HOUR
    return not min(hourly) * (1 - SAME_RATIO) <= paid <= max(hourly) * (1 + SAME_RATIO)


def _roofline(did: Recent, engines: Sequence[Watched]) -> dict[str, float]:
    """By work; of decoding only if it is known of each target that generated."""
    found: dict[str, float] = {}
    for (_, work), seconds in did.roofline.items():
        found[work] = found.get(work, 0.0) + seconds
    made = {one.target.name for one in engines} & did.generating
    for work in (roofline.DECODE, roofline.ESTIMATED):
        known = {target for (target, kind), seconds in did.roofline.items() if kind == work}
        if made - known:
            found.pop(work, None)
    return found


def _split(did: Recent) -> tuple[float, float] | None:
    prompts, tokens = (did.counter(f"{kind}_busy_seconds_total") for kind in ("prefill", "decode"))
    return None if prompts is None or tokens is None else (prompts, tokens)


def _size(facts: ModelFacts) -> str:
    """What a step reads and computes, for people."""
    kv = sum(span.cache_bytes for span in facts.spans)
    return (
        f"{facts.weight_bytes / 1e9:.3g} GB of weights in {facts.weight_format},"
        f" {kv / 1e3:.3g} kB of cache and {facts.flops(0) / 1e9:.3g} GFLOP a token"
    )


def _assumed(facts: ModelFacts, target: Target, gpus: Sequence[Gpu]) -> Iterator[str]:
    """What is taken as so of the model on these GPUs, and may not be."""
    ranks = len(target.local_ranks or ("",))
    by_rank = target.gpus_per_rank or len(gpus) / ranks
    room = [gpu.memory_total_bytes for gpu in gpus]
    held_bytes = sum(one for one in room if one is not None)
    if None not in room and len(gpus) >= by_rank and facts.weight_bytes > held_bytes > 0:
        yield (
            f"Its weights do not fit into the {held_bytes / 1e9:.3g} GB of its GPUs: these facts "
            "cannot be this model's."
        )
    if by_rank > 1:
        yield (
            f"Weights and cache are taken as divided among the {by_rank:g} GPUs of a rank; what "
            "each keeps whole (a latent cache, more GPUs than KV heads) makes it seem slower."
        )
    if ranks > 1 and facts.expert_bytes > 0:
        yield (
            "Each rank is taken to read its experts by itself; where ranks share them, it seems "
            "faster than it is."
        )


def _notes(state: State, model: str, engines: Sequence[Watched]) -> tuple[str, ...]:
    """What is assumed of the model and its GPUs, each sentence once."""
    found: list[str] = []
    for one in engines:
        known = state.library.of(one.target.name, model, one.models)
        if known.facts is None:
            found.append(f"Of the model of {one.target.name} nothing is known: {known.source}.")
            continue
        found.append(f"The model is as {known.source} has it: {_size(known.facts)}.")
        found += known.facts.assumed
        gpus = roofline.held(state.boards.gpus.values(), state.portions, one.target.name)
        found += _assumed(known.facts, one.target, gpus)
        most = roofline.limits(gpus, known.facts.compute_format)
        if most is not None:
            found.append(f"{most.source}.")
        elif gpus:
            names = ", ".join(sorted({gpu.name for gpu in gpus}))
            found.append(f"What {names} can do at most is not known.")
    return tuple(dict.fromkeys(found))
