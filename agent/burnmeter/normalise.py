"""A page and a dialect -> the page in our words. Pure.

The costly part, deciding what each raw series means, is done once per layout (the sequence of
series on a page): a `Plan` says which value goes where, and as long as the layout stays the same a
page is turned into samples by index alone. Nothing is merged here beyond what a gauge needs: a
counter keeps the engine's own series apart, because only growth can tell a fall from a departure.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, isnan, nan
from typing import Final, NamedTuple

from burnmeter import names
from burnmeter.dialects import Dialect, Measure, Rule, recognise, role_of
from burnmeter.model import EnginePage, Histogram, Key, Labels
from burnmeter.page import Page, Series, parse_series

Admit = Callable[[Collection[str]], frozenset[str]]
LARGEST: Final = 1e15
"""No engine counts so far; sums of larger numbers lose single units, then become infinite."""
SUFFIXES: Final = ("_bucket", "_count", "_sum", "_created", "_total")


class Scalar(NamedTuple):
    """Where one counter's or gauge's value is, and whose it is."""

    slot: int
    key: Key
    part: str
    factor: float


class Buckets(NamedTuple):
    """Where one histogram's numbers are."""

    key: Key
    part: str
    bounds: tuple[float, ...]
    indexes: tuple[int, ...]
    total: int
    sum: int | None
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What each value of one layout means."""

    series: tuple[str, ...]
    engine: str
    role: str
    counters: tuple[Scalar, ...]
    gauges: tuple[Scalar, ...]
    gauge_merge: Mapping[str, Callable[[float, float], float]]
    histograms: tuple[Buckets, ...]
    start: int | None
    not_available: Mapping[str, str]
    unknown_families: tuple[str, ...]
    models: Mapping[str, str]
    """The engine's word for a model -> ours. "" if it has none."""
    beyond: int = 0
    """Models that found no place of their own and are called names.OVERFLOW."""


def family(name: str, types: Mapping[str, str]) -> str:
    """The family that a sample belongs to, by the page's TYPE lines."""
    if name in types:
        return name
    for suffix in SUFFIXES:
        if name.endswith(suffix) and name.removesuffix(suffix) in types:
            return name.removesuffix(suffix)
    return name


def _fits(rule: Rule, labels: Mapping[str, str]) -> bool:
    return all(p.fullmatch(labels.get(label, "")) is not None for label, p in rule.match.items())


class _Planner:
    """Builds one Plan; lives for one call."""

    def __init__(
        self, page: Page, dialect: Dialect, name: Callable[[str], str], admit: Admit
    ) -> None:
        self.dialect = dialect
        self.page = page
        self.by_name: dict[str, list[tuple[int, Series]]] = {}
        seen: set[tuple[str, Labels]] = set()
        for index, raw in enumerate(page.series):
            series = parse_series(raw)
            identity = (series.name, tuple(sorted(series.labels.items())))
            # Of a series given twice the first counts, as for Prometheus; never both.
            if identity not in seen:
                seen.add(identity)
                self.by_name.setdefault(series.name, []).append((index, series))
        self.found: set[str] = set()
        # Only the engine's own series name its models: what wraps it (Dynamo, KServe) spells them
        # otherwise.
        own = [
            series.labels
            for name_, rows in self.by_name.items()
            for _, series in rows
            if name_.startswith(dialect.recognise)
        ]
        self.role = role_of(dialect, self.by_name.keys() | page.types.keys(), own)
        words = sorted({word for word in map(self._word, own) if word})
        ours = {word: names.cut(name(word)) for word in words or [""]}
        places = admit(set(ours.values()))
        self.models = {w: n if n in places else names.OVERFLOW for w, n in ours.items()}
        self.beyond = len(set(ours.values()) - places - {names.OVERFLOW})

    def _word(self, labels: Mapping[str, str]) -> str:
        return next((labels[name] for name in self.dialect.model_labels if name in labels), "")

    def model(self, labels: Mapping[str, str]) -> str:
        """Our name. A series without the label is its page's only model's, if there is one."""
        word = self._word(labels)
        if word == "" and len(self.models) == 1:
            return next(iter(self.models.values()))
        return self.models.get(word, "")

    def key(self, measure: Measure, rule: Rule, labels: Mapping[str, str]) -> Key:
        pairs = [*rule.labels, *((name, labels.get(name, "")) for name in rule.keep)]
        return Key(measure.name, tuple(sorted([*pairs, ("model", self.model(labels))])))

    def scalars(self, measure: Measure) -> Iterable[Scalar]:
        for rule in measure.rules:
            name = next((n for n in rule.names if n in self.by_name), None)
            if name is None:
                continue
            self.found.add(measure.name)
            for index, series in self.by_name[name]:
                if _fits(rule, series.labels):
                    key = self.key(measure, rule, series.labels)
                    yield Scalar(index, key, _part(name, series.labels), measure.factor)

    def histograms(self, measure: Measure) -> Iterable[Buckets]:
        for rule in measure.rules:
            name = next((n for n in rule.names if f"{n}_bucket" in self.by_name), None)
            for buckets in self._one_family(measure, rule, name) if name is not None else ():
                self.found.add(measure.name)
                yield buckets

    def _one_family(self, measure: Measure, rule: Rule, name: str) -> Iterable[Buckets]:
        ladders: dict[str, dict[float, int]] = {}
        keys: dict[str, Key] = {}
        for index, series in self.by_name[f"{name}_bucket"]:
            if not _fits(rule, series.labels):
                continue
            part = _part(name, series.labels)
            keys.setdefault(part, self.key(measure, rule, series.labels))
            bound = _bound(series.labels.get("le", ""))
            if bound is not None:
                ladders.setdefault(part, {}).setdefault(bound, index)
        sums, counts = self._ends(name, "_sum"), self._ends(name, "_count")
        for part, ladder in ladders.items():
            total = ladder.pop(inf, counts.get(part))
            if total is not None:
                bounds = tuple(sorted(ladder))
                yield Buckets(
                    key=keys[part],
                    part=part,
                    bounds=tuple(bound * measure.factor for bound in bounds),
                    indexes=tuple(ladder[bound] for bound in bounds),
                    total=total,
                    sum=sums.get(part),
                    factor=measure.factor,
                )

    def _ends(self, name: str, suffix: str) -> dict[str, int]:
        rows = self.by_name.get(name + suffix, ())
        return {_part(name, series.labels): index for index, series in rows}

    def unknown(self) -> tuple[str, ...]:
        wanted = self.dialect.wanted
        families = {family(name, self.page.types) for name in self.by_name}
        return tuple(
            sorted(
                found
                for found in families
                if found.startswith(self.dialect.prefixes)
                and not found.endswith("_created")
                and found not in wanted
                and f"{found}_total" not in wanted
                and not self.dialect.is_ignored(found)
            )
        )

    def start(self) -> int | None:
        rows = self.by_name.get(self.dialect.start or "", ())
        return rows[0][0] if rows else None


def _part(name: str, labels: Mapping[str, str]) -> str:
    """What tells one of the engine's series from the next, however its labels are ordered."""
    pairs = ",".join(
        f"{label}={value!r}" for label, value in sorted(labels.items()) if label != "le"
    )
    return f"{name}{{{pairs}}}"


def _bound(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if isnan(value) or value == -inf else value


def plan(
    page: Page,
    dialects: Mapping[str, Dialect],
    *,
    engine: str | None = None,
    name: Callable[[str], str] = str,
    admit: Admit = frozenset,
) -> Plan:
    """Decide what every series of this layout means.

    `engine` forces a dialect; `name` turns the engine's word for a model ("" if it has none) into
    ours; `admit` says which of our names may stand, by default all. Raises
    PageError(`unknown_engine`) if no dialect knows the page.
    """
    families = {raw.partition("{")[0].rstrip() for raw in page.series} | page.types.keys()
    dialect = recognise(families, dialects, engine)
    planner = _Planner(page, dialect, name, admit)
    if not planner.role.is_counted:
        return _plan_of_nothing(planner)
    kinds: dict[str, list[Scalar]] = {"counter": [], "gauge": []}
    histograms: list[Buckets] = []
    for measure in dialect.measures.values():
        if measure.kind == "histogram":
            histograms += planner.histograms(measure)
        else:
            kinds[measure.kind] += planner.scalars(measure)
    missing = {
        name: dialect.not_available.get(name, _why_missing(measure, page.types))
        for name, measure in dialect.measures.items()
        if name not in planner.found
    }
    return Plan(
        series=page.series,
        engine=dialect.engine,
        role=planner.role.role,
        counters=tuple(kinds["counter"]),
        gauges=tuple(kinds["gauge"]),
        gauge_merge={n: max if m.merge == "max" else _add for n, m in dialect.measures.items()},
        histograms=tuple(histograms),
        start=planner.start(),
        not_available={**dialect.not_available, **missing},
        unknown_families=planner.unknown(),
        models=planner.models,
        beyond=planner.beyond,
    )


def _plan_of_nothing(planner: _Planner) -> Plan:
    """For a page whose numbers are somebody else's: it is known, up, and counts for no model."""
    dialect, role = planner.dialect, planner.role
    why = f"the page is a {role.role}'s: {role.says}"
    return Plan(
        series=planner.page.series,
        engine=dialect.engine,
        role=role.role,
        counters=(),
        gauges=(),
        gauge_merge={},
        histograms=(),
        start=planner.start(),
        not_available=dict.fromkeys(dialect.measures, why),
        unknown_families=(),
        models={},
    )


def _why_missing(measure: Measure, types: Mapping[str, str]) -> str:
    wanted = dict.fromkeys(name for rule in measure.rules for name in rule.names)
    if any(name in types or name.removesuffix("_total") in types for name in wanted):
        return "this page has counted nothing of it yet"
    if measure.only_with is not None:
        return f"only with {measure.only_with}"
    return f"this page has none of {', '.join(f'`{name}`' for name in wanted)}"


def _add(a: float, b: float) -> float:
    return a + b


def normalise(page: Page, plan: Plan) -> EnginePage:
    """The page in our words. A value that is NaN, infinite or absurd is absent, not zero."""
    values = page.values
    gauges: dict[Key, float] = {}
    for index, key, _, factor in plan.gauges:
        value = values[index] * factor
        if -LARGEST < value < LARGEST:
            old = gauges.get(key)
            gauges[key] = value if old is None else plan.gauge_merge[key.measure](old, value)
    start = values[plan.start] if plan.start is not None else nan
    return EnginePage(
        engine=plan.engine,
        role=plan.role,
        version=None,
        started_timestamp_seconds=start if -LARGEST < start < LARGEST else None,
        counters=_counters(plan.counters, values),
        histograms=_histograms(plan.histograms, values),
        gauges=gauges,
        not_available=plan.not_available,
        unknown_families=plan.unknown_families,
    )


def _counters(scalars: Sequence[Scalar], values: Sequence[float]) -> dict[Key, dict[str, float]]:
    found: dict[Key, dict[str, float]] = {}
    for index, key, part, factor in scalars:
        value = values[index] * factor
        if -LARGEST < value < LARGEST:
            found.setdefault(key, {})[part] = value
    return found


def _histograms(
    plans: Sequence[Buckets], values: Sequence[float]
) -> dict[Key, dict[str, Histogram]]:
    found: dict[Key, dict[str, Histogram]] = {}
    for key, part, bounds, indexes, total, sum_index, factor in plans:
        counts = tuple([values[index] for index in indexes])
        if not -LARGEST < values[total] < LARGEST or not all(map(isfinite, counts)):
            continue
        total_sum = values[sum_index] * factor if sum_index is not None else None
        if total_sum is not None and not -LARGEST < total_sum < LARGEST:
            total_sum = None
        histogram = Histogram(bounds, counts, values[total], total_sum)
        found.setdefault(key, {})[part] = histogram
    return found
