"""The verbs, as people meet them: transcripts in tests/cli, and what no transcript can show.

What a command finds out is tested where it is found; here are words, widths and exit codes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from burnmeter import catalog, reports
from burnmeter.cli import main
from burnmeter.explanation import explain
from burnmeter.inspection import inspect
from tests import servers
from tests.transcripts import FIXTURES, replayed

COMMAND = Path(sys.executable).with_name("burnmeter")
TRANSCRIPTS = sorted((Path(__file__).parent / "cli").glob("*.txt"))
VERBS = (
    "backtest",
    "canary",
    "check",
    "dashboards",
    "doctor",
    "explain",
    "inspect",
    "once",
    "record",
    "replay",
    "rules",
    "run",
    "top",
    "up",
)
WIDTH = 80


def burnmeter(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [COMMAND, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": str(WIDTH), **environment},
        timeout=60,
    )


def test_an_address_in_an_error_shows_no_secret() -> None:
    result = burnmeter("inspect", "http://user:hunter2@127.0.0.1:1/metrics?key=hunter2")

    assert result.returncode == 1
    assert "http://127.0.0.1:1/metrics" in result.stderr
    assert "hunter2" not in result.stdout + result.stderr


def test_a_models_name_steers_no_terminal(tmp_path: Path) -> None:
    page = tmp_path / "page.prom"
    page.write_text('vllm:generation_tokens_total{model_name="a\\nmodel b\x1b[2J"} 5\n')

    result = burnmeter("inspect", str(page))

    assert r"model a\x0amodel b\x1b[2J" in result.stdout.splitlines()


def too_wide(text: str) -> list[str]:
    return [line for line in text.splitlines() if len(line) > WIDTH]


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_comes_out_as_written(path: Path, tmp_path: Path, accept: bool) -> None:
    expected = path.read_text()

    now, answers = replayed(expected, tmp_path)

    if accept:
        path.write_text(now)
        expected = now
    assert now == expected, "if this is meant: pytest --accept"
    people = [answer for answer in answers if "--json" not in answer.command]
    assert [answer.command for answer in people if too_wide(answer.stdout)] == []


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_80_columns_and_says_the_exit_codes(verb: str) -> None:
    words = [verb, "--help"] if verb else ["--help"]

    result = CliRunner(env={"COLUMNS": str(WIDTH)}).invoke(main, words)

    assert result.exit_code == 0
    assert too_wide(result.stdout) == []
    assert "Exit codes: 0 " in result.stdout
    assert "..." not in result.stdout.partition("Commands:")[2]


@pytest.mark.parametrize(
    "page", sorted((FIXTURES / "engines").glob("*/*.prom")), ids=lambda path: path.stem
)
def test_every_recorded_page_is_told_in_80_columns(page: Path) -> None:
    told = reports.inspection(inspect(page.read_text()))

    assert too_wide(told) == []
    assert "model" in told


@pytest.mark.parametrize("name", catalog.metrics())
def test_every_metric_is_explained_in_80_columns(name: str) -> None:
    (found,) = explain(name)

    assert found.metric.name == name
    assert too_wide(reports.explanation(found)) == []


@pytest.mark.parametrize(
    "word",
    ["ttft", "ttft_seconds", "burnmeter_ttft_seconds", "vllm:time_to_first_token_seconds"],
)
def test_a_metric_has_several_names(word: str) -> None:
    assert [one.metric.name for one in explain(word)] == ["burnmeter_ttft_seconds"]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything; other users have no such right."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize("verb", ["check", "run", "up", "once", "doctor"])
def test_a_config_that_may_not_be_read_is_a_problem_of_the_file_and_no_wrong_call(
    verb: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "config.yaml").touch(mode=0o000)

    with chdir(tmp_path), as_nobody():
        result = CliRunner().invoke(main, [verb, "--config", "config.yaml"])

    assert result.stderr == "config.yaml:1:1: cannot be read: Permission denied\n"
    assert result.exit_code == 1


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with chdir(tmp_path):
        result = CliRunner().invoke(main, ["check", "--config", "."])

    assert result.stderr == ".:1:1: cannot be read: Is a directory\n"
    assert result.exit_code == 1


@pytest.mark.parametrize("config", ["", "intervall_seconds: 5\n"], ids=["right", "wrong, too"])
def test_check_tells_the_mistakes_of_the_file_of_prices_beside_the_configs(
    tmp_path: Path, config: str
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("gpu_dollars_per_hour: {H100: cheap}\n")
    with chdir(tmp_path):
        Path("config.yaml").write_text(f"{config}prices: {{file: {prices}}}\n")
        result = CliRunner().invoke(main, ["check", "--config", "config.yaml"])
        for_machines = CliRunner().invoke(main, ["check", "--config", "config.yaml", "--json"])

    places = [":".join(line.split(":")[:3]) for line in result.stderr.splitlines()]
    assert places == ["config.yaml:1:1"] * bool(config) + [f"{prices}:1:30"]
    assert (result.stdout, result.exit_code, for_machines.exit_code) == ("", 1, 1)
    told = json.loads(for_machines.stdout)
    assert [one["path"] for one in told["problems"]] == [place.split(":")[0] for place in places]
    assert "config" not in told


# --- once --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def looked_once() -> "subprocess.CompletedProcess[str]":
    """`once --simulate`, which takes a second and is asked for once."""
    return burnmeter("once", "--simulate", "--seconds", "1", "--json")


def test_once_prints_a_whole_snapshot_with_numbers(
    looked_once: "subprocess.CompletedProcess[str]",
) -> None:
    found = json.loads(looked_once.stdout)

    assert found["is_simulated"] is True
    assert [view["is_up"] for view in found["targets"]] == [True] * 3
    assert len(found["gpus"]) == 8
    assert all(view["generated_tokens_per_second"] > 0 for view in found["models"])
    assert looked_once.stderr == ""
    assert looked_once.returncode == any(v["state"] == "burning" for v in found["models"])


def test_once_for_people_fits_80_columns() -> None:
    result = burnmeter("once", "--simulate", "--seconds", "0.5")

    assert "SIMULATED: not a real node" in result.stdout
    assert too_wide(result.stdout) == []
    assert result.stderr == ""


def test_once_exits_with_1_when_something_burns(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    url = "http://127.0.0.1:9/metrics"  # Discard: nothing listens there.
    off = "gpus: {enabled: false}\ndiscovery: {processes: false}\n"
    config.write_text(f"{off}targets: [{{url: {url}}}]")

    result = burnmeter("once", "--seconds", "0.1", "--config", str(config))

    assert result.returncode == 1
    assert "127.0.0.1:9: burning, no engine answers" in result.stdout


def test_two_looks_far_apart_are_one_interval_that_was_watched(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    with servers.Server(servers.keeps_alive) as engine:
        off = "gpus: {enabled: false}\ndiscovery: {processes: false}\n"
        config.write_text(f"{off}interval_seconds: 1\nlimits: {{scrape_timeout_seconds: 0.5}}\n")
        with config.open("a") as file:
            file.write(f"targets: [{{url: {engine.url}}}]\n")

        result = burnmeter("once", "--json", "--seconds", "4", "--config", str(config))

    found = json.loads(result.stdout)
    (availability,) = (b for b in found["burns"] if b["objective"]["indicator"] == "availability")
    assert availability["total"]["valid"] == pytest.approx(4.0, abs=1.0)
    assert [event["kind"] for event in found["events"]] == ["up"]


# --- pages that must not be believed -------------------------------------------------------------


def test_a_url_that_says_nothing_is_given_up() -> None:
    with servers.Server(servers.is_silent) as silent:
        result = burnmeter("inspect", silent.url)

    assert result.returncode == 1
    assert "took the connection but said nothing within 3 s" in result.stderr


def test_a_url_that_never_ends_is_cut_at_the_limit() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + b"#" * 65536 + b"\r\n"
    with servers.Server(servers.floods(head, piece)) as flood:
        result = burnmeter("inspect", flood.url)

    assert result.returncode == 1
    assert "sent more than the limit of 8000000 bytes" in result.stderr


def test_a_file_that_never_ends_is_cut_at_the_limit() -> None:
    result = burnmeter("inspect", "/dev/zero")

    assert result.returncode == 1
    assert result.stderr == (
        "burnmeter: /dev/zero: holds more than 8000000 bytes; is it a metrics page?\n"
    )


def test_a_terminal_that_lacks_our_signs_gets_others() -> None:
    page = FIXTURES / "engines/vllm/0.32.0-bench-after.prom"

    result = burnmeter("inspect", str(page), PYTHONIOENCODING="latin-1:strict")

    assert result.returncode == 0
    assert "TTFT" in result.stdout
    assert "60?80 ms" in result.stdout


def test_a_reader_that_stops_reading_ends_us_quietly() -> None:
    command = f"{COMMAND} explain ttft | head -1"

    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)

    assert result.stdout.startswith("burnmeter_ttft_seconds")
    assert result.stderr == ""


@pytest.mark.parametrize("words", [["explain", "ttft"], ["--help"]])
def test_a_full_disk_is_said_in_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run([COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True)

    assert result.stderr == "burnmeter: the system refuses to go on: No space left on device\n"
    assert result.returncode == 1
