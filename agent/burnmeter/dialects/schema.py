"""What a dialect file says, as frozen values; no YAML, no page, no engine's name.

parsing.py makes them, README.md explains each key.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from burnmeter.model import ProcessHint


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a page is known by: a series whose name and labels are like this."""

    names: tuple[str, ...]
    """Of one of these names; a `*` stands for anything."""
    labels: tuple[str, ...]
    """It has all of these labels; any name without labels will do if none is asked for."""
    values: tuple[tuple[str, str], ...] = ()
    """It has these labels with these values."""

    @property
    def has_labels(self) -> bool:
        """Whether a name is not enough; a family that was only declared has no labels."""
        return bool(self.labels or self.values)

    def is_named(self, name: str) -> bool:
        """Whether a series has such a name."""
        return any(fits(pattern, name) for pattern in self.names)

    def is_labelled(self, labels: Mapping[str, str]) -> bool:
        """Whether it has such labels."""
        return labels.keys() >= set(self.labels) and labels.items() >= set(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way from an engine's series to one of our keys."""

    names: tuple[str, ...]
    """Newest first; the first that a page has is used, never two. Empty if `sum` is given."""
    sum: tuple[str, ...]
    """A histogram without buckets: the counter of all that was measured, newest name first ..."""
    count: tuple[str, ...]
    """... and that of how many there were. Only a mean comes of the two."""
    match: Mapping[str, re.Pattern[str]]
    """Label -> pattern that must fit the whole value."""
    labels: tuple[tuple[str, str], ...]
    """Our labels that this rule sets, sorted."""
    keep: tuple[str, ...]
    """The engine's labels that pass on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One of our measures as this engine gives it."""

    name: str
    place: str
    """File and line where it is said; of a dialect that is `like` another, the other's."""
    kind: str
    factor: float
    """From the engine's unit to the base unit."""
    merge: str
    observed: str
    means: str
    bounds: tuple[float, ...]
    """The engine's default bucket bounds, a hint: versions and flags differ."""
    rules: tuple[Rule, ...]
    only_with: str | None
    """What must be switched on before a page has it; None: a page should have it."""
    precision_digits: int | None
    """Significant digits that the engine prints; None: all of them."""
    buckets_by: str | None
    """The engine's own flag for other buckets."""
    is_off_at_zero: bool
    """A total of 0 means that it is switched off: it is absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A look-alike: a page that fits every condition given is not the engine itself."""

    role: str
    says: str
    families: tuple[str, ...]
    """The page has one of these; a `*` stands for anything. Empty: not asked."""
    labels: tuple[str, ...]
    """One of the engine's own series has all of these."""
    lacks: tuple[str, ...]
    """None of the engine's own series has any of these."""
    values: tuple[tuple[str, str], ...]
    """One of the engine's own series has these labels with these values."""
    vantage: str
    """Where its counts are taken: engine, gateway or probe."""
    is_counted: bool
    """Whether its numbers are its own. A router's are its engines', and would count twice."""
    leaves_out: tuple[str, ...]
    """Measures, or `measure{label=value}`, that another page counts for the same requests."""

    @property
    def is_told_by_page(self) -> bool:
        """Whether a page alone shows it; else only a config or a command line does."""
        return bool(self.families or self.labels or self.lacks or self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What to tell whoever shows us a page without an engine on it."""

    only: tuple[str, ...]
    """The hint is about pages all of whose names begin with one of these."""
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """Where else the engine says who it is; paths on the page's host, None: nowhere."""

    version_path: str | None
    version_key: str
    """Of the JSON object at `version_path`."""
    models_path: str | None
    """An OpenAI-compatible list of models."""
    health_path: str | None
    """Answers 200 while it is well, at no cost to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """All that is known of one engine's page."""

    engine: str
    title: str
    versions: str
    """Which of the engine's versions are known, for people."""
    recognise: tuple[Mark, ...]
    """A page that has one of these speaks this dialect."""
    turn: int
    """When it is asked whether a page is its own: -1 before others that it looks like, 1 after
    those that it wraps, whose families on its page tell more."""
    prefixes: tuple[str, ...]
    start: str | None
    model_labels: tuple[str, ...]
    rank_label: str | None
    """What tells data-parallel ranks apart."""
    no_model: tuple[str, ...]
    """Values of those labels that name nothing."""
    vantage: str
    """Where its counts are taken, unless a role says otherwise: engine, gateway or probe."""
    roles: tuple[Role, ...]
    processes: tuple[ProcessHint, ...]
    asks: Asks
    copies: tuple[str, ...]
    """Labels that tell copies of one number apart (a tensor-parallel rank): one of them counts."""
    stages: tuple[tuple[str, tuple[re.Pattern[str], ...]], ...]
    """Label and patterns of its whole value, the stages of one request: the first there counts."""
    is_per_second: bool
    """Its counters and histograms are rates per second, not counts since the start."""
    has_sums: bool
    """False: the sums of its histograms are guessed from their buckets, and are not read."""
    stale_seconds: float
    """How old its gauges may be while it is well."""
    stall_unknown: str | None
    """Why its page cannot show a stall; None: it can."""
    measures: Mapping[str, Measure]
    cancelled_estimate: tuple[str, str] | None
    """Measures (first token, finish) whose gap is the requests that ended without a trace."""
    progress: tuple[str, ...]
    not_available: Mapping[str, str]
    hints: tuple[Hint, ...]
    ignored: tuple[str, ...]
    source: str = field(repr=False, default="")
    """The file's text, for `explain`."""

    @property
    def wanted(self) -> frozenset[str]:
        """Every engine's name that some rule asks for."""
        rules = [rule for measure in self.measures.values() for rule in measure.rules]
        return frozenset(name for r in rules for name in (*r.names, *r.sum, *r.count))

    def is_own(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a series is one that this dialect is known by."""
        return any(m.is_named(name) and m.is_labelled(labels) for m in self.recognise)

    def is_ignored(self, family: str) -> bool:
        """Whether `family` is known and not wanted; OpenMetrics writes it without `_total`."""
        return any(
            fits(pattern, family) or fits(pattern, f"{family}_total") for pattern in self.ignored
        )

    def knows(self, name: str) -> bool:
        """Whether some rule asks for the family of this line, or it is ignored."""
        lines = ("_bucket", "_sum", "_count", "_created", "_total")
        known = {name, *(name.removesuffix(line) for line in lines)}
        return not known.isdisjoint(self.wanted) or any(map(self.is_ignored, known))


def fits(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern in which only `*` is special."""
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=2000)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*"), re.DOTALL)
