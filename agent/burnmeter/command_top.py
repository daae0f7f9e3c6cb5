"""The verb `top`: a live view in the terminal. It wires and prints, and decides nothing."""

import importlib.util
import logging
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from burnmeter import watching
from burnmeter.command_line import CONFIG, fail, load, visible
from burnmeter.config_targets import bare_url
from burnmeter.errors import PageError

KEPT_LINES: Final = 20


class Address(click.ParamType[str]):
    """An agent's address, without a path."""

    name = "URL"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Fails with what would be right."""
        shown = visible(bare_url(value))
        try:
            parts = urlsplit(value)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            is_address = False
        if not is_address:
            self.fail(f"`{shown}` is no address; write one like http://host:9778", param, ctx)
        if parts.username is not None or parts.password is not None:
            self.fail(f"`{shown}`: an agent asks for no password; leave it out", param, ctx)
        path = parts.path.removesuffix(watching.PATH).rstrip("/")
        if parts.query or parts.fragment:
            self.fail(f"`{shown}`: leave out what follows the `?` or `#`", param, ctx)
        return f"{parts.scheme}://{parts.netloc}{path}"


@click.command(
    short_help="A live view in the terminal.",
    epilog="Exit codes: 0 somebody quit, 1 there is nothing to watch it with, 2 called wrongly.",
)
@click.option("--url", type=Address(), help="An agent's address.  [default: the agent here]")
@CONFIG
@click.option("--simulate", is_flag=True, help="Watch a simulated node.")
def top(url: str | None, config_file: Path | None, simulate: bool) -> None:
    """Models, engines, GPUs, objectives, and what needs somebody: a live view in the terminal.

    Shows what the agent that runs here says (with these settings, or at --url); where none runs, it
    looks for itself, as `once` does. `?` shows the keys.
    """
    if url is not None and simulate:
        raise click.UsageError("--url and --simulate exclude each other")
    if importlib.util.find_spec("textual") is None:
        fail("top needs Textual; install it with: pip install 'burnmeter[top]'")
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        fail("top needs a terminal; for a pipe or a file there is `burnmeter once`")
    settings = load(config_file)
    from burnmeter.export import top_app

    with ExitStack() as stack:
        stack.enter_context(quiet_log())
        try:
            found = watching.feed(settings, stack, url=url, simulate=simulate)
        except PageError as error:
            fail(error.message)
        top_app.run(found)


@contextmanager
def quiet_log() -> Iterator[None]:
    """Nothing is written over the screen; the last of what was a warning is told in the end."""
    kept = _Kept(logging.WARNING)
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers[:] = [kept]
    try:
        yield
    finally:
        root.handlers[:] = before
        for line in kept.lines:
            click.echo(visible(line), err=True)


class _Kept(logging.Handler):
    """Holds the last lines."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
