"""Engines by their command lines, near the processes that matter: what they run, on how many GPUs.

processes.py finds what serves; here it is found whose GPUs are whose. An engine of several nodes
answers on one of them, and has GPUs on all: so what is started as an engine counts, whether or not
it listens. It looks at command lines and titles, never at an environment.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Final, NamedTuple

from burnmeter.model import Launch, Process, ProcessHint, Target
from burnmeter.sources.commands import arguments_of, served_model_of, size_of
from burnmeter.tree import ancestors, descendants

COMMANDS_KEPT: Final = 10_000


class Match(NamedTuple):
    """An engine that a command line runs."""

    hint: ProcessHint
    arguments: tuple[str, ...]


class Matcher:
    """Which engines a command line runs, each one looked at once."""

    def __init__(self, hints: Sequence[ProcessHint]) -> None:
        self._hints = hints
        self._known: dict[tuple[str, ...], tuple[Match, ...]] = {}

    def __call__(self, command: tuple[str, ...]) -> tuple[Match, ...]:
        """In the order of the hints; of two engines that claim it the first is it."""
        found = self._known.get(command)
        if found is None:
            if len(self._known) >= COMMANDS_KEPT:
                self._known.clear()
            pairs = ((hint, arguments_of(command, hint)) for hint in self._hints)
            found = tuple(Match(hint, words) for hint, words in pairs if words is not None)
            self._known[command] = found
        return found


def launches(
    processes: Mapping[int, Process], holders: Collection[int], matching: Matcher
) -> tuple[Launch, ...]:
    """Engines among the holders of GPUs and what is above them, that say which model they run."""
    near = {pid for holder in holders for pid in (holder, *ancestors(holder, processes))}
    found = []
    for pid in sorted(near & processes.keys()):
        words = (served_model_of(m.arguments, m.hint) for m in matching(processes[pid].command))
        model = next((word for word in words if word is not None), None)
        if model is not None:
            found.append(Launch(pid, model))
    return tuple(found)


def with_parts(target: Target, processes: Mapping[int, Process], matching: Matcher) -> Target:
    """The target with where its workers are, which ranks are here, and the GPUs of each."""
    process = processes.get(target.pid) if target.pid is not None else None
    if process is None:
        return target
    line = [process, *(processes[pid] for pid in ancestors(process.pid, processes))]
    matches = [(one.pid, match) for one in line for match in matching(one.command)[:1]]
    roots = {pid for pid, _ in matches} - {process.pid}
    for pid, match in matches:
        roots |= set(_worker_parents(match.hint, processes[pid], processes))
    sizes = [size_of(match.arguments, match.hint.size_flags) for _, match in matches]
    return replace(
        target,
        worker_roots=tuple(sorted(roots)),
        local_ranks=_ranks(target, [match.hint for _, match in matches], processes),
        gpus_per_rank=next((prod(size) for size in sizes if size), None),
    )


def _worker_parents(
    hint: ProcessHint, engine: Process, processes: Mapping[int, Process]
) -> Iterator[int]:
    """Processes beside the engine that start its workers: of its container, or of none as it is."""
    own = " ".join(engine.command)
    wanted = [parent for said, parent in hint.worker_parents.items() if re.search(said, own)]
    for process in processes.values() if wanted else ():
        line = " ".join(process.command)
        is_beside = process.container == engine.container
        if is_beside and any(re.search(pattern, line) for pattern in wanted):
            yield process.pid


def _ranks(
    target: Target, hints: Sequence[ProcessHint], processes: Mapping[int, Process]
) -> tuple[str, ...] | None:
    """Ranks whose processes are below the target's; None where none says that it is one."""
    pattern = next((hint.rank_title for hint in hints if hint.rank_title is not None), None)
    if pattern is None or target.pid is None:
        return None
    below = descendants(target.pid, processes)
    found = (re.search(pattern, processes[pid].title) for pid in below)
    return tuple(sorted({match[1] for match in found if match})) or None
