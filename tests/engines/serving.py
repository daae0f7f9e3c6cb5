"""Start real engines for tests, on a free port of this machine, and stop all of what was started.

Not a double: these are the programs users run, only small and on the CPU. Each runs in a process
group of its own and dies with the test run even if that is killed; a stop ends every process that
the engine started, frozen ones too, so that no test leaves one behind.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.parts import engine_environment

HERE = Path(__file__).resolve().parent
LOG_TAIL_CHARACTERS = 3000
STOP_SECONDS = 5.0  # vLLM ends within 2 s of SIGTERM; a frozen engine never does
BURY_SECONDS = 60.0  # what was killed is gone as soon as the machine has time to free its memory
VLLM_START_SECONDS = 180.0  # 15 s on two idle cores
SGLANG_START_SECONDS = 180.0  # 20 s on two idle cores
MOST_RANKS = 2


@dataclass(frozen=True)
class Server:
    """One running engine."""

    engine: str
    url: str
    pid: int
    log: Path
    command: tuple[str, ...]

    def get(self, path: str, timeout_seconds: float = 5.0) -> tuple[int, str]:
        """Status and text of one page."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout_seconds) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def page(self) -> str:
        """The metrics page as it is now."""
        status, text = self.get("/metrics")
        assert status == 200, f"/metrics answers {status}"
        return text

    def processes(self, title: str = "") -> list[psutil.Process]:
        """The engine's processes, children included, whose own title holds `title`."""
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.pid)
            everyone = [first, *first.children(recursive=True)]
            return [one for one in everyone if is_alive(one) and title in own_title(one)]
        return []

    def log_tail(self) -> str:
        """The end of what the engine wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:]


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that ended and that nobody asked about is a zombie."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def own_title(process: psutil.Process) -> str:
    """What a process calls itself: vLLM's engine core is `VLLM::EngineCore`."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline()) or process.name()
    return ""


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def llamacpp_server(folder: Path, *, port: int | None = None) -> Iterator[Server]:
    """llama.cpp with the tiny model, four slots, metrics on; up in under a second."""
    engine = engine_environment("llamacpp")
    model = ready_model("llamacpp", "tiny")
    port = port or free_port()
    # Its command line is what finds it among the processes, so it is called what users call it.
    program = folder / "llama-server"
    program.unlink(missing_ok=True)
    program.symlink_to(HERE / "serve_llamacpp.py")
    command = [str(engine / "bin" / "python"), str(program), "--model", str(model)]
    command += ["--alias", "tiny", "--port", str(port), "--metrics"]
    with running("llamacpp", command, port, folder, {}, 20.0) as server:
        yield server


@contextlib.contextmanager
def vllm_server(
    folder: Path, *flags: str, size: str = "tiny", port: int | None = None
) -> Iterator[Server]:
    """vLLM with a model served as `tiny`; up in 15 s. Later flags win over the ones here."""
    engine = engine_environment("vllm")
    port = port or free_port()
    command = [str(engine / "bin" / "vllm"), "serve", str(ready_model("vllm", size))]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--max-model-len", "1024", "--max-num-seqs", "8", "--enforce-eager"]
    command += ["--kv-cache-memory-bytes", "64M"]
    # The default executor spawns one more process, which starves the API server on two cores.
    command += ["--distributed-executor-backend", "uni", *flags]
    settings = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # Bound to a core it starves, and is starved by, whatever else runs there.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    with running("vllm", command, port, folder, settings, VLLM_START_SECONDS) as server:
        yield server


@contextlib.contextmanager
def sglang_server(
    folder: Path, *flags: str, size: str = "tiny", port: int | None = None
) -> Iterator[Server]:
    """SGLang with a model served as `tiny`; up in 20 s. Later flags win over the ones here.

    It has then asked itself one request, and its page says so: 8 tokens, and one of the prompt.
    """
    engine = engine_environment("sglang")
    port = port or free_port()
    cores = f"0-{(os.cpu_count() or 1) - 1}"
    command = [str(engine / "bin" / "python"), "-m", "sglang.launch_server"]
    command += ["--model-path", str(ready_model("sglang", size)), "--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--enable-metrics"]
    command += ["--device", "cpu", "--attention-backend", "torch_native"]
    command += ["--sampling-backend", "pytorch", "--grammar-backend", "none"]
    command += ["--disable-overlap-schedule", "--disable-cuda-graph", "--sleep-on-idle"]
    command += ["--context-length", "1024", "--max-running-requests", "8"]
    command += ["--max-total-tokens", "8192", "--mem-fraction-static", "0.3"]
    # In bfloat16 two at once take seven times as long as one.
    command += ["--dtype", "float32", *flags]
    settings = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "SGLANG_USE_CPU_ENGINE": "1",
        # Without a word on cores it starts one rank for each NUMA node and no more.
        "SGLANG_CPU_OMP_THREADS_BIND": "|".join([cores] * MOST_RANKS),
    }
    with running("sglang", command, port, folder, settings, SGLANG_START_SECONDS) as server:
        yield server


def ready_model(engine: str, size: str) -> Path:
    """The model of this size in the engine's environment, made at first use."""
    folder = engine_environment(engine)
    kind, name = ("file", f"{size}.gguf") if engine == "llamacpp" else ("folder", size)
    place = folder / "models" / name
    if not place.exists():
        python = str(folder / "bin" / "python")
        subprocess.run([python, HERE / "make_model.py", kind, place, size], check=True, timeout=100)
    return place


@contextlib.contextmanager
def running(
    engine: str,
    command: list[str],
    port: int,
    folder: Path,
    settings: Mapping[str, str],
    timeout_seconds: float,
    health: str = "/health",
) -> Iterator[Server]:
    """Start `command`, wait until it answers, hand it out, and end all of it whatever happens."""
    log = folder / f"{engine}-{port}.log"
    # Ends the engine with this process, even if that is killed and can no longer clean up.
    guard = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    with log.open("wb") as output:
        process = subprocess.Popen(
            guard + command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=os.environ | settings,
            start_new_session=True,
        )
    server = Server(engine, f"http://127.0.0.1:{port}", process.pid, log, tuple(command))
    try:
        wait_until_ready(server, process, timeout_seconds, health)
        yield server
    finally:
        stop(server, process)


def wait_until_ready(
    server: Server, process: subprocess.Popen[bytes], timeout_seconds: float, health: str
) -> None:
    """Return once `health` is 200; raise with the log's end if it dies or takes too long."""
    give_up_seconds = time.monotonic() + timeout_seconds
    while time.monotonic() < give_up_seconds:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            if server.get(health, timeout_seconds=2.0)[0] == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{server.engine} did not come up; its log ends:\n{server.log_tail()}")


def stop(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Ask nicely, then not; leaves no process of the engine."""
    family = server.processes()
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait(BURY_SECONDS)
    psutil.wait_procs(family, timeout=BURY_SECONDS)
