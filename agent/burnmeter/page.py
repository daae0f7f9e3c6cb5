"""The fast reader: the text of a metrics page -> raw series and their values.

It accepts what engines send, the text format 0.0.4 and OpenMetrics 1.0 alike, and renames, merges
and converts nothing: prometheus_client's parser adds `_total` to counters that lack it. Timestamps
and exemplars are passed over. Quoted UTF-8 names, which a scraper must ask for, are not read.

The surprising decision: a page is hardly ever parsed. A target's next page differs from its last
in the numbers only, so its memory takes each line's known beginning off and converts what is left
(0.1 ms for 54 kB of vLLM, where prometheus_client takes 7.6). Any doubt about any line, and the
whole page is read by the one regular expression that is the grammar.

Truncation shows only where it leaves half a line, or takes the `# EOF` that the target's last page
had. A value cut short, or a page cut between lines, looks complete: the transport must tell.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Final, NamedTuple

from burnmeter.errors import PageError

# Repeated characters are possessive and groups begin with characters that nothing before them
# takes: a line is walked once, however nasty. Groups are not possessive: in Python 3.11 before
# 3.11.5 such a group keeps what it took before it failed (python/cpython issue 106052).
NAME: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*+"
LABEL_NAME: Final = r"[a-zA-Z_][a-zA-Z0-9_]*+"
LABEL_VALUE: Final = r'[^"\\]*+(?:\\.[^"\\]*+)*'
LABEL: Final = rf'{LABEL_NAME}\s*+=\s*+"{LABEL_VALUE}"\s*+(?:,\s*+|(?=\}}))'
LABELS: Final = rf"\{{\s*+(?:{LABEL})*\}}"
SAMPLE_LINE: Final = re.compile(
    rf"\s*+(?P<series>{NAME}(?:\s*+{LABELS})?)(?:(?<=\}})|\s)\s*+"
    r"(?P<value>[-+.0-9A-Za-z]++)"
    r"(?:\s++[-+]?[0-9.]++(?:[eE][-+]?[0-9]++)?)?"  # a timestamp
    r"(?:\s++#.*+)?\s*+"  # an exemplar
)
SERIES: Final = re.compile(rf"\s*+({NAME})\s*+({LABELS})?\s*+")
ONE_LABEL: Final = re.compile(rf'({LABEL_NAME})\s*+=\s*+"({LABEL_VALUE})"')
TYPE_LINE: Final = re.compile(r"\s*+#\s++TYPE\s++(\S++)\s++(\S++)")
ESCAPE: Final = re.compile(r'\\([\\"n])')
END: Final = "# EOF"
SHOWN_CHARACTERS: Final = 60


class Series(NamedTuple):
    """One raw series, taken apart."""

    name: str
    """The sample's name, with suffix: vllm:time_to_first_token_seconds_bucket."""
    labels: dict[str, str]
    """Unescaped. Of a label given twice, the last counts."""


class Page(NamedTuple):
    """A page in its own words. With a memory, `series` and `types` are shared: do not change."""

    series: tuple[str, ...]
    """Raw text of each series, `name{labels}` or `name`, in page order."""
    values: list[float]
    types: dict[str, str]
    """Family, as its first TYPE line has it -> that line's type."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the numbers of a page stand: all that is the same on the target's next page."""

    is_sample: tuple[bool, ...]
    """One per line."""
    is_other: tuple[bool, ...]
    others: list[str]
    """Comments and blank lines."""
    beginnings: list[str]
    """Of the sample lines, up to the value."""
    fixed_characters: int
    """All but the values: `others`, `beginnings` and the line feeds."""
    has_end: bool

    def values(self, text: str) -> list[float] | None:
        """Values of a page laid out so, and None for any other page."""
        lines = text.split("\n")
        if len(lines) != len(self.is_sample) or list(compress(lines, self.is_other)) != self.others:
            return None
        rests = list(map(str.removeprefix, compress(lines, self.is_sample), self.beginnings))
        joined = "".join(rests)
        # A line without its beginning is left whole, so the lengths differ. float() reads more
        # than the formats allow: 1_000 and other scripts' digits.
        if (
            len(joined) + self.fixed_characters != len(text)
            or "_" in joined
            or not joined.isascii()
        ):
            return None
        try:
            return list(map(float, rests))
        except ValueError:
            return None


class PageMemory:
    """What one target's last page looked like. Holds one page, so the page's limits bound it."""

    __slots__ = ("layout", "series", "types")

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self.series: tuple[str, ...] = ()
        self.types: dict[str, str] = {}

    def recall(self, text: str) -> Page | None:
        """The page, if it differs from the last in its numbers only."""
        values = self.layout.values(text) if self.layout is not None else None
        return Page(self.series, values, self.types) if values is not None else None

    def keep(self, page: Page, layout: Layout) -> Page:
        """Remember `page`; what equals the last page's is the last page's object."""
        if self.layout is not None and self.layout.has_end and not layout.has_end:
            self.layout = None  # An engine that changed its format is refused only once.
            raise PageError(
                "truncated", f"the page lacks the `{END}` with which this target's last page ended"
            )
        self.layout = layout
        if page.series != self.series:
            self.series = page.series
        if page.types != self.types:
            self.types = page.types
        return Page(self.series, page.values, self.types)


def read_page(text: str, *, memory: PageMemory | None = None, series_limit: int = 50_000) -> Page:
    """Read one page, or raise PageError. A page without samples is a page."""
    text = text.removeprefix("\ufeff")  # A byte order mark, as some editors and proxies put.
    if memory is None:
        return _read_lines(text.split("\n"), series_limit)[0]
    if len(memory.series) <= series_limit:
        page = memory.recall(text)
        if page is not None:
            return page
    return memory.keep(*_read_lines(text.split("\n"), series_limit))


def parse_series(raw: str) -> Series:
    """Take one raw series apart. Slow: callers keep the result."""
    found = SERIES.fullmatch(raw)
    if found is None:
        raise PageError("not_metrics", f"not a series: {_shown(raw)}")
    labels = {name: _unescaped(value) for name, value in ONE_LABEL.findall(found[2] or "")}
    return Series(found[1], labels)


def _read_lines(lines: Sequence[str], series_limit: int) -> tuple[Page, Layout]:
    series: list[str] = []
    values: list[float] = []
    types: dict[str, str] = {}
    beginnings: list[str] = []
    is_sample: list[bool] = []
    for line in lines:
        found = SAMPLE_LINE.fullmatch(line)
        is_sample.append(found is not None)
        if found is None:
            _read_comment(line, len(is_sample), lines, types)
            continue
        try:
            values.append(float(found["value"]))
        except ValueError:
            raise _unreadable(len(is_sample), lines) from None
        series.append(found["series"])
        beginnings.append(line[: found.start("value")])
        if len(series) > series_limit:
            raise PageError("too_many_series", f"the page holds more than {series_limit} series")
    is_other = tuple(map(not_, is_sample))
    others = list(compress(lines, is_other))
    has_end = any(line.strip() == END for line in others)
    fixed_characters = sum(map(len, others)) + sum(map(len, beginnings)) + len(lines) - 1
    layout = Layout(tuple(is_sample), is_other, others, beginnings, fixed_characters, has_end)
    return Page(tuple(series), values, types), layout


def _read_comment(line: str, number: int, lines: Sequence[str], types: dict[str, str]) -> None:
    """Note the type, if `line` is a TYPE line; raise if it is neither a comment nor blank."""
    words = line.lstrip()
    if words and words[0] != "#":
        raise _unreadable(number, lines)
    # Metadata of a family of which nothing follows, not even the end of the line.
    if number == len(lines) and words.startswith(("# HELP", "# TYPE")):
        raise _unreadable(number, lines)
    found = TYPE_LINE.match(words)
    if found is not None:
        types.setdefault(found[1], found[2])


def _unreadable(number: int, lines: Sequence[str]) -> PageError:
    """Why line `number` cannot be read. A page of that line alone was never metrics."""
    line = lines[number - 1]
    before = "".join(lines[: number - 1]).strip("\ufeff \t\r")
    if not before and line.lstrip("\ufeff \t").startswith("<"):
        return PageError("html", f"a web page, not metrics; it begins with {_shown(line)}")
    if before and number == len(lines):
        return PageError(
            "truncated", f"the page ends in the middle of line {number}: {_shown(line)}"
        )
    return PageError("not_metrics", f"line {number} is not a sample: {_shown(line)}")


def _shown(text: str) -> str:
    text = text.strip(" \t\r")
    is_short = len(text) <= SHOWN_CHARACTERS
    return repr(text) if is_short else repr(text[:SHOWN_CHARACTERS]) + "..."


def _unescaped(value: str) -> str:
    if "\\" not in value:
        return value
    return ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], value)
