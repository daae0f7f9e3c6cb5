"""What every verb of the command line shares: errors as one message, the config, exit codes.

No verb is here; those are in cli.py and in modules named after theirs.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from burnmeter import config, dialects, names
from burnmeter.config import Config
from burnmeter.errors import BurnmeterError, ConfigError

EXIT_CODES: Final = "Exit codes: 0 fine, 1 found something wrong, 2 called wrongly."
CONFIG_PATH: Final = click.Path(readable=False, path_type=Path)
"""Not checked by click, which calls a file without permission a wrong call: exit code 2."""
CONFIG = click.option(
    "--config",
    "config_file",
    type=CONFIG_PATH,
    help="The YAML file with your settings.",
)
JSON = click.option("--json", "as_json_text", is_flag=True, help="For machines.")


class Group(click.Group):
    """Turns our own errors into one message and exit code 1, never a traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Also of what click itself prints; a closed pipe is click's, and no error."""
        try:
            return super().main(*args, **extra)
        except OSError as error:
            fail(f"the system refuses to go on: {error.strerror or error}")

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(str(problem), err=True)
            sys.exit(1)
        except BurnmeterError as error:
            fail(str(error))


def fail(text: str) -> NoReturn:
    """Say what is wrong and exit with 1."""
    click.echo(f"burnmeter: {visible(text)}", err=True)
    sys.exit(1)


def visible(text: str) -> str:
    """Its lines, with nothing in them that steers a terminal: engines choose some of the words."""
    return "\n".join(map(names.visible, text.removesuffix("\n").split("\n")))


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Texts by their names below a folder; exits with 1 where one cannot be written."""
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        fail(f"{error.filename or folder}: cannot be written: {error.strerror}")


def load(config_file: Path | None) -> Config:
    """The config of a file, or all defaults. Raises ConfigError."""
    if config_file is None:
        return Config()
    found = config.load(config_file, **engines_known())
    for problem in found.warnings:
        click.echo(str(problem), err=True)
    return found


def engines_known() -> dict[str, Any]:
    """What a config is held against: bounds, roles and names of the engines that we know."""
    known = dialects.load_all().items()
    roles = {engine: {role.role for role in dialect.roles} for engine, dialect in known}
    series = dialects.series_known()
    return {"bounds": dialects.bounds_by_engine(), "roles": roles, "series": series}
