"""An hour of a node, worked by hand: who had which GPU, what that cost, and what a token did.

Eight GPUs at 3.60 dollars an hour, a tenth of a cent a second. GPUs 0 to 3 are llama's, 4 is
qwen's, 5 and 6 are divided (MIG), 7 is held by an engine that nobody asks. Llama works for half of
the hour and is restarted in it; GPU 3 falls off the bus for ten minutes and comes back with its
counter at the beginning; the driver is silent for half a minute.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from burnmeter import views
from burnmeter.model import Failure, Gpu, GpuInstance, GpuProcess, Process, Spend, Target
from burnmeter.snapshot import ModelView
from tests.fakes import gpu, processes, target, vllm
from tests.test_pipeline import NO_DRIVER, REFUSED, Node

HOUR_SECONDS, TICK_SECONDS = 3600, 5
DOLLARS_PER_SECOND = 0.001
RESTART, LOST, SILENT = range(905, 961), range(2405, 3001), range(3305, 3331)
"""Seconds of the ticks at which llama is gone, GPU 3 is lost, and the driver says nothing."""
WORKS_UNTIL = {"llama": 1800, "qwen": 3600, "coder": 1200, "idle": 0}
TOKENS_PER_SECOND = 2000
GONE = Failure("gone", "GPU is lost: it has fallen off the bus")
FIRST, SECOND = 100, 200
"""The pid of llama's server before and after its restart; its workers' follow."""
OTHERS = {"qwen": 300, "coder": 400, "idle": 500}


def engine(model: str, pid: int | None) -> Target:
    return replace(target(model, pid=pid), model=model)


def llama_pid(at: int) -> int | None:
    if at in RESTART:
        return None
    return FIRST if at < RESTART.start else SECOND


def targets(at: int) -> Iterator[tuple[Target, object]]:
    """Each engine with its page."""
    pid = llama_pid(at)
    worked = min(at, WORKS_UNTIL["llama"])
    # The counter of the new process began when it did.
    made = worked if pid == FIRST else max(0, worked - RESTART[-1])
    runs = 0 < at <= WORKS_UNTIL["llama"]
    page = vllm(tokens=made * TOKENS_PER_SECOND, running=8 * runs, model="llama")
    yield engine("llama", pid), REFUSED if pid is None else page
    for model, other in OTHERS.items():
        worked, runs = min(at, WORKS_UNTIL[model]), float(at <= WORKS_UNTIL[model])
        yield engine(model, other), vllm(tokens=10 * worked, running=runs, model=model)


def table(at: int) -> dict[int, Process]:
    pid = llama_pid(at)
    servers = [*OTHERS.values(), *([] if pid is None else [pid])]
    return processes(
        *((one, 1) for one in servers), *((one + n, one) for one in servers for n in range(1, 5))
    )


def watts(index: int, at: int) -> float:
    """Over the tick that ends at `at`."""
    if index < 4:
        return 100.0 if at in RESTART else 600.0 if at <= WORKS_UNTIL["llama"] else 200.0
    return {4: 700.0, 5: 350.0, 6: 280.0, 7: 120.0}[index]


@cache
def joules(index: int, at: int) -> float:
    """The driver's counter; that of GPU 3 begins again at 5000 J when it comes back."""
    if at == 0:
        return 1e6
    if index == 3 and at == LOST[-1] + TICK_SECONDS:
        return 5000.0
    return joules(index, at - TICK_SECONDS) + watts(index, at) * TICK_SECONDS


def slices(parts: tuple[int, ...]) -> tuple[GpuInstance, ...]:
    return tuple(
        GpuInstance(uuid=f"MIG-{n}", name=f"MIG {part}g", compute_ratio=part / 7)
        for n, part in enumerate(parts)
    )


def held(*pairs: tuple[int, str | None]) -> tuple[GpuProcess, ...]:
    return tuple(GpuProcess(pid=pid, memory_bytes=1e10, instance=where) for pid, where in pairs)


def boards(at: int) -> list[Gpu]:
    pid = llama_pid(at)
    workers = [()] * 4 if pid is None else [held((pid + n, None)) for n in range(1, 5)]
    found = [replace(gpu(f"GPU-{n}"), processes=workers[n]) for n in range(4)]
    found += [
        replace(gpu("GPU-4"), processes=held((301, None))),
        replace(gpu("GPU-5"), instances=slices((3, 4)), processes=held((401, "MIG-0"))),
        replace(
            gpu("GPU-6"),
            instances=slices((2, 1, 4)),
            processes=held((402, "MIG-0"), (302, "MIG-1")),
        ),
        replace(gpu("GPU-7"), processes=held((501, None))),
    ]
    read = [replace(one, energy_joules=joules(one.index, at)) for one in found]
    if at in LOST:
        bare = Gpu(index=3, uuid="GPU-3", name="NVIDIA H100", failure=GONE)
        read[3] = bare
    return read


@pytest.fixture(scope="module")
def node() -> Node:
    """The node after its hour."""
    made = Node(recent_seconds=HOUR_SECONDS)
    for at in range(0, HOUR_SECONDS + 1, TICK_SECONDS):
        gpus = NO_DRIVER if at in SILENT else boards(at)
        made.tick(dict(targets(at)), gpus=gpus, table=table(at))  # type: ignore[arg-type]
        parts, whole = list(made.state.purse.spends.values()), made.state.purse.node
        for field in Spend._fields:
            total = sum(getattr(part, field) or 0.0 for part in parts)
            assert total == pytest.approx(getattr(whole, field) or 0.0, rel=1e-9), (at, field)
    return made


def of(node: Node, model: str, state: str | None = None) -> Spend:
    """What one model's shares come to, in one state or in all."""
    found = [
        spend
        for share, spend in node.state.purse.spends.items()
        if share.model == model and state in (None, share.state)
    ]
    return Spend(*(sum(getattr(one, name) or 0.0 for one in found) for name in Spend._fields))


def view(node: Node, model: str) -> ModelView:
    _, shown = views.turn(
        node.state, node.settings, timestamp_seconds=0.0, at_seconds=3600.0, before=None
    )
    return next(one for one in shown if one.model == model)


# What is in a row: GPU-seconds, and joules.
BILL = {
    # Four GPUs for 1800 s less the restart's 60 at 600 W.
    ("llama", "busy"): (4 * 1740, 4 * 1740 * 600),
    # Four for 1800 s at 200 W, but for GPU 3 while it was lost, which came back with 5000 J.
    ("llama", "idle"): (4 * 1800 - 600, (3 * 1800 + 600 + 595) * 200 + 5000),
    # GPU 4 at 700 W, and one slice of seven of GPU 6 at 280 W.
    ("qwen", "busy"): (3600 + 3600 / 7, 3600 * 700 + 3600 * 280 / 7),
    # Three slices of GPU 5 at 350 W and two of GPU 6; it works for the first third.
    ("coder", "busy"): (1200 * 5 / 7, 1200 * (350 * 3 + 280 * 2) / 7),
    ("coder", "idle"): (2400 * 5 / 7, 2400 * (350 * 3 + 280 * 2) / 7),
    ("idle", "idle"): (3600, 3600 * 120),
    # The restart at 100 W, ten minutes of GPU 3, and four slices of each divided GPU.
    ("", "unattributed"): (240 + 600 + 3600 * 8 / 7, 240 * 100 + 3600 * (350 + 280) * 4 / 7),
}


@pytest.mark.parametrize(("model", "state"), BILL)
def test_each_row_of_the_bill_is_what_it_is_by_hand(node: Node, model: str, state: str) -> None:
    seconds, energy = BILL[model, state]

    row = of(node, model, state)

    assert row.gpu_seconds == pytest.approx(seconds, rel=1e-9)
    assert row.dollars == pytest.approx(seconds * DOLLARS_PER_SECOND, rel=1e-9)
    assert row.joules == pytest.approx(energy, rel=1e-9)


def test_there_are_no_other_rows_and_together_they_are_eight_gpus_for_an_hour(node: Node) -> None:
    shares = node.state.purse.spends.items()
    rows = {(share.model, share.state) for share, spend in shares if spend.gpu_seconds > 0}

    assert rows == BILL.keys()
    assert sum(seconds for seconds, _ in BILL.values()) == pytest.approx(8 * 3600)
    assert node.state.purse.node.gpu_seconds == pytest.approx(8 * 3600, rel=1e-12)
    assert node.state.purse.node.dollars == pytest.approx(8 * 3.60, rel=1e-12)


def test_how_each_gpu_was_known_to_be_whose_is_said(node: Node) -> None:
    methods: dict[tuple[str, str], float] = {}
    for share, spend in node.state.purse.spends.items():
        if share.gpu in ("GPU-4", "GPU-6"):
            how = share.model, share.method
            methods[how] = methods.get(how, 0.0) + spend.gpu_seconds

    assert methods == {
        ("qwen", "process_tree"): 3570.0,
        ("qwen", "last_seen"): 30.0,
        ("qwen", "mig_slices"): pytest.approx(3600 / 7),
        ("coder", "mig_slices"): pytest.approx(3600 * 2 / 7),
        ("", "none"): pytest.approx(3600 * 4 / 7),
    }


def test_a_token_s_cost_and_energy_are_those_of_the_hour(node: Node) -> None:
    """3.48 million tokens, in spite of the counter that began again."""
    llama = view(node, "llama")

    tokens = 1740 * TOKENS_PER_SECOND
    assert llama.tokens["generated"] == tokens
    assert llama.cost_dollars == pytest.approx(13.56)
    assert llama.dollars_per_million_tokens == pytest.approx(13.56 / 3.48, rel=1e-9)
    assert llama.joules_per_token == pytest.approx(5_500_000 / tokens, rel=1e-9)


def test_half_of_it_was_idle_time_and_the_signature_says_so(node: Node) -> None:
    found = view(node, "llama").signature

    assert found is not None
    assert [(factor.name, factor.value) for factor in found.dollars] == [
        ("price", pytest.approx(0.001)),
        ("idle", pytest.approx(13_560 / 6960)),
        ("work", pytest.approx(6960 / 3.48e6)),
    ]


def test_an_engine_that_nobody_asks_costs_and_has_no_cost_per_token(node: Node) -> None:
    idle = view(node, "idle")

    assert idle.cost_dollars == pytest.approx(3.6)
    assert idle.dollars_per_million_tokens is None
    assert idle.not_available["cost_dollars_total"] == "no token was generated lately"


def test_what_happened_to_gpus_is_told_with_the_model_that_it_hit(node: Node) -> None:
    told = [
        (event.timestamp_seconds - 1000.0, event.kind, event.subject, event.models)
        for event in node.state.events
        if event.kind.startswith("gpu")
    ]

    assert told == [
        (2405.0, "gpu_lost", "GPU 3", ("llama",)),
        (3005.0, "gpu_back", "GPU 3", ("llama",)),
    ]


# --- held against a published method -------------------------------------------------------------


@pytest.mark.parametrize(("tokens_per_second_per_gpu", "gpus"), [(1234.5, 8), (87.0, 1)])
def test_a_fully_busy_node_costs_what_inferencex_says(
    tokens_per_second_per_gpu: float, gpus: int
) -> None:
    """Dollars per GPU-hour x 1e6 / (tokens/s per GPU x 3600): SemiAnalysis' InferenceX."""
    made = Node(recent_seconds=600)
    one, pids = engine("llama", 10), range(11, 11 + gpus)
    known = processes((10, 1), *((pid, 10) for pid in pids))
    for at in range(0, 601, TICK_SECONDS):
        tokens = at * tokens_per_second_per_gpu * gpus
        page = vllm(tokens=tokens, running=64, model="llama")
        made.tick({one: page}, gpus=[gpu(f"GPU-{n}", pids[n]) for n in range(gpus)], table=known)

    cost = view(made, "llama").dollars_per_million_tokens

    assert cost == pytest.approx(3.6 * 1e6 / (tokens_per_second_per_gpu * 3600), rel=1e-12)
