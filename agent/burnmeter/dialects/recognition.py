"""Who made this page: an engine, something that looks like one, or nothing that we know. Pure.

All knowledge is in the dialects; here they are only asked in turn.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from burnmeter.dialects.schema import Dialect, Mark, Role, fits
from burnmeter.errors import PageError

SHOWN_BEGINNINGS: Final = 8
ENGINE: Final = Role(
    role="engine",
    says="",
    families=(),
    labels=(),
    lacks=(),
    values=(),
    vantage="",
    is_counted=True,
    leaves_out=(),
)
"""The role of a page that fits no other."""
Labelled = Mapping[str, Collection[Mapping[str, str]]]
"""Name of a series or family -> the labels of each series of that name."""


def recognise(
    page: Labelled, dialects: Mapping[str, Dialect], engine: str | None = None
) -> Dialect:
    """The dialect a page speaks; `engine` is the only one that will do. Raises PageError.

    Its families count as well as its series: the Rust frontend of vLLM declares families long
    before it has anything to count. Of several that fit, the first by `turn` is taken.
    """
    asked = dialects.values() if engine is None else (dialects[engine],)
    for dialect in sorted(asked, key=lambda dialect: dialect.turn):
        if any(_has(page, mark) for mark in dialect.recognise):
            return dialect
    raise PageError("unknown_engine", _unknown(page.keys(), dialects, engine))


def others(page: Labelled, dialects: Mapping[str, Dialect], spoken: Dialect) -> tuple[Dialect, ...]:
    """Dialects besides the one that is spoken of which series are on the page as well.

    A family that the spoken one knows is its own, whoever else has one of that name.
    """
    foreign = {name: rows for name, rows in page.items() if rows and not spoken.knows(name)}
    asked = (dialect for dialect in dialects.values() if dialect.engine != spoken.engine)
    return tuple(d for d in asked if any(_has(foreign, mark) for mark in d.recognise))


def _has(page: Labelled, mark: Mark) -> bool:
    return any(
        mark.is_named(name) and (not mark.has_labels or any(mark.is_labelled(row) for row in rows))
        for name, rows in page.items()
    )


def role_of(
    dialect: Dialect,
    names: Collection[str],
    own: Collection[Mapping[str, str]],
    said: str | None = None,
) -> Role:
    """The first role that fits. `own`: the labels of each of the engine's own series.

    `said`: what the config or the command line calls it; the page cannot know better, but for a
    look-alike that counts for nothing.
    """
    labels = [dict(pairs) for pairs in {tuple(sorted(found.items())) for found in own}]
    told = (role for role in dialect.roles if role.is_told_by_page and _is(role, names, labels))
    seen = next(told, ENGINE)
    if said is None or not seen.is_counted:
        return seen
    unknown = replace(ENGINE, role=said)
    return next((role for role in dialect.roles if role.role == said), unknown)


def _is(role: Role, names: Collection[str], labels: Collection[Mapping[str, str]]) -> bool:
    has_family = any(fits(pattern, name) for pattern in role.families for name in names)
    has_labels = any(found.keys() >= set(role.labels) for found in labels)
    has_none = not any(label in found for found in labels for label in role.lacks)
    has_values = any(found.items() >= set(role.values) for found in labels)
    return (
        (has_family or not role.families)
        and (has_labels or not role.labels)
        and has_none
        and (has_values or not role.values)
    )


def _unknown(names: Collection[str], dialects: Mapping[str, Dialect], engine: str | None) -> str:
    """Why it is none of ours: what was seen, and what often lies behind it."""
    wanted = list(dialects.values()) if engine is None else [dialects[engine]]
    beginnings = sorted({_beginning(name) for name in names})
    shown = ", ".join(f"`{word}`" for word in beginnings[:SHOWN_BEGINNINGS])
    more = len(beginnings) - SHOWN_BEGINNINGS
    seen = "there are no samples on it" if not names else f"its names begin with {shown}"
    seen += f" and {more} more" if more > 0 else ""
    hints = [h.says for d in wanted for h in d.hints if all(n.startswith(h.only) for n in names)]
    if engine is not None:
        return ". ".join([f"this page is not from {dialects[engine].title}: {seen}", *hints])
    known = sum(dialect.vantage != "probe" for dialect in wanted)
    return ". ".join([f"none of the {known} engines that we know made this page: {seen}", *hints])


def _beginning(name: str) -> str:
    head, colon, _ = name.partition(":")
    return head + colon if colon else name.partition("_")[0] + "_"
