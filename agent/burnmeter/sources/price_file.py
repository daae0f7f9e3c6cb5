"""The file of prices that is reread when it changes.

A file that has become wrong changes nothing: the prices that were last read stand, and the source
says what is wrong with it. Surprising: whether it changed is told by its size and times alone.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, NamedTuple

from burnmeter import located
from burnmeter.config_prices import Prices, parse_file
from burnmeter.errors import Problem
from burnmeter.model import Failure

NEVER_READ: Final = "prices are the config's until it can be read"


class PriceReading(NamedTuple):
    """What the file says now, or said last."""

    at_seconds: float
    """Monotonic."""
    duration_seconds: float
    prices: Prices | None
    """None: it was never read, or not in time."""
    failure: Failure | None


class PriceFile:
    """One file; never raises."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._prices: Prices | None = None
        self._failure: Failure | None = None

    def read(self) -> PriceReading:
        """Read it again if it is another than before."""
        began = time.monotonic()
        self._look()
        now = time.monotonic()
        return PriceReading(now, now - began, self._prices, self._failure)

    def close(self) -> None:
        """There is nothing to close."""

    def _look(self) -> None:
        try:
            with _opened(self._path) as file:
                found = os.fstat(file.fileno())
                # The last one is no date that a copy takes over from its original.
                times = found.st_mtime_ns, found.st_ctime_ns
                seen = found.st_dev, found.st_ino, found.st_size, *times
                if seen == self._seen:
                    return
                source = file.read(located.LIMIT_BYTES + 1)
        except OSError as error:
            self._seen = None
            text = f"{self._path}: cannot be read: {error.strerror}; {self._stands()}"
            self._failure = Failure("gone", text)
            return
        self._seen = seen
        prices, problems = parse_file(source, self._path)
        if prices is not None:
            self._prices, self._failure = prices, None
            return
        wrong = [str(problem) for problem in problems if not problem.is_warning]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        self._failure = Failure("invalid", f"{wrong[0]}{more}; {self._stands()}")

    def _stands(self) -> str:
        if self._prices is None:
            return NEVER_READ
        return "the prices that it had stand"


def problems(path: str, config: Prices) -> tuple[Problem, ...]:
    """All of the file that a config names, which may be read on another machine than it runs on."""
    try:
        with _opened(path) as file:
            source = file.read(located.LIMIT_BYTES + 1)
    except OSError as error:
        text = f"cannot be read: {error.strerror}; {NEVER_READ}"
        may_be_elsewhere = isinstance(error, FileNotFoundError | PermissionError)
        return (Problem(path, 1, 1, text, is_warning=may_be_elsewhere),)
    return parse_file(source, path, config)[1]


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    with open(path, "rb", opener=_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        yield file


def _at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe in the file's place would wait for somebody to write."""
    return os.open(path, flags | os.O_NONBLOCK)
