"""The daemon as it is installed, beside a real engine, scraped by a real Prometheus.

Nothing is in this process: what a person would see in Prometheus is held against the client.
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engines import load
from tests.engines.serving import Server, free_port
from tests.parts import program

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]

SCRAPE = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: burnmeter
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
START_SECONDS = 20.0


@contextmanager
def daemon(command: list[str], log: Path) -> Iterator[None]:
    """A program that runs for as long as the body does, and then ends when asked."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
        assert process.poll() is None, log.read_text("utf-8")
        process.terminate()
        assert process.wait(20.0) == 0, log.read_text("utf-8")
    finally:
        process.kill()
        process.wait()


def until(
    condition: Callable[[], bool], what: Callable[[], object], *, seconds: float = START_SECONDS
) -> None:
    give_up_seconds = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_seconds, what()
        time.sleep(0.1)


class Prometheus:
    """Asks one Prometheus."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/query?query="

    def value(self, query: str) -> float | None:
        """The value of a query with one answer; None if it has none, or nobody answers yet."""
        try:
            with urllib.request.urlopen(self._url + urllib.parse.quote(query), timeout=5) as answer:
                found = json.loads(answer.read())["data"]["result"]
        except (urllib.error.URLError, ConnectionError):
            return None
        assert len(found) <= 1, query
        return float(found[0]["value"][1]) if found else None


@contextmanager
def watched(server: Server, folder: Path) -> Iterator[Prometheus]:
    """`burnmeter run` on an engine, and a Prometheus on burnmeter."""
    ours, theirs = free_port(), free_port()
    config = folder / "burnmeter.yaml"
    config.write_text(
        f"listen: 127.0.0.1:{ours}\ninterval_seconds: 1\nlimits: {{scrape_timeout_seconds: 0.8}}\n"
        f"gpus: {{enabled: false}}\ntargets: [{{name: sea, url: {server.url}, model: sea}}]\n"
    )
    scrape = folder / "prometheus.yaml"
    scrape.write_text(SCRAPE.format(port=ours))
    prometheus = [program("prometheus", package="prometheus"), f"--config.file={scrape}"]
    prometheus += [f"--storage.tsdb.path={folder / 'data'}"]
    prometheus += [f"--web.listen-address=127.0.0.1:{theirs}", "--log.level=warn"]
    run = [sys.executable, "-m", "burnmeter", "run", "--config", str(config)]
    with daemon(run, folder / "burnmeter.log"), daemon(prometheus, folder / "prometheus.log"):
        yield Prometheus(theirs)


def test_prometheus_has_the_tokens_that_the_client_was_given(
    llamacpp: Server, tmp_path: Path
) -> None:
    with watched(llamacpp, tmp_path) as prometheus:

        def tokens(kind: str) -> float:
            found = prometheus.value(f'burnmeter_tokens_total{{target="sea",kind="{kind}"}}')
            return -1.0 if found is None else found

        until(lambda: tokens("generated") >= 0, lambda: "Prometheus has no tokens yet")
        before = tokens("prompt"), tokens("generated")
        truth = load.run_load(llamacpp.url, load.ok(25))

        wanted = (before[0] + truth.prompt_tokens(), before[1] + truth.completion_tokens())
        until(
            lambda: (tokens("prompt"), tokens("generated")) == wanted,
            lambda: (tokens("prompt"), tokens("generated"), wanted),
        )
        assert truth.requests() == {"ok": 25}
        assert prometheus.value('burnmeter_target_up{target="sea"}') == 1
        assert prometheus.value("burnmeter_snapshot_timestamp_seconds > time() - 10") is not None
