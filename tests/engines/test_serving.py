"""The real engines start, serve, count what their client counted, and are gone afterwards."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.engines import load
from tests.engines.serving import Server, free_port, is_alive, llamacpp_server, running
from tests.parts import engine_environment

pytestmark = [pytest.mark.engines, pytest.mark.timeout(480)]


def total(page: str, name: str, **labels: str) -> float:
    """Sum of a page's samples of that name with those labels, read by the reference parser."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def settled(server: Server, name: str, **labels: str) -> str:
    """The page once `name` (requests in the engine) is back at 0."""
    for _ in range(50):
        page = server.page()
        if total(page, name, **labels) == 0:
            return page
        time.sleep(0.1)
    raise AssertionError(f"{name} stays above 0")


def test_llamacpp_counts_the_tokens_its_client_counted(llamacpp: Server) -> None:
    before = llamacpp.page()

    asks = [*load.ok(20), *load.ok(10, is_stream=False)]
    truth = load.run_load(llamacpp.url, asks)

    after = settled(llamacpp, "llamacpp:requests_processing")
    names = ("prompt_tokens_total", "prompt_tokens_cached_total", "tokens_predicted_total")
    computed, cached, generated = (
        total(after, f"llamacpp:{name}") - total(before, f"llamacpp:{name}") for name in names
    )
    assert truth.requests() == {"ok": 30}
    assert computed + cached == truth.prompt_tokens() > 0
    assert generated == truth.completion_tokens() == 30 * 16


def test_vllm_counts_the_requests_and_tokens_its_client_counted(vllm: Server) -> None:
    before = vllm.page()

    asks = [*load.ok(20), *load.ok(10, is_stream=False)]
    truth = load.run_load(vllm.url, asks)

    after = settled(vllm, "vllm:num_requests_running")
    names = ("request_success_total", "prompt_tokens_total", "generation_tokens_total")
    served, prompt, generated = (
        total(after, f"vllm:{name}") - total(before, f"vllm:{name}") for name in names
    )
    assert truth.requests() == {"ok": served} == {"ok": 30}
    assert prompt == truth.prompt_tokens() > 0
    assert generated == truth.completion_tokens() == 30 * 16


COMPLETIONS = {"endpoint": "/v1/completions"}


def test_sglang_counts_the_requests_and_tokens_its_client_counted(sglang: Server) -> None:
    active = "sglang:http_requests_active"  # back at 0 two seconds after the last stream's end
    before = settled(sglang, active, **COMPLETIONS)

    asks = [*load.ok(10), *load.ok(6, is_stream=False)]
    truth = load.run_load(sglang.url, asks)

    after = settled(sglang, active, **COMPLETIONS)

    def grown(name: str, **labels: str) -> float:
        return total(after, f"sglang:{name}", **labels) - total(before, f"sglang:{name}", **labels)

    assert truth.requests() == {"ok": grown("num_requests_total")} == {"ok": 16}
    assert grown("http_responses_total", status_code="200", **COMPLETIONS) == 16
    assert grown("time_to_first_token_seconds_count", is_streaming="true") == 10
    assert grown("time_to_first_token_seconds_count", is_streaming="false") == 6
    assert grown("prompt_tokens_total") == truth.prompt_tokens() > 0
    assert grown("generation_tokens_total") == truth.completion_tokens() == 16 * 16
    # A request's first token comes of its prompt's pass, not of a decode step.
    assert grown("realtime_tokens_total", mode="decode") == truth.completion_tokens() - 16


def test_the_client_tells_what_it_broke_itself(llamacpp: Server) -> None:
    truth = load.run_load(llamacpp.url, [*load.aborted(3), *load.ok(2)])

    assert truth.requests() == {"aborted": 3, "ok": 2}
    assert len(truth.ttft_seconds()) == 5
    assert json.loads(json.dumps(truth.as_json()))["completion_tokens"] == 2 * 16


def test_the_client_tells_refusals_apart(vllm: Server) -> None:
    asks = [*load.bad_value(2), *load.unknown_model(3), *load.ok(1)]

    assert load.run_load(vllm.url, asks).requests() == {"http_400": 2, "http_404": 3, "ok": 1}


def test_a_client_without_a_server_says_no_answer() -> None:
    truth = load.run_load(f"http://127.0.0.1:{free_port()}", load.ok(2))

    assert truth.requests() == {"no_answer": 2}
    assert truth.ttft_seconds() == []


def test_no_process_is_left_when_a_test_fails(tmp_path: Path) -> None:
    seen: list[Server] = []
    processes: list[psutil.Process] = []

    def failing_test() -> None:
        with llamacpp_server(tmp_path) as server:
            seen.append(server)
            processes.extend(server.processes())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_test()

    assert len(processes) >= 1
    assert not any(is_alive(process) for process in processes)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(seen[0].url.rpartition(":")[2]))) != 0


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    start = running("broken", command, free_port(), tmp_path, {}, 10.0)

    with pytest.raises(RuntimeError, match="no such model"), start:
        pass


def test_a_killed_test_run_takes_its_server_with_it(tmp_path: Path) -> None:
    engine_environment("llamacpp")
    code = (
        "import sys, time; from pathlib import Path; from tests.engines.serving import *\n"
        "with llamacpp_server(Path(sys.argv[1])) as server: print(server.pid); time.sleep(60)\n"
    )
    command = [sys.executable, "-u", "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        server = psutil.Process(int(runner.stdout.readline()))
        runner.kill()

    psutil.wait_procs([server], timeout=10)
    assert not is_alive(server)
