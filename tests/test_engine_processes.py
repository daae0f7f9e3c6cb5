"""engine_processes with the hints that ship, on command lines as each engine really has them."""

import pytest

from burnmeter.dialects import load_all
from burnmeter.model import EngineProcess, Process
from burnmeter.sources.engine_processes import engine_processes

HINTS = [hint for dialect in load_all().values() for hint in dialect.processes]


def process(pid: int, parent: int, command: str, *ports: int) -> Process:
    """A process that started at second `pid`."""
    return Process(
        pid=pid,
        parent_pid=parent,
        started_timestamp_seconds=float(pid),
        command=tuple(command.split()),
        title="",
        ports=ports,
    )


def found(*processes: Process) -> tuple[EngineProcess, ...]:
    init = process(1, 0, "/sbin/init")
    return engine_processes({p.pid: p for p in (init, *processes)}, HINTS)


@pytest.mark.parametrize(
    ("command", "engine", "shows_metrics"),
    [
        ("python3 /usr/local/bin/vllm serve m/x --port 8000", "vllm", True),
        ("python3 /usr/local/bin/vllm serve m/x --disable-log-stats", "vllm", False),
        ("python3 -m vllm.entrypoints.openai.api_server --model x", "vllm", True),
        ("python3 -m sglang.launch_server --model-path m/x", "sglang", False),
        ("python3 -m sglang.launch_server --model-path m/x --enable-metrics", "sglang", True),
        ("python3 -m sglang.launch_server --enable-metrics-for-all-schedulers", "sglang", False),
        ("/opt/llama/llama-server -m x.gguf --port 8081", "llamacpp", False),
        ("/opt/llama/llama-server -m x.gguf --metrics", "llamacpp", True),
        ("/usr/bin/ollama serve", "llamacpp", False),
        ("python3 /srv/run_inference_server.py -m x.gguf", "llamacpp", False),
        ("python3 /usr/local/bin/trtllm-serve m/x --port 8000", "trtllm", False),
        ("python3 /usr/local/bin/trtllm-serve m/x --config llm.yaml", "trtllm", True),
        ("python3 /usr/local/bin/litellm --config litellm.yaml", "litellm", False),
    ],
)
def test_a_command_line_says_whether_an_engine_shows_metrics(
    command: str, engine: str, shows_metrics: bool
) -> None:
    (one,) = found(process(10, 1, command))

    assert (one.pid, one.engine, one.shows_metrics) == (10, engine, shows_metrics)


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("vllm serve m/x --disable-log-stats", "--disable-log-stats"),
        ("python3 -m sglang.launch_server --model-path m/x", "--enable-metrics"),
        ("llama-server -m x.gguf", "--metrics, or with LLAMA_ARG_ENDPOINT_METRICS=1"),
        ("/usr/bin/ollama serve", "LLAMA_ARG_ENDPOINT_METRICS=1"),
        ("trtllm-serve m/x", "`return_perf_metrics: true`"),
        ("tritonserver --model-repository /m --allow-metrics=false", "--allow-metrics=false"),
        ("python3 -m dynamo.vllm --model x", "DYN_SYSTEM_PORT=8081"),
    ],
)
def test_what_turns_metrics_on_is_named_exactly(command: str, remedy: str) -> None:
    (one,) = found(process(10, 1, command))

    assert remedy in (one.remedy or "")


def test_of_a_tree_of_one_engine_only_the_topmost_stands_for_all() -> None:
    command = "python3 -m sglang.launch_server --model-path m/x"
    (one,) = found(
        process(10, 1, command),
        process(11, 10, command),
        process(12, 11, "sglang::scheduler"),
        process(13, 1, "sleep 9"),
    )

    assert (one.pid, one.pids) == (10, {10, 11, 12})


def test_what_ollama_starts_stands_under_ollama() -> None:
    child = "/usr/lib/ollama/llama-server --model x --port 40001 --no-webui --offline"
    (one,) = found(process(10, 1, "/usr/bin/ollama serve", 11434), process(11, 10, child, 40001))

    assert (one.title, one.is_read, one.port) == ("Ollama", False, 11434)
    assert one.pids == {10, 11}


def test_two_engines_side_by_side_are_two_in_the_order_of_their_pids() -> None:
    processes = found(process(20, 1, "vllm serve a"), process(10, 1, "llama-server -m b.gguf"))

    assert [(one.pid, one.engine) for one in processes] == [(10, "llamacpp"), (20, "vllm")]


@pytest.mark.parametrize(
    ("command", "ports", "port"),
    [
        ("vllm serve a --port 8005", (), 8005),
        ("vllm serve a --port 8005", (40001,), 8005),
        ("vllm serve a", (700, 8000), 8000),
        ("vllm serve a --port 0", (41234, 50000), 41234),
        ("vllm serve a", (), None),
    ],
)
def test_the_port_is_what_the_command_says_else_what_it_listens_on(
    command: str, ports: tuple[int, ...], port: int | None
) -> None:
    assert found(process(10, 1, command, *ports))[0].port == port


def test_a_default_port_that_a_process_below_listens_on_is_the_engines() -> None:
    (one,) = found(
        process(10, 1, "vllm serve a --api-server-count 2"),
        process(11, 10, "VLLM::APIServer_0", 8000),
    )

    assert one.port == 8000


@pytest.mark.parametrize(
    "command",
    ["bash -c vllm serve a", "vim vllm serve", "python3 bench.py vllm serve", "llama-cli -m x"],
)
def test_what_only_mentions_an_engine_is_none(command: str) -> None:
    assert found(process(10, 1, command)) == ()
