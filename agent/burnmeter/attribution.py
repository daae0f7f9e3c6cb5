"""GPU seconds, joules and dollars -> who had them, doing what. Pure.

A GPU belongs to the engine whose process tree holds it. What several engines hold is split evenly,
and says so; what nobody known holds is unattributed. Every GPU that was ever seen goes on being
paid for, also while the driver is silent, so the parts always sum to the bill.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from burnmeter.model import Gpu, Process, Share, Spend
from burnmeter.tree import ancestors
from burnmeter.units import SECONDS_PER_HOUR


class Tenant(NamedTuple):
    """One engine that may hold GPUs. `is_busy` None: not known."""

    target: str
    model: str
    pid: int | None
    is_busy: bool | None


class Portion(NamedTuple):
    """A share and how much of the GPU it has, 0 to 1."""

    share: Share
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What has been spent since the agent started, and the meter readings it was counted from."""

    spends: Mapping[Share, Spend] = field(default_factory=dict)
    energy_joules: Mapping[str, float] = field(default_factory=dict)
    """GPU -> its total since the agent started."""
    meters_joules: Mapping[str, float] = field(default_factory=dict)
    """GPU -> the driver's counter at the last look."""


def divide(
    gpus: Sequence[Gpu], tenants: Sequence[Tenant], processes: Mapping[int, Process]
) -> dict[str, tuple[Portion, ...]]:
    """GPU -> who has it now. Each GPU's ratios sum to 1."""
    return {gpu.uuid: _portions(gpu, tenants, processes) for gpu in gpus}


def _portions(
    gpu: Gpu, tenants: Sequence[Tenant], processes: Mapping[int, Process]
) -> tuple[Portion, ...]:
    pids = [] if gpu.failure is not None else [process.pid for process in gpu.processes or ()]
    # From the few holders up, not from each engine down: a node has thousands of processes.
    lines = {pid for holder in pids for pid in (holder, *ancestors(holder, processes))}
    found = [tenant for tenant in tenants if tenant.pid in lines]
    if not found:
        return (Portion(Share(gpu.uuid, "", "", "unattributed", "none"), 1.0),)
    method = "process_tree" if len(found) == 1 else "equal_split"
    return tuple(
        Portion(Share(gpu.uuid, t.model, t.target, _state(t), method), 1.0 / len(found))
        for t in found
    )


def _state(tenant: Tenant) -> str:
    if tenant.is_busy is None:
        return "unknown"
    return "busy" if tenant.is_busy else "idle"


def accrue(
    purse: Purse,
    seconds: float,
    gpus: Sequence[Gpu],
    portions: Mapping[str, Sequence[Portion]],
    dollars_per_hour: Mapping[str, float | None],
) -> Purse:
    """The purse after `seconds` more, in which each GPU was had as `portions` say."""
    spends = dict(purse.spends)
    energy, meters = dict(purse.energy_joules), dict(purse.meters_joules)
    for gpu in gpus:
        joules = _joules(gpu, meters.get(gpu.uuid), seconds)
        if gpu.energy_joules is not None:
            meters[gpu.uuid] = gpu.energy_joules
        if joules is not None:
            energy[gpu.uuid] = energy.get(gpu.uuid, 0.0) + joules
        price = dollars_per_hour.get(gpu.uuid)
        dollars = None if price is None else price * seconds / SECONDS_PER_HOUR
        for share, ratio in portions[gpu.uuid]:
            old = spends.get(share, Spend(0.0, None, None))
            spends[share] = Spend(
                old.gpu_seconds + seconds * ratio,
                _plus(old.joules, joules, ratio),
                _plus(old.dollars, dollars, ratio),
            )
    return Purse(spends=spends, energy_joules=energy, meters_joules=meters)


def fold(purse: Purse, held: Mapping[str, Collection[str]]) -> Purse:
    """The purse with what its targets' forgotten models had used put under no model.

    Not one is lost of what was spent. A rate over the shares of no model jumps when this happens;
    a named model's never does.
    """
    spends: dict[Share, Spend] = {}
    for share, spend in purse.spends.items():
        if share.target in held and share.model not in held[share.target]:
            share = share._replace(model="")
        old = spends.get(share)
        spends[share] = spend if old is None else _together(old, spend)
    return replace(purse, spends=spends)


def _together(one: Spend, other: Spend) -> Spend:
    return Spend(
        one.gpu_seconds + other.gpu_seconds,
        _plus(one.joules, other.joules, 1.0),
        _plus(one.dollars, other.dollars, 1.0),
    )


def _joules(gpu: Gpu, meter_joules: float | None, seconds: float) -> float | None:
    """By the driver's counter; a counter that fell began again with the driver; else by power."""
    if gpu.failure is not None:
        return None
    if gpu.energy_joules is not None and meter_joules is not None:
        grown = gpu.energy_joules - meter_joules
        return grown if grown >= 0 else gpu.energy_joules
    # Once there was a counter it catches up by itself: power beside it would count time twice.
    if meter_joules is None and gpu.energy_joules is None and gpu.power_watts is not None:
        return gpu.power_watts * seconds
    return None


def _plus(old: float | None, more: float | None, ratio: float) -> float | None:
    if more is None:
        return old
    return (old or 0.0) + more * ratio
