"""How one written value becomes a Python value, or a sentence about what is wrong with it.

It knows kinds of values (numbers with a unit, addresses, names), not the keys of our config: those
are tables of these rules in config.py. A rule takes a Located and raises RuleError with a sentence;
`section` and `items` catch it, so that one mistake never hides the next.

Surprising: no message repeats a value where a secret may have been written by mistake (an address
with a password, a token where a file name belongs).
"""

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from burnmeter.errors import BurnmeterError, Problem
from burnmeter.located import Located, shown, step

Rule = Callable[[Located], Any]
Item = TypeVar("Item")

_UNITS: Final[Mapping[str, tuple[tuple[str, str, float], ...]]] = {
    "seconds": (
        ("us µs micros microseconds", "microseconds", 1e-6),
        ("ms msec msecs millis millisecond milliseconds", "milliseconds", 1e-3),
        ("s sec secs second seconds", "seconds", 1.0),
        ("m min mins minute minutes", "minutes", 60.0),
        ("h hour hours", "hours", 3600.0),
        ("d day days", "days", 86400.0),
        ("w week weeks", "weeks", 604800.0),
    ),
    "bytes": (
        ("b byte bytes", "bytes", 1.0),
        ("k kb kilobytes", "kilobytes", 1e3),
        ("m mb megabytes", "megabytes", 1e6),
        ("g gb gigabytes", "gigabytes", 1e9),
        ("ki kib kibibytes", "kibibytes", 2.0**10),
        ("mi mib mebibytes", "mebibytes", 2.0**20),
        ("gi gib gibibytes", "gibibytes", 2.0**30),
    ),
    "percent": (("% pct percent", "percent", 1.0), ("ratio fraction", "as a ratio", 100.0)),
}
"""What is measured -> (how people write the unit, its name, how many base units it is)."""
_KEY_UNITS: Final[Mapping[str, tuple[str, float]]] = {
    "seconds": ("seconds", 1.0),
    "days": ("seconds", 86400.0),
    "bytes": ("bytes", 1.0),
    "percent": ("percent", 1.0),
}
"""Last word of our keys -> what is measured, in how many base units."""
_QUANTITY = re.compile(r"\s*([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*([A-Za-zµ%$]*)\s*")
SECRET_WORDS: Final = ("token", "password", "passwd", "secret", "api_key", "apikey", "auth")
SECRET_WHOLE_WORDS: Final = ("key", "sig", "signature", "credential", "jwt", "sas")
"""Secrets only as words of their own: `access-key` and `X-Amz-Signature`, not `keyspace`."""


class RuleError(BurnmeterError):
    """A value breaks its rule; the text goes behind the key's name. Never leaves the config."""


@dataclass(slots=True)
class Report:
    """Collects the problems of one file."""

    path: str
    problems: list[Problem] = field(default_factory=list)

    def error(self, at: Located, text: str) -> None:
        self.problems.append(Problem(self.path, at.line, at.column, text))

    def warn(self, at: Located, text: str) -> None:
        self.problems.append(Problem(self.path, at.line, at.column, text, is_warning=True))


# --- words for messages ------------------------------------------------------------------------


def plain(number: float) -> str:
    """A number as a person writes it: 8000000 and 0.3, not 8e+06 and 0.30000000000000004."""
    if isinstance(number, int) or (number.is_integer() and abs(number) < 1e15):
        return str(int(number))
    is_short = 1e-9 <= abs(number) < 1
    return f"{number:.12f}".rstrip("0") if is_short else f"{number:.12g}"


def listing(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean `x`?`, or nothing if no known word is near."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def given(node: Located) -> str:
    """What the user wrote, in words, for "... where a number belongs"."""
    if isinstance(node.value, tuple):
        return "a list"
    if isinstance(node.value, Mapping):
        return "a mapping"
    if node.value is None:
        return "empty"
    return f"`{shown(node.text)}`"


def in_unit_of(key: str, text: str, unit: str = "") -> tuple[float, str] | None:
    """`300ms` (or 300 and `ms`) in the unit that ends `key`, and that unit's full name."""
    measured, base = _KEY_UNITS.get(key.rpartition("_")[2], ("", 1.0))
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    word = (match[2] or unit).lower()
    for spellings, name, factor in _UNITS.get(measured, ()):
        if word in spellings.split():
            return float(match[1]) * factor / base, f"{match[1]} {name}"
    return None


# --- mappings and lists ------------------------------------------------------------------------


def section(report: Report, node: Located, where: str, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The values of a mapping's known keys that obey their rules; all else is reported."""
    values: dict[str, Any] = {}
    if not isinstance(node.value, Mapping):
        name = where or "the file"
        report.error(node, f"{name}: {given(node)} is no mapping; known keys: {listing(rules)}")
        return values
    for key, entry in node.value.items():
        name = step(where, key)
        if key not in rules:
            report.error(entry.key, _unknown(name, key, entry.value, rules))
        elif entry.value.value is None:
            report.error(entry.key, f"`{name}` has no value; give it one, or remove the line")
        else:
            try:
                values[key] = rules[key](entry.value)
            except RuleError as error:
                report.error(entry.value, f"{name}: {error}")
    return values


def items(
    report: Report, node: Located, where: str, read: Callable[[Located, str], list[Item]]
) -> list[Item]:
    """All that `read` makes of the elements of a list, given each with its name."""
    if not isinstance(node.value, tuple):
        report.error(node, f"{where}: {given(node)} is no list; begin each element with `- `")
        return []
    return [got for index, item in enumerate(node.value) for got in read(item, f"{where}[{index}]")]


def entries(
    report: Report, node: Located, where: str, read: Callable[[Located, str], list[Item]]
) -> dict[str, Item]:
    """As `items`, of a mapping whose keys are the user's own words."""
    if not isinstance(node.value, Mapping):
        report.error(node, f"{where}: {given(node)} is no mapping; write lines like `word: ...`")
        return {}
    found: dict[str, Item] = {}
    for key, entry in node.value.items():
        try:
            word(entry.key)
        except RuleError as error:
            report.error(entry.key, f"{where}: the key {error}")
        for got in read(entry.value, step(where, key)):
            found[key] = got
    return found


def table(report: Report, node: Located, where: str, rule: Rule) -> dict[str, Any]:
    """A mapping whose keys are the user's own words."""
    if not isinstance(node.value, Mapping):
        report.error(node, f"{where}: {given(node)} is no mapping; write lines like `word: value`")
        return {}
    for entry in node.value.values():
        try:
            word(entry.key)
        except RuleError as error:
            report.error(entry.key, f"{where}: the key {error}")
    return section(report, node, where, dict.fromkeys(node.value, rule))


def has(node: Located, key: str) -> bool:
    """Whether the user wrote this key, rightly or wrongly."""
    return isinstance(node.value, Mapping) and key in node.value


def find(node: Located, *keys: str) -> Located:
    """The value at a path of keys, or the innermost mapping on the way that the user wrote."""
    for key in keys:
        if not isinstance(node.value, Mapping) or key not in node.value:
            return node
        node = node.value[key].value
    return node


def lacks(node: Located, key: str, known: Collection[str]) -> bool:
    """Whether a mapping neither holds `key` nor an unknown key that was told to become it."""
    if not isinstance(node.value, Mapping):
        return False
    return key not in node.value and all(
        written in known or _meant(written, known) != key for written in node.value
    )


def _unknown(name: str, key: str, value: Located, known: Collection[str]) -> str:
    """Tells what was meant, or else what there is."""
    if "token_file" in known and any(word in key.lower() for word in SECRET_WORDS):
        return f"unknown key `{name}`; no secrets in this file: name a file with `token_file`"
    meant = _meant(key, known)
    if meant is None:
        return f"unknown key `{name}`; known: {listing(known)}"
    text = f"unknown key `{name}`; did you mean `{meant}`?"
    quantity = in_unit_of(meant, value.text, key.lower().rpartition("_")[2])
    if quantity is None:
        return text
    amount, said = plain(quantity[0]), quantity[1]
    if not said.startswith(f"{amount} "):
        return f"{text} {said} are {amount}"
    return f"{text} Write {amount}" if isinstance(value.value, str) else text


def _meant(key: str, known: Collection[str]) -> str | None:
    """The known key that differs only by its unit, or is spelled nearly so."""
    key = key.lower()
    for ours in known:
        stem, _, unit = ours.rpartition("_")
        if unit in _KEY_UNITS and stem in (key.rpartition("_")[0], key):
            return ours
    return next(iter(difflib.get_close_matches(key, list(known), n=1)), None)


# --- rules -------------------------------------------------------------------------------------


def flag(node: Located) -> bool:
    if isinstance(node.value, bool):
        return node.value
    raise RuleError(f"{given(node)} is not true or false; write one of them, without quotes")


def number(key: str, low: float, high: float) -> Rule:
    """A number between two bounds; `key` ends with its unit."""
    span = f"write a number from {plain(low)} to {plain(high)}"

    def rule(node: Located) -> float:
        value = node.value
        if isinstance(value, str):
            raise RuleError(f"{given(node)} {_numeric(key, value) or f'is text; {span}'}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RuleError(f"{given(node)} is no number; {span}")
        if not math.isfinite(value):
            raise RuleError(f"{given(node)} is no finite number; {span}")
        if not low <= value <= high:
            raise RuleError(f"{plain(value)} is {_outside(key, value, low, high)}")
        return float(value)

    return rule


def _numeric(key: str, text: str) -> str | None:
    """What to say of a text that is nearly a number."""
    if re.fullmatch(r"[-+]?0\d+(\.\d+)?", text, re.ASCII):
        meant = re.sub(r"^([-+]?)0+(?=\d)", r"\1", text)
        return f"begins with a zero, as no number does; write {meant}"
    if re.fullmatch(r"[-+]?\d+(\.\d+)?", text):
        return f"is quoted, so text; write {text} without quotes"
    quantity = in_unit_of(key, text)
    return f"is text; write {plain(quantity[0])}" if quantity else None


def whole(key: str, low: int, high: int) -> Rule:
    """A whole number between two bounds."""
    any_number = number(key, low, high)

    def rule(node: Located) -> int:
        value: float = any_number(node)
        if not value.is_integer():
            raise RuleError(f"{plain(value)} is no whole number; write {round(value)}")
        return int(value)

    return rule


def _outside(key: str, value: float, low: float, high: float) -> str:
    if value < low:
        return f"below {plain(low)}, the least allowed"
    text = f"above {plain(high)}, the most allowed"
    is_likely_ms = key.endswith("_seconds") and low <= value / 1000 <= high
    return f"{text}. Milliseconds? Write {plain(value / 1000)}" if is_likely_ms else text


def word(node: Located, *, limit: int = 200) -> str:
    """A name: text of one line. Numbers are taken as they are written."""
    if isinstance(node.value, bool):
        raise RuleError(f'{given(node)} is no text; write "{node.text}"')
    if not isinstance(node.value, str | int | float):
        raise RuleError(f"{given(node)} is no text; write a name")
    text = node.text
    if not text.strip() or text != text.strip() or not text.isprintable():
        raise RuleError(f"{given(node)} is no name: empty, a space at an end, or a sign like a tab")
    if len(text) > limit:
        raise RuleError(f"the name has {len(text)} signs; at most {limit} are allowed")
    return text


def choice(what: str, known: Collection[str]) -> Rule:
    """One of a few words."""

    def rule(node: Located) -> str:
        text = word(node)
        if text in known:
            return text
        hint = suggestion(text, known) or ";"
        raise RuleError(f"{given(node)} is not {what}{hint} known: {listing(sorted(known))}")

    return rule


def slug(node: Located) -> str:
    """A name that can be part of a rule's or an alert's name."""
    text = word(node, limit=63)
    if re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", text):
        return text
    better = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
    hint = f"; write {better}" if better else ""
    raise RuleError(f"{given(node)} may only hold a-z, 0-9 and - (not at an end){hint}")


def file_name(node: Located) -> str:
    """An absolute path. Not repeated in messages: it may be the secret itself."""
    if isinstance(node.value, str) and node.value.startswith("/") and node.value.isprintable():
        return node.value
    raise RuleError("this is no absolute path of a file; write one that begins with /")


def environment_name(node: Located) -> str:
    """A variable's name. Not repeated in messages: it may be the secret itself."""
    if isinstance(node.value, str) and re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", node.value):
        return node.value
    raise RuleError(
        "this is no name of an environment variable; write one like CHAT_TOKEN, not the token"
    )
