"""Whose GPUs are whose by command lines: launches, ranks, what starts workers, GPUs of a rank."""

from dataclasses import replace

import pytest

from burnmeter import dialects
from burnmeter.model import Launch, Process, Target
from burnmeter.sources.launches import Matcher, launches, with_parts

HINTS = [hint for dialect in dialects.load_all().values() for hint in dialect.processes]


def process(pid: int, parent: int, line: str, title: str = "", container: str = "") -> Process:
    return Process(
        pid=pid,
        parent_pid=parent,
        started_timestamp_seconds=0.0,
        command=tuple(line.split()),
        title=title or line,
        container=container or None,
    )


def table(*found: Process) -> dict[int, Process]:
    return {one.pid: one for one in found}


def parts(found: dict[int, Process], pid: int = 10) -> Target:
    """What is learnt of a target that `pid` serves."""
    bare = Target(name="a", url="http://127.0.0.1:8000/metrics", origin="process", pid=pid)
    return with_parts(bare, found, Matcher(HINTS))


def ranks(first: int, count: int, pid: int = 10) -> list[Process]:
    """vLLM's ranks below an API server, each with two workers."""
    found = []
    for rank in range(first, first + count):
        core = 100 + 10 * rank
        found.append(process(core, pid, f"VLLM::EngineCore_DP{rank}"))
        found += [process(core + n, core, f"VLLM::Worker_TP{n}") for n in (1, 2)]
    return found


# --- engines that were started here --------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "model"),
    [
        ("vllm serve org/big --headless --data-parallel-start-rank 8", "org/big"),
        ("vllm serve org/big --served-model-name big --node-rank 1 --nnodes 2", "big"),
        ("python3 -m sglang.launch_server --model-path org/big --node-rank 1", "org/big"),
        ("llama-server --alias tiny -m x.gguf", "tiny"),
    ],
)
def test_an_engine_that_answers_elsewhere_is_known_by_its_command_line(
    line: str, model: str
) -> None:
    found = table(process(10, 1, line), process(11, 10, "a worker"), process(12, 11, "its child"))

    assert launches(found, [12], Matcher(HINTS)) == (Launch(10, model),)


@pytest.mark.parametrize(
    "line", ["vim vllm serve org/big", "raylet --node", "python3 train.py", "bash -c llama-server"]
)
def test_what_runs_no_engine_or_names_no_model_is_no_launch(line: str) -> None:
    assert launches(table(process(10, 1, line)), [10], Matcher(HINTS)) == ()


def test_only_what_is_above_a_holder_is_looked_at() -> None:
    found = table(process(10, 1, "vllm serve org/big"), process(20, 1, "python3 train.py"))

    assert launches(found, [20], Matcher(HINTS)) == ()
    assert launches({}, [20], Matcher(HINTS)) == ()


# --- ranks ---------------------------------------------------------------------------------------


def test_ranks_are_those_whose_processes_are_below_the_target() -> None:
    found = table(
        process(10, 1, "vllm serve org/big -dp 16 -tp 2"), *ranks(0, 2), *ranks(8, 1, pid=99)
    )

    target = parts(found)

    assert target.local_ranks == ("0", "1")
    assert target.gpus_per_rank == 2


def test_an_engine_of_one_rank_has_no_ranks() -> None:
    found = table(process(10, 1, "vllm serve org/big"), process(11, 10, "VLLM::EngineCore"))

    assert parts(found).local_ranks is None
    assert parts(found).gpus_per_rank == 1


@pytest.mark.parametrize(
    ("line", "gpus"),
    [
        ("vllm serve m --tensor-parallel-size 8 --pipeline-parallel-size 2", 16),
        ("vllm serve m --tensor-parallel-size=4", 4),
        ("vllm serve m -tp 4 -pp 2", 8),
        ("vllm serve m -tp many", 1),
        ("python -m sglang.launch_server --model-path m --tp 16", 16),
        ("llama-server -m x.gguf", None),
    ],
)
def test_the_gpus_of_a_rank_are_what_its_flags_multiply_to(line: str, gpus: int | None) -> None:
    assert parts(table(process(10, 1, line))).gpus_per_rank == gpus


def test_sglangs_ranks_are_its_schedulers() -> None:
    found = table(
        process(10, 1, "python -m sglang.launch_server --model-path m --dp 2"),
        process(11, 10, "sglang::scheduler_DP0_TP0"),
        process(12, 10, "sglang::scheduler_DP1_TP0"),
    )

    assert parts(found).local_ranks == ("0", "1")


# --- what starts workers -------------------------------------------------------------------------

RAYLET = "/usr/lib/ray/raylet --raylet_socket_name=x"


def test_a_ray_node_beside_an_engine_that_runs_on_ray_starts_its_workers() -> None:
    on_ray = process(10, 1, "vllm serve m --distributed-executor-backend ray")

    assert parts(table(on_ray, process(50, 1, RAYLET))).worker_roots == (50,)


@pytest.mark.parametrize(
    ("line", "container"),
    [
        ("vllm serve m", ""),
        ("vllm serve m --distributed-executor-backend mp", ""),
        ("vllm serve m --distributed-executor-backend ray", "another"),
    ],
    ids=["it does not say so", "it says otherwise", "in another container"],
)
def test_any_other_ray_node_does_not(line: str, container: str) -> None:
    found = table(process(10, 1, line), process(50, 1, RAYLET, container=container))

    assert parts(found).worker_roots == ()


def test_rays_own_page_is_served_below_the_ray_node_that_starts_the_workers() -> None:
    found = table(process(50, 1, RAYLET), process(10, 50, "ray::DashboardAgent"))

    assert parts(found).worker_roots == (50,)


def test_a_listener_below_an_engines_launcher_has_the_launchers_workers_too() -> None:
    found = table(process(5, 1, "vllm serve m -tp 2"), process(10, 5, "VLLM::APIServer_0"))

    target = parts(found)

    assert (target.worker_roots, target.gpus_per_rank) == ((5,), 2)


def test_a_target_without_a_process_of_ours_stays_as_it_is() -> None:
    bare = Target(name="a", url="http://elsewhere/metrics", origin="config")

    assert with_parts(bare, {}, Matcher(HINTS)) == bare
    assert with_parts(replace(bare, pid=7), {}, Matcher(HINTS)).pid == 7


def test_a_command_line_is_looked_at_once() -> None:
    matching = Matcher(HINTS)

    first = matching(("vllm", "serve", "m"))

    assert matching(("vllm", "serve", "m")) is first
    assert [match.hint.engine for match in first] == ["vllm"]
