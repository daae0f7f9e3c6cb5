"""A real Prometheus that holds a past: OpenMetrics -> blocks by promtool -> server."""

import contextlib
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts import program
from tests.servers import free_port

READY_SECONDS = 60.0


def blocks(folder: Path, text: str) -> Path:
    """The data folder of a server that would have scraped this text."""
    page, data = folder / "past.txt", folder / "data"
    page.write_text(text, "utf-8")
    promtool = program("promtool", package="prometheus")
    command = (promtool, "tsdb", "create-blocks-from", "openmetrics", page, data)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return data


@contextmanager
def holding(folder: Path, text: str) -> Iterator[str]:
    """The address of a server that has this past, and scrapes nobody."""
    data, config, port = blocks(folder, text), folder / "prometheus.yml", free_port()
    config.write_text("scrape_configs: []\n")
    command = (
        *(program("prometheus", package="prometheus"), f"--config.file={config}"),
        *(f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}"),
        "--storage.tsdb.retention.time=100y",
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{port}/-/ready", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    give_up_seconds = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up_seconds:
        assert process.poll() is None, "Prometheus ended"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError("Prometheus is not ready within a minute")
