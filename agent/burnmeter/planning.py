"""What every series of a page's layout means: the costly part of reading a page, done once. Pure.

A `Plan` says which value goes where; as long as the layout (the sequence of series) stays the same,
normalise.py turns pages into samples by index alone. Surprising: nothing is merged here, not even
ranks, because only growth can tell a fall from a departure.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isnan
from typing import Final, NamedTuple

from burnmeter import names
from burnmeter.choice import Row, called, chosen
from burnmeter.dialects import Dialect, Measure, Rule, recognise, role_of
from burnmeter.model import Key, Labels
from burnmeter.page import Page, parse_series

Admit = Callable[[Collection[str]], frozenset[str]]
Namer = Callable[[str, bool], str]
"""The engine's word ("" if it has none), and whether it is the page's only one -> our name."""


def own_word(word: str, _is_only: bool) -> str:
    """Models are called what their engine calls them."""
    return word


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
    vantage: str
    counters: tuple[Scalar, ...]
    zeros: frozenset[Key]
    """Counters that the page has not begun, though it would show them: nothing went well yet."""
    switched: tuple[Scalar, ...]
    """Counters that are switched off while they stand at 0."""
    switched_by: Mapping[str, str]
    """Of these, measure -> why it is absent then."""
    gauges: tuple[Scalar, ...]
    gauge_merge: Mapping[str, Callable[[float, float], float]]
    histograms: tuple[Buckets, ...]
    start: int | None
    not_available: Mapping[str, str]
    not_yet: frozenset[str]
    left_out: frozenset[str]
    unknown_families: tuple[str, ...]
    models: Mapping[str, str]
    """The engine's word for a model -> ours. "" if it has none."""
    beyond: int = 0
    """Models that found no place of their own and are called names.OVERFLOW."""
    nobodys: str = ""
    """What carries a word for no model is counted under this name. "": the page has none such."""
    rank_by_part: Mapping[str, str] = field(default_factory=dict)
    """Which data-parallel rank a part is of, where its series say."""


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
        self,
        page: Page,
        rows: Mapping[str, Sequence[Row]],
        dialect: Dialect,
        said_role: str | None,
    ) -> None:
        self.dialect = dialect
        self.page = page
        self.by_name = rows
        self.found: set[str] = set()
        # Only the engine's own series name its models: what wraps it (Dynamo, KServe) spells them
        # otherwise.
        self.own = [
            series.labels
            for name, ours in rows.items()
            for _, series in ours
            if dialect.is_own(name, series.labels)
        ]
        names_ = rows.keys() | page.types.keys()
        self.role = role_of(dialect, names_, self.own, said_role)
        self.called = called(self.own, dialect)
        self.models: dict[str, str] = {}
        self.beyond = 0
        self.nobodys = ""
        self.rank_by_part: dict[str, str] = {}

    def call(self, name: Namer, admit: Admit) -> None:
        """Decide what the page's models are called."""
        words = sorted({word for word in map(self._word, self.own) if word})
        spelled = _spelled(words)
        is_only = len(set(spelled.values())) < 2
        ours = {word: names.cut(name(spelled[word], is_only)) for word in words}
        ours = ours or {"": names.cut(name("", True))}
        places = admit(set(ours.values()))
        self.models = {w: n if n in places else names.OVERFLOW for w, n in ours.items()}
        self.beyond = len(set(ours.values()) - places - {names.OVERFLOW})
        if any(map(self._is_nobodys, self.own)):
            self.nobodys = names.cut(name(names.UNKNOWN, False))

    def _is_nobodys(self, labels: Mapping[str, str]) -> bool:
        """Whether a gateway says of a request that it was for no model that it knows."""
        is_said = any(name in labels for name in self.dialect.model_labels)
        return self.dialect.vantage == "gateway" and is_said and not self._word(labels)

    def _word(self, labels: Mapping[str, str]) -> str:
        words = (labels[name] for name in self.dialect.model_labels if name in labels)
        known = (word for word in words if word and word not in self.dialect.no_model)
        return next((self.called.get(word, word) for word in known), "")

    def model(self, labels: Mapping[str, str]) -> str:
        """Our name. A series without the label is its page's only model's, if there is one."""
        if self._is_nobodys(labels):
            return self.nobodys
        word = self._word(labels)
        if word == "" and len(ours := set(self.models.values())) == 1:
            return next(iter(ours))
        return self.models.get(word, "")

    def key(self, measure: Measure, rule: Rule, labels: Mapping[str, str]) -> Key | None:
        """None: another page counts the same for this role."""
        pairs = [*rule.labels, *((name, labels.get(name, "")) for name in rule.keep)]
        if measure.name in self.role.leaves_out or any(
            f"{measure.name}{{{name}={value}}}" in self.role.leaves_out for name, value in pairs
        ):
            return None
        return Key(measure.name, tuple(sorted([*pairs, ("model", self.model(labels))])))

    def rows(self, rule: Rule, name: str) -> Sequence[Row]:
        """The series of a name that a rule is about."""
        fitting = [row for row in self.by_name.get(name, ()) if _fits(rule, row[1].labels)]
        return chosen(fitting, self.dialect)

    def scalars(self, measure: Measure) -> Iterable[Scalar]:
        for rule in measure.rules:
            name = next((n for n in rule.names if n in self.by_name), None)
            if name is None:
                continue
            self.found.add(measure.name)
            for index, series in self.rows(rule, name):
                key = self.key(measure, rule, series.labels)
                if key is not None:
                    part = self.part(rule, series.labels)
                    rank = series.labels.get(self.dialect.rank_label or "")
                    if rank is not None:
                        self.rank_by_part[part] = rank
                    yield Scalar(index, key, part, measure.factor)

    def zeros(self) -> Iterable[Key]:
        """Requests that went well, where the names that count them have counted only others."""
        measure = self.dialect.measures.get("requests_total")
        for rule in measure.rules if measure is not None else ():
            if measure is not None and ("outcome", "ok") in rule.labels:
                name = next((n for n in rule.names if n in self.by_name), "")
                others = [one for one in measure.rules if name in one.names]
                for _, series in (row for one in others for row in self.rows(one, name)):
                    key = self.key(measure, rule, series.labels)
                    if key is not None:
                        yield key

    def histograms(self, measure: Measure) -> Iterable[Buckets]:
        for rule in measure.rules:
            name = next((n for n in rule.names if _line(n, "_bucket") in self.by_name), None)
            if name is not None:
                buckets = self._one_family(measure, rule, name)
            else:
                buckets = self._mean(measure, rule)
            for one in buckets:
                self.found.add(measure.name)
                yield one

    def _one_family(self, measure: Measure, rule: Rule, name: str) -> Iterable[Buckets]:
        ladders: dict[str, dict[float, int]] = {}
        keys: dict[str, Key] = {}
        for index, series in self.rows(rule, _line(name, "_bucket")):
            key = self.key(measure, rule, series.labels)
            bound = _bound(series.labels.get("le", ""))
            if key is not None and bound is not None:
                part = self.part(rule, series.labels)
                keys.setdefault(part, key)
                ladders.setdefault(part, {}).setdefault(bound, index)
        sums = self._ends(rule, _line(name, "_sum")) if self.dialect.has_sums else {}
        counts = self._ends(rule, _line(name, "_count"))
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

    def _mean(self, measure: Measure, rule: Rule) -> Iterable[Buckets]:
        """A histogram without buckets, of a sum and a count."""
        total = next((n for n in rule.count if n in self.by_name), None)
        all_of_it = next((n for n in rule.sum if n in self.by_name), None)
        if total is None or all_of_it is None:
            return
        sums = self._ends(rule, all_of_it)
        for index, series in self.rows(rule, total):
            key, part = self.key(measure, rule, series.labels), self.part(rule, series.labels)
            if key is not None and part in sums:
                yield Buckets(key, part, (), (), index, sums[part], measure.factor)

    def _ends(self, rule: Rule, name: str) -> dict[str, int]:
        return {self.part(rule, s.labels): index for index, s in self.rows(rule, name)}

    def part(self, rule: Rule, labels: Mapping[str, str]) -> str:
        """What tells one series of a rule from the next, however its labels are ordered.

        Neither which spelling the page has, nor which of several copies: either may come later,
        and the count goes on.
        """
        apart = {"le", *self.dialect.copies}
        pairs = ",".join(f"{n}={value!r}" for n, value in sorted(labels.items()) if n not in apart)
        return f"{(*rule.names, *rule.count)[0]}{{{pairs}}}"

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

    def missing(self, histograms: Sequence[Buckets]) -> tuple[dict[str, str], frozenset[str]]:
        """Measure -> why it cannot be had; and those that have merely counted nothing yet."""
        dialect, types = self.dialect, self.page.types
        absent = [m for name, m in dialect.measures.items() if name not in self.found]
        not_yet = frozenset(m.name for m in absent if _is_declared(m, types))
        why = {m.name: _why_missing(m, m.name in not_yet) for m in absent}
        elsewhere = f"left to another page of the same requests: {self.role.says}"
        why |= dict.fromkeys(self.role.leaves_out, elsewhere)
        if "requests_total" in self.found and not self._counts_errors():
            why["requests_total{outcome=error}"] = "nothing on this page counts failed requests"
        buckets_of = {b.key.measure: b for b in histograms if b.bounds}
        for name in {b.key.measure for b in histograms} - buckets_of.keys():
            why[name] = "only a mean can be had of it, no buckets"
        return {**why, **dialect.not_available}, not_yet

    def _counts_errors(self) -> bool:
        """Whether some name that counts failures is here, even if none has happened yet."""
        names_ = self.by_name.keys() | self.page.types.keys()
        return any(
            name in names_ or name.removesuffix("_total") in names_
            for rule in self.dialect.measures["requests_total"].rules
            if ("outcome", "error") in rule.labels
            for name in rule.names
        )

    def start(self) -> int | None:
        rows = self.by_name.get(self.dialect.start or "", ())
        return rows[0][0] if rows else None


def _line(name: str, suffix: str) -> str:
    """What a histogram's lines are called. A recording rule's name goes on after `_bucket`."""
    return name.replace("_bucket:", f"{suffix}:") if "_bucket:" in name else name + suffix


def _bound(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if isnan(value) or value == -inf else value


def _rows(page: Page) -> dict[str, list[Row]]:
    """Name -> where its series are. Of a series given twice the first counts, as for Prometheus."""
    found: dict[str, list[Row]] = {}
    seen: set[tuple[str, Labels]] = set()
    for index, raw in enumerate(page.series):
        series = parse_series(raw)
        identity = (series.name, tuple(sorted(series.labels.items())))
        if identity not in seen:
            seen.add(identity)
            found.setdefault(series.name, []).append((index, series))
    return found


def _spelled(words: Sequence[str]) -> dict[str, str]:
    """Each word as it is written with its capitals: a page may have one model both ways."""
    best: dict[str, str] = {}
    for word in words:
        if word == word.lower():
            best.setdefault(word.lower(), word)
        else:
            best[word.lower()] = word
    return {word: best[word.lower()] for word in words}


def plan(
    page: Page,
    dialects: Mapping[str, Dialect],
    *,
    engine: str | None = None,
    role: str | None = None,
    name: Namer = own_word,
    admit: Admit = frozenset,
) -> Plan:
    """Decide what every series of this layout means.

    `engine` forces a dialect; `role` is what the config or the command line says; `admit` says
    which of our names may stand, by default all. Raises PageError(`unknown_engine`) if no dialect
    knows the page.
    """
    rows = _rows(page)
    dialect = _dialect(page, rows, dialects, engine)
    planner = _Planner(page, rows, dialect, role)
    if not planner.role.is_counted:
        return _plan_of_nothing(planner)
    planner.call(name, admit)
    kinds: dict[str, list[Scalar]] = {"counter": [], "switched": [], "gauge": []}
    histograms: list[Buckets] = []
    for measure in dialect.measures.values():
        if measure.kind == "histogram":
            histograms += planner.histograms(measure)
        else:
            kind = "switched" if measure.is_off_at_zero else measure.kind
            kinds[kind] += planner.scalars(measure)
    not_available, not_yet = planner.missing(histograms)
    return Plan(
        series=page.series,
        engine=dialect.engine,
        role=planner.role.role,
        vantage=planner.role.vantage or dialect.vantage,
        counters=tuple(kinds["counter"]),
        zeros=frozenset(planner.zeros()),
        switched=tuple(kinds["switched"]),
        switched_by={
            scalar.key.measure: _why_off(dialect.measures[scalar.key.measure])
            for scalar in kinds["switched"]
        },
        gauges=tuple(kinds["gauge"]),
        gauge_merge={n: max if m.merge == "max" else _add for n, m in dialect.measures.items()},
        histograms=tuple(histograms),
        start=planner.start(),
        not_available=not_available,
        not_yet=not_yet,
        left_out=frozenset(planner.role.leaves_out),
        unknown_families=planner.unknown(),
        models=planner.models,
        beyond=planner.beyond,
        nobodys=planner.nobodys,
        rank_by_part=planner.rank_by_part,
    )


def dialect_of(page: Page, dialects: Mapping[str, Dialect], engine: str | None = None) -> Dialect:
    """The dialect that a page speaks. Raises PageError(`unknown_engine`)."""
    return _dialect(page, _rows(page), dialects, engine)


def _dialect(
    page: Page,
    rows: Mapping[str, Sequence[Row]],
    dialects: Mapping[str, Dialect],
    engine: str | None,
) -> Dialect:
    labelled: dict[str, list[Mapping[str, str]]] = {family: [] for family in page.types}
    labelled |= {name: [series.labels for _, series in ours] for name, ours in rows.items()}
    return recognise(labelled, dialects, engine)


def _plan_of_nothing(planner: _Planner) -> Plan:
    """For a page whose numbers are somebody else's: it is known, up, and counts for no model."""
    dialect, role = planner.dialect, planner.role
    why = f"the page is a {role.role}'s: {role.says}"
    return Plan(
        series=planner.page.series,
        engine=dialect.engine,
        role=role.role,
        vantage=role.vantage or dialect.vantage,
        counters=(),
        zeros=frozenset(),
        switched=(),
        switched_by={},
        gauges=(),
        gauge_merge={},
        histograms=(),
        start=planner.start(),
        not_available=dict.fromkeys(dialect.measures, why),
        not_yet=frozenset(),
        left_out=frozenset(),
        unknown_families=(),
        models={},
    )


def _is_declared(measure: Measure, types: Mapping[str, str]) -> bool:
    """The page has the family, and no series of it yet."""
    wanted = {name for rule in measure.rules for name in (*rule.names, *rule.count)}
    return any(name in types or name.removesuffix("_total") in types for name in wanted)


def _why_missing(measure: Measure, is_declared: bool) -> str:
    if is_declared:
        return "this page has counted nothing of it yet"
    if measure.only_with is not None:
        return f"not on this page; it comes with {measure.only_with}"
    wanted = dict.fromkeys(name for rule in measure.rules for name in (*rule.names, *rule.count))
    return f"this page has none of {', '.join(f'`{name}`' for name in wanted)}"


def _why_off(measure: Measure) -> str:
    return f"it stands at 0; it comes with {measure.only_with}"


def _add(a: float, b: float) -> float:
    return a + b
