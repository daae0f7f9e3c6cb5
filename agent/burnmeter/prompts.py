"""How many of a tick's prompt tokens came from the cache. Pure.

Surprising: an engine may count a prompt when it begins and what of it was cached when it ends,
ticks later. What is cached beyond the prompts of its tick is kept for those of the next.
"""

from collections.abc import Iterable, Mapping

from burnmeter.model import Key
from burnmeter.watch import Look

Where = tuple[str, str]
"""A target and a model."""


def settle(
    ahead: Mapping[Where, float], looks: Iterable[Look]
) -> tuple[dict[Where, float], dict[Where, float]]:
    """Cached over all prompt tokens of this tick; and the cached ones kept for the next."""
    ratios: dict[Where, float] = {}
    kept: dict[Where, float] = {}
    for found in looks:
        name = found.watched.target.name
        for model in found.watched.models:
            where = name, model
            prompt, cached = (count(found, model, kind) for kind in ("prompt", "prompt_cached"))
            cached += ahead.get(where, 0.0)
            taken = min(cached, prompt)
            ratios[where] = taken / prompt if prompt > 0 else 0.0
            if cached > taken:
                kept[where] = cached - taken
    return ratios, kept


def count(found: Look, model: str, kind: str) -> float:
    """Tokens of one kind that a look has brought."""
    counters = found.growth.counters if found.growth is not None else {}
    return counters.get(Key("tokens_total", (("kind", kind), ("model", model))), 0.0)
