"""A Snapshot -> what somebody must be told of at once, as alerts. Pure.

Only what a rule over a fleet sees late: an engine that is dead, stalled or ill, a GPU that is lost,
an XID that pages. Burning budgets are Prometheus' to tell, which sees all nodes. It sends nothing
and remembers nothing: alert_book.py and alertmanager.py do.

Surprising: what is not known is not over. An engine that was stalled and then cannot be read may
be stalled still; only a look that shows it well ends its alert.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from burnmeter import xids
from burnmeter.export import verdict, words
from burnmeter.snapshot import GpuView, Snapshot, TargetView, XidView

DOWN: Final = "BurnmeterEngineDown"
STALLED: Final = "BurnmeterEngineStalled"
ILL: Final = "BurnmeterEngineIll"
GPU_LOST: Final = "BurnmeterGpuLost"
XID: Final = "BurnmeterXid"
NAMES: Final = (DOWN, STALLED, ILL, GPU_LOST, XID)
"""As the generated rules call them, so that a receiver's routes need one set of names."""
ORIGIN: Final = "agent"
"""Value of the label `origin`: by it ours are told from Prometheus' of the same name."""
SEVERITY: Final = "page"
ABSENT_SECONDS: Final = 3600.0
"""For so long an alert lasts whose subject this agent does not see: as a dead engine is shown."""
Identity = tuple[str, str, str]
"""Name, target or GPU, and the XID's code; what an alert is told from others by, on one node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that needs somebody now."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    since_timestamp_seconds: float | None
    """Since when, as far as the Snapshot tells."""
    anchor: str
    """Where on the live page it is shown."""


def identity(labels: Mapping[str, str]) -> Identity:
    """What an alert is about, by its labels. Those that may change while it lasts are not in it."""
    subject = labels.get("target") or labels.get("gpu", "")
    return labels.get("alertname", ""), subject, labels.get("code", "")


def firing(snapshot: Snapshot) -> tuple[Alert, ...]:
    """All that is so now."""
    found = [alert for view in snapshot.targets for alert in _of_target(view, snapshot)]
    return (*found, *(alert for view in snapshot.gpus for alert in _of_gpu(view, snapshot)))


def is_over(
    labels: Mapping[str, str],
    since_timestamp_seconds: float,
    snapshot: Snapshot,
    settle_seconds: float = 0.0,
) -> bool:
    """Whether an alert that is not firing now is known to be over.

    `settle_seconds`: how long a new agent must look before it knows that an engine moves and is
    well; until then it has not seen that it does not.
    """
    name, subject, code = identity(labels)
    is_old = snapshot.timestamp_seconds - since_timestamp_seconds >= ABSENT_SECONDS
    if name in (DOWN, STALLED, ILL):
        view = next((one for one in snapshot.targets if one.target == subject), None)
        if view is None:
            return is_old
        age = snapshot.timestamp_seconds - snapshot.started_timestamp_seconds
        return _target_is_over(name, view, is_settled=age >= settle_seconds)
    gpu = next((one for one in snapshot.gpus if one.gpu.uuid == subject), None)
    if name == GPU_LOST:
        return is_old if gpu is None else gpu.is_up is True
    # An agent that began after the XID knows nothing of it.
    is_known = gpu is not None and any(str(xid.code) == code for xid in gpu.xids)
    return is_known or is_old


def _target_is_over(name: str, view: TargetView, *, is_settled: bool) -> bool:
    if verdict.target_state(view) == "resting":
        return True
    if name == DOWN:
        return view.is_up
    if view.is_down:  # The next alert says it.
        return True
    is_unknown = name == STALLED and view.is_stalled is None
    return view.is_up and is_settled and not is_unknown


# --- engines -------------------------------------------------------------------------------------


def _of_target(view: TargetView, snapshot: Snapshot) -> Iterator[Alert]:
    if verdict.target_state(view) == "resting":
        return
    if view.is_down:
        why = verdict.failure(view.failure)
        yield _target_alert(DOWN, view, snapshot, "is down", why, "down")
        return
    if view.is_stalled:
        why = "It holds requests and nothing moves."
        yield _target_alert(STALLED, view, snapshot, "is stalled", why, "stalled")
    if view.illness is not None:
        yield _target_alert(ILL, view, snapshot, "is not well", view.illness, "sick")


def _target_alert(
    name: str, view: TargetView, snapshot: Snapshot, what: str, why: str, event: str
) -> Alert:
    # As /metrics has it: of several models none is named.
    only = next(iter(view.models)) if len(view.models) == 1 else ""
    serves = f" ({words.some(list(view.models))})" if view.models else ""
    which = {"target": view.target, "engine": view.engine or "", "model": only}
    happened = [
        one.timestamp_seconds
        for one in snapshot.events
        if one.kind == event and one.subject == view.target
    ]
    return Alert(
        labels=_labels(name, snapshot, which),
        annotations={
            "summary": f"{view.target}{serves} {what} on {snapshot.node}",
            "description": why,
        },
        since_timestamp_seconds=happened[-1] if happened else None,
        anchor="targets",
    )


# --- GPUs ----------------------------------------------------------------------------------------


def _of_gpu(view: GpuView, snapshot: Snapshot) -> Iterator[Alert]:
    if view.is_up is False:
        yield _lost(view, snapshot)
    for xid in view.xids:
        last = xid.last_timestamp_seconds
        if xid.severity != SEVERITY or last is None:
            continue
        if snapshot.timestamp_seconds - last < verdict.XID_SECONDS:
            yield _xid(view, xid, last, snapshot)


def _lost(view: GpuView, snapshot: Snapshot) -> Alert:
    told = [one for one in snapshot.events if one.kind == "gpu_lost" and one.gpu == view.gpu.uuid]
    hit = f"; it served {words.some(list(told[-1].models))}" if told and told[-1].models else ""
    return Alert(
        labels=_labels(GPU_LOST, snapshot, {"gpu": view.gpu.uuid}),
        annotations={
            "summary": f"GPU {view.gpu.index} ({view.gpu.name}) is lost on {snapshot.node}",
            "description": f"{verdict.failure(view.gpu.failure)}{hit}",
        },
        since_timestamp_seconds=told[-1].timestamp_seconds if told else None,
        anchor="gpus",
    )


def _xid(view: GpuView, xid: XidView, last: float, snapshot: Snapshot) -> Alert:
    what = f"GPU {view.gpu.index} ({view.gpu.name}) had XID {xid.code}, {xid.name}"
    todo = xids.ACTIONS.get(xid.action, xid.action)
    return Alert(
        labels=_labels(XID, snapshot, {"gpu": view.gpu.uuid, "code": str(xid.code)}),
        annotations={
            "summary": f"{what}, on {snapshot.node}",
            "description": f"{xid.meaning} To do: {todo}",
        },
        since_timestamp_seconds=last,
        anchor="gpus",
    )


def _labels(name: str, snapshot: Snapshot, which: Mapping[str, str]) -> dict[str, str]:
    """Nothing in them changes when the agent or the engine starts anew; none is empty."""
    fixed = {"alertname": name, "severity": SEVERITY, "origin": ORIGIN, "node": snapshot.node}
    return {**fixed, **{key: value for key, value in which.items() if value}}
