"""What a person writes to name a side and a length of time, and what is wrong with it. Pure."""

import re
from typing import Final

MATCHER: Final = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\\n]|\\.)*)"\s*(?:,|$)')
"""One matcher of PromQL, with what parts it from the next."""
OURS: Final = frozenset(("le", "outcome", "counted_by", "kind", "__name__"))
"""Labels that say what is counted, and not who it is."""
DURATION: Final = re.compile(r"(\d+)(s|m|h|d)")
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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


def seconds(text: str) -> float:
    """Of `90s`, `30m` or `1h30m`. Raises ValueError."""
    parts = DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"`{text}` is no length of time; write one like 90s, 30m or 1h")
    return float(sum(int(number) * UNITS[unit] for number, unit in parts))


def last_value_as(where: str, placeholder: str) -> tuple[str, str]:
    """Matchers with another value of the last one, and the value that it had."""
    *_, last = MATCHER.finditer(where)
    start, end = last.span(3)
    return where[:start] + placeholder + where[end:], where[start:end]
