"""Simulated pairs of baseline and candidate: requests, bursts and money, slice by slice.

Hard on purpose: load that varies by the slice, slowness that lasts and that both sides share or
only one has, errors in clusters, a few slices that cost many times as much. Nothing here knows how
a verdict is reached.
"""

import math
import random
from dataclasses import dataclass

from burnmeter.provision.canary import Side, Slice

SLICE_SECONDS = 60.0


@dataclass(frozen=True)
class Traffic:
    """One kind of it. Both sides are alike but for the part of requests that each gets."""

    per_slice: float = 60.0
    candidate_part: float = 1.0
    """Requests of the candidate, for one of the baseline."""
    uneven: float = 0.5
    """How much load varies from slice to slice: the relative standard deviation of its mean."""
    slow: float = 0.06
    error: float = 0.01
    cluster: int = 1
    """Errors come so many at once."""
    shared_burst: float = 0.1
    """How often a slice is in a burst of slowness of both sides."""
    own_burst: float = 0.1
    """How often in one of one side only."""
    burst_slices: float = 1.0
    """How long such a burst lasts, on average."""
    tail: float = 3.0
    """Pareto exponent of what a slice costs beyond its base."""
    tokens: float = 0.3
    """How much tokens per request vary from slice to slice, as a logarithm's deviation."""


KINDS = {
    "steady": Traffic(uneven=0.1, shared_burst=0.0, own_burst=0.0),
    "bursts of both": Traffic(shared_burst=0.2, own_burst=0.0),
    "bursts of one": Traffic(),
    "bursts of two minutes": Traffic(burst_slices=2.0),
    "a tenth to the candidate": Traffic(per_slice=300, candidate_part=0.1),
    "little traffic": Traffic(per_slice=4, uneven=0.3),
    "few errors, in clusters": Traffic(per_slice=120, error=0.002, cluster=3),
    "costs with a heavy tail": Traffic(tail=1.5),
}


@dataclass(frozen=True)
class Worse:
    """What the candidate does worse."""

    slow: float = 0.0
    """Added to its share."""
    error: float = 0.0
    cost_ratio: float = 1.0


EQUAL = Worse()


def poisson(rng: random.Random, mean: float) -> int:
    """By multiplying where it is small, by a normal above."""
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def bursts(rng: random.Random, ratio: float, length: float, slices: int) -> list[bool]:
    """In a burst or not, slice by slice: `ratio` of the time, `length` slices at once."""
    begins = ratio / length / (1 - ratio)
    now, found = rng.random() < ratio, []
    for _ in range(slices):
        found.append(now)
        now = rng.random() >= 1 / length if now else rng.random() < begins
    return found


def pair(
    rng: random.Random, kind: Traffic, worse: Worse = EQUAL, slices: int = 30
) -> dict[str, list[Slice]]:
    """Measure -> slices of one window; only those in which both sides had events."""
    shared = bursts(rng, kind.shared_burst, kind.burst_slices, slices)
    loads = [rng.gammavariate(kind.uneven**-2, kind.uneven**2) for _ in range(slices)]
    base = side(rng, kind, EQUAL, kind.per_slice, loads, shared)
    cand = side(rng, kind, worse, kind.per_slice * kind.candidate_part, loads, shared)
    return {
        measure: [
            Slice(SLICE_SECONDS * number, of_base, of_cand)
            for number, (of_base, of_cand) in enumerate(
                zip(base[measure], cand[measure], strict=True)
            )
            if of_base.whole > 0 and of_cand.whole > 0
        ]
        for measure in base
    }


def side(
    rng: random.Random,
    kind: Traffic,
    worse: Worse,
    per_slice: float,
    loads: list[float],
    shared: list[bool],
) -> dict[str, list[Side]]:
    """Measure -> one side in every slice."""
    own = bursts(rng, kind.own_burst, kind.burst_slices, len(loads))
    found: dict[str, list[Side]] = {name: [] for name in ("ttft", "tpot", "errors", "cost")}
    for load, both, one in zip(loads, shared, own, strict=True):
        requests = poisson(rng, per_slice * load)
        slow = kind.slow + worse.slow + 0.3 * both * rng.random() + 0.3 * one * rng.random()
        for name in ("ttft", "tpot"):
            found[name].append(Side(min(poisson(rng, requests * slow), requests), requests))
        clusters = poisson(rng, requests * (kind.error + worse.error) / kind.cluster)
        found["errors"].append(Side(min(clusters * kind.cluster, requests), requests))
        tokens = requests * 200.0 * rng.lognormvariate(0, kind.tokens)
        dollars = (per_slice + rng.paretovariate(kind.tail) * 0.3 * per_slice) * worse.cost_ratio
        found["cost"].append(Side(dollars * (1 + 0.5 * load) * 1e-4, tokens))
    found["energy"] = [
        Side(200 * cost.part * rng.lognormvariate(0, 0.05) * 1e4, cost.whole)
        for cost in found["cost"]
    ]
    return found
