"""What time is worth at each tick: true whatever pages fail, and else not measured with a reason.

The stories of tests/scenarios/worth.yaml have its numbers over time.
"""

from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import pipeline
from burnmeter.model import Failure, GpuReading, Objective, PageReading, ProcessReading, Target
from burnmeter.page import Page, read_page
from burnmeter.pipeline import Readings
from tests.fakes import gpu, objective, processes, reading, target, vllm
from tests.test_pipeline import Node
from tests.test_vantage import litellm

COST = objective("cost", threshold_dollars_per_million_tokens=600.0)
ENERGY = objective("energy", threshold_joules_per_token=300.0)
SPEED = objective("throughput", threshold_tokens_per_second=4.0)
A, B = target("a", pid=10), target("b", pid=20)
TABLE = processes((10, 1), (20, 1))
HTML = Failure("html", "a web page, not metrics")
SLOW = Failure("timeout", "no answer within 4 s")
UNREAD = {"html": HTML, "timeout": SLOW}


def powered(at: float, *pids: int) -> list[gpu]:
    """A GPU of 500 W for each of these processes."""
    return [gpu(f"GPU-{n}", pid, energy_joules=500.0 * at) for n, pid in enumerate(pids)]


def worked(node: Node, *pages: dict[Target, Page | Failure], pids: tuple[int, ...] = (10,)) -> Node:
    """After a tick with each of these pages."""
    for seen in pages:
        node.tick(seen, gpus=powered(node.at, *pids), table=TABLE)
    return node


def steady(one: Target = A, *, ticks: int = 13, running: float = 2.0) -> list[dict[Target, Page]]:
    """10 tokens a second."""
    return [{one: vllm(tokens=50.0 * n, running=running)} for n in range(ticks)]


def told(node: Node, name: str, model: str = "llama") -> tuple[float, float, str | None]:
    """Seconds valid, seconds good, and why the last tick's were not measured."""
    kept = node.state.kept[name, model]
    return kept.ledger[-1].valid, kept.ledger[-1].good_lower, kept.unmeasured


# --- known, and on the right side ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "threshold", "good"),
    [
        # 0.001 dollars and 500 joules a second for 10 tokens; 10 tokens a second for 2 requests.
        pytest.param("cost", {"threshold_dollars_per_million_tokens": 101.0}, 35.0, id="cheap"),
        pytest.param("cost", {"threshold_dollars_per_million_tokens": 99.0}, 0.0, id="dear"),
        pytest.param("energy", {"threshold_joules_per_token": 51.0}, 35.0, id="frugal"),
        pytest.param("energy", {"threshold_joules_per_token": 49.0}, 0.0, id="hungry"),
        pytest.param("throughput", {"threshold_tokens_per_second": 5.0}, 35.0, id="just as fast"),
        pytest.param("throughput", {"threshold_tokens_per_second": 5.1}, 0.0, id="slow"),
    ],
)
def test_time_is_good_on_the_right_side_of_the_threshold(
    goal: str, threshold: dict[str, float], good: float
) -> None:
    node = worked(Node(objective(goal, **threshold)), *steady())

    assert told(node, goal) == (35.0, good, None)
    assert node.state.kept[goal, "llama"].source == "engine"
    assert node.state.kept[goal, "llama"].tallies["engine"].valid == 35.0


def test_a_model_that_an_objective_does_not_name_is_left_out() -> None:
    named = replace(COST, match=(("model", "other"),))
    node = worked(Node(named), *steady())

    assert node.state.kept == {}
    assert node.state.past[-1].whole == frozenset()


def test_without_such_an_objective_nobody_looks_which_tokens_were_told() -> None:
    node = worked(Node(objective("errors")), *steady())

    assert all(one.whole == frozenset() for one in node.state.past)


def test_tokens_of_a_gateway_are_judged_where_no_engine_counts_them() -> None:
    """And it is said that they are a gateway's."""
    engine = replace(A, model="chat")
    silent = read_page('vllm:num_requests_running{engine="0",model_name="llama"} 1\n')
    ticks = [{engine: silent, target("gate"): litellm(ok=5 * n)} for n in range(13)]
    node = worked(Node(COST, SPEED), *ticks)

    assert told(node, "cost", "chat") == (35.0, 35.0, None)
    assert node.state.kept["cost", "chat"].source == "gateway"
    why = "how many of its requests run is not known"
    assert told(node, "throughput", "chat") == (0.0, 0.0, why)


# --- not known, and why --------------------------------------------------------------------------


def test_an_engine_with_gpus_elsewhere_is_judged_by_speed_alone() -> None:
    node = worked(Node(COST, ENERGY, SPEED), *steady(replace(A, gpus_per_rank=4)))
    why = "1 of the 4 GPUs of a are on this node: sum burnmeter_cost_dollars_total over its nodes"

    assert told(node, "cost") == (0.0, 0.0, why)
    assert told(node, "energy") == (0.0, 0.0, why)
    assert told(node, "throughput") == (35.0, 35.0, None)


def test_gpus_that_several_models_share_undivided_have_no_cost_per_token() -> None:
    both = vllm(tokens=5.0), vllm(tokens=5.0, model="lora")
    page = both[0]._replace(
        series=(*both[0].series, *both[1].series), values=[*both[0].values, *both[1].values]
    )
    node = worked(Node(COST), *[{A: page}] * 13)
    why = "its GPUs serve llama,lora together, and are not divided"

    assert told(node, "cost") == (0.0, 0.0, why)
    assert told(node, "cost", "lora") == (0.0, 0.0, why)


def test_a_model_without_gpus_here_has_no_cost_but_a_speed() -> None:
    node = Node(COST, SPEED)
    for seen in steady():
        node.tick(seen)

    assert told(node, "cost") == (0.0, 0.0, "no GPU of this node is known to be its")
    assert told(node, "throughput") == (35.0, 35.0, None)


def test_an_engine_that_does_not_say_how_many_requests_run_has_no_throughput() -> None:
    page = "llamacpp:tokens_predicted_total {}\n"
    node = worked(
        Node(SPEED), *[{replace(A, model="chat"): read_page(page.format(n))} for n in range(13)]
    )

    why = "a: this page has none of `llamacpp:requests_processing`"
    assert told(node, "throughput", "chat") == (0.0, 0.0, why)


def test_one_of_two_engines_that_cannot_be_read_leaves_the_model_unmeasured() -> None:
    """Its GPU costs all the same, and its tokens would be missing."""
    pages = [{**one, B: vllm(tokens=100.0 * n)} for n, one in enumerate(steady())]
    node = worked(Node(COST), *pages, pids=(10, 20))
    assert told(node, "cost") == (35.0, 35.0, None)

    worked(node, {A: vllm(tokens=650.0), B: HTML}, pids=(10, 20))

    assert told(node, "cost") == (35.0, 35.0, "b: a web page, not metrics")


def test_a_dead_engine_takes_no_tokens_of_the_other_with_it() -> None:
    refused = Failure("refused", "nothing listens")
    pages = [{**one, B: vllm(tokens=100.0 * n)} for n, one in enumerate(steady())]
    node = worked(Node(COST), *pages, pids=(10, 20))

    worked(node, {A: vllm(tokens=650.0), B: refused}, pids=(10,))

    assert told(node, "cost") == (40.0, 40.0, None)


def test_an_idle_model_has_its_time_measured_and_none_of_it_valid() -> None:
    node = worked(Node(COST, ENERGY, SPEED), *[{A: vllm(tokens=7.0)}] * 13)

    for name in ("cost", "energy", "throughput"):
        assert told(node, name) == (0.0, 0.0, None)
        assert node.state.kept[name, "llama"].ledger[-1].measured_seconds == 35.0


def test_a_target_that_is_read_seldom_is_judged_when_it_is() -> None:
    seldom = replace(A, least_interval_seconds=15.0)
    node = Node(COST)
    for n in range(13):
        at = powered(node.at, 10)
        if n % 3 == 0:
            node.tick({seldom: vllm(tokens=50.0 * n, running=1)}, gpus=at, table=TABLE)
        else:
            node.rest(seldom, gpus=at, table=TABLE)

    # At 30, 45 and 60 s, 15 s each.
    assert told(node, "cost") == (45.0, 45.0, None)
    assert node.state.kept["cost", "llama"].watched_seconds == 60.0


def test_who_has_only_a_probe_has_no_gpu() -> None:
    probe = replace(target("probe", origin="probe"), model="sea")
    page = read_page('burnmeter_probe:requests_total{model="sea",outcome="ok"} 1\n')
    node = worked(Node(COST), *[{probe: page}] * 13)

    assert told(node, "cost", "sea") == (0.0, 0.0, "no GPU of this node is known to be its")


# --- over any history ----------------------------------------------------------------------------


class Step(NamedTuple):
    """A tick: after how long, and what became of either engine."""

    seconds: float
    looks: tuple[str, str]


STEPS = st.builds(
    Step,
    st.sampled_from([5.0, 5.0, 5.0, 6.0, 20.0]),
    st.tuples(*[st.sampled_from(["read"] * 4 + ["html", "timeout", "rest"])] * 2),
)
ENGINES = {A: 10.0, B: 4.0}
"""Tokens per second of each, at all times; each runs two requests on a GPU."""
TRUTH = {
    "cost": (("threshold_dollars_per_million_tokens", 0.002 / 14.0 * 1e6), -1),
    "energy": (("threshold_joules_per_token", 1000.0 / 14.0), -1),
    "throughput": (("threshold_tokens_per_second", 14.0 / 4.0), 1),
}
"""Indicator -> the threshold that is the truth, and on which side is good."""


def bracketed() -> list[Objective]:
    """For each indicator one objective that must always be met, and one that never can."""
    return [
        objective(indicator, name=f"{indicator}-{word}", **{key: truth * (1 + side * offset)})
        for indicator, ((key, truth), side) in TRUTH.items()
        for word, offset in (("met", -1e-6), ("missed", 1e-6))
    ]


def look(at: float, one: Target, what: str) -> tuple[PageReading, Page | None]:
    failure = UNREAD.get(what)
    page = vllm(tokens=ENGINES[one] * at, running=2.0) if failure is None else None
    return reading(at, failure, name=one.name), page


def taken(node: Node, at: float, looks: dict[Target, str]) -> None:
    """A tick at which each engine was read, could not be, or was left to rest."""
    readings = Readings(
        at_seconds=at,
        timestamp_seconds=1000.0 + at,
        targets=tuple(looks),
        pages={one.name: look(at, one, what) for one, what in looks.items() if what != "rest"},
        gpus=GpuReading(
            at_seconds=at,
            timestamp_seconds=at,
            duration_seconds=0.0,
            gpus=tuple(powered(at, 10, 20)),
        ),
        processes=ProcessReading(
            at_seconds=at, timestamp_seconds=at, duration_seconds=0.0, processes=TABLE
        ),
    )
    node.state = pipeline.tick(node.state, readings, node.settings)


@given(st.lists(STEPS, min_size=8, max_size=40))
def test_what_is_judged_is_the_truth_whichever_pages_could_not_be_read(steps: list[Step]) -> None:
    node, at = Node(*bracketed()), 0.0
    taken(node, at, dict.fromkeys(ENGINES, "read"))
    for step in steps:
        at += step.seconds
        taken(node, at, dict(zip(ENGINES, step.looks, strict=True)))

    for (name, _), kept in node.state.kept.items():
        last = kept.ledger[-1]
        assert last.good_lower == (last.valid if name.endswith("met") else 0.0)
        assert last.valid == last.measured_seconds <= kept.watched_seconds <= at


def test_of_a_history_without_a_failure_all_but_the_first_half_minute_is_judged() -> None:
    """So that the property above is not true of nothing."""
    node = Node(*bracketed())
    for number in range(121):
        taken(node, 5.0 * number, dict.fromkeys(ENGINES, "read"))

    assert [kept.ledger[-1].valid for kept in node.state.kept.values()] == [575.0] * 6
