"""A token's financial signature: its cost as a product of factors, and its energy likewise. Pure.

    price x idle x prefill x stack x batch x model = dollars per generated token

Each factor is a ratio of two totals over the recent window, and each divides by what the next one
multiplies with, so that the product is the cost itself, whatever is known. Where something is not
known, factors are taken together rather than made up: of a model that nobody knows one factor is
left, the GPU time that its tokens took. Of energy the first factor is power, the others the same.
"""

from collections.abc import Sequence
from math import prod
from typing import Final

from burnmeter import roofline
from burnmeter.snapshot import Factor, Signature
from burnmeter.usage import Used

MEASURED, GIVEN, ASSUMED = "measured", "given", "assumed"
NOT_WORTH_A_LINE: Final = 1e-9
MOST_REACHED: Final = 1.1
"""Of what GPUs allow. Samples and means are off by some per cent."""
PRICE, POWER, TIMES, TIME = "dollars per GPU-second", "watts", "ratio", "GPU-seconds per token"


def signature(used: Used) -> Signature | None:
    """The factors; None if nothing was generated, or no GPU is known to have been used."""
    if not used.generated or used.gpu_seconds <= 0:
        return None
    shared = tuple(_shared(used, used.generated))
    price, power = _first(used, used.dollars, "price"), _first(used, used.joules, "power")
    return Signature(
        dollars=(price, *shared) if price is not None else (),
        joules=(power, *shared) if power is not None else (),
        notes=used.notes,
    )


def product(factors: Sequence[Factor]) -> float | None:
    """What the factors come to. None without any."""
    return prod(factor.value for factor in factors) if factors else None


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.1f} %"


def _first(used: Used, amount: float | None, name: str) -> Factor | None:
    """What one second of one GPU costs, in dollars or joules."""
    if amount is None:
        return None
    value = amount / used.gpu_seconds
    if name == "power":
        return Factor(name, value, POWER, MEASURED, "mean of its GPUs, busy and idle")
    how = ASSUMED if used.is_listed_price else GIVEN
    return Factor(name, value, PRICE, how, used.price_text)


def _shared(used: Used, tokens: float) -> list[Factor]:
    """All factors but the first; the last is GPU-seconds."""
    if used.busy_seconds <= 0:
        text = "GPU time of all kinds: at no look requests were seen to run"
        return [Factor("time", used.gpu_seconds / tokens, TIME, MEASURED, text)]
    share = used.busy_seconds / used.known_seconds
    text = f"requests were running in {_percent(share)} of its GPU time"
    idle = Factor("idle", 1 / share, TIMES, MEASURED, text)
    return [*_unknown(used), idle, *_busy(used, used.busy_seconds, tokens)]


def _unknown(used: Used) -> list[Factor]:
    """Time of which nobody knows whether its engine had work: none, mostly."""
    share = 1 - used.known_seconds / used.gpu_seconds
    if share < NOT_WORTH_A_LINE:
        return []
    text = f"of {_percent(share)} of its GPU time nobody knows whether requests ran"
    value = used.gpu_seconds / used.known_seconds
    return [Factor("unknown", value, TIMES, MEASURED, text)]


def _busy(used: Used, busy_seconds: float, tokens: float) -> list[Factor]:
    at = used.roofline_seconds
    decode, floor = at.get(roofline.DECODE, 0.0), at.get(roofline.FLOOR, 0.0)
    if decode <= 0 or floor <= 0:
        return _estimated(used, busy_seconds, tokens)
    prefill = _prefill(used, at.get(roofline.PREFILL, 0.0), decode)
    decoding_seconds = busy_seconds / prefill.value
    reached = decode / decoding_seconds
    stack = _reached(reached, " for the batches that there were")
    batch = f"in endless batches decoding would take {_percent(floor / decode)} of that time"
    model = "what its cache and operations take at the limits of the GPUs"
    return [
        prefill,
        Factor("stack", 1 / reached, TIMES, ASSUMED, stack),
        Factor("batch", decode / floor, TIMES, ASSUMED, batch),
        Factor("model", floor / tokens, TIME, ASSUMED, model),
    ]


def _reached(ratio: float, by: str) -> str:
    text = f"it reaches {_percent(ratio)} of what its GPUs allow{by}"
    if ratio <= MOST_REACHED:
        return text
    return f"{text}: more than can be, so that something that is assumed is not so"


def _prefill(used: Used, prefill: float, decode: float) -> Factor:
    """How many times more it is by what prompts take beside tokens."""
    if used.split is not None and used.split[1] > 0:
        share = used.split[0] / sum(used.split)
        text = f"prompts took {_percent(share)} of the busy time, as the engine counts"
        return Factor("prefill", sum(used.split) / used.split[1], TIMES, MEASURED, text)
    share = prefill / (prefill + decode)
    text = f"prompts take {_percent(share)} of the busy time, if both are as far from their limits"
    return Factor("prefill", (prefill + decode) / decode, TIMES, ASSUMED, text)


def _estimated(used: Used, busy_seconds: float, tokens: float) -> list[Factor]:
    """By the engine's own count of bytes and operations, else only what was measured."""
    least = used.roofline_seconds.get(roofline.ESTIMATED, 0.0)
    if least <= 0:
        text = "busy GPU time; too little is known of the model to say why"
        return [Factor("work", busy_seconds / tokens, TIME, MEASURED, text)]
    reached = least / busy_seconds
    stack = _reached(reached, ", by the engine's own estimate")
    work = "what prompts and tokens take at the limits of the GPUs, by that estimate"
    return [
        Factor("stack", 1 / reached, TIMES, ASSUMED, stack),
        Factor("work", least / tokens, TIME, ASSUMED, work),
    ]
