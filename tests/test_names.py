"""How many models' names a target may bring, how long they are held, and that no sum suffers."""

from dataclasses import replace

import pytest

from burnmeter import names, views
from burnmeter.frame import Frame, burns
from burnmeter.model import Share, Spend
from burnmeter.names import FORGET_AFTER_SECONDS, OVERFLOW
from burnmeter.page import Page, read_page
from burnmeter.pipeline import State
from tests.fakes import gpu, objective, processes, target
from tests.test_pipeline import REFUSED, Node

CROWD = 5000
MOST = 64
A = target("a", pid=10)
OBJECTIVES = objective("availability"), objective("errors")


def crowd(tokens: float, *models: str) -> Page:
    """A page on which each model has made so many tokens."""
    lines = [
        f'vllm:{name}{{engine="0",model_name="{model}"{more}}} {value}'
        for model in models
        for name, more, value in (
            ("generation_tokens_total", "", tokens),
            ("request_success_total", ',finished_reason="stop"', tokens / 10),
            ("num_requests_running", "", 1),
        )
    ]
    return read_page("\n".join(lines) + "\n")


def everybody() -> list[str]:
    return [f"lora-{number:04d}" for number in range(CROWD)]


def named(state: State) -> set[str]:
    """Every model that has totals."""
    return {dict(key.labels)["model"] for key in state.counters}


def spent(state: State) -> tuple[float, float, float]:
    """Seconds, joules and dollars of all shares."""
    spends = state.purse.spends.values()
    return (
        sum(spend.gpu_seconds for spend in spends),
        sum(spend.joules or 0.0 for spend in spends),
        sum(spend.dollars or 0.0 for spend in spends),
    )


# --- one page ------------------------------------------------------------------------------------


def test_a_page_of_five_thousand_models_has_a_bounded_number_and_loses_no_token() -> None:
    node = Node(*OBJECTIVES)
    for tokens in (10.0, 30.0, 60.0):
        state = node.tick({A: crowd(tokens, *everybody())})

    found = burns(state, OBJECTIVES)
    assert len(named(state)) == MOST + 1
    assert len(found) == len(OBJECTIVES) * (MOST + 1)
    assert node.total("tokens_total") == CROWD * 50.0
    assert node.total("tokens_total", model="lora-0000") == 50.0
    assert node.total("tokens_total", model=OVERFLOW) == (CROWD - MOST) * 50.0
    assert node.total("requests_total", outcome="ok") == CROWD * 5.0
    assert len(state.watched["a"].models) == MOST + 1


def test_what_is_known_keeps_its_place_when_others_come() -> None:
    node = Node()
    node.tick({A: crowd(0.0, "zephyr")})

    node.tick({A: crowd(5.0, "zephyr", *everybody())})

    assert node.total("tokens_total", model="zephyr") == 5.0
    assert len(named(node.state)) == MOST + 1


def test_exactly_as_many_as_the_limit_need_no_other() -> None:
    state = Node().tick({A: crowd(0.0, *everybody()[:MOST])})

    assert state.watched["a"].plan is not None
    assert state.watched["a"].plan.beyond == 0
    assert OVERFLOW not in state.watched["a"].models


def test_a_name_is_cut_where_it_is_longer_than_any_that_may_be_set() -> None:
    long = "m" * 5000

    (name,) = Node().tick({A: crowd(0.0, long)}).watched["a"].models

    assert name == "m" * (names.LONGEST - 1) + "…"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("a\\nINFO forged", r"a\x0aINFO forged"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\x7f\x9b", r"a\x7f\x9b"),
        ("a\u202ecba", r"a\u202ecba"),
        ("Qwen/Größe 模型", "Qwen/Größe 模型"),
    ],
)
def test_a_name_steers_neither_a_terminal_nor_a_log(word: str, name: str) -> None:
    """In a page's text `\\n` is a new line."""
    (one,) = Node().tick({A: crowd(0.0, word)}).watched.values()

    assert one.models == (name,)
    assert views.target_view(one, 0.0).engine_model == name


def test_a_name_on_a_command_line_is_made_visible_before_a_page_was_read() -> None:
    started = replace(A, served_model="a\x1b[2J")

    assert Node().tick({started: REFUSED}).watched["a"].models == (r"a\x1b[2J",)


def test_what_was_made_visible_stays_as_it_is() -> None:
    assert names.visible(names.visible("a\x00\x1b")) == r"a\x00\x1b"


def test_models_whose_names_begin_alike_for_too_long_are_one() -> None:
    node = Node()
    for tokens in (0.0, 4.0):
        node.tick({A: crowd(tokens, "m" * 300 + "a", "m" * 300 + "b")})

    assert node.total("tokens_total") == 8.0
    assert len(named(node.state)) == 1


def test_what_a_target_shows_of_its_models_is_cut() -> None:
    (one,) = Node().tick({A: crowd(0.0, *everybody())}).watched.values()

    view = views.target_view(one, 0.0)

    assert len(view.model or "") == len(view.engine_model or "") == names.LONGEST


# --- names that change ---------------------------------------------------------------------------


@pytest.mark.parametrize("every", [5.0, 60.0], ids=["faster than forgotten", "slower"])
def test_names_that_change_all_the_time_leave_no_more_behind_than_places(every: float) -> None:
    node, frame = Node(*OBJECTIVES), None
    node.settings = replace(
        node.settings, terms=replace(node.settings.terms, interval_seconds=every)
    )
    for number in range(300):
        state = node.tick(
            {A: crowd(100.0 + number, f"lora-{number}", "base")},
            gpus=[gpu("GPU-0", 10, energy_joules=1000.0 * number)],
            table=processes((10, 1)),
            every=every,
        )
        frame, _ = views.turn(
            node.state,
            node.settings,
            timestamp_seconds=node.at,
            at_seconds=node.at,
            before=frame,
        )
        assert len(named(state)) <= MOST + 2  # and those that left within this very tick
        assert len(state.purse.spends) <= 3 * (MOST + 2)
        assert len(state.shown) <= 2 * len(OBJECTIVES)
        assert len(state.kept) <= (MOST + 2) * len(OBJECTIVES)
        assert len(frame.history) <= 2
        assert len(state.watched["a"].names_held) <= MOST + 1
        seconds, joules, dollars = spent(state)
        assert seconds == pytest.approx(number * every)
        assert joules == pytest.approx(number * 1000.0)
        assert dollars == pytest.approx(number * every * 3.6 / 3600)


def shown(node: Node) -> Frame:
    """The node's state, ready to be viewed."""
    return Frame(
        state=node.state,
        settings=node.settings,
        timestamp_seconds=node.at,
        at_seconds=node.at,
        burns=burns(node.state, OBJECTIVES),
    )


def after_leaving(node: Node, seconds: float) -> State:
    """A model counts from 100 to 150 and leaves the page for so long."""
    node.tick({A: crowd(100.0, "base", "lora")})
    node.tick({A: crowd(150.0, "base", "lora")})
    for _ in range(int(seconds / 60)):
        state = node.tick({A: crowd(150.0, "base")}, every=60.0)
    return state


def test_a_model_that_left_the_page_keeps_its_totals_for_a_while() -> None:
    node = Node()
    after_leaving(node, FORGET_AFTER_SECONDS)

    node.tick({A: crowd(160.0, "base", "lora")})

    assert node.total("tokens_total", model="lora") == 60.0


def test_a_model_that_comes_back_after_it_was_forgotten_begins_anew_without_a_leap() -> None:
    node = Node()
    assert named(after_leaving(node, FORGET_AFTER_SECONDS + 120)) == {"base"}

    node.tick({A: crowd(160.0, "base", "lora")})

    assert node.total("tokens_total", model="lora") == 10.0
    assert node.total("tokens_total", model="base") == 60.0


def test_an_engine_that_is_down_forgets_no_model_that_was_on_its_last_page() -> None:
    node = Node()
    node.tick({A: crowd(100.0, "lora")})
    node.tick({A: crowd(150.0, "lora")})
    for _ in range(20):
        node.tick({A: REFUSED}, every=60.0)

    assert node.total("tokens_total", model="lora") == 50.0


def test_a_place_that_falls_free_is_given_to_a_model_that_had_none() -> None:
    node = Node()
    old, new = everybody()[:MOST], everybody()[MOST : 2 * MOST]
    node.tick({A: crowd(10.0, *old)})
    node.tick({A: crowd(20.0, *new)})
    assert node.state.watched["a"].models == (OVERFLOW,)

    for _ in range(12):
        node.tick({A: crowd(20.0, *new)}, every=60.0)
    node.tick({A: crowd(25.0, *new)})

    assert named(node.state) == {*new, OVERFLOW}
    assert node.total("tokens_total", model=new[0]) == 5.0


def test_a_target_that_is_named_anew_need_not_wait_for_a_place() -> None:
    node = Node()
    node.tick({A: crowd(0.0, *everybody())})

    node.tick({replace(A, model="chat"): crowd(1.0, *everybody())})

    assert node.state.watched["a"].models == ("chat",)
    assert node.total("tokens_total", model="chat") == CROWD


# --- the bill ------------------------------------------------------------------------------------


def test_what_a_forgotten_model_had_spent_is_nobodys_but_not_lost() -> None:
    node = Node()

    def run(model: str, every: float) -> State:
        held = [gpu("GPU-0", 10, energy_joules=node.at)]
        return node.tick({A: crowd(0.0, model)}, gpus=held, table=processes((10, 1)), every=every)

    run("old", 5.0)
    run("old", 5.0)
    for _ in range(12):
        state = run("new", 60.0)

    spends = {share.model: spend for share, spend in state.purse.spends.items()}
    assert spends[""] == Spend(5.0, 5.0, pytest.approx(0.005), 5.0, 5.0)
    assert spends.keys() == {"", "new"}
    assert spent(state) == pytest.approx((670.0, 670.0, 0.67))


def test_shares_of_targets_that_are_not_watched_are_left_as_they_are() -> None:
    node = Node()
    node.tick({A: crowd(0.0, "m")}, gpus=[gpu("GPU-0", 10)], table=processes((10, 1)))
    node.tick({A: crowd(0.0, "m")}, gpus=[gpu("GPU-0", 10)], table=processes((10, 1)))

    state = node.tick({}, gpus=[gpu("GPU-0")])

    assert Share("GPU-0", "m", "a", "busy", "process_tree") in state.purse.spends
