"""What one Alertmanager has been told, and what it is to be told next. Pure.

An alert is told when it is new, again each `resend_seconds` while it lasts, and when it is over,
for `resolved_seconds`. Alertmanager knows an alert by its labels, so the labels that an alert
began with are kept until it is over, whatever becomes of its engine's names meanwhile.

Surprising: there is no file. After a restart the book is filled with what Alertmanager itself says
is open and ours (`adopted`): the same alert then goes on under the same labels, and what is over
is ended at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from burnmeter.config_alertmanagers import Alertmanager
from burnmeter.export import alerts
from burnmeter.export.alerts import Alert, Identity
from burnmeter.snapshot import Snapshot

SILENT_RESENDS: Final = 4.0
"""As in Prometheus: an alert ends by itself that was not repeated for so many intervals."""
EARLY_RATIO: Final = 0.5
"""Of an interval: what falls due before the middle between two ticks is due at the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One alert and how far it was told."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    anchor: str
    began_timestamp_seconds: float
    ended_timestamp_seconds: float | None = None
    told_timestamp_seconds: float | None = None
    """When it was last taken as it is now. None: not yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All alerts of one Alertmanager."""

    entries: Mapping[Identity, Entry] = field(default_factory=dict)

    @property
    def active(self) -> int:
        """Alerts that are not over."""
        return sum(1 for one in self.entries.values() if one.ended_timestamp_seconds is None)


def turned(
    book: Book, snapshot: Snapshot, terms: Alertmanager, settle_seconds: float = 0.0
) -> Book:
    """The book after one more Snapshot. `settle_seconds`: see alerts.is_over."""
    now = snapshot.timestamp_seconds
    firing = {alerts.identity(alert.labels): alert for alert in alerts.firing(snapshot)}
    entries: dict[Identity, Entry] = {}
    for key, entry in book.entries.items():
        if key not in firing:
            kept = _ended(entry, snapshot, settle_seconds)
            over = kept.ended_timestamp_seconds
            if (
                over is None
                or kept.told_timestamp_seconds is None
                or _is_repeated(over, now, terms)
            ):
                entries[key] = kept
    for key, alert in firing.items():
        entries[key] = _begun(book.entries.get(key), alert, now)
    return Book(entries=entries)


def _is_repeated(over: float, now: float, terms: Alertmanager) -> bool:
    return now - over <= terms.resolved_seconds


def _ended(entry: Entry, snapshot: Snapshot, settle_seconds: float) -> Entry:
    """One that does not fire now: over, or not known to be."""
    began = entry.began_timestamp_seconds
    if entry.ended_timestamp_seconds is not None:
        return entry
    if not alerts.is_over(entry.labels, began, snapshot, settle_seconds):
        return entry
    # One that is over before it began would be refused: clocks may be set back.
    over = max(snapshot.timestamp_seconds, began)
    return replace(entry, ended_timestamp_seconds=over, told_timestamp_seconds=None)


def _begun(known: Entry | None, alert: Alert, now: float) -> Entry:
    """One that fires now: the same as before, or anew."""
    if known is not None and known.ended_timestamp_seconds is None:
        return replace(known, annotations=alert.annotations, anchor=alert.anchor)
    since = alert.since_timestamp_seconds
    began = now if since is None or since > now else since
    if known is not None and known.ended_timestamp_seconds is not None:
        # It is another one: what began before the last was over would be taken for the last.
        began = max(began, known.ended_timestamp_seconds)
    return Entry(
        labels=alert.labels,
        annotations=alert.annotations,
        anchor=alert.anchor,
        began_timestamp_seconds=began,
    )


def adopted(book: Book, found: Iterable[Mapping[str, Any]], node: str) -> Book:
    """With what an Alertmanager says is open, as far as it is ours and not known yet."""
    entries = dict(book.entries)
    for one in found:
        labels, began = _texts(one.get("labels")), _moment(one.get("startsAt"))
        if began is None:
            continue
        key = alerts.identity(labels)
        is_ours = (labels.get("origin"), labels.get("node")) == (alerts.ORIGIN, node)
        if is_ours and key[0] in alerts.NAMES and key not in entries:
            entries[key] = Entry(
                labels=labels,
                annotations=_texts(one.get("annotations")),
                anchor="",
                began_timestamp_seconds=began,
            )
    return Book(entries=entries)


def _texts(value: object) -> dict[str, str]:
    """A mapping of texts; nothing, if it is no such thing."""
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        return {}
    return value


def _moment(text: object) -> float | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo is not None else None


def due(book: Book, now_seconds: float, interval_seconds: float, terms: Alertmanager) -> Book:
    """Those that are to be told now."""
    patience = terms.resend_seconds - EARLY_RATIO * interval_seconds
    return Book(
        entries={
            key: one
            for key, one in book.entries.items()
            if one.told_timestamp_seconds is None
            or not 0 <= now_seconds - one.told_timestamp_seconds < patience
        }
    )


def told(book: Book, sent: Book, now_seconds: float) -> Book:
    """The book once these have been taken."""
    return Book(
        entries={
            key: replace(one, told_timestamp_seconds=now_seconds) if key in sent.entries else one
            for key, one in book.entries.items()
        }
    )


def messages(
    sent: Book,
    now_seconds: float,
    interval_seconds: float,
    terms: Alertmanager,
    page_url: str | None,
) -> list[dict[str, Any]]:
    """As Alertmanager's API (v2, postableAlerts) takes them."""
    lasting = SILENT_RESENDS * max(terms.resend_seconds, interval_seconds)
    found: list[dict[str, Any]] = []
    for one in sent.entries.values():
        ended = one.ended_timestamp_seconds
        notes = dict(one.annotations)
        if terms.runbook_url is not None:
            notes["runbook_url"] = _heading(terms.runbook_url, one.labels["alertname"])
        message: dict[str, Any] = {
            "labels": dict(one.labels),
            "annotations": notes,
            "startsAt": _stamp(one.began_timestamp_seconds),
            "endsAt": _stamp(ended if ended is not None else now_seconds + lasting),
        }
        if page_url is not None:
            message["generatorURL"] = f"{page_url}#{one.anchor}" if one.anchor else page_url
        found.append(message)
    return found


def _heading(url: str, name: str) -> str:
    """The alert's heading on a page; one that has a fragment of its own is taken as it is."""
    return url if "#" in url else f"{url}#{name.lower()}"


def _stamp(timestamp_seconds: float) -> str:
    """RFC 3339, to the millisecond, as Alertmanager writes it itself."""
    when = datetime.fromtimestamp(timestamp_seconds, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
