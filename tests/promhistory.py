"""A real Prometheus with a past that a test writes down, sample by sample.

And the rules of `burnmeter rules`, for promtool to judge the same past by.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from burnmeter.model import Objective
from burnmeter.provision import rule_set
from burnmeter.provision.rule_set import Wanted
from tests.prometheus_server import holding
from tests.rule_files import failures

START = 1_764_000_000 // 3600 * 3600
"""2025-11-24, on a full hour."""
SCRAPE_SECONDS = 30


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


def prometheus(
    folder: Path, counters: Iterable[Counter], seconds: int
) -> AbstractContextManager[str]:
    """The address of a server that has this past."""
    return holding(folder, openmetrics(counters, seconds))


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
    (folder / "rules.yaml").write_text(rule_set.files([objective], Wanted())[_file(objective)])
    cases = [
        {
            "eval_time": f"{at}s",
            "expr": f'count(ALERTS{{alertname=~".*Burn",severity="{severity}",model="m"}})',
            "exp_samples": [{"labels": "{}", "value": 1}] if is_firing else [],
        }
        for (severity, at), is_firing in looks.items()
    ]
    series = [{"series": one.text, "values": _notation(one, seconds)} for one in counters]
    test = {
        "interval": f"{SCRAPE_SECONDS}s",
        "input_series": series,
        "promql_expr_test": cases,
    }
    told = {"rule_files": ["rules.yaml"], "evaluation_interval": "30s", "tests": [test]}
    (folder / "test.json").write_text(json.dumps(told))
    assert failures([folder / "test.json"]) == ""


def _file(objective: Objective) -> str:
    return f"slo-{objective.name}.yaml"


def _notation(counter: Counter, seconds: int) -> str:
    values = (value for _, value in counter.values(seconds))
    return " ".join("_" if value is None else f"{value:g}" for value in values)
