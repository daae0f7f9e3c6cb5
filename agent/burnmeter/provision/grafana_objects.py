"""What is ours in Grafana and what a person has made of it since: normal forms and stamps. Pure.

No file and no database remembers what was pushed. Each object carries a stamp: two fingerprints,
of what we made, and of what Grafana showed when it was written. The second fits no more once
somebody edits the object; the first tells whether we would write anything else today.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

NEW: Final = "new"
UNCHANGED: Final = "unchanged"
UPDATE: Final = "update"
EDITED: Final = "edited"
FOREIGN: Final = "not ours"
LOCKED: Final = "locked"
FAILED: Final = "failed"

Document = Mapping[str, Any]
STAMP_VARIABLE: Final = "burnmeter_stamp"
STAMP_ANNOTATION: Final = "__burnmeter__"
"""Grafana keeps annotations that begin and end like this out of notifications."""
STAMP_KEY: Final = "burnmeterStamp"
STAMP_TEXT: Final = re.compile(r"burnmeter 1 ([0-9a-f]{16}) ([0-9a-f]{16})")
FINGERPRINT_SIGNS: Final = 16


@dataclass(frozen=True, slots=True)
class Stamp:
    """Fingerprints of what we made, and of what Grafana made of it."""

    source: str
    stored: str

    def __str__(self) -> str:
        return f"burnmeter 1 {self.source} {self.stored}"


def stamp_in(text: Any) -> Stamp | None:
    """The stamp that a text is; None if it is none of ours."""
    found = STAMP_TEXT.fullmatch(text) if isinstance(text, str) else None
    return Stamp(found[1], found[2]) if found is not None else None


def fingerprint(document: Document) -> str:
    """The same for the same content, whatever the order of keys."""
    written = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()[:FINGERPRINT_SIGNS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of object, and where its stamp is."""

    name: str
    normal: Callable[[Document], dict[str, Any]]
    """Without the stamp and without what changes by itself."""
    stamp: Callable[[Document], Stamp | None]
    stamped: Callable[[Document, Stamp], dict[str, Any]]
    """The normal form with a stamp."""
    is_foreign_without: bool = False
    """Whether one without a stamp is somebody else's, even if it has our uid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One object as it should be; in its normal form."""

    kind: Kind
    uid: str
    title: str
    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """One object as it is."""

    document: Document
    version: int | None = None
    """Grows with each save; None where Grafana counts none."""
    folder_uid: str = ""
    locked_by: str = ""
    """Why Grafana lets nobody change it over its API."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a push would do, and why."""

    state: str
    reason: str = ""


def judge(wanted: Wanted, there: There | None) -> Judgement:
    """Whose an object is, and whether it is as it should be."""
    if there is None:
        return Judgement(NEW)
    kind = wanted.kind
    is_same = (now := kind.normal(there.document)) == wanted.document
    stamp = kind.stamp(there.document)
    if there.locked_by:
        locked = Judgement(LOCKED, there.locked_by)
        return Judgement(UNCHANGED, there.locked_by) if is_same else locked
    if stamp is None and kind.is_foreign_without:
        text = f"somebody else's {kind.name} has the uid `{wanted.uid}`; it is never touched"
        return Judgement(FOREIGN, text)
    if stamp is not None and stamp.stored == fingerprint(now):
        is_current = is_same or stamp.source == fingerprint(wanted.document)
        return Judgement(UNCHANGED if is_current else UPDATE)
    if is_same:
        return Judgement(UPDATE, "the content is the same; only burnmeter's stamp is missing")
    if stamp is None:
        return Judgement(EDITED, "it bears no stamp of burnmeter: somebody made or imported it")
    return Judgement(EDITED, "somebody has edited it since burnmeter wrote it")


def is_covered(wanted: Any, there: Any) -> bool:
    """Whether nothing that we wrote was changed: keys may have come, values are the same."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(
            key in there and is_covered(value, there[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(there, list | tuple)
            and len(wanted) == len(there)
            and all(map(is_covered, wanted, there))
        )
    return bool(wanted == there)


def plain(value: Any) -> Any:
    """As JSON brings it back, with 2.0 as 2: Grafana writes them alike."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without(document: Document, names: frozenset[str], defaults: Document) -> dict[str, Any]:
    """Without names that say nothing, and without values that are there if nobody says any."""
    return {
        key: value
        for key, value in plain(document).items()
        if key not in names and (key not in defaults or value not in (defaults[key], None))
    }


# --- dashboards ----------------------------------------------------------------------------------

DASHBOARD_VOLATILE: Final = frozenset(("id", "version", "iteration"))


def _dashboard(document: Document) -> dict[str, Any]:
    found = _without(document, DASHBOARD_VOLATILE, {})
    variables = found.get("templating") or {}
    kept = [one for one in variables.get("list") or () if one.get("name") != STAMP_VARIABLE]
    more = {key: value for key, value in variables.items() if key != "list"}
    found.pop("templating", None)
    if kept or more:
        found["templating"] = {**more, **({"list": kept} if kept else {})}
    return found


def _dashboard_stamp(document: Document) -> Stamp | None:
    for one in (document.get("templating") or {}).get("list") or ():
        if one.get("name") == STAMP_VARIABLE:
            return stamp_in(one.get("query"))
    return None


def _dashboard_stamped(document: Document, stamp: Stamp) -> dict[str, Any]:
    """By a constant that nobody sees: whatever edits dashboards keeps their variables."""
    found, text = _dashboard(document), str(stamp)
    variable = {
        "name": STAMP_VARIABLE,
        "type": "constant",
        "description": "By this `burnmeter dashboards push` knows its own work.",
        "hide": 2,
        "skipUrlSync": True,
        "query": text,
        "current": {"text": text, "value": text},
    }
    variables = found.get("templating", {})
    listed = [*variables.get("list", ()), variable]
    return {**found, "templating": {**variables, "list": listed}}


DASHBOARD: Final = Kind(
    name="dashboard", normal=_dashboard, stamp=_dashboard_stamp, stamped=_dashboard_stamped
)

# --- data sources --------------------------------------------------------------------------------

DATASOURCE_VOLATILE: Final = frozenset(
    ("id", "orgId", "version", "readOnly", "accessControl", "typeLogoUrl", "typeName", "apiVersion")
)
DATASOURCE_DEFAULTS: Final[Document] = {
    **dict.fromkeys(("user", "database", "basicAuthUser", "password", "basicAuthPassword"), ""),
    **dict.fromkeys(("basicAuth", "withCredentials", "isDefault"), False),
    "secureJsonFields": {},
}


def _datasource(document: Document) -> dict[str, Any]:
    found = _without(document, DATASOURCE_VOLATILE, DATASOURCE_DEFAULTS)
    options = found.get("jsonData") or {}
    found["jsonData"] = {key: value for key, value in options.items() if key != STAMP_KEY}
    return found


def _datasource_stamped(document: Document, stamp: Stamp) -> dict[str, Any]:
    found = _datasource(document)
    return {**found, "jsonData": {**found["jsonData"], STAMP_KEY: str(stamp)}}


DATASOURCE: Final = Kind(
    name="data source",
    normal=_datasource,
    stamp=lambda document: stamp_in((document.get("jsonData") or {}).get(STAMP_KEY)),
    stamped=_datasource_stamped,
    is_foreign_without=True,
)

# --- alert rules ---------------------------------------------------------------------------------

RULE_VOLATILE: Final = frozenset(
    ("id", "orgID", "version", "updated", "updatedBy", "provenance", "guid")
)
RULE_DEFAULTS: Final[Document] = {
    "isPaused": False,
    "keep_firing_for": "0s",
    "missing_series_evals_to_resolve": 0,
    "notification_settings": None,
    "record": None,
}


def _rule(document: Document) -> dict[str, Any]:
    found = _without(document, RULE_VOLATILE, RULE_DEFAULTS)
    said = found.get("annotations") or {}
    found["annotations"] = {key: value for key, value in said.items() if key != STAMP_ANNOTATION}
    return found


def _rule_stamped(document: Document, stamp: Stamp) -> dict[str, Any]:
    found = _rule(document)
    return {**found, "annotations": {**found["annotations"], STAMP_ANNOTATION: str(stamp)}}


RULE: Final = Kind(
    name="alert rule",
    normal=_rule,
    stamp=lambda document: stamp_in((document.get("annotations") or {}).get(STAMP_ANNOTATION)),
    stamped=_rule_stamped,
)
