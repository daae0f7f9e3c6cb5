"""What one question brought, in base units, and where it goes; and which NVML errors mean what.

A number goes into a field of model.Gpu, or it is a gauge or a meter that is only passed on under a
name of the catalogue. `grown` is what the child itself has counted since its last line, so that
the agent can add it up whatever becomes of the child.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple, Protocol

import pynvml as nv

from burnmeter.units import to_base

Handle = Any  # pynvml has no types.

NOT_THERE: Final = {
    nv.NVML_ERROR_NOT_SUPPORTED,
    nv.NVML_ERROR_FUNCTION_NOT_FOUND,  # pynvml: the driver's library is older than the function
    nv.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    nv.NVML_ERROR_DEPRECATED,
}
"""Answers that stay the same until the driver changes: the question is not asked again."""

START_ANEW: Final = {
    nv.NVML_ERROR_UNINITIALIZED,
    nv.NVML_ERROR_DRIVER_NOT_LOADED,
    nv.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
}
"""Answers after which nothing in this process can be believed."""

NO_ANSWER: Final = {nv.NVML_ERROR_GPU_IS_LOST, nv.NVML_ERROR_RESET_REQUIRED}
"""Answers after which asking this GPU more only costs time."""

NOT_AVAILABLE: Final = {2**32 - 1, 2**64 - 1}
"""NVML_VALUE_NOT_AVAILABLE: all ones, in either width."""


class Place(NamedTuple):
    """Where a number goes."""

    kind: str
    """field (of model.Gpu), gauge, meter or grown."""
    name: str
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def title(self) -> str:
        """Its name for `unsupported`, told apart by its labels."""
        pairs = ",".join(f"{name}={value}" for name, value in self.labels)
        return f"{self.name}{{{pairs}}}" if pairs else self.name


def field(name: str) -> Place:
    """A field of model.Gpu."""
    return Place("field", name)


def gauge(name: str, **labels: str) -> Place:
    """A measure that is what it is now."""
    return Place("gauge", name, tuple(sorted(labels.items())))


def meter(name: str, **labels: str) -> Place:
    """A measure that only grows, as the driver counts it."""
    return Place("meter", name, tuple(sorted(labels.items())))


def grown(name: str, **labels: str) -> Place:
    """A measure that only grows, as this process counts it: what it grew by."""
    return Place("grown", name, tuple(sorted(labels.items())))


class Answer:
    """What one question brought. Nothing, as long as nobody put anything in."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.figures: dict[str, list[Any]] = {"gauge": [], "meter": [], "grown": []}
        self.unsupported: list[str] = []

    @property
    def has_something(self) -> bool:
        """Whether the driver has answered at all."""
        return bool(self.fields or any(self.figures.values()))

    def put(self, place: Place, value: Any, unit: str) -> None:
        """A number in the driver's `unit`; None and the driver's own mark are not known."""
        known = None if value is None or value in NOT_AVAILABLE else to_base(value, unit)
        if place.kind == "field":
            self.fields[place.name] = known
        elif known is not None:
            self.figures[place.kind].append([place.name, dict(place.labels), known])


class Question(Protocol):
    """Something that a GPU is asked."""

    @property
    def word(self) -> str:
        """Of 8 letters at most: what `ps` shows while it is asked."""

    @property
    def every_seconds(self) -> float:
        """0: at every reading. Else it can wait, and is asked no more often than this."""

    @property
    def titles(self) -> tuple[str, ...]:
        """What is unsupported if the question is."""

    def ask(self, handle: Handle, lacks: Collection[str], /) -> Answer:
        """Raises NVMLError. `lacks`: what others were found not to give."""
