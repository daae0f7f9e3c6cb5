"""What became of looking for models' facts: them, or why there are none. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from burnmeter.model import Failure
from burnmeter.model_facts.facts import ModelFacts


class Known(NamedTuple):
    """The facts of one model."""

    facts: ModelFacts | None
    source: str
    """For people: where they are from, or why they are not known."""
    kv_format: str | None = None
    """A correction, where a person has stated nothing else of the model."""


UNASKED = Known(None, "nobody has looked for its config.json yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The facts of all models of a node."""

    by_target: Mapping[str, Known] = field(default_factory=dict)
    """By what engines here were started with."""
    by_model: Mapping[str, Known] = field(default_factory=dict)
    """By our name, as a person has stated them: these come first."""

    def of(self, target: str, model: str, models: Sequence[str]) -> Known:
        """Of one of the `models` of a target."""
        stated = self.by_model.get(model)
        if stated is not None and stated.kv_format is None:
            return stated
        if len(models) > 1:
            return Known(None, f"{target} serves several models; say `model_facts.{model}`")
        found = self.by_target.get(target, UNASKED)
        if stated is None or stated.kv_format is None or found.facts is None:
            return found
        source = f"{found.source}, with a cache in {stated.kv_format} by {stated.source},"
        return Known(found.facts.with_cache(stated.kv_format), source)

    def is_stated(self, model: str | None) -> bool:
        """Whether a person has stated what it is, be it wrongly."""
        stated = self.by_model.get(model or "")
        return stated is not None and stated.kv_format is None


class LibraryReading(NamedTuple):
    """What is known of all models here."""

    at_seconds: float
    """Monotonic."""
    duration_seconds: float
    library: Library | None
    """None: it did not come in time."""
    failure: Failure | None
