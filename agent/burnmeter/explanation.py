"""Where a number comes from: the answer of `burnmeter explain`. Pure, since it is all data."""

import difflib
import re
from dataclasses import dataclass
from typing import Final

from burnmeter import catalog
from burnmeter.catalog import Metric
from burnmeter.dialects import Dialect, Measure, load_all

NEAR: Final = 3
"""Most names that are told for a word that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How one engine gives a measure, or why it cannot."""

    engine: str
    place: str
    """Dialect file and line."""
    names: tuple[str, ...]
    formula: str
    observed: str
    means: str
    not_available: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One metric and where each engine has it from."""

    metric: Metric
    origins: tuple[Origin, ...]


def explain(word: str, engine: str | None = None) -> Explanation:
    """By our full name, our short name, or an engine's own name. Raises KeyError with what is near.

    `engine`: only where this one has it from.

    `burnmeter_ttft_seconds`, `ttft_seconds`, `ttft` and `vllm:time_to_first_token_seconds` are one.
    """
    metric = _find(word)
    origins: tuple[Origin, ...] = ()
    if metric.group in catalog.VANTAGES:
        asked = load_all().values() if engine is None else (load_all()[engine],)
        seen_there = (dialect for dialect in asked if metric.group in vantages(dialect))
        origins = tuple(_origin(dialect, metric.plain_measure) for dialect in seen_there)
    return Explanation(metric=metric, origins=origins)


def vantages(dialect: Dialect) -> set[str]:
    """From where its pages may count: the dialect's own vantage, and those of its roles."""
    roles = (role for role in dialect.roles if role.vantage and role.is_counted)
    return {dialect.vantage} | {role.vantage for role in roles}


def _find(word: str) -> Metric:
    metrics = catalog.metrics()
    for name in (word, catalog.PREFIX + word, f"{catalog.PREFIX}{word}_seconds"):
        for ending in ("", "_total"):
            if name + ending in metrics:
                return metrics[name + ending]
    ours = _by_engine_name()
    for ending in ("", "_total"):
        if word + ending in ours:
            return metrics[ours[word + ending]]
    raise KeyError(", ".join(f"`{name}`" for name in _near(word)))


def _near(word: str) -> list[str]:
    """Names that are spelled nearly so; else those that hold the word; else those told of by it."""
    metrics = catalog.metrics()
    shorts = {_short(metric): metric for metric in metrics.values()}
    known = {*metrics, *_by_engine_name(), *shorts}
    stem = word.lower().removeprefix(catalog.PREFIX)
    return (
        difflib.get_close_matches(word, sorted(known), n=NEAR, cutoff=0.6)
        or [short for short in shorts if stem in short][:NEAR]
        or [short for short, metric in shorts.items() if _is_told(stem, metric)][:NEAR]
    )


def _is_told(stem: str, metric: Metric) -> bool:
    """Whether its help has one of the words of a name: of `error_rate`, `error`.

    What a gateway or a probe counts is told of by the engines' own.
    """
    words = re.findall("[a-z]+", metric.help.lower())
    is_told = any(len(part) > 3 and part in words for part in stem.split("_"))
    return is_told and metric.group not in catalog.VANTAGES[1:]


def _short(metric: Metric) -> str:
    return metric.measure.removesuffix("_seconds").removesuffix("_total")


def _by_engine_name() -> dict[str, str]:
    """An engine's name -> ours, in full."""
    return {
        name: catalog.PREFIX + catalog.seen_from(dialect.vantage, measure.name)
        for dialect in load_all().values()
        for measure in dialect.measures.values()
        for rule in measure.rules
        for name in (*rule.names, *rule.sum, *rule.count)
    }


def _origin(dialect: Dialect, name: str) -> Origin:
    measure = dialect.measures.get(name)
    if measure is None:
        why = dialect.not_available.get(name, f"the {dialect.title} dialect has no source for it")
        return Origin(
            engine=dialect.engine,
            place="",
            names=(),
            formula="",
            observed="",
            means="",
            not_available=why,
        )
    return Origin(
        engine=dialect.engine,
        place=f"dialects/{measure.place}",
        names=tuple(dict.fromkeys(n for r in measure.rules for n in (*r.names, *r.sum, *r.count))),
        formula=formula(measure),
        observed=measure.observed,
        means=measure.means,
        not_available=None,
    )


def formula(measure: Measure) -> str:
    """How the engine's numbers become ours, in a line per rule."""
    lines = []
    for rule in measure.rules:
        text = " or ".join(rule.names)
        if rule.sum:
            text = f"a mean: {' or '.join(rule.sum)} / {' or '.join(rule.count)}"
        if rule.match:
            matches = ", ".join(f'{k}=~"{v.pattern}"' for k, v in rule.match.items())
            text += f"{{{matches}}}"
        if measure.factor != 1.0:
            text += f" x {measure.factor:g}"
        if rule.labels:
            text += " -> " + ", ".join(f"{key}={value}" for key, value in rule.labels)
        lines.append(text)
    merge = "summed over ranks" if measure.merge == "sum" else "the highest rank's"
    digits = measure.precision_digits
    rounded = f"; printed with {digits} significant digits" if digits is not None else ""
    return "; ".join(lines) + f"; {merge}{rounded}"
