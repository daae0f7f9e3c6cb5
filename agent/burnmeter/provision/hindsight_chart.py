"""The budget over time and when it paged, as a PNG. Needs matplotlib, which few need (`charts`)."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Any, Final

from burnmeter.errors import BurnmeterError
from burnmeter.provision.hindsight import Hindsight

COLOURS: Final = {"page": "#c0392b", "ticket": "#e6a23c"}
LINE: Final = "#1f5fa8"
WIDTH_INCHES: Final = 10.0
HEIGHT_INCHES: Final = 2.0
MOST: Final = 40
"""Charts below one another; more are no picture."""
LEAST_SHOWN_RATIO: Final = -1.0
"""How far below nothing a budget is drawn."""


class ChartError(BurnmeterError):
    """It cannot be drawn; one sentence with what would help."""


def need() -> Any:
    """matplotlib. Raises ChartError: say so before a Prometheus is asked for minutes."""
    # Before it is there: it tells of its fonts when it is imported for the first time.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    try:
        import matplotlib.dates
        import matplotlib.figure
    except ImportError:
        text = (
            "a chart as a file needs matplotlib; install it with: pip install 'burnmeter[charts]'"
        )
        raise ChartError(text) from None
    return matplotlib


def write(found: Sequence[Hindsight], file: Path) -> None:
    """One chart for each objective and model, below one another. Raises ChartError."""
    matplotlib = need()
    drawn = found[:MOST]
    size = (WIDTH_INCHES, HEIGHT_INCHES * len(drawn) + 0.8)
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for one, ax in zip(drawn, axes, strict=True):
        _draw(one, ax)
    axes[-1].xaxis.set_major_formatter(
        matplotlib.dates.ConciseDateFormatter(axes[-1].xaxis.get_major_locator())
    )
    figure.supxlabel("UTC", fontsize=8)
    try:
        figure.savefig(file, format="png", dpi=110)
    except OSError as error:
        raise ChartError(f"{file}: cannot be written: {error.strerror or error}") from None


def _draw(one: Hindsight, ax: Any) -> None:
    grid = one.grid
    # More points than a picture has dots only cost time.
    every = max(1, len(one.left_upper) // 4000)
    picked = range(0, len(one.left_upper), every)
    moments = [_moment(grid.at(grid.first + index)) for index in picked]
    lower = [100 * one.left_lower[index] for index in picked]
    upper = [100 * one.left_upper[index] for index in picked]
    ax.fill_between(moments, lower, upper, color=LINE, alpha=0.2, linewidth=0)
    ax.plot(moments, upper, color=LINE, linewidth=1.2)
    for alert in one.alerts:
        end = grid.end_seconds if alert.cleared_seconds is None else alert.cleared_seconds
        begin, colour = alert.fired_seconds, COLOURS[alert.severity]
        ax.axvspan(_moment(begin), _moment(end), color=colour, alpha=0.3, linewidth=0)
        if alert.severity == "page":
            ax.axvline(_moment(begin), color=colour, linewidth=1)
    ax.axhline(0, color="#888888", linewidth=0.8)
    known = [value for value in lower if not isnan(value)]
    lowest = max(100 * LEAST_SHOWN_RATIO, min([0.0, *known]))
    ax.set_ylim(lowest - 5, 105)
    ax.set_xlim(_moment(grid.begin_seconds), _moment(grid.end_seconds))
    ax.set_ylabel("budget left, %", fontsize=8)
    ax.tick_params(labelsize=8)
    pages, tickets = one.number("page"), one.number("ticket")
    # A name may hold a dollar, which would begin a formula.
    name = f"{one.objective.name} of {one.model}".replace("$", r"\$")
    title = f"{name}; pages, red: {pages}; tickets, yellow: {tickets}"
    ax.set_title(title, fontsize=9, loc="left")


def _moment(at_seconds: float) -> datetime:
    return datetime.fromtimestamp(at_seconds, UTC)
