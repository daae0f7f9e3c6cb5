"""The verbs `dashboards write, diff, push and pull`. They wire and print, and decide nothing."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from burnmeter.command_line import CONFIG, CONFIG_PATH, JSON, fail, load, visible, write_files
from burnmeter.command_rules import Label
from burnmeter.command_words import Span, token_in, token_of
from burnmeter.provision import (
    dashboard_set,
    grafana_alerts,
    grafana_files,
    grafana_push,
    grafana_text,
)
from burnmeter.provision.dashboard_set import Dashboard
from burnmeter.provision.grafana_api import TIMEOUT_SECONDS, Grafana, GrafanaError
from burnmeter.provision.grafana_objects import DASHBOARD, EDITED, NEW, UPDATE
from burnmeter.provision.grafana_push import Attempts, Plan, Report
from burnmeter.provision.runbooks import RUNBOOKS, Links

TOKEN_VARIABLE: Final = "GRAFANA_TOKEN"
OUT = click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write into.",
)
PROMETHEUS = click.option(
    "--prometheus-url",
    metavar="URL",
    help="Make a data source that asks this one; the address as Grafana reaches it.",
)
Command = Callable[..., None]


def connecting(command: Command) -> Command:
    """Options that say which Grafana is asked, and how."""
    for option in reversed(
        (
            click.option("--url", required=True, help="Of Grafana, as browsers open it."),
            click.option(
                "--token-file",
                type=CONFIG_PATH,
                help=f"With a service account's token. [default: {TOKEN_VARIABLE}]",
            ),
            click.option("--ca-file", type=CONFIG_PATH, help="Of the CA that Grafana's TLS is by."),
            click.option(
                "--timeout",
                "timeout_seconds",
                type=Span(1.0, 600.0),
                default=f"{TIMEOUT_SECONDS:g}s",
                show_default=True,
                help="How long to wait for each answer.",
            ),
        )
    ):
        command = option(command)
    return command


def planning(command: Command) -> Command:
    """Options that say what should be there."""
    for option in reversed(
        (
            CONFIG,
            click.option("--folder", metavar="UID", help="Make our folder within this one."),
            PROMETHEUS,
            click.option(
                "--alerts", is_flag=True, help="Alert rules, too, for Grafana to evaluate."
            ),
            click.option(
                "--datasource",
                metavar="UID",
                help="Whom alert rules ask. [default: the only Prometheus that is there]",
            ),
            click.option(
                "--by",
                multiple=True,
                type=Label(),
                help="As for `rules`: a label that keeps objectives apart. May be repeated.",
            ),
            click.option(
                "--runbooks-url", default=RUNBOOKS, show_default=True, help="Of alerts/README.md."
            ),
        )
    ):
        command = option(command)
    return command


@click.group(
    short_help="Grafana: dashboards and alert rules, there and back.",
    epilog="Exit codes: 0 as it should be, 1 something differs or failed, 2 called wrongly.",
)
def dashboards() -> None:
    """Bring dashboards and alert rules into Grafana, and people's edits of them back.

    What a person has edited there is never overwritten, unless you say --force.
    """


@dashboards.command(
    short_help="Write plain files for Grafana's own provisioning.",
    epilog="Exit codes: 0 it is written, 1 it cannot be, 2 called wrongly.",
)
@OUT
@CONFIG
@click.option(
    "--path",
    "boards_path",
    default=grafana_files.BOARDS_PATH,
    show_default=True,
    help="Where the dashboards will be on Grafana's machine.",
)
@PROMETHEUS
def write(
    out: Path, config_file: Path | None, boards_path: str, prometheus_url: str | None
) -> None:
    """Write each dashboard as a file, and the files that make Grafana read them."""
    boards = dashboard_set.dashboards(load(config_file).objectives)
    files = grafana_files.board_files(boards)
    files |= grafana_files.provisioning_files(boards_path, prometheus_url)
    write_files(out, files)
    click.echo(f"{out}: {len(files)} files")
    for path in sorted(out.glob("burnmeter-*.json")):
        if path.name not in files:
            click.echo(f"{path}: of no dashboard that there is now; remove it", err=True)


@dashboards.command(
    short_help="What a push would do, object by object.",
    epilog="Exit codes: 0 nothing differs, 1 something does or failed, 2 called wrongly.",
)
@connecting
@planning
@JSON
def diff(**given: Any) -> None:
    """What `push` would do: new, update, edited by somebody, unchanged; with the differences."""
    grafana = _grafana(given)
    report = grafana_push.look(grafana, _plan(grafana, given), Attempts())
    if given["as_json_text"]:
        _echo_json(report, grafana.place)
    else:
        click.echo(visible(grafana_text.text(report, grafana.place)))
    sys.exit(0 if report.is_fine else 1)


@dashboards.command(
    short_help="Bring them into a Grafana.",
    epilog="Exit codes: 0 all is as it should be, 1 something is not, 2 called wrongly.",
)
@connecting
@planning
@click.option("--force", "is_forced", is_flag=True, help="Overwrite what a person has edited, too.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask before writing.")
@JSON
def push(**given: Any) -> None:
    """Show what differs, ask, and write it: folder, data source, dashboards, alert rules.

    Pushing again changes nothing. What a person has edited since stays as it is, and is told.
    """
    if given["as_json_text"] and not given["is_sure"]:
        raise click.UsageError("--json asks nobody; it needs --yes")
    grafana, attempts = _grafana(given), Attempts()
    plan = _plan(grafana, given)
    report = grafana_push.look(grafana, plan, attempts)
    is_forced = given["is_forced"]
    states = {NEW, UPDATE, EDITED} if is_forced else {NEW, UPDATE}
    count = sum(row.state in states for row in report.rows)
    if not given["as_json_text"] and not report.is_fine:
        click.echo(visible(grafana_text.text(report, grafana.place)) + "\n")
    if count and not given["is_sure"]:
        _ask(f"Write {count} object{'s' * (count != 1)} into {grafana.place}?")
    grafana_push.push(grafana, plan, report, attempts, is_forced=is_forced)
    if given["as_json_text"]:
        _echo_json(report, grafana.place)
    else:
        click.echo(visible(grafana_text.outcome(report, grafana.place)))
        if plan.groups is not None:
            click.echo(f"\n{grafana_text.recorded()}", err=True)
    sys.exit(0 if report.is_fine else 1)


@dashboards.command(
    short_help="Bring them back as files, with what people have edited.",
    epilog="Exit codes: 0 all are written, 1 one is not, 2 called wrongly.",
)
@connecting
@OUT
@CONFIG
@JSON
def pull(**given: Any) -> None:
    """Write the dashboards as they are in Grafana into files, without what changes by itself."""
    grafana, attempts, out = _grafana(given), Attempts(), given["out"]
    files: dict[str, str] = {}
    failures: dict[str, str] = {}
    for board in dashboard_set.dashboards(load(given["config_file"]).objectives):
        found = attempts.make(lambda uid=board.uid: grafana.dashboard(uid))  # type: ignore[misc]
        if isinstance(found, GrafanaError):
            failures[board.uid] = str(found)
        elif found is None:
            failures[board.uid] = f"{grafana.place} has no such dashboard"
        else:
            document = DASHBOARD.normal(found.get("dashboard", {}))
            files[f"{board.uid}.json"] = grafana_text.written(document)
    write_files(out, files)
    if given["as_json_text"]:
        told = {"files": [str(out / name) for name in files], "failed": failures}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(f"{out}: {len(files)} dashboards of {grafana.place}")
        for uid, why in failures.items():
            click.echo(visible(f"{uid}: {why}"), err=True)
    sys.exit(1 if failures else 0)


def _grafana(given: Mapping[str, Any]) -> Grafana:
    file = given["token_file"]
    return Grafana(
        given["url"],
        token=token_in(file) if file is not None else token_of(TOKEN_VARIABLE),
        ca_file=given["ca_file"],
        timeout_seconds=given["timeout_seconds"],
    )


def _plan(grafana: Grafana, given: Mapping[str, Any]) -> Plan:
    objectives = load(given["config_file"]).objectives
    boards: tuple[Dashboard, ...] = dashboard_set.dashboards(objectives)
    prometheus_url, groups = given["prometheus_url"], None
    if given["alerts"]:
        uid = grafana_push.datasource_uid(
            grafana, given["datasource"], is_made=prometheus_url is not None
        )
        asking = grafana_alerts.Asking(
            datasource_uid=uid,
            by=tuple(dict.fromkeys(("model", *given["by"]))),
            links=Links(runbooks_url=given["runbooks_url"], dashboards_url=grafana.place),
        )
        groups = grafana_alerts.groups(objectives, asking)
    return Plan(
        boards=grafana_push.boards_wanted(boards),
        parent_uid=given["folder"],
        datasource=(
            grafana_push.datasource_wanted(prometheus_url) if prometheus_url is not None else None
        ),
        groups=groups,
    )


def _ask(question: str) -> None:
    """Exits with 1 unless a person says yes."""
    try:
        is_wanted = click.confirm(question, err=True)
    except click.Abort:
        fail("nobody answers, so nothing is written; --yes writes without asking")
    if not is_wanted:
        fail("nothing is written")


def _echo_json(report: Report, place: str) -> None:
    click.echo(json.dumps(grafana_text.as_json(report, place), indent=2, allow_nan=False))
