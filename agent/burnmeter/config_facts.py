"""From the `model_facts` of a config: what a model is, where the agent cannot read its config.json.

The signature of a token's cost needs a model's bytes and operations per token. They come from its
config.json where the agent may read that; else from the file that is named here, or from numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from burnmeter import config_rules as rules
from burnmeter.config_rules import Report, Rule, choice, number, whole
from burnmeter.errors import ModelConfigError
from burnmeter.located import Located
from burnmeter.model_facts import ModelFacts, stated_facts

FORMATS: Final = ("fp32", "bf16", "fp16", "fp8", "int8", "int4", "fp4")
KV_FORMATS: Final = ("fp32", "bf16", "fp16", "fp8", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedModel:
    """One of `model_facts`: a file, at least parameters and kv_bytes_per_token, or kv_format alone,
    which corrects the config.json that the agent finds."""

    config_file: str | None = None
    """The model's config.json on this machine."""
    kv_format: str | None = None
    """Format of the KV cache, where the engine was told another than the model's own."""
    parameters: float | None = None
    """All parameters of the model."""
    active_parameters: float | None = None
    """Those that one token passes through; absent: all."""
    kv_bytes_per_token: float | None = None
    """KV cache of one token over all layers."""
    weight_format: str | None = None
    """What the weights are kept in: bf16, fp8, int4 ...; absent: by weight_bytes, else bf16."""
    weight_bytes: float | None = None
    """All weights in memory; absent: by their format."""
    experts: int | None = None
    """Experts among which a router chooses."""
    experts_per_token: int | None = None
    """How many of them it chooses for each token."""

    def facts(self) -> ModelFacts | None:
        """From the numbers; None: they are in a file. Raises ModelConfigError."""
        if self.parameters is None or self.kv_bytes_per_token is None:
            return None
        return stated_facts(
            parameters=self.parameters,
            kv_bytes_per_token=self.kv_bytes_per_token,
            active_parameters=self.active_parameters,
            weight_format=self.weight_format,
            weight_bytes=self.weight_bytes,
            experts=self.experts,
            experts_per_token=self.experts_per_token,
        )


KEYS: Final[Mapping[str, Rule]] = {
    "config_file": rules.file_name,
    "kv_format": choice("a format of a KV cache", KV_FORMATS),
    "parameters": number("parameters", 1, 1e15),
    "active_parameters": number("parameters", 1, 1e15),
    "kv_bytes_per_token": number("bytes", 1, 1e12),
    "weight_format": choice("a format of weights", FORMATS),
    "weight_bytes": number("bytes", 1, 1e15),
    "experts": whole("experts", 1, 100_000),
    "experts_per_token": whole("experts", 1, 100_000),
}


def read_models(report: Report, node: Located) -> dict[str, StatedModel]:
    """The section, by our names of models, as far as it is right."""
    return rules.entries(report, node, "model_facts", lambda n, w: _read(report, n, w))


def _read(report: Report, node: Located, where: str) -> list[StatedModel]:
    values = rules.section(report, node, where, KEYS)
    if not isinstance(node.value, Mapping) or values.keys() != node.value.keys():
        return []
    problem = _problem(values)
    if problem is not None:
        report.error(node, f"{where}: {problem}")
        return []
    stated = StatedModel(**values)
    try:
        stated.facts()
    except ModelConfigError as error:
        report.error(node, f"{where}: {error}")
        return []
    return [stated]


def _problem(values: Mapping[str, Any]) -> str | None:
    """What is missing, or said twice."""
    of_a_file = {"config_file", "kv_format"}
    numbers = sorted(values.keys() - of_a_file)
    if "config_file" in values:
        return f"`config_file` and `{numbers[0]}` say the same; keep one" if numbers else None
    if "kv_format" in values:
        text = "`kv_format` goes with `config_file` or stands alone; write `kv_bytes_per_token`"
        return f"{text} for another format" if numbers else None
    missing = [key for key in ("parameters", "kv_bytes_per_token") if key not in values]
    if missing:
        return f"`{missing[0]}` is missing; or name the model's own `config_file`"
    return None
