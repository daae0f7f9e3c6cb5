"""find_engines and with_processes on invented tables that follow engines' real layouts."""

import socket

import pytest

from burnmeter.model import Process, ProcessHint, Target
from burnmeter.sources.processes import find_engines, local_addresses, with_processes

VLLM = ProcessHint(
    engine="vllm",
    command_patterns=(
        r"\bvllm serve\b",
        r"-m vllm\.entrypoints\.(openai\.)?api_server\b",
    ),
    default_port=8000,
    model_flags=("--served-model-name", "--model"),
    has_positional_model=True,
)
LLAMACPP = ProcessHint(
    engine="llamacpp",
    command_patterns=(r"(^|/|\s)llama-server(\s|$)",),
    default_port=8080,
    model_flags=("--alias", "-a", "--model", "-m"),
    metrics_remedy="start it with --metrics",
)
HINTS = (VLLM, LLAMACPP)


# --- engines in invented tables ------------------------------------------------------------------


def process(pid: int, parent: int, command: str | tuple[str, ...], *ports: int) -> Process:
    """A process that started at second `pid`."""
    words = tuple(command.split()) if isinstance(command, str) else command
    return Process(
        pid=pid,
        parent_pid=parent,
        started_timestamp_seconds=float(pid),
        command=words,
        title="",
        ports=ports,
    )


def found(*processes: Process) -> tuple[Target, ...]:
    init = process(1, 0, "/sbin/init")
    return find_engines({p.pid: p for p in (init, *processes)}, HINTS)


def summary(*processes: Process) -> list[tuple[str, int | None, str | None]]:
    return [(target.name, target.pid, target.served_model) for target in found(*processes)]


VLLM_BIN = "/opt/vllm/bin/python3.11 /opt/vllm/bin/vllm serve"


def test_a_target_knows_what_turns_its_metrics_on() -> None:
    (target,) = found(process(7, 1, "llama-server --port 8081", 8081))

    assert target.remedy == "start it with --metrics"


def test_vllm_with_its_engine_cores_is_one_target() -> None:
    """vLLM 0.32, one GPU: the API server listens, the engine core below it holds the GPU."""
    targets = found(
        process(
            10, 1, f"{VLLM_BIN} /models/llama --served-model-name tiny small --port 8100", 8100
        ),
        process(11, 10, "/opt/vllm/bin/python3.11 -c from multiprocessing.resource_tracker"),
        process(12, 10, "VLLM::EngineCore", 40001, 40002),
        process(13, 12, "VLLM::Worker_TP0", 40003),
        process(14, 12, "VLLM::Worker_TP1"),
    )

    assert targets == (
        Target(
            name="vllm-8100",
            url="http://127.0.0.1:8100/metrics",
            origin="process",
            served_model="tiny",
            pid=10,
            started_timestamp_seconds=10.0,
        ),
    )


@pytest.mark.parametrize(
    ("command", "port", "name", "model"),
    [
        ("vllm serve m/x", 8000, "vllm-8000", "m/x"),
        ("vllm serve --port=8001 --model m/x", 8001, "vllm-8001", "m/x"),
        ("vllm serve m/x --served_model_name=y", 8000, "vllm-8000", "y"),
        ("vllm serve m/x --port 1 --port 8003", 8003, "vllm-8003", "m/x"),
        ("vllm serve --max-model-len 9 m/x", 8000, "vllm-8000", None),
        ("vllm serve m/x --port 0", 41234, "vllm-41234", "m/x"),
        ("vllm serve m/x --config vllm.yaml", 9000, "vllm-9000", "m/x"),
        ("python3 -m vllm.entrypoints.openai.api_server --model x", 8000, "vllm-8000", "x"),
        ("python -u -X dev -m vllm.entrypoints.api_server", 8000, "vllm-8000", None),
        ("/usr/bin/python3.12 /usr/local/bin/vllm serve x", 8000, "vllm-8000", "x"),
        ("llama-server -m x.gguf --port 8081 --alias tiny", 8081, "llamacpp-8081", "tiny"),
        ("/opt/llama/llama-server -m x.gguf", 8080, "llamacpp-8080", "x.gguf"),
        ("build/bin/llama-server -ngl 0 --host 127.0.0.1", 8080, "llamacpp-8080", None),
    ],
)
def test_a_command_line_gives_name_port_and_model(
    command: str, port: int, name: str, model: str | None
) -> None:
    assert summary(process(10, 1, command, port)) == [(name, 10, model)]


def test_two_engines_on_two_ports_are_two_targets_in_the_order_of_their_ports() -> None:
    assert summary(
        process(10, 1, "vllm serve a --port 8001", 8001),
        process(20, 1, "llama-server -m b.gguf --port 8000", 8000),
    ) == [("llamacpp-8000", 20, "b.gguf"), ("vllm-8001", 10, "a")]


def test_a_restarted_engine_keeps_its_name() -> None:
    before = found(process(10, 1, "vllm serve a", 8000))
    after = found(process(77, 1, "vllm serve a", 8000))

    assert before[0].name == after[0].name
    assert (before[0].pid, after[0].pid) == (10, 77)


def test_of_several_own_ports_the_wanted_one_is_taken() -> None:
    """torch's store and ZeroMQ listen beside the API."""
    assert found(process(10, 1, "vllm serve a --port 8005", 700, 8000, 8005))[0].name == "vllm-8005"
    assert found(process(10, 1, "vllm serve a", 700, 8000, 8005))[0].name == "vllm-8000"
    assert found(process(10, 1, "vllm serve a", 8005, 9000))[0].name == "vllm-8005"


def test_several_api_servers_below_one_command_are_one_target() -> None:
    """`--api-server-count 2`: the children listen, and the engine cores are their siblings."""
    assert summary(
        process(10, 1, f"{VLLM_BIN} a --api-server-count 2"),
        process(11, 10, "VLLM::APIServer_0", 8000),
        process(12, 10, "VLLM::APIServer_1", 8000),
        process(13, 10, "VLLM::EngineCore_DP0", 40001),
        process(14, 10, "VLLM::EngineCore_DP1", 40002),
    ) == [("vllm-8000", 10, "a")]


def test_data_parallel_with_an_outside_balancer_is_a_target_per_rank() -> None:
    """`--data-parallel-rank N`: one server, port and engine core for each rank."""
    assert summary(
        process(10, 1, f"{VLLM_BIN} a --data-parallel-rank 0 --port 8000", 8000),
        process(11, 10, "VLLM::EngineCore_DP0"),
        process(20, 1, f"{VLLM_BIN} a --data-parallel-rank 1 --port 8001", 8001),
        process(21, 20, "VLLM::EngineCore_DP1"),
    ) == [("vllm-8000", 10, "a"), ("vllm-8001", 20, "a")]


def test_a_headless_node_has_no_target() -> None:
    """`--headless`: engine cores only, their metrics are on the head node."""
    assert not found(
        process(10, 1, f"{VLLM_BIN} a --headless --port 8000"),
        process(11, 10, "VLLM::EngineCore_DP1", 40001),
    )


def test_a_forked_worker_with_its_parents_command_is_the_parents() -> None:
    command = "vllm serve a"

    assert summary(
        process(10, 1, command), process(11, 10, command), process(12, 11, command, 8000)
    ) == [("vllm-8000", 10, "a")]


def test_a_socket_that_the_parent_holds_for_its_engine_counts() -> None:
    """Socket activation: the kernel's table names only one of the two holders."""
    assert summary(
        process(10, 1, "circusd config.ini", 8000), process(11, 10, "vllm serve a --port 8000")
    ) == [("vllm-8000", 11, "a")]


def test_bitnets_wrapper_leads_to_the_server_below_it() -> None:
    assert summary(
        process(10, 1, "python run_inference_server.py -m x.gguf"),
        process(11, 10, "build/bin/llama-server -m x.gguf --port 8080", 8080),
    ) == [("llamacpp-8080", 11, "x.gguf")]


def test_what_starts_an_engine_is_not_the_engine() -> None:
    wrappers = (
        ("bash", "-c", "vllm serve a --port 8000; true"),
        ("sudo", "vllm", "serve", "a", "--port", "8000"),
        ("tini", "--", "vllm", "serve", "a"),
        ("uv", "run", "vllm", "serve", "a"),
        ("python", "bench.py", "vllm", "serve", "a"),
        ("tmux", "new-session", "vllm serve a"),
        ("python3", "-c", "import os; os.system('vllm serve a')"),
    )
    for wrapper in wrappers:
        engine = process(11, 10, "vllm serve a --port 8000", 8000)
        assert [t.pid for t in found(process(10, 1, wrapper), engine)] == [11]
        # It stays behind, and listens itself, when the engine has gone.
        assert not found(process(10, 1, wrapper, 8000))


@pytest.mark.parametrize(
    "command",
    [
        "grep vllm serve",
        "vim /notes/vllm serve.md",
        "python bench.py vllm serve a",
        "python /opt/llama-server/tools/ui.py",
        "burnmeter run --config vllm serve",
        "python -m burnmeter run vllm serve",
        "VLLM::EngineCore",
        "my-llama-server-exporter",
        "",
    ],
)
def test_a_look_alike_is_no_engine_though_it_listens(command: str) -> None:
    assert not found(process(10, 1, command, 8000, 8080))


def test_an_engine_that_does_not_listen_yet_is_no_target() -> None:
    """vLLM opens other ports long before the API's."""
    assert not found(process(10, 1, "vllm serve a"))
    assert not found(process(10, 1, "vllm serve a --port 8000", 29500))
    assert not found(process(10, 1, "vllm serve a"), process(11, 10, "VLLM::EngineCore", 40001))


def test_a_loop_in_the_table_ends() -> None:
    assert summary(
        process(10, 11, "vllm serve a", 8000), process(11, 10, "vllm serve a", 8000)
    ) == [("vllm-8000", 11, "a")]


# --- targets from a config -----------------------------------------------------------------------


def config_target(url: str) -> Target:
    return Target(name="chat-a", url=url, origin="config")


TABLE = {
    p.pid: p
    for p in (
        process(10, 1, "vllm serve a", 8000),
        process(11, 10, "VLLM::EngineCore", 8000),
        process(20, 1, "nginx", 80, 443),
    )
}


@pytest.mark.parametrize(
    ("url", "pid"),
    [
        ("http://127.0.0.1:8000/metrics", 10),
        ("http://localhost:8000/metrics", 10),
        ("http://[::1]:8000/metrics", 10),
        ("http://127.9.9.9:8000/metrics", 10),
        ("http://10.0.0.5:8000/metrics", 10),
        ("http://NODE-1:8000/metrics", 10),
        ("http://localhost/metrics", 20),
        ("https://localhost/metrics", 20),
        ("http://localhost:8001/metrics", None),
        ("http://10.0.0.6:8000/metrics", None),
        ("http://chat.example:8000/metrics", None),
        ("http://localhost:99999/metrics", None),
    ],
)
def test_a_target_on_this_host_learns_which_process_serves_it(url: str, pid: int | None) -> None:
    target = with_processes(config_target(url), TABLE, {"10.0.0.5", "node-1"})

    assert target.pid == pid
    assert target.started_timestamp_seconds == (None if pid is None else float(pid))
    assert (target.name, target.url, target.origin) == ("chat-a", url, "config")


def test_a_target_that_knows_its_process_keeps_it() -> None:
    (target,) = find_engines(TABLE, HINTS)

    assert with_processes(target, {99: process(99, 1, "other", 8000)}) == target


def test_this_host_has_its_loopback_and_its_name() -> None:
    assert {"127.0.0.1", socket.gethostname().lower()} <= local_addresses()
