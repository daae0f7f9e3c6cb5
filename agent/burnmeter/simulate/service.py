"""The life of one simulated engine: up, dying, gone, loading, up again; and its processes. Pure.

The engine (engine.py) exists only while its page can be read; this is what surrounds it. A restart
looks as a real one does: the core dies and the page lives on for 2.5 s with frozen values and
/health at 503 (seen on vLLM 0.32 after SIGKILL of EngineCore), then nothing listens, then a new
process with a new pid loads the model, then counters start from zero.
"""

from typing import Final

from burnmeter.model import Process
from burnmeter.simulate.engine import CALM, Conditions, Engine
from burnmeter.simulate.fleet import EngineSpec
from burnmeter.simulate.gpu import Work
from burnmeter.simulate.story import Playing

FIRST_PID: Final = 5_000_000
"""Above 2^22, the most that Linux hands out (PID_MAX_LIMIT), so never the pid of a real process."""
PIDS_PER_ENGINE: Final = 100_000
PIDS_PER_START: Final = 16

DYING_SECONDS: Final = 2.5
LOADING_SECONDS: Final = 12.0
INIT_PID: Final = 1


class Service:
    """One engine with its processes, from one start to the next."""

    def __init__(self, spec: EngineSpec, place: int, seed: int, port: int, now: float) -> None:
        self.spec = spec
        self.port = port
        self.phase = "up"
        """up, hung, dying, gone or loading."""
        self.process_started = now - LOADING_SECONDS
        self._place = place
        self._seed = seed
        self._starts = 0
        self._conditions = CALM
        self.engine: Engine | None = self._new_engine(now)

    @property
    def is_listening(self) -> bool:
        """Whether anything answers on its port."""
        return self.engine is not None

    @property
    def pid(self) -> int:
        """Of the API server."""
        return FIRST_PID + self._place * PIDS_PER_ENGINE + self._starts * PIDS_PER_START

    def advance(self, now: float, seconds: float, playing: tuple[Playing, ...]) -> None:
        """One tick from `now`, with what the story does to this engine."""
        self._conditions = _conditions(playing)
        self._enter(_phase(playing), now)
        if self.engine is None:
            return
        # A hang shows only in an engine that has work, so it waits for some.
        if self.phase == "hung" and any(rank.running for rank in self.engine.ranks):
            self.engine.hold(seconds)
        elif self.phase != "dying":
            self.engine.advance(seconds, self._conditions)

    def work(self, seconds: float) -> dict[int, Work]:
        """What each of its GPUs did in the tick that has just passed."""
        memory = self.spec.memory_ratio if self._holds_gpus else 0.0
        if self.engine is None or self.phase != "up":
            return dict.fromkeys(self.spec.gpus, Work(memory_ratio=memory))
        work: dict[int, Work] = {}
        for rank, gpus in zip(self.engine.ranks, self.spec.gpus_by_rank, strict=True):
            busy, prefill = rank.take_work(seconds)
            slowdown = self._conditions.slowdown_ratio
            done = Work(busy, prefill, slowdown, memory, peers=len(gpus) - 1)
            work |= dict.fromkeys(gpus, done)
        return work

    def holders(self, gpu: int) -> tuple[int, ...]:
        """Pids that hold this GPU."""
        if not self._holds_gpus or gpu not in self.spec.gpus:
            return ()
        return (self._workers()[gpu],)

    def processes(self, started_timestamp_seconds: float) -> list[Process]:
        """API server, engine cores, workers: as vLLM names them."""
        if self.phase == "gone":
            return []
        ports = (self.port,) if self.is_listening else ()
        made = [self._process(self.pid, INIT_PID, "vllm", started_timestamp_seconds, ports)]
        if self.phase == "dying":
            return made
        for pid, parent, title in self._children():
            made.append(self._process(pid, parent, title, started_timestamp_seconds))
        return made

    @property
    def _holds_gpus(self) -> bool:
        return self.phase not in ("dying", "gone")

    def _enter(self, phase: str, now: float) -> None:
        if phase == "loading" and self.phase != "loading":
            self._starts += 1
            self.process_started = now
        if phase in ("gone", "loading"):
            self.engine = None
        elif self.engine is None:
            self.engine = self._new_engine(now)
        self.phase = phase

    def _new_engine(self, now: float) -> Engine:
        seed = f"{self._seed}/{self.spec.name}/{self._starts}"
        return Engine(self.spec, seed, process_started=self.process_started, now=now)

    def _children(self) -> list[tuple[int, int, str]]:
        """Pid, parent and title of all below the API server."""
        children, pid = [], self.pid
        for index, gpus in enumerate(self.spec.gpus_by_rank):
            pid += 1
            core, suffix = pid, f"_DP{index}" if len(self.spec.gpus_by_rank) > 1 else ""
            children.append((core, self.pid, f"VLLM::EngineCore{suffix}"))
            if len(gpus) > 1:
                for worker in range(len(gpus)):
                    pid += 1
                    children.append((pid, core, f"VLLM::Worker{suffix}_TP{worker}"))
        return children

    def _workers(self) -> dict[int, int]:
        """GPU -> pid. With one GPU per rank the core itself computes; else its workers do."""
        parents = {parent for _, parent, _ in self._children()}
        pids = [pid for pid, _, _ in self._children() if pid not in parents]
        return dict(zip(self.spec.gpus, pids, strict=True))

    def _process(
        self, pid: int, parent: int, title: str, started: float, ports: tuple[int, ...] = ()
    ) -> Process:
        # Children are spawned by multiprocessing and show no flags; only the API server does.
        command = self._command() if pid == self.pid else (title,)
        return Process(
            pid=pid,
            parent_pid=parent,
            started_timestamp_seconds=started,
            command=command,
            title=title,
            ports=ports,
        )

    def _command(self) -> tuple[str, ...]:
        spec = self.spec
        flags = {
            "--served-model-name": spec.served_model,
            "--host": "127.0.0.1",
            "--port": str(self.port),
            "--tensor-parallel-size": str(len(spec.gpus_by_rank[0])),
            "--data-parallel-size": str(len(spec.gpus_by_rank)),
            # One API server even with several ranks, so that the page has all its families.
            "--api-server-count": "1",
            "--max-num-seqs": str(spec.max_requests),
            "--max-num-batched-tokens": str(spec.step_tokens),
            "--max-num-queued-reqs": str(spec.max_queued),
            "--max-model-len": str(spec.max_model_tokens),
            "--gpu-memory-utilization": str(spec.memory_ratio),
        }
        words = [word for pair in flags.items() for word in pair]
        return ("/usr/bin/python3", "/usr/local/bin/vllm", "serve", spec.model, *words)


def _phase(playing: tuple[Playing, ...]) -> str:
    for scene, elapsed in playing:
        if scene.kind == "hang":
            return "hung"
        if scene.kind == "restart":
            if elapsed < DYING_SECONDS:
                return "dying"
            return "loading" if elapsed >= scene.seconds - LOADING_SECONDS else "gone"
    return "up"


def _conditions(playing: tuple[Playing, ...]) -> Conditions:
    """All scenes at once: the worst of each."""
    return Conditions(
        slowdown_ratio=max((one.scene.slowdown_ratio for one in playing), default=1.0),
        traffic_ratio=max((one.scene.traffic_ratio for one in playing), default=1.0),
        error_ratio=max((one.scene.error_ratio for one in playing), default=0.0),
    )
