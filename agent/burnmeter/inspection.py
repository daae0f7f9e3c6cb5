"""What one metrics page says, or two of one engine: the answer of `burnmeter inspect`. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from burnmeter import dialects, growth, sli, views
from burnmeter.errors import PageError
from burnmeter.model import About, EnginePage, Growth, Target
from burnmeter.naming import model_namer
from burnmeter.normalise import normalise
from burnmeter.page import read_page
from burnmeter.planning import plan
from burnmeter.snapshot import Latency

UNNAMED: Final = "unnamed"
"""A model that the page does not name; llama.cpp never does."""
RATES_SHOWN_SECONDS: Final = 60.0
"""A page of rates says nothing of longer ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFindings:
    """One model on the page."""

    requests: Mapping[str, float]
    """Outcome -> count, see sli.by_outcome; `cancelled` is an estimate."""
    tokens: Mapping[str, float]
    latencies: Mapping[str, Latency]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that can be said of a page."""

    engine: str
    title: str
    version: str | None
    """If it was asked and said."""
    role: str
    vantage: str
    is_difference: bool
    is_of_rates: bool
    """The page gives rates per second; the numbers here are of RATES_SHOWN_SECONDS."""
    is_restart: bool
    models: Mapping[str, ModelFindings]
    gauges: Mapping[str, Mapping[str, float]]
    """Model -> gauge -> value on the later page."""
    not_available: Mapping[str, str]
    unknown_families: tuple[str, ...]


def engine_page(text: str, engine: str | None = None, about: About | None = None) -> EnginePage:
    """A page's text in our words. Raises PageError."""
    page = read_page(text)
    nameless = Target(name=UNNAMED, url="", origin="config")
    name = model_namer(nameless, {}, about)
    return normalise(page, plan(page, dialects.load_all(), engine=engine, name=name))


def inspect(text: str, since: str | None = None, about: About | None = None) -> Inspection:
    """What a page says; with `since`, an earlier page, what happened between the two.

    `about`: what its server says of itself. Raises PageError if either page cannot be read, or if
    they are of two engines.
    """
    after = engine_page(text, None, about)
    before = engine_page(since, after.engine, about) if since is not None else None
    dialect = dialects.load_all()[after.engine]
    grown = _grown(before, after, dialect)
    gauges: dict[str, dict[str, float]] = {}
    for key, value in after.gauges.items():
        gauges.setdefault(growth.model_of(key.labels), {})[key.measure] = value
    keys = [*grown.counters, *grown.histograms]
    names = sorted({growth.model_of(key.labels) for key in keys} | gauges.keys())
    return Inspection(
        engine=after.engine,
        title=dialect.title,
        version=about.version if about else None,
        role=after.role,
        vantage=after.vantage,
        is_difference=before is not None,
        is_of_rates=dialect.is_per_second,
        is_restart=grown.is_restart,
        models={name: _model(name, grown) for name in names},
        gauges=gauges,
        not_available=after.not_available,
        unknown_families=after.unknown_families,
    )


def _grown(before: EnginePage | None, after: EnginePage, dialect: dialects.Dialect) -> Growth:
    if not dialect.is_per_second:
        return growth.between(before, after, dialect.cancelled_estimate)
    if before is not None:
        text = f"{dialect.title} gives rates, whose difference is nothing; inspect one page alone"
        raise PageError("not_metrics", text)
    return growth.over(after, RATES_SHOWN_SECONDS)


def _model(name: str, grown: Growth) -> ModelFindings:
    histograms = {
        key.measure: h for key, h in grown.histograms.items() if growth.model_of(key.labels) == name
    }
    return ModelFindings(
        requests=sli.by_outcome(sli.outcomes(name, grown.counters)),
        tokens=_tokens(grown, name),
        latencies={
            short: views.latency(histograms[measure])
            for short, measure in views.LATENCIES.items()
            if measure in histograms
        },
    )


def _tokens(grown: Growth, model: str) -> dict[str, float]:
    return {
        dict(key.labels)["kind"]: value
        for key, value in grown.counters.items()
        if key.measure == "tokens_total" and growth.model_of(key.labels) == model
    }


def as_json(found: Inspection) -> dict[str, Any]:
    """For `--json`. Each model's row stands alone; an upper_seconds of null is unbounded."""
    page = {
        "engine": found.engine,
        "version": found.version,
        "role": found.role,
        "vantage": found.vantage,
        "not_available": dict(found.not_available),
    }
    return {
        **page,
        "is_difference": found.is_difference,
        "is_restart": found.is_restart,
        "unknown_families": list(found.unknown_families),
        "models": {
            name: {
                **page,
                "requests": dict(model.requests),
                "tokens": dict(model.tokens),
                "latencies": {short: _latency(row) for short, row in model.latencies.items()},
                "gauges": dict(found.gauges.get(name, {})),
            }
            for name, model in found.models.items()
        },
    }


def _latency(row: Latency) -> dict[str, Any]:
    return {
        **asdict(row),
        "quantiles": {name: interval._asdict() for name, interval in row.quantiles.items()},
    }
