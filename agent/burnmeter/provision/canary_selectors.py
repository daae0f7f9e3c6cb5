"""What a person writes to name sides, times and margins, and what is wrong with it. Pure."""

import re
from typing import Final

from burnmeter.provision.canary import MEASURES

MATCHER: Final = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\\n]|\\.)*)"\s*(?:,|$)')
"""One matcher of PromQL, with what parts it from the next."""
OURS: Final = frozenset(("le", "outcome", "counted_by", "kind", "__name__"))
"""Labels that say what is counted, and not who it is."""


def selector(text: str) -> str:
    """Matchers without braces. Raises ValueError with what would be right."""
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    at, found = 0, []
    while at < len(inner):
        match = MATCHER.match(inner, at)
        if match is None:
            shown = f'`{inner[at:]}` is no matcher; write one like target="a" or pod=~"chat-.*"'
            raise ValueError(shown)
        label, how, value = match.groups()
        if label in OURS:
            text = (
                f"`{label}` says what is counted, not who; name a side by target, pod or the like"
            )
            raise ValueError(text)
        found.append(f'{label}{how}"{value}"')
        at = match.end()
    if not found:
        raise ValueError('it is empty; write one like target="a"')
    return ",".join(found)


def last_value_as(where: str, placeholder: str) -> tuple[str, str]:
    """Matchers with another value of the last one, and the value that it had."""
    *_, last = MATCHER.finditer(where)
    start, end = last.span(3)
    return where[:start] + placeholder + where[end:], where[start:end]


def measured(text: str) -> tuple[str, float]:
    """`errors=0.005`."""
    name, _, value = text.partition("=")
    if name not in MEASURES:
        raise ValueError(f"`{name}` is no measure; known: {', '.join(MEASURES)}")
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise ValueError(f"`{text}` names no number above 0; write one like {name}=0.05")
    return name, number
