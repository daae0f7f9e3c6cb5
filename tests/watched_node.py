"""A simulated node, an agent that watches it, and a real Prometheus with all our rules.

Rules are evaluated every two seconds rather than thirty, so that a minute shows what takes ten.
"""

import json
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from burnmeter import config, dialects, wiring
from burnmeter.export.server import Server
from burnmeter.export.web import application
from burnmeter.loop import Agent
from burnmeter.provision import rule_set
from burnmeter.provision.dashboard_files import Variable
from burnmeter.provision.rule_set import Wanted
from tests import promql, rule_files
from tests.parts import program
from tests.prometheus_server import blocks
from tests.servers import free_port

PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 2s}}
rule_files: [rules/*.yaml]
scrape_configs:
  - job_name: burnmeter
    static_configs: [{{targets: ["127.0.0.1:{agent}"], labels: {{cluster: east}}}}]
"""


class Asked:
    """A Prometheus, asked as Grafana asks it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **fields: str) -> Any:
        """What stands under `data` of an answer; `match` is sent as `match[]`."""
        named = {"match": "match[]"}
        asked = urllib.parse.urlencode({named.get(k, k): v for k, v in fields.items()})
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{asked}", timeout=30) as answer:
            return json.load(answer)["data"]

    def values(self, query: str) -> list[float]:
        """The numbers of a query now."""
        found = self.get("query", query=query)["result"]
        return [float(row["value"][1]) for row in found]

    def over(self, query: str, seconds: float) -> list[float]:
        """Every number of a query from so long ago until now."""
        now = time.time()
        begin = {"start": f"{now - seconds:.0f}", "end": f"{now:.0f}", "step": "5"}
        found = self.get("query_range", query=query, **begin)["result"]
        return [float(value) for row in found for _, value in row["values"]]

    def labels(self, variable: Variable, filled: dict[str, str]) -> list[str]:
        """Values of a variable, by its `label_values(series, label)`."""
        inner = variable.query.removeprefix("label_values(").removesuffix(")")
        series, _, label = inner.rpartition(", ")
        found: list[str] = self.get(f"label/{label}/values", match=promql.filled(series, filled))
        return found


@contextmanager
def watched(folder: Path, settings_text: str, *, story: Path | None, past: str) -> Iterator[Asked]:
    """The Prometheus, while all of it runs. `past`: what it had before, in OpenMetrics."""
    (folder / "config.yaml").write_text(settings_text, "utf-8")
    _rules(folder / "rules")
    with ExitStack() as stack:
        loaded = config.load(folder / "config.yaml", bounds=dialects.bounds_by_engine())
        settings, world = wiring.simulated_world(loaded, stack, story=story)
        agent, stop = Agent(settings, world), threading.Event()
        ticks = threading.Thread(target=agent.run, args=(stop,), daemon=True)
        app = application(lambda: agent.outlet, clock=world.wall_clock)
        server = stack.enter_context(Server(app, "127.0.0.1", 0))
        stack.callback(agent.close)
        stack.callback(ticks.join, 10)
        stack.callback(stop.set)
        ticks.start()
        blocks(folder, past)
        (folder / "prometheus.yml").write_text(PROMETHEUS.format(agent=server.port), "utf-8")
        port = free_port()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(_command(folder, port), stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield Asked(f"http://127.0.0.1:{port}")


def _rules(folder: Path) -> None:
    folder.mkdir()
    wanted = rule_files.objectives()
    for name, text in rule_set.files(wanted, Wanted(by=("model", "cluster"))).items():
        if not name.startswith(rule_set.TESTS):
            quick = re.sub(r"interval: (30s|5m)\b", "interval: 2s", text)
            (folder / name).write_text(quick, "utf-8")


def _command(folder: Path, port: int) -> list[str]:
    return [
        program("prometheus", package="prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
