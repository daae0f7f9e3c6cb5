"""What being watched does to an engine's users: TTFT of a loaded vLLM with the agent and without.

Run as `python -m tests.bench.bench_harm [PAIRS]`; needs vLLM (tests/engines/README.md). Rounds with
the real daemon at its default of 5 s (A) and without (B) follow each other as A B B A, on one
engine, so that what drifts hits both. A round is short: only the medians over rounds mean anything,
and B against B says how much of them is noise.
"""

import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.engines import load
from tests.engines.serving import Server, free_port, vllm_server
from tests.parts import engine_environment

ASKS = 60
INTERVAL_SECONDS = 0.25
"""Four requests a second of 16 tokens at 20 to 30 ms each: two cores are busy, and not swamped."""
PAUSE_SECONDS = 2.0
"""Before each round. The agent's own start is no part of being watched."""


@contextmanager
def agent(server: Server, folder: Path, durations: list[float]) -> Iterator[None]:
    """`burnmeter run` beside the engine; afterwards, how long its last read took."""
    port = free_port()
    config = folder / "burnmeter.yaml"
    config.write_text(f"listen: 127.0.0.1:{port}\ntargets: [{{name: harm, url: {server.url}}}]\n")
    command = [sys.executable, "-m", "burnmeter", "--log-level", "error", "run", "--config"]
    process = subprocess.Popen([*command, str(config)], stdout=subprocess.DEVNULL)
    try:
        time.sleep(PAUSE_SECONDS)
        yield
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        durations += [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "burnmeter_target_read_duration_seconds"
        ]
    finally:
        process.terminate()
        process.wait()


def measure(server: Server) -> list[float]:
    """TTFT of each request of one round."""
    truth = load.run_load(server.url, load.ok(ASKS), workers=8, interval_seconds=INTERVAL_SECONDS)
    assert truth.requests() == {"ok": ASKS}
    return truth.ttft_seconds()


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[ceil(q * len(values)) - 1]


def typical(rounds: list[list[float]], q: float) -> float:
    """The median over rounds of each round's quantile: one hiccup of the machine is one round's."""
    return statistics.median(quantile(seconds, q) for seconds in rounds)


def line(name: str, rounds: list[list[float]]) -> str:
    p50, p99 = (typical(rounds, q) * 1000 for q in (0.5, 0.99))
    return f"{name:14} p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   {len(rounds)} rounds of {ASKS}"


def compare(name: str, one: list[list[float]], other: list[list[float]]) -> str:
    p50, p99 = (typical(one, q) / typical(other, q) for q in (0.5, 0.99))
    return f"{name:14} p50 {p50:7.3f}      p99 {p99:7.3f}"


def play(server: Server, folder: Path, pairs: int) -> None:
    """All rounds, and what came out."""
    watched: list[list[float]] = []
    alone: list[list[float]] = []
    reads: list[float] = []
    measure(server)  # warms up
    for pair in range(pairs):
        for kind in "AB" if pair % 2 == 0 else "BA":
            if kind == "A":
                with agent(server, folder, reads):
                    watched.append(measure(server))
            else:
                time.sleep(PAUSE_SECONDS)
                alone.append(measure(server))
    print(line("watched", watched))
    print(line("alone", alone))
    print(compare("watched/alone", watched, alone))
    if pairs > 1:
        print(compare("alone/alone", alone[::2], alone[1::2]))
    median, most = statistics.median(reads) * 1000, max(reads) * 1000
    print(f"a read takes   {median:.2f} ms in the median, {most:.2f} ms at most, every 5 s")


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    try:
        engine_environment("vllm")
    except pytest.skip.Exception as absent:
        print(absent)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with vllm_server(folder, size="mid") as server:
            play(server, folder, pairs)


if __name__ == "__main__":
    main()
