"""Tables of `burnmeter top` as text of a given width: order, filter, columns. Pure; no Snapshot.

A section is rows of cells by the names of their columns. A form says which columns are shown, from
left to right, and which stand above one another where the screen is narrow. Colour is not known
here: a span has a tone, and whatever a tone means is in the text as well, as a shape and a word.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from burnmeter.located import shown

SHAPES: Final = {"burning": "▲", "down": "✕", "look": "!", "not_measured": "○", "good": "●"}
"""A state -> what stands before its word."""
RANK: Final = {state: place for place, state in enumerate(SHAPES)}
"""Worst first."""
NOTE: Final = "note"
"""The column that becomes a line of its own where a form has no place for it."""
GAP: Final = 2
"""Between columns; one place less where something would be cut otherwise."""
LEAST_TEXT: Final = 8
"""A column of text is not made narrower than that."""
NOTE_WIDTH: Final = 24
"""What a note is left with before the columns are drawn together."""
LONGEST: Final = 2000
HEAD: Final = "head"

Span = tuple[str, str]
"""A text and its tone: a state, HEAD, or "" for neither."""
Line = tuple[Span, ...]
Form = tuple[tuple[str, ...], ...]
"""Columns from left to right; those of one tuple stand above one another."""


class Cell(NamedTuple):
    """What is said in one place, and by what it is put in order; None: last, whichever way."""

    text: str
    order: float | str | None = None
    tone: str = ""


class Column(NamedTuple):
    """Of numbers: on the right, and the largest first."""

    name: str
    title: str
    is_number: bool = False
    most: int = 30
    """How wide it may be."""
    is_whole: bool = False
    """A text that is never cut to make room for others."""


class Row(NamedTuple):
    """One thing. `note`: what is wrong with it, in a sentence."""

    key: str
    state: str
    cells: Mapping[str, Cell]
    note: str = ""


class Section(NamedTuple):
    """One kind of things. `forms`: least width of the screen -> form."""

    name: str
    number: int
    """The key that shows it."""
    title: str
    counted: str
    columns: Mapping[str, Column]
    forms: Mapping[int, Form]
    rows: tuple[Row, ...]
    empty: str


class Order(NamedTuple):
    """By which column; None: as the section has them."""

    column: str | None = None
    is_reversed: bool = False


AS_IT_IS: Final = Order()


class Laid(NamedTuple):
    """A row as lines of a table."""

    key: str
    lines: tuple[Line, ...]


class Table(NamedTuple):
    """A section as text."""

    header: tuple[Line, ...]
    rows: tuple[Laid, ...]


def columns(*found: Column) -> dict[str, Column]:
    """By their names."""
    return {column.name: column for column in found}


def side_by_side(*names: str) -> Form:
    """A form of one line: the columns of some words, from left to right."""
    return tuple((name,) for text in names for name in text.split())


def state_cell(state: str, word: str) -> Cell:
    """Shape and word."""
    return Cell(f"{SHAPES.get(state, '○')} {word}", RANK.get(state, len(RANK)), state)


def visible(text: str) -> str:
    """The text with nothing in it that steers a terminal: engines choose some of the words."""
    return shown(text, limit=LONGEST)


def breadth(text: str) -> int:
    """How many places of a terminal it takes."""
    if text.isascii():
        return len(text)
    return sum(map(_breadth, text))


def _breadth(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def cut(text: str, width: int) -> str:
    """At most so wide, with a sign that something is missing."""
    text = visible(text)
    if breadth(text) <= width:
        return text
    while text and breadth(text) > width - 1:
        text = text[:-1]
    return f"{text.rstrip()}…" if width > 0 else ""


def form_of(section: Section, width: int) -> Form:
    """The one for the widest screen that this one is."""
    return section.forms[max(least for least in section.forms if least <= max(width, 0))]


def shown_columns(section: Section, width: int) -> tuple[str, ...]:
    """Names of the columns on a screen of that width, in the order in which they are read."""
    return tuple(name for stack in form_of(section, width) for name in stack if name != NOTE)


# --- which rows, in which order ------------------------------------------------------------------


def filtered(rows: Iterable[Row], text: str) -> tuple[Row, ...]:
    """Those that have every word of a text anywhere, in letters of any case."""
    wanted = text.casefold().split()
    return tuple(row for row in rows if all(word in _searched(row) for word in wanted))


def _searched(row: Row) -> str:
    return "\n".join([*(cell.text for cell in row.cells.values()), row.note]).casefold()


def ordered(section: Section, rows: Sequence[Row], order: Order) -> tuple[Row, ...]:
    """By a column: numbers the largest first, words from A, what is not known last."""
    if order.column is None or order.column not in section.columns:
        return tuple(reversed(rows)) if order.is_reversed else tuple(rows)
    column = section.columns[order.column]
    known = [row for row in rows if _order(row, column) is not None]
    lacks = [row for row in rows if _order(row, column) is None]
    is_falling = column.is_number != order.is_reversed
    known.sort(key=lambda row: _key(_order(row, column)), reverse=is_falling)
    return (*known, *lacks)


def _order(row: Row, column: Column) -> float | str | None:
    cell = row.cells.get(column.name)
    return None if cell is None else cell.order


def _key(value: float | str | None) -> tuple[float, str]:
    return (0.0, value.casefold()) if isinstance(value, str) else (value or 0.0, "")


# --- text ----------------------------------------------------------------------------------------


def table(section: Section, width: int, order: Order = AS_IT_IS, text: str = "") -> Table:
    """The rows that have a text in them, in an order, as lines of a screen of that width."""
    rows = ordered(section, filtered(section.rows, text), order)
    form = form_of(section, width)
    titles = {name: _titled(column, order) for name, column in section.columns.items()}
    grid = _grid(section, form, rows, titles, width)
    head = {name: Cell(title, tone=HEAD) for name, title in titles.items()}
    return Table(
        header=_lines(section, grid, head),
        rows=tuple(Laid(row.key, _row(section, grid, row, width)) for row in rows),
    )


class _Grid(NamedTuple):
    """A form with the widths of its columns."""

    form: Form
    widths: tuple[int, ...]
    gap: int


def _titled(column: Column, order: Order) -> str:
    if column.name != order.column:
        return column.title
    return f"{column.title} {'↓' if column.is_number != order.is_reversed else '↑'}"


def _row(section: Section, grid: _Grid, row: Row, width: int) -> tuple[Line, ...]:
    has_place = any(NOTE in stack for stack in grid.form)
    cells = {**row.cells, NOTE: Cell(row.note)} if has_place else row.cells
    lines = _lines(section, grid, cells)
    if row.note and not has_place:
        lines = (*lines, ((cut(f"  {row.note}", width), row.state),))
    return lines


def _lines(section: Section, grid: _Grid, cells: Mapping[str, Cell]) -> tuple[Line, ...]:
    gap = (" " * grid.gap, "")
    lines = []
    for level in range(max(map(len, grid.form))):
        line: list[Span] = []
        for stack, width in zip(grid.form, grid.widths, strict=True):
            line += [gap] if line else []
            line += _spans(section, stack[level : level + 1], cells, width)
        lines.append(tuple(span for span in line if span[0]))
    return tuple(lines)


def _spans(
    section: Section, names: tuple[str, ...], cells: Mapping[str, Cell], width: int
) -> tuple[Span, Span]:
    """A cell in its place."""
    cell = cells.get(names[0], Cell("")) if names else Cell("")
    text = cut(cell.text, width)
    spare = (" " * (width - breadth(text)), "")
    is_right = bool(names) and section.columns[names[0]].is_number
    return (spare, (text, cell.tone)) if is_right else ((text, cell.tone), spare)


def _grid(
    section: Section, form: Form, rows: Sequence[Row], titles: Mapping[str, str], width: int
) -> _Grid:
    """As wide as what is in them; text gives way where that is too much, the widest first."""
    found = [
        max(_width(section.columns[name], rows, titles[name]) for name in stack) for stack in form
    ]
    able = [
        place
        for place, stack in enumerate(form)
        if not any(section.columns[name].is_number for name in stack)
        and not any(section.columns[name].is_whole for name in stack)
    ]
    # A sentence is cut before the columns are drawn together for it.
    needs = sum(
        min(size, NOTE_WIDTH) if NOTE in stack else size
        for size, stack in zip(found, form, strict=True)
    )
    gap = GAP if needs + GAP * (len(form) - 1) <= width else 1
    excess = sum(found) + gap * (len(form) - 1) - width
    while excess > 0 and able:
        place = max(able, key=lambda one: found[one])
        if found[place] <= LEAST_TEXT:
            break
        found[place] -= 1
        excess -= 1
    return _Grid(form, tuple(found), gap)


def _width(column: Column, rows: Sequence[Row], title: str) -> int:
    if column.name == NOTE:
        texts = [row.note for row in rows]
    else:
        texts = [row.cells[column.name].text for row in rows if column.name in row.cells]
    widest = max((breadth(visible(text)) for text in texts), default=0)
    return max(breadth(title), min(widest, column.most))


# --- room on the screen --------------------------------------------------------------------------


def rooms(wanted: Sequence[int], lines: int, least: int = 0) -> list[int]:
    """How many lines each gets of those that there are: what it wants, or a fair share.

    Where not everybody would get the least, all get what they want, and somebody must scroll.
    """
    if sum(min(want, least) for want in wanted) > max(0, lines):
        return list(wanted)
    given = [0] * len(wanted)
    hungry = set(range(len(wanted)))
    while hungry and lines > 0:
        share = max(1, lines // len(hungry))
        for place in sorted(hungry):
            more = min(share, wanted[place] - given[place], lines)
            given[place] += more
            lines -= more
            if given[place] >= wanted[place]:
                hungry.discard(place)
    return given
