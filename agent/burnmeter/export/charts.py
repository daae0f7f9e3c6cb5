"""The geometry of the live page's small charts: numbers in, SVG coordinates out.

It draws nothing (web_files/macros.html does) and reads no Snapshot. What was not measured is a gap
in the line and a shaded span, never a line through it.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import log10
from typing import Final, NamedTuple

WIDTH: Final = 240.0
HEIGHT: Final = 56.0

Moments = Sequence[tuple[float, float | None]]
"""Timestamp and value, oldest first. None: not measured."""


class Chart(NamedTuple):
    """One line over time, in a box of WIDTH by HEIGHT."""

    line: str
    area: str
    gaps: tuple[tuple[float, float], ...]
    """Left edge and width of each span without a value."""
    end: tuple[float, float] | None
    """Where the line ends, if the last moment was measured."""
    reference: float | None
    """Height of the reference line."""
    top: float
    """The value at the upper edge."""
    first: float | None
    last: float | None
    lowest: float | None
    highest: float | None
    seconds: float


def chart(moments: Moments, *, reference: float | None = None, is_stepped: bool = False) -> Chart:
    """Lay out `moments` from 0 up, high enough for the highest value and for `reference`."""
    values = [value for _, value in moments if value is not None]
    top = max([*values, (reference or 0.0) * 1.25], default=0.0) or 1.0
    placed = _placed(moments, top)
    runs = list(_runs(placed))
    return Chart(
        line="".join(_path(run, is_stepped) for run in runs),
        area="".join(_area(run, is_stepped) for run in runs),
        gaps=tuple(_gaps(placed)),
        end=_end(placed),
        reference=None if reference is None else HEIGHT - reference / top * (HEIGHT - 4),
        top=top,
        first=values[0] if values else None,
        last=moments[-1][1] if moments else None,
        lowest=min(values, default=None),
        highest=max(values, default=None),
        seconds=_seconds(moments),
    )


class Spark(NamedTuple):
    """One line as high as a word, in a box of WIDTH by HEIGHT, from 0 to the whole."""

    line: str
    gaps: tuple[tuple[float, float], ...]
    end: tuple[float, float] | None
    lowest: float | None
    highest: float | None
    seconds: float


def spark(moments: Moments, whole: float | None) -> Spark:
    """Lay out `moments`, which are parts of `whole`; where it is not known, up to the highest.

    To whole units of its box: there are two of them per GPU, and they are a hundred pixels wide.
    """
    values = [value for _, value in moments if value is not None]
    top = max([*values, whole or 0.0], default=0.0) or 1.0
    placed = _placed(moments, top)
    return Spark(
        line="".join(
            "M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in (run if len(run) > 1 else run * 2))
            for run in _runs(placed)
        ),
        gaps=tuple(_gaps(placed)),
        end=_end(placed),
        lowest=min(values, default=None),
        highest=max(values, default=None),
        seconds=_seconds(moments),
    )


Placed = list[tuple[float, float | None]]


def _seconds(moments: Moments) -> float:
    return moments[-1][0] - moments[0][0] if moments else 0.0


def _placed(moments: Moments, top: float) -> Placed:
    seconds = _seconds(moments)
    return [
        (
            (at - moments[0][0]) / seconds * WIDTH if seconds > 0 else WIDTH,
            None if value is None else HEIGHT - value / top * (HEIGHT - 4),
        )
        for at, value in moments
    ]


def _end(placed: Placed) -> tuple[float, float] | None:
    x, y = placed[-1] if placed else (0.0, None)
    return None if y is None else (x, y)


def _runs(placed: Placed) -> Iterator[list[tuple[float, float]]]:
    """The stretches without a gap."""
    for is_measured, run in groupby(placed, key=lambda point: point[1] is not None):
        if is_measured:
            yield [(x, y) for x, y in run if y is not None]


def _gaps(placed: Placed) -> Iterator[tuple[float, float]]:
    """Each gap reaches from the last measured moment before it to the first one after it."""
    place = 0
    for is_measured, run in groupby(placed, key=lambda point: point[1] is not None):
        length = len(list(run))
        if not is_measured:
            left = placed[max(place - 1, 0)][0]
            right = placed[min(place + length, len(placed) - 1)][0]
            yield round(left, 1), round(right - left, 1)
        place += length


def _path(run: list[tuple[float, float]], is_stepped: bool) -> str:
    (x, y), *rest = run
    parts = [f"M{x:.1f} {y:.1f}"]
    # A lone point needs a length of zero to be drawn, as a dot, by its round cap.
    for x, y in rest or run:
        parts.append(f"H{x:.1f}V{y:.1f}" if is_stepped else f"L{x:.1f} {y:.1f}")
    return "".join(parts)


def _area(run: list[tuple[float, float]], is_stepped: bool) -> str:
    return f"{_path(run, is_stepped)}V{HEIGHT:.0f}H{run[0][0]:.1f}Z"


def burn_width(burn: float | None) -> float:
    """Length of a burn's bar, 0 to 100: logarithmic, so that 1 and 14.4 are both seen."""
    if burn is None or burn <= 0:
        return 0.0
    return round(min(100.0, log10(1 + burn) / log10(101) * 100), 1)


def bar_width(ratio: float | None) -> float:
    """Length of a ratio's bar, 0 to 100."""
    return 0.0 if ratio is None else round(min(max(ratio, 0.0), 1.0) * 100, 1)
