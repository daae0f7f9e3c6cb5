"""The verb `rules`: writes rule files and their tests, and says what they promise."""

import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from burnmeter.command_line import CONFIG, EXIT_CODES, load, write_files
from burnmeter.model import Objective
from burnmeter.provision import reach, rule_set
from burnmeter.provision.rule_set import Wanted
from burnmeter.provision.rules import FORMATS, HEADER
from burnmeter.provision.runbooks import RUNBOOKS, Links

WIDTH: Final = 80
INDENTS: Final[Mapping[str, Any]] = {"initial_indent": "  ", "subsequent_indent": "    "}
LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Label(click.ParamType[str]):
    """The name of a label in Prometheus."""

    name = "LABEL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not LABEL.fullmatch(value):
            self.fail(f"`{value}` is no label's name; write one like `cluster`", param, ctx)
        word: str = value
        return word


@click.command(short_help="Write Prometheus rules for the objectives.", epilog=EXIT_CODES)
@CONFIG
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write files into this folder, tests too. [default: rules to standard output]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="prometheus",
    show_default=True,
    help="Rule files, or PrometheusRule objects of its operator.",
)
@click.option("--burn-in", is_flag=True, help="Record what would alert, and alert nobody.")
@click.option(
    "--by",
    multiple=True,
    type=Label(),
    help="A label beside the model that keeps objectives apart, as cluster. May be repeated.",
)
@click.option("--runbooks-url", default=RUNBOOKS, show_default=True, help="Of alerts/README.md.")
@click.option("--dashboards-url", default="", help="Of Grafana. [default: links are relative]")
def rules(
    config_file: Path | None,
    out: Path | None,
    form: str,
    burn_in: bool,
    by: tuple[str, ...],
    runbooks_url: str,
    dashboards_url: str,
) -> None:
    """Write recording rules and alerts for the objectives of a config, or for the default ones.

    Says what each tier promises: the share of failures that trips it, how long a total outage and
    lesser ones take to page, the budget that is spent by then, and which tiers were rewritten
    because no real outage could have reached them.
    """
    objectives = load(config_file).objectives
    wanted = Wanted(
        form=form,
        is_burn_in=burn_in,
        by=tuple(dict.fromkeys(("model", *by))),
        links=Links(runbooks_url=runbooks_url, dashboards_url=dashboards_url),
    )
    files = rule_set.files(objectives, wanted)
    if out is not None:
        write_files(out, files)
        click.echo(f"{out}: {len(files)} files\n\n{promise_text(objectives)}")
        for name in _left(out, files):
            click.echo(f"{out / name}: of no objective that there is now; remove it", err=True)
        return
    texts = [text for name, text in files.items() if not name.startswith(rule_set.TESTS)]
    click.echo(_joined(texts, form), nl=False)
    click.echo(promise_text(objectives), err=True)


def promise_text(objectives: Iterable[Objective]) -> str:
    """The table of what the tiers promise, and what was rewritten."""
    known = tuple(objectives)
    lines = reach.table(known) if known else ["no objectives: only what every fleet has"]
    told = reach.rewritten(known)
    if told:
        lines += ["", "* rewritten, because the workbook's tier is out of reach:"]
        lines += [textwrap.fill(line, WIDTH, **INDENTS) for line in told]
    return "\n".join(lines)


def _joined(texts: Iterable[str], form: str) -> str:
    """One document with all groups, or one document for each object."""
    bodies = [text.removeprefix(HEADER) for text in texts]
    if form == "operator":
        return HEADER + "---\n".join(bodies)
    return HEADER + "groups:\n" + "".join(body.removeprefix("groups:\n") for body in bodies)


def _left(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Files of ours that this run has not written: of objectives that are no more."""
    names = sorted(path.name for path in folder.glob("slo-*.yaml"))
    return [
        name
        for name in names
        if name not in files and (folder / name).read_text("utf-8").startswith(HEADER)
    ]
