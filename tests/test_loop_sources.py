"""The real Agent over real sources that hang, die and refuse: sockets that say nothing, and the
driver's library in the reader's child (a stub of it, tests/nvml_stub). Ticks go on in time.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import pytest

from burnmeter import wiring
from burnmeter.config import Config, Limits
from burnmeter.loop import Agent
from burnmeter.model import (
    Failure,
    GpuProcess,
    GpuReading,
    Launch,
    Process,
    ProcessReading,
    Target,
)
from burnmeter.snapshot import Snapshot
from burnmeter.sources.nvml.source import NvmlSource
from tests import servers
from tests.fakes_world import (
    DEADLINE_SECONDS,
    HAIR_SECONDS,
    Hanging,
    Scripted,
    agent,
    gpus,
    metrics,
    processes,
    settings,
    value,
)
from tests.nvml import Node, Sources

NVML_SECONDS = 0.6
"""Enough for a driver that answers, on a busy machine; the child's start is waited for apart."""


def timed(ticking: Agent, most_seconds: float = DEADLINE_SECONDS) -> Snapshot:
    """One tick, which must be in time."""
    began = time.monotonic()
    snapshot = ticking.tick()
    assert time.monotonic() - began <= most_seconds + HAIR_SECONDS
    return snapshot


# --- engines ---------------------------------------------------------------------------------


def reading(config: Config, *urls: str) -> Agent:
    """An agent that reads these addresses, named a, b, c, over real sockets."""
    targets = tuple(
        Target(name=name, url=url, origin="config") for name, url in zip("abc", urls, strict=False)
    )
    pages = wiring.pages(config)
    return agent(config, pages=pages, find_targets=lambda _: targets)


def test_an_engine_that_says_nothing_delays_neither_the_tick_nor_the_others() -> None:
    with servers.Server(servers.is_silent) as silent, servers.Server(servers.keeps_alive) as good:
        ticking = reading(settings(), silent.url, good.url)

        for _ in range(3):
            timed(ticking)
            assert value(ticking, "burnmeter_target_up", target="a") == 0.0
            assert value(ticking, "burnmeter_target_failure", target="a", kind="timeout") == 1.0
            assert value(ticking, "burnmeter_target_up", target="b") == 1.0
        ticking.close()

    assert len([said for said in good.requests if said.startswith("GET /metrics ")]) == 3


def test_when_everything_hangs_the_tick_is_in_time_all_the_same() -> None:
    hung: list[Hanging] = [Hanging(gpus), Hanging(processes)]
    limits = Limits(scrape_timeout_seconds=1.2)
    with servers.Server(servers.is_silent) as silent:
        one = Target(name="a", url=silent.url, origin="config")
        config = settings(limits=limits)
        ticking = agent(
            config,
            gpus=Scripted(hung[0]),
            processes=Scripted(hung[1]),
            pages=wiring.pages(config),
            find_targets=lambda _: (one,),
        )

        snapshot = timed(ticking, limits.scrape_timeout_seconds)
        ticking.close()
        for one_hung in hung:
            one_hung.let_go.set()

    assert [view.failure and view.failure.kind for view in snapshot.sources] == ["timeout"] * 2
    assert value(ticking, "burnmeter_target_failure", target="a", kind="timeout") == 1.0


def test_a_flood_is_cut_at_the_limit_and_counted() -> None:
    limits = Limits(body_bytes=50_000, scrape_timeout_seconds=DEADLINE_SECONDS)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with servers.Server(servers.floods(head, b"400\r\n" + b"#" * 1024 + b"\r\n")) as flood:
        ticking = reading(settings(limits=limits), flood.url)

        timed(ticking)
        ticking.close()

    assert value(ticking, "burnmeter_target_failure", target="a", kind="too_large") == 1.0
    assert value(ticking, "burnmeter_limit_reached_total", limit="body_bytes") == 1.0


# --- the driver --------------------------------------------------------------------------------


@pytest.fixture
def driven(gpu_node: Node, gpu_source: Sources) -> Iterator[tuple[Agent, NvmlSource]]:
    """An agent with two GPUs that has ticked well, and its source of GPUs."""
    gpu_node.has(gpus=2)
    source = gpu_source(timeout_seconds=NVML_SECONDS)
    limits = Limits(scrape_timeout_seconds=NVML_SECONDS + HAIR_SECONDS)
    ticking = agent(settings(limits=limits), gpus=source)
    until = time.monotonic() + 20
    while ticking.tick().gpus == () and time.monotonic() < until:
        time.sleep(0.05)
    yield ticking, source
    ticking.close()


def failed(ticking: Agent, kind: str) -> Snapshot:
    """A tick in time after which every GPU says why it is not known, and sums go on."""
    snapshot = timed(ticking, NVML_SECONDS + HAIR_SECONDS)
    assert value(ticking, "burnmeter_source_up", source="gpus", kind=kind) == 0.0
    assert value(ticking, "burnmeter_target_up", target="chat") == 1.0
    assert [view.gpu.failure and view.gpu.failure.kind for view in snapshot.gpus] == [kind] * 2
    assert "burnmeter_gpu_power_watts" not in metrics(ticking)
    return snapshot


def test_gpus_that_answer_are_up(driven: tuple[Agent, NvmlSource]) -> None:
    ticking, _ = driven

    timed(ticking, NVML_SECONDS)

    assert value(ticking, "burnmeter_source_up", source="gpus", kind="") == 1.0
    assert value(ticking, "burnmeter_gpu_power_watts", gpu="GPU-1") == 312.5


def test_a_driver_that_hangs_costs_its_gpus_and_nothing_else(
    gpu_node: Node, driven: tuple[Agent, NvmlSource]
) -> None:
    ticking, _ = driven
    gpu_node.says({"hang": "nvmlDeviceGetPowerUsage"})

    snapshot = failed(ticking, "timeout")

    said = snapshot.gpus[0].gpu.failure
    assert said is not None
    assert "got no answer from the driver" in said.message
    timed(ticking, HAIR_SECONDS)  # Until the next attempt is due, nothing is waited for.


def test_a_driver_that_crashes_costs_its_gpus_and_nothing_else(
    gpu_node: Node, driven: tuple[Agent, NvmlSource]
) -> None:
    ticking, _ = driven
    gpu_node.says({"segfault": "nvmlDeviceGetPowerUsage"})

    snapshot = failed(ticking, "crashed")

    said = snapshot.gpus[0].gpu.failure
    assert said is not None
    assert "died of SIGSEGV" in said.message


def test_a_lost_gpu_says_so_and_the_other_goes_on(
    gpu_node: Node, driven: tuple[Agent, NvmlSource]
) -> None:
    ticking, _ = driven
    gpu_node.says({"1.error": 15})

    snapshot = timed(ticking, NVML_SECONDS)

    assert value(ticking, "burnmeter_source_up", source="gpus", kind="") == 1.0
    assert value(ticking, "burnmeter_gpu_up", gpu="GPU-0") == 1.0
    assert value(ticking, "burnmeter_gpu_up", gpu="GPU-1") == 0.0
    lost = snapshot.gpus[1].gpu.failure
    assert lost is not None
    assert [event.kind for event in snapshot.events if event.subject == "GPU 1"] == ["gpu_lost"]


def test_a_machine_without_a_driver_ticks_on_and_says_why(gpu_source: Sources) -> None:
    # A busy machine may take seconds to start the reader.
    limits = Limits(scrape_timeout_seconds=20.0)
    reader = gpu_source(library_path=None, timeout_seconds=20.0)
    ticking = agent(settings(limits=limits), gpus=reader)

    snapshot = ticking.tick()

    (view,) = (view for view in snapshot.sources if view.source == "gpus")
    if view.failure is None:
        pytest.skip("this machine has a driver")
    assert view.failure.kind == "no_library"
    assert value(ticking, "burnmeter_source_up", source="gpus", kind="no_library") == 0.0
    assert snapshot.gpus == ()


# --- whose GPUs are ------------------------------------------------------------------------------


def held() -> GpuReading:
    """One GPU, with process 21 on it."""
    (one,) = gpus().gpus
    return gpus(gpus=(replace(one, processes=(GpuProcess(pid=21),)),))


def worker() -> ProcessReading:
    """A headless rank, started by process 20."""
    rank = Process(
        pid=21, parent_pid=20, started_timestamp_seconds=1.0, command=("vllm",), title="vllm"
    )
    return processes(replace(rank, pid=20, parent_pid=1), rank)


def test_a_rank_without_a_page_has_its_gpu_also_while_the_driver_is_silent() -> None:
    """Whoever holds nothing that we know of is not looked at for how it was started."""

    def launches(_: Mapping[int, Process], holders: Collection[int]) -> tuple[Launch, ...]:
        return (Launch(20, "big"),) if 21 in holders else ()

    silent = gpus(0, failure=Failure("timeout", "the driver hangs"))
    ticking = agent(
        gpus=Scripted(held, held, lambda: silent),
        processes=Scripted(worker),
        find_launches=launches,
    )
    shown = [ticking.tick() for _ in range(4)]

    assert [[share.model for share in s.gpus[0].shares] for s in shown] == [["big"]] * 4
    assert shown[-1].gpus[0].shares[0].method == "last_seen"


def test_a_bill_of_too_many_rows_is_bounded_and_says_so() -> None:
    """Each launch is of another model; the least recent are under none."""
    now = iter(range(100))
    config = settings(limits=Limits(scrape_timeout_seconds=DEADLINE_SECONDS, shares=10))
    ticking = agent(
        config,
        gpus=Scripted(held),
        processes=Scripted(worker),
        find_launches=lambda _, __: (Launch(20, f"m{next(now)}"),),
    )
    for _ in range(15):
        snapshot = ticking.tick()

    rows = snapshot.spends
    assert len(rows) <= 11
    assert sum(s.gpu_seconds for s in rows.values()) == pytest.approx(
        snapshot.node_spend.gpu_seconds, rel=1e-9
    )
    assert value(ticking, "burnmeter_limit_reached_total", limit="shares") > 0
