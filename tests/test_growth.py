"""What happened between two pages of one target: restarts, ranks, gaps and first sight."""

from dataclasses import replace

import pytest

from burnmeter import growth
from burnmeter.growth import Identity, Seen
from burnmeter.model import EnginePage, Growth
from tests.fakes import (
    CANCELLED,
    DURATION,
    LOST,
    MODEL,
    OK,
    TOKENS,
    TTFT,
    histogram,
    key,
    page,
    requests,
)

UNKNOWN = Identity(None, None, None)
ESTIMATE = ("ttft_seconds", "duration_seconds")
WATCHING_SINCE = 1000.0


def look(
    seen: Seen | None,
    found: EnginePage,
    at: float = 0.0,
    *,
    identity: Identity | None = None,
) -> tuple[Seen, Growth]:
    """One look at a target; who answers is what the page says, if nothing else is given."""
    return growth.grow(
        seen,
        found,
        at_seconds=at,
        identity=identity or UNKNOWN._replace(page_started_timestamp_seconds=page_start(found)),
        watching_since_timestamp_seconds=WATCHING_SINCE,
        interval_seconds=5.0,
        cancelled_estimate=ESTIMATE,
    )


def page_start(found: EnginePage) -> float | None:
    return found.started_timestamp_seconds


def grown(*pages: EnginePage, identities: tuple[Identity | None, ...] = ()) -> Growth:
    """What happened at the last of several looks, five seconds apart."""
    seen: Seen | None = None
    for number, found in enumerate(pages):
        who = identities[number] if identities else None
        seen, last = look(seen, found, 5.0 * number, identity=who)
    return last


# --- first sight ---------------------------------------------------------------------------------


def test_at_first_sight_nothing_has_happened() -> None:
    first = grown(page({TOKENS: 500.0}, histograms={TTFT: histogram([0.3])}, started=900.0))

    assert first.is_first_sight
    assert first.counters[TOKENS] == 0.0
    assert first.histograms[TTFT].total == 0.0


def test_an_engine_younger_than_our_watch_is_counted_from_its_beginning() -> None:
    first = grown(page({TOKENS: 500.0}, histograms={TTFT: histogram([0.3])}, started=1001.0))

    assert first.counters[TOKENS] == 500.0
    assert first.histograms[TTFT].total == 1.0


def test_the_process_says_when_it_began_where_the_page_does_not() -> None:
    young = Identity(None, 10, 1001.0)

    assert grown(page({TOKENS: 7.0}), identities=(young,)).counters[TOKENS] == 7.0


def test_a_series_born_late_is_counted_from_zero() -> None:
    errors = requests("error", "http")

    last = grown(page({TOKENS: 5.0}), page({TOKENS: 5.0, errors: 2.0}))

    assert last.counters[errors] == 2.0


def test_a_series_named_after_another_model_later_is_not_counted_again() -> None:
    before, after = (requests("error", "http", model=name) for name in ("llama", ""))

    last = grown(page({before: 40.0}), page({after: 41.0}), page({before: 42.0}))

    assert last.counters[before] == 1.0


# --- restarts ------------------------------------------------------------------------------------


def test_another_start_time_on_the_page_is_a_restart_even_if_every_counter_rose() -> None:
    last = grown(page({TOKENS: 5.0}, started=1.0), page({TOKENS: 9.0}, started=1050.0))

    assert last.is_restart
    assert last.counters[TOKENS] == 9.0


def test_the_same_start_time_on_the_page_outweighs_another_process() -> None:
    two = Identity(1.0, 10, None), Identity(1.0, 11, None)

    last = grown(page({TOKENS: 5.0}), page({TOKENS: 9.0}), identities=two)

    assert not last.is_restart
    assert last.counters[TOKENS] == 4.0


def test_another_process_is_a_restart_where_the_page_has_no_start_time() -> None:
    two = Identity(None, 10, 900.0), Identity(None, 11, 950.0)

    last = grown(page({TOKENS: 5.0}), page({TOKENS: 9.0}), identities=two)

    assert last.is_restart
    assert last.counters[TOKENS] == 9.0


def test_a_wall_clock_that_was_set_is_no_restart() -> None:
    """The kernel's start times move with it; the process is the same."""
    two = Identity(None, 10, 900.0), Identity(None, 10, 4500.0)

    last = grown(page({TOKENS: 5.0}), page({TOKENS: 9.0}), identities=two)

    assert not last.is_restart
    assert last.counters[TOKENS] == 4.0


def test_a_fall_of_the_counters_is_a_restart_where_nobody_says_who_answers() -> None:
    last = grown(page({TOKENS: 500.0, OK: 5.0}), page({TOKENS: 30.0, OK: 1.0}))

    assert last.is_restart
    assert last.counters == {TOKENS: 30.0, OK: 1.0}


def test_a_restart_seen_by_a_fall_is_not_seen_again_when_its_process_is_found() -> None:
    """The table of processes is looked at less often than the page."""
    old, new = Identity(None, 10, None), Identity(None, 11, None)
    pages = page({TOKENS: 500.0}), page({TOKENS: 30.0}), page({TOKENS: 31.0})

    last = grown(*pages, identities=(old, old, new))

    assert not last.is_restart
    assert last.counters[TOKENS] == 1.0


# --- ranks ---------------------------------------------------------------------------------------


def test_a_rank_that_comes_back_goes_on_from_where_it_left() -> None:
    both = page({TOKENS: {"0": 10.0, "1": 100.0}})
    back = page({TOKENS: {"0": 12.0, "1": 104.0}})

    assert grown(both, page({TOKENS: {"0": 11.0}}), back).counters[TOKENS] == 5.0


def test_one_of_two_ranks_that_restarts_alone_counts_the_other_only_once() -> None:
    last = grown(
        page({TOKENS: {"0": 10.0, "1": 100.0}}, running=4),
        page({TOKENS: {"0": 12.0, "1": 3.0}}, running=4),
    )

    assert not last.is_restart
    assert last.counters[TOKENS] == 2.0 + 3.0
    assert LOST not in last.counters


def test_what_left_is_remembered_only_within_a_limit_and_what_left_last_the_longest() -> None:
    many = {str(rank): 1.0 for rank in range(growth.PARTS_KEPT + 1)}
    seen, _ = look(None, page({TOKENS: many, OK: {"0": 1.0, "1": 7.0}}))
    seen, _ = look(seen, page({TOKENS: {}, OK: {"0": 1.0}}), 5.0)

    assert sum(map(len, seen.counters.values())) == growth.PARTS_KEPT + 1
    last = str(growth.PARTS_KEPT)
    assert look(seen, page({TOKENS: {"0": 1.0, last: 3.0}}), 10.0)[1].counters[TOKENS] == 1.0 + 2.0
    assert look(seen, page({OK: {"0": 1.0, "1": 8.0}}), 10.0)[1].counters[OK] == 1.0


# --- buckets -------------------------------------------------------------------------------------


def test_other_buckets_after_a_restart_are_counted_from_zero() -> None:
    fine = histogram([0.3, 0.3], bounds=(0.2, 0.4))

    last = grown(
        page(histograms={TTFT: histogram([0.3] * 9)}, started=1.0),
        page(histograms={TTFT: fine}, started=1050.0),
    )

    assert last.histograms[TTFT] == fine


# --- gaps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "gap_seconds"),
    [
        pytest.param(5.0, 0.0, id="on time"),
        pytest.param(9.0, 0.0, id="late"),
        pytest.param(30.0, 25.0, id="five looks missing"),
    ],
)
def test_what_happened_in_a_gap_is_counted_once(seconds: float, gap_seconds: float) -> None:
    seen, _ = look(None, page({TOKENS: 5.0}))

    _, last = look(seen, page({TOKENS: 65.0}), seconds)

    assert last.counters[TOKENS] == 60.0
    assert (last.seconds, last.gap_seconds) == (seconds, gap_seconds)


# --- lost ----------------------------------------------------------------------------------------


def test_a_restart_loses_what_ran_and_waited() -> None:
    last = grown(page(running=2, waiting=1, started=1.0), page(running=0, started=1050.0))

    assert last.counters[LOST] == 3.0


def test_what_was_buried_is_not_lost_again_by_the_restart() -> None:
    before = page({OK: 7.0}, running=3, started=1.0)
    seen, _ = look(None, before)

    seen, last = growth.bury(seen, before)
    again, nothing = growth.bury(seen, before)

    assert last.counters == {OK: 0.0, LOST: 3.0}
    assert nothing.counters == {OK: 0.0}
    assert LOST not in look(again, page(running=0, started=1050.0), 60.0)[1].counters


# --- cancelled -----------------------------------------------------------------------------------


def served(begun: int, finished: int, running: float, waiting: float = 0.0) -> EnginePage:
    """A page after so many first tokens and finished requests."""
    seen = {TTFT: histogram([0.3] * begun), DURATION: histogram([0.9] * finished)}
    return page(histograms=seen, running=running, waiting=waiting)


def cancelled(*pages: EnginePage) -> list[float]:
    """What each look counted as cancelled."""
    seen: Seen | None = None
    found = []
    for number, one in enumerate(pages):
        seen, last = look(seen, one, 5.0 * number)
        found.append(last.counters[CANCELLED])
    return found


def test_a_first_token_without_a_finish_was_cancelled_if_two_looks_agree() -> None:
    # 4 begin, 1 finishes, 1 runs: 2 are missing; the second look counts them, the third no more.
    assert cancelled(served(0, 0, 0), *[served(4, 1, 1)] * 3) == [0, 0, 2, 0]


def test_a_gauge_that_lags_by_one_look_cancels_nothing() -> None:
    pages = [served(0, 0, 0), served(4, 0, 0), served(4, 0, 4), served(4, 4, 0)]

    assert cancelled(*pages) == [0, 0, 0, 0]


def test_a_preempted_request_waits_and_is_not_cancelled() -> None:
    pages = [served(0, 0, 0), *[served(3, 0, 1, waiting=2)] * 3, served(3, 3, 0)]

    assert sum(cancelled(*pages)) == 0


def test_a_request_with_several_answers_is_not_cancelled() -> None:
    """n = 3: three first tokens, three running, three finishes."""
    assert sum(cancelled(served(0, 0, 0), served(3, 0, 3), served(3, 3, 0), served(3, 3, 0))) == 0


def test_requests_that_waited_at_first_sight_are_not_cancelled_when_they_finish() -> None:
    """Of 6 held, 1 has had its first token; all 6 begin and finish under our eyes."""
    pages = [served(1, 0, 1, waiting=5), served(6, 3, 3), *[served(6, 6, 0)] * 3]

    assert sum(cancelled(*pages)) == 0


def test_requests_that_ran_at_first_sight_are_seen_to_be_cancelled() -> None:
    # 10 began and 7 finished before us, 3 run; all 3 go without a finish.
    assert cancelled(served(10, 7, 3), *[served(10, 7, 0)] * 3) == [0, 0, 3, 0]


def test_cancellations_from_before_our_time_are_not_ours() -> None:
    """50 of 60 were cancelled long ago; what runs now finishes."""
    pages = [served(60, 7, 3), served(60, 10, 0), served(60, 10, 0), served(60, 10, 0)]

    assert sum(cancelled(*pages)) == 0


# --- two pages and no more -----------------------------------------------------------------------


def test_between_two_pages_an_excess_counts_at_once() -> None:
    found = growth.between(served(0, 0, 0), served(4, 1, 1), ESTIMATE)

    assert found.counters[CANCELLED] == 2.0


def test_one_page_alone_tells_of_its_engine_s_whole_life() -> None:
    found = growth.between(None, page({TOKENS: 500.0}), ESTIMATE)

    assert found.counters[TOKENS] == 500.0


def test_two_pages_of_two_processes_are_told_apart_by_their_start() -> None:
    before, after = page({TOKENS: 5.0}, started=1.0), page({TOKENS: 9.0}, started=1050.0)

    assert growth.between(before, after, None).is_restart
    assert not growth.between(
        before, replace(after, started_timestamp_seconds=1.0), None
    ).is_restart


def test_gauges_of_two_models_are_held_apart() -> None:
    held = growth.in_flight({key("running_requests"): 2.0, key("waiting_requests", model="b"): 1.0})

    assert held == {"llama": 2.0, "b": 1.0}


def test_what_an_http_server_holds_open_is_what_an_engine_holds() -> None:
    gauges = {
        key("open_requests"): 5.0,
        key("running_requests"): 2.0,
        key("waiting_requests"): 1.0,
        key("running_requests", model="b"): 4.0,
    }

    assert growth.in_flight(gauges) == {MODEL: 5.0, "b": 4.0}


# --- ranks on this machine -----------------------------------------------------------------------

STEPS = key("engine_steps_total")


def two_ranks(here: float, elsewhere: float, *, parts: frozenset[str] | None) -> EnginePage:
    """A head's page of two ranks, as far as it is known which run here."""
    counted = {"0": here, "1": elsewhere}
    made = page({TOKENS: counted, STEPS: counted, OK: counted})
    return replace(made, parts_here=parts)


def test_what_ranks_here_did_is_told_apart_from_what_all_did() -> None:
    ours = frozenset({"0"})

    last = grown(two_ranks(10, 100, parts=ours), two_ranks(15, 180, parts=ours))

    assert last.counters[TOKENS] == 85.0
    assert last.here == {TOKENS: 5.0, STEPS: 5.0}


def test_where_nobody_can_tell_them_apart_nothing_is_said() -> None:
    assert grown(two_ranks(1, 1, parts=None), two_ranks(2, 2, parts=None)).here is None


def test_a_rank_here_that_restarts_alone_is_counted_from_zero() -> None:
    ours = frozenset({"0"})

    last = grown(two_ranks(10, 100, parts=ours), two_ranks(4, 180, parts=ours))

    assert last.here is not None
    assert last.here[TOKENS] == 4.0
