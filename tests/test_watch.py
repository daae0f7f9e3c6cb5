"""What one look at one target decides: up, down, stalled, restarted, gone, and for how long."""

from dataclasses import replace

import pytest

from burnmeter import watch
from burnmeter.model import Failure, Target
from burnmeter.naming import model_namer
from burnmeter.page import Page, read_page
from burnmeter.sli import Slice
from burnmeter.watch import Look, Watched
from tests.fakes import LOST, TOKENS, reading, target, terms, vllm

REFUSED = Failure("refused", "nothing listens on 127.0.0.1:8000")
TIMEOUT = Failure("timeout", "no answer within 4 s")
HTML = Failure("html", "a web page, not metrics")
Seen = Page | Failure


def looks(*seen: Seen, every: float = 5.0, of: Target | None = None) -> list[Look]:
    """One look after the other, five seconds apart."""
    found: list[Look] = []
    was = Watched(target=of or target())
    for number, one in enumerate(seen):
        failure = one if isinstance(one, Failure) else None
        page = None if isinstance(one, Failure) else one
        found.append(watch.look(was, reading(every * number, failure), page, terms()))
        was = found[-1].watched
    return found


def events(*seen: Seen) -> list[tuple[str, str]]:
    return [event for look in looks(*seen) for event in look.events]


def stalls(*seen: Seen, every: float = 5.0) -> list[bool | None]:
    return [look.watched.is_stalled for look in looks(*seen, every=every)]


# --- up and down ---------------------------------------------------------------------------------


def test_a_target_that_answers_is_up_and_its_time_is_good() -> None:
    _, second = looks(vllm(), vllm())

    assert second.watched.is_up
    assert second.slice == Slice(5.0, True)


@pytest.mark.parametrize(
    ("failure", "is_good"),
    [
        pytest.param(REFUSED, False, id="users are refused too"),
        pytest.param(TIMEOUT, False, id="users wait too"),
        pytest.param(HTML, None, id="only we cannot read it"),
    ],
)
def test_time_without_a_page_is_bad_only_if_users_are_not_served(
    failure: Failure, is_good: bool | None
) -> None:
    assert looks(vllm(), failure, failure)[2].slice == Slice(5.0, is_good)


def test_one_page_that_came_too_late_is_no_outage_but_two_are() -> None:
    assert [look.watched.is_down for look in looks(vllm(), TIMEOUT, TIMEOUT, vllm(), TIMEOUT)] == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert looks(vllm(), TIMEOUT)[1].slice == Slice(5.0, None)


def test_what_refuses_is_down_at_once_and_so_is_what_never_answered() -> None:
    assert looks(vllm(), REFUSED)[1].watched.is_down
    assert looks(TIMEOUT)[0].watched.is_down


def test_what_cannot_be_read_is_not_down() -> None:
    assert not looks(HTML, HTML, HTML)[2].watched.is_down


def test_a_page_of_no_known_engine_is_a_failure() -> None:
    (look,) = looks(read_page("node_load1 3\n"))

    assert look.watched.failure is not None
    assert look.watched.failure.kind == "unknown_engine"


@pytest.mark.parametrize(
    ("origin", "is_said"), [("process", True), ("config", False), ("simulated", False)]
)
def test_of_a_discovered_engine_an_unknown_page_tells_what_turns_its_metrics_on(
    origin: str, is_said: bool
) -> None:
    ours = replace(target(), origin=origin, remedy="start it without --quiet")

    (look,) = looks(read_page("other_metric 1\n"), of=ours)

    assert look.watched.failure is not None
    said = look.watched.failure.message.endswith(
        ". If its metrics are off: start it without --quiet"
    )
    assert said == is_said


def test_a_look_that_comes_late_was_not_watched() -> None:
    """A suspended agent measures nothing."""
    assert looks(vllm(), vllm(), every=3600.0)[1].slice == Slice(3600.0, None)


# --- stalls --------------------------------------------------------------------------------------


def test_what_holds_requests_and_does_not_move_is_stalled_within_two_looks() -> None:
    frozen = vllm(tokens=5, running=2)

    assert stalls(vllm(tokens=4, running=2), frozen, frozen, frozen) == [False, False, False, True]


def test_a_look_that_comes_a_little_early_finds_the_stall_all_the_same() -> None:
    frozen = vllm(running=2)

    assert stalls(frozen, frozen, frozen, every=4.9) == [False, False, True]


def test_requests_that_only_wait_stall_too() -> None:
    assert stalls(*[vllm(waiting=1)] * 3)[2]


def test_an_idle_engine_is_not_stalled() -> None:
    assert stalls(*[vllm()] * 4) == [False] * 4


def test_the_first_request_after_a_long_rest_has_time_to_move() -> None:
    assert stalls(*[vllm()] * 9, vllm(running=1), vllm(running=1)) == [False] * 11


def test_an_engine_that_does_not_say_what_it_holds_is_not_known_to_be_stalled() -> None:
    page = read_page('vllm:generation_tokens_total{model_name="llama"} 5\n')

    assert stalls(*[page] * 3) == [None] * 3


def test_a_stall_is_not_forgotten_over_a_page_that_did_not_come() -> None:
    frozen = vllm(tokens=5, running=2)

    found = looks(frozen, frozen, frozen, TIMEOUT, frozen)

    assert [look.watched.is_stalled for look in found] == [False, False, True, None, True]
    assert found[4].slice.is_good is False


def test_a_stall_ends_with_the_first_move() -> None:
    frozen = vllm(tokens=5, running=2)

    found = looks(frozen, frozen, frozen, vllm(tokens=6, running=2))

    assert found[3].watched.is_stalled is False
    assert found[3].slice == Slice(5.0, True)
    assert found[3].events == (("resumed", "the engine moves again"),)


def test_an_engine_that_restarts_is_not_stalled_by_its_past() -> None:
    old, new = vllm(running=2, started=1.0), vllm(running=2, started=1050.0)

    assert stalls(old, old, new) == [False, False, False]


# --- what is told --------------------------------------------------------------------------------


def test_each_turn_is_told_once() -> None:
    frozen = vllm(tokens=5, running=2)

    assert events(frozen, frozen, frozen, frozen, REFUSED, REFUSED) == [
        ("up", "the engine answers"),
        ("stalled", "2 requests are held and nothing has moved for 10 s"),
        ("down", "nothing listens on 127.0.0.1:8000; about 2 requests were lost"),
    ]


def test_one_request_is_told_as_one() -> None:
    assert events(vllm(running=1), REFUSED)[1][1].endswith("; about 1 request was lost")
    assert events(*[vllm(running=1)] * 3)[1][1].startswith("1 request is held")


def test_a_restart_tells_what_was_lost() -> None:
    assert events(vllm(running=3, started=1.0), vllm(started=1050.0))[1:] == [
        ("restart", "the engine restarted; about 3 requests were lost")
    ]


def test_a_gap_of_the_agent_is_told_with_its_length() -> None:
    _, second = looks(vllm(), vllm(), every=60.0)

    assert second.events == (("gap", "not watched for 55 s"),)


def test_a_target_that_was_down_explains_its_own_gap() -> None:
    assert [kind for kind, _ in events(vllm(), REFUSED, REFUSED, vllm())] == ["up", "down", "up"]


@pytest.mark.parametrize(
    ("seen", "measure", "why"),
    [
        pytest.param(HTML, "ttft_seconds", "a: a web page, not metrics", id="unreadable"),
        pytest.param(
            vllm(),
            "ttft_seconds",
            "a: this page has none of `vllm:time_to_first_token_seconds`",
            id="not on the page",
        ),
        pytest.param(vllm(), "tokens_total", "a: nothing was counted", id="on the page"),
        pytest.param(vllm(), None, "a: it was not watched for a while", id="time"),
    ],
)
def test_what_is_not_measured_has_a_reason(seen: Seen, measure: str | None, why: str) -> None:
    assert watch.unmeasured(looks(seen)[0].watched, measure) == why


# --- death ---------------------------------------------------------------------------------------


def test_what_was_in_flight_is_lost_once_when_the_engine_dies() -> None:
    found = looks(vllm(tokens=5, running=3, started=1.0), REFUSED, REFUSED, vllm(started=1050.0))

    lost = [look.growth.counters.get(LOST) if look.growth else None for look in found]
    assert lost == [None, 3.0, None, None]
    assert found[3].watched.restarts == 1


def test_a_page_that_times_out_loses_nothing_yet() -> None:
    assert looks(vllm(running=3), TIMEOUT)[1].growth is None


def test_a_process_that_is_gone_is_shown_for_an_hour() -> None:
    (first,) = looks(vllm(running=3), of=target(pid=10, origin="process"))
    gone = watch.vanish(first.watched, 5.0, terms())
    later = watch.vanish(gone.watched, 3605.0, terms())

    assert gone.events == (
        ("down", "the process 10 that listened is no longer there; about 3 requests were lost"),
    )
    assert gone.slice == Slice(5.0, False)
    assert later.growth is None
    assert not watch.is_forgotten(later.watched, 3605.0)
    assert watch.is_forgotten(later.watched, 3606.0)


def test_a_process_that_comes_back_is_not_gone_any_more() -> None:
    (first,) = looks(vllm(), of=target(pid=10, origin="process"))
    gone = watch.vanish(first.watched, 5.0, terms())

    back = watch.look(gone.watched, reading(10.0), vllm(), terms())

    assert not watch.is_forgotten(back.watched, 1e9)


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "word", "name"),
    [
        pytest.param(target(), "/models/x", "/models/x", id="the engine's own word"),
        pytest.param(target(), "x", "ours", id="the config's mapping of it"),
        pytest.param(replace(target(), model="chat"), "x", "chat", id="the config's word"),
        pytest.param(replace(target(), served_model="x"), "y", "ours", id="mapped served name"),
        pytest.param(replace(target(), served_model="s"), "", "s", id="served name"),
        pytest.param(target(), "", "a", id="the target's name when nobody has another"),
    ],
)
def test_a_model_s_name_is_the_best_that_somebody_gave_it(
    named: Target, word: str, name: str
) -> None:
    assert model_namer(named, {"x": "ours"}, None)(word, True) == name


def test_growth_is_counted_for_our_name_of_the_model() -> None:
    mapped = terms(model_names={"llama": "chat"})
    was = Watched(target=target())
    for at, tokens in ((0.0, 5.0), (5.0, 9.0)):
        look = watch.look(was, reading(at), vllm(tokens=tokens), mapped)
        was = look.watched

    chat = TOKENS._replace(labels=(("kind", "generated"), ("model", "chat")))
    assert look.growth is not None
    assert look.growth.counters[chat] == 4.0
    assert was.models == ("chat",)
