"""Everything burnmeter raises on purpose.

    BurnmeterError
    ├── ConfigError      one or many problems in files the user wrote; each knows file:line:column
    ├── DialectError     a dialect file that ships with the program is wrong
    ├── ModelConfigError a model's config.json, or what is stated of a model, cannot be counted
    └── PageError        a metrics page that cannot be read (its `kind` is a FailureKind)

A source that fails does not raise through the loop: it returns `model.Failure`. These are for what
a person must correct, and for the pure readers to tell the source what went wrong.
"""

from dataclasses import dataclass


class BurnmeterError(Exception):
    """Base of all errors that burnmeter raises on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in one file: where it is, and one sentence with what would be right."""

    path: str
    line: int
    column: int
    text: str
    is_warning: bool = False

    def __str__(self) -> str:
        word = "warning: " if self.is_warning else ""
        return f"{self.path}:{self.line}:{self.column}: {word}{self.text}"


class ConfigError(BurnmeterError):
    """All problems of a config at once, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class DialectError(BurnmeterError):
    """A dialect file contradicts itself or the catalogue."""


class ModelConfigError(BurnmeterError):
    """One sentence: the key, what it says, and what would be right."""


class PageError(BurnmeterError):
    """A page that cannot be read as metrics; `kind` is one of `model.FAILURE_KINDS`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
