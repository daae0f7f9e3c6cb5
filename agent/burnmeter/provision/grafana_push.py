"""What is there against what should be, object by object, and the writing of it.

It decides what is written: never what a person has edited, unless told to by force, and never what
is somebody else's. One object that fails does not keep another from its turn.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from burnmeter.provision.dashboard_set import FOLDER_TITLE, FOLDER_UID, Dashboard
from burnmeter.provision.grafana_alerts import RuleGroup
from burnmeter.provision.grafana_api import Grafana, GrafanaError
from burnmeter.provision.grafana_objects import (
    DASHBOARD,
    DATASOURCE,
    EDITED,
    FAILED,
    NEW,
    RULE,
    UNCHANGED,
    UPDATE,
    Document,
    There,
    Wanted,
    judge,
)
from burnmeter.provision.grafana_shelves import Rules, Shelf, put, shelves

DATASOURCE_UID: Final = "burnmeter"
DATASOURCE_NAME: Final = "Prometheus (burnmeter)"
FOLDER: Final = "folder"
GROUP: Final = "rule group"
MOST_SILENCE: Final = 2
"""After so many requests without an answer in a row the rest is not tried."""
CREATED, UPDATED, OVERWRITTEN = "created", "updated", "overwritten"
KEPT: Final = "kept"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that should be there."""

    boards: tuple[Wanted, ...]
    parent_uid: str | None = None
    """Of the folder that ours is made in."""
    datasource: Wanted | None = None
    groups: tuple[RuleGroup, ...] | None = None
    """None: nothing is said about alert rules."""

    @property
    def wanted(self) -> Iterator[Wanted]:
        """In the order in which they need one another."""
        if self.datasource is not None:
            yield self.datasource
        yield from self.boards
        for group in self.groups or ():
            yield from group.rules


@dataclass(slots=True, kw_only=True)
class Row:
    """One object: what a push would do, and what it did."""

    kind: str
    uid: str
    title: str
    state: str
    reason: str = ""
    before: Document | None = None
    after: Document | None = None
    wanted: Wanted | None = None
    there: There | None = None
    result: str = ""

    @property
    def is_as_it_should_be(self) -> bool:
        """Whether nothing is left to be done about it."""
        if self.result:
            return self.result in (CREATED, UPDATED, OVERWRITTEN, UNCHANGED)
        return self.state == UNCHANGED

    def fail(self, why: str) -> None:
        """It was tried."""
        self.result, self.reason = FAILED, why


@dataclass(slots=True)
class Report:
    """Every object, and what else a person should know."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_fine(self) -> bool:
        """Whether everything is as it should be."""
        return all(row.is_as_it_should_be for row in self.rows)


class Attempts:
    """Goes on after a failure, and stops where nothing is answered any more."""

    def __init__(self) -> None:
        self._has_answered = False
        self._silent = 0

    def make(self, call: Callable[[], T]) -> T | GrafanaError:
        """What it gives, or how it failed. Raises GrafanaError if nothing was ever answered."""
        if self._silent >= MOST_SILENCE:
            return GrafanaError("not tried, as nothing was answered before")
        try:
            found = call()
        except GrafanaError as error:
            if error.is_gone and not self._has_answered:
                raise
            self._has_answered = True
            self._silent = self._silent + 1 if error.is_gone else 0
            return error
        self._has_answered, self._silent = True, 0
        return found


def boards_wanted(boards: Iterable[Dashboard]) -> tuple[Wanted, ...]:
    """Dashboards in their normal form."""
    return tuple(
        Wanted(
            kind=DASHBOARD, uid=one.uid, title=one.title, document=DASHBOARD.normal(one.document)
        )
        for one in boards
    )


def datasource_wanted(prometheus_url: str) -> Wanted:
    """The data source that is made where somebody says by which address Grafana reaches it."""
    document = {
        "uid": DATASOURCE_UID,
        "name": DATASOURCE_NAME,
        "type": "prometheus",
        "access": "proxy",
        "url": prometheus_url,
        "jsonData": {"httpMethod": "POST", "timeInterval": "30s"},
    }
    return Wanted(
        kind=DATASOURCE,
        uid=DATASOURCE_UID,
        title=DATASOURCE_NAME,
        document=DATASOURCE.normal(document),
    )


def datasource_uid(grafana: Grafana, asked: str | None, *, is_made: bool) -> str:
    """Whom alert rules ask. Raises GrafanaError: a rule needs one, and cannot choose.

    The one that was named, the one that we make, or the only Prometheus that Grafana knows.
    """
    if asked is not None or is_made:
        return asked or DATASOURCE_UID
    known = [one for one in grafana.datasources() if one.get("type") == "prometheus"]
    if len(known) == 1:
        return str(known[0].get("uid"))
    listed = ", ".join(sorted(f"{one.get('uid')} ({one.get('name')})" for one in known))
    text = f"there are {listed}" if known else "there is none of Prometheus"
    raise GrafanaError(
        f"{grafana.place}: alert rules ask one data source, and {text};"
        " name one by --datasource, or have one made by --prometheus-url"
    )


def look(grafana: Grafana, plan: Plan, attempts: Attempts) -> Report:
    """What a push would do. Raises GrafanaError if nothing answers at all, or --folder is wrong."""
    report, at = Report(), shelves(grafana)
    report.rows.append(_folder_row(grafana, plan, attempts, report))
    for wanted in plan.wanted:
        report.rows.append(_row(wanted, at[wanted.kind.name], attempts))
    if plan.groups is not None:
        report.notes += _left(at[RULE.name], plan.groups, attempts)
    return report


def _folder_row(grafana: Grafana, plan: Plan, attempts: Attempts, report: Report) -> Row:
    row = Row(kind=FOLDER, uid=FOLDER_UID, title=FOLDER_TITLE, state=NEW)
    found = attempts.make(lambda: grafana.folder(FOLDER_UID))
    if isinstance(found, GrafanaError):
        row.state, row.reason = FAILED, str(found)
    elif found is not None:
        row.state = UNCHANGED
        if plan.parent_uid is not None and found.get("parentUid") != plan.parent_uid:
            where = f"is not in `{plan.parent_uid}`; it stays where somebody has put it"
            report.notes.append(f"the folder `{FOLDER_UID}` {where}")
    elif plan.parent_uid is not None:
        parent = attempts.make(lambda: grafana.folder(str(plan.parent_uid)))
        if parent is None:
            text = f"{grafana.place}: there is no folder with the uid `{plan.parent_uid}`;"
            raise GrafanaError(f"{text} its address ends in it, behind /f/")
    return row


def _row(wanted: Wanted, shelf: Shelf, attempts: Attempts) -> Row:
    row = Row(
        kind=wanted.kind.name, uid=wanted.uid, title=wanted.title, state=FAILED, wanted=wanted
    )
    there = attempts.make(lambda: shelf.read(wanted.uid))
    if isinstance(there, GrafanaError):
        row.reason = str(there)
        return row
    judgement = judge(wanted, there)
    row.state, row.reason, row.there = judgement.state, judgement.reason, there
    row.before = wanted.kind.normal(there.document) if there is not None else None
    row.after = wanted.document
    return row


def _left(shelf: Shelf, groups: Sequence[RuleGroup], attempts: Attempts) -> list[str]:
    """Rules of ours for what is no more: they are not removed, as nobody asked for it."""
    if not isinstance(shelf, Rules):
        return []
    found = attempts.make(shelf.all)
    if isinstance(found, GrafanaError):
        return []
    known = {rule.uid for group in groups for rule in group.rules}
    return [
        f"the alert rule `{rule.get('title')}` ({uid}) is of no objective any more; remove it"
        for uid, rule in found.items()
        if uid not in known and RULE.stamp(rule) is not None
    ]


def push(
    grafana: Grafana, plan: Plan, report: Report, attempts: Attempts, *, is_forced: bool
) -> None:
    """Write what should be written, and tell it in the report's rows."""
    at, has_folder = shelves(grafana), True
    begun = _groups_begun(at[RULE.name]) if plan.groups is not None else set()
    for row in report.rows:
        if row.wanted is None:
            has_folder = _push_folder(grafana, plan, row, attempts)
        elif row.state == NEW and row.wanted.kind is not DATASOURCE and not has_folder:
            row.fail(f"not tried, as the folder `{FOLDER_UID}` is not there")
        else:
            _push(row, at[row.kind], attempts, report, is_forced=is_forced)
    made = {_group_of(row) for row in report.rows if row.result == CREATED}
    for group in plan.groups or ():
        if group.name in made - begun:
            _set_interval(grafana, group, report, attempts)


def _push_folder(grafana: Grafana, plan: Plan, row: Row, attempts: Attempts) -> bool:
    """Whether it may be there now; one that could not be looked at may be."""
    if row.state == NEW:
        made = attempts.make(lambda: grafana.make_folder(FOLDER_UID, FOLDER_TITLE, plan.parent_uid))
        if isinstance(made, GrafanaError):
            row.fail(str(made))
            return False
        row.result = CREATED
    else:
        row.result = row.state
    return True


def _push(row: Row, shelf: Shelf, attempts: Attempts, report: Report, *, is_forced: bool) -> None:
    results = {NEW: CREATED, UPDATE: UPDATED, **({EDITED: OVERWRITTEN} if is_forced else {})}
    wanted = row.wanted
    if wanted is None or row.state not in results:
        row.result = row.state if row.state in (UNCHANGED, FAILED) else KEPT
        return
    done = attempts.make(lambda: put(shelf, wanted, row.there))
    if isinstance(done, GrafanaError):
        row.fail(str(done))
        return
    row.result = results[row.state]
    if done:
        report.notes.append(f"the {row.kind} `{row.uid}`: {done}")


def _group_of(row: Row) -> str:
    return str(row.wanted.document.get("ruleGroup", "")) if row.wanted is not None else ""


def _groups_begun(shelf: Shelf) -> set[str]:
    """Groups with a rule in them, whoever made it: these keep the interval that they have."""
    if not isinstance(shelf, Rules):
        return set()
    try:
        there = shelf.all().values()
    except GrafanaError:  # Told of each rule, which cannot be read either.
        return set()
    return {str(one.get("ruleGroup")) for one in there if one.get("folderUID") == FOLDER_UID}


def _set_interval(grafana: Grafana, group: RuleGroup, report: Report, attempts: Attempts) -> None:
    """Grafana begins a group at once a minute; its rules go back as they are."""

    def change() -> None:
        found = grafana.group(FOLDER_UID, group.name)
        if found is not None and found.get("interval") != group.interval_seconds:
            document = {**found, "interval": group.interval_seconds}
            grafana.save_group(FOLDER_UID, group.name, document)

    done = attempts.make(change)
    if isinstance(done, GrafanaError):
        row = Row(kind=GROUP, uid=group.name, title=group.name, state=FAILED)
        row.fail(f"its interval is not {group.interval_seconds} s: {done}")
        report.rows.append(row)
