"""What is new in a Snapshot, for those who read logs and not metrics: once, in a line each.

It decides nothing and keeps nothing: what is new is told by the Snapshot before.
"""

import logging
import re
from typing import Final

from burnmeter import names
from burnmeter.model import Failure
from burnmeter.names import OVERFLOW
from burnmeter.snapshot import AlertmanagerView, Snapshot

log = logging.getLogger("burnmeter")

BEYOND: Final = {
    "models": f"is counted as the model `{OVERFLOW}`",
    "probes": "waits for the next day",
    "shares": "is under no model in the bill",
}
"""What becomes of what is beyond a limit, if it is read at all."""
PLACES: Final = {"probes": "probes[].tokens_per_day` or `dollars_per_day"}
"""Where a limit stands in the config, if not under `limits`."""
SUBJECTS_TOLD: Final = 3
"""Of those of which the same is told at once: a target that stalls makes all its models burn."""
NUMBERS: Final = re.compile(r"\d+(\.\d+)?")
BAD_NEWS: Final = {
    *("down", "stalled", "stale", "sick", "burning"),
    *("xid", "gpu_lost", "throttled", "recovery"),
}


def tell(before: Snapshot | None, now: Snapshot) -> None:
    """Log what is new since the Snapshot before, once: for those who read logs, not metrics."""
    fresh: dict[tuple[str, str], list[str]] = {}
    for event in now.events:
        if event.timestamp_seconds == now.timestamp_seconds:
            # Which board it is, as no index lasts; who has many of them reads the snapshot.
            board = f" ({event.gpu})" if event.gpu is not None else ""
            fresh.setdefault((event.kind, event.text), []).append(event.subject + board)
    for (kind, text), subjects in fresh.items():
        level = logging.WARNING if kind in BAD_NEWS else logging.INFO
        more = f" and {len(subjects) - SUBJECTS_TOLD} more" * (len(subjects) > SUBJECTS_TOLD)
        _say(level, f"{', '.join(subjects[:SUBJECTS_TOLD])}{more}: {kind}: {text}")
    was = {view.source: view.failure for view in before.sources} if before else {}
    for view in now.sources:
        old = was.get(view.source)
        if view.failure is not None and (old is None or _shape(old) != _shape(view.failure)):
            _say(logging.WARNING, f"{view.source}: {view.failure.message}")
        elif view.failure is None and old is not None:
            log.info("%s: answers again", view.source)
    _tell_of_alertmanagers(before.alertmanagers if before else (), now.alertmanagers)
    for name in now.health.limits_reached.keys() - (before.health.limits_reached if before else ()):
        where, what = PLACES.get(name, f"limits.{name}"), BEYOND.get(name, "is not read")
        log.warning("the limit `%s` was reached; what is beyond it %s", where, what)


def _tell_of_alertmanagers(
    before: tuple[AlertmanagerView, ...], now: tuple[AlertmanagerView, ...]
) -> None:
    was = {view.url: view for view in before}
    for view in now:
        old = was.get(view.url)
        failed = old.failure if old is not None else None
        if view.failure is not None and (failed is None or _shape(failed) != _shape(view.failure)):
            _say(logging.WARNING, f"alerts are not taken: {view.failure.message}")
        elif view.is_up and (old is None or old.is_up is not True):
            log.info("alerts are taken by %s", view.url)


def _shape(failure: Failure) -> tuple[str, str]:
    """What is wrong, without how long already: that is no news."""
    return failure.kind, NUMBERS.sub("#", failure.message)


def _say(level: int, text: str) -> None:
    """One line, whatever an engine put into the text."""
    log.log(level, "%s", names.visible(text))
