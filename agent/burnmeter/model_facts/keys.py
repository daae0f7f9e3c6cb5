"""One JSON object that somebody else wrote, read key by key. Pure.

It knows no model: what a key means is for `shape` and `formats`. What is wrong leaves as one
sentence with the key, what it says and what would be right. Numbers are bounded here, so that
nothing behind this module loops for ever or overflows, whatever a container's file says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from burnmeter.errors import ModelConfigError

MOST: Final = 10**9
"""No size in a model is larger; five of them multiplied are still a number."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that were said, and defaults for some that were not."""

    said: Mapping[str, Any]
    path: str = ""
    """Where this object is in the file, for messages: `text_config.`"""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    """Our name of a key -> the family's own, where that is another."""
    taken: dict[str, str] = field(default_factory=dict)
    """Defaults that were used, as text; filled while reading."""

    def name(self, key: str) -> str:
        """What this model's family calls a key."""
        return self.names.get(key, key)

    def value(self, key: str) -> Any:
        """What is said under a key, else its default, else None; null is None, and no default."""
        name = self.name(key)
        if name in self.said:
            return self.said[name]
        default = self.defaults.get(name)
        if default is not None:
            self.taken[name] = shown(default)
        return default

    def optional_count(self, key: str, *, least: int = 1, most: int = MOST) -> int | None:
        """A whole number within bounds, or None."""
        value = self.value(key)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(key, f"a whole number from {least} to {most}")
        return value

    def count(self, key: str, *, least: int = 1, most: int = MOST) -> int:
        """A whole number within bounds, which must be there."""
        value = self.optional_count(key, least=least, most=most)
        if value is None:
            raise self.wrong(key, f"a whole number from {least} to {most}")
        return value

    def nullable_count(self, key: str, *, least: int = 1) -> int | None:
        """A whole number or null, which must be there: that it is left out would mean nothing."""
        if self.name(key) not in self.said:
            raise self.wrong(key, "a whole number, or null for none,")
        return self.optional_count(key, least=least)

    def counts(self, key: str, *, most: int) -> list[int]:
        """A list of small whole numbers; empty if there is none."""
        value = self.value(key)
        if value is None:
            return []
        if not isinstance(value, list) or any(
            type(item) is not int or not 0 <= item <= most for item in value
        ):
            raise self.wrong(key, f"a list of whole numbers from 0 to {most}")
        return value

    def flag(self, key: str) -> bool:
        """True or false, which must be there."""
        value = self.value(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def text(self, key: str) -> str:
        """A word, which must be there."""
        value = self.value(key)
        if not isinstance(value, str):
            raise self.wrong(key, "a word")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of words; empty if there is none."""
        value = self.value(key)
        if value is None:
            return []
        if not isinstance(value, list) or any(not isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of words")
        return value

    def inner(self, key: str) -> "Keys | None":
        """An object within this one; None if there is none."""
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.wrong(key, "an object")
        return Keys(value, f"{self.path}{self.name(key)}.")

    def unknown(self, key: str, known: Iterable[str]) -> ModelConfigError:
        """What to raise about a word that is none of those known here."""
        name = self.name(key)
        return ModelConfigError(
            f"`{self.path}{name}` is {shown(self.value(key))}, which is not known; state the"
            f" model's numbers, or give one of {', '.join(known)}"
        )

    def wrong(self, key: str, right: str) -> ModelConfigError:
        """What to raise about a key: what it says, or that it is missing, and what is needed."""
        name = self.name(key)
        says = f"is {shown(self.said[name])}" if name in self.said else "is missing"
        return ModelConfigError(f"`{self.path}{name}` {says}; {right} is needed")


def shown(value: object) -> str:
    """A value in a message: short whatever it is, and never what cannot be printed."""
    match value:
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case int() if abs(value) >= 10**15:
            return "a number of more than 15 digits"
        case str():
            return repr(value[:40]) + ("..." if len(value) > 40 else "")
        case int() | float():
            return str(value)
        case list() | tuple():
            return f"a list of {len(value)}"
        case _:
            return "an object"
