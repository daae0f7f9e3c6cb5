"""A real Prometheus that holds a history which a test made up, at any time it likes.

Counters are given as what they grew by, slice by slice, and written as samples.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from tests.prometheus_server import holding

SCRAPE_SECONDS = 15.0
Labels = tuple[tuple[str, str], ...]
Counters = Mapping[tuple[str, Labels], list[float | None]]
"""Family and labels -> what it grew by in each slice; None: no sample then."""
RESTART: float = -1.0
"""In place of a growth: the counter begins at 0 again and stays there for this slice."""


def openmetrics(counters: Counters, start_seconds: float, slice_seconds: float) -> str:
    """Samples every SCRAPE_SECONDS; within a slice a counter grows evenly."""
    families: dict[str, list[str]] = {}
    per_slice = round(slice_seconds / SCRAPE_SECONDS)
    for (name, labels), grown in counters.items():
        written = ",".join(f'{label}="{value}"' for label, value in labels)
        value, lines = 0.0, families.setdefault(name, [])
        for number, growth in enumerate(grown):
            for step in range(per_slice):
                # Half a scrape into the slice, so that no sample lies on the border of two.
                at = start_seconds + number * slice_seconds + (step + 0.5) * SCRAPE_SECONDS
                if growth is not None:
                    value = 0.0 if growth == RESTART else value + growth / per_slice
                    lines.append(f"{name}{{{written}}} {value!r} {at:.3f}\n")
    text = "".join(
        f"# TYPE {name} unknown\n{''.join(lines)}" for name, lines in sorted(families.items())
    )
    return f"{text}# EOF\n"


def served(
    counters: Counters, folder: Path, start: float, slice_seconds: float
) -> AbstractContextManager[str]:
    """The address of a Prometheus with these counters."""
    return holding(folder, openmetrics(counters, start, slice_seconds))


def labels(**values: str) -> Labels:
    """Sorted, as a key wants them."""
    return tuple(sorted(values.items()))


def merged(several: Iterable[Counters]) -> dict[tuple[str, Labels], list[float | None]]:
    """All series of several."""
    return {key: grown for counters in several for key, grown in counters.items()}
