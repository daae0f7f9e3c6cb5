"""Which of a dialect's names a Prometheus has history of, with which labels and buckets.

It asks for lists, never for values. Surprising: which values a label has is asked, because a
dialect's patterns are Python's, and Prometheus's know no look-ahead.
"""

import re
from collections.abc import Mapping, Sequence
from math import isinf
from typing import Final

from burnmeter.dialects import INDICATORS, Dialect, Mark, Measure, Rule
from burnmeter.provision.conventions import quoted
from burnmeter.provision.hindsight import Grid
from burnmeter.provision.prometheus_api import Prometheus

LINES: Final = ("", "_count", "_bucket")
TELLING: Final = (*INDICATORS.values(), "requests_total")
"""Measures from which an objective can be told."""


class Stored:
    """What there is between the first and the last moment of a grid."""

    def __init__(self, prometheus: Prometheus, grid: Grid) -> None:
        self._prometheus = prometheus
        self._between = {"start_seconds": grid.begin_seconds, "end_seconds": grid.end_seconds}
        self._names: dict[str, frozenset[str]] = {}
        self._values: dict[tuple[str, str], tuple[str, ...]] = {}

    def names(self, dialect: Dialect) -> frozenset[str]:
        """Those of a dialect's names that have history, as lines: with `_count`, `_bucket`."""
        if dialect.engine not in self._names:
            rules = (r for m in TELLING if m in dialect.measures for r in dialect.measures[m].rules)
            wanted = sorted({name for rule in rules for name in (*rule.names, *rule.count)})
            lines = "|".join(re.escape(name) for name in wanted)
            match = f"{{__name__=~{quoted(f'({lines})(_count|_bucket)?')}}}"
            found = self._prometheus.label_values("__name__", [match], **self._between)
            self._names[dialect.engine] = frozenset(found if wanted else ())
        return self._names[dialect.engine]

    def signs(self, dialect: Dialect) -> tuple[str, ...]:
        """Selectors of series that a target shows only if its page speaks this dialect."""
        told = {name for name in self.names(dialect) if not name.endswith("_bucket")}
        told |= {n for mark in dialect.recognise for n in mark.names if "*" not in n}
        by_labels: dict[str, list[str]] = {}
        for name in sorted(told):
            for mark in marks(dialect, name)[:1]:
                by_labels.setdefault(_marked(mark), []).append(re.escape(name))
        found = []
        for labels, names in by_labels.items():
            pattern = f"__name__=~{quoted('|'.join(names))}"
            found.append(f"{{{pattern},{labels}}}" if labels else f"{{{pattern}}}")
        return tuple(found)

    def targets(self, dialect: Dialect) -> frozenset[str]:
        """Instances that have shown a page of this dialect."""
        signs = self.signs(dialect)
        return frozenset(one for sign in signs for one in self.values("instance", sign))

    def values(self, label: str, selector: str) -> tuple[str, ...]:
        """What a label says among the series of a selector; "" is not among them."""
        if (label, selector) not in self._values:
            found = self._prometheus.label_values(label, [selector], **self._between)
            self._values[label, selector] = tuple(value for value in found if value)
        return self._values[label, selector]

    def selector(self, dialect: Dialect, measure: Measure, rule: Rule, line: str) -> str | None:
        """The series of a name that a rule is about; None if there are none."""
        ours = marks(dialect, line)
        where = [_marked(ours[0])] if ours and ours[0].has_labels else []
        for role in dialect.roles:  # One told by a command line alone leaves no trace in history.
            if measure.name in role.leaves_out or not role.is_counted:
                where += [f"{label}!={quoted(value)}" for label, value in role.values[:1]]
        for label, pattern in rule.match.items():
            known = ("", *self.values(label, line))
            fitting = [value for value in known if pattern.fullmatch(value) is not None]
            if not fitting:
                return None
            if len(fitting) < len(known):
                where.append(f"{label}=~{quoted('|'.join(map(re.escape, fitting)))}")
        return f"{line}{{{','.join(where)}}}"

    def bounds(self, bucket_line: str, factor: float) -> dict[float, tuple[str, ...]]:
        """Upper bounds of its buckets in base units -> how they are spelled: `1` and `1.0`."""
        found: dict[float, tuple[str, ...]] = {}
        for text in self.values("le", bucket_line):
            bound = _number(text)
            if bound is not None and not isinf(bound):
                found[bound * factor] = (*found.get(bound * factor, ()), text)
        return dict(sorted(found.items()))

    def nearest(
        self, count: str, buckets: Mapping[float, str], bounds: Sequence[float]
    ) -> tuple[float, ...]:
        """Of bounds in the order of their nearness those that some series needs.

        Usually the first alone: only fleets of several versions have several ladders of buckets.
        """
        missing = self._identities(count)
        found = []
        for bound in bounds:
            there = self._identities(buckets[bound])
            if missing & there:
                found.append(bound)
                missing -= there
            if not missing:
                break
        return tuple(found)

    def _identities(self, selector: str) -> set[tuple[tuple[str, str], ...]]:
        """What tells the series of a histogram apart, bucket or not."""
        return {
            tuple(sorted(pair for pair in labels.items() if pair[0] not in ("__name__", "le")))
            for labels in self._prometheus.series([selector], **self._between)
        }


def marks(dialect: Dialect, line: str) -> Sequence[Mark]:
    """The marks by which a line shows that its target speaks a dialect; those without labels first.

    A name that others write, too (`http_requests_total`), has none.
    """
    base = line.removesuffix("_count").removesuffix("_bucket")
    lines = {line, *(base + ending for ending in LINES)}
    found = [mark for mark in dialect.recognise if any(map(mark.is_named, lines))]
    return sorted(found, key=lambda mark: mark.has_labels)


def _marked(mark: Mark) -> str:
    labels = [f'{label}!=""' for label in mark.labels]
    return ",".join([*labels, *(f"{label}={quoted(value)}" for label, value in mark.values)])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def word(dialect: Dialect, labels: Mapping[str, str]) -> str:
    """What a series calls its model; where engines name none, its job's name."""
    named = (labels.get(label, "") for label in dialect.model_labels)
    known = (value for value in named if value and value not in dialect.no_model)
    return next(known, labels.get("job", ""))
