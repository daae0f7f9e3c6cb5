"""What the views of one tick share: who burns, what is told of it, and the past. Pure.

views.py builds on it. Surprising: what burns is told only when it begins or ends, so a frame needs
the one before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from burnmeter import slo
from burnmeter.model import Burn, Gpu, Objective
from burnmeter.snapshot import Event, GpuPoint, ModelView, Point
from burnmeter.state import Settings, State

HISTORY_STEP_SECONDS: Final = 15.0
HISTORY_POINTS: Final = 120

Moment = TypeVar("Moment", bound=Point | GpuPoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the views of one tick share."""

    state: State
    settings: Settings
    timestamp_seconds: float
    at_seconds: float
    burns: tuple[Burn, ...]
    history: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    """By model."""
    gpu_history: Mapping[str, tuple[GpuPoint, ...]] = field(default_factory=dict)
    """By the GPU's uuid."""


def burns(state: State, objectives: Iterable[Objective]) -> tuple[Burn, ...]:
    """Every objective on every model it is about."""
    by_name = {objective.name: objective for objective in objectives}
    return tuple(
        replace(
            slo.burn(by_name[name], model, kept.ledger, unmeasured=kept.unmeasured),
            source=kept.source,
            tallies=kept.tallies,
            watched_seconds=kept.watched_seconds,
        )
        for (name, model), kept in sorted(state.shown.items(), key=lambda item: item[0])
        if name in by_name
    )


def burn_events(
    before: Sequence[Burn], after: Sequence[Burn], timestamp_seconds: float
) -> tuple[Event, ...]:
    """What began or ceased to burn between two ticks; what cannot be told is not recovered."""
    was = {(b.objective.name, b.model): b.state for b in before}
    found = []
    for burn in after:
        old = was.get((burn.objective.name, burn.model))
        if (burn.state == "burning") == (old == "burning"):
            continue
        kind = "recovered" if burn.state == "good" else burn.state
        text = f"{burn.objective.name}: {burn.reason}"
        found.append(
            Event(
                timestamp_seconds=timestamp_seconds,
                kind=kind,
                subject=burn.model,
                text=text,
                models=(burn.model,),
            )
        )
    return tuple(found)


def grouped(burns_: Sequence[Burn]) -> dict[str, tuple[Burn, ...]]:
    """Grouped once: a model that looks through everybody's burns takes the square of them all."""
    found: dict[str, list[Burn]] = {}
    for burn in burns_:
        found.setdefault(burn.model, []).append(burn)
    return {model: tuple(ours) for model, ours in found.items()}


def point(view: ModelView, burns_: Sequence[Burn], timestamp_seconds: float) -> Point:
    """A model's moment, for its small charts."""
    ttft = view.latencies.get("ttft")
    p95 = ttft.quantiles.get("p95") if ttft else None
    fast = [b.windows[0] for b in burns_ if b.model == view.model and b.windows]
    lower = [window.burn_lower for window in fast if window.burn_lower is not None]
    upper = [window.burn_upper for window in fast if window.burn_upper is not None]
    return Point(
        timestamp_seconds,
        view.generated_tokens_per_second,
        p95.upper_seconds if p95 else None,
        view.error_ratio_upper,
        max(lower, default=None),
        max(upper, default=None),
    )


def gpu_point(gpu: Gpu, timestamp_seconds: float) -> GpuPoint:
    """A GPU's moment, for its small charts."""
    return GpuPoint(timestamp_seconds, gpu.utilisation_ratio, gpu.power_watts)


def lengthen(
    history: Mapping[str, tuple[Moment, ...]], points: Mapping[str, Moment]
) -> dict[str, tuple[Moment, ...]]:
    """The history with one more point each, if the last is old enough; the latest always shows.

    What has no point now has no history any more.
    """
    longer: dict[str, tuple[Moment, ...]] = {}
    for name, latest in points.items():
        old = history.get(name, ())
        fixed = old[:-1] if len(old) > 1 and _too_close(old[-2], old[-1]) else old
        longer[name] = (*fixed, latest)[-HISTORY_POINTS:]
    return longer


def _too_close(one: Point | GpuPoint, other: Point | GpuPoint) -> bool:
    """A wall clock that was set back must not stop the history until it has caught up."""
    return 0 <= other.timestamp_seconds - one.timestamp_seconds < HISTORY_STEP_SECONDS
