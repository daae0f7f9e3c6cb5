"""What is new of many at once is one line of the log."""

import logging
from dataclasses import replace
from itertools import pairwise

import pytest

from burnmeter.model import Failure
from burnmeter.telling import tell
from tests.snapshot_parts import alertmanager, event, source
from tests.snapshots import empty

STILL = "availability: 100 % of the last 5 min were bad"


def told(caplog: pytest.LogCaptureFixture, subjects: list[str]) -> list[str]:
    """The lines of a tick at which the same became true of all of these."""
    caplog.set_level(logging.INFO, "burnmeter")
    news = [event(0, "burning", subject, STILL) for subject in subjects]
    tell(empty(), empty(events=(event(5, "up", "old", "the engine answers"), *news)))
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_a_target_whose_many_models_burn_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    lines = told(caplog, [f"m{number:02}" for number in range(64)])

    assert lines == [f"WARNING m00, m01, m02 and 61 more: burning: {STILL}"]


def test_a_board_is_named_so_that_it_can_be_found(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "burnmeter")
    news = [
        replace(event(0, "throttled", f"gpu {index}", "clocks are held down"), gpu=f"GPU-{index}a")
        for index in range(4)
    ]
    tell(empty(), empty(events=tuple(news)))

    assert [record.getMessage() for record in caplog.records] == [
        "gpu 0 (GPU-0a), gpu 1 (GPU-1a), gpu 2 (GPU-2a) and 1 more: throttled: clocks are held down"
    ]


def test_another_reason_of_the_same_failure_is_news_and_how_long_already_is_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "burnmeter")
    texts = (
        "reading the gpus began 0.3 s ago and has not ended",
        "reading the gpus began 5.3 s ago and has not ended",
        "got no answer from the driver in 2 s (it was at: gpu 0 heat)",
    )
    seen = [empty(sources=(source("gpus", failure=Failure("timeout", text)),)) for text in texts]
    for before, now in pairwise((None, *seen)):
        tell(before, now)

    assert [record.getMessage() for record in caplog.records] == [
        f"gpus: {texts[0]}",
        f"gpus: {texts[2]}",
    ]


def test_a_few_are_all_named(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, ["a", "b", "c"]) == [f"WARNING a, b, c: burning: {STILL}"]


# --- Alertmanagers -------------------------------------------------------------------------------


def test_an_alertmanager_is_told_of_once_for_each_change(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "burnmeter")
    silent = alertmanager(is_up=None)
    slow = alertmanager(is_up=False, failure=Failure("timeout", "http://am did not answer"))
    wrong = alertmanager(is_up=False, failure=Failure("http", "http://am answered HTTP 500"))
    up = alertmanager()
    seen = [empty(alertmanagers=(view,)) for view in (silent, slow, slow, wrong, up, up, slow)]
    for before, now in pairwise((None, *seen)):
        tell(before, now)

    assert [f"{record.levelname} {record.getMessage()}" for record in caplog.records] == [
        "WARNING alerts are not taken: http://am did not answer",
        "WARNING alerts are not taken: http://am answered HTTP 500",
        "INFO alerts are taken by http://alertmanager:9093",
        "WARNING alerts are not taken: http://am did not answer",
    ]
