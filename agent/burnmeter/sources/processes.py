"""This machine's processes, and which of them are engines that serve.

It reads no environment and no memory, and asks no engine anything. Needs Linux's /proc; in a
container it sees the node's processes only with the host's process and network namespaces.

A command line may mention an engine without being one (a shell, an editor, a benchmark), so two
things must hold: the engine is what the process itself runs, and its port is listened on by it, by
a process below it or by its parent. An engine that is still starting is therefore no target yet,
nor is one whose open files another user's agent may not see.
"""

import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import psutil

from burnmeter.model import Failure, Process, ProcessHint, ProcessReading, Target
from burnmeter.sources import cgroups, proc
from burnmeter.sources.commands import arguments_of, port_of, role_of, served_model_of
from burnmeter.tree import ancestors, descendants

UNSETTLED_SECONDS: Final = 60.0
"""A process may still take its title (setproctitle) this long after its start."""


@dataclass(slots=True)
class _Known:
    """What was read of a process, for as long as it stays the same program."""

    identity: tuple[bytes, bytes, bytes]
    process: Process
    is_settled: bool


class ProcessSource:
    """Looks at all processes, and anew only at what has changed since the last look."""

    def __init__(self, *, processes_limit: int = 20_000) -> None:
        self._processes_limit = processes_limit
        self._known: dict[int, _Known] = {}
        self._listeners: frozenset[tuple[bytes, bytes]] | None = None
        self._ports: dict[int, tuple[int, ...]] = {}
        self.limit_reached = 0
        """Times that there were more processes than the limit; the newest were left out."""

    def read(self) -> ProcessReading:
        """All processes that we may see. A vanished one is left out; nothing raises."""
        began = time.monotonic()
        try:
            pids = proc.pids()
        except OSError as error:
            message = f"/proc cannot be read: {error.strerror}"
            return _reading(began, {}, Failure("no_permission", message))
        if len(pids) > self._processes_limit:
            self.limit_reached += 1
            del pids[self._processes_limit :]
        self._known = {known.process.pid: known for known in self._look(pids)}
        ports = self._ports_now()
        processes = {
            pid: replace(known.process, ports=ports[pid]) if pid in ports else known.process
            for pid, known in self._known.items()
        }
        return _reading(began, processes, None)

    def close(self) -> None:
        """Forget what was read."""
        self._known, self._ports, self._listeners = {}, {}, None

    def _look(self, pids: Sequence[int]) -> Iterator[_Known]:
        now = time.time()
        for pid in pids:
            stat = proc.stat(pid)
            if stat is None:
                continue
            known = self._known.get(pid)
            if known is None or known.identity != stat.identity or not known.is_settled:
                process = proc.process(pid, stat)
                if process is None:
                    continue
                age_seconds = now - process.started_timestamp_seconds
                known = _Known(stat.identity, process, age_seconds > UNSETTLED_SECONDS)
            elif known.process.parent_pid != stat.parent_pid:
                known.process = replace(known.process, parent_pid=stat.parent_pid)
            yield known

    def _ports_now(self) -> dict[int, tuple[int, ...]]:
        listeners = proc.listeners()
        is_same = listeners is not None and listeners == self._listeners
        if not is_same or not self._ports.keys() <= self._known.keys():
            self._ports = proc.ports_by_pid(self._known)
            self._listeners = listeners
        return self._ports


def is_running(pid: int) -> bool:
    """Whether this process is there and has not ended."""
    return proc.stat(pid) is not None


def local_addresses() -> frozenset[str]:
    """Addresses and the name under which this host may stand in a target's URL."""
    addresses = {
        address.address.partition("%")[0].lower()
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family in (socket.AF_INET, socket.AF_INET6)
    }
    return frozenset(addresses | {socket.gethostname().lower()})


def with_processes(
    target: Target,
    processes: Mapping[int, Process],
    addresses: Collection[str] = frozenset(),
) -> Target:
    """The target with the process that listens on its port, if its URL leads to this host.

    `addresses`: what `local_addresses` gives; loopback is always this host.
    """
    port = _local_port(target.url, addresses)
    listeners = [process for process in processes.values() if port in process.ports]
    if target.pid is not None or not listeners:
        return target
    # Forked workers share the socket of the process above them.
    process = min(listeners, key=lambda p: (len(ancestors(p.pid, processes)), p.pid))
    return replace(
        target, pid=process.pid, started_timestamp_seconds=process.started_timestamp_seconds
    )


def find_engines(
    processes: Mapping[int, Process], hints: Sequence[ProcessHint]
) -> tuple[Target, ...]:
    """A target for each port that an engine serves, by port; names survive the engine's restarts.

    Only a listener's port is known, not its address, so each URL is on 127.0.0.1.
    """
    best: dict[int, _Candidate] = {}
    for process in _near_listeners(processes):
        for order, hint in enumerate(hints):
            candidate = _candidate(process, hint, order, processes)
            if candidate is not None:
                rival = best.setdefault(candidate.port, candidate)
                best[candidate.port] = min(rival, candidate)
    return tuple(_target(best[port], processes) for port in sorted(best))


@dataclass(frozen=True, slots=True, order=True)
class _Candidate:
    """A process that may be what serves a port; the least of several is it."""

    rank: int
    """0: listens itself; 1: a process below it does; 2: its parent does."""
    order: int
    """Of its hint: two engines may claim one command line, and the first is taken."""
    depth: int
    """Of several listeners the topmost, whose socket was inherited; of several processes above
    the listener the nearest."""
    pid: int
    port: int
    process: Process = field(compare=False)
    hint: ProcessHint = field(compare=False)
    arguments: tuple[str, ...] = field(compare=False)


def _candidate(
    process: Process, hint: ProcessHint, order: int, processes: Mapping[int, Process]
) -> _Candidate | None:
    arguments = arguments_of(process.command, hint)
    if arguments is None:
        return None
    served = _served(process, hint, arguments, processes)
    if served is None:
        return None
    rank, port = served
    depth = len(ancestors(process.pid, processes))
    return _Candidate(
        rank=rank,
        order=order,
        depth=-depth if rank == 1 else depth,
        pid=process.pid,
        port=port,
        process=process,
        hint=hint,
        arguments=arguments,
    )


def _near_listeners(processes: Mapping[int, Process]) -> Iterator[Process]:
    """Listeners, what is above them, and their children. The rest is not worth a pattern."""
    near = {pid for pid, process in processes.items() if process.ports}
    near |= {p.pid for p in processes.values() if p.parent_pid in near}
    near |= {above for pid in tuple(near) for above in ancestors(pid, processes)}
    return (processes[pid] for pid in sorted(near) if pid in processes)


def _served(
    process: Process,
    hint: ProcessHint,
    arguments: Sequence[str],
    processes: Mapping[int, Process],
) -> tuple[int, int] | None:
    """Rank and port. A port that only others hold must be the one we expect."""
    said = port_of(arguments, hint.port_flags)
    port = hint.default_port if said is None else said
    if port in process.ports:
        return 0, port
    if any(port in processes[pid].ports for pid in descendants(process.pid, processes)):
        return 1, port
    parent = processes.get(process.parent_pid)
    if said is not None:
        # It listens elsewhere (its workers' sockets), so it is not yet up.
        return (2, port) if parent is not None and port in parent.ports else None
    return (0, min(process.ports)) if process.ports else None


def _target(found: _Candidate, processes: Mapping[int, Process]) -> Target:
    process = found.process
    # A fork that has the same command is a worker of the server above it, which holds the rest.
    for pid in ancestors(process.pid, processes):
        if processes[pid].command != process.command:
            break
        process = processes[pid]
    return Target(
        name=f"{found.hint.engine}-{found.port}",
        url=f"http://127.0.0.1:{found.port}{found.hint.path}",
        origin="process",
        role=role_of(found.arguments, found.hint),
        served_model=served_model_of(found.arguments, found.hint),
        pid=process.pid,
        started_timestamp_seconds=process.started_timestamp_seconds,
        remedy=found.hint.metrics_remedy,
    )


def _local_port(url: str, addresses: Collection[str]) -> int | None:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".")
    if host == "localhost" or host in addresses:
        return port
    try:
        return port if ip_address(host).is_loopback else None
    except ValueError:
        return None


def _reading(
    began: float, processes: Mapping[int, Process], failure: Failure | None
) -> ProcessReading:
    now = time.monotonic()
    return ProcessReading(
        at_seconds=now,
        timestamp_seconds=time.time(),
        duration_seconds=now - began,
        processes=processes,
        failure=failure,
        pods=cgroups.pods(),
    )
