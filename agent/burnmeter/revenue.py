"""Tokens that were counted -> what they bring, by the price list of tokens. Pure.

Each model's tokens are taken from one vantage, as all its numbers are, so that a gateway's are not
billed beside its engines'. Surprising: where an engine does not say how much of a prompt was
cached, all of it is billed as new: the most that it can bring.
"""

from collections.abc import Iterable, Mapping, Sequence

from burnmeter import pricing, prompts, vantage
from burnmeter.config_prices import Prices, TokenPrices
from burnmeter.model import Key
from burnmeter.units import TOKENS_PER_MILLION
from burnmeter.watch import Look

MEASURE = "revenue_dollars_total"


def earn(
    so_far: Mapping[Key, float],
    looks: Iterable[Look],
    books: Sequence[Prices],
    cached: Mapping[tuple[str, str], float],
) -> dict[Key, float]:
    """The totals after one more tick; a model without prices brings nothing that is known.

    `cached`: of a target's prompts for a model, as prompts.py tells it.
    """
    priced = {model for book in books for model in book.tokens}
    by_model: dict[str, list[Look]] = {}
    for found in looks:
        if found.watched.vantage != "probe":
            for model in priced.intersection(found.watched.models):
                by_model.setdefault(model, []).append(found)
    earned = dict(so_far)
    for model, seen in by_model.items():
        prices = pricing.tokens(model, books)
        assert prices is not None, "only those with prices are looked at"
        for kind, dollars in _dollars(model, seen, prices, cached).items():
            key = Key(MEASURE, (("kind", kind), ("model", model)))
            earned[key] = earned.get(key, 0.0) + dollars
    return earned


def _dollars(
    model: str,
    seen: Sequence[Look],
    prices: TokenPrices,
    cached: Mapping[tuple[str, str], float],
) -> dict[str, float]:
    """By kind of token. What nobody has counted yet brings 0."""
    where = vantage.best([found.watched for found in seen], "tokens_total")
    nearest = [found for found in seen if found.watched.vantage == where]
    prompt = generated = from_cache = 0.0
    for found in nearest:
        here = prompts.count(found, model, "prompt")
        prompt += here
        from_cache += here * cached.get((found.watched.target.name, model), 0.0)
        generated += prompts.count(found, model, "generated")
    of_cached = prices.cached_prompt_dollars_per_million_tokens
    rates = {
        "prompt": (prompt - from_cache, prices.prompt_dollars_per_million_tokens),
        "prompt_cached": (
            from_cache,
            prices.prompt_dollars_per_million_tokens if of_cached is None else of_cached,
        ),
        "generated": (generated, prices.generated_dollars_per_million_tokens),
    }
    return {kind: tokens * rate / TOKENS_PER_MILLION for kind, (tokens, rate) in rates.items()}
