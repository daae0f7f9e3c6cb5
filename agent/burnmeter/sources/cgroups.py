"""In which container and pod a process is, by its cgroup; and what pods are called, by their logs.

It asks no kubelet and no API: a pod's uid stands in the path of its cgroup, and the kubelet names
the folder of a pod's logs after namespace, name and uid. Surprising: without that folder
(/var/log/pods, mounted into our own container) a pod is known by its uid alone.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from burnmeter.model import Pod

POD_LOGS: Final = Path("/var/log/pods")
CONTAINER: Final = re.compile(r"[0-9a-f]{64}")
POD: Final = re.compile(r"pod([0-9a-f]{8}([-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})")
"""A pod's uid, with `_` for `-` under systemd; a static pod's is a hash."""
READ_BYTES: Final = 1 << 16


class Place(NamedTuple):
    """Where a process runs. None: in no container, in no pod, or not for us to see."""

    container: str | None
    pod_uid: str | None


def place(pid: int) -> Place:
    """By /proc/PID/cgroup: version 1 and 2, systemd's driver and cgroupfs."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return parsed(file.read(READ_BYTES))
    except OSError:
        return Place(None, None)


def parsed(text: str) -> Place:
    """The innermost container that the paths name, and the pod."""
    containers = CONTAINER.findall(text)
    pod = POD.search(text)
    uid = pod[1].replace("_", "-") if pod else None
    return Place(containers[-1] if containers else None, uid)


def pods(folder: Path = POD_LOGS) -> Mapping[str, Pod]:
    """Uid -> pod, as far as the folder tells."""
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    parts = (name.split("_") for name in names)
    return {uid: Pod(namespace, name) for namespace, name, uid in (p for p in parts if len(p) == 3)}
