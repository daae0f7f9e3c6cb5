"""Tokens that the GPUs of this node made while it was known whose they are. Pure.

A cost per token is a ratio, and both its halves must be of the same GPUs and the same time. After a
start an engine's tokens are counted at once, its GPUs only when the driver has listed their
processes; and of an engine with ranks on other nodes only the tokens of those here are ours.
"""

from collections.abc import Iterable, Mapping, Sequence

from burnmeter.attribution import Portion
from burnmeter.model import Key
from burnmeter.watch import Look

MEASURE = "made_tokens_total"


def key(model: str, vantage: str) -> Key:
    """Under what the total of a model stands, as one vantage counts it."""
    return Key(MEASURE, (("model", model), ("vantage", vantage)))


def accrue(
    so_far: Mapping[Key, float],
    looks: Iterable[Look],
    portions: Iterable[Sequence[Portion]],
) -> dict[Key, float]:
    """The totals after one more tick, by model and vantage. `portions`: of each GPU billed in it.

    A model whose name no target holds any more vanishes.
    Of what no page of ours is read (GPUs held for an engine elsewhere) the model alone is known:
    then all that is counted of this model is taken as theirs.
    """
    held = {(portion.share.target, portion.share.model) for of in portions for portion in of}
    targets = {target for target, _ in held}
    models = {model for _, model in held}
    looks = list(looks)
    kept = {name for found in looks for name in found.watched.names_held}
    totals = {one: total for one, total in so_far.items() if dict(one.labels)["model"] in kept}
    for found in looks:
        if found.growth is None:
            continue
        where, name = found.watched.vantage, found.watched.target.name
        here = found.growth.here
        for counted, grown in (here if here is not None else found.growth.counters).items():
            labels = dict(counted.labels)
            if counted.measure != "tokens_total" or labels["kind"] != "generated":
                continue
            model = labels["model"]
            is_held = name in targets or ("", model) in held
            is_ours = is_held if where == "engine" else model in models
            there = key(model, where)
            totals[there] = totals.get(there, 0.0) + (grown if is_ours else 0.0)
    return totals
