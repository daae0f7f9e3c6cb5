"""What a rule file is made of, and how it is written: for Prometheus, or for its operator.

No rule is made here. The output is the same for the same input, byte for byte, so that it can be
committed and a drift shows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from burnmeter.provision.conventions import duration

HEADER: Final = (
    "# Written by `burnmeter rules`. Change the objectives and write it anew, not this file.\n"
)
FORMATS: Final = ("prometheus", "operator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One recording rule, or one alert: `record` or `alert` is its name, the other is empty."""

    record: str = ""
    alert: str = ""
    expr: str
    for_seconds: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated one after the other, each seeing what those above have given."""

    name: str
    interval_seconds: float
    rules: tuple[Rule, ...]


def to_yaml(groups: Iterable[Group], *, form: str = "prometheus", name: str = "burnmeter") -> str:
    """A rule file, or the PrometheusRule object `name` with the same groups in it."""
    spec: dict[str, Any] = {"groups": [_group(group) for group in groups]}
    if form == "operator":
        spec = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {
                "name": name,
                "labels": {"app.kubernetes.io/name": "burnmeter", "role": "alert-rules"},
            },
            "spec": spec,
        }
    return HEADER + dump(spec)


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "interval": duration(group.interval_seconds),
        "rules": [_rule(rule) for rule in group.rules],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    made: dict[str, Any] = {"record": rule.record} if rule.record else {"alert": rule.alert}
    made["expr"] = rule.expr
    if rule.for_seconds:
        made["for"] = duration(rule.for_seconds)
    for key, said in (("labels", rule.labels), ("annotations", rule.annotations)):
        if said:
            made[key] = dict(said)
    return made


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as people read them, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(value: Any) -> str:
    """YAML in the order in which it was made."""
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        width=1000,
        default_flow_style=False,
        allow_unicode=True,
    )
    return text
