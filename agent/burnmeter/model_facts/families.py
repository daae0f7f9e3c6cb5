"""What is known of each `model_type`, from families.yaml beside this file. Pure.

No decoder is guessed at by the look of its keys: a type that is not in the file is refused, for a
name such as `num_key_value_heads` means something else wherever layers are not all alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

Windows = Literal["every", "after", "period", "chunks", "unsaid"]
Sparse = Literal["every", "step", "after", "interleaved"]
Shared = Literal["one", "counted", "sized"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How one type of decoder differs from Llama; each field is told of in families.yaml."""

    defaults: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)
    is_gated: bool = True
    is_latent: bool = False
    windows: Windows | None = None
    window_gate: str | None = None
    window_period: int = 1
    experts: tuple[str, ...] = ()
    expert_size: str = "intermediate_size"
    dense_size: str = "intermediate_size"
    sparse: Sparse = "every"
    shared: Shared | None = None
    positions: str | None = None


@cache
def _file() -> dict[str, Any]:
    text = files("burnmeter").joinpath("model_facts/families.yaml").read_text("utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


@cache
def families() -> Mapping[str, Family]:
    """Model type -> what is known of it."""
    rows = _file()["families"]
    return {
        name: Family(**{**row, "experts": tuple(row.get("experts", ()))})
        for name, row in rows.items()
    }


@cache
def refused() -> Mapping[str, str]:
    """Model type -> why it is not counted, as the end of a sentence."""
    return {name: why for why, names in _file()["refused"].items() for name in names}
