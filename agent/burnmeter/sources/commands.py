"""What a command line says: is this the engine, on which port, serving what.

It looks at words only, never at a process; processes.py holds what they say against who listens.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

from burnmeter.model import ProcessHint

INTERPRETER: Final = re.compile(r"(.*/)?(python|pypy)[\d.]*", re.IGNORECASE)
"""What runs a program that is named later. A shell does not count: what it starts has its own
command line."""


def arguments_of(command: Sequence[str], hint: ProcessHint) -> tuple[str, ...] | None:
    """The words after the engine's name, if the engine is what this command runs."""
    if not command:
        return None
    starts = tuple(accumulate((len(word) + 1 for word in command), initial=0))
    text = " ".join(command)
    for pattern in hint.command_patterns:
        for match in re.finditer(pattern, text):
            # A pattern may begin with the space or the slash before the name.
            place = bisect_right(starts, match.start() + (match[0][:1] == " ")) - 1
            in_folder = match.end() <= starts[place] + command[place].rfind("/")
            if not in_folder and _is_program(command, place):
                return tuple(command[bisect_left(starts, match.end()) :])
    return None


def _is_program(command: Sequence[str], place: int) -> bool:
    """Is the word at `place` what runs: the command itself, or what an interpreter was given?"""
    if place == 0:
        return True
    if INTERPRETER.fullmatch(command[0]) is None:
        return False
    # Of Python's own options these two take a word, and -c takes a program that may say anything.
    return all(
        (word.startswith("-") and word != "-c") or before in ("-X", "-W")
        for before, word in pairwise(command[:place])
    )


def _flag(arguments: Sequence[str], flag: str) -> str | None:
    """Value of `--flag value` or `--flag=value`; the last one counts, as in argparse."""
    value = None
    for position, word in enumerate(arguments):
        name, _, attached = word.partition("=")
        if name != flag and name.replace("_", "-") != flag:
            continue
        following = arguments[position + 1 : position + 2]
        value = attached or next((word for word in following if not word.startswith("-")), None)
    return value


def port_of(arguments: Sequence[str], flags: Sequence[str]) -> int | None:
    """The port that the arguments ask for."""
    for flag in flags:
        value = _flag(arguments, flag)
        # Port 0 means "any", so that it says nothing.
        if value is not None and value.isdecimal() and 0 < int(value[:6]) < 65536:
            return int(value)
    return None


def served_model_of(arguments: Sequence[str], hint: ProcessHint) -> str | None:
    """The model's name as the arguments give it."""
    for flag in hint.model_flags:
        value = _flag(arguments, flag)
        if value is not None:
            return value
    if hint.has_positional_model and arguments and not arguments[0].startswith("-"):
        return arguments[0]
    return None


def size_of(arguments: Sequence[str], flags: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """The value of each flag, by any of its spellings; one that is not given is 1.

    Empty if the engine has no such flags.
    """
    sizes = []
    for spellings in flags:
        values = [value for flag in spellings if (value := _flag(arguments, flag)) is not None]
        said = values[-1] if values else "1"
        sizes.append(max(1, int(said[:6])) if said.isdecimal() else 1)
    return tuple(sizes)


def role_of(arguments: Sequence[str], hint: ProcessHint) -> str | None:
    """What the command line says that the engine is for, if it does."""
    line = " ".join(arguments)
    return next((r for r, text in hint.role_patterns.items() if re.search(text, line)), None)
