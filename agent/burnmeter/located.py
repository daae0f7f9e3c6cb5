"""Turns YAML text into values that know their line and column.

It knows nothing of what the values mean and reads no file. Every mistake in the text (syntax,
encoding, a key written twice) comes back as a Problem at its place; nothing is raised.

Surprising: plain words are read by the rules of YAML 1.2, not by PyYAML's 1.1. So `no` and `on`
are text, `1e3` is a number, and `010` or `1:30` are text, not 8 and 90. A config in which a model
called `no` turns into False, or an interval written `010` into 8, would lie to its reader.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import yaml
from yaml.composer import Composer
from yaml.resolver import Resolver

from burnmeter.errors import Problem

LIMIT_BYTES: Final = 262_144
"""Far above any config by hand; PyYAML takes about a second for it."""
LIMIT_DEPTH: Final = 20
"""PyYAML's composer and our conversion recurse; a stack overflow is no error message."""
LIMIT_ALIASES: Final = 100

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What YAML, and so PyYAML's marks, count as the end of a line."""
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: Final[Mapping[str, bool | None]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_CLEARER: Final = (
    ("'\\t' that cannot start any token", "a tab cannot indent here; use spaces"),
    (
        "mapping values are not allowed here",
        "no key can stand here; quote the value, or check indentation",
    ),
    ("expected a single document", "a second document starts here; one file holds one"),
    ("undefined alias", "an alias (`*name`) without an anchor (`&name`) above it"),
    ("duplicate anchor", "this anchor (`&name`) is written twice"),
    ("could not find expected ':'", "a `:` is missing after a key, here or on the line above"),
    (
        "expected <block end>",
        "this does not fit what stands before it; check indentation and quotes",
    ),
    ("cannot start any token", "this sign cannot start a value; quote the value"),
    ("unexpected end of stream", "this quoted text is never closed"),
    ("stream end", "what begins here is never closed, as by `]` or `}`"),
    ("expected ',' or", "this cannot stand inside `[` or `{`; is one not closed above?"),
    ("tag handle", "tags (`!name`) are not supported; write the plain value"),
)
"""Part of what PyYAML says -> what we say, which never repeats the user's text (a secret?)."""


@dataclass(frozen=True, slots=True)
class Located:
    """A value and where it begins, counted from 1. `text` is a scalar as it was written."""

    value: "bool | int | float | str | tuple[Located, ...] | Mapping[str, Entry] | None"
    line: int
    column: int
    text: str = ""


class Entry(NamedTuple):
    """A key and its value, each with its own place."""

    key: Located
    value: Located


def read_ours(text: str, path: str) -> Located | None:
    """Read one YAML document that ships with the program, by libyaml's parser if it is there.

    It is seven times as fast, and takes or refuses some odd texts otherwise, so it is not for what
    people write. None: it could not be read; `read` says why.
    """
    reader = _Reader(text, path, _QuickLoader)
    found = reader.read()
    return found if not reader.problems else None


def read(
    source: str | bytes, path: str, *, limit_bytes: int = LIMIT_BYTES
) -> tuple[Located | None, tuple[Problem, ...]]:
    """Read one YAML document. None: it could not be read; Located(None): there is nothing in it."""
    text, problems = _decoded(source, path, limit_bytes)
    if text is None:
        return None, problems
    reader = _Reader(text, path, _BoundedLoader)
    return reader.read(), tuple(reader.problems)


def _decoded(
    source: str | bytes, path: str, limit_bytes: int
) -> tuple[str | None, tuple[Problem, ...]]:
    if len(source) > limit_bytes:
        text = f"the file has more than {limit_bytes} bytes, the most that are read"
        return None, (Problem(path, 1, 1, text),)
    try:
        text = source if isinstance(source, str) else source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _end(error.object[: error.start].decode("utf-8", "replace"))
        text = f"byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8 text"
        return None, (Problem(path, line, column, text),)
    return text, ()


def read_all(
    source: str | bytes, path: str, *, limit_bytes: int = LIMIT_BYTES
) -> tuple[tuple[Located, ...], tuple[Problem, ...]]:
    """Every YAML document of a file, up to the first that cannot be read; empty ones left out."""
    text, problems = _decoded(source, path, limit_bytes)
    if text is None:
        return (), problems
    reader = _Reader(text, path, _BoundedLoader)
    found = reader.read_all()
    return tuple(root for root in found if root.value is not None), tuple(reader.problems)


def shown(text: str, *, limit: int = 60) -> str:
    """The user's text as it can stand inside a one-line message: no control signs, not long."""
    clean = "".join(sign if sign.isprintable() else " " for sign in text)
    return clean if len(clean) <= limit else f"{clean[: limit - 3]}..."


def step(where: str, key: str) -> str:
    """The name of `key` inside `where`: `slos[0]` and `name` give `slos[0].name`."""
    return f"{where}.{shown(key)}" if where else shown(key)


def _end(text: str) -> tuple[int, int]:
    """Line and column just behind the last sign of `text`."""
    lines = _BREAK.split(text)
    return len(lines), len(lines[-1]) + 1


class _Bounds:
    """Composes nodes (no Python objects), with bounds, and refuses tags."""

    depth = 0
    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[attr-defined]
        self.aliases += isinstance(event, yaml.AliasEvent)
        self.depth += 1
        if self.depth > LIMIT_DEPTH:
            raise _refusal(event, f"nested deeper than {LIMIT_DEPTH} levels")
        if self.aliases > LIMIT_ALIASES:
            raise _refusal(event, f"more than {LIMIT_ALIASES} aliases (`*name`)")
        if getattr(event, "tag", None) not in (None, "!"):
            raise _refusal(event, "tags (`!name`) are not supported; write the plain value")
        node: yaml.Node | None = super().compose_node(parent, index)  # type: ignore[misc]
        self.depth -= 1
        return node


class _BoundedLoader(_Bounds, yaml.SafeLoader):
    """PyYAML's own parser."""


try:
    from yaml._yaml import CParser

    class _QuickLoader(_Bounds, Composer, CParser, Resolver):
        """libyaml's parser under PyYAML's composer."""

        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)
            Resolver.__init__(self)

except ImportError:
    _QuickLoader = _BoundedLoader  # type: ignore[assignment, misc]


def _documents(loader: Any) -> Iterator[yaml.Node | None]:
    """Composed one after the other; marks go on counting over all of them."""
    while loader.check_node():
        yield loader.get_node()


def _refusal(event: yaml.Event, text: str) -> yaml.MarkedYAMLError:
    mark: Any = event.start_mark  # the stubs know a second Mark, of the C loader
    return yaml.MarkedYAMLError(problem=text, problem_mark=mark)


class _Reader:
    """One conversion of one text."""

    def __init__(self, text: str, path: str, loader: Callable[[str], Any]) -> None:
        self.text = text
        self.path = path
        self.loader = loader
        self.lines = _BREAK.split(text)
        self.problems: list[Problem] = []
        self.done: dict[int, Located] = {}
        self.open: set[int] = set()

    def read(self) -> Located | None:
        """The one document; None: it could not be read."""
        for node in self._nodes(lambda loader: iter((loader.get_single_node(),))):
            return self._convert(node, "") if node is not None else Located(None, 1, 1)
        return None

    def read_all(self) -> list[Located]:
        """Each document, until one cannot be read."""
        nodes = self._nodes(_documents)
        return [self._convert(node, "") for node in nodes if node is not None]

    def _nodes(
        self, compose: Callable[[Any], Iterator[yaml.Node | None]]
    ) -> list[yaml.Node | None]:
        """All at once, as what is converted is known by its node's id."""
        found: list[yaml.Node | None] = []
        try:
            self._compose(compose, found)
        except yaml.reader.ReaderError as error:
            line, column = _end(self.text[: error.position])
            text = f"sign U+{ord(self.text[error.position]):04X} is not text; is this a YAML file?"
            self._problem(line, column, text)
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        return found

    def _compose(
        self, compose: Callable[[Any], Iterator[yaml.Node | None]], found: list[yaml.Node | None]
    ) -> None:
        loader = self.loader(self.text)
        try:
            found.extend(compose(loader))
        except (ValueError, OverflowError) as error:
            # PyYAML lets these through: `"\UFFFFFFFF"`, `%YAML 1.<five thousand digits>`.
            raise yaml.MarkedYAMLError(
                problem="no valid sign or number", problem_mark=loader.get_mark()
            ) from error
        finally:
            loader.dispose()

    def _syntax(self, error: yaml.MarkedYAMLError) -> None:
        said = f"{error.context or ''} {error.problem or ''}"
        # What is never closed is better shown where it begins than at the end of the file.
        is_open = "end of stream" in said or "stream end" in said
        mark = (error.context_mark if is_open else None) or error.problem_mark
        clearer = (ours for theirs, ours in _CLEARER if theirs in said)
        text = next(clearer, error.problem or "this cannot be read")
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        self._problem(line, column, f"not valid YAML: {text}")

    def _problem(self, line: int, column: int, text: str) -> None:
        self.problems.append(Problem(self.path, *self._inside(line, column), text))

    def _inside(self, line: int, column: int) -> tuple[int, int]:
        """PyYAML puts what is missing at the end behind the last line; keep it in the file."""
        if line > len(self.lines):
            return len(self.lines), len(self.lines[-1]) + 1
        return line, min(column, len(self.lines[line - 1]) + 1)

    def _place(self, node: yaml.Node) -> tuple[int, int]:
        return self._inside(node.start_mark.line + 1, node.start_mark.column + 1)

    def _convert(self, node: yaml.Node, where: str) -> Located:
        """Each node once, however many aliases lead to it: nested aliases cannot explode."""
        if id(node) in self.open:
            self._problem(*self._place(node), f"{where}: this value contains itself")
            return Located(None, *self._place(node))
        if id(node) not in self.done:
            self.open.add(id(node))
            self.done[id(node)] = self._fresh(node, where)
            self.open.remove(id(node))
        return self.done[id(node)]

    def _fresh(self, node: yaml.Node, where: str) -> Located:
        if isinstance(node, yaml.MappingNode):
            return Located(dict(self._entries(node, where)), *self._place(node))
        if isinstance(node, yaml.SequenceNode):
            items = (self._convert(n, f"{where}[{i}]") for i, n in enumerate(node.value))
            return Located(tuple(items), *self._place(node))
        is_plain = isinstance(node, yaml.ScalarNode) and not node.style  # libyaml: an empty word
        value = _scalar(node.value) if is_plain else node.value
        return Located(value, *self._place(node), node.value)

    def _entries(self, node: yaml.MappingNode, where: str) -> Iterator[tuple[str, Entry]]:
        first: dict[str, int] = {}
        for key, value in node.value:
            line, column = self._place(key)
            if not isinstance(key, yaml.ScalarNode):
                self._problem(line, column, "a key must be a word; this one is a list or a mapping")
            elif key.value == "<<" and not key.style:
                self._problem(line, column, "merging (`<<`) is not supported; write the keys out")
            elif key.value in first:
                text = f"`{step(where, key.value)}` is written twice"
                self._problem(line, column, f"{text}; first on line {first[key.value]}; keep one")
            else:
                first[key.value] = line
                name = Located(key.value, line, column, key.value)
                yield key.value, Entry(name, self._convert(value, step(where, key.value)))


def _scalar(text: str) -> bool | int | float | str | None:
    """A plain word by the core schema of YAML 1.2 (yaml.org/spec/1.2.2, 10.3.2), decimals only."""
    if text in _WORDS:
        return _WORDS[text]
    # More digits than Python converts (4300) or than a count can have are left to float.
    if _INTEGER.fullmatch(text) and len(text) < 30:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text
