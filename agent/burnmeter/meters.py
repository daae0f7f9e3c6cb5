"""What the meters of GPUs have come to since the agent started, whatever became of them. Pure.

A meter only grows, until the driver is loaded anew, the GPU is reset or its reader dies: then it
begins again from zero, and what it shows has grown since. Surprising: at first sight a meter has
grown by nothing. What it counted before is not of our time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from burnmeter.model import Figure, Gpu, Key

ENERGY: Final = Key("gpu_energy_joules_total", ())
SAMPLED_ENERGY: Final = Key("power_joules", ())
"""Energy by the samples of power, for a board whose driver does not count it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """By GPU's uuid, then by measure and own labels."""

    readings: Mapping[str, Mapping[Key, float]] = field(default_factory=dict)
    """As last read; of a GPU that does not answer, as last read before."""
    totals: Mapping[str, Mapping[Key, float]] = field(default_factory=dict)
    grown: Mapping[str, Mapping[Key, float]] = field(default_factory=dict)
    """At the last tick, of what was read."""

    def joules(self, uuid: str) -> float | None:
        """Energy that a GPU took in the last tick; None: not known.

        By the driver's counter. While that is silent nothing is added by power, as it will catch
        up by itself.
        """
        grown = self.grown.get(uuid, {})
        return grown.get(ENERGY, grown.get(SAMPLED_ENERGY) if self._is_sampled(uuid) else None)

    def total_joules(self, uuid: str) -> float | None:
        """The same since the agent started."""
        totals = self.totals.get(uuid, {})
        return totals.get(SAMPLED_ENERGY if self._is_sampled(uuid) else ENERGY)

    def figures(self, uuid: str) -> tuple[Figure, ...]:
        """All that is passed on of one GPU, as totals."""
        totals = self.totals.get(uuid, {})
        return tuple(
            Figure(key.measure, key.labels, value)
            for key, value in totals.items()
            if key not in (ENERGY, SAMPLED_ENERGY)
        )

    def _is_sampled(self, uuid: str) -> bool:
        return ENERGY not in self.readings.get(uuid, {})


def read(before: Meters, gpus: Iterable[Gpu]) -> Meters:
    """The meters after one more look at all GPUs."""
    readings, totals = dict(before.readings), dict(before.totals)
    grown: dict[str, Mapping[Key, float]] = {}
    for gpu in gpus:
        now = _shown(gpu)
        if now:
            last = before.readings.get(gpu.uuid, {})
            more = {key: _growth(value, last.get(key)) for key, value in now.items()}
            so_far = totals.get(gpu.uuid, {})
            totals[gpu.uuid] = {**so_far, **{k: so_far.get(k, 0.0) + n for k, n in more.items()}}
            readings[gpu.uuid] = {**last, **now}
            grown[gpu.uuid] = more if last else {}
    return Meters(readings=readings, totals=totals, grown=grown)


def _shown(gpu: Gpu) -> dict[Key, float]:
    """Every meter of a GPU, as it shows now."""
    if gpu.failure is not None:
        return {}
    shown: dict[Key, float | None] = {ENERGY: gpu.energy_joules, SAMPLED_ENERGY: gpu.power_joules}
    shown |= {Key(one.measure, one.labels): one.value for one in gpu.meters}
    return {key: value for key, value in shown.items() if value is not None}


def _growth(value: float, last: float | None) -> float:
    if last is None:
        return 0.0
    return value - last if value >= last else value
