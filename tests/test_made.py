"""Which tokens the GPUs of this node made: those of engines that are billed for them."""

from dataclasses import replace

import pytest

from burnmeter import made
from burnmeter.attribution import Portion
from burnmeter.model import Growth, Key, Share
from burnmeter.watch import Look, Slice, Watched
from tests.fakes import target

TOKENS = Key("tokens_total", (("kind", "generated"), ("model", "llama")))


def look(name: str, grown: float, here: float | None = None, *, role: str | None = None) -> Look:
    """A target whose tokens have grown, of them `here` by ranks of this node."""
    growth = Growth(seconds=5.0, counters={TOKENS: grown}, histograms={})
    if here is not None:
        growth = replace(growth, here={TOKENS: here})
    watched = Watched(target=replace(target(name), role=role))
    return Look(watched=watched, growth=growth, slice=Slice(5.0, None), events=())


def held(name: str, model: str = "llama") -> tuple[Portion, ...]:
    return (Portion(Share("GPU-0", model, name, "busy", "process_tree"), 1.0),)


def counted(*looks: Look, gpus: tuple[tuple[Portion, ...], ...]) -> dict[str, float]:
    """By vantage."""
    totals = made.accrue({}, looks, gpus)
    return {dict(key.labels)["vantage"]: value for key, value in totals.items()}


@pytest.mark.parametrize(
    ("gpus", "tokens"),
    [
        pytest.param((held("a"), held("b")), 30.0, id="both engines hold GPUs"),
        pytest.param((held("b"),), 20.0, id="one is not known to hold any yet"),
        pytest.param((), 0.0, id="none is"),
        pytest.param((held(""),), 30.0, id="only the model is known"),
        pytest.param((held("", "other"),), 0.0, id="another model is"),
        pytest.param((held("a", "llama,lora"),), 10.0, id="an engine of two models"),
    ],
)
def test_an_engine_s_tokens_count_as_its_gpus_do(
    gpus: tuple[tuple[Portion, ...], ...], tokens: float
) -> None:
    assert counted(look("a", 10.0), look("b", 20.0), gpus=gpus) == {"engine": tokens}


def test_of_ranks_that_are_told_apart_those_here_count() -> None:
    assert counted(look("a", 10.0, 4.0), gpus=(held("a"),)) == {"engine": 4.0}


def test_a_gateway_s_tokens_count_once_the_model_has_gpus() -> None:
    gateway = look("gate", 30.0, role="gateway")

    assert gateway.watched.vantage == "gateway"
    assert counted(gateway, gpus=(held("a"),)) == {"gateway": 30.0}
    assert counted(gateway, gpus=(held("a", "other"),)) == {"gateway": 0.0}


def test_the_total_of_a_model_whose_name_is_held_no_more_vanishes() -> None:
    """An engine that names its model anew all the time leaves nothing behind."""
    first = look("a", 10.0)
    named = replace(first, watched=replace(first.watched, names_held={"llama": 0.0}))
    totals = made.accrue({}, [named], (held("a"),))
    assert made.accrue(totals, [replace(named, growth=None)], (held("a"),)) == totals

    renamed = replace(named.watched, names_held={"other": 0.0})

    assert made.accrue(totals, [replace(named, watched=renamed, growth=None)], ()) == {}


def test_a_target_that_was_not_read_adds_nothing() -> None:
    resting = replace(look("a", 10.0), growth=None)

    assert counted(resting, gpus=(held("a"),)) == {}
