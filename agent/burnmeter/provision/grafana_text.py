"""What a push would do, or did, for people in 80 columns and for machines. Pure."""

import difflib
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from burnmeter.provision.grafana_objects import (
    EDITED,
    FAILED,
    FOREIGN,
    LOCKED,
    NEW,
    UNCHANGED,
    UPDATE,
    Document,
)
from burnmeter.provision.grafana_push import CREATED, KEPT, OVERWRITTEN, UPDATED, Report, Row

WIDTH: Final = 80
CONTEXT: Final = 2
INDENT: Final = 11
STATES: Final = (NEW, UPDATE, EDITED, FOREIGN, LOCKED, FAILED, UNCHANGED)
RESULTS: Final = (CREATED, UPDATED, OVERWRITTEN, KEPT, FAILED, UNCHANGED)
ADVICE: Final = {
    EDITED: "`pull` keeps it as a file, `push --force` overwrites it",
    KEPT: "left as it is",
}
HUNK: Final = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")
RECORDED: Final = (
    "These alerts read what recording rules record, which stay in Prometheus: write them with"
    " `burnmeter rules --burn-in`, which alerts nobody. Loaded there without --burn-in, every"
    " alert would come twice."
)


def text(report: Report, place: str) -> str:
    """A line for each object that differs, the reason, and how."""
    lines = [f"{place}: {_counted([row.state for row in report.rows], STATES)}", ""]
    for row in report.rows:
        if row.state != UNCHANGED:
            lines += _row(row, row.state)
            lines += [part for line in difference(row) for part in _wrapped(line)]
    return "\n".join([*lines, *_notes(report)]).rstrip()


def outcome(report: Report, place: str) -> str:
    """What was written in numbers, and what was not and why."""
    results = [row.result for row in report.rows]
    if all(result == UNCHANGED for result in results):
        said = f"{place}: nothing to do; {len(results)} objects are as they should be"
        return "\n".join([said, *_notes(report)])
    lines = [f"{place}: {_counted(results, RESULTS)}"]
    for row in report.rows:
        if not row.is_as_it_should_be:
            lines += _row(row, row.result)
    return "\n".join([*lines, *_notes(report)])


def recorded() -> str:
    """What alert rules in Grafana need besides."""
    return textwrap.fill(RECORDED, WIDTH, break_on_hyphens=False)


def as_json(report: Report, place: str) -> dict[str, Any]:
    """The same for machines."""
    return {
        "url": place,
        "is_fine": report.is_fine,
        "objects": [_row_json(row) for row in report.rows],
        "notes": list(report.notes),
    }


def difference(row: Row) -> list[str]:
    """A unified diff from what is there to what would be written; empty where there is none."""
    if row.before is None or row.after is None or row.before == row.after:
        return []
    before, after = written(row.before).splitlines(), written(row.after).splitlines()
    names = (f"{row.uid} in Grafana", f"{row.uid} of burnmeter")
    panels = _panel_lines(row.after)
    found = difflib.unified_diff(before, after, *names, lineterm="", n=CONTEXT)
    return [_titled(line, panels) for line in found]


def written(document: Document) -> str:
    """A document as it is compared, and as it goes into a file."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _titled(line: str, panels: Mapping[int, str]) -> str:
    """A hunk's head with the panel that it begins in."""
    found = HUNK.match(line)
    title = panels.get(int(found[1]) + CONTEXT) if found is not None else None
    return f"{line} {title}" if title else line


def _panel_lines(document: Document) -> dict[int, str]:
    """Title of the panel for each line of the document as it is written; lines begin at 1."""
    panels = document.get("panels")
    if not isinstance(panels, Sequence) or not panels:
        return {}
    before = {key: value for key, value in document.items() if key < "panels"}
    line = written(before).count("\n") if before else 2
    line += 1  # `"panels": [` itself.
    found: dict[int, str] = {}
    for panel in panels:
        count = written(panel).count("\n")
        found |= dict.fromkeys(range(line, line + count), str(panel.get("title", "")))
        line += count
    return found


def _row(row: Row, word: str) -> Iterator[str]:
    head = f"{word:<{INDENT}}{row.kind:<12}{row.title}"
    named = f"{head}  {row.uid}"
    yield named if row.title != row.uid and len(named) <= WIDTH else head[:WIDTH]
    said = "; ".join(filter(None, (row.reason, ADVICE.get(word, ""))))
    if said:
        filled = textwrap.fill(said, WIDTH - INDENT, break_on_hyphens=False)
        yield textwrap.indent(filled, " " * INDENT)


def _wrapped(line: str) -> Iterator[str]:
    """A long line in pieces that keep its sign."""
    yield line[:WIDTH]
    sign, rest = line[:1], line[WIDTH:]
    for start in range(0, len(rest), WIDTH - 7):
        yield f"{sign}      {rest[start : start + WIDTH - 7]}"


def _notes(report: Report) -> Iterator[str]:
    for note in report.notes:
        yield ""
        yield textwrap.fill(note, WIDTH, break_on_hyphens=False, break_long_words=False)


def _counted(words: Sequence[str], order: Sequence[str]) -> str:
    return ", ".join(f"{words.count(word)} {word}" for word in order if word in words)


def _row_json(row: Row) -> dict[str, Any]:
    made = {"kind": row.kind, "uid": row.uid, "title": row.title, "state": row.state}
    if row.result:
        made["result"] = row.result
    return {**made, "reason": row.reason or None, "diff": difference(row)}
