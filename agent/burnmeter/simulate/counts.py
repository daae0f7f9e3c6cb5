"""What an engine has counted: counters and histograms by name, as its page will print them.

Pure bookkeeping, without labels of the engine or the model: the page adds those. Histograms hold
one count per bucket, not cumulative ones, because one step may observe a thousand equal gaps.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate

from burnmeter.simulate.families import Bounds, Family, bounds_of


class Buckets:
    """One histogram."""

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, `times` times; a bound belongs to its own bucket (`le`)."""
        self._counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def cumulative(self) -> list[int]:
        """Counts at each bound, and last the total."""
        return list(accumulate(self._counts))

    @property
    def count(self) -> int:
        """All that was observed."""
        return sum(self._counts)


class Counts:
    """Counters by (name, value of the family's own label), histograms by name."""

    __slots__ = ("counters", "histograms")

    def __init__(self, families: Iterable[Family], max_model_tokens: int) -> None:
        self.counters: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.histograms = {
            family.name: Buckets(bounds_of(family, max_model_tokens))
            for family in families
            if family.kind == "histogram"
        }

    def add(self, name: str, amount: float = 1.0, value: str = "") -> None:
        """Let a `vllm:` counter grow; `name` is without prefix."""
        self.counters[f"vllm:{name}_total", value] += amount

    def observe(self, name: str, value: float, times: int = 1) -> None:
        """Put into a `vllm:` histogram; `name` is without prefix."""
        self.histograms[f"vllm:{name}"].observe(value, times)

    def total(self, name: str, value: str = "") -> float:
        """How far a `vllm:` counter is."""
        return self.counters[f"vllm:{name}_total", value]
