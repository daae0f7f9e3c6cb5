"""What the engines' own names are to us, by name: for queries that people wrote for them.

It says nothing of pages; a page is read by its own dialect, a query may be about any.
"""

from collections.abc import Iterator

from burnmeter.dialects.schema import Dialect, Measure, Rule
from burnmeter.slo_meanings import Series

REQUESTS = "requests_total"


def series(dialect: Dialect, latencies: dict[str, str]) -> Iterator[tuple[str, Series]]:
    """Each name of a dialect that an objective can count, and what it is; none if not countable.

    `latencies`: indicator -> the measure that it judges.
    """
    if dialect.is_per_second:
        return
    for indicator, measure in latencies.items():
        if measure in dialect.measures:
            yield from _histograms(dialect, indicator, dialect.measures[measure])
    if REQUESTS in dialect.measures:
        rules = dialect.measures[REQUESTS].rules
        for name in dict.fromkeys(name for rule in rules for name in rule.names):
            yield name, _requests(dialect, [rule for rule in rules if name in rule.names])


def _histograms(dialect: Dialect, indicator: str, measure: Measure) -> Iterator[tuple[str, Series]]:
    for rule in measure.rules:
        for name in rule.names:
            known = Series(dialect.engine, dialect.vantage, dialect.model_labels)
            yield name, known._replace(indicator=indicator, factor=measure.factor)


def _requests(dialect: Dialect, rules: list[Rule]) -> Series:
    outcomes = tuple((rule.match, dict(rule.labels)["outcome"]) for rule in rules)
    known = Series(dialect.engine, dialect.vantage, dialect.model_labels)
    return known._replace(outcomes=outcomes)
