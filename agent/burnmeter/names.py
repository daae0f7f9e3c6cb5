"""What models are called, and how many names one target may bring. Pure.

A page chooses its models' names, so it could fill our memory and everybody's Prometheus with them.
A name holds its place until it has been off the page for a while; what finds no place is called
OVERFLOW, so that all sums stay right. Surprising: the bound is on the names held, not on those of
one page, or a page that changes its names all the time would pass it.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

OVERFLOW: Final = "other"
UNKNOWN: Final = "unknown"
"""The model of what an engine counts under no model's name, as calls of a model that it has not."""
_OURS: Final = frozenset({OVERFLOW, UNKNOWN})
"""Names that no page chose: they take no place."""
LONGEST: Final = 200
"""Signs of a name; as many as the config allows for one."""
FORGET_AFTER_SECONDS: Final = 600.0
"""An adapter that is unloaded and loaded again within this time goes on from its totals."""
_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Signs that steer a terminal, end a line of a log, turn the order of letters or are no text."""


def visible(text: str) -> str:
    """The text with its control signs spelled out, as `\\x1b`; what is spelled out stays so."""
    return _UNSEEN.sub(_spelled_out, text)


def _spelled_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def cut(name: str) -> str:
    """The name as it may leave: all of it visible, and no longer than LONGEST."""
    name = visible(name)
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def has_room(held: Collection[str], most: int) -> bool:
    """Whether one more name would find a place."""
    return len(set(held) - _OURS) < most


def admit(wanted: Collection[str], held: Collection[str], most: int) -> frozenset[str]:
    """Those of the names that may stand: the ones held, then by alphabet while there is room."""
    known = frozenset(held)
    fresh = sorted(set(wanted) - known - {OVERFLOW})
    room = max(0, most - len(known - _OURS))
    return (known & frozenset(wanted)) | frozenset(fresh[:room])


def hold(held: Mapping[str, float], seen: Iterable[str], at_seconds: float) -> dict[str, float]:
    """Name -> when it was last seen, without those to be forgotten."""
    oldest = at_seconds - FORGET_AFTER_SECONDS
    kept = {name: last for name, last in held.items() if last >= oldest}
    return kept | dict.fromkeys(seen, at_seconds)
