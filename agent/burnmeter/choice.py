"""Which of several rows are the same events, and which of those count. Pure.

An engine may write one number many times: for every tensor-parallel rank, or at each stage that a
request passes. A dialect says by which labels; here the rows that remain are picked, before
anything is read from them.
"""

import re
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
    for label, stages in dialect.stages:
        rows = _at_first_stage(rows, label, stages)
    if any(label in series.labels for label in dialect.copies for _, series in rows):
        rows = _one_of_each(rows, dialect.copies)
    return rows


def called(own: Iterable[Mapping[str, str]], dialect: Dialect) -> Mapping[str, str]:
    """Where a label of models tells stages apart, a stage's word -> that of the first there.

    `own`: the labels of each of the engine's own series. All stages of a request are one model.
    """
    found: dict[str, str] = {}
    for label, stages in dialect.stages:
        if label in dialect.model_labels:
            values = sorted({labels[label] for labels in own if label in labels})
            words = [value for stage in stages for value in values if stage.fullmatch(value)]
            found |= dict.fromkeys(words, next(iter(words), ""))
    return found


def _at_first_stage(
    rows: Sequence[Row], label: str, stages: Sequence[re.Pattern[str]]
) -> Sequence[Row]:
    """Those of the first stage that is there; rows of none of them are apart and stay."""
    at = [_stage(series.labels.get(label, ""), stages) for _, series in rows]
    first = min((stage for stage in at if stage is not None), default=None)
    return [row for row, stage in zip(rows, at, strict=True) if stage is None or stage == first]


def _stage(value: str, stages: Sequence[re.Pattern[str]]) -> int | None:
    found = (number for number, stage in enumerate(stages) if stage.fullmatch(value))
    return next(found, None)


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
