"""A replay is the live agent once more: same models, targets, counters, burns and events.

The agent that records is a real one in a world of doubles, or watches the simulated node; only what
it cost itself may differ. What stands in the file is test_recording.py's.
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from burnmeter import wiring
from burnmeter.cli import main
from burnmeter.config import Config
from burnmeter.config_prices import Prices
from burnmeter.errors import BurnmeterError
from burnmeter.loop import Agent
from burnmeter.model import Failure, GpuProcess, Launch, Objective, Process, Target
from burnmeter.model_facts import stated_facts
from burnmeter.model_facts.known import Known, Library, LibraryReading
from burnmeter.sources.price_file import PriceReading
from burnmeter.sources.recording import Recording, RecordingError
from burnmeter.sources.replay import Replay
from tests.fakes_world import AFTER, BEFORE, Pages, Scripted, gpus, processes, settings, target
from tests.nvml import Clock
from tests.recordings import record, replay, ticks, without_cost

COMMAND = Path(sys.executable).with_name("burnmeter")


def started_later(page: str) -> str:
    """The same page of a process that began 100 s after the recorded one."""
    start = re.search(r"(?m)^process_start_time_seconds (\S+)$", page)
    assert start is not None
    later = f"process_start_time_seconds {float(start[1]) + 100.0}"
    return page.replace(start[0], later)


def _priced(dollars: float) -> PriceReading:
    """The price rises while the agent runs."""
    return PriceReading(1.0, 0.001, Prices(gpu_dollars_per_hour={"H100": dollars}), None)


def _learned(source: str) -> LibraryReading:
    facts = stated_facts(parameters=5e8, kv_bytes_per_token=1e4)
    library = Library(by_target={"chat": Known(facts, source)}, by_model={"x": Known(None, "no")})
    return LibraryReading(1.0, 0.002, library, None)


class _Shelf(Scripted[LibraryReading]):
    def want(self, targets: Iterable[Target], processes: Mapping[int, Process]) -> None:
        """It knows already."""


class Story:
    """An engine with a worker on a GPU: it works, is refused, restarts with a new pid.

    Another is not to be read at every tick.
    """

    def __init__(self) -> None:
        self.pid = 41
        self.clock = Clock()
        self.pages = Pages({"chat": BEFORE, "seldom": AFTER})
        self.pages.clock = self.clock
        self.pages.on_read = lambda: self.clock.passes(0.1)
        self.running = {41}

    def steps(self) -> list[Callable[[], object]]:
        def shows(page: str | Failure) -> Callable[[], object]:
            return lambda: self.pages.texts.update(chat=page)

        return [
            shows(BEFORE),
            shows(AFTER),
            shows(AFTER),
            shows(Failure("refused", "nothing listens on 127.0.0.1:8000")),
            self.restarts,
            shows(started_later(AFTER)),
            shows("<html>not metrics</html>"),
            shows(started_later(AFTER)),
        ]

    def restarts(self) -> None:
        self.pid = 77
        self.running = {77}
        self.pages.texts.update(chat=started_later(BEFORE))

    def fields(self) -> dict[str, Any]:
        """Of the World."""
        return {
            "pages": self.pages,
            "processes": Scripted(self._processes),
            "gpus": Scripted(self._gpus),
            "find_targets": lambda _: (
                target(pid=self.pid),
                target("seldom", least_interval_seconds=2.5),
            ),
            "is_running": lambda pid: pid in self.running,
            "find_launches": lambda table, _: (Launch(self.pid, "spare"),) if table else (),
            "prices": Scripted(*(lambda dollars=n: _priced(2.0 + dollars) for n in range(4))),
            "models": _Shelf(lambda: _learned("a"), lambda: _learned("b")),
        }

    def _processes(self) -> Any:
        def one(pid: int, parent_pid: int) -> Process:
            return Process(
                pid=pid,
                parent_pid=parent_pid,
                started_timestamp_seconds=1e9,
                command=("vllm", "serve"),
                title="VLLM::Worker",
            )

        found = processes(one(1, 0), one(self.pid, 1), one(self.pid + 1, self.pid), one(9, 1))
        return replace(found, at_seconds=self.clock())

    def _gpus(self) -> Any:
        found = gpus(2, at_seconds=self.clock())
        held = replace(
            found.gpus[0],
            processes=(GpuProcess(pid=self.pid + 1),),
            energy_joules=300.0 * self.clock(),
            xid_counts={63: 1} if self.pid == 77 else {},
        )
        return replace(found, gpus=(held, found.gpus[1]))


def test_a_replay_is_the_live_agent_once_more(tmp_path: Path) -> None:
    story, path = Story(), tmp_path / "story.jsonl.gz"
    config = settings(
        objectives=(Objective(name="up", indicator="availability", objective_ratio=0.99),),
        prices=Prices(gpu_dollars_per_hour={"H100": 2.5}),
        models={"Qwen/Qwen2.5-0.5B-Instruct": "qwen"},
    )

    live = record(path, story.steps(), config, clock=story.clock, **story.fields())

    assert {event.kind for event in live[-1].events} >= {"up", "down", "restart", "xid"}
    assert [view.restarts for view in live[-1].targets] == [1, 0]
    assert {"seldom" in tick.pages for tick in ticks(path)} == {True, False}
    assert {share.method for share in live[-1].spends} == {"process_tree", "none"}
    assert len({view.dollars_per_hour for shown in live for view in shown.gpus}) == 4
    assert {key.measure for key in live[-1].counters} >= {"roofline_seconds_total"}
    assert live[-1].models[0].signature is not None
    assert list(map(without_cost, replay(path))) == list(map(without_cost, live))


def test_a_replay_of_the_simulated_node_is_the_live_agent_once_more(tmp_path: Path) -> None:
    path = tmp_path / "node.jsonl.gz"
    with ExitStack() as stack:
        config, world = wiring.simulated_world(Config(node="node"), stack)
        into = wiring.recorder(path, config, world, is_scrubbed=False, with_models=False)
        agent = Agent(config, wiring.recorded(world, into))
        live = [agent.tick() for _ in range(4)]
        agent.close()
        into.close()

    again = replay(path)

    assert all(snapshot.is_simulated for snapshot in again)
    assert any(model.running is not None for model in again[-1].models)
    for one, other in zip(again, live, strict=True):
        # Sources' ages and durations are of moments between a tick's readings and its end.
        assert replace(one, health=other.health, sources=other.sources) == other


def test_a_source_that_the_recorder_gave_up_is_given_up_again(tmp_path: Path) -> None:
    path = tmp_path / "hung.jsonl.gz"
    late = gpus(0, failure=Failure("timeout", "reading the gpus began 4.0 s ago"))

    live = record(path, [print] * 2, gpus=Scripted(gpus, lambda: late), processes=None)
    again = replay(path)

    assert again[-1].gpus[0].gpu.failure == live[-1].gpus[0].gpu.failure
    assert [view.source for view in again[-1].sources] == ["gpus"]


def test_another_config_judges_the_same_recording(tmp_path: Path) -> None:
    story, path = Story(), tmp_path / "story.jsonl.gz"
    record(path, story.steps()[:3], clock=story.clock, **story.fields())
    other = Config(
        node="elsewhere",
        interval_seconds=60.0,
        targets=(target(model="named-by-the-config"),),
        objectives=(
            Objective(
                name="fast", indicator="ttft", objective_ratio=0.999, threshold_seconds=0.001
            ),
        ),
    )

    last = replay(path, other)[-1]

    assert [view.model for view in last.models] == ["named-by-the-config", "tiny"]
    assert [(burn.objective.name, burn.state) for burn in last.burns][:1] == [("fast", "burning")]
    # Where and how often is what was, not what is asked.
    assert (last.node, last.interval_seconds) == ("test-node", 1.0)


class Stumbles(Replay):
    """Its second tick raises, as a bug would."""

    asked = 0

    def targets(self, processes: Mapping[int, Process]) -> tuple[Target, ...]:
        self.asked += 1
        if self.asked == 2:
            raise ZeroDivisionError
        return super().targets(processes)


def test_a_tick_that_a_bug_ends_is_told_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    story, path = Story(), tmp_path / "story.jsonl.gz"
    record(path, story.steps()[:3], clock=story.clock, **story.fields())

    found = list(wiring.replayed(Stumbles(Recording(path))))

    assert [snapshot and snapshot.health.ticks for snapshot in found] == [1, None, 2]
    assert "tick 2 failed; this is a bug in burnmeter" in caplog.text


def test_a_recording_without_a_tick_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl.gz"
    record(path, [])

    with pytest.raises(BurnmeterError, match="holds no tick"):
        Replay(Recording(path))


# --- the verb ------------------------------------------------------------------------------------


def burnmeter(*words: str) -> Any:
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, words)


def test_two_replays_give_the_same_bytes(tmp_path: Path) -> None:
    story, path = Story(), tmp_path / "story.jsonl.gz"
    record(path, story.steps(), clock=story.clock, **story.fields())

    one, other = (burnmeter("replay", str(path), "--json", "--all") for _ in range(2))

    assert one.stdout_bytes == other.stdout_bytes
    assert len(one.stdout_bytes.splitlines()) == 8
    last = json.loads(burnmeter("replay", str(path), "--json").stdout)
    assert last == json.loads(one.stdout.splitlines()[-1])


def test_all_ticks_are_for_machines_only() -> None:
    result = burnmeter("replay", "any.jsonl.gz", "--all")

    assert result.exit_code == 2
    assert "--all is for --json" in result.stderr


@contextmanager
def recording_node(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """`record --simulate` that has written its first tick, until the block ends."""
    words = [COMMAND, "record", "--simulate", "--out", path, "--scrub"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not path.exists() or not has_tick(path):
            assert child.poll() is None, "the recorder has ended"
            time.sleep(0.05)
        yield child
    finally:
        child.kill()
        child.communicate()


def has_tick(path: Path) -> bool:
    try:
        return next(Recording(path).ticks(), None) is not None
    except RecordingError:
        return False


def test_a_recorder_that_is_told_to_stop_says_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "node.jsonl.gz"
    with recording_node(path) as child:
        child.send_signal(signal.SIGTERM)
        told, _ = child.communicate(timeout=30)

    assert re.fullmatch(rf"{path}: \d+ ticks? of 3 targets, {path.stat().st_size} bytes\n", told)
    assert child.returncode == 0
    result = burnmeter("replay", str(path))
    assert result.stderr == ""
    assert "on host-1" in result.stdout
    assert "tick 1  chat: " in result.stdout


def test_a_recorder_that_is_killed_leaves_what_it_had(tmp_path: Path) -> None:
    path = tmp_path / "node.jsonl.gz"
    with recording_node(path) as child:
        child.kill()
        child.wait()

    result = burnmeter("replay", str(path))

    assert "is not complete: the recorder was killed, or the file was cut; " in result.stderr
    assert "SIMULATED" in result.stdout


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "node.jsonl.gz"
    path.write_text("mine")

    result = burnmeter("record", "--out", str(path), "--seconds", "0.1")

    assert result.stderr == f"burnmeter: {path}: is there already; name another file\n"
    assert result.exit_code == 1
    assert path.read_text() == "mine"
