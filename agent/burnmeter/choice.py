"""Which of several rows are the same events, and which of those count. Pure.

An engine may write one number many times: for every tensor-parallel rank, once per priority and
once as their total, at each stage that a request passes. A dialect says by which labels; here the
rows that remain are picked, before anything is read from them.
"""

from collections.abc import Iterable, Mapping, Sequence

from burnmeter.dialects import Dialect
from burnmeter.page import Series

Row = tuple[int, Series]
"""Where a series stands on its page, and the series."""
Group = tuple[tuple[str, str], ...]


def chosen(rows: Sequence[Row], dialect: Dialect) -> Sequence[Row]:
    """Of rows of one name, those that count."""
    if len(rows) < 2:
        return rows
    for label, values in dialect.stages:
        rows = _at_first_stage(rows, label, values)
    for label, value in dialect.totals:
        rows = _totals(rows, label, value)
    if any(label in series.labels for label in dialect.copies for _, series in rows):
        rows = _one_of_each(rows, dialect.copies)
    return rows


def _at_first_stage(rows: Sequence[Row], label: str, values: Sequence[str]) -> Sequence[Row]:
    """The first of `values` that is there; rows with none of them are apart and stay."""
    there = {series.labels.get(label) for _, series in rows}
    first = next((value for value in values if value in there), None)
    return [
        (index, series)
        for index, series in rows
        if (value := series.labels.get(label)) == first or value not in values
    ]


def _totals(rows: Sequence[Row], label: str, value: str) -> Sequence[Row]:
    """Where a row is the sum of its siblings, only that row."""
    found: list[Row] = []
    for siblings in _grouped(rows, (label,)).values():
        sums = [row for row in siblings if row[1].labels.get(label, "") == value]
        found += sums or siblings
    return sorted(found, key=lambda row: row[0])


def _one_of_each(rows: Sequence[Row], labels: Sequence[str]) -> Sequence[Row]:
    """Of rows that differ in these labels only, the one with the lowest."""

    def rank(row: Row) -> tuple[tuple[int, str], ...]:
        values = (row[1].labels.get(label, "") for label in labels)
        return tuple((len(value), value) for value in values)  # rank 10 is after rank 9

    groups = _grouped(rows, labels).values()
    return sorted((min(copies, key=rank) for copies in groups), key=lambda row: row[0])


def _grouped(rows: Iterable[Row], without: Sequence[str]) -> Mapping[Group, list[Row]]:
    """Rows by all their labels but these."""
    found: dict[Group, list[Row]] = {}
    for row in rows:
        pairs = row[1].labels.items()
        key = tuple(sorted(pair for pair in pairs if pair[0] not in without))
        found.setdefault(key, []).append(row)
    return found
