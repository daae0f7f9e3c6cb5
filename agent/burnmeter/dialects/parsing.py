"""A dialect file's text -> Dialect, or a DialectError that names file, line and key.

It checks a file against itself, the schema and the catalogue; whether it fits a real page is for
the tests.
"""

import re
from collections.abc import Mapping
from typing import Final

from burnmeter import catalog, located, units
from burnmeter.dialects.rows import Row
from burnmeter.dialects.schema import Dialect, Hint, Measure, Role, Rule
from burnmeter.errors import DialectError
from burnmeter.model import ProcessHint

MERGES: Final = ("sum", "max")


def parse(text: str, file: str = "dialect") -> Dialect:
    """One dialect file's text -> Dialect. Raises DialectError with file, line and key."""
    value, problems = located.read(text, file)
    if value is None or problems:
        raise DialectError("\n".join(map(str, problems)))
    row = Row(value, "", file)
    dialect = _dialect(row, text)
    row.end()
    return dialect


def _dialect(row: Row, text: str) -> Dialect:
    known = row.child("measures", lambda rows: {n: _measure(rows, n) for n in rows.lines})
    measures = known or {}
    engine = row.text("engine")
    return Dialect(
        engine=engine,
        title=row.text("title"),
        recognise=row.text("recognise"),
        prefixes=row.texts("prefixes"),
        start=row.maybe_text("start"),
        model_labels=row.texts("model_labels"),
        roles=tuple(_role(role) for role in row.rows("roles")),
        process=row.child("process", lambda process: _process(process, engine)),
        measures=measures,
        cancelled_estimate=row.child("cancelled_estimate", lambda two: _estimate(two, measures)),
        progress=_progress(row, measures),
        not_available=_not_available(row),
        hints=tuple(Hint(only=h.texts("only"), says=h.text("says")) for h in row.rows("hints")),
        ignored=row.texts("ignored"),
        source=text,
    )


def _measure(rows: Row, name: str) -> Measure:
    row = rows.row(name)
    metric = catalog.measure(name)
    if metric is None:
        raise row.error(row.line, "no engine metric of this name is in catalog.yaml")
    kind = row.one_of("kind", ("counter", "gauge", "histogram"))
    base, factor = units.FACTORS[row.one_of("unit", tuple(units.FACTORS))]
    if (metric.kind, metric.unit) != (kind, base):
        text = f"a {kind} in {base} here, and a {metric.kind} in {metric.unit} in catalog.yaml"
        raise row.error(row.line, text)
    own = set(metric.labels) - set(catalog.ENGINE_LABELS)
    measure = Measure(
        name=name,
        kind=kind,
        factor=factor,
        merge=row.one_of("merge", MERGES),
        observed=row.text("observed"),
        means=row.text("means"),
        bounds=_bounds(row),
        rules=tuple(_rule(rule, own) for rule in row.rows("from")),
        only_with=row.maybe_text("only_with"),
        precision_digits=row.whole("precision_digits"),
    )
    if not measure.rules:
        raise row.error(row.line, "at least one rule is needed", "from")
    row.end()
    return measure


def _rule(row: Row, own: set[str]) -> Rule:
    rule = Rule(
        names=row.texts("names"),
        match={label: _pattern(row, text) for label, text in row.mapping("match").items()},
        labels=tuple(sorted(row.mapping("set").items())),
        keep=row.texts("keep"),
    )
    if not rule.names:
        raise row.error(row.line, "at least one name is needed", "names")
    labels = {key for key, _ in rule.labels} | set(rule.keep)
    if labels != own:
        text = f"gives the labels {sorted(labels)}; catalog.yaml has {sorted(own)}"
        raise row.error(row.line, text)
    return rule


def _pattern(row: Row, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise row.error(row.line, f"`{text}` is no regular expression: {error}", "match") from None


def _bounds(row: Row) -> tuple[float, ...]:
    items = row.items("bounds")
    bounds = tuple(float(i.value) for i in items if isinstance(i.value, (int, float)))
    if len(bounds) != len(items) or list(bounds) != sorted(set(bounds)):
        raise row.error(items[0].line, "must be numbers that rise", "bounds")
    return bounds


def _role(row: Row) -> Role:
    role = Role(
        role=row.text("role"),
        says=row.text("says"),
        families=row.texts("families"),
        labels=row.texts("labels"),
        lacks=row.texts("lacks"),
        is_counted=row.flag("is_counted", default=True),
    )
    if not (role.families or role.labels or role.lacks):
        raise row.error(row.line, "needs `families`, `labels` or `lacks` to be told by")
    return role


def _process(row: Row, engine: str) -> ProcessHint:
    port = row.whole("default_port")
    if port is None:
        raise row.error(row.line, "this key is missing", "default_port")
    return ProcessHint(
        engine=engine,
        command_patterns=tuple(_pattern(row, t).pattern for t in row.texts("command_patterns")),
        default_port=port,
        port_flags=row.texts("port_flags"),
        path=row.text("path"),
        model_flags=row.texts("model_flags"),
        has_positional_model=row.flag("has_positional_model", default=False),
    )


def _estimate(row: Row, measures: Mapping[str, Measure]) -> tuple[str, str]:
    known = tuple(name for name, measure in measures.items() if measure.kind == "histogram")
    return row.one_of("first", known), row.one_of("finished", known)


def _progress(row: Row, measures: Mapping[str, Measure]) -> tuple[str, ...]:
    found = row.texts("progress")
    for name in found:
        if name not in measures:
            raise row.error(row.line, f"`{name}` is no measure of this dialect", "progress")
    return found


def _not_available(row: Row) -> dict[str, str]:
    """By measure, or by measure and label: `requests_total{outcome=cancelled}`."""
    found = row.mapping("not_available")
    for name in found:
        if catalog.measure(name.partition("{")[0]) is None:
            raise row.error(row.line, f"`{name}` is not in catalog.yaml", "not_available")
    return found
