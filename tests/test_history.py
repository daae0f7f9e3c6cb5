"""What is asked of a Prometheus, and what becomes of its answers."""

import json
from urllib.parse import parse_qs

import pytest

from burnmeter.errors import BurnmeterError
from burnmeter.model import Objective
from burnmeter.provision.counted import Counted
from burnmeter.provision.history import (
    Asked,
    Part,
    Refused,
    bill,
    from_agents,
    grid,
    has_agents,
    hindsights,
)
from burnmeter.provision.prometheus_api import Prometheus
from tests.asked import Script, scripted

ERRORS = Objective(name="errors", indicator="errors", objective_ratio=0.99)
COUNTED = Counted(
    valid=lambda s: f"valid {s:g}",
    bad_lower=lambda s: f"bad {s:g}",
    bad_upper=lambda s: f"perhaps {s:g}",
)


def part(*models: str, source: str = "x") -> Part:
    return Part(source, COUNTED, lambda labels: labels["model"], frozenset(models))


def test_a_grid_is_on_whole_steps_and_begins_a_period_earlier() -> None:
    found = grid([ERRORS], begin_seconds=1e9 - 3600, end_seconds=1e9 + 7, step_seconds=60.0)

    assert found.end_seconds == 1e9 // 60 * 60
    assert (found.begin_seconds % 60, found.start_seconds % 60) == (0.0, 0.0)
    assert found.end_seconds - found.begin_seconds == pytest.approx(3607, abs=60)
    assert found.begin_seconds - found.start_seconds == ERRORS.period_seconds


def test_a_bill_counts_each_piece_of_each_window() -> None:
    asked = [Asked(ERRORS, (part("a", "b"),))]
    month = grid([ERRORS], begin_seconds=0.0, end_seconds=30 * 86400.0, step_seconds=60.0)

    found = bill(asked, month)

    # 5 min over 86401 moments, three texts; 30 min, 1 h, 2 h over 43201, two texts each.
    assert found.queries == 3 * 9 + 6 * 5
    assert found.values == 2 * (3 * 86401 + 6 * 43201)
    assert str(found) == "57 queries, at most 1.0 million points"


@pytest.mark.parametrize(("objectives", "models"), [(60, 1), (1, 200)], ids=["queries", "points"])
def test_more_than_is_bearable_is_not_asked(objectives: int, models: int) -> None:
    asked = [Asked(ERRORS, (part(*map(str, range(models))),))] * objectives
    month = grid([ERRORS], begin_seconds=0.0, end_seconds=30 * 86400.0, step_seconds=60.0)

    with pytest.raises(BurnmeterError, match="ask for less with --since, --step or --model"):
        bill(asked, month)


def answers(script: Script) -> None:
    """At the last two moments two names of one model, a NaN, an infinity, and a stranger."""

    def answer(_path: str, body: str) -> str:
        fields = parse_qs(body)
        end, step = float(fields["end"][0]), float(fields["step"][0])
        each = 0.25 if fields["query"][0].startswith("bad") else 2.0
        rows = [
            {"metric": {"model": model}, "values": [[end - step, early], [end, str(each)]]}
            for model, early in (("m", "NaN"), ("n", "+Inf"), ("m2", "4"), ("z", "1"))
        ]
        return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": rows}})

    script.answer = answer


def test_names_of_one_model_are_added_and_what_is_no_number_is_not_there() -> None:
    short = Objective(name="e", indicator="errors", objective_ratio=0.9, period_seconds=86400.0)
    day = grid([short], begin_seconds=1e6, end_seconds=1e6 + 3600, step_seconds=300.0)
    names = {"m": "m", "m2": "m", "n": "n", "z": "z"}
    ours = Part("x", COUNTED, lambda labels: names[labels["model"]], frozenset(("m", "n")))

    with scripted(answers) as url:
        found = list(hindsights(Prometheus(url), Asked(short, (ours,)), day))

    # Of 13 moments; what is early is 4 for `m2` alone, what is last 2 for each name.
    assert [(one.model, one.source) for one in found] == [("m", "x"), ("n", "x")]
    assert [one.measured_ratio for one in found] == [2 / 13, 1 / 13]
    # Bad is (4 + 2 x 0.25) of 8, and 0.25 of 2, of a budget of a tenth; all may be bad.
    assert found[0].spent == pytest.approx((5.625, 10.0))
    assert found[1].spent == pytest.approx((1.25, 10.0))


def test_an_objective_that_no_agent_counted_is_refused() -> None:
    def nothing(script: Script) -> None:
        script.answer = lambda _path, _body: '{"status": "success", "data": []}'

    hour = grid([ERRORS], begin_seconds=0.0, end_seconds=3600.0, step_seconds=60.0)
    with scripted(nothing) as url:
        assert not has_agents(Prometheus(url), hour)
        (found,) = from_agents(Prometheus(url), [ERRORS], hour, "m")

    assert found == Refused(ERRORS, "no agent has counted it of m in this time")


def test_one_model_is_asked_for_by_its_name() -> None:
    asked: list[str] = []

    def models(script: Script) -> None:
        def answer(path: str, _body: str) -> str:
            asked.append(path)
            return '{"status": "success", "data": ["m"]}'

        script.answer = answer

    hour = grid([ERRORS], begin_seconds=0.0, end_seconds=3600.0, step_seconds=60.0)
    with scripted(models) as url:
        (found,) = from_agents(Prometheus(url), [ERRORS], hour, "m")

    assert "model%3D%22m%22" in asked[0]
    assert isinstance(found, Asked)
    assert 'slo="errors",model="m"' in found.parts[0].counted.valid(300.0)
