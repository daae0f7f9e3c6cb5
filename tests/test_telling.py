"""What is new of many at once is one line of the log."""

import logging

import pytest

from burnmeter.loop import tell
from tests.snapshot_parts import event
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


def test_a_few_are_all_named(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, ["a", "b", "c"]) == [f"WARNING a, b, c: burning: {STILL}"]
