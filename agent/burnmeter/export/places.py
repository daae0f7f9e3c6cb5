"""What stands where on the live page, and what leads to what: models, GPUs, targets, events.

Anchors are places in the Snapshot's own order, never names: a name from outside may be anything.
It draws nothing. What is no longer on the page has no anchor, and leads nowhere.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from burnmeter.snapshot import Event, GpuView, Snapshot

EVENTS_SHOWN: Final = 12
"""Of one model or of one GPU, the latest; all of them stand together below."""


class Way(NamedTuple):
    """A name that leads to something on the page, or nowhere."""

    name: str
    anchor: str | None


class GpuWay(NamedTuple):
    """A GPU that a model has, as a link."""

    name: str
    """Its index."""
    anchor: str
    state: str
    """failed, busy, idle or unattributed: what is shown as a shape."""


class Told(NamedTuple):
    """One event, with what it leads to."""

    event: Event
    subject: Way
    models: tuple[Way, ...]
    """Those that it hits, but for its subject."""


class Places(NamedTuple):
    """The anchors of one Snapshot, and its events by what they are about, the latest first."""

    models: Mapping[str, str]
    gpus: Mapping[str, str]
    targets: Mapping[str, str]
    events: tuple[Told, ...]
    of_model: Mapping[str, tuple[Told, ...]]
    of_gpu: Mapping[str, tuple[Told, ...]]
    gpus_of: Mapping[str, tuple[GpuWay, ...]]
    """Model -> the GPUs that it has."""


def places(snapshot: Snapshot) -> Places:
    """Where everything is."""
    models = {view.model: f"model-{place}" for place, view in enumerate(snapshot.models)}
    gpus = {view.gpu.uuid: f"gpu-{place}" for place, view in enumerate(snapshot.gpus)}
    targets = {view.target: f"target-{place}" for place, view in enumerate(snapshot.targets)}
    latest = sorted(snapshot.events, key=lambda event: -event.timestamp_seconds)
    told = tuple(_told(event, models, gpus, targets) for event in latest)
    return Places(
        models=models,
        gpus=gpus,
        targets=targets,
        events=told,
        of_model=_grouped((name, one) for one in told for name in _models(one.event, models)),
        of_gpu=_grouped((one.event.gpu, one) for one in told if one.event.gpu in gpus),
        gpus_of=_gpus_of(snapshot.gpus, gpus),
    )


def _told(
    event: Event, models: Mapping[str, str], gpus: Mapping[str, str], targets: Mapping[str, str]
) -> Told:
    subject = event.subject
    anchor = gpus.get(event.gpu) if event.gpu else models.get(subject) or targets.get(subject)
    hit = tuple(Way(name, models.get(name)) for name in event.models if name != subject)
    return Told(event, Way(subject, anchor), hit)


def _models(event: Event, known: Mapping[str, str]) -> Iterator[str]:
    """Those that it hits, and the one that it is about."""
    return iter(dict.fromkeys(n for n in (*event.models, event.subject) if n in known))


def _grouped(pairs: Iterable[tuple[str | None, Told]]) -> dict[str, tuple[Told, ...]]:
    found: dict[str, list[Told]] = {}
    for name, told in pairs:
        if name is not None:
            found.setdefault(name, []).append(told)
    return {name: tuple(all_) for name, all_ in found.items()}


def _gpus_of(views: Iterable[GpuView], anchors: Mapping[str, str]) -> dict[str, tuple[GpuWay, ...]]:
    found: dict[str, list[GpuWay]] = {}
    for view in views:
        states = dict[str, str]()
        for share in view.shares:
            if share.model and states.get(share.model) != "busy":
                states[share.model] = share.state
        for model, state in states.items():
            shown = "failed" if view.gpu.failure else state
            way = GpuWay(str(view.gpu.index), anchors[view.gpu.uuid], shown)
            found.setdefault(model, []).append(way)
    return {model: tuple(ways) for model, ways in found.items()}
