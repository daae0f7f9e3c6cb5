"""Totals at two ticks -> what each model did between them, all targets together. Pure.

The window is the recent one (`recent_seconds`), for rates and ratios that people look at; burn has
ledgers of its own (slo.py). Keys are grouped by model once a tick, not searched once a number.

Surprising: a model that appeared within the window is compared with its own first tick, and one
that has only one tick has done nothing that we know of: None, not zero.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import TypeVar

from burnmeter import catalog, histograms
from burnmeter.growth import model_of
from burnmeter.model import Histogram, Key, Share, Spend
from burnmeter.pipeline import Past

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """What one model did over `seconds`."""

    model: str
    seconds: float = 0.0
    totals: Mapping[Key, float] = field(default_factory=dict)
    """Counters since first sight."""
    counters: Mapping[Key, float] = field(default_factory=dict)
    """What they grew by. Empty: not known."""
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    """By measure."""
    spends: Sequence[tuple[Spend, Spend | None]] = ()
    """Each share of a GPU, now and then. None: it had none."""

    def counter(self, measure: str, **labels: str) -> float | None:
        """How much a counter grew; None if the model has none."""
        pairs = tuple(sorted({**labels, "model": self.model}.items()))
        return self.counters.get(Key(measure, pairs))

    def rate(self, measure: str, **labels: str) -> float | None:
        """Per second."""
        grown = self.counter(measure, **labels)
        return None if grown is None or self.seconds <= 0 else grown / self.seconds

    def seen_from(self, vantage: str) -> "Recent":
        """The same model as one vantage counts it, in the measures' plain names."""
        plain = _plain(vantage)
        return replace(
            self,
            totals=_picked(self.totals, plain),
            counters=_picked(self.counters, plain),
            histograms={plain[name]: h for name, h in self.histograms.items() if name in plain},
        )

    def spent(self, what: Callable[[Spend], float | None]) -> float | None:
        """Dollars or joules of the model's GPUs, busy and idle; None if one's are not known."""
        found: list[float] = []
        for now, then in self.spends:
            have, had = what(now), what(then) if then is not None else None
            if have is None:
                return None
            found.append(have - (had if had is not None else 0.0))
        return sum(found) if found else None


def by_model(past: Sequence[Past]) -> dict[str, Recent]:
    """Every model that has counters, by name."""
    now = past[-1]
    counters = _grouped(now.counters, lambda key: model_of(key.labels))
    hists = _grouped(now.histograms, lambda key: model_of(key.labels))
    shares = _grouped(now.spends, lambda share: share.model)
    return {
        model: _recent(model, keys, hists.get(model, ()), shares.get(model, ()), past)
        for model, keys in counters.items()
    }


@cache
def _plain(vantage: str) -> Mapping[str, str]:
    """Our name for a measure at a vantage -> its plain name."""
    metrics = catalog.metrics().values()
    plain = [metric.measure for metric in metrics if metric.group == catalog.VANTAGES[0]]
    return {catalog.seen_from(vantage, name): name for name in plain}


def _picked(values: Mapping[Key, float], plain: Mapping[str, str]) -> dict[Key, float]:
    return {
        Key(plain[key.measure], key.labels): value
        for key, value in values.items()
        if key.measure in plain
    }


def _grouped(keys: Iterable[T], model: Callable[[T], str]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for key in keys:
        found.setdefault(model(key), []).append(key)
    return found


def _recent(
    model: str,
    keys: Sequence[Key],
    histogram_keys: Sequence[Key],
    shares: Sequence[Share],
    past: Sequence[Past],
) -> Recent:
    now = past[-1]
    then = next(one for one in past if any(key in one.counters for key in keys))
    totals: dict[Key, float] = {}
    grown: dict[Key, float] = {}
    for key in keys:
        value, before, ours = now.counters[key], then.counters.get(key, 0.0), _anywhere(key)
        totals[ours] = totals.get(ours, 0.0) + value
        # Totals fall only if a target was forgotten and found again.
        more = value - before if value >= before else value
        grown[ours] = grown.get(ours, 0.0) + more
    if then is now:
        return Recent(model=model, totals=totals)
    return Recent(
        model=model,
        seconds=now.at_seconds - then.at_seconds,
        totals=totals,
        counters=grown,
        histograms=_merged(histogram_keys, now, then),
        spends=[(now.spends[share], then.spends.get(share)) for share in shares],
    )


def _merged(keys: Sequence[Key], now: Past, then: Past) -> dict[str, Histogram]:
    found: dict[str, Histogram] = {}
    for key in keys:
        new, old = now.histograms[key], then.histograms.get(key)
        part = new if old is None else histograms.since(new, old)
        merged = found.get(key.measure)
        found[key.measure] = part if merged is None else histograms.add(merged, part)
    return found


@lru_cache(maxsize=50_000)
def _anywhere(key: Key) -> Key:
    """The key without the labels that say where it was counted."""
    return Key(key.measure, tuple(p for p in key.labels if p[0] not in ("engine", "target")))
