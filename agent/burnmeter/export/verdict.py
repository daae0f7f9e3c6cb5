"""What a Snapshot says in one sentence, and what of it somebody must act on.

Shared by all that speaks to people. It judges nothing itself: states and reasons come from slo, and
here they are only put in an order and into words.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from burnmeter import xids
from burnmeter.export import words
from burnmeter.model import FAILURE_KINDS, Burn, Failure
from burnmeter.snapshot import GpuView, ModelView, Snapshot, TargetView

XID_SECONDS: Final = 3600.0
"""How long an XID needs somebody, if nothing else tells of it."""


class Verdict(NamedTuple):
    """The node in one sentence."""

    state: str
    text: str


def verdict(snapshot: Snapshot) -> Verdict:
    """The worst state of the node's models, with who and why."""
    models = snapshot.models
    if len(models) == 1:
        return _verdict_of_one(models[0], snapshot.burns)
    burning = [model for model in models if model.state == "burning"]
    unknown = [model for model in models if model.state not in ("burning", "good")]
    if burning:
        return Verdict("burning", _burning_of_many(burning, len(models), snapshot.burns))
    if unknown:
        names = words.some([model.model for model in unknown])
        verb = "is" if len(unknown) == 1 else "are"
        text = f"{len(unknown)} of {len(models)} models {verb} not measured: {names}"
        return Verdict("not_measured", text)
    if models:
        return Verdict("good", f"All {len(models)} models are good enough right now")
    if snapshot.targets:
        return Verdict("not_measured", "No engine on this node answers")
    return Verdict("not_measured", "No engine was found on this node")


def _verdict_of_one(model: ModelView, burns: Iterable[Burn]) -> Verdict:
    if model.state == "burning":
        causes = _causes(model, burns)
        verb = "is burning its budget" if causes else "needs you"
        why = words.some(causes) if causes else _trouble(model)
        return Verdict("burning", f"{model.model} {verb}: {why}")
    if model.state == "good":
        return Verdict("good", f"{model.model} is good enough right now")
    return Verdict("not_measured", f"{model.model} is not measured")


def _burning_of_many(burning: Sequence[ModelView], of: int, burns: Sequence[Burn]) -> str:
    causes = [_causes(model, burns) for model in burning]
    one = len(burning) == 1
    if all(causes):
        verb = "is burning its budget" if one else "are burning their budgets"
    else:  # What is dead or ill spends no budget that was measured yet.
        verb = "needs you" if one else "need you"
    names = [
        f"{model.model} ({words.some(why) if why else _trouble(model)})"
        for model, why in zip(burning, causes, strict=True)
    ]
    return f"{len(burning)} of {of} models {verb}: {words.some(names)}"


def _trouble(model: ModelView) -> str:
    """What is wrong where no objective burns, without the details: `gateway gw is down`."""
    return model.reason.partition(": ")[0]


def _causes(model: ModelView, burns: Iterable[Burn]) -> list[str]:
    return [
        words.objective(burn.objective)
        for burn in burns
        if burn.model == model.model and burn.state == "burning"
    ]


class Attention(NamedTuple):
    """One thing that somebody must look at, worst first."""

    kind: str
    """page, ticket, or look."""
    subject: str
    text: str
    anchor: str


URGENCY: Final = {"page": 0, "ticket": 1, "look": 2}


def attention(snapshot: Snapshot) -> list[Attention]:
    """Everything that is wrong and has an owner: budgets, engines, GPUs, the agent itself."""
    found = [
        *_burning_objectives(snapshot),
        *_failing_parts(snapshot),
        *(
            Attention("look", "burnmeter", f"reached its limit {name}, {times} times", "agent")
            for name, times in snapshot.health.limits_reached.items()
            if times
        ),
    ]
    return sorted(found, key=lambda item: URGENCY.get(item.kind, len(URGENCY)))


def _burning_objectives(snapshot: Snapshot) -> list[Attention]:
    place = {view.model: index for index, view in enumerate(snapshot.models)}
    return [
        Attention(
            burn.severity or "look",
            burn.model,
            f"{words.objective(burn.objective)}: {burn.reason}",
            f"model-{place[burn.model]}" if burn.model in place else "models",
        )
        for burn in snapshot.burns
        if burn.state == "burning"
    ]


def _failing_parts(snapshot: Snapshot) -> Iterable[Attention]:
    for place, view in enumerate(snapshot.targets):
        text = _target_trouble(view)
        if text is not None:
            yield Attention("look", view.target, text, f"target-{place}")
    yield from _failing_gpus(snapshot)
    for told in snapshot.alertmanagers:
        if told.failure is not None:
            yield Attention("look", "alerts", f"are not taken: {failure(told.failure)}", "agent")
    for source in snapshot.sources:
        if source.failure is not None and source.failure.kind != "disabled":
            text = f"cannot be read: {failure(source.failure)}"
            yield Attention("look", source.source, text, "sources")


def _target_trouble(view: TargetView) -> str | None:
    if _is_resting(view):
        return None
    if not view.is_up:
        return f"is down: {failure(view.failure)}"
    if view.illness is not None:
        return f"is not well: {view.illness}"
    if view.is_stalled:
        return "is stalled: no token moves"
    return "is not believed: its page stands still while its GPUs work" if view.is_stale else None


def _failing_gpus(snapshot: Snapshot) -> Iterable[Attention]:
    """Once for all GPUs of which the same is to be said; it leads to the first of them."""
    alike: dict[tuple[str, str], list[int]] = {}
    for place, view in enumerate(snapshot.gpus):
        for trouble in troubles(view, snapshot.timestamp_seconds):
            alike.setdefault(trouble, []).append(place)
    for (kind, text), found in alike.items():
        indices = [str(snapshot.gpus[place].gpu.index) for place in found]
        subject = f"GPU {words.some(indices, len(indices))}"
        yield Attention(kind, subject, text, f"gpu-{found[0]}")


def troubles(view: GpuView, now_seconds: float) -> Iterable[tuple[str, str]]:
    """What is wrong with a GPU: how urgent, and what; an XID by its severity."""
    if view.gpu.failure is not None:
        yield "look", failure(view.gpu.failure)
    if (asked := recovery(view)) is not None:
        yield "look", f"the driver asks for a recovery: {asked}"
    for xid in view.xids:
        last = xid.last_timestamp_seconds
        is_recent = last is None or now_seconds - last < XID_SECONDS
        if is_recent and xid.severity in URGENCY:
            text = f"XID {xid.code}, {xid.name}: {xids.ACTIONS.get(xid.action, xid.action)}"
            yield xid.severity, text
    if view.throttled_by:
        reasons = words.some([reason.replace("_", " ") for reason in view.throttled_by])
        yield "look", f"clocks are held down: {reasons}"


def recovery(view: GpuView) -> str | None:
    """What the driver asks to be done with a GPU, in words. None: nothing."""
    word = view.gpu.recovery_action
    if word is None or word == "none":
        return None
    meanings = {one.word: one.meaning for one in xids.RECOVERIES.values()}
    return meanings.get(word, "One that burnmeter does not know; see `nvidia-smi -q`.")


def failure(value: Failure | None) -> str:
    """Why a source gave nothing, in words."""
    if value is None:
        return "no reason is known"
    return value.message or FAILURE_KINDS.get(value.kind, value.kind)


class Counts(NamedTuple):
    """How many of each, in words, for the headings."""

    gpus: str
    targets: str


def counts(snapshot: Snapshot) -> Counts:
    """GPUs by what they do, and targets by how they are."""
    return Counts(
        gpus=_tally(gpu_state(view) for view in snapshot.gpus),
        targets=_tally(target_state(view) for view in snapshot.targets),
    )


def _tally(states: Iterable[str]) -> str:
    return ", ".join(f"{times} {state}" for state, times in Counter(states).items())


_DOING: Final = {"unknown": "not known to be busy or idle"}


def gpu_state(view: GpuView) -> str:
    """busy, idle, unattributed, or that nobody can tell."""
    if view.gpu.failure is not None:
        return "not answering"
    states = {share.state for share in view.shares}
    known = ("busy", "idle", "unknown")
    return next((_DOING.get(s, s) for s in known if s in states), "unattributed")


def target_state(view: TargetView) -> str:
    """up, down, resting (switched off, or at a bound that was set for it), or what is wrong."""
    if not view.is_up:
        return "resting" if _is_resting(view) else "down"
    if view.illness is not None:
        return "ill"
    if view.is_stalled:
        return "stalled"
    return "stale" if view.is_stale else "up"


def _is_resting(view: TargetView) -> bool:
    """It does as it was told: nobody need look."""
    return view.failure is not None and view.failure.kind == "disabled"
