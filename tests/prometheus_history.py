"""A real Prometheus that holds a history which a test made up, at any time it likes.

Counters are given as what they grew by, slice by slice; they are written as samples, made into
blocks by promtool and served by Prometheus, as if it had scraped them.
"""

import contextlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests import parts

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


@contextmanager
def served(counters: Counters, folder: Path, start: float, slice_seconds: float) -> Iterator[str]:
    """The address of a Prometheus with these counters."""
    prometheus = parts.program("prometheus", package="prometheus")
    promtool = parts.program("promtool", package="prometheus")
    page = folder / "history.om"
    page.write_text(openmetrics(counters, start, slice_seconds))
    make = (promtool, "tsdb", "create-blocks-from", "openmetrics", page, folder / "data")
    subprocess.run(make, check=True, capture_output=True)
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    port = free_port()
    flags = (
        *(f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y"),
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen((prometheus, *flags), stdout=log, stderr=log)
    try:
        wait_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found: int = listener.getsockname()[1]
        return found


def wait_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Until it answers queries; a minute at most."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "Prometheus ended"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=5):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError("Prometheus is not ready within a minute")


def labels(**values: str) -> Labels:
    """Sorted, as a key wants them."""
    return tuple(sorted(values.items()))


def merged(several: Iterable[Counters]) -> dict[tuple[str, Labels], list[float | None]]:
    """All series of several."""
    return {key: grown for counters in several for key, grown in counters.items()}
