"""ProcessSource on real processes of ours, and the engines found among them."""

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

from burnmeter.model import ProcessReading
from burnmeter.sources import proc
from burnmeter.sources.processes import ProcessSource, find_engines, is_running
from tests.test_find_engines import HINTS

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


def test_a_start_is_known_more_finely_than_the_kernels_word_for_the_boot(
    source: ProcessSource,
) -> None:
    def now() -> float:
        return proc.booted_timestamp_seconds() + time.clock_gettime(time.CLOCK_BOOTTIME)

    before = now()
    with subprocess.Popen(["sleep", "30"]) as child:
        after = now()
        found = good(source.read()).processes[child.pid]
        assert is_running(child.pid)
        child.kill()

    assert before - 0.02 < found.started_timestamp_seconds <= after
    assert abs(found.started_timestamp_seconds - time.time()) < 60.0
    assert not is_running(child.pid)


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
