"""The verb `top` as people meet it: in a real terminal, over a dead agent, without its extra."""

import fcntl
import importlib.util
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from burnmeter.cli import main
from tests import servers

COMMAND = str(Path(sys.executable).with_name("burnmeter"))
CONTROL = re.compile(r"\x1b\[[0-9;?<>=]*[a-zA-Z]|\x1b[()=>][A-Z0-9]?")
START_SECONDS = 20.0
END_SECONDS = 5.0
SIZE = (80, 24)


class Terminal:
    """`burnmeter top` in a terminal of 80 columns and 24 lines."""

    def __init__(self, *words: str, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        self.process = subprocess.Popen(
            [COMMAND, "top", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "linux", **environment},
        )
        os.close(theirs)
        self.written = ""

    def shows(self, text: str, seconds: float = START_SECONDS) -> None:
        """Wait until it has written that, wherever on the screen."""
        self._read(lambda: text in CONTROL.sub("", self.written), seconds)
        assert text in CONTROL.sub("", self.written), self.written[-2000:]

    def types(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def ends(self) -> int:
        """Its exit code."""
        self._read(lambda: self.process.poll() is not None, END_SECONDS)
        code = self.process.wait(END_SECONDS)
        self._read(lambda: False, 0.1)
        os.close(self._ours)
        return code

    def _read(self, is_enough: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while not is_enough() and time.monotonic() < until:
            if select.select([self._ours], [], [], 0.05)[0]:
                try:
                    self.written += os.read(self._ours, 65536).decode(errors="replace")
                except OSError:  # Whoever wrote has ended.
                    return


def test_it_watches_a_simulated_node_in_a_terminal_until_somebody_quits() -> None:
    terminal = Terminal("--simulate")
    terminal.shows("SIMULATED: not a real node")
    terminal.shows("llama-3.3-70b-instruct")
    terminal.types("3")
    terminal.shows("[3 GPUs]")
    children = psutil.Process(terminal.process.pid).children(recursive=True)

    terminal.types("q")

    assert terminal.ends() == 0
    assert "\x1b[?1049h" in terminal.written  # A screen of its own,
    assert terminal.written.rstrip().rpartition("\x1b[?1049l")[1]  # and away from it again.
    assert "Traceback" not in terminal.written
    assert " INFO " not in terminal.written
    assert children
    assert psutil.wait_procs(children, timeout=2.0)[1] == []


def test_a_signal_ends_it_and_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"listen: 127.0.0.1:{servers.free_port()}\n"
        "gpus: {enabled: false}\ndiscovery: {processes: false}\n"
    )
    terminal = Terminal("--config", str(config), NO_COLOR="1")
    terminal.shows("No engine was found on this node")
    terminal.shows("looking from here")

    terminal.process.send_signal(signal.SIGTERM)

    assert terminal.ends() == 0
    assert "\x1b[?1049l" in terminal.written
    assert not re.search(r"\x1b\[(?:\d+;)*3[0-7]", terminal.written)  # No colour was wanted.


# --- what is wrong -------------------------------------------------------------------------------


def refusal(*words: str) -> tuple[int, str]:
    """Exit code and words of a call that comes to nothing."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["top", *words], prog_name="burnmeter")
    return result.exit_code, result.stderr


def test_without_a_terminal_it_says_what_there_is_instead() -> None:
    assert refusal() == (
        1,
        "burnmeter: top needs a terminal; for a pipe or a file there is `burnmeter once`\n",
    )


def test_without_textual_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    assert refusal() == (
        1,
        "burnmeter: top needs Textual; install it with: pip install 'burnmeter[top]'\n",
    )


def test_textual_is_loaded_by_top_alone() -> None:
    script = "import sys, burnmeter.cli; sys.exit('textual' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("localhost:9778", "`localhost:9778` is no address; write one like http://host:9778"),
        ("ftp://host", "`ftp://host` is no address"),
        ("http://", "is no address"),
        ("http://host:99999", "is no address"),
        ("http://me:hunter2@host:9778", "`http://host:9778`: an agent asks for no password"),
        ("http://host:9778/?a=hunter2", "leave out what follows the `?` or `#`"),
    ],
)
def test_an_address_that_is_none_is_a_wrong_call(url: str, text: str) -> None:
    code, said = refusal("--url", url)

    assert code == 2
    assert text in " ".join(said.split())
    assert "hunter2" not in said


def test_an_address_and_a_simulated_node_exclude_each_other() -> None:
    code, said = refusal("--simulate", "--url", "http://host:9778")

    assert code == 2
    assert "--url and --simulate exclude each other" in said


def test_an_address_where_nobody_is_ends_it_in_a_sentence() -> None:
    port = servers.free_port()
    terminal = Terminal("--url", f"http://127.0.0.1:{port}/api/v1/snapshot")

    assert terminal.ends() == 1
    assert terminal.written.strip() == (
        f"burnmeter: nothing listens on 127.0.0.1:{port}; is the agent running?"
    )
