"""The verb `backtest`: what alerts would have done. It wires and prints, and decides nothing."""

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from burnmeter import dialects
from burnmeter.command_line import CONFIG, CONFIG_PATH, JSON, fail, load, visible
from burnmeter.provision import engine_counts, hindsight_chart, hindsight_text, history
from burnmeter.provision.conventions import duration
from burnmeter.provision.history import Asked, Refused
from burnmeter.provision.prometheus_api import Prometheus
from burnmeter.units import SECONDS_PER_DAY

UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": SECONDS_PER_DAY, "w": 7 * SECONDS_PER_DAY}
MOST_SECONDS: Final = 366 * SECONDS_PER_DAY
TOKEN_BYTES: Final = 8192


class Span(click.ParamType[float]):
    """A length of time like 30d, in seconds."""

    name = "TIME"

    def __init__(self, least_seconds: float, most_seconds: float) -> None:
        self.least_seconds, self.most_seconds = least_seconds, most_seconds

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Fails with what would be right."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d{1,6})([smhdw])", value)
        if found is None:
            self.fail(f"`{value}` is no length of time; write one like 30d, 12h or 60s", param, ctx)
        seconds = int(found[1]) * UNITS[found[2]]
        if not self.least_seconds <= seconds <= self.most_seconds:
            least, most = (duration(s) for s in (self.least_seconds, self.most_seconds))
            self.fail(f"`{value}` is not between {least} and {most}", param, ctx)
        return seconds


class Moment(click.ParamType[float]):
    """A moment, in seconds since 1970."""

    name = "RFC3339"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Fails with what would be right."""
        if value == "now":
            return datetime.now(UTC).timestamp()
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"`{value}` is no moment; write one like 2026-11-03T12:00:00Z", param, ctx)
        if found.tzinfo is None:
            self.fail(f"`{value}` names no zone; write {value}Z if it is UTC", param, ctx)
        return found.timestamp()


@click.command(
    short_help="When each alert would have fired in the past.",
    epilog="Exit codes: 0 it is told, 1 it cannot be or nothing is measured, 2 called wrongly.",
)
@click.option("--prometheus", "url", required=True, metavar="URL", help="Who has the history.")
@CONFIG
@click.option(
    "--since",
    default="30d",
    show_default=True,
    type=Span(3600.0, MOST_SECONDS),
    help="How long before the end.",
)
@click.option("--until", default="now", show_default=True, type=Moment(), help="The end.")
@click.option(
    "--from",
    "origin",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "agents", "engines"]),
    help="Whose counters: burnmeter's, or the engines' own.",
)
@click.option(
    "--step", default="60s", show_default=True, type=Span(15.0, 300.0), help="Between two looks."
)
@click.option("--model", metavar="MODEL", help="Only this one.")
@click.option("--token-file", type=CONFIG_PATH, help="With the bearer's token for Prometheus.")
@click.option("--chart", type=CONFIG_PATH, metavar="FILE.png", help="Draw it into this file, too.")
@JSON
def backtest(**given: Any) -> None:
    """When each burn alert would have fired and cleared, by the history of a Prometheus.

    It judges your objectives, or the ones that hold by default, by the arithmetic of the alert
    rules. With --from engines it needs no agent to have run: engines' own metrics are enough.
    """
    settings = load(given["config_file"])
    if given["chart"] is not None:
        hindsight_chart.need()
    token = read_token(given["token_file"]) if given["token_file"] is not None else None
    bar = Bar()
    prometheus = Prometheus(given["url"], token=token, progress=bar.more)
    grid = history.grid(
        settings.objectives,
        begin_seconds=given["until"] - given["since"],
        end_seconds=given["until"],
        step_seconds=given["step"],
    )
    origin = given["origin"]
    if origin == "auto":
        origin = "agents" if history.has_agents(prometheus, grid) else "engines"
    if origin == "agents":
        told = history.from_agents(prometheus, settings.objectives, grid, given["model"])
    else:
        told = engine_counts.from_engines(
            prometheus,
            settings.objectives,
            grid,
            dialects=dialects.load_all(),
            models=settings.models,
            model=given["model"],
        )
    answers = list(told)
    asked = [one for one in answers if isinstance(one, Asked)]
    refused = [one for one in answers if isinstance(one, Refused)]
    bill = history.bill(asked, grid)
    whose = {"agents": "burnmeter's own counters", "engines": "engines' own metrics"}[origin]
    click.echo(f"{prometheus.place}: by {whose}; {bill}", err=True)
    bar.total = bill.queries
    found = [one for ask in asked for one in history.hindsights(prometheus, ask, grid)]
    bar.ends()
    if given["as_json_text"]:
        told_json = {"from": origin, **hindsight_text.as_json(found, refused)}
        click.echo(json.dumps(told_json, indent=2, allow_nan=False))
    else:
        click.echo(visible(hindsight_text.text(found, refused)))
    if not found:
        fail("nothing was measured")
    if given["chart"] is not None:
        hindsight_chart.write(found, given["chart"])


class Bar:
    """How far the asking has come, for who waits at a terminal."""

    def __init__(self) -> None:
        self.done = self.total = 0
        self._is_shown = sys.stderr.isatty()

    def more(self, _done: int, _of: int) -> None:
        """One more query is answered."""
        self.done += 1
        if self._is_shown:
            click.echo(f"\r{self.done} of {self.total} queries", nl=False, err=True)

    def ends(self) -> None:
        """Leave a clean line."""
        if self._is_shown and self.done:
            click.echo("\r\x1b[K", nl=False, err=True)


def read_token(file: Path) -> str:
    """The token in a file; exits with 1 if there is none."""
    try:
        with file.open("rb") as opened:
            token = opened.read(TOKEN_BYTES + 1).decode("ascii").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text of a token"
        fail(f"{file}: cannot be read: {why}")
    if not token or len(token) > TOKEN_BYTES or not token.isprintable():
        fail(f"{file}: holds no token")
    return token
