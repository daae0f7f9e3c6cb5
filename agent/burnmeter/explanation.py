"""Where a number comes from: the answer of `burnmeter explain`. Pure, since it is all data."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
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


def explain(word: str, engine: str | None = None) -> tuple[Explanation, ...]:
    """By our full name, our short name, or an engine's own name. Raises KeyError with what is near.

    `engine`: only where this one has it from.

    `burnmeter_ttft_seconds`, `ttft_seconds`, `TTFT` and `vllm:time_to_first_token_seconds` are one.
    An engine's own name may feed several of ours, and is told of the engines that have it.
    """
    known, ours = catalog.metrics(), _ours(word)
    if ours is not None:
        return (_explained(ours, load_all() if engine is None else (engine,)),)
    for name in _spellings(word):
        fed = _by_engine_name().get(name)
        if fed is not None:
            asked = {metric: engines if engine is None else (engine,) for metric, engines in fed}
            return tuple(_explained(known[metric], engines) for metric, engines in asked.items())
    raise KeyError(", ".join(f"`{name}`" for name in _near(word)))


def unused(word: str) -> tuple[str, ...]:
    """Titles of the engines whose own name it is, where we know it and make nothing of it."""
    return tuple(
        dialect.title
        for dialect in load_all().values()
        if word.startswith(dialect.prefixes)
        and any(dialect.is_ignored(name) for name in _spellings(word))
    )


def _explained(metric: Metric, engines: Iterable[str]) -> Explanation:
    origins: tuple[Origin, ...] = ()
    if metric.group in catalog.VANTAGES:
        asked = (load_all()[engine] for engine in engines)
        seen_there = (dialect for dialect in asked if metric.group in vantages(dialect))
        origins = tuple(_origin(dialect, metric.plain_measure) for dialect in seen_there)
    return Explanation(metric=metric, origins=origins)


def vantages(dialect: Dialect) -> set[str]:
    """From where its pages may count: the dialect's own vantage, and those of its roles."""
    roles = (role for role in dialect.roles if role.vantage and role.is_counted)
    return {dialect.vantage} | {role.vantage for role in roles}


def _ours(word: str) -> Metric | None:
    metrics, lower = catalog.metrics(), word.lower()
    for name in (lower, catalog.PREFIX + lower, f"{catalog.PREFIX}{lower}_seconds"):
        for ending in ("", "_total"):
            if name + ending in metrics:
                return metrics[name + ending]
    return None


def _spellings(word: str) -> tuple[str, ...]:
    """An engine's name as dialects may have it: a counter's family, a line of a histogram."""
    lines = (word.removesuffix(line) for line in ("_bucket", "_sum", "_count"))
    return (word, f"{word}_total", *(name for name in lines if name != word))


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


@cache
def _by_engine_name() -> Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]]:
    """An engine's name -> what it feeds, in full, each with the engines of which that is so."""
    found: dict[str, dict[str, list[str]]] = {}
    for dialect in load_all().values():
        for measure in dialect.measures.values():
            ours = catalog.PREFIX + catalog.seen_from(dialect.vantage, measure.name)
            for name in _names(measure):
                found.setdefault(name, {}).setdefault(ours, []).append(dialect.engine)
    return {
        name: tuple((ours, tuple(engines)) for ours, engines in fed.items())
        for name, fed in found.items()
    }


def _names(measure: Measure) -> tuple[str, ...]:
    """Every engine's name that one of its rules asks for, once."""
    names = (n for rule in measure.rules for n in (*rule.names, *rule.sum, *rule.count))
    return tuple(dict.fromkeys(names))


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
        names=_names(measure),
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
