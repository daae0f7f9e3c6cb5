"""The node's GPUs, asked of a process that may hang or die without the agent doing so.

It does not load NVIDIA's library (`child.py` does) and attributes nothing. A call into a sick
driver can hang for ever, and a thread cannot be stopped: so the child gets a time, then SIGKILL,
and the agent does not wait for its end, since a process inside the kernel may never get there.
Surprising: while a GPU does not answer, the child is replaced now and then although it works, as
one session of NVML does not learn that a GPU came back, and an open one holds off its reset. And
a question about one GPU that kills child after child is left out for a while, for all others' sake.
"""

import json
import math
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from burnmeter.config import Gpus
from burnmeter.model import Failure, Gpu, GpuReading
from burnmeter.sources.nvml.reply import Roster, decoded

BACK_OFF_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Wait before a new child, by failures in a row: a wedged driver must not make a process storm."""

NO_LIBRARY_SECONDS: Final = 60.0
"""Wait on a machine without NVIDIA's library, which somebody may install later."""

RENEW_SECONDS: Final = 60.0
"""While one of several GPUs does not answer, how often a new session of NVML looks for it."""

EARLY_READS: Final = 5
"""A GPU that comes and goes has processes listed early, which is slow, once in so many readings."""

SKIP_SECONDS: Final = 300.0
"""How long a question about one GPU at which two readers in a row hung or died is not asked."""

REPLY_BYTES: Final = 1 << 20
"""Longest answer: 16 GPUs with 1,000 processes each come to half of this."""

STUCK_CHILDREN: Final = 3
"""So many killed children that the kernel does not end, and no further one is started."""

IDLE_SECONDS: Final = 3600.0
"""Between two samples where none are wanted but that of each reading."""

DMESG: Final = "`dmesg | grep -i -e nvrm -e xid`"

Child = subprocess.Popen[bytes]


class _GaveUp(Exception):  # noqa: N818 - it is the way out of a read, not an error of ours
    """The child is of no more use, and why."""

    def __init__(self, kind: str, text: str, place: str = "") -> None:
        super().__init__(text)
        self.failure = Failure(kind, text)
        self.place = place
        """What was asked, if it is of this that the child hung or died."""


class _Sores:
    """Questions about one GPU at which children hang or die: for a while they are not asked."""

    def __init__(self) -> None:
        self._last = ""
        """Where the last child ended; nowhere since the last answer."""
        self._until_seconds: dict[str, float] = {}

    def hurts(self, place: str, now_seconds: float) -> None:
        """A child ended there. Of one that was skipped once, a single end is enough."""
        is_question = re.fullmatch(r"gpu \d+ .+", place) is not None
        if is_question and place in (self._last, *self._until_seconds):
            self._until_seconds[place] = now_seconds + SKIP_SECONDS
        self._last = place

    def skipped(self, now_seconds: float) -> list[str]:
        """What is not to be asked now."""
        return [place for place, until in self._until_seconds.items() if now_seconds < until]

    def answered(self, skipped: Collection[str]) -> None:
        """A child that skipped these, and no others, has answered all else."""
        self._last = ""
        self._until_seconds = {p: s for p, s in self._until_seconds.items() if p in skipped}


class _Pipe:
    """A child's lines, read with a deadline and a limit."""

    def __init__(
        self, process: Child, started_seconds: float, skipped: Collection[str] = ()
    ) -> None:
        self.skipped = skipped
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.started_seconds = started_seconds
        self.has_greeted = False
        self._stdin, self._stdout = process.stdin, process.stdout
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)
        self._buffer = bytearray()

    def ask(self, request: dict[str, bool], deadline: float) -> bytes | None:
        """The answer to `request`, or None if it is not complete by `deadline`."""
        try:
            # A request is far shorter than a pipe's buffer, so that this never blocks.
            os.write(self._stdin.fileno(), json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise self._ended() from None
        return self.line(deadline)

    def line(self, deadline: float) -> bytes | None:
        """The child's next line, or None if it is not complete by `deadline`."""
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                return None
            chunk = os.read(self._stdout.fileno(), 1 << 16)
            if not chunk:
                raise self._ended()
            self._buffer += chunk
            if len(self._buffer) > REPLY_BYTES:
                raise _GaveUp("too_large", f"the NVML reader wrote over {REPLY_BYTES} bytes")
        line, _, rest = bytes(self._buffer).partition(b"\n")
        if rest:
            raise _GaveUp("crashed", f"the NVML reader wrote unasked: {rest[:60]!r}")
        self._buffer.clear()
        return line

    def place(self) -> str:
        """Where the child says it is: it writes what it asks into its process's name."""
        try:
            return Path(f"/proc/{self.process.pid}/comm").read_text().strip()
        except OSError:
            return "unknown"

    def kill(self) -> None:
        """End the child without waiting for its end."""
        self.process.kill()
        self._stdin.close()
        self._stdout.close()

    def _ended(self) -> _GaveUp:
        """Where and how; the place is lost once the child is reaped."""
        place = self.place()
        return _GaveUp("crashed", self._end(), place)

    def _end(self) -> str:
        """How a child ended that has closed its output; a moment later it can be reaped."""
        try:
            code = self.process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            return "the NVML reader closed its output"
        if code >= 0:
            return f"the NVML reader ended with status {code}, see the agent's standard error"
        number = -code
        known = {one.value: one.name for one in signal.Signals}
        text = f"the NVML reader died of {known.get(number, f'signal {number}')}"
        return f"{text} (out of memory? see `dmesg`)" if number == signal.SIGKILL else text


def start_child(
    library_path: str | None,
    sample_seconds: float = IDLE_SECONDS,
    time_ratio: float = 1.0,
    skipped: Collection[str] = (),
) -> Child:
    """Start a reader that looks for libnvidia-ml.so.1 in the folder `library_path` first."""
    environment = dict(os.environ)
    if library_path is not None:
        others = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = f"{library_path}:{others}" if others else library_path
    return subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "burnmeter.sources.nvml.child"),
            *(str(sample_seconds), str(time_ratio), *skipped),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        bufsize=0,
        process_group=0,  # Ctrl-C in a terminal is for the agent.
    )


class NvmlSource:
    """All GPUs of this node, one bounded attempt at a time. For one thread.

    What asking the driver takes, each reading says in `nvml_seconds`, by what was asked.
    """

    def __init__(
        self,
        settings: Gpus = Gpus(),  # noqa: B008 - it is frozen
        *,
        library_path: str | None = None,
        start_seconds: float = 30.0,
        start: Callable[..., Child] = start_child,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._timeout_seconds = settings.timeout_seconds
        self._processes_every = settings.processes_every
        rate = settings.samples_per_second
        self._sample_seconds = 1 / rate if rate > 0 else IDLE_SECONDS
        self._time_ratio = settings.nvml_time_ratio
        self._library_path = library_path
        self._start_seconds = start_seconds
        self.tells_wait = True
        """Whether a failure says when it is tried again; who looks but once will not see it."""
        self._start, self._clock, self._wall_clock = start, clock, wall_clock
        self._roster = Roster()
        self._driver_version: str | None = None
        self._pipe: _Pipe | None = None
        self._killed: list[Child] = []
        self._reads_to_processes = self._reads_to_early = 0
        self._is_listing = False
        """Whether the last request was for processes and was not answered."""
        self._sores = _Sores()
        self._failures_in_a_row = 0
        self._last_failure: Failure | None = None
        self._start_at_seconds = -math.inf
        self._renew_at_seconds = math.inf

    def read(self) -> GpuReading:
        """Ask all GPUs. Never raises; takes the timeout and a hair at most.

        Beside GPUs its failure is that of others, of which nobody knows which they are.
        """
        began = time.monotonic()
        try:
            answer = self._attempt(began + self._timeout_seconds)
        except _GaveUp as problem:
            self._sores.hurts(problem.place, self._clock())
            answer = self._give_up(problem.failure)
        failure = answer if isinstance(answer, Failure) else _unnamed(self._roster.unnamed)
        return GpuReading(
            at_seconds=self._clock(),
            timestamp_seconds=self._wall_clock(),
            duration_seconds=time.monotonic() - began,
            gpus=() if isinstance(answer, Failure) else answer,
            failure=failure,
            driver_version=self._driver_version,
            nvml_seconds=self._roster.nvml_seconds,
            nvml_put_off=self._roster.nvml_put_off,
        )

    def close(self) -> None:
        """End the child. A later read would start another."""
        self._drop()
        for process in self._killed:
            try:
                process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue  # Stuck in the kernel: it is init's once the agent ends.

    def _attempt(self, deadline: float) -> tuple[Gpu, ...] | Failure:
        """The GPUs, or why there is nobody to ask now. Raises _GaveUp over a bad child."""
        self._killed = [process for process in self._killed if process.poll() is None]
        if self._pipe and len(self._sores.skipped(self._clock())) < len(self._pipe.skipped):
            self._drop()  # What it skips is to be asked again.
        if self._pipe is None:
            refusal = self._begin()
            if refusal is not None:
                return refusal
        assert self._pipe is not None
        if not self._pipe.has_greeted and not self._greet(self._pipe, deadline):
            return self._still_starting(self._pipe)
        gpus = self._ask(self._pipe, deadline)
        self._look_for_silent(gpus)
        return gpus

    def _begin(self) -> Failure | None:
        """Start a child, unless it is too early or too many are stuck already."""
        now = self._clock()
        if self._last_failure is not None and now < self._start_at_seconds:
            return self._with_wait(self._last_failure, self._start_at_seconds - now)
        if len(self._killed) >= STUCK_CHILDREN:
            pids = ", ".join(str(process.pid) for process in self._killed)
            return Failure(
                "driver",
                f"{len(self._killed)} NVML readers hang in the driver and outlive SIGKILL (pids "
                f"{pids}), so no more are started: `cat /proc/PID/stack`; drain and reboot",
            )
        skipped = self._sores.skipped(now)
        options = self._library_path, self._sample_seconds, self._time_ratio, skipped
        try:
            self._pipe = _Pipe(self._start(*options), now, skipped)
        except OSError as error:
            raise _GaveUp("crashed", f"the NVML reader cannot be started: {error}") from None
        return None

    def _greet(self, pipe: _Pipe, deadline: float) -> bool:
        """Has the driver been initialised? That may take several reads."""
        line = pipe.line(deadline)
        if line is None:
            if self._clock() - pipe.started_seconds < self._start_seconds:
                return False
            raise _GaveUp(
                "timeout",
                f"the NVML reader could not initialise the driver in {self._start_seconds:g} s "
                f"(it was at: {pipe.place()}) and was killed: the driver hangs; see {DMESG}",
            )
        version = _believed(line).get("driver_version")
        self._driver_version = version if isinstance(version, str) else None
        pipe.has_greeted = True
        return True

    def _still_starting(self, pipe: _Pipe) -> Failure:
        waited = max(self._clock() - pipe.started_seconds, self._timeout_seconds)
        return Failure(
            "timeout",
            f"the NVML reader has been starting for {waited:.0f} s of {self._start_seconds:g} s "
            "allowed: initialising GPUs is slow without persistence mode (`nvidia-smi -pm 1`)",
        )

    def _ask(self, pipe: _Pipe, deadline: float) -> tuple[Gpu, ...]:
        self._is_listing = self._lists_now()
        line = pipe.ask({"with_processes": self._is_listing}, deadline)
        if line is None:
            place = pipe.place()
            text = f"the NVML reader got no answer from the driver in {self._timeout_seconds:g} s"
            raise _GaveUp(
                "timeout", f"{text} (it was at: {place}) and was killed; see {DMESG}", place
            )
        reply = _believed(line)
        try:
            gpus = self._roster.gpus(reply)
        except ValueError as error:
            raise _garbage(line, error) from None
        self._is_listing = False
        self._sores.answered(pipe.skipped)
        return gpus

    def _lists_now(self) -> bool:
        """Whether it is time to list processes: now and then, and early for a GPU that is new.

        Counted when asked, so that a list that hangs does not hang each time.
        """
        is_due = self._reads_to_processes <= 0
        is_early = self._roster.wants_processes and self._reads_to_early <= 0
        if is_due or is_early:
            self._reads_to_processes = self._processes_every
        if is_early:
            self._reads_to_early = EARLY_READS
        self._reads_to_processes -= 1
        self._reads_to_early -= 1
        return is_due or is_early

    def _look_for_silent(self, gpus: tuple[Gpu, ...]) -> None:
        """Replace the child while GPUs do not answer: soon if none does, else now and then."""
        unnamed = len(self._roster.unnamed)
        silent = unnamed + sum(gpu.failure is not None for gpu in gpus)
        if silent > 0 and silent == unnamed + len(gpus):
            self._give_up(Failure("driver", f"no GPU answered the NVML reader; see {DMESG}"))
            return
        self._failures_in_a_row = 0
        now = self._clock()
        if silent == 0:
            self._renew_at_seconds = math.inf
        elif now >= self._renew_at_seconds:
            self._drop()
            self._renew_at_seconds = now + RENEW_SECONDS
        elif self._renew_at_seconds == math.inf:  # Its XIDs may still come: not at once.
            self._renew_at_seconds = now + RENEW_SECONDS

    def _give_up(self, failure: Failure) -> Failure:
        """Let the child go, and set when the next one may start."""
        self._drop()
        wait = BACK_OFF_SECONDS[min(self._failures_in_a_row, len(BACK_OFF_SECONDS) - 1)]
        if failure.kind == "no_library":
            wait = NO_LIBRARY_SECONDS
        self._failures_in_a_row += 1
        self._last_failure = failure
        self._start_at_seconds = self._clock() + wait
        if self._is_listing:  # It may be the list that hangs.
            self._reads_to_early = self._reads_to_processes
        else:
            self._reads_to_processes = 0  # Who holds the GPUs may have changed meanwhile.
        return self._with_wait(failure, wait)

    def _with_wait(self, failure: Failure, wait_seconds: float) -> Failure:
        """The failure, and when the child starts again if anybody is there to see it."""
        if not self.tells_wait:
            return failure
        text = f"{failure.message}; it starts again in {math.ceil(wait_seconds)} s"
        return Failure(failure.kind, text)

    def _drop(self) -> None:
        if self._pipe is not None:
            self._pipe.kill()
            self._killed.append(self._pipe.process)
            self._pipe = None


def _unnamed(failures: Mapping[int, Failure]) -> Failure | None:
    """What a reading says of GPUs that are in none of its sums, as nobody knows which they are."""
    if not failures:
        return None
    which = ", ".join(map(str, sorted(failures)))
    kind, message = failures[min(failures)]
    text = f"GPU {which} never said its uuid, and is left out until it does: {message}"
    return Failure(kind, text)


def _believed(line: bytes) -> dict[str, Any]:
    """A line's answer. Raises _GaveUp for a failure it tells of, and for a line that is neither."""
    try:
        reply = decoded(line)
    except ValueError as error:
        raise _garbage(line, error) from None
    if isinstance(reply, Failure):
        raise _GaveUp(reply.kind, reply.message)
    return reply


def _garbage(line: bytes, error: ValueError) -> _GaveUp:
    start = line[:60].decode(errors="replace")
    return _GaveUp("crashed", f"the NVML reader wrote no answer but {start!r} ({error})")
