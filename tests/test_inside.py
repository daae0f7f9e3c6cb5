"""Small files as a process sees them: its folder, its links, its root; and nothing but files."""

import errno
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from burnmeter.sources import inside
from burnmeter.sources.inside import LIMIT_BYTES, LINKS, read_object, read_text, resolved
from tests.parts import missing, program

ME = os.getpid()
GONE = 2**22 + 1
"""Linux hands out no such number."""

WAITING = """
import os, sys
if len(sys.argv) > 1:
    os.chroot(sys.argv[1])
    os.chdir(sys.argv[2])
print("ready", flush=True)
sys.stdin.read()
"""


class Children:
    """Starts processes that do nothing and end with the test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def start(self, folder: Path) -> int:
        """One that works in a folder."""
        pid = self._start([sys.executable, "-c", WAITING], folder)
        assert pid is not None
        return pid

    def start_below(self, root: Path, folder: str = "/") -> int:
        """One whose root is another: as root, or else where users may be root among themselves."""
        command = [sys.executable, "-c", WAITING, str(root), folder]
        if os.geteuid() != 0:
            command[:0] = [program("unshare", package="util-linux"), "--user", "--map-root-user"]
        pid = self._start(command, root.parent)
        if pid is None:
            missing("the right to give a process another root", "run the tests as root")
        return pid

    def _start(self, command: list[str], folder: Path) -> int | None:
        pipe = subprocess.PIPE
        child = subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True)
        self._stack.enter_context(child)
        assert child.stdin is not None
        assert child.stdout is not None
        self._stack.callback(child.stdin.close)
        return child.pid if child.stdout.readline() == "ready\n" else None


@pytest.fixture
def children() -> Iterator[Children]:
    with ExitStack() as stack:
        yield Children(stack)


# --- files and folders ---------------------------------------------------------------------------


def test_a_file_is_read_by_its_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("größer")

    assert read_text(ME, str(tmp_path / "model")) == "größer"


@pytest.mark.parametrize("path", ["model", "./model", "below/../model", "below/./up"])
def test_a_path_without_a_root_begins_where_the_process_works(
    tmp_path: Path, children: Children, path: str
) -> None:
    (tmp_path / "model").write_text("of the child")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "up").symlink_to("../model")

    assert read_text(children.start(tmp_path), path) == "of the child"


def test_steps_up_lead_no_higher_than_the_root(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("here")

    assert resolved(ME, f"/../..{tmp_path}/x/../model") == (tmp_path / "model").parts[1:]
    assert read_text(ME, f"/../..{tmp_path}/model") == "here"


def test_a_file_as_long_as_the_limit_is_read_and_a_longer_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"x" * LIMIT_BYTES)
    assert len(read_text(ME, str(file))) == LIMIT_BYTES

    file.write_bytes(b"x" * (LIMIT_BYTES + 1))

    with pytest.raises(ValueError, match=f"holds more than {LIMIT_BYTES} bytes"):
        read_text(ME, str(file))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"\xff")

    with pytest.raises(ValueError, match="0xff in position 0"):
        read_text(ME, str(tmp_path / "model"))


@pytest.mark.parametrize("path", ["/absent", "absent", "model/below"])
def test_what_is_not_there_is_an_error(tmp_path: Path, children: Children, path: str) -> None:
    (tmp_path / "model").write_text("a file")

    with pytest.raises(OSError, match=r"No such file|Not a directory"):
        read_text(children.start(tmp_path), path)


@pytest.mark.parametrize("path", ["/etc/passwd", "model"])
def test_of_a_process_that_is_gone_nothing_is_read(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_text(GONE, path)


# --- objects -------------------------------------------------------------------------------------


def test_a_json_object_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')

    assert read_object(ME, str(tmp_path / "config.json")) == {"model_type": "llama"}


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        pytest.param("[]", ValueError, "holds no object", id="a list"),
        pytest.param("null", ValueError, "holds no object", id="null"),
        pytest.param("{", ValueError, "line 1 column 2", id="cut off"),
        pytest.param("", ValueError, "line 1 column 1", id="empty"),
        pytest.param("[" * 100_000, RecursionError, "recursion", id="too deep"),
    ],
)
def test_what_is_no_json_object_is_refused(
    tmp_path: Path, text: str, error: type[Exception], says: str
) -> None:
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(error, match=says):
        read_object(ME, str(tmp_path / "config.json"))


# --- links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("links", "path"),
    [
        pytest.param({"a": "model"}, "a", id="beside it"),
        pytest.param({"a": "{here}/model"}, "a", id="absolute"),
        pytest.param({"a": "b", "b": "{here}/c", "c": "./model"}, "a", id="one to the next"),
        pytest.param({"a": "{here}"}, "a/model", id="to a folder"),
        pytest.param({"below/a": "../model"}, "below/a", id="up"),
        pytest.param({"a": "below/deeper"}, "a/../../model", id="up from where a link leads"),
    ],
)
def test_links_are_followed(tmp_path: Path, links: dict[str, str], path: str) -> None:
    (tmp_path / "model").write_text("found")
    (tmp_path / "below" / "deeper").mkdir(parents=True)
    for link, to in links.items():
        (tmp_path / link).symlink_to(to.format(here=tmp_path))

    assert read_text(ME, f"{tmp_path}/{path}") == "found"
    assert resolved(ME, f"{tmp_path}/{path}") == (tmp_path / "model").parts[1:]


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises(OSError, match="Too many levels of symbolic links") as raised:
        read_text(ME, str(tmp_path / "a"))

    assert raised.value.errno == errno.ELOOP


def test_as_many_links_are_followed_as_the_kernel_follows(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("found")
    for number in range(LINKS + 1):
        (tmp_path / str(number + 1)).symlink_to(str(number))
    most, more = tmp_path / str(LINKS), tmp_path / str(LINKS + 1)

    assert read_text(ME, str(most)) == most.read_text() == "found"
    with pytest.raises(OSError, match="Too many levels"):
        read_text(ME, str(more))
    with pytest.raises(OSError, match="Too many levels"):
        more.read_text()


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("absent")

    with pytest.raises(FileNotFoundError):
        read_text(ME, str(tmp_path / "a"))


@pytest.mark.parametrize("is_last", [False, True], ids=["a folder", "the file"])
def test_what_became_a_link_after_it_was_looked_at_is_refused(
    tmp_path: Path, is_last: bool
) -> None:
    """Steps are opened as they were found; a link among them was put there since."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "model").write_text("secret")
    (tmp_path / "real" / "link").symlink_to("model")
    (tmp_path / "swapped").symlink_to("real")
    steps = ("real", "link") if is_last else ("swapped", "model")
    root = os.open(tmp_path, os.O_PATH)
    try:
        with pytest.raises(ValueError if is_last else NotADirectoryError):
            inside._opened(root, steps)
    finally:
        os.close(root)


# --- what is no file -----------------------------------------------------------------------------


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, a_socket, a_device])
def test_what_is_no_plain_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "model")
    open_before = os.listdir("/proc/self/fd")

    with pytest.raises(ValueError, match="is no plain file"):
        read_text(ME, str(tmp_path / "model"))

    assert os.listdir("/proc/self/fd") == open_before


def test_the_root_is_no_plain_file() -> None:
    with pytest.raises(ValueError, match="is no plain file"):
        read_text(ME, "/")


def test_what_is_no_plain_file_is_not_even_opened(tmp_path: Path) -> None:
    """To open a watchdog starts it, to open a pipe wakes whoever wants to write to it."""
    pipe = tmp_path / "model"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.open("w").close())
    writer.start()
    try:
        writer.join(0.05)
        with pytest.raises(ValueError, match="is no plain file"):
            read_text(ME, str(pipe))
        writer.join(0.05)
        is_waiting = writer.is_alive()
    finally:
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        writer.join()
        os.close(reader)

    assert is_waiting


@pytest.mark.parametrize(
    "path", ["/proc/version", "/proc/kmsg", "/proc/self/environ", "/sys/kernel/uevent_seqnum"]
)
def test_what_the_kernel_makes_up_is_refused(tmp_path: Path, path: str) -> None:
    """A container may put a link there, and to read /proc/kmsg takes lines from the node's log."""
    if not os.path.exists(path):
        pytest.skip(f"there is no {path}")
    (tmp_path / "config.json").symlink_to(path)
    open_before = os.listdir("/proc/self/fd")

    with pytest.raises(ValueError, match="is no stored file: the kernel makes it up"):
        read_text(ME, str(tmp_path / "config.json"))

    assert os.listdir("/proc/self/fd") == open_before


def test_a_file_in_memory_is_a_file() -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(b"here")
        file.flush()

        assert read_text(ME, file.name) == "here"


def test_an_empty_file_on_a_disk_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "model").touch()

    assert read_text(ME, str(tmp_path / "model")) == ""


def test_what_has_nothing_to_give_now_is_an_error_and_not_waited_for() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        with pytest.raises(BlockingIOError, match="temporarily unavailable"):
            inside._content(reader)
    finally:
        os.close(writer)


# --- another root --------------------------------------------------------------------------------


@pytest.fixture
def jail(tmp_path: Path) -> Path:
    """A root of its own, with a file where the node has one, too."""
    (tmp_path / "outside").write_text("of the node")
    root = tmp_path / "jail"
    below = root / str(tmp_path).lstrip("/")
    for folder in (below, root / "work"):
        folder.mkdir(parents=True)
    (below / "outside").write_text("of the jail")
    (root / "work" / "model").write_text("at work")
    return root


@pytest.mark.parametrize("to", ["{node}/outside", "../../../..{node}/outside"])
def test_a_link_leads_to_where_it_leads_for_the_process(
    jail: Path, children: Children, to: str
) -> None:
    (jail / "link").symlink_to(to.format(node=jail.parent))
    pid = children.start_below(jail)

    assert read_text(pid, "/link") == "of the jail"
    assert read_text(pid, f"{jail.parent}/outside") == "of the jail"
    assert read_text(pid, f"/../..{jail.parent}/outside") == "of the jail"


def test_what_a_process_has_not_is_not_found_on_the_node(jail: Path, children: Children) -> None:
    (jail.parent / "node-only").write_text("of the node")
    (jail / "link").symlink_to(jail.parent / "node-only")
    pid = children.start_below(jail)

    for path in ("/link", f"{jail.parent}/node-only", "/any/../../node-only"):
        with pytest.raises(FileNotFoundError):
            read_text(pid, path)


def test_its_working_folder_is_found_below_its_root(jail: Path, children: Children) -> None:
    pid = children.start_below(jail, "/work")

    assert read_text(pid, "model") == "at work"
    assert resolved(pid, "../link") == ("link",)


def test_from_a_working_folder_outside_its_root_nothing_is_read(
    jail: Path, children: Children
) -> None:
    """A process that has changed its root and stayed where it was."""
    pid = children.start_below(jail, ".")

    with pytest.raises(FileNotFoundError, match="outside its root"):
        read_text(pid, "outside")
