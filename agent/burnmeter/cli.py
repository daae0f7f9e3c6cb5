"""The command line. It wires and prints, and decides nothing.

Exit codes: 0 fine, 1 found something wrong, 2 called wrongly. No flag repeats a key of the config.
Surprising: the main thread does nothing but wait for a signal, and ticks happen beside it, so that
no source that hangs can delay the end.
"""

import io
import json
import logging
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from burnmeter import __version__, config, dialects, names, reports, wiring
from burnmeter.config import Config
from burnmeter.config_targets import bare_url
from burnmeter.doctor import findings
from burnmeter.errors import BurnmeterError, ConfigError, PageError
from burnmeter.explanation import explain as explain_metric
from burnmeter.explanation import unused
from burnmeter.export import snapshot_json, terminal
from burnmeter.export.server import Limits, Server
from burnmeter.export.web import application
from burnmeter.inspection import as_json
from burnmeter.inspection import inspect as inspect_page
from burnmeter.loop import Agent, World
from burnmeter.model import About
from burnmeter.sources.recording import Recorder, Recording
from burnmeter.sources.replay import Replay

LOG: Final = logging.getLogger(__name__)
STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""SIGHUP: the terminal was closed."""
WAKE_SECONDS: Final = 0.25
LAST_TICK_SECONDS: Final = 0.5
"""A tick under way at the end may finish within this; a longer one is left behind."""
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


def load(config_file: Path | None) -> Config:
    """The config of a file, or all defaults. Raises ConfigError."""
    if config_file is None:
        return Config()
    found = read(config_file)
    for problem in found.warnings:
        click.echo(str(problem), err=True)
    return found


def read(config_file: Path) -> Config:
    """The config of a file, held against the engines that we know. Raises ConfigError."""
    known = dialects.load_all().items()
    roles = {engine: {role.role for role in dialect.roles} for engine, dialect in known}
    return config.load(config_file, bounds=dialects.bounds_by_engine(), roles=roles)


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


def serve(settings: Config, world: World) -> None:
    """Tick and answer until a signal says to stop."""
    stop, orders = threading.Event(), told_to_stop()
    agent = Agent(settings, world)
    ticks = threading.Thread(target=agent.run, args=(stop,), name="ticks", daemon=True)
    app = application(lambda: agent.outlet, clock=world.wall_clock)
    limits = Limits(waiting_connections=settings.limits.clients)
    host = f"[{settings.listen_host}]" if ":" in settings.listen_host else settings.listen_host
    try:
        with Server(app, settings.listen_host, settings.listen_port, limits) as server:
            click.echo(f"burnmeter {__version__} watches {settings.node}")
            click.echo(f"  live page  http://{host}:{server.port}/")
            click.echo(f"  metrics    http://{host}:{server.port}/metrics")
            ticks.start()
            await_order(orders)
            hurry()
            stop.set()
            ticks.join(LAST_TICK_SECONDS)
    finally:
        agent.close()
    LOG.info("burnmeter stopped")  # Not echo: a closed terminal must not make an error of it.


def told_to_stop() -> "queue.SimpleQueue[int]":
    """Holds the signals that said so. What whoever started us ignores (nohup) stays ignored."""
    orders = queue.SimpleQueue[int]()
    for number in STOPPING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            # Not Event.set, which takes a lock that the interrupted thread may hold.
            signal.signal(number, lambda got, _: orders.put(got))
    return orders


def await_order(
    orders: "queue.SimpleQueue[int]", is_over: Callable[[], bool] = lambda: False
) -> None:
    """Return once a signal has said to stop, or it is over by itself.

    A signal that comes in the instant before the main thread blocks is seen by Python only when it
    wakes, so it wakes now and then.
    """
    while not is_over():
        with suppress(queue.Empty):
            orders.get(timeout=WAKE_SECONDS)
            return


def hurry() -> None:
    """From now on a signal ends us at once; but a closing terminal sends SIGHUP more than once."""
    for number in STOPPING:
        is_hangup = number == signal.SIGHUP
        signal.signal(number, signal.SIG_IGN if is_hangup else signal.SIG_DFL)


@main.command(
    short_help="Two looks at this node, printed.",
    epilog="Exit codes: 0 nothing burns, 1 something burns or failed, 2 called wrongly.",
)
@CONFIG
@JSON
@click.option("--simulate", is_flag=True, help="Look at a simulated node.")
@click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600.0),
    help="Between the two looks.",
)
def once(config_file: Path | None, as_json_text: bool, simulate: bool, seconds: float) -> None:
    """One pass to standard output: two looks, and what happened between them."""
    settings = load(config_file)
    with ExitStack() as stack:
        if simulate:
            settings, world = wiring.simulated_world(settings, stack)
        else:
            world = wiring.real_world(settings)
        # A stretch longer than the interval would count as one that nobody watched.
        agent = Agent(replace(settings, interval_seconds=seconds), world)
        stack.callback(agent.close)
        agent.tick()
        if sys.stderr.isatty():
            click.echo(f"looking again in {seconds:g} s ...", err=True)
        time.sleep(seconds)
        snapshot = agent.tick()
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
    """All problems of a config at once, with file:line:column and what would be right."""
    try:
        found = read(config_file)
    except ConfigError as error:
        if not as_json_text:
            raise
        click.echo(json.dumps({"problems": [problem_json(p) for p in error.problems]}, indent=2))
        sys.exit(1)
    if as_json_text:
        problems = [problem_json(p) for p in found.warnings]
        click.echo(json.dumps({"problems": problems, "config": config.as_dict(found)}, indent=2))
        return
    for problem in found.warnings:
        click.echo(str(problem), err=True)
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
    found = findings(wiring.look_once(settings))
    if as_json_text:
        rows = [asdict(finding) for finding in found]
        click.echo(json.dumps({"findings": rows}, indent=2))
    else:
        click.echo(visible(reports.findings(found)))
    sys.exit(1 if any(finding.state == "wrong" for finding in found) else 0)


@main.command(
    short_help="Where a number comes from.",
    epilog="Exit codes: 0 it is known, 1 it is not, 2 called wrongly.",
)
@click.argument("metric")
@click.option("--engine", metavar="ENGINE", help="Only where this engine has it from.")
def explain(metric: str, engine: str | None) -> None:
    """Where a number comes from: engine's name, dialect line, unit, formula.

    METRIC is our name, its short form (`ttft`), or an engine's own name.
    """
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
    click.echo("\n".join(map(reports.explanation, found)), nl=False)


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


def record_into(into: Recorder, agent: Agent, seconds: float | None) -> None:
    """Tick until a signal, the time or the file ends it."""
    stop, orders = threading.Event(), told_to_stop()
    end = float("inf") if seconds is None else time.monotonic() + seconds
    is_watched = sys.stderr.isatty()

    def is_over() -> bool:
        if is_watched:
            told = reports.recorded(into.ticks, into.targets, into.size_bytes)
            click.echo(f"\r{told} ", err=True, nl=False)
        is_late = time.monotonic() >= end and into.ticks > 0
        return is_late or into.stopped_by is not None

    ticks = threading.Thread(target=agent.run, args=(stop,), name="ticks", daemon=True)
    ticks.start()
    await_order(orders, is_over)
    hurry()
    stop.set()
    ticks.join(LAST_TICK_SECONDS)
    agent.close()
    if is_watched:
        click.echo(err=True)


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
