"""Who made this page: an engine, something that looks like one, or nothing that we know. Pure.

All knowledge is in the dialects; here they are only asked in turn.
"""

from collections.abc import Collection, Mapping
from typing import Final

from burnmeter.dialects.schema import Dialect, Role, fits
from burnmeter.errors import PageError

SHOWN_BEGINNINGS: Final = 8
ENGINE: Final = Role(role="engine", says="", families=(), labels=(), lacks=(), is_counted=True)
"""The role of a page that fits no look-alike."""


def recognise(
    names: Collection[str], dialects: Mapping[str, Dialect], engine: str | None = None
) -> Dialect:
    """The dialect a page speaks; `engine` is the only one that will do. Raises PageError.

    `names` are the page's series and its families: the Rust frontend of vLLM declares families
    long before it has anything to count.
    """
    asked = dialects.values() if engine is None else (dialects[engine],)
    for dialect in asked:
        if any(name.startswith(dialect.recognise) for name in names):
            return dialect
    raise PageError("unknown_engine", _unknown(names, dialects, engine))


def role_of(dialect: Dialect, names: Collection[str], own: Collection[Collection[str]]) -> Role:
    """The first look-alike that fits. `own`: the label names of each series with the prefix."""
    labels = set(map(frozenset, own))
    return next((role for role in dialect.roles if _is(role, names, labels)), ENGINE)


def _is(role: Role, names: Collection[str], labels: set[frozenset[str]]) -> bool:
    has_family = any(fits(pattern, name) for pattern in role.families for name in names)
    has_labels = any(found.issuperset(role.labels) for found in labels)
    has_none = not any(found.intersection(role.lacks) for found in labels)
    return (has_family or not role.families) and (has_labels or not role.labels) and has_none


def _unknown(names: Collection[str], dialects: Mapping[str, Dialect], engine: str | None) -> str:
    """Why it is none of ours: what was seen, what we look for, and what often lies behind it."""
    wanted = dialects.values() if engine is None else (dialects[engine],)
    known = ", ".join(f"{d.title} (`{d.recognise}`)" for d in wanted)
    beginnings = sorted({_beginning(name) for name in names})
    shown = ", ".join(f"`{word}`" for word in beginnings[:SHOWN_BEGINNINGS])
    more = len(beginnings) - SHOWN_BEGINNINGS
    seen = "there are no samples on it" if not names else f"its names begin with {shown}"
    seen += f" and {more} more" if more > 0 else ""
    hints = [h.says for d in wanted for h in d.hints if all(n.startswith(h.only) for n in names)]
    return ". ".join([f"this page is not from {known}: {seen}", *hints])


def _beginning(name: str) -> str:
    head, colon, _ = name.partition(":")
    return head + colon if colon else name.partition("_")[0] + "_"
