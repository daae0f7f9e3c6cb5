"""What an Alertmanager is told and when: new, again, over, and after a restart."""

from dataclasses import replace
from typing import Any

import pytest

from burnmeter.config_alertmanagers import Alertmanager
from burnmeter.export import alert_book
from burnmeter.export.alert_book import Book, adopted, due, messages, told, turned
from burnmeter.model import Failure
from burnmeter.snapshot import Snapshot, TargetView
from tests import snapshots
from tests.snapshot_parts import LLAMA, NOW, event, target

TERMS = Alertmanager(url="http://am:9093")
TICK_SECONDS = 5.0
DEAD: dict[str, Any] = {
    "is_up": False,
    "is_down": True,
    "failure": Failure("refused", "nothing listens there"),
}


def at(seconds: float, *targets: TargetView, **changes: Any) -> Snapshot:
    return snapshots.empty(targets=targets, timestamp_seconds=NOW + seconds, **changes)


class Talk:
    """An Alertmanager that takes all that it is told, at one tick after the other."""

    def __init__(self, terms: Alertmanager = TERMS, book: Book | None = None) -> None:
        self.terms, self.book = terms, book or Book()

    def tick(self, snapshot: Snapshot, *, is_taken: bool = True) -> list[tuple[str, float, float]]:
        """Name, and begin and end from NOW on, of each that is told."""
        now = snapshot.timestamp_seconds
        self.book = turned(self.book, snapshot, self.terms)
        sent = due(self.book, now, TICK_SECONDS, self.terms)
        if is_taken:
            self.book = told(self.book, sent, now)
        said = messages(sent, now, TICK_SECONDS, self.terms, None)
        return [
            (one["labels"]["alertname"], since(one["startsAt"]), since(one["endsAt"]))
            for one in said
        ]


def since(stamp: str) -> float:
    found = alert_book._moment(stamp)
    assert found is not None
    return found - NOW


DOWN = "BurnmeterEngineDown"


# --- one life ------------------------------------------------------------------------------------


def test_it_is_told_at_once_and_then_each_minute_with_an_end_four_ahead() -> None:
    talk = Talk()
    said = {n: talk.tick(at(n * TICK_SECONDS, target(**DEAD))) for n in range(25)}

    assert {n * 5: rows for n, rows in said.items() if rows} == {
        0: [(DOWN, 0, 240)],
        60: [(DOWN, 0, 300)],
        120: [(DOWN, 0, 360)],
    }


def test_ticks_that_come_late_or_early_do_not_make_it_a_tick_late() -> None:
    talk = Talk()
    talk.tick(at(0, target(**DEAD)))

    assert talk.tick(at(59.8, target(**DEAD)))


def test_ticks_farther_apart_than_it_is_repeated_keep_it_open() -> None:
    book = turned(Book(), at(0, target(**DEAD)), TERMS)
    (said,) = messages(book, NOW, 300.0, TERMS, None)

    assert since(said["endsAt"]) == 1200


def test_it_begins_when_the_snapshot_says_so_but_never_in_the_future() -> None:
    died = (event(0, "down", "vllm-8000", "x"),)

    assert Talk().tick(at(7, target(**DEAD), events=died)) == [(DOWN, 0, 247)]
    assert Talk().tick(at(-7, target(**DEAD), events=died)) == [(DOWN, -7, 233)]


def test_its_end_is_told_at_once_and_again_for_five_minutes() -> None:
    talk = Talk()
    talk.tick(at(0, target(**DEAD)))
    said = {n: talk.tick(at(n, target())) for n in range(5, 500, 5)}

    assert {n: rows for n, rows in said.items() if rows} == {
        n: [(DOWN, 0, 5)] for n in (5, 65, 125, 185, 245, 305)
    }
    assert not talk.book.entries


def test_what_is_not_taken_is_told_at_the_next_tick() -> None:
    talk = Talk()
    for n in (0, 5, 10):
        assert talk.tick(at(n, target(**DEAD)), is_taken=False) == [(DOWN, 0, n + 240)]
    assert talk.tick(at(15, target(**DEAD))) == [(DOWN, 0, 255)]
    assert talk.tick(at(20, target(**DEAD))) == []


def test_an_end_that_nobody_has_taken_is_not_given_up() -> None:
    talk = Talk()
    talk.tick(at(0, target(**DEAD)))
    talk.tick(at(5, target()), is_taken=False)

    assert talk.tick(at(4000, target())) == [(DOWN, 0, 5)]
    assert talk.tick(at(4005, target())) == []


def test_a_flap_of_one_tick_is_told_as_two_that_do_not_touch() -> None:
    """One that began before the other was over would be merged with it by Alertmanager."""
    talk = Talk()
    died = (event(0, "down", "vllm-8000", "x"),)
    first = talk.tick(at(0, target(**DEAD), events=died))
    over = talk.tick(at(5, target(), events=died))
    # The event of the second death is not in the list any more, or the clock was set.
    second = talk.tick(at(10, target(**DEAD), events=died))

    assert (first, over) == ([(DOWN, 0, 240)], [(DOWN, 0, 5)])
    assert second == [(DOWN, 5, 250)]


def test_a_stall_that_becomes_a_death_is_one_over_and_one_new() -> None:
    talk = Talk()
    talk.tick(at(0, target(is_stalled=True)))

    assert talk.tick(at(5, target(**DEAD))) == [
        ("BurnmeterEngineStalled", 0, 5),
        (DOWN, 5, 245),
    ]


def test_an_engine_that_cannot_be_read_keeps_the_alert_that_it_had() -> None:
    talk = Talk()
    talk.tick(at(0, target(is_stalled=True)))
    odd = target(is_up=False, is_stalled=None, failure=Failure("http", "HTTP 500"))

    assert talk.tick(at(60, odd)) == [("BurnmeterEngineStalled", 0, 300)]
    assert talk.book.active == 1


def test_labels_stay_while_it_lasts_and_texts_follow() -> None:
    book = turned(Book(), at(0, target(**DEAD)), TERMS)
    other = target(**{**DEAD, "model": "other", "failure": Failure("gone", "it has ended")})
    book = turned(book, at(5, other), TERMS)

    (entry,) = book.entries.values()
    assert entry.labels["model"] == LLAMA
    assert entry.annotations["description"] == "it has ended"


def test_a_clock_that_is_set_back_gives_nothing_that_ends_before_it_begins() -> None:
    talk = Talk()
    talk.tick(at(0, target(**DEAD)))

    assert talk.tick(at(-500, target())) == [(DOWN, 0, 0)]


# --- after a restart -----------------------------------------------------------------------------


def open_alert(**labels: str) -> dict[str, Any]:
    """As Alertmanager lists it."""
    ours = {"alertname": DOWN, "origin": "agent", "node": "gpu-node-07", "target": "vllm-8000"}
    return {
        "labels": {**ours, "model": LLAMA, **labels},
        "annotations": {"summary": "old"},
        "startsAt": "2023-11-15T09:00:00.000Z",
        "endsAt": "2023-11-15T09:30:00.000Z",
        "fingerprint": "abc",
    }


def test_what_is_open_goes_on_under_its_own_labels_and_beginning() -> None:
    talk = Talk(book=adopted(Book(), [open_alert()], "gpu-node-07"))
    nameless = target(**{**DEAD, "model": None, "models": {"vllm-8000": ""}})

    (said,) = talk.tick(at(0, nameless))
    (entry,) = talk.book.entries.values()

    assert said == (DOWN, -1600, 240)
    assert entry.labels == open_alert()["labels"]


def test_what_is_over_meanwhile_is_ended_at_once() -> None:
    talk = Talk(book=adopted(Book(), [open_alert()], "gpu-node-07"))

    assert talk.tick(at(0, target())) == [(DOWN, -1600, 0)]


def test_what_the_new_agent_does_not_see_stays_open_until_its_hour() -> None:
    talk = Talk(book=adopted(Book(), [open_alert()], "gpu-node-07"))

    assert talk.tick(at(0)) == [(DOWN, -1600, 240)]
    assert talk.tick(at(2000)) == [(DOWN, -1600, 2000)]


def test_what_is_known_already_is_not_taken_over() -> None:
    book = turned(Book(), at(0, target(**DEAD)), TERMS)

    assert adopted(book, [open_alert(model="x")], "gpu-node-07") == book


@pytest.mark.parametrize(
    "odd",
    [
        open_alert(origin="prometheus"),
        open_alert(node="other"),
        open_alert(alertname="Watchdog"),
        {**open_alert(), "labels": None},
        {**open_alert(), "labels": {"alertname": 7}},
        {**open_alert(), "startsAt": "yesterday"},
        {**open_alert(), "startsAt": "2023-11-15T09:00:00"},
        {**open_alert(), "startsAt": None},
        {},
    ],
)
def test_what_is_not_ours_or_makes_no_sense_is_left_alone(odd: dict[str, Any]) -> None:
    assert adopted(Book(), [odd], "gpu-node-07") == Book()


def test_annotations_that_make_no_sense_are_left_out() -> None:
    (entry,) = adopted(
        Book(), [{**open_alert(), "annotations": ["x"]}], "gpu-node-07"
    ).entries.values()

    assert entry.annotations == {}


# --- messages ------------------------------------------------------------------------------------


def test_a_message_is_as_the_api_takes_it() -> None:
    terms = replace(TERMS, runbook_url="https://runbooks.example.com/burnmeter")
    book = turned(Book(), at(0.25, target(**DEAD)), terms)

    assert messages(book, NOW + 0.25, TICK_SECONDS, terms, "http://gpu-node-07:9778/") == [
        {
            "labels": {
                "alertname": DOWN,
                "severity": "page",
                "origin": "agent",
                "node": "gpu-node-07",
                "target": "vllm-8000",
                "engine": "vllm",
                "model": LLAMA,
            },
            "annotations": {
                "summary": f"vllm-8000 ({LLAMA}) is down on gpu-node-07",
                "description": "nothing listens there",
                "runbook_url": "https://runbooks.example.com/burnmeter#burnmeterenginedown",
            },
            "startsAt": "2023-11-15T09:26:40.250Z",
            "endsAt": "2023-11-15T09:30:40.250Z",
            "generatorURL": "http://gpu-node-07:9778/#targets",
        }
    ]


def test_a_runbook_with_a_place_of_its_own_is_kept() -> None:
    terms = replace(TERMS, runbook_url="https://wiki/x#gpu")
    book = turned(Book(), at(0, target(**DEAD)), terms)

    (said,) = messages(book, NOW, TICK_SECONDS, terms, None)
    assert said["annotations"]["runbook_url"] == "https://wiki/x#gpu"
    assert "generatorURL" not in said
