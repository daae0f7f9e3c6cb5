"""One tick of everything: targets found and gone, totals, objectives, GPUs and their events."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from burnmeter import pipeline
from burnmeter.model import (
    Failure,
    Gpu,
    GpuReading,
    Launch,
    Objective,
    PageReading,
    Process,
    ProcessReading,
    Target,
)
from burnmeter.model_facts.known import Library
from burnmeter.page import Page, read_page
from burnmeter.pipeline import Readings, Settings, State
from burnmeter.pricing import Price
from burnmeter.watch import FORGET_AFTER_SECONDS
from tests.fakes import MODEL, gpu, objective, processes, reading, target, terms, vllm

REFUSED = Failure("refused", "nothing listens")
HTML = Failure("html", "a web page, not metrics")
NO_DRIVER = Failure("timeout", "the driver did not answer")
Seen = Page | Failure


class Node:
    """A node that ticks each five seconds."""

    def __init__(self, *objectives: Objective, recent_seconds: float = 60.0) -> None:
        self.state = State(started_timestamp_seconds=1000.0)
        self.at = 0.0
        self.library: Library | None = None
        """What is known of the models."""
        self.launches: tuple[Launch, ...] = ()
        self.settings = Settings(
            terms=terms(),
            objectives=objectives,
            recent_seconds=recent_seconds,
            prices={"NVIDIA H100": Price(3.6, 0.0, "a test")},
        )

    def tick(
        self,
        seen: dict[Target, Seen] | None = None,
        *,
        gpus: Sequence[Gpu] | Failure | None = None,
        table: dict[int, Process] | Failure | None = None,
        every: float = 5.0,
    ) -> State:
        """One tick with these pages, GPUs and processes."""
        pages = {}
        for one, what in (seen or {}).items():
            page = None if isinstance(what, Failure) else what
            failure = what if isinstance(what, Failure) else None
            pages[one] = reading(self.at, failure, name=one.name), page
        return self.look(pages, gpus=gpus, table=table, every=every)

    def look(
        self,
        pages: Mapping[Target, tuple[PageReading, Page | None]],
        *,
        gpus: Sequence[Gpu] | Failure | None = None,
        table: dict[int, Process] | Failure | None = None,
        every: float = 5.0,
    ) -> State:
        """One tick with these readings."""
        readings = Readings(
            at_seconds=self.at,
            timestamp_seconds=1000.0 + self.at,
            targets=tuple(pages),
            pages={one.name: read for one, read in pages.items()},
            gpus=self._gpus(gpus),
            processes=self._table(table),
            library=self.library,
            launches=self.launches,
        )
        self.state = pipeline.tick(self.state, readings, self.settings)
        self.at += every
        return self.state

    def rest(self, *targets: Target, gpus: Sequence[Gpu], table: dict[int, Process]) -> State:
        """One tick at which it is not time to read these."""
        readings = Readings(
            at_seconds=self.at,
            timestamp_seconds=1000.0 + self.at,
            targets=targets,
            pages={},
            gpus=self._gpus(gpus),
            processes=self._table(table),
        )
        self.state = pipeline.tick(self.state, readings, self.settings)
        self.at += 5.0
        return self.state

    def _gpus(self, gpus: Sequence[Gpu] | Failure | None) -> GpuReading | None:
        base = GpuReading(at_seconds=self.at, timestamp_seconds=self.at, duration_seconds=0.0)
        if gpus is None:
            return None
        if isinstance(gpus, Failure):
            return replace(base, failure=gpus)
        return replace(base, gpus=tuple(gpus))

    def _table(self, table: dict[int, Process] | Failure | None) -> ProcessReading | None:
        base = ProcessReading(at_seconds=self.at, timestamp_seconds=self.at, duration_seconds=0.0)
        if table is None:
            return None
        if isinstance(table, Failure):
            return replace(base, failure=table)
        return replace(base, processes=table)

    def total(self, measure: str, **labels: str) -> float:
        """Sum of a counter's totals."""
        return sum(
            value
            for key, value in self.state.counters.items()
            if key.measure == measure and labels.items() <= dict(key.labels).items()
        )

    def states(self) -> dict[str, float]:
        """GPU seconds by what the GPU did for whom."""
        found: dict[str, float] = {}
        for share, spend in self.state.purse.spends.items():
            who = f"{share.state} {share.target}".strip()
            found[who] = found.get(who, 0.0) + spend.gpu_seconds
        return found


A, B = target("a", pid=10), target("b", pid=20)
FOUND = target("found", pid=30, origin="process")


# --- targets -------------------------------------------------------------------------------------


def test_a_listed_target_that_never_answered_is_watched_and_named() -> None:
    state = Node(objective("availability")).tick({A: REFUSED})

    assert [one.is_down for one in state.watched.values()] == [True]
    assert list(state.shown) == [("availability", "a")]


@pytest.mark.parametrize("seen", [HTML, read_page("go_threads 5\n")])
def test_a_page_that_is_no_engines_names_no_model_and_burns_nothing(seen: Seen) -> None:
    node = Node(objective("availability"))

    state = node.tick({A: seen})

    assert not state.shown
    assert state.watched["a"].failure is not None
    assert list(node.tick({A: REFUSED}).shown) == [("availability", "a")]


@pytest.mark.parametrize("said", [replace(A, model="chat"), replace(A, served_model="chat")])
def test_a_model_that_was_named_is_not_measured_while_its_page_cannot_be_read(said: Target) -> None:
    state = Node(objective("availability")).tick({said: HTML})

    assert list(state.shown) == [("availability", "chat")]


def test_a_found_target_that_is_gone_stays_for_an_hour_and_then_vanishes_with_its_totals() -> None:
    node = Node()
    node.tick({FOUND: vllm(tokens=5)})
    node.tick({FOUND: vllm(tokens=9)})

    gone = node.tick(every=FORGET_AFTER_SECONDS + 5)
    assert list(gone.watched) == ["found"]
    assert node.total("tokens_total", target="found") == 4.0

    forgotten = node.tick()
    assert not forgotten.watched
    assert not forgotten.counters


def test_a_target_that_rests_has_its_gpu_as_its_last_page_said() -> None:
    slow = replace(A, least_interval_seconds=10.0)
    node = Node()
    board, table = [gpu("GPU-0", 10)], processes((10, 1))
    node.tick({slow: vllm(running=2)}, gpus=board, table=table)
    for _ in range(2):
        node.tick({slow: vllm(running=2)}, gpus=board, table=table)
        node.rest(slow, gpus=board, table=table)

    assert node.states() == {"busy a": 20.0}


def test_a_listed_target_that_is_no_longer_listed_vanishes_at_once() -> None:
    node = Node()
    node.tick({A: vllm(), B: vllm()})

    assert list(node.tick({A: vllm()}).watched) == ["a"]


def test_a_new_served_name_names_the_model_anew_and_counts_nothing_twice() -> None:
    node = Node()
    node.tick({A: vllm(tokens=100)})
    node.tick({replace(A, model="chat"): vllm(tokens=101)})

    assert node.total("tokens_total") == 1.0
    assert node.total("tokens_total", model="chat") == 1.0


# --- totals --------------------------------------------------------------------------------------


def test_totals_are_kept_by_target_and_only_rise() -> None:
    node = Node()
    for number in range(4):
        node.tick({A: vllm(tokens=10.0 * number), B: vllm(tokens=100.0 * number)})

    assert node.total("tokens_total", target="a", engine="vllm") == 30.0
    assert node.total("tokens_total", target="b") == 300.0


def test_the_past_holds_the_recent_window_and_no_more() -> None:
    node = Node(recent_seconds=20.0)
    for _ in range(50):
        node.tick({A: vllm()})

    assert [past.at_seconds for past in node.state.past] == [225.0, 230.0, 235.0, 240.0, 245.0]


def test_events_are_kept_within_a_limit() -> None:
    node = Node()
    for number in range(2 * pipeline.EVENTS_KEPT):
        node.tick({A: vllm() if number % 2 else REFUSED})

    assert len(node.state.events) == pipeline.EVENTS_KEPT
    assert node.state.events[-1].subject == "a"


# --- objectives ----------------------------------------------------------------------------------


def test_an_objective_adds_up_all_targets_of_its_model() -> None:
    node = Node(objective("errors"))
    node.tick({A: vllm(ok=5), B: vllm(ok=7)})
    node.tick({A: vllm(ok=6), B: vllm(ok=9)})

    assert node.state.kept["errors", "llama"].ledger[-1].valid == 3.0


def test_an_objective_for_one_model_is_not_about_another() -> None:
    only = replace(objective("availability"), match=(("model", "qwen"),))
    node = Node(only)

    state = node.tick({A: vllm(model="llama"), B: vllm(model="qwen")})

    assert list(state.shown) == [("availability", "qwen")]


def test_what_one_of_two_targets_cannot_say_is_missing_in_the_whole() -> None:
    node = Node(objective("availability"))
    node.tick({A: vllm(), B: HTML})

    state = node.tick({replace(A, model="m"): vllm(), replace(B, model="m"): HTML})

    assert state.kept["availability", "m"].ledger[-1].measured_seconds == 5.0
    assert state.kept["availability", "m"].unmeasured == "b: a web page, not metrics"


def test_nothing_is_missing_of_a_dead_target() -> None:
    """It serves nobody, so the requests of the other are all that there are."""
    node = Node(objective("errors"))
    node.tick({A: vllm(ok=5), B: vllm(ok=5)})
    node.tick({A: vllm(ok=6), B: REFUSED})

    state = node.tick({A: vllm(ok=7), B: REFUSED})

    assert state.kept["errors", "llama"].ledger[-1].valid == 2.0
    assert state.kept["errors", "llama"].unmeasured is None


def test_time_that_nobody_watched_has_its_own_reason() -> None:
    node = Node(objective("availability"))
    node.tick({A: vllm()}, every=3600.0)

    state = node.tick({A: vllm()})

    assert state.kept["availability", "llama"].unmeasured == "a: it was not watched for a while"


def test_an_engine_that_counts_no_requests_and_dies_has_no_error_rate() -> None:
    node = Node(objective("errors"))
    page = "llamacpp:tokens_predicted_total 5\nllamacpp:requests_processing 3\n"
    node.tick({A: read_page(page)})

    state = node.tick({A: REFUSED})

    assert state.kept["errors", "a"].ledger[-1].valid == 0.0
    assert state.kept["errors", "a"].unmeasured == "a: nothing listens"
    assert node.total("requests_total", outcome="lost") == 3.0


def test_requests_lost_by_a_death_are_failures_that_nobody_is_sure_of() -> None:
    node = Node(objective("errors"))
    node.tick({A: vllm(ok=5, running=3)})

    mark = node.tick({A: REFUSED}).kept["errors", "llama"].ledger[-1]

    assert mark[1:4] == (3.0, 0.0, 3.0)
    assert node.total("requests_total", outcome="lost", counted_by="estimate") == 3.0


# --- GPUs ----------------------------------------------------------------------------------------


TABLE = processes((10, 1), (11, 10), (20, 1))


def test_a_gpu_is_busy_while_requests_run_not_whenever_some_have_run() -> None:
    node = Node()
    node.tick({A: vllm(running=1)}, gpus=[gpu("GPU-0", 11)], table=TABLE)
    node.tick({A: vllm(running=1)}, gpus=[gpu("GPU-0", 11)])
    node.tick({A: vllm(tokens=5)}, gpus=[gpu("GPU-0", 11)])
    node.tick({A: vllm(tokens=5)}, gpus=[gpu("GPU-0", 11)])

    assert node.states() == {"busy a": 5.0, "idle a": 10.0}


def test_a_gpu_whose_engine_counts_no_running_requests_is_busy_while_tokens_come() -> None:
    pages = [f'vllm:generation_tokens_total{{model_name="m"}} {n}\n' for n in (0, 5, 5)]
    node = Node()
    for text in pages:
        node.tick({A: read_page(text)}, gpus=[gpu("GPU-0", 11)], table=TABLE)

    assert node.states() == {"busy a": 5.0, "idle a": 5.0}


def test_before_anything_grew_a_gpu_is_idle_if_nothing_runs() -> None:
    node = Node()
    state = node.tick({A: vllm(tokens=5)}, gpus=[gpu("GPU-0", 11)], table=TABLE)

    assert state.portions["GPU-0"][0].share.state == "idle"


def test_a_gpu_is_paid_for_from_first_sight_on_and_not_for_the_tick_before() -> None:
    node = Node()
    for seen in ([gpu("GPU-0")], [gpu("GPU-0")], [gpu("GPU-0"), gpu("GPU-1")]):
        state = node.tick(gpus=seen)
    assert state.purse.node.gpu_seconds == 10.0

    assert node.tick(gpus=[gpu("GPU-0"), gpu("GPU-1")]).purse.node.gpu_seconds == 20.0


def test_a_gpu_is_busy_with_the_ranks_that_are_here() -> None:
    """The page is of two ranks; the other, which has work, is on another node."""
    text = "".join(
        f'vllm:{name}{{engine="{rank}",model_name="m"}} {value}\n'
        for name, values in (("num_requests_running", (0, 7)), ("generation_tokens_total", (5, 9)))
        for rank, value in enumerate(values)
    )
    states = []
    for ranks in (("0",), ("1",), ("0", "1"), None):
        node = Node()
        one = replace(A, local_ranks=ranks)
        node.tick({one: read_page(text)}, gpus=[gpu("GPU-0", 11)], table=TABLE)
        states.append(node.state.portions["GPU-0"][0].share.state)

    assert states == ["idle", "busy", "busy", "busy"]


def test_of_a_tick_in_which_nobody_looked_for_long_nobody_knows_whether_there_was_work() -> None:
    node = Node()
    for every in (5.0, 600.0, 5.0, 5.0):
        node.tick({A: vllm(running=1)}, gpus=[gpu("GPU-0", 11)], table=TABLE, every=every)

    assert node.states() == {"busy a": 10.0, "unknown a": 600.0}


def test_a_process_with_the_number_of_an_engine_that_has_ended_is_not_its() -> None:
    node = Node()
    found = replace(FOUND, pid=10)
    node.tick({found: vllm(running=1)}, gpus=[gpu("GPU-0", 10)], table=TABLE)
    state = node.tick(gpus=[gpu("GPU-0", 10)], table=TABLE)

    assert "found" in state.watched
    assert state.portions["GPU-0"][0].share.state == "unattributed"


@pytest.mark.parametrize("seen", [REFUSED, read_page("vllm:cache_config_info 1\n")])
def test_an_engine_that_says_nothing_of_its_work_is_neither_busy_nor_idle(seen: Seen) -> None:
    state = Node().tick({A: seen}, gpus=[gpu("GPU-0", 11)], table=TABLE)

    assert state.portions["GPU-0"][0].share.state == "unknown"


def test_a_silent_driver_is_paid_for_and_its_gpus_stay_with_who_lives() -> None:
    node = Node()
    held = gpu("GPU-0", 11, energy_joules=100.0)
    node.tick({A: vllm()}, gpus=[held], table=TABLE)
    node.tick({A: vllm()}, gpus=NO_DRIVER)
    node.tick({A: vllm()}, gpus=[replace(held, energy_joules=900.0)])

    assert node.states() == {"idle a": 10.0}
    assert {share.method for share in node.state.purse.spends} == {"process_tree", "last_seen"}
    assert node.state.boards.meters.joules == {"GPU-0": 800.0}
    assert not [event for event in node.state.events if event.kind == "gpu_lost"]


def test_a_gpu_that_a_silent_driver_comes_back_without_is_lost_once() -> None:
    node = Node()
    node.tick(gpus=[gpu("GPU-0"), gpu("GPU-1")])
    node.tick(gpus=NO_DRIVER)
    node.tick(gpus=[gpu("GPU-0")])
    node.tick(gpus=[gpu("GPU-0")])

    assert [event.text for event in node.state.events if event.kind == "gpu_lost"] == [
        "the driver no longer lists this GPU"
    ]


def test_a_gpu_that_is_no_longer_listed_is_lost_and_still_paid_for() -> None:
    node = Node()
    node.tick(gpus=[gpu("GPU-0"), gpu("GPU-1")])

    state = node.tick(gpus=[gpu("GPU-0")])

    failure = state.boards.gpus["GPU-1"].failure
    assert failure is not None
    assert failure.message == "the driver no longer lists this GPU"
    assert sum(spend.dollars or 0.0 for spend in state.purse.spends.values()) == pytest.approx(0.01)


def test_processes_that_could_not_be_listed_are_those_of_the_last_list() -> None:
    node = Node()
    node.tick({A: vllm()}, gpus=[gpu("GPU-0", 11)], table=TABLE)

    for table in (None, Failure("no_permission", "/proc cannot be read")):
        state = node.tick({A: vllm()}, gpus=[gpu("GPU-0", 11)], table=table)
        assert state.portions["GPU-0"][0].share.method == "process_tree"


def test_what_happens_to_a_gpu_is_told_with_the_models_that_it_hits() -> None:
    node = Node()
    node.tick({A: vllm()}, gpus=[gpu("GPU-0", 11)], table=TABLE)
    node.tick({A: vllm()}, gpus=[replace(gpu("GPU-0", 11), xid_counts={79: 1})])
    lost = replace(gpu("GPU-0"), failure=Failure("gone", "fell off the bus"), processes=None)
    node.tick({A: vllm()}, gpus=[lost])
    node.tick({A: vllm()}, gpus=[replace(gpu("GPU-0"), processes=None)])

    told = [event for event in node.state.events if event.gpu == "GPU-0"]
    assert [(event.kind, event.subject, event.models) for event in told] == [
        ("xid", "GPU 0", (MODEL,)),
        ("gpu_lost", "GPU 0", (MODEL,)),
        ("gpu_back", "GPU 0", (MODEL,)),
    ]
    assert told[0].text.startswith("XID 79, ")
    assert told[1].text == "fell off the bus"
