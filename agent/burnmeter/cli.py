"""The command line. It wires and prints, and decides nothing.

Exit codes: 0 fine, 1 found something wrong, 2 called wrongly. No flag repeats a key of the config.
"""

import io
import json
import logging
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from burnmeter import __version__, config, dialects, looking, reports, wiring
from burnmeter.command_backtest import backtest
from burnmeter.command_canary import canary
from burnmeter.command_dashboards import dashboards
from burnmeter.command_line import (
    CONFIG,
    CONFIG_PATH,
    EXIT_CODES,
    JSON,
    Group,
    engines_known,
    fail,
    load,
    visible,
)
from burnmeter.command_rules import rules
from burnmeter.command_top import top
from burnmeter.config import Config
from burnmeter.config_targets import bare_url
from burnmeter.cost_explanation import SUBJECTS, Costed, amount, chosen, costed
from burnmeter.doctor import findings
from burnmeter.errors import PageError
from burnmeter.explanation import explain as explain_metric
from burnmeter.explanation import unused
from burnmeter.export import snapshot_json, terminal
from burnmeter.inspection import as_json
from burnmeter.inspection import inspect as inspect_page
from burnmeter.loop import Agent
from burnmeter.model import About
from burnmeter.serving import record_into, serve
from burnmeter.sources import price_file
from burnmeter.sources.plain import to_plain
from burnmeter.sources.recording import Recording
from burnmeter.sources.replay import Replay

LOOKS_APART_SECONDS: Final = 1.0
SECONDS = click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600.0),
    help="Between the two looks.",
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="burnmeter")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What goes to standard error.",
)
def main(log_level: str) -> None:
    """What every token costs, how long it took, and whose error budget it burns."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # A name or a sign that it lacks costs a letter.
            stream.reconfigure(errors="replace")
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )


@main.command(
    short_help="Watch this node: the daemon.",
    epilog="Exit codes: 0 told to stop, 1 it could not start, 2 called wrongly.",
)
@click.option(
    "--config",
    "config_file",
    required=True,
    type=CONFIG_PATH,
    help="The YAML file with your settings.",
)
def run(config_file: Path) -> None:
    """Watch this node until SIGTERM, SIGINT or SIGHUP. The daemon; it never simulates."""
    settings = load(config_file)
    serve(settings, wiring.real_world(settings))


@main.command(
    short_help="Find what serves on this machine and watch it now.",
    epilog="Exit codes: 0 told to stop, 1 it could not start, 2 called wrongly.",
)
@CONFIG
@click.option(
    "--simulate", is_flag=True, help="Start the simulated node even if there are engines."
)
def up(config_file: Path | None, simulate: bool) -> None:
    """Watch this machine now: find GPUs and engines, serve the live page.

    Where there is neither, say so and start a simulated node, marked as simulated everywhere.
    """
    settings = load(config_file)
    world = None if simulate else wiring.real_world(settings)
    if world is not None and wiring.has_something(world, settings):
        serve(settings, world)
        return
    if world is not None:
        wiring.close(world)
        click.echo("No GPU and no engine was found on this machine (`burnmeter doctor` says why).")
    click.echo("Starting a SIMULATED node: three engines and eight GPUs that are not real.")
    with ExitStack() as stack:
        serve(*wiring.simulated_world(settings, stack))


@main.command(
    short_help="Two looks at this node, printed.",
    epilog="Exit codes: 0 nothing burns, 1 something burns or failed, 2 called wrongly.",
)
@CONFIG
@JSON
@click.option("--simulate", is_flag=True, help="Look at a simulated node.")
@SECONDS
def once(config_file: Path | None, as_json_text: bool, simulate: bool, seconds: float) -> None:
    """One pass to standard output: two looks, and what happened between them."""
    settings = load(config_file)
    with ExitStack() as stack:
        if simulate:
            settings, world = wiring.simulated_world(settings, stack)
        else:
            world = wiring.real_world(settings)
        if sys.stderr.isatty():
            click.echo(f"looking again in {seconds:g} s ...", err=True)
        snapshot = looking.looks(settings, world, seconds, apart_seconds=seconds)
    if as_json_text:
        click.echo(snapshot_json.to_bytes(snapshot).decode())
    else:
        click.echo(visible(terminal.snapshot(snapshot)))
    sys.exit(1 if any(view.state == "burning" for view in snapshot.models) else 0)


@main.command(
    short_help="What an engine's metrics page says.",
    epilog="Exit codes: 0 it was read, 1 it cannot be read, 2 called wrongly.",
)
@click.argument("page")
@click.option("--since", help="An earlier page of the same engine: say what happened in between.")
@JSON
def inspect(page: str, since: str | None, as_json_text: bool) -> None:
    """What a metrics PAGE (a file, a URL, or - ) says, and what it cannot say and why."""
    text, about = read_text(page)
    before = read_text(since)[0] if since is not None else None
    try:
        found = inspect_page(text, before, about)
    except PageError as error:
        places = [place_shown(place) for place in (page, since) if place is not None]
        fail(f"{' since '.join(places)}: {error.message}")
    if as_json_text:
        click.echo(json.dumps(as_json(found), indent=2))
    else:
        click.echo(visible(reports.inspection(found)))


def read_text(place: str) -> tuple[str, About | None]:
    """A page's text and what its server says of itself; exits with 1 if there is no page."""
    scheme, mark, _ = place.partition("://")
    try:
        if mark and scheme.lower() in ("http", "https"):
            return wiring.read_url(place)
        if mark:
            raise PageError("unreachable", "is no address we can read; write http:// or https://")
        return wiring.read_file(sys.stdin.buffer if place == "-" else place), None
    except PageError as error:
        fail(f"{place_shown(place)}: {error.message}")


def place_shown(place: str) -> str:
    """A file's name, or an address without what may be a secret."""
    return bare_url(place) if "://" in place else place


@main.command(
    short_help="All problems of a config file at once.",
    epilog="Exit codes: 0 fine, perhaps with warnings, 1 it has errors, 2 called wrongly.",
)
@click.option(
    "--config",
    "config_file",
    required=True,
    type=CONFIG_PATH,
    help="The file to check.",
)
@JSON
def check(config_file: Path, as_json_text: bool) -> None:
    """All problems of a config at once, with file:line:column and what would be right.

    And those of the file that its `prices.file` names, if that is on this machine.
    """
    found, problems = config.examined(config_file, **engines_known())
    if found.prices.file is not None:
        problems += price_file.problems(found.prices.file, found.prices)
    is_wrong = any(not problem.is_warning for problem in problems)
    if as_json_text:
        told: dict[str, Any] = {"problems": [problem_json(problem) for problem in problems]}
        if not is_wrong:
            told["config"] = config.as_dict(found)
        click.echo(json.dumps(told, indent=2))
        sys.exit(1 if is_wrong else 0)
    for problem in problems:
        click.echo(str(problem), err=True)
    if is_wrong:
        sys.exit(1)
    counts = {"target": len(found.targets), "objective": len(found.objectives)}
    if found.probes:
        counts["probe"] = len(found.probes)
    said = ", ".join(f"{count} {what}{'s' * (count != 1)}" for what, count in counts.items())
    click.echo(f"{config_file}: fine; {said}")


def problem_json(problem: Any) -> dict[str, Any]:
    """One problem for machines."""
    return {
        name: getattr(problem, name) for name in ("path", "line", "column", "text", "is_warning")
    }


@main.command(
    short_help="What is found on this node, and what is missing.",
    epilog="Exit codes: 0 nothing is wrong, 1 something is, 2 called wrongly.",
)
@CONFIG
@JSON
def doctor(config_file: Path | None, as_json_text: bool) -> None:
    """What is found on this node, what is missing, and which flag would bring it."""
    settings = load(config_file)
    found = findings(looking.look_once(settings))
    if as_json_text:
        rows = [asdict(finding) for finding in found]
        click.echo(json.dumps({"findings": rows}, indent=2))
    else:
        click.echo(visible(reports.findings(found)))
    sys.exit(1 if any(finding.state == "wrong" for finding in found) else 0)


@main.command(
    short_help="Where a number comes from; why a token costs what it does.",
    epilog="Exit codes: 0 it is known, 1 it is not, 2 called wrongly.",
)
@click.argument("metric")
@click.argument("model", required=False)
@click.option("--engine", metavar="ENGINE", help="Of a metric, only where this engine has it from.")
@CONFIG
@click.option("--simulate", is_flag=True, help="Of cost or energy, on a simulated node.")
@click.option(
    "--seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600.0),
    help="How long to look, where no agent is asked.",
)
@JSON
def explain(
    metric: str,
    model: str | None,
    engine: str | None,
    config_file: Path | None,
    simulate: bool,
    seconds: float,
    as_json_text: bool,
) -> None:
    """Where a number comes from: engine's name, dialect line, unit, formula.

    METRIC is our name, its short form (`ttft`), or an engine's own name.

    As `explain cost MODEL`, or `explain energy MODEL`: the factors whose product is what a token of
    this model costs lately, each with what is measured and what is assumed. Asks the agent that
    runs here with these settings; where none does, it looks for itself.
    """
    if metric in SUBJECTS:
        if engine is not None:
            raise click.UsageError("--engine is for metrics, not for cost and energy")
        settings = load(config_file)
        explain_cost(metric, model, costs(settings, seconds, simulate=simulate), as_json_text)
        return
    if model is not None or simulate:
        raise click.UsageError(f"a MODEL and --simulate go with {' and '.join(SUBJECTS)} only")
    known = dialects.load_all()
    if engine is not None and engine not in known:
        text = f"`{engine}` is no engine; known: {', '.join(known)}"
        raise click.BadParameter(text, param_hint="--engine")
    try:
        found = explain_metric(metric, engine)
    except KeyError as error:
        titles = ", ".join(unused(metric))
        if titles:
            click.echo(f"`{metric}` of {titles}: known, not used")
            return
        near = f"; did you mean {error.args[0]}?" if error.args[0] else ""
        fail(f"`{metric}` is not a metric of burnmeter, nor an engine's{near}")
    if as_json_text:
        click.echo(json.dumps(to_plain(tuple(found)), indent=2))
    else:
        click.echo("\n".join(map(reports.explanation, found)), nl=False)


def costs(settings: Config, seconds: float, *, simulate: bool) -> tuple[Costed, ...]:
    """By the agent that runs here, else by looks of our own."""
    address = None if simulate else looking.running_agent(settings)
    if address is not None:
        try:
            told = looking.costs_of(address)
        except PageError as error:
            if error.kind != "refused":
                click.echo(f"burnmeter: {visible(error.message)}", err=True)
        else:
            click.echo(f"by the agent at {address}", err=True)
            return told
    click.echo(f"no agent is asked; looking for {seconds:g} s ...", err=True)
    with ExitStack() as stack:
        world = wiring.real_world(settings) if not simulate else None
        if world is None:
            settings, world = wiring.simulated_world(settings, stack)
        found = looking.looks(settings, world, seconds, apart_seconds=LOOKS_APART_SECONDS)
        return tuple(map(costed, found.models))


def explain_cost(
    subject: str, model: str | None, found: tuple[Costed, ...], as_json_text: bool
) -> None:
    """Print it, and exit with 1 if it is known of none."""
    if not found:
        fail("no engine is watched here; `burnmeter doctor` says why")
    try:
        ours = chosen(found, model)
    except KeyError as error:
        fail(f"`{model}` is no model of this node; there is {error.args[0]}")
    if as_json_text:
        click.echo(json.dumps(to_plain(tuple(ours)), indent=2))
    else:
        click.echo(visible("\n".join(reports.cost(one, subject) for one in ours)))
    sys.exit(1 if all(amount(one, subject) is None for one in ours) else 0)


@main.command(
    short_help="Write down all that is read, for a bug report.",
    epilog="Exit codes: 0 it was recorded, 1 it could not be, 2 called wrongly.",
)
@click.option("--out", required=True, type=CONFIG_PATH, help="The new file: NAME.jsonl.gz.")
@CONFIG
@click.option("--simulate", is_flag=True, help="Record a simulated node.")
@click.option(
    "--seconds", type=click.FloatRange(0.1), help="Stop after so long. [default: at a signal]"
)
@click.option("--scrub", is_flag=True, help="Stand-ins for hosts, paths and unknown labels.")
@click.option("--scrub-models", is_flag=True, help="And for models and targets.")
def record(
    out: Path,
    config_file: Path | None,
    simulate: bool,
    seconds: float | None,
    scrub: bool,
    scrub_models: bool,
) -> None:
    """Write what every source brings, tick by tick, into one file for `replay`.

    It never holds tokens, passwords or environments. Read it before you share it: zcat FILE.
    """
    settings = load(config_file)
    with ExitStack() as stack:
        if simulate:
            settings, world = wiring.simulated_world(settings, stack)
        else:
            world = wiring.real_world(settings)
        into = wiring.recorder(
            out, settings, world, is_scrubbed=scrub or scrub_models, with_models=scrub_models
        )
        stack.callback(into.close)
        record_into(into, Agent(settings, wiring.recorded(world, into)), seconds)
    told = reports.recorded(into.ticks, into.targets, into.size_bytes)
    if into.stopped_by is not None:
        fail(f"{out}: {told}; ended by {into.stopped_by}")
    click.echo(f"{out}: {told}")


@main.command(
    short_help="Feed a recording through the whole program.",
    epilog="Exit codes: 0 nothing burns, 1 something burns or failed, 2 called wrongly.",
)
@click.argument("file", type=CONFIG_PATH)
@CONFIG
@JSON
@click.option("--all", "is_all", is_flag=True, help="With --json: every tick, one a line.")
def replay(file: Path, config_file: Path | None, as_json_text: bool, is_all: bool) -> None:
    """What burnmeter makes of a FILE that `record` wrote: what happened, and how it ended.

    The config that was recorded is in force, or the one you name.
    """
    if is_all and not as_json_text:
        raise click.UsageError("--all is for --json: every tick, one a line")
    settings = load(config_file) if config_file is not None else None
    recording = Recording(file)
    last, failed, number = None, False, 0
    for number, snapshot in enumerate(wiring.replayed(Replay(recording), settings), 1):
        failed = failed or snapshot is None
        last = snapshot or last
        if snapshot is None:
            continue
        if is_all:
            click.echo(snapshot_json.to_bytes(snapshot).decode(), nl=False)
        elif not as_json_text:
            click.echo(reports.happened(snapshot, number), nl=False)
    if recording.cut is not None:
        click.echo(f"burnmeter: {file}: {recording.cut}; {number} ticks are there", err=True)
    if last is None:
        fail(f"{file}: every tick failed")
    if as_json_text and not is_all:
        click.echo(snapshot_json.to_bytes(last).decode(), nl=False)
    if not as_json_text:
        click.echo(f"\n{terminal.snapshot(last)}", nl=False)
    sys.exit(1 if failed or any(view.state == "burning" for view in last.models) else 0)


for verb in (backtest, canary, dashboards, rules, top):
    main.add_command(verb)
