"""One mapping of a dialect file, read key by key; every mistake names file, line and key.

It knows YAML's shapes and nothing of dialects. Surprising: a key is taken out as it is read, so
whatever is left over is a mistake. A misspelt key that only went unread would be a measure silently
lost.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from burnmeter import located
from burnmeter.errors import DialectError
from burnmeter.located import Entry, Located

T = TypeVar("T")


class Row:
    """One mapping of the file, emptied key by key."""

    def __init__(self, value: Located, where: str, file: str, line: int | None = None) -> None:
        self.where, self.file = where, file
        self.line = value.line if line is None else line
        if not isinstance(value.value, Mapping):
            raise self.error(self.line, "must be a mapping of keys to values")
        self.rest: dict[str, Entry] = dict(value.value)
        self.lines = {key: entry.key.line for key, entry in value.value.items()}

    def error(self, line: int, text: str, key: str = "") -> DialectError:
        """A mistake here, or at one of our keys."""
        place = located.step(self.where, key) if key else self.where
        return DialectError(f"{self.file}:{line}: " + (f"`{place}`: {text}" if place else text))

    def take(self, key: str) -> Located | None:
        """A key's value, or None; either way it is no longer left over."""
        entry = self.rest.pop(key, None)
        return entry.value if entry is not None else None

    def need(self, key: str) -> Located:
        """A key's value. Raises DialectError if the key is not there."""
        found = self.take(key)
        if found is None:
            raise self.error(self.line, "this key is missing", key)
        return found

    def maybe_text(self, key: str) -> str | None:
        """One text or nothing."""
        found = self.take(key)
        return self._text(found, key) if found is not None else None

    def text(self, key: str) -> str:
        """One text."""
        return self._text(self.need(key), key)

    def _text(self, found: Located, key: str) -> str:
        if isinstance(found.value, (tuple, Mapping)) or found.text == "":
            raise self.error(found.line, "must be a text", key)
        return found.text

    def one_of(self, key: str, known: tuple[str, ...]) -> str:
        """One of the words `known`."""
        found = self.need(key)
        if found.text not in known:
            text = f"`{found.text}` is not known; known: {', '.join(known)}"
            raise self.error(found.line, text, key)
        return found.text

    def whole(self, key: str) -> int | None:
        """A whole number, or None if the key is absent."""
        found = self.take(key)
        if found is None:
            return None
        if not isinstance(found.value, int) or isinstance(found.value, bool):
            raise self.error(found.line, "must be a whole number", key)
        return found.value

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        found = self.take(key)
        if found is None:
            return default
        if not isinstance(found.value, bool):
            raise self.error(found.line, "must be true or false", key)
        return found.value

    def items(self, key: str) -> tuple[Located, ...]:
        """A list; absent is empty."""
        found = self.take(key)
        if found is None:
            return ()
        if not isinstance(found.value, tuple):
            raise self.error(found.line, "must be a list", key)
        return found.value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; absent is empty."""
        return tuple(self._text(item, key) for item in self.items(key))

    def rows(self, key: str) -> Iterator["Row"]:
        """A list of mappings; absent is empty. Each is checked for leftovers when it was read."""
        for number, item in enumerate(self.items(key)):
            row = Row(item, located.step(self.where, f"{key}[{number}]"), self.file)
            yield row
            row.end()

    def mapping(self, key: str) -> dict[str, str]:
        """Texts by name; absent is empty."""
        return self.child(key, lambda row: {name: row.text(name) for name in row.lines}) or {}

    def lists(self, key: str) -> dict[str, tuple[str, ...]]:
        """Lists of texts by name; absent is empty."""
        read = self.child(key, lambda row: {name: row.texts(name) for name in row.lines})
        return read or {}

    def row(self, key: str) -> "Row":
        """The mapping at a key; whoever reads it calls end()."""
        return Row(self.need(key), located.step(self.where, key), self.file, self.lines.get(key))

    def child(self, key: str, read: Callable[["Row"], T]) -> T | None:
        """A mapping read whole, or None if the key is absent."""
        if key not in self.rest:
            return None
        row = self.row(key)
        value = read(row)
        row.end()
        return value

    def end(self) -> None:
        """Raise for the first key that nobody read."""
        for key, entry in self.rest.items():
            raise self.error(entry.key.line, "this key is not known", key)
