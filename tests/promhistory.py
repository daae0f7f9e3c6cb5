"""A real Prometheus with a past that a test writes down: OpenMetrics -> blocks -> server.

And rules that do the arithmetic of our alerts, for promtool to judge the same past by.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from burnmeter.model import Objective
from burnmeter.provision.conventions import duration
from burnmeter.provision.hindsight import spans
from burnmeter.provision.indicators import (
    BASE_SECONDS,
    INTERVAL_SECONDS,
    RAW_SECONDS,
    by_agents,
)
from burnmeter.slo import tiers
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


# --- the same past by promtool ------------------------------------------------------------------


def firing(
    folder: Path,
    objective: Objective,
    counters: Iterable[Counter],
    looks: Mapping[tuple[str, int], bool],
    *,
    seconds: int,
) -> None:
    """Promtool holds that these alerts fire, or do not, at (severity, seconds since the start)."""
    promtool = program("promtool", package="prometheus")
    (folder / "rules.json").write_text(json.dumps(alert_rules(objective)))
    cases = [
        {
            "eval_time": f"{at}s",
            "alertname": severity,
            "exp_alerts": [{"exp_labels": {"model": "m"}}] if is_firing else [],
        }
        for (severity, at), is_firing in looks.items()
    ]
    series = [{"series": one.text, "values": _notation(one, seconds)} for one in counters]
    test = {
        "interval": f"{SCRAPE_SECONDS}s",
        "input_series": series,
        "alert_rule_test": cases,
    }
    told = {"rule_files": ["rules.json"], "evaluation_interval": "30s", "tests": [test]}
    (folder / "test.json").write_text(json.dumps(told))
    done = subprocess.run(
        [promtool, "test", "rules", "test.json"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _notation(counter: Counter, seconds: int) -> str:
    values = (value for _, value in counter.values(seconds))
    return " ".join("_" if value is None else f"{value:g}" for value in values)


def alert_rules(objective: Objective) -> dict[str, Any]:
    """Rules of one objective: increases recorded over each window, and one alert per severity."""
    counted = by_agents(objective)
    rules: list[dict[str, str]] = []
    for seconds in sorted(spans(objective), key=lambda s: (s != BASE_SECONDS, s)):
        window = duration(seconds)
        for what, text in (("valid", counted.valid), ("bad", counted.bad_lower)):
            scale = INTERVAL_SECONDS / BASE_SECONDS
            summed = f"sum_over_time({what}:5m[{window}]) * {scale}"
            query = text(seconds) if seconds <= RAW_SECONDS else summed
            rules.append({"record": f"{what}:{window}", "expr": query})
        ratio = f"bad:{window} / (valid:{window} > 0)"
        rules.append({"record": f"ratio:{window}", "expr": ratio})
    for severity in ("page", "ticket"):
        tiers_ = tiers(objective.objective_ratio, objective.period_seconds)
        budget = 1 - objective.objective_ratio
        conditions = [
            f"(ratio:{duration(one.long_seconds)} > {one.factor * budget!r}"
            f" and ratio:{duration(one.short_seconds)} > {one.factor * budget!r}"
            f" and bad:{duration(one.long_seconds)} >= 3)"
            for one in tiers_
            if one.severity == severity
        ]
        rules.append({"alert": severity, "expr": " or ".join(conditions)})
    return {"groups": [{"name": "slo", "interval": "30s", "rules": rules}]}
