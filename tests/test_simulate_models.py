"""What the simulated engines serve is as large as the published models whose names they have."""

import pytest

from burnmeter.simulate.fleet import FLEET
from burnmeter.simulate.models import library
from tests import models

PARAMETERS = {"chat": 70.6e9, "agents": 8.19e9, "code": 7.62e9}
"""As the cards of Llama 3.3 70B, Qwen3 8B and Qwen2.5 Coder 7B say."""


def test_every_engine_of_the_fleet_has_a_model_that_is_known() -> None:
    assert library().by_target.keys() == {spec.name for spec in FLEET} == PARAMETERS.keys()
    assert library().by_model == {}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_simulated_model_is_as_large_as_the_published_one(name: str) -> None:
    (spec,) = (spec for spec in FLEET if spec.name == name)

    found = library().of(name, spec.served_model, [spec.served_model])

    assert found.source == f"the config.json of {spec.model}"
    assert found.facts is not None
    assert found.facts.parameters == pytest.approx(PARAMETERS[name], rel=0.02)
    assert found.facts.weight_bytes == 2 * found.facts.parameters


@pytest.mark.parametrize(
    ("name", "published"),
    [("chat", "llama-3.3-70b"), ("agents", "qwen3-8b"), ("code", "qwen2.5-7b")],
)
def test_its_steps_and_its_cache_are_those_of_the_published_config(
    name: str, published: str
) -> None:
    found, as_published = library().by_target[name].facts, models.facts(published)

    assert found is not None
    assert found.shared_step_bytes == as_published.shared_step_bytes
    assert found.spans == as_published.spans
