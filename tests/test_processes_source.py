"""ProcessSource on real processes of ours, and find_engines on tables of engines' layouts."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from burnmeter.model import Process, ProcessHint, ProcessReading, Target
from burnmeter.sources import proc
from burnmeter.sources.processes import (
    ProcessSource,
    find_engines,
    local_addresses,
    with_processes,
)

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


# --- real processes ------------------------------------------------------------------------------

SERVER = """
import socket, subprocess, sys, threading
words = sys.argv
port = int(words[words.index("--port") + 1]) if "--port" in words else 0
if "--child" in words:
    command = [sys.executable, words[0].replace("vllm", "child"), "--port", str(port)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE)
else:
    listener = socket.create_server(("127.0.0.1", port))
    print(listener.getsockname()[1], flush=True)
sys.stdin.read()
if "--child" in words:
    child.stdin.close()
    child.wait()
"""


class Programs:
    """Starts programs that end with the test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        for name in ("vllm", "llama-server", "child"):
            (folder / name).write_text(SERVER)

    def start(self, *command: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        started = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.stack.callback(self.end, started)
        return started

    def script(self, name: str, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, str(self.folder / name), *arguments)

    @staticmethod
    def port(started: subprocess.Popen[str]) -> int:
        assert started.stdout is not None
        return int(started.stdout.readline())

    @staticmethod
    def end(started: subprocess.Popen[str]) -> None:
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.close()
        started.stdout.read()
        started.stdout.close()
        started.wait(10.0)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    with ExitStack() as stack:
        yield Programs(tmp_path, stack)


@pytest.fixture
def source() -> Iterator[ProcessSource]:
    made = ProcessSource()
    yield made
    made.close()


def good(reading: ProcessReading) -> ProcessReading:
    assert reading.failure is None
    assert reading.duration_seconds >= 0.0
    assert abs(reading.timestamp_seconds - time.time()) < 5.0
    return reading


def test_this_very_process_is_seen_as_it_is(source: ProcessSource) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        me = good(source.read()).processes[os.getpid()]
        port = listener.getsockname()[1]

    assert me.parent_pid == os.getppid()
    assert port in me.ports
    assert 0.0 < time.time() - me.started_timestamp_seconds < 3600.0
    assert any("pytest" in word for word in me.command)
    assert me.title


def test_real_engines_are_found_on_their_ports(programs: Programs, source: ProcessSource) -> None:
    vllm = programs.start(*programs.script("vllm", "serve", "m/tiny", "--dtype", "half"))
    llama = programs.start(*programs.script("llama-server", "-m", "x.gguf", "--alias", "tiny"))
    ports = {programs.port(vllm): vllm, programs.port(llama): llama}

    targets = find_engines(good(source.read()).processes, HINTS)
    mine = {t.pid: t for t in targets if t.pid in (vllm.pid, llama.pid)}

    assert {int(t.name.rpartition("-")[2]): t.pid for t in mine.values()} == {
        port: started.pid for port, started in ports.items()
    }
    assert mine[vllm.pid].served_model == "m/tiny"
    assert mine[llama.pid].served_model == "tiny"
    started_at = mine[vllm.pid].started_timestamp_seconds
    assert started_at is not None
    assert abs(time.time() - started_at) < 60.0


def test_a_real_engine_whose_child_listens_is_found(
    programs: Programs, source: ProcessSource
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    started = programs.start(*programs.script("vllm", "serve", "m", "--port", port, "--child"))
    programs.port(started)

    targets = find_engines(good(source.read()).processes, HINTS)

    assert (f"vllm-{port}", started.pid) in {(t.name, t.pid) for t in targets}


def test_a_real_shell_around_a_real_engine_is_not_taken_for_it(
    programs: Programs, source: ProcessSource
) -> None:
    line = " ".join(programs.script("vllm", "serve", "m"))
    shell = programs.start("sh", "-c", f"{line}; true")
    port = programs.port(shell)

    processes = good(source.read()).processes
    (target,) = (t for t in find_engines(processes, HINTS) if t.name == f"vllm-{port}")

    assert target.pid is not None
    assert target.pid != shell.pid
    assert processes[target.pid].parent_pid == shell.pid


def test_a_shell_that_becomes_the_engine_is_seen_anew(
    programs: Programs, source: ProcessSource
) -> None:
    """A container's entry point: same process, same start, another program."""
    line = " ".join(programs.script("vllm", "serve", "m"))
    shell = programs.start("sh", "-c", f"read go; exec {line}")
    before = good(source.read()).processes[shell.pid]
    assert shell.stdin is not None
    shell.stdin.write("go\n")
    shell.stdin.flush()
    port = programs.port(shell)
    after = good(source.read()).processes[shell.pid]

    assert before.command[0] == "sh"
    assert after.command == programs.script("vllm", "serve", "m")
    assert after.ports == (port,)
    assert after.started_timestamp_seconds == before.started_timestamp_seconds


def test_ports_come_and_go_with_their_listeners(source: ProcessSource) -> None:
    def mine() -> set[int]:
        return set(good(source.read()).processes[os.getpid()].ports)

    before = mine()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert mine() == before | {listener.getsockname()[1]}
    assert mine() == before
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        assert mine() == before | {listener.getsockname()[1]}


def test_the_dead_are_left_out_buried_or_not(programs: Programs, source: ProcessSource) -> None:
    started = subprocess.Popen(["sleep", "60"])
    assert started.pid in good(source.read()).processes
    started.kill()
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    assert started.pid not in good(source.read()).processes
    started.wait()
    assert started.pid not in good(source.read()).processes


def test_processes_that_vanish_during_the_look_are_left_out(source: ProcessSource) -> None:
    is_over = threading.Event()

    def churn() -> None:
        while not is_over.is_set():
            subprocess.run(["true"], check=True)

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            assert os.getpid() in good(source.read()).processes
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_a_name_with_brackets_and_spaces_does_not_shift_the_fields(programs: Programs) -> None:
    name = "a) R 1 (b"
    code = f"import sys; open('/proc/self/comm', 'w').write({name!r}); print(1); sys.stdin.read()"
    started = programs.start(sys.executable, "-uc", code)
    programs.port(started)

    stat = proc.stat(started.pid)

    assert stat is not None
    assert stat.parent_pid == os.getpid()
    assert stat.identity[0] == name.encode()


def test_a_title_is_what_setproctitle_leaves_of_the_arguments(source: ProcessSource) -> None:
    plain = subprocess.Popen(["/bin/sleep", "30"])
    titled = subprocess.Popen(["VLLM::Worker_TP0"], executable="/bin/cat", stdin=subprocess.PIPE)
    padded = subprocess.Popen(["sh", "-c", "read go", "", ""], stdin=subprocess.PIPE)
    try:
        processes = good(source.read()).processes
    finally:
        for started in (plain, titled, padded):
            started.kill()
            started.communicate()

    assert processes[plain.pid].title == "sleep"
    assert processes[titled.pid].title == "VLLM::Worker_TP0"
    assert processes[padded.pid].command == ("sh", "-c", "read go")


def test_an_endless_command_line_is_cut(source: ProcessSource) -> None:
    started = subprocess.Popen(["sleep", "30", *(["0" * 1000] * 100)])
    try:
        command = good(source.read()).processes[started.pid].command
    finally:
        started.kill()
        started.wait()

    assert sum(map(len, command)) == proc.COMMAND_CHARACTERS
    assert command[:2] == ("sleep", "30")


def test_no_more_processes_than_the_limit_are_looked_at() -> None:
    source = ProcessSource(processes_limit=2)

    assert len(good(source.read()).processes) <= 2
    assert source.limit_reached == 1
    source.close()


def test_ports_can_be_had_one_process_at_a_time() -> None:
    """What is left where the whole table is refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert listener.getsockname()[1] in proc.ports_of(os.getpid())
    assert proc.ports_of(2**22 + 1) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")
def test_another_users_processes_are_seen_without_what_is_theirs(programs: Programs) -> None:
    started = programs.start(*programs.script("vllm", "serve", "m"))
    programs.port(started)
    code = (
        "import os, sys\n"
        "from burnmeter.sources.processes import ProcessSource\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "reading = ProcessSource().read()\n"
        "found = reading.processes[int(sys.argv[1])]\n"
        "print(reading.failure, found.command[2:], found.ports)\n"
    )
    command = [sys.executable, "-c", code, str(started.pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30.0)

    assert done.stdout == "None ('serve', 'm') ()\n"
