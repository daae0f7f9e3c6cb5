"""Files as a process sees them: its root, its folder, its links. Read-only, and small ones only.

An engine in a container names paths of its own. Every link is resolved inside the process's root,
and what is opened is opened step by step without following any, so that nothing that a container
puts there leads the agent to a file of the node's. Nor to a device, nor to what the kernel makes up
(/proc, /sys and their like): to open or to read one may do something, as /proc/kmsg forgets.
"""

import errno
import json
import os
import stat
from pathlib import PurePosixPath
from typing import Any, Final

LIMIT_BYTES: Final = 1 << 20
LINKS: Final = 40
"""Symbolic links on one path, as Linux allows."""


def read_text(pid: int, path: str) -> str:
    """A small plain file. Raises OSError, ValueError."""
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        number = _opened(root, resolved(pid, path))
    finally:
        os.close(root)
    text = _content(number)
    if len(text) > LIMIT_BYTES:
        raise ValueError(f"holds more than {LIMIT_BYTES} bytes")
    return text.decode("utf-8")


def read_object(pid: int, path: str) -> dict[str, Any]:
    """A small JSON file that holds an object. Raises OSError, ValueError, RecursionError."""
    found = json.loads(read_text(pid, path))
    if not isinstance(found, dict):
        raise ValueError("holds no object")
    return found


def resolved(pid: int, path: str) -> tuple[str, ...]:
    """The steps from the process's root to what its path means, none of them a link.

    Raises OSError for too many links, and for a path from a folder that cannot be told.
    """
    root = f"/proc/{pid}/root"
    base = "/" if path.startswith("/") else _folder(pid)
    todo = list(reversed(PurePosixPath(base, path).parts[1:]))
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            done = done[:-1]
            continue
        try:
            target = PurePosixPath(os.readlink("/".join((root, *done, part))))
        except OSError:  # It is no link, or is not there, which the opening will say.
            done.append(part)
            continue
        links += 1
        if links > LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        done = [] if target.is_absolute() else done
        todo += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    return tuple(done)


def _folder(pid: int) -> str:
    """The process's working folder, as it sees it: /proc has it from our root."""
    root, folder = (os.readlink(f"/proc/{pid}/{link}") for link in ("root", "cwd"))
    if not PurePosixPath(folder).is_relative_to(root):
        raise OSError(errno.ENOENT, "its working folder is outside its root")
    return f"/{PurePosixPath(folder).relative_to(root)}"


def _opened(root: int, steps: tuple[str, ...]) -> int:
    """A descriptor of a plain file; a step that has become a link meanwhile is refused."""
    here = os.dup(root)
    try:
        for step in steps:
            below = os.open(step, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        found = os.fstat(here)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("is no plain file")
        # Of all file systems those of the kernel alone have no room and take none for a file; with
        # FUSE one of the two may be so.
        if os.fstatvfs(here).f_blocks == found.st_blocks == 0:
            raise ValueError("is no stored file: the kernel makes it up")
        # O_PATH only points at it; this opens the very same file.
        return os.open(f"/proc/self/fd/{here}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(here)


def _content(number: int) -> bytes:
    """What a descriptor gives at once, a byte more than the limit at most; it is closed."""
    with os.fdopen(number, "rb") as file:
        text: bytes | None = file.read(LIMIT_BYTES + 1)
    if text is None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return text
