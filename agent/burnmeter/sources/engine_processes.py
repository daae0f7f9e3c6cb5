"""Processes that look like an engine by their command line, for `doctor`: also those never read.

What is read, and by which URL, processes.py decides; here nothing needs to listen. It reads no
environment, so a switch that stands there is not seen.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from burnmeter.model import EngineProcess, Process, ProcessHint
from burnmeter.sources.commands import arguments_of, port_of
from burnmeter.tree import ancestors, descendants


def engine_processes(
    processes: Mapping[int, Process], hints: Sequence[ProcessHint]
) -> tuple[EngineProcess, ...]:
    """One for each engine, by pid: of processes of one engine the topmost, which started the rest.

    Of several hints that fit a command line the first is taken.
    """
    matching: dict[int, tuple[ProcessHint, tuple[str, ...]]] = {}
    for pid, process in sorted(processes.items()):
        for hint in hints:
            arguments = arguments_of(process.command, hint)
            if arguments is not None:
                matching[pid] = hint, arguments
                break
    return tuple(
        _engine_process(processes[pid], hint, arguments, processes)
        for pid, (hint, arguments) in matching.items()
        if not any(
            above in matching and matching[above][0].engine == hint.engine
            for above in ancestors(pid, processes)
        )
    )


def _engine_process(
    process: Process,
    hint: ProcessHint,
    arguments: Sequence[str],
    processes: Mapping[int, Process],
) -> EngineProcess:
    pids = {process.pid, *descendants(process.pid, processes)}
    command = " ".join(process.command)
    is_flagged = any(re.search(pattern, command) for pattern in hint.metrics_patterns)
    return EngineProcess(
        pid=process.pid,
        pids=frozenset(pids),
        engine=hint.engine,
        title=hint.title,
        port=_port(process, hint, arguments, [processes[pid] for pid in pids]),
        is_read=hint.is_read,
        shows_metrics=hint.has_metrics != is_flagged,
        remedy=hint.metrics_remedy,
    )


def _port(
    process: Process, hint: ProcessHint, arguments: Sequence[str], tree: Collection[Process]
) -> int | None:
    said = port_of(arguments, hint.port_flags)
    if said is not None:
        return said
    if any(hint.default_port in one.ports for one in tree):
        return hint.default_port
    return min(process.ports, default=None)
