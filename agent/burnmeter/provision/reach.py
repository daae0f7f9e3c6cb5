"""When a tier fires and clears, at a steady share of failures: what the rules promise. Pure.

It assumes steady traffic, and a long window without errors before; the workbook's formula. The
table that `burnmeter rules` prints and the times that generated tests expect come from here.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from burnmeter.located import shown
from burnmeter.model import Objective
from burnmeter.provision.conventions import duration
from burnmeter.slo import Tier, span_words, tiers

ERROR_RATIOS: Final = (1.0, 0.5, 0.1)
"""For which the table says how long a page takes."""


class Promise(NamedTuple):
    """One tier of one objective."""

    objective: Objective
    tier: Tier
    trip_ratio: float
    """With a greater share of failures it fires."""
    spent_ratio: float
    """Of the period's budget, when it fires."""


def promises(objective: Objective) -> tuple[Promise, ...]:
    """What each tier of an objective promises."""
    budget = 1.0 - objective.objective_ratio
    return tuple(
        Promise(
            objective,
            tier,
            tier.factor * budget,
            tier.factor * tier.long_seconds / objective.period_seconds,
        )
        for tier in tiers(objective)
    )


def fires_after_seconds(promise: Promise, error_ratio: float) -> float | None:
    """From the first error on. None: never, so few errors are within reach of other tiers only."""
    if error_ratio <= promise.trip_ratio * (1 + 1e-9):
        return None
    return promise.tier.long_seconds * promise.trip_ratio / error_ratio


def clears_after_seconds(promise: Promise, error_ratio: float) -> float:
    """From the last error on, if it fired and the errors lasted as long as the short window."""
    return promise.tier.short_seconds * (1 - promise.trip_ratio / error_ratio)


def first(found: Iterable[Promise], severity: str, error_ratio: float) -> float | None:
    """Seconds until the first tier of a severity fires; None: none does."""
    times = [
        seconds
        for one in found
        if one.tier.severity == severity
        and (seconds := fires_after_seconds(one, error_ratio)) is not None
    ]
    return min(times, default=None)


NAME_SIGNS: Final = 12
"""What of a name still fits beside the figures in 80 columns."""
HEAD: Final = ("objective", "tier", "windows", "factor", "trips at", "100%", "50%", "10%", "budget")


def table(objectives: Iterable[Objective]) -> list[str]:
    """The promises as lines, 80 columns wide: what trips each tier, and how soon."""
    rows = [HEAD, *(row for one in objectives for row in _rows(one))]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    return [_line(row, widths) for row in rows]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if place < 3 else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _rows(objective: Objective) -> Iterable[tuple[str, ...]]:
    cut = shown(objective.name, limit=NAME_SIGNS)
    name = f"{cut} {objective.objective_ratio:.6g}"
    for one in promises(objective):
        times = [fires_after_seconds(one, ratio) for ratio in ERROR_RATIOS]
        mark = "*" if one.tier.rewritten else ""
        spans = f"{duration(one.tier.long_seconds)}, {duration(one.tier.short_seconds)}"
        yield (
            name,
            one.tier.severity + mark,
            spans,
            f"{one.tier.factor:.4g}",
            f"{one.trip_ratio:.4g}",
            *("never" if seconds is None else short(seconds) for seconds in times),
            f"{one.spent_ratio:.3g}",
        )
        name = ""


def short(seconds: float) -> str:
    """52s, 8.6m, 3.6h: with two digits that count."""
    for size, word in ((3600.0, "h"), (60.0, "m")):
        if seconds >= 2 * size:
            return f"{_two_digits(seconds / size)}{word}"
    return f"{seconds:.0f}s"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")


def rewritten(objectives: Iterable[Objective]) -> list[str]:
    """A sentence for each tier that is not the workbook's, and why."""
    return [
        f"{one.objective.name}: a {one.tier.severity} tier was rewritten to"
        f" {one.tier.factor:.3g} over {span_words(one.tier.long_seconds)} and"
        f" {span_words(one.tier.short_seconds)}: {one.tier.rewritten}"
        for objective in objectives
        for one in promises(objective)
        if one.tier.rewritten is not None
    ]
