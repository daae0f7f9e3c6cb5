"""How one object of each kind is read from a Grafana and written into it; it judges nothing.

Whatever is written is read once more: some Grafanas fill in what was left out, and the stamp must
fit what they show. No write can undo somebody's save of the same second, save one: rules have no
version that could guard them, so a rule is read once more just before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from burnmeter import __version__
from burnmeter.provision.dashboard_set import FOLDER_UID
from burnmeter.provision.grafana_api import Grafana, GrafanaError
from burnmeter.provision.grafana_objects import (
    DASHBOARD,
    DATASOURCE,
    RULE,
    Document,
    Stamp,
    There,
    Wanted,
    fingerprint,
    is_covered,
)

MESSAGE: Final = f"burnmeter {__version__} dashboards push"
RESTLESS: Final = (
    "Grafana shows it otherwise than it was written, so the next push may take it for edited"
)


class Shelf(Protocol):
    """Where the objects of one kind are."""

    def read(self, uid: str) -> There | None:
        """None if there is none."""

    def write(self, uid: str, document: Document, there: There | None) -> int | None:
        """Over `there`, if that is still what it was; its new version, if it has any."""


@dataclass(frozen=True, slots=True)
class Dashboards:
    """Below our folder, or where somebody has moved them."""

    grafana: Grafana

    def read(self, uid: str) -> There | None:
        """With its version, its folder, and whether files own it."""
        found = self.grafana.dashboard(uid)
        if found is None:
            return None
        document, about = found.get("dashboard"), found.get("meta")
        if not isinstance(document, dict) or not isinstance(about, dict):
            raise GrafanaError(f"{self.grafana.place}: an answer without a dashboard in it")
        locked = "Grafana has it from a file; change that file, or take it away"
        return There(
            document=document,
            version=int(document.get("version") or 0),
            folder_uid=str(about.get("folderUid") or ""),
            locked_by=locked if about.get("provisioned") else "",
        )

    def write(self, uid: str, document: Document, there: There | None) -> int | None:
        """412 if somebody saved it since it was read."""
        told = self.grafana.save_dashboard(
            document,
            version=0 if there is None else there.version or 0,
            folder_uid=FOLDER_UID if there is None else there.folder_uid,
            message=MESSAGE,
        )
        return int(told.get("version") or 0)


@dataclass(frozen=True, slots=True)
class Datasources:
    """The one of ours."""

    grafana: Grafana

    def read(self, uid: str) -> There | None:
        """With its version, and whether a file owns it."""
        found = self.grafana.datasource(uid)
        if found is None:
            return None
        locked = "Grafana has it from a file; change that file" if found.get("readOnly") else ""
        return There(document=found, version=int(found.get("version") or 0), locked_by=locked)

    def write(self, uid: str, document: Document, there: There | None) -> int | None:
        """409 if somebody changed it since it was read."""
        if there is None:
            told = self.grafana.make_datasource(document)
        else:
            told = self.grafana.save_datasource(document, version=there.version or 0)
        version = (told.get("datasource") or {}).get("version")
        return version if isinstance(version, int) else None


@dataclass(slots=True)
class Rules:
    """Asked for all at once; there are dozens."""

    grafana: Grafana
    _by_uid: dict[str, dict[str, Any]] | None = field(default=None, init=False)

    def all(self) -> Mapping[str, dict[str, Any]]:
        """Every rule that Grafana evaluates, by its uid."""
        if self._by_uid is None:
            self._by_uid = {str(rule.get("uid")): rule for rule in self.grafana.rules()}
        return self._by_uid

    def read(self, uid: str) -> There | None:
        """As it was when first asked."""
        return self._there(self.all().get(uid))

    def write(self, uid: str, document: Document, there: There | None) -> int | None:
        """Only over what was read."""
        now = self._there(self.grafana.rule(uid)) if there is not None else None
        if there is not None:
            if now is None or RULE.normal(now.document) != RULE.normal(there.document):
                text = "was changed since it was read, so nothing is overwritten; push again"
                raise GrafanaError(f"{self.grafana.place}: the rule {text}", status=412)
            self.grafana.save_rule(document)
        else:
            self.grafana.make_rule(document)
        found = self.grafana.rule(uid)
        if found is not None and self._by_uid is not None:
            self._by_uid[uid] = found
        return None

    def _there(self, found: dict[str, Any] | None) -> There | None:
        if found is None:
            return None
        owner = found.get("provenance")
        locked = f"Grafana has it from `{owner}` provisioning, which alone may change it"
        return There(document=found, locked_by=locked if owner else "")


def shelves(grafana: Grafana) -> dict[str, Shelf]:
    """By the name of their kind."""
    return {
        DATASOURCE.name: Datasources(grafana),
        DASHBOARD.name: Dashboards(grafana),
        RULE.name: Rules(grafana),
    }


def put(shelf: Shelf, wanted: Wanted, there: There | None) -> str:
    """Write it such that it is known as ours next time. A note, if it may not be.

    Raises GrafanaError; the object may be written and not yet stamped well then.
    """
    kind, source = wanted.kind, fingerprint(wanted.document)
    stamp = Stamp(source, source)
    version = shelf.write(wanted.uid, kind.stamped(wanted.document, stamp), there)
    back = shelf.read(wanted.uid)
    if back is None:
        raise GrafanaError("Grafana took it, and does not have it")
    now = kind.normal(back.document)
    if fingerprint(now) == source and kind.stamp(back.document) == stamp:
        return ""
    # What Grafana filled in is ours, too; what somebody saved in this second is not.
    is_ours = is_covered(wanted.document, now) if version is None else version == back.version
    if not is_ours or kind.stamp(back.document) != stamp:
        return RESTLESS
    stored = Stamp(source, fingerprint(now))
    shelf.write(wanted.uid, kind.stamped(now, stored), back)
    last = shelf.read(wanted.uid)
    is_still = last is not None and fingerprint(kind.normal(last.document)) == stored.stored
    return "" if is_still else RESTLESS
