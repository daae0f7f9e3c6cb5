"""Why a model's tokens cost what they do: the answer of `burnmeter explain cost MODEL`. Pure."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

from burnmeter.snapshot import ModelView, Signature

SUBJECTS: Final = ("cost", "energy")
NEAR: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Costed:
    """Of a ModelView what it takes: one of ours, or as an agent's JSON has it."""

    model: str
    recent_seconds: float
    dollars_per_million_tokens: float | None
    joules_per_token: float | None
    cost_dollars_per_hour: float | None
    revenue_dollars_per_hour: float | None
    signature: Signature | None
    not_available: Mapping[str, str]


def costed(view: ModelView) -> Costed:
    """Of one of our own."""
    return Costed(**{field.name: getattr(view, field.name) for field in fields(Costed)})


def chosen(found: Sequence[Costed], model: str | None) -> tuple[Costed, ...]:
    """The one of that name, or all. Raises KeyError with the names that are near, else all."""
    if model is None:
        return tuple(found)
    names = [one.model for one in found]
    if model not in names:
        near = [name for name in names if model.lower() in name.lower()]
        near += difflib.get_close_matches(model, names, n=NEAR, cutoff=0.4)
        near = list(dict.fromkeys(near))[:NEAR]
        raise KeyError(", ".join(f"`{name}`" for name in near or names))
    return tuple(one for one in found if one.model == model)


def amount(found: Costed, subject: str) -> float | None:
    """Dollars per million tokens, or joules per token. None: not known."""
    return found.dollars_per_million_tokens if subject == "cost" else found.joules_per_token
