"""A dialect file's text -> Dialect, or a DialectError that names file, line and key.

It checks a file against itself, the schema and the catalogue; whether it fits a real page is for
the tests.
"""

import re
from collections.abc import Mapping
from typing import Final

from burnmeter import catalog, located, units
from burnmeter.dialects.rows import Row
from burnmeter.dialects.schema import Asks, Dialect, Hint, Mark, Measure, Role, Rule
from burnmeter.dialects.spelling import respelled
from burnmeter.errors import DialectError
from burnmeter.model import ProcessHint

MERGES: Final = ("sum", "max")
TURNS: Final = {"first": -1, "last": 1}
VANTAGES: Final = catalog.VANTAGES
NOTHING_TO_ASK: Final = Asks(version_path=None, version_key="", models_path=None, health_path=None)


def parse(text: str, file: str = "dialect", bases: Mapping[str, Dialect] | None = None) -> Dialect:
    """One dialect file's text -> Dialect. Raises DialectError with file, line and key.

    `bases`: dialects that it may be `like`, by engine.
    """
    value = located.read_ours(text, file)
    if value is None:
        value, problems = located.read(text, file)
        if value is None or problems:
            raise DialectError("\n".join(map(str, problems)))
    row = Row(value, "", file)
    base = row.child("like", lambda like: _base(like, bases or {}))
    dialect = _dialect(row, text, base)
    row.end()
    return dialect


def base_of(text: str, file: str) -> str | None:
    """The engine whose dialect must be read before this one."""
    value = located.read_ours(text, file)
    for key in ("like", "engine"):
        if value is None or not isinstance(value.value, Mapping) or key not in value.value:
            return None
        value = value.value[key].value
    return value.text if value is not None else None


def _base(row: Row, bases: Mapping[str, Dialect]) -> Dialect:
    engine = row.one_of("engine", tuple(bases))
    return respelled(bases[engine], row.lists("spell"), has_twins=row.flag("twins", default=False))


def _dialect(row: Row, text: str, base: Dialect | None) -> Dialect:
    vantage = _vantage(row, VANTAGES[0])
    read = row.child("measures", lambda rows: {n: _measure(rows, n, vantage) for n in rows.lines})
    measures = {**(base.measures if base else {}), **(read or {})}
    engine = row.text("engine")
    return Dialect(
        engine=engine,
        title=row.text("title"),
        versions=row.text("versions"),
        recognise=_marks(row),
        turn=TURNS[row.one_of("asked", tuple(TURNS))] if "asked" in row.rest else 0,
        prefixes=row.texts("prefixes"),
        start=row.maybe_text("start"),
        model_labels=row.texts("model_labels"),
        rank_label=row.maybe_text("rank_label"),
        no_model=row.texts("no_model"),
        vantage=vantage,
        roles=tuple(_role(role) for role in row.rows("roles")),
        processes=tuple(_process(process, engine) for process in row.rows("processes")),
        asks=row.child("asks", _asks) or NOTHING_TO_ASK,
        copies=row.texts("copies"),
        stages=tuple(
            (label, tuple(_pattern(row, text, "stages") for text in texts))
            for label, texts in row.lists("stages").items()
        ),
        is_per_second=row.flag("is_per_second", default=False),
        has_sums=row.flag("has_sums", default=True),
        stale_seconds=float(row.whole("stale_seconds") or 0),
        stall_unknown=row.maybe_text("stall_unknown"),
        measures=measures,
        cancelled_estimate=row.child("cancelled_estimate", lambda two: _estimate(two, measures)),
        progress=_progress(row, measures),
        not_available={**(base.not_available if base else {}), **_not_available(row)},
        hints=tuple(Hint(only=h.texts("only"), says=h.text("says")) for h in row.rows("hints")),
        ignored=(*(base.ignored if base else ()), *row.texts("ignored")),
        source=text,
    )


def _marks(row: Row) -> tuple[Mark, ...]:
    found = []
    for mark in row.rows("recognise"):
        values = tuple(sorted(mark.mapping("values").items()))
        found.append(Mark(names=mark.texts("names"), labels=mark.texts("labels"), values=values))
        if not found[-1].names:
            raise mark.error(mark.line, "at least one name is needed", "names")
    if not found:
        raise row.error(row.line, "says by no name how its page is known", "recognise")
    return tuple(found)


def _vantage(row: Row, default: str) -> str:
    return row.one_of("vantage", VANTAGES) if "vantage" in row.rest else default


def _asks(row: Row) -> Asks:
    return Asks(
        version_path=row.maybe_text("version_path"),
        version_key=row.maybe_text("version_key") or "version",
        models_path=row.maybe_text("models_path"),
        health_path=row.maybe_text("health_path"),
    )


def _measure(rows: Row, name: str, vantage: str) -> Measure:
    row = rows.row(name)
    metric = catalog.measure(name, vantage)
    if metric is None:
        raise row.error(row.line, f"no {vantage} metric of this name is in catalog.yaml")
    kind = row.one_of("kind", ("counter", "gauge", "histogram"))
    base, factor = units.FACTORS[row.one_of("unit", tuple(units.FACTORS))]
    if (metric.kind, metric.unit) != (kind, base):
        text = f"a {kind} in {base} here, and a {metric.kind} in {metric.unit} in catalog.yaml"
        raise row.error(row.line, text)
    own = set(metric.labels) - set(catalog.ENGINE_LABELS)
    measure = Measure(
        name=name,
        place=f"{row.file}:{row.line}",
        kind=kind,
        factor=factor,
        merge=row.one_of("merge", MERGES),
        observed=row.text("observed"),
        means=row.text("means"),
        bounds=_bounds(row),
        rules=tuple(_rule(rule, own, kind) for rule in row.rows("from")),
        only_with=row.maybe_text("only_with"),
        precision_digits=row.whole("precision_digits"),
        buckets_by=row.maybe_text("buckets_by"),
        is_off_at_zero=row.flag("is_off_at_zero", default=False),
    )
    if not measure.rules:
        raise row.error(row.line, "at least one rule is needed", "from")
    row.end()
    return measure


def _rule(row: Row, own: set[str], kind: str) -> Rule:
    rule = Rule(
        names=row.texts("names"),
        sum=row.texts("sum"),
        count=row.texts("count"),
        match={label: _pattern(row, text) for label, text in row.mapping("match").items()},
        labels=tuple(sorted(row.mapping("set").items())),
        keep=row.texts("keep"),
    )
    if not rule.names and not (rule.sum and rule.count and kind == "histogram"):
        text = "at least one name is needed; of a histogram, or both `sum` and `count`"
        raise row.error(row.line, text, "names")
    labels = {key for key, _ in rule.labels} | set(rule.keep)
    if labels != own:
        text = f"gives the labels {sorted(labels)}; catalog.yaml has {sorted(own)}"
        raise row.error(row.line, text)
    return rule


def _pattern(row: Row, text: str, key: str = "match") -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise row.error(row.line, f"`{text}` is no regular expression: {error}", key) from None


def _bounds(row: Row) -> tuple[float, ...]:
    items = row.items("bounds")
    bounds = tuple(float(i.value) for i in items if isinstance(i.value, (int, float)))
    if len(bounds) != len(items) or list(bounds) != sorted(set(bounds)):
        raise row.error(items[0].line, "must be numbers that rise", "bounds")
    return bounds


def _role(row: Row) -> Role:
    return Role(
        role=row.text("role"),
        says=row.text("says"),
        families=row.texts("families"),
        labels=row.texts("labels"),
        lacks=row.texts("lacks"),
        values=tuple(sorted(row.mapping("values").items())),
        vantage=_vantage(row, ""),
        is_counted=row.flag("is_counted", default=True),
        leaves_out=row.texts("leaves_out"),
    )


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
        title=row.maybe_text("title"),
        is_read=row.flag("is_read", default=True),
        role_patterns={
            role: _pattern(row, text).pattern for role, text in row.mapping("role_patterns").items()
        },
        has_metrics=row.flag("has_metrics", default=True),
        metrics_patterns=tuple(_pattern(row, t).pattern for t in row.texts("metrics_patterns")),
        metrics_remedy=row.maybe_text("metrics_remedy"),
        rank_title=_maybe_pattern(row, "rank_title"),
        kv_format_flags=row.texts("kv_format_flags"),
        weight_format_flags=row.texts("weight_format_flags"),
        size_flags=tuple(tuple(text.split()) for text in row.texts("size_flags")),
        worker_parents={
            _pattern(row, own).pattern: _pattern(row, parent).pattern
            for own, parent in row.mapping("worker_parents").items()
        },
    )


def _maybe_pattern(row: Row, key: str) -> str | None:
    text = row.maybe_text(key)
    return None if text is None else _pattern(row, text).pattern


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
