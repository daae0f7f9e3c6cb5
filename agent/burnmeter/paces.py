"""Generated tokens, and how long requests ran meanwhile: what one of them gets per second. Pure.

Looks are samples, as for busy time: what runs at one has run since the look before. So short
requests count as often as they are seen, and prompts that are read count as time without tokens.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from burnmeter.model import Key
from burnmeter.watch import Look

RUNNING: Final = "running_requests"
Where = tuple[str, str]
"""Model and vantage."""


class Pace(NamedTuple):
    """Since first sight, of the same looks."""

    tokens: float
    request_seconds: float


def accrue(so_far: Mapping[Where, Pace], looks: Iterable[Look]) -> dict[Where, Pace]:
    """The totals after one more tick. A model whose name no target holds any more vanishes."""
    looks = list(looks)
    held = {model for found in looks for model in found.watched.names_held}
    totals = {where: pace for where, pace in so_far.items() if where[0] in held}
    for found in looks:
        grown, page = found.growth, found.watched.page
        # Before its first look an engine ran for nobody knows how long.
        if grown is None or page is None or grown.seconds <= 0:
            continue
        for model in found.watched.models:
            of_model = ("model", model)
            made = grown.counters.get(Key("tokens_total", (("kind", "generated"), of_model)))
            running = page.gauges.get(Key(RUNNING, (of_model,)))
            if made is not None and running is not None:
                was = totals.get((model, found.watched.vantage), Pace(0.0, 0.0))
                more = Pace(was.tokens + made, was.request_seconds + running * grown.seconds)
                totals[model, found.watched.vantage] = more
    return totals
