"""Totals at two ticks -> what each model did between them, all targets together. Pure.

The window is the recent one (`recent_seconds`), for rates and ratios that people look at; burn has
ledgers of its own (slo.py). Keys are grouped by model once a tick, not searched once a number.

Surprising: a model that appeared within the window is compared with its own first tick, and one
that has only one tick has done nothing that we know of: None, not zero.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from itertools import pairwise
from operator import sub
from typing import Final, TypeVar

from burnmeter import attribution, catalog, histograms, made, paces
from burnmeter.growth import model_of
from burnmeter.model import Histogram, Key, Share, Spend
from burnmeter.paces import Pace
from burnmeter.state import Past

WHOLE_RATIO: Final = 1e-6
"""Of GPU time: what floating point leaves of nothing."""
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
    spends: Mapping[str, Spend] = field(default_factory=dict)
    """State -> what its GPUs used in it."""
    held_seconds: float = 0.0
    """How long it has had GPUs: `seconds` at the most."""
    made: Mapping[str, float] = field(default_factory=dict)
    """Vantage -> tokens that these GPUs made, as it counts them."""
    pace: Pace | None = None
    """Tokens and the time that requests ran for them, at the vantage that was asked for."""
    roofline: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(target, work) -> what roofline_seconds_total grew by."""
    generating: frozenset[str] = frozenset()
    """Targets whose generated tokens grew."""
    earned: float | None = None
    """Dollars that its tokens brought since first sight; None: they have no price."""
    earned_lately: float | None = None

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

    @property
    def spend(self) -> Spend:
        """What its GPUs used, busy and idle. Joules and dollars None: not known of all the time."""
        total = attribution.total(self.spends.values())
        return total._replace(
            joules=total.joules if _is_whole(total.metered_seconds, total) else None,
            dollars=total.dollars if _is_whole(total.priced_seconds, total) else None,
        )


def _is_whole(seconds: float, of: Spend) -> bool:
    """Not less, and not more either: then some of it is of before the window."""
    return of.gpu_seconds > 0 and abs(seconds / of.gpu_seconds - 1.0) <= WHOLE_RATIO


def by_model(past: Sequence[Past]) -> dict[str, Recent]:
    """Every model that has counters, by name."""
    now = past[-1]
    counters = _grouped(now.counters, lambda key: model_of(key.labels))
    hists = _grouped(now.histograms, lambda key: model_of(key.labels))
    shares = _grouped(now.spends, lambda share: share.model)
    found = {
        model: _recent(model, keys, hists.get(model, ()), shares.get(model, ()), past)
        for model, keys in counters.items()
    }
    return {model: _with_work(_with_revenue(did, past), past) for model, did in found.items()}


def whole(past: Sequence[Past], wanted: Collection[paces.Where]) -> dict[str, Recent]:
    """What GPUs used and made for each of these models as a vantage counts it, and nothing else.

    Over as much of the window as lies between two ticks at which all tokens were told; 0 seconds
    where that is not so now, or was not before.
    """
    now = past[-1]
    shares = _grouped(now.spends, lambda share: share.model)
    return {where[0]: _whole(where, shares.get(where[0], ()), past) for where in wanted}


def _whole(where: paces.Where, shares: Sequence[Share], past: Sequence[Past]) -> Recent:
    model, now = where[0], past[-1]
    then = next((one for one in past if where in one.whole), now)
    if then is now or where not in now.whole:
        return Recent(model=model)
    pace, before = now.paces.get(where), then.paces.get(where, Pace(0.0, 0.0))
    return Recent(
        model=model,
        seconds=now.at_seconds - then.at_seconds,
        spends=_spent(shares, now, then),
        made=_made(model, now, then),
        pace=Pace(*map(sub, pace, before)) if pace is not None else None,
    )


def _with_revenue(did: Recent, past: Sequence[Past]) -> Recent:
    """With what its tokens brought, in all and lately."""
    totals = [_earned(one.revenue, did.model) for one in past]
    then = next((total for total in totals if total is not None), None)
    now = totals[-1]
    lately = now - then if now is not None and then is not None else None
    return replace(did, earned=now, earned_lately=lately)


def _with_work(did: Recent, past: Sequence[Past]) -> Recent:
    """With the time that its targets' work takes at the limits of their GPUs."""
    if did.seconds <= 0:
        return did
    now, then = past[-1], past[0]
    found: dict[tuple[str, str], float] = {}
    for key, value in now.roofline.items():
        labels = dict(key.labels)
        if labels["model"] == did.model:
            more = value - then.roofline.get(key, 0.0)
            found[labels["target"], labels["work"]] = more
    return replace(did, roofline={where: more for where, more in found.items() if more > 0})


def _earned(revenue: Mapping[Key, float], model: str) -> float | None:
    found = [value for key, value in revenue.items() if model_of(key.labels) == model]
    return sum(found) if found else None


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
    first = next(n for n, one in enumerate(past) if any(key in one.counters for key in keys))
    then = past[first]
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
        spends=_spent(shares, now, then),
        held_seconds=_held_seconds(shares, past[first:]),
        made=_made(model, now, then),
        generating=frozenset(
            dict(key.labels)["target"]
            for key in keys
            if key.measure == "tokens_total"
            and ("kind", "generated") in key.labels
            and now.counters[key] != then.counters.get(key, 0.0)
        ),
    )


def _made(model: str, now: Past, then: Past) -> dict[str, float]:
    tokens = {vantage: made.key(model, vantage) for vantage in catalog.VANTAGES}
    return {
        vantage: now.made[key] - then.made.get(key, 0.0)
        for vantage, key in tokens.items()
        if key in now.made
    }


def _spent(shares: Sequence[Share], now: Past, then: Past) -> dict[str, Spend]:
    """By state. A share that is there no more was put under no model, with all that it had."""
    found: dict[str, Spend] = {}
    for share in shares:
        more = attribution.since(now.spends[share], then.spends.get(share))
        so_far = found.get(share.state)
        found[share.state] = more if so_far is None else attribution.total((so_far, more))
    return found


def _held_seconds(shares: Sequence[Share], past: Sequence[Past]) -> float:
    """Since the tick before the one that first billed it for a GPU."""
    for before, after in pairwise((past[0], *past)):
        if any(share in after.spends for share in shares):
            return past[-1].at_seconds - before.at_seconds
    return 0.0


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
