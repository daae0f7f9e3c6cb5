"""Which layers of a decoder have experts, how many and how large. Pure.

A token passes through a few of the routed experts, which its router chooses, and through all of the
shared ones. Layers without either are dense. Every family says so with keys of its own.
"""

from typing import Final, NamedTuple

from burnmeter.model_facts.families import Family
from burnmeter.model_facts.keys import Keys

MOST_LAYERS: Final = 10_000
"""Layers are looped over; the largest models have some hundred."""


class Experts(NamedTuple):
    """Of each layer that has any."""

    layers: frozenset[int]
    routed: int
    chosen: int
    """Routed experts that one token passes through."""
    size: int
    """Inner size of one."""
    shared_size: int
    """Inner size of all shared experts together."""


DENSE: Final = Experts(frozenset(), routed=1, chosen=1, size=0, shared_size=0)


def experts(family: Family, keys: Keys, layers: int) -> Experts:
    """The experts of a model; DENSE if it has none. Raises ModelConfigError."""
    count = _count(family, keys)
    if count is None:
        return DENSE
    size = keys.count(family.expert_size)
    return Experts(
        layers=_layers(family, keys, layers),
        routed=count,
        chosen=keys.count("num_experts_per_tok", most=count),
        size=size,
        shared_size=_shared_size(family, keys, size),
    )


def _count(family: Family, keys: Keys) -> int | None:
    """Routed experts of one layer; None for a dense model."""
    if not family.experts:
        return None
    key = next((key for key in family.experts if key in keys.said), family.experts[0])
    if family.sparse == "after":
        return keys.nullable_count(key)  # null is DeepSeek's way to say that there are none
    return keys.count(key)


def _shared_size(family: Family, keys: Keys, size: int) -> int:
    match family.shared:
        case "one":
            return size
        case "counted":
            count = keys.nullable_count("n_shared_experts", least=0)
            return 0 if count is None else size * count
        case "sized":
            return keys.count("shared_expert_intermediate_size", least=0)
    return 0


def _layers(family: Family, keys: Keys, layers: int) -> frozenset[int]:
    """Which layers have experts."""
    every = frozenset(range(layers))
    match family.sparse:
        case "step":
            step = keys.count("decoder_sparse_step")
            plain = keys.counts("mlp_only_layers", most=MOST_LAYERS)
            return frozenset(layer for layer in every if (layer + 1) % step == 0) - set(plain)
        case "after":
            first = keys.count("first_k_dense_replace", least=0)
            every_nth = keys.optional_count("moe_layer_freq")
            step = 1 if every_nth is None else every_nth
            return frozenset(layer for layer in every if layer >= first and layer % step == 0)
        case "interleaved":
            if keys.value("moe_layers") is not None:
                return every & set(keys.counts("moe_layers", most=MOST_LAYERS))
            step = keys.count("interleave_moe_layer_step")
            return frozenset(range(step - 1, layers, step))
    return every
