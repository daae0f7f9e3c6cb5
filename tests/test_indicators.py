"""The table of what objectives may be about, held against those who know its names."""

from dataclasses import fields

import pytest

from burnmeter import dialects, indicators
from burnmeter.config_slos import DEFAULTS
from burnmeter.export import words
from burnmeter.indicators import INDICATORS, THRESHOLDS
from burnmeter.model import Objective
from tests.fakes import objective


def test_each_threshold_is_a_field_of_an_objective_and_some_indicator_s() -> None:
    names = {field.name for field in fields(Objective)}

    assert {name for name in names if name.startswith("threshold_")} == THRESHOLDS.keys()
    assert all(indicators.having(key) for key in THRESHOLDS)
    assert all(one.least <= one.example <= one.most for one in THRESHOLDS.values())


def test_latencies_are_those_that_engines_measure_and_events() -> None:
    assert indicators.having(indicators.SECONDS) == list(dialects.INDICATORS)
    assert not any(INDICATORS[name].is_of_time for name in dialects.INDICATORS)


def test_what_the_window_is_worth_is_held_against_a_threshold_and_counts_time() -> None:
    worth = {name: one for name, one in INDICATORS.items() if one.is_worth}

    assert set(worth) == {"throughput", "cost", "energy"}
    assert all(one.is_of_time and one.threshold and one.idle for one in worth.values())


@pytest.mark.parametrize("name", INDICATORS)
def test_every_indicator_has_words(name: str) -> None:
    assert name in words.INDICATORS
    assert (INDICATORS[name].threshold is None) == (name in words.PROMISES)


def test_every_threshold_has_words() -> None:
    assert words.THRESHOLDS.keys() == THRESHOLDS.keys()


@pytest.mark.parametrize("goal", DEFAULTS, ids=lambda goal: goal.name)
def test_each_default_has_its_threshold_and_no_other(goal: Objective) -> None:
    given = {key for key, value in indicators.thresholds(goal).items() if value is not None}

    assert given == {INDICATORS[goal.indicator].threshold} - {None}


def test_a_threshold_is_the_indicator_s_own() -> None:
    both = objective("cost", threshold_seconds=1.0, threshold_dollars_per_million_tokens=2.0)

    assert indicators.threshold(both) == 2.0
    assert indicators.threshold(objective("errors")) is None
