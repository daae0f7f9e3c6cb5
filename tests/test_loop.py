"""The real Agent in a world of doubles: ticks come in time and say what they could not see.

Sources hang, raise and fail here by script; the real driver's and network's ways to do so are in
test_loop_sources.py. What a tick makes of good readings is the pipeline's, and tested there.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from burnmeter.config import Limits
from burnmeter.export.live import stale_after_seconds
from burnmeter.export.web import application
from burnmeter.loop import Agent
from burnmeter.model import Failure, Process, Target
from tests.fakes_world import (
    AFTER,
    BEFORE,
    DEADLINE_SECONDS,
    HAIR_SECONDS,
    Hanging,
    Pages,
    Scripted,
    agent,
    gpus,
    metrics,
    processes,
    settings,
    target,
    value,
)
from tests.nvml import Clock

READS: dict[str, Callable[[], Any]] = {"gpus": gpus, "processes": processes}


def raises() -> Any:
    raise ValueError("a bug in a reader")


def timed(ticking: Agent) -> float:
    """Seconds that one tick takes."""
    began = time.monotonic()
    ticking.tick()
    return time.monotonic() - began


# --- sources that fail -------------------------------------------------------------------------


def test_a_tick_brings_engines_gpus_and_the_agents_own_cost_together() -> None:
    ticking = agent()

    ticking.tick()

    assert value(ticking, "burnmeter_target_up", target="chat") == 1.0
    assert value(ticking, "burnmeter_gpu_power_watts", gpu="GPU-0") == 300.0
    assert value(ticking, "burnmeter_source_up", source="gpus", kind="") == 1.0
    assert value(ticking, "burnmeter_agent_cpu_seconds_total") == 1.5
    assert value(ticking, "burnmeter_ticks_total") == 1.0


@pytest.mark.parametrize("source", ["gpus", "processes"])
def test_a_source_that_hangs_delays_no_tick_and_is_not_asked_twice(source: str) -> None:
    read = READS[source]
    hanging = Hanging(read)
    hung: Scripted[Any] = Scripted(hanging, read)
    ticking = agent(None, **{source: hung})

    assert timed(ticking) <= DEADLINE_SECONDS + HAIR_SECONDS
    assert value(ticking, "burnmeter_source_up", source=source, kind="timeout") == 0.0
    assert value(ticking, "burnmeter_source_age_seconds", source=source) is None
    assert value(ticking, "burnmeter_target_up", target="chat") == 1.0
    for _ in range(4):
        # It was waited for once: the time is the others' now.
        assert timed(ticking) <= HAIR_SECONDS
    assert hung.reads == 1

    hanging.let_go.set()
    time.sleep(0.05)
    for _ in range(2):  # Processes are looked at in every second tick.
        ticking.tick()
    assert value(ticking, "burnmeter_source_up", source=source, kind="") == 1.0
    assert hung.reads <= 3


@pytest.mark.parametrize("source", ["gpus", "processes"])
def test_a_source_that_raises_is_a_crash_with_its_words(
    source: str, caplog: pytest.LogCaptureFixture
) -> None:
    ticking = agent(None, **{source: Scripted(raises, READS[source])})

    snapshot = ticking.tick()

    (view,) = (view for view in snapshot.sources if view.source == source)
    assert view.failure is not None
    assert view.failure == Failure(
        "crashed", f"reading the {source}: ValueError('a bug in a reader')"
    )
    assert "this is a bug in burnmeter" in caplog.text
    for _ in range(2):
        ticking.tick()
    assert value(ticking, "burnmeter_source_up", source=source, kind="") == 1.0


def test_a_gpu_source_that_fails_says_its_kind_and_each_gpu_says_why() -> None:
    failed = gpus(0, failure=Failure("driver", "the driver is gone"))
    ticking = agent(gpus=Scripted(gpus, lambda: failed))
    ticking.tick()

    snapshot = ticking.tick()

    assert value(ticking, "burnmeter_source_up", source="gpus", kind="driver") == 0.0
    assert value(ticking, "burnmeter_gpu_up", gpu="GPU-0") is None  # It need not be lost.
    assert value(ticking, "burnmeter_gpu_power_watts", gpu="GPU-0") is None
    assert snapshot.gpus[0].gpu.failure == Failure("driver", "the driver is gone")


def test_what_was_switched_off_is_not_shown_as_failing() -> None:
    ticking = agent(gpus=None, processes=None)

    ticking.tick()

    assert "burnmeter_source_up" not in metrics(ticking)


def test_a_source_between_two_looks_keeps_its_answer_and_ages() -> None:
    clock = Clock()
    table: Scripted[Any] = Scripted(lambda: replace(processes(), at_seconds=clock() - 2.0))
    ticking = agent(processes=table, monotonic=clock, gpus=None)
    ticking.tick()

    clock.passes(5.0)
    ticking.tick()

    assert table.reads == 1
    assert value(ticking, "burnmeter_source_up", source="processes", kind="") == 1.0
    assert value(ticking, "burnmeter_source_age_seconds", source="processes") == 7.0


def test_processes_are_looked_at_again_as_soon_as_an_engine_has_ended() -> None:
    engine = Process(
        pid=7, parent_pid=1, started_timestamp_seconds=1.0, command=("vllm",), title="vllm"
    )
    running = {7}
    table: Scripted[Any] = Scripted(lambda: processes(engine))
    ticking = agent(
        processes=table,
        gpus=None,
        find_targets=lambda _: (target(pid=7),),
        is_running=lambda pid: pid in running,
    )

    ticking.tick()
    ticking.tick()
    reads_while_it_runs = table.reads
    ticking.tick()
    running.clear()
    ticking.tick()

    assert (reads_while_it_runs, table.reads) == (1, 3)


# --- a bug -------------------------------------------------------------------------------------


class Turns(threading.Event):
    """Lets a loop run so many ticks, and moves the clock as far as it wants to sleep."""

    def __init__(self, clock: Clock, turns: int) -> None:
        super().__init__()
        self.clock, self.turns = clock, turns
        self.slept: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.slept.append(timeout)
        self.clock.passes(timeout)
        if len(self.slept) >= self.turns:
            self.set()
        return self.is_set()


def status(ticking: Agent, path: str, clock: Clock) -> str:
    """The status line that the web application answers."""
    said: list[str] = []
    app = application(lambda: ticking.outlet, clock=clock)
    environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET"}
    list(app(environ, lambda status, headers, error=None: said.append(status)))  # type: ignore[arg-type]
    return said[0]


def test_a_bug_in_the_middle_keeps_the_last_snapshot_which_grows_old(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, bugs = Clock(), [False, True, True, False]

    def find(_: object) -> tuple[Target, ...]:
        if bugs.pop(0):
            raise KeyError("a bug")
        return (target(),)

    ticking = agent(find_targets=find, monotonic=clock, wall_clock=clock)
    ticking.run(Turns(clock, 1))
    first = ticking.outlet
    assert status(ticking, "/healthz", clock) == "200 OK"

    ticking.run(Turns(clock, 2))
    assert first is not None
    clock.passes(stale_after_seconds(first.snapshot))
    assert ticking.outlet is first
    assert status(ticking, "/healthz", clock) == "503 Service Unavailable"
    assert status(ticking, "/metrics", clock) == "200 OK"
    assert caplog.text.count("a tick failed") == 1

    ticking.run(Turns(clock, 1))
    assert status(ticking, "/healthz", clock) == "200 OK"
    assert value(ticking, "burnmeter_failed_ticks_total") == 2.0


# --- pace --------------------------------------------------------------------------------------


def paced(tick_seconds: list[float], interval_seconds: float = 5.0) -> tuple[Agent, list[float]]:
    """An agent that has run ticks of these lengths, and when each began (0 = the first)."""
    clock, pages, left = Clock(), Pages(), list(tick_seconds)
    began: list[float] = []
    start = clock()

    def pass_time() -> None:
        began.append(clock() - start)
        clock.passes(left.pop(0))

    pages.on_read = pass_time
    config = settings(interval_seconds=interval_seconds)
    ticking = agent(config, pages=pages, monotonic=clock, gpus=None, processes=None)
    ticking.run(Turns(clock, len(tick_seconds)))
    return ticking, began


def test_ticks_begin_an_interval_apart_whatever_they_take() -> None:
    ticking, began = paced([0.1, 3.0, 0.4, 4.9, 0.1])

    assert began == pytest.approx([0.0, 5.0, 10.0, 15.0, 20.0])
    assert value(ticking, "burnmeter_late_ticks_total") == 0.0


def test_a_tick_that_took_too_long_is_counted_and_not_made_up_for() -> None:
    # The second tick lasts from 5 to 17: those of 10 and 15 are skipped, one begins at once.
    ticking, began = paced([0.1, 12.0, 0.1, 0.1])

    assert began == pytest.approx([0.0, 5.0, 17.0, 20.0])
    assert value(ticking, "burnmeter_late_ticks_total") == 1.0


def test_a_hair_of_lateness_is_not_counted() -> None:
    ticking, began = paced([5.4, 0.1, 0.1])

    assert began == pytest.approx([0.0, 5.4, 10.0])
    assert value(ticking, "burnmeter_late_ticks_total") == 0.0


def test_the_duration_of_a_tick_is_exported_at_the_next() -> None:
    ticking, _ = paced([0.7, 0.1])

    assert value(ticking, "burnmeter_tick_duration_seconds") == pytest.approx(0.7)


# --- limits ------------------------------------------------------------------------------------


def test_a_target_with_an_interval_of_its_own_rests_between_and_keeps_what_it_showed() -> None:
    pages, clock = Pages({"a": BEFORE, "b": BEFORE}), Clock()
    pages.clock = clock
    both = (target("a"), replace(target("b"), least_interval_seconds=10.0))
    five = settings(interval_seconds=5.0)
    ticking = agent(five, pages=pages, find_targets=lambda _: both, monotonic=clock)
    views = []
    for _ in range(5):
        snapshot = ticking.tick()
        views.append({view.target: view for view in snapshot.targets}["b"])
        clock.passes(5.0)

    assert pages.asked == [("a", "b"), ("a",), ("a", "b"), ("a",), ("a", "b")]
    assert [view.is_up for view in views] == [True] * 5
    assert [view.age_seconds for view in views] == [0.0, 5.0, 0.0, 5.0, 0.0]


def test_targets_beyond_the_limit_are_not_read_and_it_is_counted() -> None:
    three = tuple(target(name) for name in ("a", "b", "c"))
    limits = Limits(targets=2, scrape_timeout_seconds=DEADLINE_SECONDS)
    pages = Pages({"a": AFTER, "b": AFTER, "c": AFTER})
    ticking = agent(settings(limits=limits), find_targets=lambda _: three, pages=pages)

    for _ in range(3):
        ticking.tick()

    assert pages.asked == [("a", "b")] * 3
    assert value(ticking, "burnmeter_limit_reached_total", limit="targets") == 3.0
    assert value(ticking, "burnmeter_target_up", target="c") is None


def test_a_page_with_too_many_series_is_a_failure_and_is_counted() -> None:
    limits = Limits(series_per_target=100, scrape_timeout_seconds=DEADLINE_SECONDS)
    ticking = agent(settings(limits=limits))

    ticking.tick()

    assert value(ticking, "burnmeter_target_failure", target="chat", kind="too_many_series") == 1.0
    assert value(ticking, "burnmeter_limit_reached_total", limit="series_per_target") == 1.0


def test_a_page_that_is_too_long_is_counted() -> None:
    ticking = agent(pages=Pages({"chat": Failure("too_large", "too long")}))

    ticking.tick()

    assert value(ticking, "burnmeter_target_failure", target="chat", kind="too_large") == 1.0
    assert value(ticking, "burnmeter_limit_reached_total", limit="body_bytes") == 1.0


def test_limits_that_sources_keep_are_exported_once_they_were_reached() -> None:
    reached = {"processes": 0}
    ticking = agent(limits_reached=lambda: reached)

    ticking.tick()
    assert "burnmeter_limit_reached_total" not in metrics(ticking)

    reached["processes"] = 2
    ticking.tick()
    assert value(ticking, "burnmeter_limit_reached_total", limit="processes") == 2.0


# --- what comes and goes -----------------------------------------------------------------------


def found(_: object = None) -> tuple[Target, ...]:
    one = target("vllm-8000", origin="process", pid=4100)
    return (one,)


def test_a_target_that_is_gone_vanishes_from_metrics_after_an_hour() -> None:
    clock = Clock()
    there: list[Callable[[object], tuple[Target, ...]]] = [found, lambda _: ()]
    pages = Pages({"vllm-8000": BEFORE})
    pages.clock = clock
    ticking = agent(
        find_targets=lambda table: there[0](table), pages=pages, monotonic=clock, gpus=None
    )
    ticking.tick()
    clock.passes(5.0)
    pages.texts["vllm-8000"] = AFTER
    ticking.tick()
    assert (value(ticking, "burnmeter_tokens_total", kind="generated") or 0.0) > 0.0

    there.pop(0)
    clock.passes(5.0)
    ticking.tick()
    assert value(ticking, "burnmeter_target_up", target="vllm-8000") == 0.0
    assert value(ticking, "burnmeter_target_failure", target="vllm-8000", kind="gone") == 1.0

    clock.passes(3700.0)
    ticking.tick()
    assert ticking.outlet is not None
    assert b"vllm-8000" not in ticking.outlet.metrics


def test_gauges_of_an_engine_that_is_down_vanish_and_its_counters_stay() -> None:
    pages = Pages({"chat": AFTER})
    ticking = agent(pages=pages)
    ticking.tick()
    assert value(ticking, "burnmeter_running_requests") == 0.0

    pages.texts["chat"] = Failure("refused", "nothing listens there")
    ticking.tick()

    assert value(ticking, "burnmeter_running_requests") is None
    assert value(ticking, "burnmeter_tokens_total", kind="generated") is not None
    assert value(ticking, "burnmeter_target_up", target="chat") == 0.0


def test_a_text_that_is_no_page_is_a_failure_of_that_target_alone() -> None:
    two = (target("chat"), target("code"))
    ticking = agent(
        find_targets=lambda _: two, pages=Pages({"chat": AFTER, "code": "<html>no</html>"})
    )

    ticking.tick()

    assert value(ticking, "burnmeter_target_up", target="chat") == 1.0
    assert value(ticking, "burnmeter_target_failure", target="code", kind="html") == 1.0


def test_targets_are_found_in_the_last_process_table_that_could_be_read() -> None:
    engine = Process(
        pid=7, parent_pid=1, started_timestamp_seconds=0.0, command=(), title="", ports=(8000,)
    )
    seen: list[list[int]] = []

    def find(table: Any) -> tuple[Target, ...]:
        seen.append(sorted(table))
        return ()

    bad = processes(failure=Failure("no_permission", "may not"))
    ticking = agent(find_targets=find, processes=Scripted(lambda: processes(engine), lambda: bad))

    for _ in range(3):
        ticking.tick()

    assert seen == [[7], [7], [7]]
    assert value(ticking, "burnmeter_source_up", source="processes", kind="no_permission") == 0.0


# --- what the log says -------------------------------------------------------------------------


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return lines


def test_no_name_forges_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    silent = gpus(0, failure=Failure("driver", "a\n\x1b[31mINFO all is well"))

    ticking = agent(gpus=Scripted(lambda: silent))
    ticking.run(Turns(Clock(), 1))

    assert r"WARNING gpus: a\x0a\x1b[31mINFO all is well" in logged(caplog)


def test_the_log_says_each_change_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "burnmeter")
    clock, pages = Clock(), Pages({"chat": AFTER})
    bad = gpus(0, failure=Failure("driver", "the driver hangs"))
    script: list[Callable[[], Any]] = [lambda: bad, lambda: bad, gpus]
    ticking = agent(pages=pages, monotonic=clock, wall_clock=clock, gpus=Scripted(*script))

    ticking.run(Turns(clock, 1))
    assert logged(caplog) == [
        "INFO chat: up: the engine answers",
        "WARNING gpus: the driver hangs",
    ]
    del pages.texts["chat"]
    ticking.run(Turns(clock, 1))
    assert logged(caplog)[0] == "WARNING chat: down: nothing listens there"
    ticking.run(Turns(clock, 1))
    assert logged(caplog) == ["INFO gpus: answers again"]


def test_a_target_that_rests_as_it_was_told_is_no_bad_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "burnmeter")
    clock, pages = Clock(), Pages({"chat": Failure("disabled", "it rests until 00:00 UTC")})

    agent(pages=pages, monotonic=clock, wall_clock=clock).run(Turns(clock, 2))

    assert logged(caplog) == ["INFO chat: resting: it rests until 00:00 UTC"]


def test_the_log_says_once_that_a_limit_was_reached(caplog: pytest.LogCaptureFixture) -> None:
    clock, pages = Clock(), Pages({"chat": Failure("too_large", "too long")})
    ticking = agent(pages=pages, monotonic=clock, wall_clock=clock)

    ticking.run(Turns(clock, 3))

    assert caplog.text.count("the limit `limits.body_bytes` was reached") == 1


def test_models_beyond_the_limit_are_counted_together_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = Limits(models=2, scrape_timeout_seconds=DEADLINE_SECONDS)
    series = 'vllm:generation_tokens_total{{engine="0",model_name="m{}"}} 7\n'
    pages = Pages({"chat": "".join(series.format(number) for number in range(5))})
    clock = Clock()
    ticking = agent(settings(limits=limits), pages=pages, monotonic=clock, wall_clock=clock)

    ticking.run(Turns(clock, 3))

    assert ticking.outlet is not None
    assert [view.model for view in ticking.outlet.snapshot.models] == ["m0", "m1", "other"]
    assert value(ticking, "burnmeter_limit_reached_total", limit="models") == 3.0
    assert [line for line in logged(caplog) if "limits.models" in line] == [
        "WARNING the limit `limits.models` was reached; what is beyond it is counted as the model"
        " `other`"
    ]
