"""Our alerts as rules that Grafana itself evaluates. Pure.

Recording rules stay in Prometheus; these read what those record. In Prometheus an alert fires where
its expression gives a series, whatever the value; in Grafana where the value is not 0. So a second
step says 1 for any value, and no data is no alert.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from burnmeter.model import Objective
from burnmeter.provision import burn_rules, rule_set, runbooks
from burnmeter.provision.conventions import duration
from burnmeter.provision.dashboard_set import FOLDER_UID
from burnmeter.provision.grafana_objects import RULE, Wanted
from burnmeter.provision.rules import Group, Rule
from burnmeter.provision.runbooks import Links

LOOK_BACK_SECONDS: Final = 600
QUERY: Final = "A"
CONDITION: Final = "B"
ANY_VALUE: Final = f"is_number(${QUERY}) || is_inf(${QUERY}) || is_nan(${QUERY})"
VALUE: Final = re.compile(r"\$value\b")
"""A number in Prometheus, and a sentence in Grafana, which has the number as `$values.A.Value`."""
ALERT_LABEL: Final = "burnmeter_alert"
"""The alert's name without the rest of the title, which must be unique in its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleGroup:
    """Rules that are evaluated together."""

    name: str
    interval_seconds: int
    rules: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Whom the rules ask, and how they are made."""

    datasource_uid: str
    by: tuple[str, ...] = ("model",)
    links: Links = field(default_factory=Links)


def groups(objectives: Sequence[Objective], asking: Asking) -> tuple[RuleGroup, ...]:
    """Those of every fleet, and one group for each objective."""
    wanted = rule_set.Wanted(by=asking.by, links=asking.links)
    found = list(runbooks.standing_groups(asking.links))
    for objective in objectives:
        found += burn_rules.groups(rule_set.making(objective, wanted))
    return tuple(_alerting(found, asking))


def _alerting(found: Iterable[Group], asking: Asking) -> Iterator[RuleGroup]:
    for group in found:
        rules = tuple(_wanted(rule, group, asking) for rule in group.rules if rule.alert)
        if rules:
            yield RuleGroup(
                name=group.name, interval_seconds=int(group.interval_seconds), rules=rules
            )


def _wanted(rule: Rule, group: Group, asking: Asking) -> Wanted:
    apart = [rule.labels.get(key, "") for key in ("slo", "cause")]
    # An objective has a page and a ticket of one name; what has a cause is always a ticket.
    apart.append(rule.labels["severity"] if apart[0] and not apart[1] else "")
    title = " ".join([rule.alert, *filter(None, apart)])
    uid = f"burnmeter-{hashlib.sha256(title.encode()).hexdigest()[:16]}"
    document = {
        "uid": uid,
        "title": title,
        "ruleGroup": group.name,
        "folderUID": FOLDER_UID,
        "condition": CONDITION,
        "data": [_query(rule.expr, asking.datasource_uid), _condition()],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": duration(rule.for_seconds) if rule.for_seconds else "0s",
        "labels": {**rule.labels, ALERT_LABEL: rule.alert},
        "annotations": {
            key: VALUE.sub(f"$values.{QUERY}.Value", said) for key, said in rule.annotations.items()
        },
    }
    return Wanted(kind=RULE, uid=uid, title=title, document=RULE.normal(document))


def _query(expr: str, datasource_uid: str) -> dict[str, Any]:
    return {
        "refId": QUERY,
        "queryType": "",
        "relativeTimeRange": {"from": LOOK_BACK_SECONDS, "to": 0},
        "datasourceUid": datasource_uid,
        "model": {
            "refId": QUERY,
            "datasource": {"type": "prometheus", "uid": datasource_uid},
            "expr": expr,
            "instant": True,
            "range": False,
            "intervalMs": 1000,
            "maxDataPoints": 43200,
        },
    }


def _condition() -> dict[str, Any]:
    return {
        "refId": CONDITION,
        "queryType": "",
        "relativeTimeRange": {"from": 0, "to": 0},
        "datasourceUid": "__expr__",
        "model": {
            "refId": CONDITION,
            "datasource": {"type": "__expr__", "uid": "__expr__"},
            "type": "math",
            "expression": ANY_VALUE,
            "intervalMs": 1000,
            "maxDataPoints": 43200,
        },
    }
