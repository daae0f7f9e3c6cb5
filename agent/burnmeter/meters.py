"""What the meters of GPUs have come to since the agent started, whatever became of them. Pure.

A meter only grows, until the driver is loaded anew, the GPU is reset or its reader dies: then it
begins again from zero, and what it shows has grown since. Surprising: at first sight a meter has
grown by nothing. What it counted before is not of our time.

Energy is more than passed on, as it is divided and billed: it is known for how long it was counted,
since a driver that was silent tells all at once, and more than a board can draw is not believed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from burnmeter.model import Figure, Gpu, Key

ENERGY: Final = Key("gpu_energy_joules_total", ())
SAMPLED_ENERGY: Final = Key("power_joules", ())
"""Energy by the samples of power, for a board whose driver does not count it."""
MOST_WATTS: Final = 10_000.0
"""More than any board draws, for one that does not say where its limit is."""
LIMITS: Final = 2.0
"""So many times its limit no board draws over a tick, also not as a spike."""


class Energy(NamedTuple):
    """What a GPU took."""

    joules: float | None
    """None: not known yet; what counts it is silent, and will catch up by itself."""
    seconds: float
    """In how long: this tick, and those before it in which nobody told."""


class Waited(NamedTuple):
    """For how long nobody has told the energy of a GPU."""

    silent_seconds: float = 0.0
    gone_seconds: float = 0.0
    """Of it in which it was not there: that time is no engine's, whatever it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """By GPU's uuid, then by measure and own labels."""

    readings: Mapping[str, Mapping[Key, float]] = field(default_factory=dict)
    """As last read; of a GPU that does not answer, as last read before."""
    totals: Mapping[str, Mapping[Key, float]] = field(default_factory=dict)
    grown: Mapping[str, Mapping[Key, float]] = field(default_factory=dict)
    """At the last tick, of what was read."""
    energy: Mapping[str, Energy] = field(default_factory=dict)
    """At the last tick, of GPUs whose energy is told at all."""
    joules: Mapping[str, float] = field(default_factory=dict)
    """Energy since the agent started."""
    waited: Mapping[str, Waited] = field(default_factory=dict)

    def figures(self, uuid: str) -> tuple[Figure, ...]:
        """All that is passed on of one GPU, as totals."""
        totals = self.totals.get(uuid, {})
        return tuple(
            Figure(key.measure, key.labels, value)
            for key, value in totals.items()
            if key not in (ENERGY, SAMPLED_ENERGY)
        )


def read(before: Meters, gpus: Iterable[Gpu], seconds: float) -> Meters:
    """The meters after one more look at all GPUs, `seconds` after the last."""
    readings, totals, joules = dict(before.readings), dict(before.totals), dict(before.joules)
    grown: dict[str, Mapping[Key, float]] = {}
    energy: dict[str, Energy] = {}
    waited: dict[str, Waited] = {}
    for gpu in gpus:
        now, last = _shown(gpu), before.readings.get(gpu.uuid, {})
        more = {key: _growth(value, last.get(key)) for key, value in now.items()}
        so_long = before.waited.get(gpu.uuid, Waited())
        told = _energy(gpu, more, last, seconds, so_long)
        if told is not None:
            energy[gpu.uuid] = told
        if told is not None and told.joules is None:
            waited[gpu.uuid] = _longer(so_long, gpu, seconds)
        elif now.keys() & {ENERGY, SAMPLED_ENERGY}:
            so_far_joules = joules.get(gpu.uuid, 0.0)
            joules[gpu.uuid] = so_far_joules + ((told.joules or 0.0) if told else 0.0)
        if now:
            so_far = totals.get(gpu.uuid, {})
            totals[gpu.uuid] = {**so_far, **{k: so_far.get(k, 0.0) + n for k, n in more.items()}}
            readings[gpu.uuid] = {**last, **now}
            grown[gpu.uuid] = more if last else {}
    return Meters(
        readings=readings,
        totals=totals,
        grown=grown,
        energy=energy,
        joules=joules,
        waited=waited,
    )


def _shown(gpu: Gpu) -> dict[Key, float]:
    """Every meter of a GPU, as it shows now."""
    if gpu.failure is not None:
        return {}
    shown: dict[Key, float | None] = {ENERGY: gpu.energy_joules, SAMPLED_ENERGY: gpu.power_joules}
    shown |= {Key(one.measure, one.labels): one.value for one in gpu.meters}
    return {key: value for key, value in shown.items() if value is not None}


def _energy(
    gpu: Gpu,
    more: Mapping[Key, float],
    last: Mapping[Key, float],
    seconds: float,
    waited: Waited,
) -> Energy | None:
    """By the driver's counter, else by our samples, which know nothing of what they missed.

    None: nobody has told it before, or it cannot be believed.
    """
    if ENERGY in last:
        if ENERGY not in more:
            return Energy(None, 0.0)
        most_watts = LIMITS * gpu.power_limit_watts if gpu.power_limit_watts else MOST_WATTS
        is_likely = more[ENERGY] <= most_watts * (sum(waited) + seconds)
        return Energy(more[ENERGY], waited.silent_seconds + seconds) if is_likely else None
    if SAMPLED_ENERGY in last:
        joules = more.get(SAMPLED_ENERGY)
        return Energy(joules, seconds if joules is not None else 0.0)
    return None


def _longer(so_long: Waited, gpu: Gpu, seconds: float) -> Waited:
    if gpu.failure is not None and gpu.failure.kind == "gone":
        return so_long._replace(gone_seconds=so_long.gone_seconds + seconds)
    return so_long._replace(silent_seconds=so_long.silent_seconds + seconds)


def _growth(value: float, last: float | None) -> float:
    if last is None:
        return 0.0
    return value - last if value >= last else value
