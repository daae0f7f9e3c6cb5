"""A recording's ticks in the place of this machine: sources and clocks that bring them once more.

Time moves once within a tick and nothing waits, so two replays of one file are the same. It ticks
nothing: whoever drives the agent moves it on with `next_tick`.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar

from burnmeter.model import GpuReading, Launch, PageReading, Process, ProcessReading, Target
from burnmeter.model_facts.known import LibraryReading
from burnmeter.sources.own import OwnCost
from burnmeter.sources.price_file import PriceReading
from burnmeter.sources.recording import RawTick, Recording, RecordingError

R = TypeVar("R", GpuReading, ProcessReading, PriceReading, LibraryReading)
NOTHING: Final = OwnCost(0.0, 0.0)


class Again(Generic[R]):
    """A source that gives its last recorded reading, for as long as there is no newer one."""

    def __init__(self) -> None:
        self.reading: R | None = None

    def read(self) -> R:
        """Raises LookupError before the first."""
        if self.reading is None:
            raise LookupError("the recording holds no reading up to here")
        return self.reading

    def close(self) -> None:
        """There is nothing to close."""


class Models(Again[LibraryReading]):
    """The same of what is known of the models."""

    def want(self, targets: Iterable[Target], processes: Mapping[int, Process]) -> None:
        """What was found is found."""


class Replay:
    """What an agent takes for its machine. It stands at its first tick when made."""

    def __init__(self, recording: Recording) -> None:
        """Raises RecordingError if there is no tick."""
        self.recording = recording
        self.gpus = Again[GpuReading]()
        self.processes = Again[ProcessReading]()
        self.prices = Again[PriceReading]()
        self.models = Models()
        self._ticks = recording.ticks()
        first = next(self._ticks, None)
        if first is None:
            raise RecordingError(f"{recording.path}: {recording.cut or 'holds no tick'}")
        self._next: RawTick | None = first
        self._now = first
        self._is_begun = False
        self._is_read = False

    def next_tick(self) -> bool:
        """Stand at the next tick, the first included; false if there is none."""
        if self._next is None:
            return False
        self._now, self._is_begun, self._is_read = self._next, True, False
        self.gpus.reading = self._now.gpus or self.gpus.reading
        self.processes.reading = self._now.processes or self.processes.reading
        self.prices.reading = self._now.prices or self.prices.reading
        self.models.reading = self._now.models or self.models.reading
        self._next = next(self._ticks, None)
        return True

    def targets(self, _: Mapping[int, Process]) -> tuple[Target, ...]:
        """The targets of this tick, whatever processes there are."""
        return self._now.targets

    @property
    def launches(self) -> tuple[Launch, ...]:
        """Those of this tick."""
        return self._now.launches

    def read_all(
        self, targets: Iterable[Target], deadline_seconds: float
    ) -> Mapping[str, PageReading]:
        """The pages of this tick, whoever is asked for: probes bring theirs when they have one."""
        self._is_read = True
        return self._now.pages

    def is_running(self, pid: int) -> bool:
        """Whether it had not been found to have ended."""
        return pid not in self._now.ended_pids

    def monotonic(self) -> float:
        """When this tick began, until its pages are read; then when all readings were complete."""
        return self._now.at_seconds if self._is_read else self._now.began_seconds

    def wall_clock(self) -> float:
        """The same for people; before the first tick, when the agent began."""
        now = self._now
        return now.timestamp_seconds if self._is_begun else now.started_timestamp_seconds

    def read(self) -> OwnCost:
        """A replay costs nothing that anybody wants to know."""
        return NOTHING

    def close(self) -> None:
        """There is nothing to close."""
