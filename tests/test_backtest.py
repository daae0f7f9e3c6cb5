"""`burnmeter backtest` against a real Prometheus with a past that is known to the minute.

What a test expects is worked out by hand beside it. That promtool sees the same alerts by rules of
the same arithmetic is asked for every alert that was found.
"""

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from burnmeter.model import Objective
from tests.promhistory import START, Counter, firing, prometheus

COMMAND = Path(sys.executable).with_name("burnmeter")
MINUTE, HOUR = 60, 3600
CONFIG = """
slos:
  - {name: errors, indicator: errors, objective_percent: 99}
  - {name: ttft, indicator: ttft, threshold_seconds: 1, objective_percent: 95}
models: {/models/m: m}
"""
ERRORS = Objective(name="errors", indicator="errors", objective_ratio=0.99)
TTFT = Objective(name="ttft", indicator="ttft", objective_ratio=0.95, threshold_seconds=1.0)


def at(hours: int, minutes: int = 0) -> int:
    return hours * HOUR + minutes * MINUTE


def backtest(folder: Path, url: str, *words: str, end: int) -> "subprocess.CompletedProcess[str]":
    """The installed command over all of the past until `end`."""
    config = folder / "config.yaml"
    config.write_text(CONFIG)
    until = datetime.fromtimestamp(START + end, UTC).isoformat()
    given = ["--config", str(config), "--until", until, "--since", f"{end // HOUR}h", *words]
    return subprocess.run(
        [COMMAND, "backtest", "--prometheus", url, *given],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", "MPLCONFIGDIR": str(folder)},
        timeout=100,
    )


def alerts(told: dict[str, Any], slo: str) -> list[tuple[str, float, float | None]]:
    """Severity, fired and cleared in minutes since the start."""
    (one,) = [one for one in told["objectives"] if one["slo"] == slo]
    return [
        (
            alert["severity"],
            (alert["fired_timestamp_seconds"] - START) / MINUTE,
            None
            if alert["cleared_timestamp_seconds"] is None
            else (alert["cleared_timestamp_seconds"] - START) / MINUTE,
        )
        for alert in one["alerts"]
    ]


# --- by agents -----------------------------------------------------------------------------------

END = at(44)
GAP = (at(30, 30), at(31, 30))


def failing(second: int) -> float:
    """Half of all requests, for an hour."""
    return 0.5 if at(40) < second <= at(41) else 0.0


def slow(second: int) -> float:
    """Every first token is late, for two hours."""
    return 1.0 if at(30) < second <= at(32) else 0.0


def of_agents() -> Iterator[Counter]:
    """Two nodes and two objectives; an hour without samples; one agent restarts."""
    for node, resets in (("a", ()), ("b", (at(35),))):
        for slo, bad in (("errors", failing), ("ttft", slow)):
            labels = {"job": "agents", "instance": node, "slo": slo, "model": "m"}
            rest: dict[str, Any] = {"resets": resets, "gaps": (GAP,)}
            yield Counter("burnmeter_slo_valid_total", labels, lambda _: 60.0, **rest)
            for bound in ("lower", "upper"):
                grows = lambda second, bad=bad: 60.0 * (1.0 - bad(second))  # noqa: E731
                more = {**labels, "bound": bound}
                yield Counter("burnmeter_slo_good_total", more, grows, **rest)


@pytest.fixture(scope="module")
def agents_past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("agents"), of_agents(), END) as url:
        yield url


@pytest.fixture(scope="module")
def by_agents(agents_past: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = backtest(tmp_path_factory.mktemp("told"), agents_past, "--json", end=END)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_an_outage_is_found_to_the_minute(by_agents: dict[str, Any]) -> None:
    # Page, 14.4 % over 1 h: half of t minutes is more than 14.4 % of 60 after 17.3 of them. It ends
    # with the second tier, 6 % over 30 min: half of 30 - t is no more than 1.8 after 26.4.
    # Ticket, 1 % over 3 d, of which only 39 h 1 min 0 s were counted before the outage: half of t
    # is more than 1 % of 2341 + t after 47.8 minutes.
    page, ticket = alerts(by_agents, "errors")

    assert page == ("page", at(40, 18) / MINUTE, at(41, 27) / MINUTE)
    assert ticket == ("ticket", at(40, 50) / MINUTE, None)


def test_a_gap_ends_an_alert_which_comes_back_with_the_samples(by_agents: dict[str, Any]) -> None:
    # Half of the last 20 minutes is late after 10 of them. In the gap the short window, 2 min, has
    # a single sample after a minute and a half. With the second sample after it everything known
    # is late.
    pages = [one for one in alerts(by_agents, "ttft") if one[0] == "page"]

    assert pages == [
        ("page", at(30, 11) / MINUTE, at(30, 32) / MINUTE),
        ("page", at(31, 31) / MINUTE, at(32, 1) / MINUTE),
    ]


def test_time_without_samples_is_not_measured(by_agents: dict[str, Any]) -> None:
    # Of 44 h an hour has no sample; in its first 4 minutes the last 5 still have two.
    (one, _) = by_agents["objectives"]

    assert one["measured_ratio"] == pytest.approx(1 - (61 - 4) / (44 * 60), abs=1.5 / (44 * 60))
    assert by_agents["from"] == "agents"


@pytest.mark.parametrize("objective", [ERRORS, TTFT], ids=lambda one: one.name)
def test_promtool_sees_the_same_alerts(
    objective: Objective, by_agents: dict[str, Any], tmp_path: Path
) -> None:
    looks: dict[tuple[str, int], bool] = {}
    for severity, fired, cleared in alerts(by_agents, objective.name):
        edges = [(fired, True), *([(cleared, False)] if cleared is not None else [])]
        for minute, is_firing in edges:
            looks[severity, int(minute - 1) * MINUTE] = not is_firing
            looks[severity, int(minute) * MINUTE] = is_firing
    ours = [one for one in of_agents() if one.labels["slo"] == objective.name]

    assert len(looks) >= 6
    firing(tmp_path, objective, ours, looks, seconds=END)


# --- by engines ----------------------------------------------------------------------------------

ENGINE_END = at(30)


def failing_engine(second: int) -> float:
    return 0.5 if at(20) < second <= at(20, 40) else 0.0


def slow_engine(second: int) -> float:
    return 0.9 if at(25) < second <= at(25, 20) else 0.0


def of_engine(instance: str, *, bounds: tuple[str, ...] = ("0.5", "1.0")) -> Iterator[Counter]:
    """A page as it was scraped before any agent was there."""
    target = {"job": "vllm", "instance": instance}
    labels = {**target, "model_name": "/models/m"}
    for le in (*bounds, "+Inf"):
        is_last = le == "+Inf"
        grows = lambda s, last=is_last: 30.0 if last else 30.0 * (1.0 - slow_engine(s))  # noqa: E731
        more = {**labels, "le": le}
        yield Counter("vllm:time_to_first_token_seconds_bucket", more, grows)
    yield Counter("vllm:time_to_first_token_seconds_count", labels, lambda _: 30.0)
    success = {**labels, "finished_reason": "stop"}
    yield Counter("vllm:request_success_total", success, lambda s: 30.0 * (1.0 - failing_engine(s)))
    for handler, status in (("/v1/completions", "5xx"), ("/health", "5xx")):
        more = {**target, "handler": handler, "status": status}
        yield Counter("http_requests_total", more, lambda s: 30.0 * failing_engine(s))


@pytest.fixture(scope="module")
def engines_past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    past = [*of_engine("a"), *of_engine("b", bounds=("0.25", "0.5", "1", "2.5"))]
    with prometheus(tmp_path_factory.mktemp("engines"), past, ENGINE_END) as url:
        yield url


def test_an_outage_from_before_any_agent_is_found_to_the_minute(
    engines_past: str, tmp_path: Path
) -> None:
    # Errors: as above, 17.3 minutes of half; 20 of 360 minutes are no 6 %.
    # The short window, 5 min, is at 14.4 % when half of 5 - t is 0.72: after 3.56 minutes.
    # TTFT: nine of ten in t of 20 minutes are more than half after 11.1 of them; and over 100 s
    # less than half as soon as two of four scrapes are good again, or one of three.
    done = backtest(tmp_path, engines_past, "--json", end=ENGINE_END)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    assert told["from"] == "engines"
    pages = [one for one in alerts(told, "errors") if one[0] == "page"]
    assert pages == [("page", at(20, 18) / MINUTE, at(20, 44) / MINUTE)]
    pages = [one for one in alerts(told, "ttft") if one[0] == "page"]
    assert pages == [("page", at(25, 12) / MINUTE, at(25, 21) / MINUTE)]
    assert [(one["slo"], one["model"], one["source"]) for one in told["objectives"]] == [
        ("errors", "m", "vLLM"),
        ("ttft", "m", "vLLM"),
    ]


def test_people_read_a_table_the_alerts_and_a_chart(engines_past: str, tmp_path: Path) -> None:
    chart = tmp_path / "budget.png"

    done = backtest(tmp_path, engines_past, "--chart", str(chart), end=ENGINE_END)

    # 30 h are 1801 points, and 45001 with the period before. Errors: 3 texts over 5 min and 2 over
    # 30 min, 1 h and 2 h each; TTFT one window more; a query gives 10000 points of a series.
    assert done.returncode == 0
    assert done.stderr == (
        f"{engines_past}: by engines' own metrics; 44 queries, at most 295220 points\n"
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert lines[0] == "2025-11-24 16:00 to 2025-11-25 22:00 UTC, looked at every 1 min"
    assert "    page    2025-11-25 12:18 - 12:44  26m  worst burn 50" in lines
    assert "  availability" not in done.stdout
    assert chart.read_bytes().startswith(b"\x89PNG\r\n")


def test_auto_takes_the_agents_counters_where_there_are_any(
    agents_past: str, tmp_path: Path
) -> None:
    done = backtest(tmp_path, agents_past, "--model", "m", end=at(2))

    assert "by burnmeter's own counters" in done.stderr
    assert "no alert would have fired" in done.stdout


def test_a_time_in_which_nothing_was_counted_is_an_error(agents_past: str, tmp_path: Path) -> None:
    done = backtest(tmp_path, agents_past, "--from", "agents", "--model", "other", end=at(2))

    assert done.returncode == 1
    assert done.stdout == (
        "not measured:\n"
        "  errors: no agent has counted it of other in this time\n"
        "  ttft: no agent has counted it of other in this time\n"
    )
    assert done.stderr.endswith("burnmeter: nothing was measured\n")


def test_where_nobody_counted_it_says_so(agents_past: str, tmp_path: Path) -> None:
    done = backtest(tmp_path, agents_past, "--from", "engines", end=at(2))

    assert done.returncode == 1
    assert "  errors: no engine that we know has history here\n" in done.stdout


def test_who_waits_at_a_terminal_sees_how_far_it_is(agents_past: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    until = datetime.fromtimestamp(START + at(2), UTC).isoformat()
    words = ["--prometheus", agents_past, "--since", "1h", "--json", "--until", until]
    with (
        os.fdopen(ours, "rb") as terminal,
        subprocess.Popen(
            [COMMAND, "backtest", *words], stdout=subprocess.DEVNULL, stderr=theirs
        ) as started,
    ):
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # So a terminal ends whose other side has closed.
            while piece := os.read(terminal.fileno(), 4096):
                said += piece

    assert started.returncode == 0
    assert b"\r1 of 44 queries\r2 of 44 queries" in said
    assert said.endswith(b"44 of 44 queries\r\x1b[K")


def test_what_is_called_wrongly_says_what_would_be_right(tmp_path: Path) -> None:
    def said(*words: str) -> str:
        done = subprocess.run(
            [COMMAND, "backtest", "--prometheus", "http://127.0.0.1:1", *words],
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "80"},
            timeout=60,
        )
        assert done.returncode == 2
        return done.stderr.splitlines()[-1]

    assert said("--since", "30") == (
        "Error: Invalid value for '--since': `30` is no length of time; write one like 30d, 12h or"
        " 60s"
    )
    assert said("--step", "1h") == (
        "Error: Invalid value for '--step': `1h` is not between 15s and 5m"
    )
    assert said("--until", "yesterday") == (
        "Error: Invalid value for '--until': `yesterday` is no moment; write one like"
        " 2026-11-03T12:00:00Z"
    )
    assert said("--until", "2026-11-03T12:00:00") == (
        "Error: Invalid value for '--until': `2026-11-03T12:00:00` names no zone; write"
        " 2026-11-03T12:00:00Z if it is UTC"
    )


def test_what_stops_it_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    def said(*words: str) -> str:
        done = subprocess.run(
            [COMMAND, "backtest", "--prometheus", "http://127.0.0.1:1", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
        )
        assert done.returncode == 1
        return done.stderr

    assert said() == "burnmeter: http://127.0.0.1:1 does not answer: Connection refused\n"
    assert said("--token-file", "no") == (
        "burnmeter: no: cannot be read: No such file or directory\n"
    )
    assert said("--token-file", "empty") == "burnmeter: empty: holds no token\n"
    assert said("--token-file", "binary") == (
        "burnmeter: binary: cannot be read: it is no text of a token\n"
    )
