"""The node in one sentence: what burns, and what is dead without a budget of its own."""

from burnmeter.export.verdict import verdict
from burnmeter.model import Burn
from burnmeter.snapshot import ModelView
from tests import snapshots
from tests.snapshot_parts import burn, model, objective

GATEWAY_DOWN = "gateway gw is down: it is refused; the engines behind it answer"


def burning(name: str, indicator: str) -> tuple[ModelView, Burn]:
    value = objective(indicator, threshold_seconds=0.1 if indicator == "tpot" else None)
    return (
        model(name, state="burning"),
        burn(name, (20.0,) * 6, state="burning", objective=value),
    )


def test_each_of_several_models_has_its_causes_in_brackets() -> None:
    named = (("empty", "availability"), ("html", "availability"), ("two", "tpot"))
    views, burns = zip(*(burning(*names) for names in named), strict=True)

    told = verdict(snapshots.empty(models=(*views, model()), burns=burns)).text

    causes = "empty (availability), html (availability) and two (TPOT below 100 ms)"
    assert told == f"3 of 4 models are burning their budgets: {causes}"


def test_several_models_of_which_one_only_has_a_dead_gateway_burn_no_budget_together() -> None:
    view, spent = burning("two", "errors")
    before = model("chat", state="burning", reason=GATEWAY_DOWN)

    told = verdict(snapshots.empty(models=(before, view), burns=(spent,))).text

    assert told == "2 of 2 models need you: chat (gateway gw is down) and two (errors)"
