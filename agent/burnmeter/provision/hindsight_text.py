"""What alerts would have done, for people in 80 columns and for machines. It decides nothing.

All times are UTC, and said to be. What is not known exactly is shown as two numbers.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from math import isnan
from typing import Any, Final

from burnmeter.provision.conventions import SEVERITIES
from burnmeter.provision.hindsight import Alert, Hindsight, Points
from burnmeter.provision.history import Refused
from burnmeter.slo import span_words

WIDTH: Final = 80
CHART_COLUMNS: Final = 60
BLOCKS: Final = " ▁▂▃▄▅▆▇█"
NOTHING: Final = "·"
MARKS: Final = {"page": "P", "ticket": "t"}
MOST_ALERTS: Final = 40
"""Of one objective and model; --json has them all."""
MOST_JSON_POINTS: Final = 1000
UNKNOWN: Final = "-"
COLUMNS: Final = (
    ("objective", 13),
    ("model", 18),
    ("spent", 10),
    ("pages", 5),
    ("tickets", 7),
    ("a week", 6),
    ("longest", 7),
    ("unmeas.", 7),
)
"""Of the table, with their widths; the first two are texts."""


def text(found: Sequence[Hindsight], refused: Sequence[Refused]) -> str:
    """Table, alerts and charts."""
    parts = []
    if found:
        grid = found[0].grid
        span = f"{minute(grid.begin_seconds)} to {minute(grid.end_seconds)} UTC"
        parts += [f"{span}, looked at every {span_words(grid.step_seconds)}"]
        parts += ["\n".join(_table(found)), "\n".join(_alerts(found)), "\n".join(_charts(found))]
    if refused:
        rows = (_wrapped(f"{one.objective.name}: {one.reason}", "  ") for one in refused)
        parts.append("\n".join(["not measured:", *rows]))
    return "\n\n".join(parts) + "\n"


def minute(at_seconds: float) -> str:
    """A moment as people write it, in UTC."""
    return datetime.fromtimestamp(at_seconds, UTC).strftime("%Y-%m-%d %H:%M")


# --- table --------------------------------------------------------------------------------------


def _table(found: Sequence[Hindsight]) -> Iterator[str]:
    yield _row([name for name, _ in COLUMNS])
    for one in found:
        weekly, longest = one.pages_per_week, one.longest_page_seconds
        yield _row(
            [
                one.objective.name,
                one.model,
                _spent(one),
                str(one.number("page")),
                str(one.number("ticket")),
                UNKNOWN if weekly is None else f"{weekly:.1f}",
                UNKNOWN if longest is None else brief(longest),
                _share(1.0 - one.measured_ratio),
            ]
        )
    periods = sorted({one.objective.period_seconds for one in found})
    yield _wrapped(
        "spent: of the error budget, within the last"
        f" {' or '.join(map(span_words, periods))}; a week: pages; unmeas.: share of the time"
        " without a count",
        "",
    )


def _row(cells: Sequence[str]) -> str:
    put = []
    for number, (cell, (_, width)) in enumerate(zip(cells, COLUMNS, strict=True)):
        cut = cell if len(cell) <= width else cell[: width - 1] + "…"
        put.append(cut.ljust(width) if number < 2 else cut.rjust(width))
    return " ".join(put).rstrip() if len(put) == 1 else " ".join(put)


def _spent(one: Hindsight) -> str:
    if one.spent is None:
        return UNKNOWN
    least, most = (f"{share:.0%}" for share in one.spent)
    return least if least == most else f"{least.removesuffix('%')}-{most}"


def _share(ratio: float) -> str:
    """A little is never nothing."""
    return f"{ratio:.1%}" if ratio == 0 or ratio >= 0.0005 else "<0.1%"


def brief(seconds: float) -> str:
    """90 -> `2m`, 5400 -> `1h30m`, 187200 -> `2d4h`."""
    minutes = round(seconds / 60)
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days}d{hours % 24}h"
    return f"{hours}h{minutes % 60:02}m" if hours else f"{minutes}m"


# --- alerts -------------------------------------------------------------------------------------


def _alerts(found: Sequence[Hindsight]) -> Iterator[str]:
    yield "alerts, in UTC:" if any(one.alerts for one in found) else "no alert would have fired"
    for one in found:
        if one.alerts:
            yield _cut(f"  {one.objective.name} of {one.model}, by {one.source}")
        for alert in one.alerts[:MOST_ALERTS]:
            yield f"    {_alert(alert, one)}"
        if len(one.alerts) > MOST_ALERTS:
            yield f"    and {len(one.alerts) - MOST_ALERTS} more; --json has them all"


def _alert(alert: Alert, one: Hindsight) -> str:
    """`page    2026-11-03 10:07 - 11:02  55m  worst burn 20`."""
    fired, end = minute(alert.fired_seconds), alert.cleared_seconds
    cleared = "still firing" if end is None else minute(end)
    if cleared[:10] == fired[:10]:
        cleared = cleared[11:]
    since = "since before " if alert.is_from_before else ""
    burn = alert.worst_burn_ratio
    worst = "" if burn is None else f"  worst burn {burn:.3g}"
    span = brief(alert.lasted_seconds(one.grid.end_seconds))
    return f"{alert.severity:7} {since}{fired} - {cleared}  {span}{worst}"


# --- charts -------------------------------------------------------------------------------------


def _charts(found: Sequence[Hindsight]) -> Iterator[str]:
    yield "budget left, full to none; P: it pages, t: a ticket; " + f"{NOTHING}: not known"
    for one in found:
        yield _cut(f"  {one.objective.name} of {one.model}")
        yield f"  |{_bars(one.left_upper)}|"
        marks = _marks(one)
        if marks.strip():
            yield f"   {marks}".rstrip()
    grid = found[0].grid
    begin, end = minute(grid.begin_seconds), minute(grid.end_seconds)
    yield f"   {begin}{end.rjust(CHART_COLUMNS - len(begin))}"


def _bars(points: Points) -> str:
    """The least in each column, so that nothing is hidden; a budget overspent is an empty one."""
    columns = (_column(points, number) for number in range(CHART_COLUMNS))
    lowest = [min((value for value in one if not isnan(value)), default=None) for one in columns]
    return "".join(NOTHING if value is None else _block(value) for value in lowest)


def _block(value: float) -> str:
    steps = len(BLOCKS) - 1
    return BLOCKS[max(0, min(steps, int(value * steps + 0.5)))]


def _column(points: Points, number: int) -> Points:
    first = number * len(points) // CHART_COLUMNS
    return points[first : max(first + 1, (number + 1) * len(points) // CHART_COLUMNS)]


def _marks(one: Hindsight) -> str:
    found = [" "] * CHART_COLUMNS
    grid = one.grid
    width = (grid.end_seconds - grid.begin_seconds + grid.step_seconds) / CHART_COLUMNS
    for severity in reversed(SEVERITIES):  # A page is drawn over a ticket.
        for alert in one.alerts:
            if alert.severity == severity:
                begin = alert.fired_seconds - grid.begin_seconds
                end = begin + alert.lasted_seconds(grid.end_seconds)
                for column in range(int(begin / width), int(end / width) + 1):
                    found[min(column, CHART_COLUMNS - 1)] = MARKS[severity]
    return "".join(found)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _wrapped(line: str, indent: str) -> str:
    """Words in lines of WIDTH, further lines set in."""
    lines = [indent]
    for is_first, words in groupby(enumerate(line.split(" ")), key=lambda pair: pair[0] == 0):
        for _, word in words:
            if not is_first and len(lines[-1]) + 1 + len(word) > WIDTH:
                lines.append(f"{indent}  {word}")
            else:
                lines[-1] += word if is_first else f" {word}"
    return "\n".join(lines)


# --- for machines -------------------------------------------------------------------------------


def as_json(found: Sequence[Hindsight], refused: Sequence[Refused]) -> dict[str, Any]:
    """All of it in base units, budgets at no more than MOST_JSON_POINTS moments."""
    return {
        "objectives": [_json(one) for one in found],
        "not_measured": [{"slo": r.objective.name, "reason": r.reason} for r in refused],
    }


def _json(one: Hindsight) -> dict[str, Any]:
    grid, spent = one.grid, one.spent
    every = max(1, -(-len(one.left_upper) // MOST_JSON_POINTS))
    return {
        "slo": one.objective.name,
        "model": one.model,
        "source": one.source,
        "begin_timestamp_seconds": grid.begin_seconds,
        "end_timestamp_seconds": grid.end_seconds,
        "step_seconds": grid.step_seconds,
        "measured_ratio": one.measured_ratio,
        "budget_spent_lower_ratio": spent[0] if spent is not None else None,
        "budget_spent_upper_ratio": spent[1] if spent is not None else None,
        "pages_per_week": one.pages_per_week,
        "longest_page_seconds": one.longest_page_seconds,
        "alerts": [_alert_json(alert, grid.end_seconds) for alert in one.alerts],
        "budget_left": [
            {
                "timestamp_seconds": grid.at(grid.first + index),
                "lower_ratio": _known(one.left_lower[index]),
                "upper_ratio": _known(one.left_upper[index]),
            }
            for index in range(0, len(one.left_upper), every)
        ],
    }


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _alert_json(alert: Alert, end_seconds: float) -> dict[str, Any]:
    return {
        "severity": alert.severity,
        "fired_timestamp_seconds": alert.fired_seconds,
        "cleared_timestamp_seconds": alert.cleared_seconds,
        "is_from_before": alert.is_from_before,
        "lasted_seconds": alert.lasted_seconds(end_seconds),
        "worst_burn_ratio": alert.worst_burn_ratio,
        "factor": alert.tier.factor,
        "long_seconds": alert.tier.long_seconds,
        "short_seconds": alert.tier.short_seconds,
    }
