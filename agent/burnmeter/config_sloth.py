"""Reads SLO documents of Sloth, `prometheus/v1`, also as its Kubernetes resource.

The form is that of Sloth's `pkg/prometheus/api/v1` and `pkg/kubernetes/api/sloth/v1` (0.15). What a
query counts is not known here. Surprising: alerts are not taken over. Their windows are ours, by
windows.yaml, so names, labels and annotations of Sloth's would stand at alerts that differ.
"""

from collections.abc import Mapping
from typing import Any, Final

from burnmeter import config_queries, config_slos
from burnmeter import config_rules as rules
from burnmeter.config_queries import Promise, Query, Setting
from burnmeter.config_rules import Report, Rule
from burnmeter.config_slos import Placed
from burnmeter.located import Located, shown, step
from burnmeter.slo_meanings import Indicator

VERSION: Final = "prometheus/v1"
API_VERSION: Final = "sloth.slok.dev/v1"
KIND: Final = "PrometheusServiceLevel"
PAGE_ALERTS: Final = ("page_alert", "pageAlert")
"""As documents and as resources spell it."""


def anything(node: Located) -> Located:
    """A rule that takes whatever stands there."""
    return node


def read(report: Report, root: Located, setting: Setting) -> list[Placed]:
    """The objectives of one document, as far as they can be said."""
    keys: Mapping[str, Rule] = {"version": anything, **_service_keys("slo_plugins")}
    if not rules.has(root, "version"):
        report.error(root, f"`version` is missing; Sloth's documents begin `version: {VERSION}`")
    return _service(report, root, "", setting, keys)


def read_resource(report: Report, root: Located, setting: Setting) -> list[Placed]:
    """The same of a Kubernetes resource, whose keys are spelled in another way."""
    kinds = rules.choice("a kind of Sloth's", (KIND,))
    known = {"apiVersion": anything, "kind": kinds, "metadata": anything, "status": anything}
    values = rules.section(report, root, "", {**known, "spec": anything})
    for key in ("kind", "spec"):
        if rules.lacks(root, key, (*known, "spec")):
            report.error(root, f"`{key}` is missing; {KIND} has one")
    if "spec" not in values or "kind" not in values:
        return []
    return _service(report, values["spec"], "spec", setting, _service_keys("sloPlugins"))


def _service_keys(plugins: str) -> dict[str, Rule]:
    return {"service": rules.word, "labels": anything, "slos": anything, plugins: anything}


def _service(
    report: Report, node: Located, where: str, setting: Setting, keys: Mapping[str, Rule]
) -> list[Placed]:
    values = rules.section(report, node, where, keys)
    for key, example in (("service", "chat"), ("slos", "[]")):
        if rules.lacks(node, key, keys):
            name = f"{where}: " if where else ""
            report.error(node, f"{name}`{key}` is missing; add one like `{key}: {example}`")
    _leave(report, where, values, ("labels", "slo_plugins", "sloPlugins"))
    if "slos" not in values:
        return []
    name = step(where, "slos")
    service = values.get("service", "")
    is_camel = "slo_plugins" not in keys
    return rules.items(
        report,
        values["slos"],
        name,
        lambda n, w: _slo(report, n, w, setting, service=service, is_camel=is_camel),
    )


def _slo(
    report: Report, node: Located, where: str, setting: Setting, *, service: str, is_camel: bool
) -> list[Placed]:
    keys: Mapping[str, Rule] = {
        "name": rules.word,
        "description": anything,
        "objective": config_slos.percent,
        "labels": anything,
        "sli": anything,
        "alerting": anything,
        "plugins": anything,
    }
    values = rules.section(report, node, where, keys)
    needed = {"name": "requests", "objective": "99.9", "sli": "{events: ...}"}
    for key, example in needed.items():
        if rules.lacks(node, key, keys):
            report.error(node, f"{where}: `{key}` is missing; add one like `{key}: {example}`")
    _leave(report, where, values, ("labels", "plugins"))
    is_paging = _is_paging(report, where, values.get("alerting"))
    found = None
    if "sli" in values:
        found = _indicator(report, values["sli"], f"{where}.sli", setting, is_camel)
    if "name" not in values:
        return []
    at = rules.find(node, "name")
    name = config_queries.named(service, values["name"])
    ratio = values.get("objective", 0.0)
    promise = Promise(f"{where}.name", at, name, ratio, is_paging=is_paging)
    if not config_queries.take_name(report, setting, promise):
        return []
    if found is None or "objective" not in values:
        return []
    return config_queries.promised(report, setting, found[0], found[1], promise)


def _indicator(
    report: Report, node: Located, where: str, setting: Setting, is_camel: bool
) -> tuple[Query, Indicator] | None:
    values = rules.section(
        report, node, where, {"events": anything, "raw": anything, "plugin": anything}
    )
    if "plugin" in values:
        named = rules.find(values["plugin"], "id")
        text = f"{where}.plugin: {rules.given(named)} makes its query in a program of its own"
        report.error(values["plugin"], f"{text}; write the query under `events`")
    if len(values) > 1:
        text = f"{where}: {rules.listing(values)} say the indicator more than once; keep one"
        report.error(node, text)
        return None
    if "events" in values:
        return _events(report, values["events"], f"{where}.events", setting, is_camel)
    if "raw" in values:
        return _raw(report, values["raw"], f"{where}.raw", setting, is_camel)
    if not values and isinstance(node.value, Mapping) and not node.value:
        report.error(node, f"{where}: is empty; write `events` with two queries")
    return None


def _events(
    report: Report, node: Located, where: str, setting: Setting, is_camel: bool
) -> tuple[Query, Indicator] | None:
    keys = ("errorQuery", "totalQuery") if is_camel else ("error_query", "total_query")
    values = _queries(report, node, where, keys)
    if values is None:
        return None
    part, total = (Query(f"{where}.{key}", values[key]) for key in keys)
    found = config_queries.of_events(report, setting, part, total, is_good=False, is_plain=False)
    return (part, found) if found is not None else None


def _raw(
    report: Report, node: Located, where: str, setting: Setting, is_camel: bool
) -> tuple[Query, Indicator] | None:
    key = "errorRatioQuery" if is_camel else "error_ratio_query"
    values = _queries(report, node, where, (key,))
    if values is None:
        return None
    query = Query(f"{where}.{key}", values[key])
    found = config_queries.of_ratio(report, setting, query, is_good=False)
    return (query, found) if found is not None else None


def _queries(
    report: Report, node: Located, where: str, keys: tuple[str, ...]
) -> dict[str, Any] | None:
    """All of them, or None and a problem."""
    known = dict.fromkeys(keys, config_queries.query)
    values = rules.section(report, node, where, known)
    for key in keys:
        if rules.lacks(node, key, keys):
            report.error(node, f"{where}: `{key}` is missing; write a query in PromQL")
    return values if len(values) == len(keys) else None


def _is_paging(report: Report, where: str, node: Located | None) -> bool:
    """Whether its page is not disabled; the rest of its alerting is reported as not taken."""
    if node is None or not isinstance(node.value, Mapping):
        return True
    said, is_paging = [], True
    for key, entry in node.value.items():
        inner = entry.value.value
        if "alert" not in key.lower() or not isinstance(inner, Mapping):
            said.append(key)
        elif key in PAGE_ALERTS and rules.find(entry.value, "disable").value is True:
            is_paging = False
        else:
            said += [f"{key}.{k}" for k in inner]
    if said:
        text = f"not taken: {rules.listing(map(shown, said))}; burnmeter writes alerts of its own"
        report.warn(node, f"{where}.alerting: {text}")
    return is_paging


def _leave(report: Report, where: str, values: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    """Say of each key that it is not taken."""
    for key in keys:
        if key in values:
            why = "an objective of burnmeter has the labels slo, model and indicator"
            if key != "labels":
                why = "burnmeter runs no plug-ins of Sloth's"
            report.warn(values[key], f"{step(where, key)}: not taken; {why}")
