"""The verb `canary`: a candidate against its baseline. It wires and prints, and decides nothing."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from burnmeter.catalog import WITNESSES
from burnmeter.command_line import CONFIG, CONFIG_PATH, JSON, load, visible
from burnmeter.command_words import Moment, Span, token_in
from burnmeter.errors import BurnmeterError, ConfigError
from burnmeter.provision import canary as canaries
from burnmeter.provision import (
    canary_look,
    canary_objects,
    canary_report,
    canary_selectors,
)
from burnmeter.provision.canary import Plan
from burnmeter.provision.canary_queries import Sides, Window
from burnmeter.provision.conventions import quoted
from burnmeter.provision.prometheus_api import Prometheus

CANARY_CODES: Final = {canaries.PASS: 0, canaries.FAIL: 1, canaries.INCONCLUSIVE: 3}
NOT_ASKED: Final = 4
"""Nothing is known of the candidate: neither a pass nor a fail, and no verdict either."""


def parsed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """An option's type: what a function makes of a word, or its ValueError as a wrong call."""

    def convert(word: str) -> Any:
        try:
            return parse(word)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return convert


SELECTOR: Final[dict[str, Any]] = {"type": parsed(canary_selectors.selector), "metavar": "SELECTOR"}
VALUE: Final[dict[str, Any]] = {
    "type": parsed(canary_selectors.measured),
    "metavar": "MEASURE=VALUE",
}


@click.command(
    short_help="Is a candidate worse than the baseline, by a Prometheus?",
    epilog="Exit codes: 0 pass, 1 fail, 2 called wrongly, 3 inconclusive, 4 it could not be asked.",
)
@click.option("--prometheus", "url", required=True, metavar="URL", help="Its address.")
@click.option("--baseline", required=True, **SELECTOR, help='As in target="a".')
@click.option("--candidate", required=True, **SELECTOR, help='As in target="b".')
@click.option("--model", help="Of both sides.")
@click.option(
    "--measure",
    "measures",
    multiple=True,
    type=click.Choice(canaries.MEASURES),
    help="Repeat for several.  [default: all]",
)
@click.option("--since", default="30m", show_default=True, type=Span(1.0), help="How long back.")
@click.option("--until", default="now", show_default=True, type=Moment(), help="Its end.")
@click.option(
    "--slice", "slice_", default="60s", show_default=True, type=Span(1.0), help="Its parts."
)
@click.option(
    "--alpha",
    default=0.05,
    show_default=True,
    type=click.FloatRange(1e-6, 0.3),
    help="How often each verdict may be wrong.",
)
@click.option(
    "--looks",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="How often this is asked of one rollout; they share alpha.",
)
@click.option("--margin", multiple=True, **VALUE, help="Tolerated: errors=0.01, cost=0.1.")
@click.option("--threshold", multiple=True, **VALUE, help="Seconds: ttft=0.5.")
@CONFIG
@click.option("--token-file", type=CONFIG_PATH, help="With the token that Prometheus wants.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(canary_objects.FORMATS),
    help="Write objects that ask the same; ask nothing.",
)
@click.option(
    "--witness",
    default=WITNESSES[0],
    show_default=True,
    type=click.Choice(WITNESSES),
    help="With --format: who counts requests.",
)
@JSON
def canary(**given: Any) -> None:
    """Baseline against candidate: TTFT, TPOT, errors, cost and energy per token.

    Pass takes enough data on every measure; what is not known is inconclusive. The statistics are
    in agent/burnmeter/provision/CANARY.md.
    """
    try:
        _canary(given)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(NOT_ASKED)
    except BurnmeterError as error:
        click.echo(f"burnmeter: {visible(str(error))}", err=True)
        sys.exit(NOT_ASKED)


def _canary(given: Mapping[str, Any]) -> None:
    plan = Plan(
        measures=tuple(dict.fromkeys(given["measures"])) or canaries.MEASURES,
        window_seconds=given["since"],
        slice_seconds=given["slice_"],
        alpha=given["alpha"],
        looks=given["looks"],
    )
    _check_plan(plan)
    model = f"model={quoted(given['model'])}," if given["model"] else ""
    sides = Sides(model + given["baseline"], model + given["candidate"])
    config_file = given["config_file"]
    objectives = (
        canary_look.objectives_for(given["model"], load(config_file).objectives)
        if config_file is not None
        else {}
    )
    margins = {**canaries.MARGINS, **canary_look.margins_of(objectives), **dict(given["margin"])}
    thresholds = {
        name: one.threshold_seconds
        for name, one in objectives.items()
        if one.threshold_seconds is not None
    } | dict(given["threshold"])
    if given["format_"] is not None:
        order = canary_objects.Order(
            address=given["url"],
            sides=sides,
            plan=plan,
            margins=margins,
            thresholds_seconds={**canary_objects.THRESHOLDS_SECONDS, **thresholds},
            witness=given["witness"],
        )
        click.echo(canary_objects.written(order, given["format_"]), nl=False)
        return
    window = Window(
        prometheus=Prometheus(given["url"], token=token_in(given["token_file"])),
        until_seconds=given["until"],
        seconds=plan.window_seconds,
        slice_seconds=plan.slice_seconds,
    )
    try:
        report = canary_look.asked(window, plan, sides, margins, thresholds)
    except canary_look.SharedSeriesError as error:
        raise click.UsageError(str(error)) from None
    if given["as_json_text"]:
        click.echo(json.dumps(canary_report.as_json(report), indent=2))
    else:
        click.echo(visible(canary_report.text(report)))
    sys.exit(CANARY_CODES[report.verdict])


def _check_plan(plan: Plan) -> None:
    if plan.window_seconds % plan.slice_seconds:
        raise click.UsageError("--since must be a whole number of --slice")
    if not canaries.LEAST_SLICES <= plan.slices <= canaries.MOST_SLICES:
        text = f"--since holds {plan.slices} times --slice; between {canaries.LEAST_SLICES}"
        raise click.UsageError(f"{text} and {canaries.MOST_SLICES} are needed")
