"""What a GPU of this node costs, and what a model's tokens bring, by all who have a say. Pure.

The first that knows the GPU, in this order: the file of prices, then the config, each by a label of
the node, as an owned GPU, by its name, by its default; last the list that ships with the program.
Surprising: what an owned GPU costs depends on the energy it took, so a price has two parts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from burnmeter.boards import find
from burnmeter.config_prices import Owned, Prices, TokenPrices
from burnmeter.prices import shipped
from burnmeter.units import SECONDS_PER_DAY, SECONDS_PER_HOUR

DAYS_PER_YEAR: Final = 365.25
HOURS_PER_YEAR: Final = DAYS_PER_YEAR * SECONDS_PER_DAY / SECONDS_PER_HOUR
JOULES_PER_KILOWATT_HOUR: Final = 1000.0 * SECONDS_PER_HOUR


class Price(NamedTuple):
    """What one GPU costs."""

    dollars_per_hour: float
    """Whatever it does."""
    dollars_per_joule: float
    """On top, for the energy that it takes; 0 where that is in the rent."""
    source: str
    """For people."""
    is_listed: bool = False
    """By the shipped list, which is nobody's word."""

    @property
    def text(self) -> str:
        """Both parts, and by whose word, for people."""
        parts = f"{self.dollars_per_hour:g} dollars an hour"
        if self.dollars_per_joule > 0:
            per_kilowatt_hour = self.dollars_per_joule * JOULES_PER_KILOWATT_HOUR
            parts += f" and {per_kilowatt_hour:g} dollars per kWh"
        return f"{parts} by {self.source}"

    def dollars(self, seconds: float, joules: float | None) -> float:
        """Of so much time and energy; energy that is not known is not in it."""
        return self.dollars_per_hour * seconds / SECONDS_PER_HOUR + self.dollars_per_joule * (
            joules if joules is not None else 0.0
        )


def books(said: Prices | None, config: Prices) -> tuple[Prices, ...]:
    """All who have a say, the first to be asked first. `said`: by the file of prices."""
    return (config,) if said is None else (said, config)


def price(name: str, books: Sequence[Prices], labels: Mapping[str, str]) -> Price | None:
    """Of the GPU that NVML calls `name`. None: not known.

    Of `books` the first is asked first, and the last is the config.
    """
    for book in books:
        found = _in(book, name, labels, books)
        if found is not None:
            return found
    listed = find(name, shipped().gpus)
    if listed is None:
        return None
    return Price(listed.dollars_per_hour, 0.0, f"the shipped list of {listed.date}", True)


def _in(
    book: Prices, name: str, labels: Mapping[str, str], books: Sequence[Prices]
) -> Price | None:
    whose = "the config" if book is books[-1] else "the file of prices"
    for one in book.by_node_label:
        if labels.get(one.label) == one.value:
            label = f"the node label {one.label}={one.value}"
            return Price(one.gpu_dollars_per_hour, 0.0, f"{whose}, by {label}")
    owned = find(name, book.owned)
    if owned is not None:
        return _owned(owned, books)
    rented = find(name, book.gpu_dollars_per_hour)
    if rented is not None:
        return Price(rented, 0.0, f"{whose}, by the GPU's name")
    if book.default_gpu_dollars_per_hour is not None:
        return Price(book.default_gpu_dollars_per_hour, 0.0, f"{whose}, by its default")
    return None


def _owned(owned: Owned, books: Sequence[Prices]) -> Price:
    """Written off evenly over its life; power and PUE each by the first book that says it."""
    per_hour = owned.capital_dollars / (owned.lifetime_years * HOURS_PER_YEAR)
    dollars = _first(book.electricity_dollars_per_kilowatt_hour for book in books)
    said_ratio = _first(book.power_usage_effectiveness_ratio for book in books)
    ratio = 1.0 if said_ratio is None else said_ratio
    parts = [f"{owned.capital_dollars:g} dollars over {owned.lifetime_years:g} years"]
    if owned.overhead_dollars_per_hour > 0:
        parts.append(f"{owned.overhead_dollars_per_hour:g} an hour overhead")
    if dollars is None:
        parts.append("without power")
    else:
        building = f" x {ratio:g} (PUE)" if ratio > 1 else ""
        parts.append(f"and power at {dollars:g} dollars per kWh{building}")
    return Price(
        per_hour + owned.overhead_dollars_per_hour,
        0.0 if dollars is None else dollars * ratio / JOULES_PER_KILOWATT_HOUR,
        f"what it cost: {', '.join(parts)}",
    )


def _first(said: Iterable[float | None]) -> float | None:
    return next((value for value in said if value is not None), None)


def tokens(model: str, books: Sequence[Prices]) -> TokenPrices | None:
    """What a model's tokens bring; None: nobody said."""
    return next((book.tokens[model] for book in books if model in book.tokens), None)
