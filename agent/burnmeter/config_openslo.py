"""Reads SLO documents of OpenSLO, `openslo/v1`: kinds SLO and SLI.

The form is that of the specification's README (github.com/OpenSLO/OpenSLO, v1). What a query counts
is not known here. Surprising: a percentile that is compared with a value in time slices is refused,
though it is the usual form of a latency there: a slice is good or bad as a whole, and an objective
of ours counts requests.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from burnmeter import config_queries, config_slos
from burnmeter import config_rules as rules
from burnmeter.config_queries import Promise, Query, Setting
from burnmeter.config_rules import Report, Rule, RuleError, given, plain
from burnmeter.config_slos import Placed
from burnmeter.located import Located, shown
from burnmeter.slo_meanings import OWN, Indicator
from burnmeter.units import SECONDS_PER_DAY

VERSION: Final = "openslo/v1"
LEFT: Final = {
    "Service": "an objective of burnmeter is of a model",
    "DataSource": "burnmeter reads its targets itself",
    "AlertPolicy": "burnmeter writes alerts of its own",
    "AlertCondition": "burnmeter writes alerts of its own",
    "AlertNotificationTarget": "who is told is Alertmanager's to say",
}
"""Kinds that are no objective, and why nothing of them is taken."""
KINDS: Final = ("SLO", "SLI", *LEFT)
METHODS: Final = ("Occurrences", "Timeslices", "RatioTimeslices")
UP: Final = f"{OWN}target_up"


@dataclass(slots=True)
class Indicators:
    """The documents of kind SLI in all files, and those of DataSources."""

    by_name: dict[str, tuple[Report, Located]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    """Name of a DataSource -> its type."""
    used: set[str] = field(default_factory=set)
    """Names of SLIs that an SLO has asked for."""

    def warn_of_unused(self) -> None:
        """An SLI alone promises nothing, and nobody has looked at its queries."""
        for name in self.by_name.keys() - self.used:
            report, node = self.by_name[name]
            text = f"spec: no SLO of these files has `indicatorRef: {shown(name)}`, so that"
            report.warn(node, f"{text} nothing is promised of it")


def anything(node: Located) -> Located:
    """A rule that takes whatever stands there."""
    return node


DOCUMENT: Final[Mapping[str, Rule]] = {
    "apiVersion": anything,
    "kind": rules.choice("a kind of OpenSLO's", KINDS),
    "metadata": anything,
    "spec": anything,
}
METADATA: Final[Mapping[str, Rule]] = {
    "name": rules.word,
    "displayName": rules.word,
    "labels": anything,
    "annotations": anything,
}


def kind_of(root: Located) -> str:
    """Of a document, before it is read; "" if it says none."""
    return rules.find(root, "kind").text if rules.has(root, "kind") else ""


def collect(report: Report, root: Located, found: Indicators) -> None:
    """Keep what other documents may refer to."""
    name = rules.find(root, "metadata", "name").text
    if kind_of(root) == "SLI" and name and name.isprintable():
        if name in found.by_name:
            at = rules.find(root, "metadata", "name")
            first = found.by_name[name][0].path
            report.error(at, f"metadata.name: `{shown(name)}` is another SLI's name in {first}")
        found.by_name.setdefault(name, (report, rules.find(root, "spec")))
    elif kind_of(root) == "DataSource" and rules.has(rules.find(root, "spec"), "type"):
        found.sources.setdefault(name, rules.find(root, "spec", "type").text)


def read(report: Report, root: Located, setting: Setting, known: Indicators) -> list[Placed]:
    """The objectives of one document, as far as they can be said."""
    values = rules.section(report, root, "", DOCUMENT)
    for key in ("kind", "metadata", "spec"):
        if rules.lacks(root, key, DOCUMENT):
            report.error(root, f"`{key}` is missing; each document of {VERSION} has one")
    if values.get("kind") in LEFT:
        kind = values["kind"]
        at = rules.find(root, "kind")
        report.warn(at, f"kind: nothing of {kind} is taken; {LEFT[kind]}")
        return []
    metadata = values.get("metadata")
    named = rules.section(report, metadata, "metadata", METADATA) if metadata is not None else {}
    if metadata is not None and rules.lacks(metadata, "name", METADATA):
        report.error(metadata, "metadata: `name` is missing; add one like `name: chat-ttft`")
    if values.get("kind") != "SLO" or "spec" not in values or "name" not in named:
        return []
    at = rules.find(root, "metadata", "name")
    return _Slo(report, setting, known, named["name"], at).read(values["spec"])


class _Slo:
    """One document of kind SLO."""

    def __init__(
        self, report: Report, setting: Setting, known: Indicators, name: str, at: Located
    ) -> None:
        self.report = report
        self.setting = setting
        self.known = known
        self.name = name
        self.at = at

    def read(self, spec: Located) -> list[Placed]:
        keys: Mapping[str, Rule] = {
            "description": anything,
            "service": rules.word,
            "indicator": anything,
            "indicatorRef": rules.word,
            "timeWindow": anything,
            "budgetingMethod": rules.choice("a budgeting method", METHODS),
            "objectives": anything,
            "alertPolicies": anything,
        }
        values = rules.section(self.report, spec, "spec", keys)
        for key, example in (("budgetingMethod", METHODS[0]), ("objectives", "[{target: 0.99}]")):
            if rules.lacks(spec, key, keys):
                text = f"spec: `{key}` is missing; add one like `{key}: {example}`"
                self.report.error(spec, text)
        if "alertPolicies" in values:
            text = "spec.alertPolicies: not taken; burnmeter writes alerts of its own"
            self.report.warn(values["alertPolicies"], text)
        period = self._period(values["timeWindow"]) if "timeWindow" in values else None
        rows = self._objectives(values["objectives"]) if "objectives" in values else []
        found = self._indicator(spec, values, rows)
        if found is None or "budgetingMethod" not in values:
            return []
        query, indicator = found
        made = [
            config_queries.promised(
                *(self.report, self.setting, query, indicator),
                promise._replace(period_seconds=period),
            )
            for promise in rows
            if promise.objective_ratio != 0.0
        ]
        return [one for placed in made for one in placed]

    # --- what is promised ----------------------------------------------------------------------

    def _period(self, node: Located) -> float | None:
        """Seconds; None: not said, or not rightly."""
        if not isinstance(node.value, tuple) or len(node.value) != 1:
            text = "write one, as `- {duration: 28d, isRolling: true}`"
            self.report.error(node, f"spec.timeWindow: {given(node)} is not one window; {text}")
            return None
        where = "spec.timeWindow[0]"
        keys: Mapping[str, Rule] = {
            "duration": _duration,
            "isRolling": rules.flag,
            "calendar": anything,
        }
        values = rules.section(self.report, node.value[0], where, keys)
        if "calendar" in values or values.get("isRolling") is False:
            key = "calendar" if "calendar" in values else "isRolling"
            text = "an objective of burnmeter looks back from now, and knows no calendar; write"
            at = rules.find(node.value[0], key)
            self.report.error(at, f"{where}.{key}: {text} `isRolling: true` alone")
        if rules.lacks(node.value[0], "duration", keys):
            text = f"{where}: `duration` is missing; add one like `duration: 28d`"
            self.report.error(node.value[0], text)
        return values.get("duration")

    def _objectives(self, node: Located) -> list[Promise]:
        rows = rules.items(self.report, node, "spec.objectives", self._objective)
        if isinstance(node.value, tuple) and not node.value:
            text = "spec.objectives: is empty; write one, as `- {target: 0.99}`"
            self.report.error(node, text)
        if len(rows) == 1:
            rows = [rows[0]._replace(where="metadata.name", at=self.at, name=_named(self.name))]
        return [row for row in rows if config_queries.take_name(self.report, self.setting, row)]

    def _objective(self, node: Located, where: str) -> list[Promise]:
        keys: Mapping[str, Rule] = {
            "displayName": rules.word,
            "target": _target,
            "targetPercent": config_slos.percent,
            "op": anything,
            "value": anything,
            "timeSliceTarget": anything,
            "timeSliceWindow": anything,
        }
        refused = [
            key for key in ("indicator", "indicatorRef", "compositeWeight") if rules.has(node, key)
        ]
        for key in refused:
            text = f"{where}.{key}: burnmeter has no objective of several indicators; write an SLO"
            self.report.error(rules.find(node, key), f"{text} for each")
        values = rules.section(
            self.report, node, where, {**keys, **dict.fromkeys(refused, anything)}
        )
        if rules.has(node, "target") and rules.has(node, "targetPercent"):
            self.report.error(node, f"{where}: `target` and `targetPercent` say the same; keep one")
        if rules.lacks(node, "target", keys) and rules.lacks(node, "targetPercent", keys):
            text = f"{where}: `target` is missing; add one like `target: 0.99`"
            self.report.error(node, text)
        at = rules.find(node, "displayName")
        number = re.sub(r".*\[(\d+)\]$", r"\1", where)
        title = values.get("displayName") or str(int(number) + 1)
        key = f"{where}.displayName" if "displayName" in values else where
        share = values.get("target", values.get("targetPercent", 0.0))
        return [Promise(key, at, _named(self.name, title), share)]

    # --- what it is promised of ----------------------------------------------------------------

    def _indicator(
        self, spec: Located, values: Mapping[str, Any], rows: list[Promise]
    ) -> tuple[Query, Indicator] | None:
        """The indicator, inline or by its name; None and a problem if it cannot be said."""
        if ("indicator" in values) == ("indicatorRef" in values):
            if not rules.has(spec, "indicator") and not rules.has(spec, "indicatorRef"):
                text = "spec: `indicator` is missing; write one, or the name of one as"
                self.report.error(spec, f"{text} `indicatorRef`")
            elif "indicator" in values:
                text = "spec: `indicator` and `indicatorRef` say the same; keep one"
                self.report.error(spec, text)
            return None
        method = values.get("budgetingMethod", METHODS[0])
        at = rules.find(spec, "budgetingMethod")
        compared = rules.find(spec, "objectives")
        if "indicator" in values:
            keys = {"metadata": anything, "spec": anything}
            inline = rules.section(self.report, values["indicator"], "spec.indicator", keys)
            if rules.lacks(values["indicator"], "spec", keys):
                self.report.error(values["indicator"], "spec.indicator: `spec` is missing")
            if "spec" not in inline:
                return None
            sli = _Sli(self.report, self.setting, self.known, "spec.indicator.spec")
            self._check_method(method, at, inline["spec"])
            return sli.read(inline["spec"], method, compared)
        name = values["indicatorRef"]
        if name not in self.known.by_name:
            hint = rules.suggestion(name, self.known.by_name) or "; add its document to slo_files"
            text = f"spec.indicatorRef: `{shown(name)}` is no SLI of these files{hint}"
            self.report.error(rules.find(spec, "indicatorRef"), text)
            return None
        self.known.used.add(name)
        report, node = self.known.by_name[name]
        self._check_method(method, at, node)
        found = _Sli(report, self.setting, self.known, "spec").read(node, method, compared)
        if found is None or report is self.report:
            return found
        # What is doubtful about it is told where this document asks for it.
        return Query(f"spec.indicatorRef: {shown(name)}", rules.find(spec, "indicatorRef")), found[
            1
        ]

    def _check_method(self, method: str, at: Located, sli: Located) -> None:
        if method != METHODS[0] and rules.has(sli, "ratioMetric"):
            text = f"spec.budgetingMethod: {method} of a ratio count the slices in which enough was"
            said = "good; an objective of burnmeter counts the events themselves; write"
            self.report.error(at, f"{text} {said} {METHODS[0]}")


def _named(*parts: str) -> str:
    return config_queries.named(*parts)


class _Sli:
    """One indicator, inline or in a document of its own."""

    def __init__(self, report: Report, setting: Setting, known: Indicators, where: str) -> None:
        self.report = report
        self.setting = setting
        self.known = known
        self.where = where

    def read(self, node: Located, method: str, compared: Located) -> tuple[Query, Indicator] | None:
        keys = {"description": anything, "ratioMetric": anything, "thresholdMetric": anything}
        values = rules.section(self.report, node, self.where, keys)
        has_both = "ratioMetric" in values and "thresholdMetric" in values
        if has_both or not ("ratioMetric" in values or "thresholdMetric" in values):
            text = "write `ratioMetric` with `good` and `total`"
            if has_both or isinstance(node.value, Mapping):
                self.report.error(node, f"{self.where}: is not one metric; {text}")
            return None
        if "thresholdMetric" in values:
            return self._threshold(values["thresholdMetric"], method, compared)
        return self._ratio(values["ratioMetric"])

    def _ratio(self, node: Located) -> tuple[Query, Indicator] | None:
        where = f"{self.where}.ratioMetric"
        keys: Mapping[str, Rule] = {
            "counter": rules.flag,
            **dict.fromkeys(("good", "bad", "total", "raw"), anything),
            "rawType": rules.choice("a type of ratio", ("success", "failure")),
        }
        values = rules.section(self.report, node, where, keys)
        parts = [key for key in ("good", "bad", "raw") if key in values]
        if len(parts) != 1:
            text = "write `total` and one of `good` and `bad`"
            said = f"has {' and '.join(parts)}" if parts else "has no events"
            self.report.error(node, f"{where}: {said}; {text}")
            return None
        query = self._query(values[parts[0]], f"{where}.{parts[0]}")
        if parts == ["raw"]:
            if rules.lacks(node, "rawType", keys):
                self.report.error(node, f"{where}: `rawType` is missing; success or failure")
            if query is None or "rawType" not in values:
                return None
            is_good = values["rawType"] == "success"
            return _pair(
                query, config_queries.of_ratio(self.report, self.setting, query, is_good=is_good)
            )
        if rules.lacks(node, "total", keys):
            self.report.error(node, f"{where}: `total` is missing; {parts[0]} is a part of it")
        total = self._query(values["total"], f"{where}.total") if "total" in values else None
        if query is None or total is None:
            return None
        found = config_queries.of_events(
            *(self.report, self.setting, query, total),
            is_good=parts == ["good"],
            is_plain=values.get("counter", True),
        )
        return _pair(query, found)

    def _threshold(
        self, node: Located, method: str, compared: Located
    ) -> tuple[Query, Indicator] | None:
        """Only whether a target is up can be said of those, as it is counted in time."""
        query = self._query(node, f"{self.where}.thresholdMetric")
        if query is None:
            return None
        name = config_queries.of_level(self.report, self.setting, query)
        if name is None:
            return None
        rows = compared.value if isinstance(compared.value, tuple) else ()
        is_up = all(
            (rules.find(row, "op").text, rules.find(row, "value").value)
            in (("gte", 1), ("gt", 0), ("gte", 1.0), ("gt", 0.0))
            for row in rows
        )
        if name == UP and is_up and method != "RatioTimeslices":
            text = "read as `indicator: availability`: a slice is each look of the agent, and a"
            return query, Indicator("availability", warnings=(f"{text} stall is not up",))
        hint = "write `indicator: availability`" if name in (UP, "up") else "write a `ratioMetric`"
        text = f"{query.where}: `{shown(name)}` compared with a value counts no events"
        self.report.error(query.node, f"{text}; {hint}")
        return None

    def _query(self, node: Located, where: str) -> Query | None:
        source = rules.section(self.report, node, where, {"metricSource": anything})
        name = f"{where}.metricSource"
        if rules.lacks(node, "metricSource", ("metricSource",)):
            self.report.error(node, f"{where}: `metricSource` is missing; it holds the query")
        if "metricSource" not in source:
            return None
        keys: Mapping[str, Rule] = {
            "metricSourceRef": rules.word,
            "type": rules.word,
            "spec": anything,
        }
        values = rules.section(self.report, source["metricSource"], name, keys)
        kind = values.get("type") or self.known.sources.get(values.get("metricSourceRef", ""), "")
        if kind and kind.lower() != "prometheus":
            key = "type" if "type" in values else "metricSourceRef"
            text = f"{name}.{key}: `{shown(kind)}` is not Prometheus, so its query cannot be read"
            at = rules.find(source["metricSource"], key)
            self.report.error(at, f"{text}; write an objective of ours in its place")
            return None
        if "spec" not in values:
            if rules.lacks(source["metricSource"], "spec", keys):
                text = f"{name}: `spec` is missing; write `spec: {{query: ...}}`"
                self.report.error(source["metricSource"], text)
            return None
        return self._text(values["spec"], f"{name}.spec")

    def _text(self, node: Located, where: str) -> Query | None:
        if not rules.has(node, "query"):
            self.report.error(node, f"{where}: `query` is missing; write one in PromQL")
            return None
        at = rules.find(node, "query")
        try:
            return Query(f"{where}.query", config_queries.query(at))
        except RuleError as error:
            self.report.error(at, f"{where}.query: {error}")
            return None


def _pair(query: Query, found: Indicator | None) -> tuple[Query, Indicator] | None:
    return (query, found) if found is not None else None


# --- rules -------------------------------------------------------------------------------------


def _target(node: Located) -> float:
    """A share of good events, from 0 to 1."""
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RuleError(f"{given(node)} is no number; write one like 0.99")
    if not 0.01 <= value <= config_slos.MOST_PERCENT / 100:
        if 1 < value < 100:
            meant = plain(float(Decimal(repr(value)) / 100))
            raise RuleError(f"{plain(value)} is no share; write {meant}, or `targetPercent`")
        least, most = 0.01, config_slos.MOST_PERCENT / 100
        raise RuleError(f"{given(node)} is not from {least} to {most}; write one like 0.99")
    return float(value)


_UNITS: Final = {"m": 60.0, "h": 3600.0, "d": SECONDS_PER_DAY, "w": 7 * SECONDS_PER_DAY}


def _duration(node: Located) -> float:
    """A number and the letter of its unit."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhdwMQY])", node.text)
    if found is None:
        raise RuleError(f"{given(node)} is no duration; write one like 28d")
    if found[2] not in _UNITS:
        days = {"M": 30, "Q": 90, "Y": 365}[found[2]] * int(found[1])
        raise RuleError(
            f"`{node.text}` is not always as many days; write {days}d, if that is meant"
        )
    seconds = int(found[1]) * _UNITS[found[2]]
    if not SECONDS_PER_DAY <= seconds <= 366 * SECONDS_PER_DAY:
        raise RuleError(f"`{node.text}` is not from 1 to 366 days")
    return seconds
