"""What the tests of rules are made of: what happens on nodes, and what must be seen when. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from burnmeter.provision import reach
from burnmeter.provision.burn_rules import Making
from burnmeter.provision.conventions import number
from burnmeter.provision.reach import Promise

HOUR: Final = 3600.0
DAY: Final = 86400.0
MODEL: Final = "chat"
PER_SAMPLE: Final = 100_000
"""Valid events between two samples of busy traffic: a share of them to five digits is whole."""
NOT_MEASURED: Final = "BurnmeterSloNotMeasured"
BUSY: Final = 20
"""How many times that come in a busy time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a file's tests evaluate, and how often their agents are scraped."""

    suffix: str
    evaluate_seconds: float
    scrape_seconds: float


FAST: Final = Pace(suffix="", evaluate_seconds=60.0, scrape_seconds=30.0)
SLOW: Final = Pace(suffix="_days", evaluate_seconds=600.0, scrape_seconds=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time in which the same comes at every sample. `valid` None: no sample at all."""

    seconds: float
    valid: float | None = PER_SAMPLE
    bad: float = 0.0
    """Certainly."""
    doubtful: float = 0.0
    """Bad or not: nobody can tell."""
    measured_ratio: float = 1.0
    is_restart: bool = False
    """The agent begins anew, and its counters with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What happens to one or more nodes, and when what must fire."""

    name: str
    nodes: Mapping[str, Sequence[Stretch]]
    alerts: Sequence[tuple[float, str, str, bool]] = ()
    """At so many seconds: severity (or the cause, of what is not measured), alert, whether."""
    values: Sequence[tuple[float, str, float | None]] = ()
    """At so many seconds: a query, and its one value; None: it has none."""
    told_at_seconds: float | None = None
    """Then page and ticket fire, with all their texts, while everything fails."""
    objective_ratio: float | None = None
    """As the agents say it; None: as the rules do."""


def ok(seconds: float) -> Stretch:
    """Busy, and all is well."""
    return Stretch(seconds=seconds)


def failing(seconds: float, ratio: float) -> Stretch:
    """A share of busy traffic certainly fails."""
    return Stretch(seconds=seconds, bad=round(ratio * PER_SAMPLE))


def vague(seconds: float, ratio: float) -> Stretch:
    """A share of busy traffic may have failed."""
    return Stretch(seconds=seconds, doubtful=round(ratio * PER_SAMPLE))


def silence(seconds: float) -> Stretch:
    """No sample at all."""
    return Stretch(seconds=seconds, valid=None)


def grid(seconds: float, every: float) -> float:
    """The evaluation at or before a time."""
    return seconds // every * every


def labels(making: Making, alert: str, severity: str) -> dict[str, str]:
    """All labels of an alert of the objective, for the one model that the cases have."""
    name = making.objective.name
    return {
        "alertname": alert,
        "severity": severity,
        "slo": name,
        "indicator": making.objective.indicator,
        "sloth_slo": name,
        "sloth_severity": severity,
        "sloth_service": MODEL,
        "sloth_id": f"{MODEL}-{name}",
        "model": MODEL,
    }


def first(making: Making) -> Promise:
    """The fastest tier, that doubt is held against."""
    return reach.promises(making.objective)[0]


def near(series: str, value: float) -> tuple[str, float]:
    """A query that is 1 where a series is within a twentieth of a value, and that 1.

    An increase is extrapolated, and five-minute increases come some minutes late into their sums.
    """
    return f"count(abs({series} / {number(value)} - 1) < 0.05)", 1.0
