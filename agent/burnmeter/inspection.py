"""What one metrics page says, or two of one engine: the answer of `burnmeter inspect`. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from burnmeter import dialects, growth, names, sli, views
from burnmeter.config import Limits
from burnmeter.errors import PageError
from burnmeter.model import About, EnginePage, Growth, Target
from burnmeter.naming import model_namer
from burnmeter.normalise import normalise
from burnmeter.page import Page, parse_series, read_page
from burnmeter.planning import Plan, plan
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
    models_beyond: int
    """Further models on the later page, which are counted as the model names.OVERFLOW."""
    gauges: Mapping[str, Mapping[str, float]]
    """Model -> gauge -> value on the later page."""
    not_available: Mapping[str, str]
    unknown_families: tuple[str, ...]
    also: tuple[str, ...]
    """Titles of other engines whose families are on the later page; nothing of them is counted."""


def inspect(text: str, since: str | None = None, about: About | None = None) -> Inspection:
    """What a page says; with `since`, an earlier page, what happened between the two.

    `about`: what its server says of itself. Raises PageError if either page cannot be read, or if
    they are of two engines.
    """
    page = read_page(text)
    found, after = _read(page, None, about)
    before = _read(read_page(since), after.engine, about)[1] if since is not None else None
    dialect = dialects.load_all()[after.engine]
    grown = _grown(before, after, dialect)
    gauges: dict[str, dict[str, float]] = {}
    for key, value in after.gauges.items():
        gauges.setdefault(growth.model_of(key.labels), {})[key.measure] = value
    by_model = growth.by_model(grown)
    nothing = Growth(seconds=grown.seconds, counters={}, histograms={})
    return Inspection(
        engine=after.engine,
        title=dialect.title,
        version=about.version if about else None,
        role=after.role,
        vantage=after.vantage,
        is_difference=before is not None,
        is_of_rates=dialect.is_per_second,
        is_restart=grown.is_restart,
        models={
            name: _model(name, by_model.get(name, nothing))
            for name in sorted(by_model.keys() | gauges.keys())
        },
        models_beyond=found.beyond,
        gauges=gauges,
        not_available=after.not_available,
        unknown_families=after.unknown_families,
        also=_also(page, dialect),
    )


def _read(page: Page, engine: str | None, about: About | None) -> tuple[Plan, EnginePage]:
    """A page in our words, with as many models as a target may bring. Raises PageError."""
    nameless = Target(name=UNNAMED, url="", origin="config")
    found = plan(
        page,
        dialects.load_all(),
        engine=engine,
        name=model_namer(nameless, {}, about),
        admit=lambda wanted: names.admit(wanted, (), Limits().models),
    )
    return found, normalise(page, found)


def _also(page: Page, spoken: dialects.Dialect) -> tuple[str, ...]:
    labelled: dict[str, list[Mapping[str, str]]] = {}
    for raw in page.series:
        series = parse_series(raw)
        labelled.setdefault(series.name, []).append(series.labels)
    found = dialects.others(labelled, dialects.load_all(), spoken)
    return tuple(dialect.title for dialect in found)


def _grown(before: EnginePage | None, after: EnginePage, dialect: dialects.Dialect) -> Growth:
    if not dialect.is_per_second:
        return growth.between(before, after, dialect.cancelled_estimate)
    if before is not None:
        text = f"{dialect.title} gives rates, whose difference is nothing; inspect one page alone"
        raise PageError("not_metrics", text)
    return growth.over(after, RATES_SHOWN_SECONDS)


def _model(name: str, grown: Growth) -> ModelFindings:
    """`grown`: of this model alone."""
    histograms = {key.measure: h for key, h in grown.histograms.items()}
    return ModelFindings(
        requests=sli.by_outcome(sli.outcomes(name, grown.counters)),
        tokens=_tokens(grown),
        latencies={
            short: views.latency(histograms[measure])
            for short, measure in views.LATENCIES.items()
            if measure in histograms
        },
    )


def _tokens(grown: Growth) -> dict[str, float]:
    return {
        dict(key.labels)["kind"]: value
        for key, value in grown.counters.items()
        if key.measure == "tokens_total"
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
        "also": list(found.also),
        "models_beyond": found.models_beyond,
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
