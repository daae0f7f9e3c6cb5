"""A source that is read in a thread of its own, so that nobody waits for it longer than he wants.

It knows neither which sources there are nor when to ask them; that is loop.py's.
"""

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from burnmeter.model import Failure

log = logging.getLogger("burnmeter")

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Source(Protocol[R_co]):
    """Something that can be read once and closed."""

    def read(self) -> R_co: ...
    def close(self) -> None: ...


class Background(Generic[R]):
    """One source read in a thread of its own, one read at a time, waited for until a deadline.

    A read that hangs (a process in the kernel's hands can make /proc hang) costs one thread and
    yields a timeout at each tick until it ends; it is never started twice, and only the tick that
    started it waits for it. An answer that came too late for its tick stands in at the next one, if
    that one's own is late too. The threads are daemons, so that no source can keep the agent from
    ending.
    """

    def __init__(
        self,
        name: str,
        source: Source[R],
        late: Callable[[Failure, float], R],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._source: Source[R] = source
        self._late: Callable[[Failure, float], R] = late
        self._clock = clock
        self._answers: queue.SimpleQueue[R] = queue.SimpleQueue()
        self._asked_seconds: float | None = None
        self._belated: R | None = None
        self._is_new = False
        self._is_closed = False

    def ask(self) -> None:
        """Begin a read, unless the last one has not ended."""
        with suppress(queue.Empty):
            self._belated = self._answers.get_nowait()
            self._asked_seconds = None
        self._is_new = self._asked_seconds is None
        if self._is_new:
            self._asked_seconds = self._clock()
            threading.Thread(target=self._read, name=self._name, daemon=True).start()

    def take(self, seconds: float) -> R:
        """What the read brought, or a timeout."""
        try:
            # One that an earlier tick has waited for is not waited for again: others need the time.
            reading = self._answers.get(timeout=max(0.0, seconds) if self._is_new else 0.0)
        except queue.Empty:
            belated, self._belated = self._belated, None
            if belated is not None:
                return belated
            since = self._clock() - (self._asked_seconds or 0.0)
            text = f"reading the {self._name} began {since:.1f} s ago and has not ended"
            return self._late(Failure("timeout", text), since)
        self._asked_seconds, self._belated = None, None
        return reading

    def close(self) -> None:
        """Close the source; waits for no read."""
        self._is_closed = True
        self._source.close()

    def _read(self) -> None:
        began = self._clock()
        try:
            reading = self._source.read()
        except Exception as error:
            if self._is_closed:  # It was closed under a read that hung: nobody wants to know.
                return
            log.exception("reading the %s failed; this is a bug in burnmeter", self._name)
            failure = Failure("crashed", f"reading the {self._name}: {error!r}")
            reading = self._late(failure, self._clock() - began)
        self._answers.put(reading)
