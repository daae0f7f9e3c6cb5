"""The verb `backtest`: what alerts would have done. It wires and prints, and decides nothing."""

import json
import sys
from typing import Any

import click

from burnmeter import dialects
from burnmeter.command_line import CONFIG, CONFIG_PATH, JSON, fail, load, visible
from burnmeter.command_words import Moment, Span, token_in
from burnmeter.provision import engine_counts, hindsight_chart, hindsight_text, history
from burnmeter.provision.history import Asked, Refused
from burnmeter.provision.prometheus_api import Prometheus


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
    type=Span(3600.0),
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
    token = token_in(given["token_file"])
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
