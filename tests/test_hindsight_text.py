"""A backtest in words: 80 columns, times that say their zone, and JSON of the same."""

import json
from dataclasses import replace
from math import nan

import pytest

from burnmeter.provision.hindsight import Grid, Hindsight, Past, judged
from burnmeter.provision.hindsight_text import CHART_COLUMNS, as_json, brief, text
from burnmeter.provision.history import Refused
from tests.test_hindsight import GRID, OBJECTIVE, constant, outage, past

START = 1_764_000_000.0
MOVED = Grid(start_seconds=START, step_seconds=60.0, count=GRID.count, first=0)


def told(first: int, last: int, *, model: str = "m") -> Hindsight:
    """Ten hours with a total outage from one minute to another."""
    return judged(OBJECTIVE, model, "agents", past(constant(10.0), outage(first, last)), MOVED)


def test_a_page_is_told_in_one_table_one_list_and_one_chart() -> None:
    refused = Refused(replace(OBJECTIVE, name="up"), "nobody counted it")

    assert text([told(300, 330)], [refused]) == (
        "2025-11-24 16:00 to 2025-11-25 01:59 UTC, looked at every 1 min\n"
        "\n"
        "objective     model                   spent pages tickets a week longest unmeas.\n"
        "errors        m                        502%     1       1      -     50m    0.0%\n"
        "spent: of the error budget, within the last 30 d; a week: pages; unmeas.: share\n"
        "  of the time without a count\n"
        "\n"
        "alerts, in UTC:\n"
        "  errors of m, by agents\n"
        "    ticket  2025-11-24 21:05 - still firing  4h54m  worst burn 100\n"
        "    page    2025-11-24 21:08 - 21:58  50m  worst burn 100\n"
        "\n"
        "budget left, full to none; P: it pages, t: a ticket; ·: not known\n"
        "  errors of m\n"
        "  |██████████████████████████████                              |\n"
        "                                 PPPPPPtttttttttttttttttttttttt\n"
        "   2025-11-24 16:00                            2025-11-25 01:59\n"
        "\n"
        "not measured:\n"
        "  up: nobody counted it\n"
    )


def test_names_that_are_too_long_are_cut_to_fit() -> None:
    long = told(300, 330, model="m" * 200)

    assert [line for line in text([long], []).splitlines() if len(line) > 80] == []


def test_what_may_be_is_shown_beside_what_is() -> None:
    counted = past(constant(10.0), outage(300, 303))
    doubtful = Past(counted.windows, [2 * bad for bad in counted.windows[300.0].bad])

    found = judged(OBJECTIVE, "m", "agents", doubtful, MOVED)

    assert " 50-100% " in text([found], [])


def test_an_alert_from_before_is_said_to_be() -> None:
    assert "    page    since before 2025-11-24 16:00 - " in text([told(0, 100)], [])


def test_a_quiet_time_has_no_alert() -> None:
    found = text([told(0, 0)], [])

    assert "no alert would have fired" in found
    assert "█" * CHART_COLUMNS in found


def test_what_is_not_known_is_a_dot_in_the_chart() -> None:
    nothing = judged(OBJECTIVE, "m", "x", past(constant(nan), constant(nan)), MOVED)

    found = text([nothing], [])

    assert "·" * CHART_COLUMNS in found
    assert "errors        m                           -     0       0      -       -  100.0%" in (
        found
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(60, "1m"), (3540, "59m"), (5400, "1h30m"), (187200, "2d4h")]
)
def test_spans_are_brief(seconds: float, said: str) -> None:
    assert brief(seconds) == said


def test_machines_get_base_units_and_no_nan() -> None:
    nothing = judged(OBJECTIVE, "m", "x", past(constant(nan), constant(nan)), MOVED)
    refused = Refused(OBJECTIVE, "nobody counted it")

    found = json.loads(json.dumps(as_json([told(300, 330), nothing], [refused]), allow_nan=False))

    one, none = found["objectives"]
    page = next(alert for alert in one["alerts"] if alert["severity"] == "page")
    assert page["fired_timestamp_seconds"] == START + 308 * 60
    assert page["lasted_seconds"] == 3000
    assert (page["long_seconds"], page["short_seconds"]) == (3600, 300)
    assert len(one["budget_left"]) == 600
    assert none["budget_spent_upper_ratio"] is None
    assert none["budget_left"][0]["upper_ratio"] is None
    assert found["not_measured"] == [{"slo": "errors", "reason": "nobody counted it"}]
