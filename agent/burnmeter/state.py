"""What is remembered between two ticks, and what the config says of it. Pure.

pipeline.py makes the next State from the last; what stands between here and there reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from burnmeter import prompts
from burnmeter.attribution import Held, Portion, Purse
from burnmeter.config_owners import OwnerRule
from burnmeter.config_prices import Prices
from burnmeter.gpu_watch import Boards
from burnmeter.ledgers import Kept
from burnmeter.model import Histogram, Key, Objective, Pod, Process, Share, Spend
from burnmeter.model_facts.known import Library
from burnmeter.paces import Pace, Where
from burnmeter.pricing import Price
from burnmeter.snapshot import Event
from burnmeter.watch import Terms, Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Totals at one tick, to take recent differences from."""

    at_seconds: float
    counters: Mapping[Key, float]
    histograms: Mapping[Key, Histogram]
    spends: Mapping[Share, Spend]
    revenue: Mapping[Key, float]
    roofline: Mapping[Key, float] = field(default_factory=dict)
    made: Mapping[Key, float] = field(default_factory=dict)
    paces: Mapping[Where, Pace] = field(default_factory=dict)
    whole: frozenset[Where] = frozenset()
    """Models, with the vantage of their tokens, of which all tokens made so far were told; only
    those of which an objective asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that is remembered between two ticks."""

    started_timestamp_seconds: float
    at_seconds: float | None = None
    ticks: int = 0
    watched: Mapping[str, Watched] = field(default_factory=dict)
    counters: Mapping[Key, float] = field(default_factory=dict)
    histograms: Mapping[Key, Histogram] = field(default_factory=dict)
    revenue: Mapping[Key, float] = field(default_factory=dict)
    """What tokens brought since first sight, by model and kind."""
    roofline: Mapping[Key, float] = field(default_factory=dict)
    """What their work takes at the limits of the GPUs, by model, target and work."""
    made: Mapping[Key, float] = field(default_factory=dict)
    """Tokens that GPUs made which are billed, by model and vantage."""
    paces: Mapping[Where, Pace] = field(default_factory=dict)
    """Tokens, and the time that requests ran for them, by model and vantage."""
    cached_ahead: Mapping[prompts.Where, float] = field(default_factory=dict)
    """Cached tokens of prompts that are still to be counted."""
    library: Library = field(default_factory=Library)
    kept: Mapping[tuple[str, str], Kept] = field(default_factory=dict)
    """(objective, model) -> what it has come to."""
    purse: Purse = field(default_factory=Purse)
    boards: Boards = field(default_factory=Boards)
    held: Mapping[str, tuple[Held, ...]] = field(default_factory=dict)
    portions: Mapping[str, tuple[Portion, ...]] = field(default_factory=dict)
    """GPU's uuid -> the processes on it, and whose it is."""
    processes: Mapping[int, Process] = field(default_factory=dict)
    pods: Mapping[str, Pod] = field(default_factory=dict)
    past: tuple[Past, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def shown(self) -> Mapping[tuple[str, str], Kept]:
        """What is kept of the models that some page names now."""
        return {name: one for name, one in self.kept.items() if not one.is_shelved}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the config says that the middle needs."""

    terms: Terms
    objectives: tuple[Objective, ...]
    recent_seconds: float
    prices: Mapping[str, Price | None] = field(default_factory=dict)
    """By GPU name; None: it has no price."""
    books: tuple[Prices, ...] = ()
    """All that was said of prices; who is asked first stands first."""
    owners: tuple[OwnerRule, ...] = ()
    """The user's word for whose the processes on GPUs are."""
    shares: int = 1000
    """Rows that the bill may have, if no more are in use."""
