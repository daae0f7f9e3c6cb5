"""What a dialect file says, as frozen values; no YAML, no page, no engine's name.

parsing.py makes them, README.md explains each key.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from burnmeter.model import ProcessHint


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way from an engine's series to one of our keys."""

    names: tuple[str, ...]
    """Newest first; the first that a page has is used, never two."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A look-alike: a page that fits every condition given is not the engine itself."""

    role: str
    says: str
    families: tuple[str, ...]
    """The page has one of these; a `*` stands for anything. Empty: not asked."""
    labels: tuple[str, ...]
    """One series with the engine's prefix has all of these."""
    lacks: tuple[str, ...]
    """No series with the engine's prefix has any of these."""
    is_counted: bool
    """Whether its numbers are its own. A router's are its engines', and would count twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What to tell whoever shows us a page without an engine on it."""

    only: tuple[str, ...]
    """The hint is about pages all of whose names begin with one of these."""
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """All that is known of one engine's page."""

    engine: str
    title: str
    recognise: str
    prefixes: tuple[str, ...]
    start: str | None
    model_labels: tuple[str, ...]
    roles: tuple[Role, ...]
    process: ProcessHint | None
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
        rules = (rule for measure in self.measures.values() for rule in measure.rules)
        return frozenset(name for rule in rules for name in rule.names)

    def is_ignored(self, family: str) -> bool:
        """Whether `family` is known and not wanted; OpenMetrics writes it without `_total`."""
        return any(
            fits(pattern, family) or fits(pattern, f"{family}_total") for pattern in self.ignored
        )


def fits(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern in which only `*` is special."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None
