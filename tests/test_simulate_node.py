"""The simulated node around its engines: GPUs, processes, stories of one's own, the real child."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from burnmeter import catalog
from burnmeter.errors import ConfigError
from burnmeter.model import Failure, Gpu, Process
from burnmeter.simulate.fleet import FLEET
from burnmeter.simulate.node import SimulatedNode
from burnmeter.simulate.story import load
from burnmeter.simulate.wire import NodeState, decode, encode
from burnmeter.simulate.world import TICK_SECONDS, World
from tests.test_simulate import values_of

# --- GPUs and processes ---


def test_energy_is_the_integral_of_power() -> None:
    world = World()
    start = [gpu.energy_joules or 0.0 for gpu in world.gpus()]
    joules = [0.0] * len(start)
    for _ in range(800):
        before = [gpu.energy_joules or 0.0 for gpu in world.gpus()]
        world.advance_to(world.now + TICK_SECONDS)
        for board in world.boards:
            assert board.energy_joules > before[board.index]
            joules[board.index] += board.power_watts * TICK_SECONDS

    grown = [(gpu.energy_joules or 0.0) - start[gpu.index] for gpu in world.gpus()]
    assert grown == pytest.approx(joules, rel=1e-9)
    assert [gpu.power_joules for gpu in world.gpus()] == pytest.approx(
        [board.sampled_joules for board in world.boards]
    )


def test_gpus_show_what_they_did_since_a_moment_ago() -> None:
    """Means and extremes, as the reader's samples have them."""
    world = World()
    for gpu in world.gpus():
        low, mean, high = gpu.power_min_watts, gpu.power_watts, gpu.power_max_watts
        assert low is not None
        assert mean is not None
        assert high is not None
        assert low <= mean <= high
        assert gpu.recovery_action == "none"
        assert {figure.measure for figure in (*gpu.gauges, *gpu.meters)} <= {
            metric.measure for metric in catalog.metrics().values()
        }


def test_a_power_brake_is_counted_as_one() -> None:
    world = World()
    world.advance_to(160.0)  # The story's incident begins at 150.

    braked = [dict(_by_reason(gpu))["power_brake"] for gpu in world.gpus()]

    assert braked[:4] == [10.0] * 4
    assert braked[4:] == [0.0] * 4


def _by_reason(gpu: Gpu) -> Iterator[tuple[str, float]]:
    for figure in gpu.meters:
        if figure.measure == "gpu_throttle_seconds_total":
            yield dict(figure.labels)["reason"], figure.value


def test_gpus_show_what_their_engine_does() -> None:
    gpus = World().gpus()
    idle = gpus[7]

    assert idle.processes == ()
    assert idle.utilisation_ratio == 0.0
    assert 65 < (idle.power_watts or 0) < 75
    for gpu in gpus[:4]:
        assert (gpu.utilisation_ratio or 0) > 0.5
        assert 200 < (gpu.power_watts or 0) <= 700
        assert (gpu.memory_used_bytes or 0) > 0.5 * (gpu.memory_total_bytes or 0)
    assert len({gpu.uuid for gpu in gpus}) == 8
    assert [gpu.uuid for gpu in gpus] == [gpu.uuid for gpu in World().gpus()]


def test_whoever_holds_a_gpu_descends_from_the_server_that_listens() -> None:
    world = World()
    processes = world.processes()
    ports = {spec.name: spec.port for spec in FLEET}
    for spec in FLEET:
        for index in spec.gpus:
            holders = world.gpus()[index].processes
            assert holders is not None
            chain = list(ancestors(processes, holders[0].pid))

            assert chain[-1].ports == (ports[spec.name],)
            assert "serve" in chain[-1].command
            assert chain[-2].title.startswith("VLLM::EngineCore")
    assert min(processes) > 2**22  # Linux hands out none above
    assert {p.title for p in processes.values()} >= {"VLLM::Worker_TP3", "VLLM::EngineCore_DP1"}


def ancestors(processes: dict[int, Process], pid: int) -> Iterator[Process]:
    while pid in processes:
        yield processes[pid]
        pid = processes[pid].parent_pid


def test_the_wire_carries_the_node_unchanged() -> None:
    world = World()
    world.advance_to(705.0)  # with a lost GPU and XIDs

    state = NodeState(world.now, world.targets(), world.gpus(), dict(world.processes()))

    assert decode(encode(state)) == state


# --- a story of one's own ---

RESTART = """
period_seconds: 10000
scenes:
  - {at_seconds: 20, seconds: 40, kind: restart, engine: code}
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("scenes: [", "cannot be read", id="not YAML"),
        pytest.param("scenes: []", "two keys", id="no period"),
        pytest.param("{period_seconds: 0, scenes: []}", "above 0", id="no time"),
        pytest.param("{period_seconds: 9, scenes: 1}", "scenes: a list", id="no list"),
        pytest.param("{period_seconds: 9, scenes: [{kind: hang}]}", "at_seconds", id="no start"),
        pytest.param(
            "{period_seconds: 9, scenes: [{at_seconds: 1, kind: flood, engine: chat}]}",
            "'flood' is none of incident",
            id="unknown kind",
        ),
        pytest.param(
            "{period_seconds: 9, scenes: [{at_seconds: 1, kind: hang, engine: chatt}]}",
            "needs `engine` alone, one of ['chat'",
            id="unknown engine",
        ),
        pytest.param(
            "{period_seconds: 9, scenes: [{at_seconds: soon, kind: hang, engine: chat}]}",
            "at_seconds: a number, not 'soon'",
            id="no number",
        ),
        pytest.param(
            "{period_seconds: 9, scenes: [{at_seconds: 1, kind: hang, engine: chat, seconds: 0}]}",
            "above 0",
            id="no length",
        ),
    ],
)
def test_a_wrong_story_is_refused_with_what_would_be_right(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "story.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=re.escape(says)):
        load(path)


# --- the real child ---


def fetch(url: str) -> tuple[int, str]:
    with urlopen(url, timeout=5) as answer:
        return answer.status, answer.read().decode()


def test_a_running_node_is_read_like_a_real_one() -> None:
    with SimulatedNode(seed=2) as node:
        gpus, processes = node.gpus.read(), node.processes.read()
        targets = {target.name: target for target in node.targets}

        assert [target.origin for target in node.targets] == ["simulated"] * 3
        assert gpus.failure is processes.failure is None
        assert len(gpus.gpus) == 8
        for target in targets.values():
            assert processes.processes[target.pid or 0].ports == (urlsplit(target.url).port,)
            with closing(HTTPConnection(urlsplit(target.url).netloc, timeout=5)) as connection:
                for _ in range(2):  # the connection is kept
                    connection.request("GET", "/metrics")
                    answer = connection.getresponse()
                    assert "vllm:num_requests_running" in answer.read().decode()
        base = targets["chat"].url.removesuffix("/metrics")
        assert fetch(f"{base}/health") == (200, "")
        assert fetch(f"{base}/version") == (200, '{"version": "0.32.0"}')
        assert "llama-3.3-70b-instruct" in fetch(f"{base}/v1/models")[1]

    gone = node.gpus.read()
    assert isinstance(gone.failure, Failure)
    assert gone.failure.kind == "crashed"


def test_a_restarting_engine_refuses_connections_and_comes_back_anew(tmp_path: Path) -> None:
    path = tmp_path / "story.yaml"
    path.write_text(RESTART)
    with SimulatedNode(speed=40.0, story=path) as node:
        old = next(target for target in node.targets if target.name == "code")
        refused = False
        for _ in range(200):
            time.sleep(0.05)
            try:
                _, text = fetch(old.url)
            except (URLError, ConnectionError):
                refused = True
                continue
            if refused:
                break
        node.processes.read()
        new = next(target for target in node.targets if target.name == "code")

        assert refused
        assert new.url == old.url
        assert new.pid != old.pid
        started = values_of(text)["process_start_time_seconds"]
        assert started > (old.started_timestamp_seconds or 0)


def test_the_child_ends_when_its_stdin_closes() -> None:
    command = [sys.executable, "-m", "burnmeter.simulate", "--seed", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline().startswith(b'{"control": ')

        child.stdin.close()

        assert child.wait(10) == 0
