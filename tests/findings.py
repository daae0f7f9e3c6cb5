"""What a page says of its only model, for tests of dialects."""

from collections.abc import Mapping

from burnmeter import sli
from burnmeter.inspection import ModelFindings, inspect
from burnmeter.model import Key
from tests import pages


def only(text: str, since: str | None = None) -> ModelFindings:
    """What its only model did."""
    (findings,) = inspect(text, since).models.values()
    return findings


def models(text: str) -> dict[str, str]:
    return dict(pages.planned(text)[1].models)


def gauges(text: str) -> dict[str, float]:
    (found,) = inspect(text).gauges.values()
    return dict(found)


def ladder(text: str, measure: str) -> tuple[dict[float, float], float, float | None]:
    """Bound -> cumulative count, of its only part; total; sum."""
    found = [h for k, h in pages.engine_page(text).histograms.items() if k.measure == measure]
    ((histogram,),) = [parts.values() for parts in found]
    counts = dict(zip(histogram.bounds, histogram.counts, strict=True))
    return counts, histogram.total, histogram.sum


def error_rate(text: str) -> tuple[float, float] | None:
    """At least and at most, of its only model; None: not measured."""
    counters: Mapping[Key, float] = {
        key: sum(parts.values()) for key, parts in pages.engine_page(text).counters.items()
    }
    (model,) = {dict(key.labels)["model"] for key in counters if key.measure == "requests_total"}
    tally = sli.error_tally(sli.outcomes(model, counters))
    if tally is None:
        return None
    return 1 - tally.good_upper / tally.valid, 1 - tally.good_lower / tally.valid
