"""Facts of a model for which there is no config, from what a person can know of it. Pure.

Parameters are in a model's name or on its page, bytes of cache per token in an engine's log: the
memory it keeps for them over the tokens that fit. The rest follows, and is told as assumed. A model
with experts needs their number too, for a batch reads more of them than one token does.
"""

from burnmeter.errors import ModelConfigError
from burnmeter.model_facts.facts import ModelFacts, Span
from burnmeter.model_facts.formats import BYTES
from burnmeter.model_facts.keys import shown

LEAST_BYTES = (("fp32", 3.0), ("bf16", 1.5), ("fp8", 0.75))
"""Format -> bytes per parameter, with scales, from which on weights are taken to be in it."""


def stated_facts(
    *,
    parameters: float,
    kv_bytes_per_token: float,
    active_parameters: float | None = None,
    weight_format: str | None = None,
    weight_bytes: float | None = None,
    experts: int | None = None,
    experts_per_token: int | None = None,
) -> ModelFacts:
    """Raises ModelConfigError with one sentence."""
    active = parameters if active_parameters is None else active_parameters
    _check(parameters, "parameters")
    _check(kv_bytes_per_token, "kv_bytes_per_token")
    _check(active, "active_parameters", most=parameters)
    name, assumed = _format(weight_format, weight_bytes, parameters)
    total = parameters * BYTES[name] if weight_bytes is None else weight_bytes
    ratio, routed, assumed_experts = _experts(parameters, active, experts, experts_per_token)
    return ModelFacts(
        parameters=float(parameters),
        active_parameters=float(active),
        weight_bytes=float(total),
        shared_step_bytes=total * (1.0 - routed),
        expert_bytes=total * routed,
        expert_ratio=ratio,
        spans=(Span(None, float(kv_bytes_per_token), 0.0),),
        weight_format=name,
        # Four bits are mostly a way to keep weights, not to multiply them.
        compute_format="bf16" if name in ("int4", "fp4") else name,
        kv_format=None,
        assumed=(
            *assumed,
            *assumed_experts,
            "The table of input embeddings is read and multiplied like any matrix.",
            "Every layer looks back over the whole context.",
            "Operations of attention over the context are not counted.",
        ),
    )


def _check(value: float, name: str, *, least: float = 0.0, most: float = float("inf")) -> None:
    """Refuse what is not above 0, not a number, or out of bounds."""
    if not (0 < value < float("inf") and least <= value <= most):
        bounds = "more than 0" if least == 0 else f"at least {least:g}"
        bounds += "" if most == float("inf") else f" and at most {most:g}"
        raise ModelConfigError(f"`{name}` is {value:g}; {bounds} is needed")


def _format(
    given: str | None, weight_bytes: float | None, parameters: float
) -> tuple[str, tuple[str, ...]]:
    """The weights' format, and what was assumed of it."""
    if weight_bytes is not None:
        _check(weight_bytes, "weight_bytes")
    if given is not None:
        if given not in BYTES:
            known = ", ".join(BYTES)
            raise ModelConfigError(f"`weight_format` is {shown(given)}; one of {known} is needed")
        if weight_bytes is None and BYTES[given] < 2:
            return given, ("All weights are in that format; scales are not counted.",)
        return given, ()
    if weight_bytes is None:
        return "bf16", ("Weights are in bf16.",)
    each = weight_bytes / parameters
    name = next((name for name, least in LEAST_BYTES if each >= least), "int4")
    return name, (f"Weights are in {name}, by their bytes per parameter.",)


def _experts(
    parameters: float, active: float, experts: int | None, chosen: int | None
) -> tuple[float, float, tuple[str, ...]]:
    """What a token passes through of the routed experts, their share of all, what was assumed."""
    if experts is None and chosen is None:
        if active == parameters:
            return 1.0, 0.0, ()
        return (
            active / parameters,
            1.0,
            ("All weights are experts, for their number is not stated.",),
        )
    if experts is None or chosen is None:
        raise ModelConfigError("`experts` and `experts_per_token` are needed together")
    _check(experts, "experts")
    _check(chosen, "experts_per_token", most=experts)
    ratio = chosen / experts
    if ratio == 1:
        return 1.0, 0.0, ()
    _check(active, "active_parameters", least=parameters * ratio, most=parameters)
    # active = parameters - routed + routed * ratio, solved for the routed.
    routed = (parameters - active) / (1.0 - ratio) / parameters
    return ratio, routed, ("Tokens choose experts evenly, each by itself.",)
