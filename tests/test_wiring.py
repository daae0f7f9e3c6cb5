"""Which sources make up a World: what is listed and found is one target each, and what is nothing.

How engines are recognised among processes is test_find_engines.py's.
"""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnmeter import looking, wiring
from burnmeter.config import Config, Discovery, Gpus
from burnmeter.config_prices import Prices
from burnmeter.doctor import findings
from burnmeter.loop import Agent, World
from burnmeter.model import Failure, GpuReading, Process, Target
from tests import servers
from tests.fakes_world import Scripted, gpus, processes, world

NOBODY = Config(gpus=Gpus(enabled=False), discovery=Discovery(processes=False))


def process(pid: int, port: int = 8000, parent_pid: int = 1, **changes: Any) -> Process:
    """`vllm serve` on a port."""
    made = Process(
        pid=pid,
        parent_pid=parent_pid,
        started_timestamp_seconds=1000.0,
        command=("python3", "/bin/vllm", "serve", "Qwen/Qwen3-8B", "--port", str(port)),
        title="VLLM::APIServer",
        ports=(port,),
    )
    return replace(made, **changes)


def listed(url: str = "http://127.0.0.1:8000/metrics", name: str = "chat") -> Target:
    return Target(name=name, url=url, origin="config")


def find(targets: tuple[Target, ...], *found: Process, **changes: Any) -> tuple[Target, ...]:
    """What a config with these targets makes of a machine with these processes."""
    finder = wiring.Finder(Config(targets=targets, **changes))
    return finder({one.pid: one for one in found})


# --- targets -------------------------------------------------------------------------------------


def test_an_engine_that_nobody_listed_is_found() -> None:
    (target,) = find((), process(41))

    assert (target.name, target.origin, target.pid) == ("vllm-8000", "process", 41)
    assert target.url == "http://127.0.0.1:8000/metrics"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/metrics",
        "http://localhost:8000/metrics",
        "http://[::1]:8000/metrics",
        "http://127.0.0.1:8000/other/path",
        f"http://{socket.gethostname()}:8000/metrics",
    ],
)
def test_a_listed_engine_is_not_found_a_second_time(url: str) -> None:
    (target,) = find((listed(url),), process(41))

    assert (target.name, target.origin, target.pid) == ("chat", "config", 41)


def test_a_listed_engine_whose_listener_is_another_process_is_not_found_twice() -> None:
    server = process(41, ports=())
    worker = process(42, parent_pid=41, command=("python3", "-c", "worker"))

    targets = find((listed(),), server, worker)

    assert [target.name for target in targets] == ["chat"]
    assert targets[0].pid in (41, 42)


def test_an_engine_on_another_port_is_found_beside_the_listed_one() -> None:
    targets = find((listed(),), process(41), process(43, port=8001))

    assert [target.name for target in targets] == ["chat", "vllm-8001"]


def test_a_listed_engine_on_another_host_hides_none_of_ours() -> None:
    remote = listed("http://10.255.255.1:8000/metrics")

    targets = find((remote,), process(41))

    assert [(t.name, t.pid) for t in targets] == [("chat", None), ("vllm-8000", 41)]


def test_names_stay_unique_when_a_listed_one_is_called_like_a_found_one() -> None:
    remote = listed("http://10.255.255.1:8000/metrics", name="vllm-8000")

    targets = find((remote,), process(41))

    assert [target.name for target in targets] == ["vllm-8000", "vllm-8000-found"]


def test_with_discovery_off_listed_targets_still_get_their_process() -> None:
    off = Discovery(processes=False)

    targets = find((listed(),), process(41), process(43, port=8001), discovery=off)

    assert [(target.name, target.pid) for target in targets] == [("chat", 41)]


# --- something or nothing ------------------------------------------------------------------------


def nothing(**changes: Any) -> World:
    """A machine without GPUs and engines; `changes` are fields of World."""
    no_library = gpus(0, failure=Failure("no_library", "no NVIDIA library"))
    quiet: dict[str, Any] = {"gpus": Scripted(lambda: no_library), "find_targets": lambda _: ()}
    return world(**(quiet | changes))


@pytest.mark.parametrize(
    "reading", [gpus(0), gpus(0, failure=Failure("no_library", "no NVIDIA library"))]
)
def test_a_machine_without_gpus_and_engines_has_nothing(reading: GpuReading) -> None:
    assert not wiring.has_something(nothing(gpus=Scripted(lambda: reading)), Config())


def test_a_machine_that_may_look_nowhere_has_nothing() -> None:
    assert not wiring.has_something(nothing(gpus=None, processes=None), NOBODY)


def test_a_gpu_an_engine_or_a_listed_target_is_something() -> None:
    found = Scripted(lambda: processes(process(41)))

    assert wiring.has_something(nothing(gpus=Scripted(gpus)), Config())
    assert wiring.has_something(
        nothing(processes=found, find_targets=wiring.Finder(Config())), Config()
    )
    assert wiring.has_something(nothing(), Config(targets=(listed(),)))


@pytest.mark.parametrize("kind", ["timeout", "driver", "crashed", "no_permission"])
def test_a_driver_that_gives_no_answer_is_something(kind: str) -> None:
    # On a node with a wedged driver a simulation would be the worst of answers.
    failed = gpus(0, failure=Failure(kind, "the driver does not answer"))

    assert wiring.has_something(nothing(gpus=Scripted(lambda: failed)), Config())


# --- whole worlds --------------------------------------------------------------------------------


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def test_a_world_without_gpus_has_no_source_of_them(stack: ExitStack) -> None:
    made = wiring.real_world(NOBODY)
    stack.callback(wiring.close, made)

    assert made.gpus is None
    assert not made.is_simulated
    assert made.limits_reached() == {"processes": 0}


def test_a_simulated_world_is_marked_and_ticks_fast_with_short_timeouts(stack: ExitStack) -> None:
    settings, made = wiring.simulated_world(Config(), stack)
    stack.callback(wiring.close, made)

    assert made.is_simulated
    assert settings.interval_seconds == wiring.SIMULATED_INTERVAL_SECONDS
    assert settings.limits.scrape_timeout_seconds < settings.interval_seconds
    assert made.gpus is not None
    assert len(made.gpus.read().gpus) == 8
    assert {target.origin for target in made.find_targets({})} == {"simulated"}


def test_the_file_of_prices_counts_on_a_simulated_node_too(
    stack: ExitStack, tmp_path: Path
) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("default_gpu_dollars_per_hour: 1.25\n")
    settings, made = wiring.simulated_world(Config(prices=Prices(file=str(file))), stack)
    agent = Agent(settings, made)
    stack.callback(agent.close)

    prices = {view.dollars_per_hour for view in agent.tick().gpus}

    assert prices == {1.25}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", None),
        ("token: 1\n", ":1:1: unknown key `token`; did you mean `tokens`?"),
        (None, ": cannot be read: No such file or directory"),
    ],
)
def test_one_look_reads_the_file_of_prices(
    tmp_path: Path, text: str | None, says: str | None
) -> None:
    file = tmp_path / "prices.yaml"
    if text is not None:
        file.write_text(text)

    glance = looking.look_once(replace(NOBODY, prices=Prices(file=str(file))))

    assert glance.price_file == str(file)
    failure = glance.price_failure
    stands = "prices are the config's until it can be read"
    assert (failure and failure.message) == (says and f"{file}{says}; {stands}")


def test_one_look_says_what_each_source_found() -> None:
    with servers.Server(servers.keeps_alive) as engine:
        glance = looking.look_once(replace(NOBODY, targets=(listed(engine.url),)))

    assert glance.gpus is None
    assert glance.processes is None
    assert [(view.target, view.is_up) for view in glance.snapshot.targets] == [("chat", True)]
    assert "requests_total{outcome=cancelled}" in glance.snapshot.models[0].not_available


def test_one_look_finds_a_real_process_that_looks_like_an_engine() -> None:
    command = ["llama-server", "-c", "import time; time.sleep(60)", "-m", "x.gguf"]
    with subprocess.Popen(command, executable=sys.executable) as process:
        try:
            glance = looking.look_once(Config(gpus=Gpus(enabled=False)))
        finally:
            process.kill()

    (engine,) = (one for one in glance.engines if one.pid == process.pid)
    assert (engine.engine, engine.port, engine.shows_metrics) == ("llamacpp", None, False)
    (line,) = (one for one in findings(glance) if one.pid == process.pid)
    assert (line.state, line.subject) == ("missing", f"process {process.pid}")
    assert "--metrics" in (line.remedy or "")
