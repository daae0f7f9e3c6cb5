"""From the queries of an SLO document that was written for another program to an objective of ours.

config_sloth.py and config_openslo.py know where such a document has its queries, slo_meanings.py
what they count. Every refusal names the query, why it cannot be said, and what would be right.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from burnmeter import config_rules as rules
from burnmeter import config_slos, slo_queries
from burnmeter.config_rules import Report, RuleError
from burnmeter.config_slos import Placed
from burnmeter.located import Located, shown
from burnmeter.model import Objective
from burnmeter.slo_meanings import Indicator, Known, judge, meant
from burnmeter.slo_queries import QueryError

NAME_SIGNS: Final = 63


@dataclass(slots=True)
class Setting:
    """What all documents of a config share."""

    known: Known
    models: Mapping[str, str]
    """The engine's word -> our name."""
    names: dict[str, str] = field(default_factory=dict)
    """Names of objectives that are taken, and the file of each."""
    promised: dict[str, Objective] = field(default_factory=dict)
    """The objectives in our own form, which a query may speak of."""
    lacking: set[str] = field(default_factory=set)
    """Files of which was said that the parser of their queries is not installed."""


class Query(NamedTuple):
    """One query where it stands."""

    where: str
    node: Located

    @property
    def text(self) -> str:
        """What is asked."""
        return self.node.text


class Promise(NamedTuple):
    """What is promised of an indicator, in base units."""

    where: str
    """The whole entry's place, for the name."""
    at: Located
    name: str
    objective_ratio: float
    period_seconds: float | None = None
    is_paging: bool = True
    """Unless what it counts pages nobody anyway."""


def query(node: Located) -> Located:
    """A rule: a text that may have many lines."""
    if not isinstance(node.value, str) or not node.value.strip():
        raise RuleError(f"{rules.given(node)} is no query; write one in PromQL")
    return node


def named(*parts: str) -> str:
    """A name of ours from words of theirs; "" if nothing of them can stand in one."""
    return re.sub("[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def of_events(
    report: Report, setting: Setting, part: Query, total: Query, *, is_good: bool, is_plain: bool
) -> Indicator | None:
    """What two queries of events count, or None and a problem."""
    if not _has_parser(report, setting, part):
        return None
    sums = []
    for one in (part, total):
        try:
            sums.append(slo_queries.read_sum(one.text, is_plain=is_plain))
        except QueryError as error:
            _refuse(report, setting, one, error, (part.text, total.text))
    if len(sums) < 2:
        return None
    try:
        return judge(sums[0], sums[1], is_good=is_good, known=setting.known)
    except QueryError as error:
        _refuse(report, setting, part, error, (part.text, total.text))
        return None


def of_ratio(report: Report, setting: Setting, one: Query, *, is_good: bool) -> Indicator | None:
    """What one query of a ratio counts, or None and a problem."""
    if not _has_parser(report, setting, one):
        return None
    try:
        ratio = slo_queries.read_ratio(one.text)
        is_good = is_good != ratio.is_complement
        return judge(ratio.part, ratio.total, is_good=is_good, known=setting.known)
    except QueryError as error:
        _refuse(report, setting, one, error, (one.text,))
        return None


def of_level(report: Report, setting: Setting, one: Query) -> str | None:
    """The gauge that one query shows, or None and a problem."""
    if not _has_parser(report, setting, one):
        return None
    try:
        return slo_queries.read_level(one.text)
    except QueryError as error:
        _refuse(report, setting, one, error, (one.text,))
        return None


def promised(
    report: Report, setting: Setting, one: Query, found: Indicator, promise: Promise
) -> list[Placed]:
    """The objective that a promise of an indicator is."""
    for text in found.warnings:
        report.warn(one.node, f"{one.where}: {text}")
    model = found.model
    if model is not None and not found.is_our_name:
        model = setting.models.get(model, model)
    objective = _counted(report, setting, one, found)
    if objective is None:
        return []
    objective = replace(
        objective,
        name=promise.name,
        objective_ratio=promise.objective_ratio,
        period_seconds=promise.period_seconds or config_slos.WINDOW_SECONDS,
        match=objective.match if model is None else (("model", model),),
        is_paging=objective.is_paging and promise.is_paging,
    )
    return [Placed(one.where, one.node, objective, threshold="le", model="model")]


def _counted(report: Report, setting: Setting, one: Query, found: Indicator) -> Objective | None:
    """An objective that counts this; its name and promise are still another's."""
    if found.like is None:
        return Objective(
            name="",
            indicator=found.indicator,
            objective_ratio=0.0,
            threshold_seconds=found.threshold_seconds,
        )
    if found.like not in setting.promised:
        hint = rules.suggestion(found.like, setting.promised)
        text = f'{one.where}: slo="{shown(found.like)}" is no objective of `slos` or of a file in'
        report.error(one.node, f"{text} our own form{hint}")
    return setting.promised.get(found.like)


def take_name(report: Report, setting: Setting, promise: Promise) -> bool:
    """Whether the name can be one of ours; else it is reported. A second use is reported too."""
    if not promise.name:
        text = "nothing of it can stand in a name, which has a-z, 0-9 and - only; write another"
        report.error(promise.at, f"{promise.where}: {text}")
        return False
    if len(promise.name) > NAME_SIGNS:
        text = f"`{shown(promise.name)}`, its name here, has {len(promise.name)} signs; at most"
        report.error(promise.at, f"{promise.where}: {text} {NAME_SIGNS} are allowed")
        return False
    config_slos.take_name(report, promise.at, promise.where, promise.name, setting.names)
    return True


def _has_parser(report: Report, setting: Setting, one: Query) -> bool:
    """Whether queries can be read at all; else it is said once for each file."""
    if slo_queries.is_available():
        return True
    if report.path not in setting.lacking:
        setting.lacking.add(report.path)
        text = f"{one.where}: the queries of this file cannot be read, as promql-parser is not"
        report.error(one.node, f"{text} installed; {slo_queries.INSTALL}")
    return False


def _refuse(
    report: Report, setting: Setting, one: Query, error: QueryError, texts: Iterable[str]
) -> None:
    said = str(error)
    said = said if said.startswith("`") else f"this {said}"
    report.error(one.node, f"{one.where}: {said}; {meant(error, texts, setting.known)}")
