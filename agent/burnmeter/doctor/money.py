"""What stands between this node and the cost of a token: prices, owners, what models are. Pure."""

from collections.abc import Collection, Iterator, Mapping
from itertools import takewhile

from burnmeter.bill import COST, NO_GPU, UNCOUNTED
from burnmeter.doctor.finding import Finding, Glance
from burnmeter.model import Gpu, Process

COMMAND_SHOWN = 60
PROCESSES_SHOWN = 3


def money(glance: Glance) -> list[Finding]:
    """Prices first, then whose GPUs are, then what is known of the models."""
    return [*_prices(glance), *_owners(glance), *_costs(glance), *_models(glance)]


def _prices(glance: Glance) -> Iterator[Finding]:
    failure = glance.price_failure
    if failure is not None:
        more = "`burnmeter check` tells all that is wrong with it"
        yield Finding(
            state="wrong",
            subject="prices",
            text=failure.message,
            remedy=more if failure.kind == "invalid" else None,
        )
    elif glance.price_file is not None:
        text = f"{glance.price_file} is read, and comes before the config"
        yield Finding(state="ok", subject="prices", text=text)
    for name in dict.fromkeys(view.gpu.name for view in glance.snapshot.gpus):
        price = glance.prices.get(name)
        if price is None:
            yield Finding(
                state="missing",
                subject="prices",
                text=f"{name} has no price, so what it costs is not known",
                remedy="set it under `prices.gpu_dollars_per_hour`",
            )
        else:
            yield Finding(state="ok", subject="prices", text=f"{name}: {price.text}")


def _owners(glance: Glance) -> Iterator[Finding]:
    """GPUs on which somebody is whom nobody knows."""
    table = glance.processes.processes if glance.processes is not None else {}
    known = frozenset(pid for engine in glance.engines for pid in engine.pids)
    for view in glance.snapshot.gpus:
        gpu = view.gpu
        states = {share.state for share in view.shares}
        if gpu.processes and "unattributed" in states and gpu.instances is None:
            holders = _holders(gpu, table, known)
            yield Finding(
                state="missing",
                subject=f"gpu {gpu.index}",
                text=f"no engine that we know is above what holds it: {holders}",
                remedy="if that serves a model, say so under `owners:`",
            )


def _holders(gpu: Gpu, table: Mapping[int, Process], known: Collection[int]) -> str:
    """The strangers on it; beside them an engine may hold it too."""
    pids = [one.pid for one in gpu.processes or ()]
    pids = [pid for pid in pids if pid not in known] or pids
    found = []
    for pid in pids[:PROCESSES_SHOWN]:
        line = _line(table[pid])[:COMMAND_SHOWN] if pid in table else ""
        found.append(f"process {pid}" + (f" ({line})" if line else ""))
    more = len(pids) - PROCESSES_SHOWN
    return ", ".join(found) + (f" and {more} more" if more > 0 else "")


def _line(process: Process) -> str:
    """The command without its options: one may hold a key, and this is pasted into tickets."""
    words = " ".join(process.command).split()
    plain = takewhile(lambda word: not word.startswith("--"), words)
    return " ".join(plain) or process.title


def _costs(glance: Glance) -> Iterator[Finding]:
    """Models without a cost; that none was made between one look and no other is no reason."""
    for model in glance.snapshot.models:
        why = model.not_available.get(COST)
        is_told = why is None or why in UNCOUNTED or why.startswith("no price")
        if not is_told and glance.snapshot.gpus:
            yield Finding(
                state="missing",
                subject=model.model,
                text=f"its cost per token is not known: {why}",
                remedy="see `owners:`, or watch it where its GPUs are" if why == NO_GPU else None,
            )


def _models(glance: Glance) -> Iterator[Finding]:
    if not glance.snapshot.gpus:
        return
    for view in glance.snapshot.targets:
        known = glance.library.by_target.get(view.target)
        if known is None or known.facts is not None or glance.library.is_stated(view.model):
            continue
        yield Finding(
            state="missing",
            subject=view.target,
            text=f"how far it is from what its GPUs allow cannot be told: {known.source}",
            remedy=f"say what {view.model or 'its model'} is under `model_facts:`",
            engine=view.engine,
        )
