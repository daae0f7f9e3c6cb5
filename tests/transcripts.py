"""Transcripts: what a person types, the files there are, and what comes back, in one text file.

It runs the real command within this process, which is a tenth of the time, and compares nothing;
test_cli.py does. A file is free text, then blocks that each begin with `=== `:

    === file NAME                a file with the lines that follow
    === file NAME hex            its bytes
    === file NAME from PATH      a copy of tests/fixtures/PATH
    === serve NAME               serves that file at {url}, in later files and commands, from {pid}
    === $ burnmeter WORDS < NAME     a command; its standard output follows
    === stderr                   and its standard error, if any
    === exit N                   and its exit code, if not 0
"""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, chdir
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner

from burnmeter.cli import main
from tests import servers

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass
class Block:
    """A header and the text below it."""

    header: str
    text: str = ""


@dataclass
class Answer:
    """What one command gave."""

    command: str
    stdout: str
    stderr: str
    code: int


@dataclass
class Place:
    """The folder that commands run in, and who serves pages meanwhile."""

    folder: Path
    stack: ExitStack
    url: str = ""
    answers: list[Answer] = field(default_factory=list)


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a transcript; what stands before the first has an empty header."""
    block = Block("")
    for line in text.splitlines(keepends=True):
        if line.startswith("=== "):
            yield block
            block = Block(line.removeprefix("=== ").rstrip("\n"))
        else:
            block.text += line
    yield block


def replayed(text: str, folder: Path) -> tuple[str, list[Answer]]:
    """The transcript as it comes out now, and its answers one by one."""
    written: list[str] = []
    with ExitStack() as stack:
        place = Place(folder, stack)
        for block in blocks(text):
            word, _, rest = block.header.partition(" ")
            if word == "$":
                answer = run(rest, place)
                place.answers.append(answer)
                written += shown(answer)
            elif word not in ("stderr", "exit"):
                prepare(word, rest, block.text, place)
                written += [f"=== {block.header}\n" if block.header else "", block.text]
    return "".join(written), place.answers


def prepare(word: str, rest: str, text: str, place: Place) -> None:
    """Make a file, or serve one."""
    name, _, how = rest.partition(" ")
    path = place.folder / name
    match word, how.split():
        case "file", []:
            path.write_text(text.replace("{url}", place.url))
        case "file", ["hex"]:
            path.write_bytes(bytes.fromhex(text))
        case "file", ["from", source]:
            path.write_bytes((FIXTURES / source).read_bytes())
        case "serve", []:
            page = servers.answer(path.read_bytes())
            place.url = place.stack.enter_context(servers.Server(servers.says(page))).url
        case _:
            assert word == "", f"`=== {word} {rest}` is no block of a transcript"


def run(line: str, place: Place) -> Answer:
    """One command, as a shell on an 80-column terminal would run it."""
    typed, _, source = line.partition(" < ")
    words = shlex.split(typed.replace("{url}", place.url))
    assert words[0] == "burnmeter"
    given = (place.folder / source).read_bytes() if source else b""
    with chdir(place.folder):
        result = CliRunner(env={"COLUMNS": "80"}).invoke(main, words[1:], given, prog_name=words[0])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    out, err = settled(result.stdout, place), settled(result.stderr, place)
    return Answer(line, out, err, result.exit_code)


def settled(text: str, place: Place) -> str:
    """The text without what differs from run to run."""
    if place.url:
        host = place.url.removeprefix("http://").removesuffix("/metrics")
        text = text.replace(place.url, "{url}").replace(host, "{host}")
        text = text.replace(f'"port": {host.partition(":")[2]}', '"port": {port}')
    text = text.replace(f'"pid": {os.getpid()}', '"pid": {pid}')
    return re.sub(r"(?<=\.yaml:)\d+$", "LINE", text, flags=re.MULTILINE)


def shown(answer: Answer) -> list[str]:
    """An answer as blocks."""
    lines = [f"=== $ {answer.command}\n", answer.stdout]
    lines += [f"=== stderr\n{answer.stderr}"] if answer.stderr else []
    lines += [f"=== exit {answer.code}\n"] if answer.code else []
    return lines
