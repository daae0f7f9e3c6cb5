"""Configs of published models, from tests/fixtures/models."""

import json
from typing import Any

from burnmeter.model_facts import ModelFacts, model_facts
from tests.parts import ROOT

FOLDER = ROOT / "tests" / "fixtures" / "models"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def config(name: str, **changes: Any) -> dict[str, Any]:
    """A model's config with some of its keys changed."""
    text = (FOLDER / f"{name}.json").read_text("utf-8")
    said: dict[str, Any] = json.loads(text)
    return said | changes


def without(name: str, *keys: str, **changes: Any) -> dict[str, Any]:
    """A model's config that lacks some of its keys."""
    return {key: value for key, value in config(name, **changes).items() if key not in keys}


def facts(name: str, **changes: Any) -> ModelFacts:
    """What is made of a model's config."""
    return model_facts(config(name, **changes))
