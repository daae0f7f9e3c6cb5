"""What stands over the tables of `burnmeter top`: whose numbers, how old, and the verdict. Pure.

What was known before a source fell silent is shown, but never as how things are: it is not measured
now, and was so long ago.
"""

from collections.abc import Mapping
from textwrap import wrap
from typing import Final, NamedTuple

from burnmeter.export import verdict, words
from burnmeter.export.live import stale_after_seconds
from burnmeter.export.top_layout import HEAD, SHAPES, Line, Section, Span, breadth, cut, visible
from burnmeter.snapshot import Snapshot

ALARM: Final = "alarm"
"""The tone of what makes every number below doubtful."""
COUNTED: Final = "attention"
"""The section whose number of rows is told even where it is not shown."""
DOUBT_LINES: Final = 3
HELP: Final = """\
 0            all sections; 1 to 6: one of them; Tab: the next one
 up, down     choose a row: what is known of it stands below
 Enter        more of that, or less
 /            show only rows with some text in them, anywhere; Esc: all
 s, S         sort by the next column, or the one before
 r            the other way round
 p, space     pause: the numbers stand still, and say how old they are
 ?            this; Esc: away with it
 q            quit

 ● good   ▲ burning, wrong   ✕ down, or a page   ! look   ○ not measured
 –        not measured: it is not 0
 2.5–5 s  between these: it is not known more exactly
 burn     how many times faster than the budget allows, over the time that
          stands in the heading; 1× spends all of it, just in time
 budget   what is left of it, at least; below 0 it is overspent
 TTFT     time to first token; p95: 95 of 100 waited no longer"""


class Seen(NamedTuple):
    """What a source gave last, and why it gives nothing now."""

    source: str
    """Who looks: an agent's address, or that we do ourselves."""
    snapshot: Snapshot | None = None
    failure: str | None = None


class Mode(NamedTuple):
    """What somebody has chosen."""

    is_paused: bool = False
    text: str = ""
    """Only rows with this in them are shown."""
    section: str = ""
    """Where the keys go."""


def status(seen: Seen, age_seconds: float | None, mode: Mode, width: int) -> tuple[Line, ...]:
    """The lines at the top: who and when, what is wrong with that, and the verdict."""
    snapshot = seen.snapshot
    if snapshot is None or age_seconds is None:
        why = seen.failure or "waiting for the first reading ..."
        tone = ALARM if seen.failure else ""
        return _title(seen, None, mode, width), ((cut(why, width), tone),)
    doubt = _doubt(seen, snapshot, age_seconds)
    lines = [_title(seen, age_seconds, mode, width)]
    if doubt is not None:
        lines += [((line, ALARM),) for line in wrap(visible(doubt), width)[:DOUBT_LINES]]
    return (*lines, _verdict(snapshot, age_seconds, width, is_over=doubt is not None))


def _title(seen: Seen, age_seconds: float | None, mode: Mode, width: int) -> Line:
    """Who is seen on the left; how old it is, and whether that is meant, on the right."""
    snapshot = seen.snapshot
    marks = [(" SIMULATED: not a real node ", ALARM)] if snapshot and snapshot.is_simulated else []
    right = [(" PAUSED ", ALARM)] if mode.is_paused else []
    if age_seconds is not None and snapshot is not None:
        every = "" if mode.is_paused else f", every {words.span(snapshot.interval_seconds)}"
        right.append((f" {words.span(age_seconds)} old{every}", ""))
    taken = sum(breadth(text) for text, _ in (*marks, *right)) + 2 * len(marks)
    name = cut(snapshot.node if snapshot is not None else "burnmeter top", max(0, width - taken))
    left: tuple[Span, ...] = (name, HEAD), *((("  ", ""), *marks) if marks else ())
    spare = width - taken - breadth(name)
    source = f"  {visible(seen.source)}"
    if breadth(source) > spare:
        source = ""
    return (*left, (source + " " * (spare - breadth(source)), ""), *right)


def _doubt(seen: Seen, snapshot: Snapshot, age_seconds: float) -> str | None:
    """Why what is shown is not how things are; None: it is."""
    shown = f"this is the last known state, {words.span(age_seconds)} old"
    if seen.failure is not None:
        return f"SOURCE GONE: {shown}: {seen.failure}"
    if age_seconds > stale_after_seconds(snapshot):
        usual = words.span(snapshot.interval_seconds)
        return f"STALE: {shown}; a new one was due every {usual}"
    return None


def is_doubtful(seen: Seen, age_seconds: float | None) -> bool:
    """Whether what is shown is not how things are now."""
    if seen.snapshot is None or age_seconds is None:
        return False
    return _doubt(seen, seen.snapshot, age_seconds) is not None


def _verdict(snapshot: Snapshot, age_seconds: float, width: int, *, is_over: bool) -> Line:
    found = verdict.verdict(snapshot)
    text = f"{words.STATES.get(found.state, found.state)}: {found.text}"
    state = found.state
    if is_over:
        text, state = f"not measured now; {words.span(age_seconds)} ago {text}", "not_measured"
    return ((cut(f"{SHAPES.get(state, '○')} {text}", width), state),)


def bar(section: Section, shown: int, mode: Mode, width: int, *, is_cut: bool = False) -> Line:
    """A section's name over its table, with what its rows come to; in brackets: the chosen one.

    `is_cut`: there is no room for all rows.
    """
    name = f"{section.number} {section.title}"
    name = f"[{name}]" if mode.section == section.name else f" {name} "
    said = section.counted
    if mode.text:
        said = f"{shown} of {len(section.rows)} with `{visible(mode.text)}`; Esc: all"
    if is_cut:
        said += f"; not all fit, {section.number} shows more"
    said = cut(f" {said} " if said else " ", max(0, width - len(name)))
    rest = "─" * max(0, width - breadth(name) - breadth(said))
    return ((name, HEAD), (said, ""), (rest, ""))


def nothing(section: Section, mode: Mode) -> str:
    """What stands where a table has no rows."""
    if section.rows and mode.text:
        return f"None of {len(section.rows)} has `{visible(mode.text)}` in it; Esc shows all."
    return section.empty


def tabs(sections: Mapping[str, Section], chosen: str) -> Line:
    """Names of all sections with their keys, where only one is shown."""
    spans: list[Span] = []
    for name, section in sections.items():
        text, tone = f"{section.number} {section.title}", ""
        if name == COUNTED and section.rows:
            text = f"{text} {len(section.rows)}"
            tone = "down" if any(row.state == "down" for row in section.rows) else ""
        spans.append((f"[{text}]", HEAD) if name == chosen else (f" {text} ", tone))
    return (*spans, (" 0 All", ""))
