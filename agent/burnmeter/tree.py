"""Who started whom: walks over a table of processes.

It only follows parent numbers; which process is an engine is decided in sources/processes.py, and
who pays for a GPU in attribution.py. A table is a photograph taken while things move, so it may
hold a loop or name a parent that is gone: every walk here ends all the same.
"""

from collections import defaultdict, deque
from collections.abc import Mapping

from burnmeter.model import Process


def descendants(pid: int, processes: Mapping[int, Process]) -> frozenset[int]:
    """All processes below `pid`, without itself; empty if it has none or is not known."""
    children = defaultdict(list)
    for process in processes.values():
        children[process.parent_pid].append(process.pid)
    found: set[int] = set()
    waiting = deque([pid])
    while waiting:
        for child in children.get(waiting.popleft(), ()):
            if child not in found and child != pid:
                found.add(child)
                waiting.append(child)
    return frozenset(found)


def ancestors(pid: int, processes: Mapping[int, Process]) -> tuple[int, ...]:
    """The processes above `pid`, nearest first, without itself and without unknown ones."""
    found: list[int] = []
    seen = {pid}
    process = processes.get(pid)
    while process is not None and process.parent_pid not in seen:
        process = processes.get(process.parent_pid)
        if process is not None:
            seen.add(process.pid)
            found.append(process.pid)
    return tuple(found)
