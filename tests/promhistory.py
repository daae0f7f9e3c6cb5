"""A real Prometheus with a past that a test writes down: OpenMetrics -> blocks -> server.

And rules that do the arithmetic of our alerts, for promtool to judge the same past by.
"""

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.parts import program
from tests.test_running import free_port

START = 1_764_000_000 // 3600 * 3600
"""2025-11-24, on a full hour."""
SCRAPE_SECONDS = 30
READY_SECONDS = 60.0


@dataclass(frozen=True)
class Counter:
    """One series whose value grows with each scrape."""

    name: str
    labels: Mapping[str, str]
    grows: Callable[[int], float]
    """Seconds since the start -> how much more than at the scrape before."""
    resets: Sequence[int] = ()
    """Seconds at which it begins again from 0."""
    gaps: Sequence[tuple[int, int]] = ()
    """First and last second between which there is no sample."""

    def values(self, seconds: int) -> Iterator[tuple[int, float | None]]:
        """What was scraped; None in a gap."""
        total = 0.0
        for at in range(0, seconds + 1, SCRAPE_SECONDS):
            total = 0.0 if at in self.resets else total + self.grows(at)
            is_gap = any(first <= at <= last for first, last in self.gaps)
            yield at, None if is_gap else total

    @property
    def text(self) -> str:
        """Name and labels."""
        inner = ",".join(f'{name}="{value}"' for name, value in self.labels.items())
        return f"{self.name}{{{inner}}}"


def openmetrics(counters: Iterable[Counter], seconds: int) -> str:
    """All of the past as promtool reads it; types do not matter to it."""
    lines = [
        f"{one.text} {value:g} {START + at}"
        for one in counters
        for at, value in one.values(seconds)
        if value is not None
    ]
    return "\n".join([*lines, "# EOF\n"])


@contextmanager
def prometheus(folder: Path, counters: Iterable[Counter], seconds: int) -> Iterator[str]:
    """The address of a server that has this past."""
    server = program("prometheus", package="prometheus")
    promtool = program("promtool", package="prometheus")
    text, data, config = folder / "past.txt", folder / "data", folder / "prometheus.yml"
    text.write_text(openmetrics(counters, seconds))
    made = [promtool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)]
    subprocess.run(made, check=True, capture_output=True)
    config.write_text("{}\n")
    url = f"127.0.0.1:{free_port()}"
    arguments = [f"--config.file={config}", f"--storage.tsdb.path={data}"]
    arguments += [f"--web.listen-address={url}", "--storage.tsdb.retention.time=10y"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([server, *arguments], stderr=log) as it,
    ):
        try:
            _wait(f"http://{url}/-/ready")
            yield f"http://{url}"
        finally:
            it.kill()


def _wait(url: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while True:
        try:
            with urlopen(url, timeout=5) as answer:
                assert answer.status == 200
                return
        except URLError:
            assert time.monotonic() < until, "Prometheus did not start"
            time.sleep(0.1)
