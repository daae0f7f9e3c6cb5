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
    """What has been spent since the agent started."""

    spends: Mapping[Share, Spend] = field(default_factory=dict)


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
    joules_by_gpu: Mapping[str, float | None],
) -> Purse:
    """The purse after `seconds` more, in which each GPU was had as `portions` say."""
    spends = dict(purse.spends)
    for gpu in gpus:
        joules = joules_by_gpu.get(gpu.uuid)
        price = dollars_per_hour.get(gpu.uuid)
        dollars = None if price is None else price * seconds / SECONDS_PER_HOUR
        for share, ratio in portions[gpu.uuid]:
            old = spends.get(share, Spend(0.0, None, None))
            spends[share] = Spend(
                old.gpu_seconds + seconds * ratio,
                _plus(old.joules, joules, ratio),
                _plus(old.dollars, dollars, ratio),
            )
    return Purse(spends=spends)


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


def _plus(old: float | None, more: float | None, ratio: float) -> float | None:
    if more is None:
        return old
    return (old or 0.0) + more * ratio
