"""Whose a process on a GPU is: by the user's word, an engine above it, or its container. Pure.

Asked in this order: a rule of the config's `owners`; from the process upwards, the nearest that is
a target's, starts a target's workers, or was started as an engine by its command line; the one
engine of its container. Surprising: the nearest is taken, not the topmost, since a gateway may have
started the engines behind it; where two engines share what starts their workers, both are named.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from burnmeter.config_owners import OwnerRule
from burnmeter.model import Launch, Pod, Process
from burnmeter.tree import ancestors

METHODS: Final = {
    "process_tree": "an engine's own process, or one below it",
    "command_line": "below a process that its command line calls an engine; its page is elsewhere",
    "container": "in the container of one engine",
    "config": "by a rule of the config's owners",
}
"""How an owner is known."""


class Tenant(NamedTuple):
    """One engine that may hold GPUs."""

    target: str
    model: str
    pid: int | None
    is_busy: bool | None
    """None: not known."""
    worker_roots: tuple[int, ...] = ()
    is_gateway: bool = False
    """It passes requests on, and holds GPUs only if no engine near it can."""


class Owner(NamedTuple):
    """Whose it is, and how that is known."""

    target: str
    model: str
    is_busy: bool | None
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """All that says whose a process is, at one tick."""

    processes: Mapping[int, Process] = field(default_factory=dict)
    tenants: Sequence[Tenant] = ()
    launches: Sequence[Launch] = ()
    """Their `model` is our name for it."""
    pods: Mapping[str, Pod] = field(default_factory=dict)
    rules: Sequence[OwnerRule] = ()

    def owners(self, pid: int) -> tuple[Owner, ...]:
        """Nobody known: none. More than one: they cannot be told apart."""
        line = (pid, *ancestors(pid, self.processes))
        return self._ruled(line) or self._nearest(line) or self._contained(pid)

    def place(self, pid: int) -> Pod:
        """Its pod; by its uid if its name is not known, and nothing if it is in none."""
        process = self.processes.get(pid)
        uid = process.pod_uid if process is not None else None
        return Pod("", "") if uid is None else self.pods.get(uid, Pod("", uid))

    def _ruled(self, line: Sequence[int]) -> tuple[Owner, ...]:
        for rule in self.rules:
            if self._fits(rule, line):
                return (self._elsewhere(rule.model, "config"),)
        return ()

    def _fits(self, rule: OwnerRule, line: Sequence[int]) -> bool:
        if rule.pod is not None:
            pod = self.place(line[0])
            words = (pod.name, f"{pod.namespace}/{pod.name}") if pod.name else ()
            if not any(fnmatchcase(word, rule.pod) for word in words):
                return False
        if rule.command is not None:
            found = (self.processes[pid] for pid in line if pid in self.processes)
            said = (text for one in found for text in (" ".join(one.command), one.title))
            return any(re.search(rule.command, text) for text in said)
        return True

    def _nearest(self, line: Sequence[int]) -> tuple[Owner, ...]:
        for pid in line:
            found = [t for t in self.tenants if pid == t.pid or pid in t.worker_roots]
            if found:
                return _owners(found, "process_tree")
            started = [one for one in self.launches if one.pid == pid]
            if started:
                return (self._elsewhere(started[0].model, "command_line"),)
        return ()

    def _contained(self, pid: int) -> tuple[Owner, ...]:
        """The engine of its container, if that has one only."""
        process = self.processes.get(pid)
        if process is None or process.container is None:
            return ()
        there = [t for t in self.tenants if self._container(t.pid) == process.container]
        found = _owners(there, "container")
        return found if len(found) == 1 else ()

    def _container(self, pid: int | None) -> str | None:
        process = self.processes.get(pid) if pid is not None else None
        return process.container if process is not None else None

    def _elsewhere(self, model: str, method: str) -> Owner:
        """Of a model whose page is read from here for another reason: as busy as that one is."""
        told = [t.is_busy for t in self.tenants if t.model == model and t.is_busy is not None]
        return Owner("", model, any(told) if told else None, method)


def _owners(found: Sequence[Tenant], method: str) -> tuple[Owner, ...]:
    """One for each model: two pages of one process are one engine."""
    by_model: dict[str, Owner] = {}
    for t in [t for t in found if not t.is_gateway] or found:
        by_model.setdefault(t.model, Owner(t.target, t.model, t.is_busy, method))
    return tuple(by_model.values())
