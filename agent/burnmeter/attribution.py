"""GPU seconds, joules and dollars -> who had them, doing what. Pure.

A GPU belongs to whoever owns the processes on it (owners.py). What several hold is split by how
much each computed, else by memory, else evenly, and says so; a divided one (MIG) by its slices;
what nobody known holds is unattributed. Every GPU that was ever seen goes on being paid for, also
while the driver is silent, so the parts always sum to the bill.

Surprising: whoever held a GPU before the driver fell silent holds it still, as long as that process
lives: memory on a GPU is not let go otherwise. A GPU that fell off the bus is nobody's.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, NamedTuple

from burnmeter import owners
from burnmeter.meters import Energy
from burnmeter.model import Gpu, GpuProcess, Process, Share, Spend
from burnmeter.owners import Kin, Owner
from burnmeter.pricing import Price

METHODS: Final = {
    **owners.METHODS,
    "last_seen": "as the driver last said; it is silent, and the process lives",
    "mig_slices": "by the compute slices of its MIG instance; of energy a guess",
    "sm_utilisation": "shared; by the SM time of each process, as the driver samples it",
    "memory": "shared; by the memory of each process, a guess",
    "equal": "shared; evenly, a guess",
    "none": "no engine is known to hold it",
}
"""How an attribution was made."""
SMALL_RATIO: Final = 0.05
"""What holds and computes less than this of a GPU beside an engine (a display, a monitor) is
passed over: the engine has the GPU for itself."""
NOTHING: Final = Spend(0.0, None, None)


class Portion(NamedTuple):
    """A share and how much of the GPU it has, 0 to 1."""

    share: Share
    ratio: float


class Held(NamedTuple):
    """A process that holds a GPU, and since when that process is."""

    process: GpuProcess
    started_timestamp_seconds: float | None
    is_current: bool
    """False: the driver said so once, and is silent now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What has been spent since the agent started."""

    spends: Mapping[Share, Spend] = field(default_factory=dict)
    """What was used last stands last."""
    node: Spend = NOTHING
    """All GPUs together, not made of the parts."""
    overflows: int = 0
    """Times that what was used least recently was put under no model."""


# --- who has it ----------------------------------------------------------------------------------


def holders(
    was: Mapping[str, Sequence[Held]], gpus: Iterable[Gpu], processes: Mapping[int, Process]
) -> dict[str, tuple[Held, ...]]:
    """GPU -> the processes on it; while the driver does not say, those that were and still live."""
    found: dict[str, tuple[Held, ...]] = {}
    for gpu in gpus:
        if gpu.processes is not None and gpu.failure is None:
            found[gpu.uuid] = tuple(
                Held(one, _started(one.pid, processes), True) for one in gpu.processes
            )
        elif gpu.failure is None or gpu.failure.kind != "gone":
            found[gpu.uuid] = tuple(
                one._replace(is_current=False)
                for one in was.get(gpu.uuid, ())
                if one.started_timestamp_seconds is not None
                and one.started_timestamp_seconds == _started(one.process.pid, processes)
            )
    return found


def _started(pid: int, processes: Mapping[int, Process]) -> float | None:
    process = processes.get(pid)
    return process.started_timestamp_seconds if process is not None else None


def divide(
    gpus: Iterable[Gpu], held: Mapping[str, Sequence[Held]], kin: Kin
) -> dict[str, tuple[Portion, ...]]:
    """GPU -> who has it now. Each GPU's ratios sum to 1."""
    return {gpu.uuid: _portions(gpu, held.get(gpu.uuid, ()), kin) for gpu in gpus}


def _portions(gpu: Gpu, held: Sequence[Held], kin: Kin) -> tuple[Portion, ...]:
    if gpu.instances is None:
        return tuple(_split(gpu.uuid, held, kin, 1.0, None))
    found: list[Portion] = []
    for instance in gpu.instances:
        if instance.compute_ratio is not None:
            on_it = [one for one in held if one.process.instance == instance.uuid]
            found += _split(gpu.uuid, on_it, kin, instance.compute_ratio, "mig_slices")
    left = 1.0 - sum(portion.ratio for portion in found)
    # Slices that are no instance's are nobody's; instances cannot be more than the whole.
    found = found if left >= 0 else [Portion(p.share, p.ratio / (1.0 - left)) for p in found]
    rest = [Portion(Share(gpu.uuid, "", "", "unattributed", "none"), left)] if left > 1e-12 else []
    return _merged([*found, *rest])


def _merged(found: Sequence[Portion]) -> tuple[Portion, ...]:
    """Two instances of one owner are one share."""
    ratios: dict[Share, float] = {}
    for share, ratio in found:
        ratios[share] = ratios.get(share, 0.0) + ratio
    return tuple(Portion(share, ratio) for share, ratio in ratios.items())


Claim = tuple[Owner | None, str, str]
"""An owner, None if nobody is known; and the namespace and name of the pod."""


def _split(
    uuid: str, held: Sequence[Held], kin: Kin, whole: float, alone: str | None
) -> Iterable[Portion]:
    """`whole` of a GPU among those that hold it. `alone`: the method if one does, else its own."""
    claims = _claims(held, kin)
    known = {claim for claim in claims if claim[0] is not None}
    weights, method = _weights(claims)
    total = sum(weights.values())
    if known:
        large = {c: w for c, w in weights.items() if c in known or w > SMALL_RATIO * total}
        weights, total = large, sum(large.values())
    if len(weights) > 1 and total > 0:
        for claim, weight in weights.items():
            if weight > 0:
                yield Portion(_share(uuid, claim, method), whole * weight / total)
        return
    claim = next(iter(known or claims), (None, "", ""))
    owner = claim[0]
    is_old = any(not one.is_current for one in held)
    method = "none" if owner is None else alone or ("last_seen" if is_old else owner.method)
    yield Portion(_share(uuid, claim, method), whole)


def _claims(held: Sequence[Held], kin: Kin) -> dict[Claim, list[GpuProcess]]:
    """Who claims which processes. What cannot be told apart is everybody's, in equal parts."""
    found: dict[Claim, list[GpuProcess]] = {}
    for one in held:
        pod = kin.place(one.process.pid)
        whose: tuple[Owner | None, ...] = kin.owners(one.process.pid) or (None,)
        for owner in whose:
            part = _part(one.process, len(whose))
            found.setdefault((owner, pod.namespace, pod.name), []).append(part)
    return found


def _part(process: GpuProcess, of: int) -> GpuProcess:
    memory, computed = process.memory_bytes, process.sm_ratio
    return replace(
        process,
        memory_bytes=None if memory is None or of > 1 else memory,
        sm_ratio=None if computed is None or of > 1 else computed,
    )


def _weights(claims: Mapping[Claim, Sequence[GpuProcess]]) -> tuple[dict[Claim, float], str]:
    """What each claim weighs, by the best that is known of all their processes."""
    # Of a GPU that does next to nothing, who computed says nothing of whose it is.
    for method, what, least in (
        ("sm_utilisation", _computed, SMALL_RATIO),
        ("memory", _memory, 0.0),
    ):
        values = {claim: [what(one) for one in of] for claim, of in claims.items()}
        known = {c: sum(v for v in of if v is not None) for c, of in values.items()}
        if all(v is not None for of in values.values() for v in of) and sum(known.values()) > least:
            return known, method
    # Strangers have no claim to an even part: nobody knows whether they compute at all.
    engines = [claim for claim in claims if claim[0] is not None]
    return dict.fromkeys(engines or claims, 1.0), "equal"


def _computed(process: GpuProcess) -> float | None:
    return process.sm_ratio


def _memory(process: GpuProcess) -> float | None:
    return process.memory_bytes


def _share(uuid: str, claim: Claim, method: str) -> Share:
    owner, namespace, pod = claim
    if owner is None:
        return Share(uuid, "", "", "unattributed", method, namespace, pod)
    state = "unknown" if owner.is_busy is None else "busy" if owner.is_busy else "idle"
    return Share(uuid, owner.model, owner.target, state, method, namespace, pod)


# --- what it used --------------------------------------------------------------------------------


def accrue(
    purse: Purse,
    seconds: float,
    gpus: Sequence[Gpu],
    portions: Mapping[str, Sequence[Portion]],
    prices: Mapping[str, Price | None],
    energies: Mapping[str, Energy],
) -> Purse:
    """The purse after `seconds` more, in which each GPU was had as `portions` say.

    Prices and energies are by GPU.
    """
    spends, node = dict(purse.spends), purse.node
    for gpu in gpus:
        used = _used(seconds, prices.get(gpu.uuid), energies.get(gpu.uuid))
        node = _plus(node, used, 1.0)
        for share, ratio in portions[gpu.uuid]:
            # Taken out and put in again, so that what was used last stands last.
            spends[share] = _plus(spends.pop(share, NOTHING), used, ratio)
    return replace(purse, spends=spends, node=node)


def _used(seconds: float, price: Price | None, energy: Energy | None) -> Spend:
    """By a whole GPU. What its power costs is known as its energy is, where that is told at all."""
    joules, metered_seconds = energy or (None, 0.0)
    if price is None:
        return Spend(seconds, joules, None, metered_seconds)
    is_by_energy = price.dollars_per_joule > 0 and energy is not None
    return Spend(
        gpu_seconds=seconds,
        joules=joules,
        dollars=price.dollars(seconds, joules),
        metered_seconds=metered_seconds,
        priced_seconds=metered_seconds if is_by_energy else seconds,
    )


def unsure(portions: Mapping[str, Sequence[Portion]]) -> dict[str, tuple[Portion, ...]]:
    """The same with nobody knowing whether there was work: of a time in which none looked."""
    return {uuid: _merged([_unsure(one) for one in of]) for uuid, of in portions.items()}


def _unsure(portion: Portion) -> Portion:
    share, ratio = portion
    is_known = share.state in ("busy", "idle")
    return Portion(share._replace(state="unknown") if is_known else share, ratio)


def fold(purse: Purse, held: Mapping[str, Collection[str]]) -> Purse:
    """The purse with what its targets' forgotten models had used put under no model.

    Not one is lost of what was spent. A rate over the shares of no model jumps when this happens;
    a named model's never does.
    """

    def kept(share: Share) -> Share:
        is_forgotten = share.target in held and share.model not in held[share.target]
        return share._replace(model="") if is_forgotten else share

    return _renamed(purse, {share: kept(share) for share in purse.spends})


def bound(purse: Purse, most: int, used: Collection[Share]) -> Purse:
    """The purse with at most `most` shares, or those that are `used` now if these are more.

    What was used least recently is put under no model, as what is forgotten is: under the name of
    one it would come upon its total at once, and a rate would take it for new.
    """
    beyond = len(purse.spends) - most
    old = [share for share in purse.spends if share.model and share not in used]
    if beyond <= 0 or not old:
        return purse
    names = {share: share for share in purse.spends}
    names |= {one: _nobodys(one) for one in islice(old, beyond)}
    return replace(_renamed(purse, names), overflows=purse.overflows + 1)


def _nobodys(share: Share) -> Share:
    return share._replace(model="", target="", namespace="", pod="")


def _renamed(purse: Purse, names: Mapping[Share, Share]) -> Purse:
    if all(share is name for share, name in names.items()):
        return purse
    spends: dict[Share, Spend] = {}
    for share, spend in purse.spends.items():
        spends[names[share]] = _plus(spends.get(names[share], NOTHING), spend, 1.0)
    return replace(purse, spends=spends)


def total(spends: Iterable[Spend]) -> Spend:
    """All of them together."""
    found = NOTHING
    for spend in spends:
        found = _plus(found, spend, 1.0)
    return found


def since(now: Spend, then: Spend | None) -> Spend:
    """What was used between two moments."""
    return now if then is None else _plus(now, then, -1.0)


def _plus(old: Spend, more: Spend, ratio: float) -> Spend:
    return Spend(
        old.gpu_seconds + more.gpu_seconds * ratio,
        _sum(old.joules, more.joules, ratio),
        _sum(old.dollars, more.dollars, ratio),
        old.metered_seconds + more.metered_seconds * ratio,
        old.priced_seconds + more.priced_seconds * ratio,
    )


def _sum(old: float | None, more: float | None, ratio: float) -> float | None:
    return old if more is None else (old or 0.0) + more * ratio
