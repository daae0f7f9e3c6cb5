"""The installed command as a process: it starts, shows numbers, and ends when it is told to.

What the page and the metrics say is tested elsewhere; here are signals, children, ports and a real
Prometheus. One running `up --simulate` is shared by those who only look.
"""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import psutil
import pytest

from tests import servers
from tests.nvml import Node
from tests.parts import program

COMMAND = [str(Path(sys.executable).with_name("burnmeter"))]
ANY_PORT = "listen: 127.0.0.1:0\n"
START_SECONDS = 20.0
END_SECONDS = 2.0


class Running:
    """A started command that has said where it listens."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process, self.log = process, log
        self.said = ""
        assert process.stdout is not None
        for line in process.stdout:
            self.said += line
            if "/metrics" in line:
                break
        found = re.search(r"http://127\.0\.0\.1:\d+", self.said)
        assert found, f"it did not start:\n{self.said}{log.read_text()}"
        self.url = found[0]

    def get(self, path: str) -> bytes:
        with urlopen(self.url + path, timeout=5) as answer:
            return bytes(answer.read())

    def snapshot(self) -> dict[str, Any]:
        """The JSON of the last tick; {} before the first."""
        try:
            return dict(json.loads(self.get("/api/v1/snapshot")))
        except URLError:
            return {}

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def ends(self, number: int) -> tuple[int, float]:
        """Exit code, and seconds since the signal."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(30)
        return code, time.monotonic() - began


@contextmanager
def running(folder: Path, *arguments: str, config: str = ANY_PORT) -> Iterator[Running]:
    """The command with a config file, killed in the end if it still runs."""
    file, log = folder / "config.yaml", folder / "stderr.txt"
    file.write_text(config)
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--config", str(file)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with process:
        try:
            yield Running(process, log)
        finally:
            process.kill()


def eventually(has: Callable[[], Any], seconds: float = START_SECONDS) -> Any:
    """What `has` gives once it is true of something."""
    until = time.monotonic() + seconds
    while not (found := has()):
        assert time.monotonic() < until, f"not within {seconds:g} s"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`burnmeter up --simulate`, for those who only look."""
    with running(tmp_path_factory.mktemp("up"), "up", "--simulate") as started:
        yield started


def test_a_simulated_node_shows_live_numbers_within_ten_seconds(simulated: Running) -> None:
    def rates() -> list[float]:
        models = simulated.snapshot().get("models", [])
        return [rate for view in models if (rate := view["generated_tokens_per_second"])]

    assert len(eventually(rates, 10.0)) == 3

    assert "SIMULATED" in simulated.said
    page = simulated.get("/").decode()
    assert "imulated" in page
    assert "tokens/s" in page
    assert b'simulated="true"' in simulated.get("/metrics")
    assert simulated.get("/healthz").startswith(b"ok")


SCRAPES = """
scrape_configs:
  - job_name: burnmeter
    scrape_interval: 1s
    static_configs: [{targets: ["ADDRESS"]}]
"""


@pytest.fixture
def prometheus(tmp_path: Path, simulated: Running) -> Iterator[str]:
    """The address of a real Prometheus that scrapes the simulated node."""
    path, port = program("prometheus", package="prometheus"), servers.free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(SCRAPES.replace("ADDRESS", simulated.url.removeprefix("http://")))
    arguments = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    arguments.append(f"--web.listen-address=127.0.0.1:{port}")
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([path, *arguments], stderr=log) as it,
    ):
        yield f"http://127.0.0.1:{port}"
        it.kill()


def test_a_real_prometheus_takes_every_series(prometheus: str, simulated: Running) -> None:
    def query(text: str) -> list[float]:
        try:
            with urlopen(f"{prometheus}/api/v1/query?query={quote(text)}", timeout=5) as answer:
                found = json.load(answer)["data"]["result"]
        except URLError:
            return []
        return [float(row["value"][1]) for row in found]

    (tokens,) = eventually(lambda: query('sum(burnmeter_tokens_total{kind="generated"})'), 30.0)

    assert tokens > 0.0
    assert query("up") == [1.0]
    lines = simulated.get("/metrics").decode().splitlines()
    series = len([line for line in lines if not line.startswith("#")])
    assert query('scrape_samples_scraped{job="burnmeter"}')[0] == pytest.approx(series, rel=0.2)
    # A quantile over all engines of a model is what the histograms are for.
    (p95,) = eventually(
        lambda: query("histogram_quantile(0.95, sum by (le) (burnmeter_ttft_seconds_bucket))")
    )
    assert 0.0 < p95 < 60.0


@pytest.fixture(autouse=True)
def _hangups_are_heard() -> Iterator[None]:
    """Whoever starts the tests with nohup hands on to every child that SIGHUP is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_at_once_with_0_and_without_a_child(tmp_path: Path, number: int) -> None:
    with running(tmp_path, "up", "--simulate") as started:
        eventually(started.snapshot)
        children = started.children()

        code, seconds = started.ends(number)

        assert code == 0
        assert seconds < END_SECONDS
        assert len(children) == 1
        assert psutil.wait_procs(children, timeout=1.0)[1] == []
        log = started.log.read_text()
        assert "Traceback" not in log
        assert log.splitlines()[-1].endswith(" INFO burnmeter stopped")


def test_a_closed_terminal_ends_it_as_a_signal_does(tmp_path: Path) -> None:
    file, (ours, theirs) = tmp_path / "config.yaml", pty.openpty()
    file.write_text(ANY_PORT)
    command = [*COMMAND, "up", "--simulate", "--config", str(file)]
    script = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY)"
    started = subprocess.Popen(
        [sys.executable, "-c", f"{script}; os.execv(sys.argv[1], sys.argv[1:])", *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    with started:
        os.close(theirs)
        said = b""
        while b"/metrics" not in said:
            said += os.read(ours, 4096)
        children = psutil.Process(started.pid).children(recursive=True)

        os.close(ours)

        assert started.wait(END_SECONDS) == 0
        assert len(children) == 1
        assert psutil.wait_procs(children, timeout=1.0)[1] == []


def test_what_was_started_to_outlive_its_terminal_does(tmp_path: Path) -> None:
    file, log = tmp_path / "config.yaml", tmp_path / "log"
    file.write_text(f"{ANY_PORT}gpus: {{enabled: false}}\n")
    command = ["nohup", *COMMAND, "run", "--config", str(file)]
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL) as it,
    ):
        eventually(lambda: "/metrics" in log.read_text())
        it.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            it.wait(1.0)
        it.send_signal(signal.SIGTERM)
        assert it.wait(END_SECONDS) == 0


def test_engines_that_hang_do_not_delay_the_end(tmp_path: Path) -> None:
    with servers.Server(servers.is_silent) as silent:
        config = f"""{ANY_PORT}
interval_seconds: 60
gpus: {{enabled: false}}
discovery: {{processes: false}}
limits: {{scrape_timeout_seconds: 50}}
targets: [{{url: "{silent.url}"}}]
"""
        with running(tmp_path, "run", config=config) as started:
            eventually(lambda: silent.connections)

            code, seconds = started.ends(signal.SIGTERM)

            assert code == 0
            assert seconds < END_SECONDS
            assert "Traceback" not in started.log.read_text()


def test_a_driver_that_hangs_does_not_delay_the_end(
    tmp_path: Path, gpu_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", gpu_node.library_path)
    gpu_node.has(gpus=1)
    gpu_node.says({"hang": "nvmlDeviceGetPowerUsage"})
    config = f"{ANY_PORT}\ngpus: {{timeout_seconds: 50}}\ndiscovery: {{processes: false}}\n"
    with running(tmp_path, "run", config=config) as started:
        eventually(lambda: any("PowerUsage" in call for call in gpu_node.calls()))
        children = started.children()

        code, seconds = started.ends(signal.SIGTERM)

        assert code == 0
        assert seconds < END_SECONDS
        assert len(children) == 1
        assert psutil.wait_procs(children, timeout=1.0)[1] == []
        assert "Traceback" not in started.log.read_text()


def test_clients_that_hang_do_not_delay_the_end(tmp_path: Path) -> None:
    config = f"{ANY_PORT}\ngpus: {{enabled: false}}\ndiscovery: {{processes: false}}"
    with running(tmp_path, "run", config=config) as started:
        port = int(started.url.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port)) as half,
            socket.create_connection(("127.0.0.1", port)),
        ):
            half.sendall(b"GET /metrics HTTP/1.1\r\nHost: a")
            eventually(started.snapshot)

            code, seconds = started.ends(signal.SIGTERM)

    assert code == 0
    assert seconds < END_SECONDS


# --- accidents -----------------------------------------------------------------------------------


def test_a_simulation_that_dies_is_said_and_the_agent_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, "up", "--simulate") as started:
        eventually(lambda: started.snapshot().get("models"))
        (child,) = started.children()
        child.kill()

        def down() -> bool:
            snapshot = started.snapshot()
            read = [view for view in snapshot["sources"] if view["source"] != "models"]
            return not any(view["is_up"] for view in snapshot["targets"] + read)

        eventually(down)

        log = started.log.read_text()
        assert "WARNING gpus: the simulated node has ended" in log
        assert "WARNING chat: down:" in log
        ticks = started.snapshot()["health"]["ticks"]
        eventually(lambda: started.snapshot()["health"]["ticks"] > ticks)
        assert started.get("/healthz").startswith(b"ok")
        assert started.ends(signal.SIGTERM)[0] == 0


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path, simulated: Running) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"listen: {simulated.url.removeprefix('http://')}\n")

    result = subprocess.run(
        [*COMMAND, "run", "--config", str(file)], capture_output=True, text=True, timeout=30
    )

    assert result.returncode == 1
    assert result.stderr.startswith("burnmeter: 127.0.0.1:")
    assert "is in use by another program; stop it or set `listen:`" in result.stderr
    assert len(result.stderr.splitlines()) == 1
