"""What is written to say how long, until when and by which token somebody is asked."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from burnmeter.errors import BurnmeterError
from burnmeter.provision.conventions import duration
from burnmeter.units import SECONDS_PER_DAY

UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": SECONDS_PER_DAY, "w": 7 * SECONDS_PER_DAY}
SPAN: Final = re.compile(r"(\d{1,6})([smhdw])")
MOST_SECONDS: Final = 366 * SECONDS_PER_DAY
TOKEN_BYTES: Final = 8192


class Span(click.ParamType[float]):
    """A length of time like 30d or 1h30m, in seconds."""

    name = "TIME"

    def __init__(self, least_seconds: float, most_seconds: float = MOST_SECONDS) -> None:
        self.least_seconds, self.most_seconds = least_seconds, most_seconds

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Fails with what would be right."""
        if isinstance(value, float):
            return value
        parts = SPAN.findall(value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"`{value}` is no length of time; write one like 30d, 12h or 60s", param, ctx)
        seconds = sum(int(number) * UNITS[unit] for number, unit in parts)
        if not self.least_seconds <= seconds <= self.most_seconds:
            least, most = (duration(s) for s in (self.least_seconds, self.most_seconds))
            self.fail(f"`{value}` is not between {least} and {most}", param, ctx)
        return seconds


class Moment(click.ParamType[float]):
    """A moment: now, an RFC 3339 time, or seconds since 1970, which it becomes."""

    name = "RFC3339"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Fails with what would be right."""
        if isinstance(value, float):
            return value
        if value == "now":
            return datetime.now(UTC).timestamp()
        if re.fullmatch(r"\d{9,11}(\.\d+)?", value):
            return float(value)
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"`{value}` is no moment; write one like 2026-11-03T12:00:00Z", param, ctx)
        if found.tzinfo is None:
            self.fail(f"`{value}` names no zone; write {value}Z if it is UTC", param, ctx)
        return found.timestamp()


class TokenError(BurnmeterError):
    """There is none where one was said to be."""


def token_in(file: Path | None) -> str | None:
    """The token in a file. Raises TokenError: without it nothing can be asked."""
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            token = opened.read(TOKEN_BYTES + 1).decode("ascii").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text of a token"
        raise TokenError(f"{file}: cannot be read: {why}") from None
    return _checked(token, str(file))


def token_of(variable: str) -> str | None:
    """The token in an environment variable; None if it is not set or empty. Raises TokenError."""
    token = os.environ.get(variable, "").strip()
    return _checked(token, variable) if token else None


def _checked(token: str, place: str) -> str:
    """What may go into a header, and never into an error."""
    is_token = token.isascii() and token.isprintable() and " " not in token
    if not token or len(token) > TOKEN_BYTES or not is_token:
        raise TokenError(f"{place}: holds no token")
    return token
