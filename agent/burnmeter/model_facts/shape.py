"""A model's config.json, in the transformers format -> how many numbers its parts hold. Pure.

Only matrices and tables are counted. Norms, biases, attention sinks and the like are left out:
together they are at most 0.1 % of any model known here. Nothing is in bytes yet: see `formats`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from burnmeter.errors import ModelConfigError
from burnmeter.model_facts.experts import MOST_LAYERS, experts
from burnmeter.model_facts.families import Family, families, refused
from burnmeter.model_facts.keys import Keys, shown
from burnmeter.model_facts.windows import layers_by_window


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Parameters of each part, over all layers together."""

    layers: int
    sparse_layers: frozenset[int]
    """Those with experts."""
    table: int
    """Looked up by token and position, never multiplied."""
    head: int
    is_tied: bool
    """The head is the table."""
    attention: int
    dense: int
    """Feed-forward blocks of the layers without experts."""
    routers: int
    shared: int
    """Experts that every token passes through."""
    routed: int
    """All experts among which the routers choose."""
    routed_ratio: float
    """Of the routed experts, what one token passes through."""
    cached: int
    """Numbers that one token leaves in the cache of one layer."""
    attended: int
    """Operations of one layer for each token of context."""
    layers_by_window: Mapping[int | None, int]
    """Most tokens that a layer looks back -> how many layers; None: all of the context."""
    assumed: tuple[str, ...]


class Decoder(NamedTuple):
    """The part of a config that is the language model."""

    family: Family
    keys: Keys
    outer: Keys
    """The whole config: the same, or that of a multimodal model around this one."""

    def holder(self, key: str) -> Keys:
        """Where a key is to be read that a multimodal config may say one level higher."""
        own, outer = self.keys.said.get(key), self.outer.said.get(key)
        return self.outer if own is None and outer is not None else self.keys


def decoder(config: Mapping[str, Any]) -> Decoder:
    """Find the language model in a config. Raises ModelConfigError."""
    outer = Keys(config)
    inner = outer.inner("text_config") or outer
    kind = inner.text("model_type")
    if kind in refused():
        raise ModelConfigError(
            f"`{inner.path}model_type` is {shown(kind)}, which {refused()[kind]}; state its numbers"
        )
    family = families().get(kind)
    if family is None:
        raise inner.unknown("model_type", sorted(families()))
    return Decoder(family, Keys(inner.said, inner.path, family.defaults, family.names), outer)


def shape(found: Decoder) -> Shape:
    """Every part's size. Raises ModelConfigError."""
    family, keys = found.family, found.keys
    hidden, layers = keys.count("hidden_size"), keys.count("num_hidden_layers", most=MOST_LAYERS)
    words = keys.count("vocab_size") * hidden
    positions = keys.count(family.positions) * hidden if family.positions else 0
    if keys.value("word_embed_proj_dim") not in (None, hidden):
        raise keys.wrong("word_embed_proj_dim", f"`hidden_size` ({hidden})")
    attention, cached, attended = (_latent if family.is_latent else _grouped)(keys, hidden)
    block = (3 if family.is_gated else 2) * hidden
    mixture = experts(family, keys, layers)
    sparse, dense = len(mixture.layers), layers - len(mixture.layers)
    windows, assumed = layers_by_window(family, keys, layers)
    return Shape(
        layers=layers,
        sparse_layers=mixture.layers,
        table=words + positions,
        head=words,
        is_tied=found.holder("tie_word_embeddings").flag("tie_word_embeddings"),
        attention=attention * layers,
        dense=block * _dense_size(family, keys, hidden) * dense if dense > 0 else 0,
        routers=hidden * mixture.routed * sparse,
        shared=block * mixture.shared_size * sparse,
        routed=block * mixture.size * mixture.routed * sparse,
        routed_ratio=mixture.chosen / mixture.routed,
        cached=cached,
        attended=attended,
        layers_by_window=windows,
        assumed=(*assumed, *_left_out(found)),
    )


def _grouped(keys: Keys, hidden: int) -> tuple[int, int, int]:
    """Attention with query heads in groups: parameters, numbers cached, operations per context."""
    heads = keys.count("num_attention_heads")
    kv_heads = keys.optional_count("num_key_value_heads", most=heads)
    if kv_heads is None:
        kv_heads, keys.taken["num_key_value_heads"] = heads, f"{heads} (as many as heads)"
    size = keys.optional_count("head_dim")
    if size is None:
        size = hidden // heads
        if size < 1:
            raise keys.wrong("num_attention_heads", f"at most `hidden_size` ({hidden})")
    # A query times each key of the context, and each weight times a value: two operations each.
    return 2 * hidden * size * (heads + kv_heads), 2 * kv_heads * size, 4 * heads * size


def _latent(keys: Keys, hidden: int) -> tuple[int, int, int]:
    """The same of multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    While decoding, engines multiply queries by the matrix that would expand the cache, not the
    cache: a head then looks at the compressed row itself, once for its weight, once for its value.
    """
    heads, rank = keys.count("num_attention_heads"), keys.count("kv_lora_rank")
    rope, nope = keys.count("qk_rope_head_dim"), keys.count("qk_nope_head_dim")
    value = keys.count("v_head_dim")
    query_rank, query = keys.nullable_count("q_lora_rank"), heads * (nope + rope)
    queries = hidden * query if query_rank is None else query_rank * (hidden + query)
    parameters = queries + hidden * (rank + rope) + rank * heads * (nope + value)
    return parameters + heads * value * hidden, rank + rope, 2 * heads * (2 * rank + rope)


def _dense_size(family: Family, keys: Keys, hidden: int) -> int:
    """Inner size of a feed-forward block without experts."""
    if family.is_gated:
        return keys.count(family.dense_size)
    size = keys.optional_count(family.dense_size)
    return 4 * hidden if size is None else size


def _left_out(found: Decoder) -> list[str]:
    """Parts of a checkpoint that decoding by itself does not touch."""
    texts = []
    if found.keys.path or "vision_config" in found.outer.said:
        texts.append("Only the language model is counted, no encoder of images or sound.")
    further = found.keys.optional_count("num_nextn_predict_layers", least=0)
    if further is not None and further > 0:
        texts.append("Layers that predict further tokens are not counted.")
    return texts
