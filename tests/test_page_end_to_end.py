"""From a request that fails to a pager that rings: every part is the real one, on one machine.

Simulated node -> agent -> Prometheus -> the rules of `burnmeter rules` -> Alertmanager -> webhook.
An hour of calm is written into Prometheus before, so that the windows are as full as in a fleet,
and the time to the page is the one that the rules promise.
"""

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from burnmeter.provision import reach
from burnmeter.simulate.node import SimulatedNode
from tests import rule_files
from tests.parts import program
from tests.prometheus_server import blocks
from tests.servers import free_port

pytestmark = pytest.mark.timeout(400)

ENGINE, CALM_SECONDS, SCRAPE_SECONDS, EVALUATE_SECONDS = "agents", 75.0, 5.0, 30.0
STORY = f"""
period_seconds: 100000
scenes:
  - {{at_seconds: {CALM_SECONDS}, seconds: 900, kind: errors, engine: {ENGINE}, error_ratio: 1}}
"""
AGENT = """
listen: 127.0.0.1:{port}
interval_seconds: 1
limits: {{scrape_timeout_seconds: 0.8}}
gpus: {{enabled: false}}
discovery: {{processes: false}}
targets: [{{name: agents, url: "{url}", model: ours}}]
slos: [{{name: errors, indicator: errors, objective_percent: 99.9}}]
"""
PROMETHEUS = """
global: {{scrape_interval: 5s, scrape_timeout: 2s}}
rule_files: [rules/slo-*.yaml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{manager}"]}}]}}]}}
scrape_configs: [{{job_name: burnmeter, static_configs: [{{targets: ["127.0.0.1:{agent}"]}}]}}]
"""
ALERTMANAGER = """
route: {{receiver: pager, group_by: [alertname, slo, model, severity], group_wait: 0s}}
receivers: [{{name: pager, webhook_configs: [{{url: "http://127.0.0.1:{pager}/"}}]}}]
"""


@contextmanager
def program_running(command: list[str], folder: Path) -> Iterator[None]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        yield
        assert process.poll() is None, log.read_text("utf-8")
    finally:
        process.terminate()
        process.wait(20.0)


@contextmanager
def pager(port: int) -> Iterator[list[tuple[float, dict[str, Any]]]]:
    """A webhook, and when it heard of which alert."""
    heard: list[tuple[float, dict[str, Any]]] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.extend((time.time(), alert) for alert in told["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Webhook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield heard
        server.shutdown()


def until(condition: Callable[[], Any], seconds: float, what: Callable[[], object]) -> Any:
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, what()
        time.sleep(0.2)
    return found


def counts(port: int) -> dict[str, float]:
    """Valid events and those that certainly are bad, of the agent's own page."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except (urllib.error.URLError, ConnectionError):
        return {}
    found: dict[str, float] = {}
    for line in lines:
        series, _, value = line.rpartition(" ")
        if series.startswith("burnmeter_slo_valid_total{"):
            found["valid"] = found.get("valid", 0.0) + float(value)
        elif series.startswith("burnmeter_slo_good_total{") and 'bound="upper"' in series:
            found["good"] = found.get("good", 0.0) + float(value)
    return found


def calm_hour(agent: int, until_seconds: float, per_second: float) -> str:
    """An hour of good requests before, as the scrape would have seen them, in OpenMetrics.

    And six hours of what the rules would have recorded of them, for their longer window.
    """
    where = f'indicator="errors",instance="127.0.0.1:{agent}",job="burnmeter",model="ours"'
    where += ',slo="errors",source="engine"'
    rows = {
        "burnmeter_slo_valid": f"{{{where}}}",
        "burnmeter_slo_good": f'{{{where},bound="upper"}}',
    }
    lines = []
    known = 'model="ours",slo="errors",indicator="errors"'
    known += ',sloth_id="ours-errors",sloth_service="ours",sloth_slo="errors"'
    for what, value in (("valid", 300 * per_second), ("bad", 0.0)):
        lines.append(f"# TYPE slo:sli_{what}:increase5m gauge")
        lines += [
            f"slo:sli_{what}:increase5m{{{known}}} {value:.3f} {until_seconds - 21600 + at:.3f}"
            for at in range(0, 21600, int(EVALUATE_SECONDS))
        ]
    for name, labels in rows.items():
        lines.append(f"# TYPE {name} counter")
        for step in range(int(3600 / SCRAPE_SECONDS)):
            at = until_seconds - 3600 + step * SCRAPE_SECONDS
            count = step * SCRAPE_SECONDS * per_second
            lines.append(f"{name}_total{labels} {count:.3f} {at:.3f}")
    return "\n".join([*lines, "# EOF", ""])


def test_a_page_rings_when_the_rules_promise_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent, server, manager, rings = (free_port() for _ in range(4))
    objective = rule_files.objective("errors", percent=99.9)
    rule_files.write(tmp_path / "rules", objective)
    (tmp_path / "story.yaml").write_text(STORY, "utf-8")
    (tmp_path / "alertmanager.yaml").write_text(ALERTMANAGER.format(pager=rings), "utf-8")
    config = PROMETHEUS.format(manager=manager, agent=agent)
    (tmp_path / "prometheus.yaml").write_text(config, "utf-8")
    trip = reach.promises(objective)[0].trip_ratio
    promised = reach.first(reach.promises(objective), "page", 1.0)
    assert promised is not None

    with ExitStack() as stack:
        node = stack.enter_context(SimulatedNode(story=tmp_path / "story.yaml"))
        target = next(target for target in node.targets if target.name == ENGINE)
        (tmp_path / "agent.yaml").write_text(AGENT.format(port=agent, url=target.url), "utf-8")
        run = [sys.executable, "-m", "burnmeter", "run", "--config", "agent.yaml"]
        stack.enter_context(program_running(run, tmp_path))
        heard = stack.enter_context(pager(rings))
        first = until(lambda: counts(agent).get("valid"), 30, lambda: "no events")
        began = time.time()
        until(lambda: time.time() - began > 15, 20, lambda: "time stands still")
        rate = (counts(agent)["valid"] - first) / (time.time() - began)
        blocks(tmp_path, calm_hour(agent, began - 60, rate))
        stack.enter_context(program_running(alertmanager(tmp_path, manager), tmp_path))
        stack.enter_context(program_running(prometheus(tmp_path, server), tmp_path))
        bad = lambda: (c := counts(agent)) and c["valid"] - c["good"] > 0  # noqa: E731
        until(bad, CALM_SECONDS, lambda: counts(agent))
        failing = time.time()
        assert heard == []
        tripped = None
        give_up = failing + 2 * promised + 120
        while not heard:
            assert time.time() < give_up, (tmp_path / "prometheus.log").read_text("utf-8")
            now, found = time.time(), counts(agent)
            # Of the hour behind now, as much as was written before the agent began.
            calm = rate * (3600 - (now - began + 60))
            if tripped is None and found["valid"] - found["good"] > trip * (calm + found["valid"]):
                tripped = now
            time.sleep(0.2)

    rang, alert = heard[0]
    assert tripped is not None
    with capsys.disabled():
        told = f"\n{promised:.0f} s by the formula, {tripped - failing:.0f} s by what failed"
        sys.stdout.write(f"{told}, {rang - failing:.0f} s at the pager ")
    assert alert["labels"] == {
        "alertname": "BurnmeterErrorBudgetBurn",
        "severity": "page",
        "slo": "errors",
        "indicator": "errors",
        "model": "ours",
        "sloth_id": "ours-errors",
        "sloth_service": "ours",
        "sloth_slo": "errors",
        "sloth_severity": "page",
    }
    assert alert["status"] == "firing"
    assert "certainly failed" in alert["annotations"]["description"]
    # At most one scrape, one evaluation and the way to the pager after the windows cannot bear it
    # any more; and before, only by what an increase is extrapolated.
    late = SCRAPE_SECONDS + EVALUATE_SECONDS + 10.0
    assert tripped - SCRAPE_SECONDS - 5.0 < rang < tripped + late


def alertmanager(folder: Path, port: int) -> list[str]:
    found = program("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager")
    return [
        found,
        "--config.file=alertmanager.yaml",
        f"--storage.path={folder / 'am'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]


def prometheus(folder: Path, port: int) -> list[str]:
    return [
        program("prometheus", package="prometheus"),
        "--config.file=prometheus.yaml",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
