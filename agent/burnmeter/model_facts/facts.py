"""Bytes and operations of one decode step of a model, by its config. Pure.

Of the whole model: with tensor parallelism each GPU reads its part of them. Surprising: parameters
that are active are the matrices that one token is multiplied by, so the table of input embeddings
is none of them, and the output head is; publishers differ by just these two.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from burnmeter.errors import ModelConfigError
from burnmeter.model_facts.formats import BYTES, Formats, cache_format, formats
from burnmeter.model_facts.shape import Shape, decoder, shape

OF_CACHE: Final = "The KV cache is in"
"""How a sentence begins that takes a format of the cache as so."""


class Span(NamedTuple):
    """Layers that look equally far back, together."""

    window_tokens: int | None
    """None: all of the context."""
    cache_bytes: float
    """For each token looked at, as are the operations."""
    operations: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the roofline of decoding needs to know of a model."""

    parameters: float
    active_parameters: float
    """Matrices that one token is multiplied by: no tables, norms or biases."""
    weight_bytes: float
    """All weights in memory."""
    shared_step_bytes: float
    """Weights that every step reads, whatever its batch."""
    expert_bytes: float
    """All experts among which routers choose; 0 for a dense model."""
    expert_ratio: float
    """Of these, what one token passes through."""
    spans: tuple[Span, ...]
    weight_format: str
    """That of the quantised matrices, or of all."""
    compute_format: str
    """In which matrices are multiplied, on a GPU that can: weights alone may be quantised."""
    kv_format: str | None
    """None: bytes were stated, not a format."""
    assumed: tuple[str, ...]
    """Sentences: what was taken as so without being said."""

    def step_weight_bytes(self, batch: float) -> float:
        """Weights that one decode step of `batch` tokens reads.

        Of the experts those that at least one token chose, if each chooses evenly and by itself.
        The rows looked up in the embedding are not counted: one per token.
        """
        chosen = 1.0 - math.pow(1.0 - self.expert_ratio, batch)
        return self.shared_step_bytes + self.expert_bytes * chosen

    def kv_read_bytes(self, context_tokens: float) -> float:
        """Cache that one generated token reads after so much context."""
        return sum(span.cache_bytes * _seen(span, context_tokens) for span in self.spans)

    def flops(self, context_tokens: float) -> float:
        """Floating point operations of one generated token after so much context."""
        attention = sum(span.operations * _seen(span, context_tokens) for span in self.spans)
        return 2.0 * self.active_parameters + attention

    def with_cache(self, kv_format: str) -> "ModelFacts":
        """The same with a cache in another format; where bytes were stated there is none."""
        if self.kv_format is None:
            return self
        ratio = BYTES[kv_format] / BYTES[self.kv_format]
        return replace(
            self,
            spans=tuple(span._replace(cache_bytes=span.cache_bytes * ratio) for span in self.spans),
            kv_format=kv_format,
            assumed=tuple(text for text in self.assumed if not text.startswith(OF_CACHE)),
        )


def _seen(span: Span, context_tokens: float) -> float:
    if span.window_tokens is None:
        return context_tokens
    return min(context_tokens, span.window_tokens)


def model_facts(config: Mapping[str, Any], *, kv_format: str | None = None) -> ModelFacts:
    """Facts from a parsed config.json; `kv_format` if the engine was told one.

    Raises ModelConfigError: a decoder that is not known is refused, not guessed at.
    """
    if not isinstance(config, Mapping):
        raise ModelConfigError("a model's config is one object; this one is not")
    found = decoder(config)
    sizes = shape(found)
    numbers = formats(found, sizes)
    cache, assumed_cache = _cache(numbers, kv_format)
    wide, of = BYTES[numbers.activations], numbers.bytes_by_part
    head, table = sizes.head * wide, sizes.table * wide
    routed = sizes.routed * of.get("routed", wide)
    packed = {"attention": sizes.attention, "dense": sizes.dense, "shared": sizes.shared}
    shared = head + sizes.routers * wide
    shared += sum(size * of.get(part, wide) for part, size in packed.items())
    every = sum(packed.values()) + sizes.routers
    return ModelFacts(
        parameters=float(sizes.table + (0 if sizes.is_tied else sizes.head) + every + sizes.routed),
        active_parameters=sizes.head + every + sizes.routed * sizes.routed_ratio,
        weight_bytes=shared + routed + table - (head if sizes.is_tied else 0.0),
        shared_step_bytes=shared,
        expert_bytes=routed,
        expert_ratio=sizes.routed_ratio,
        spans=_spans(sizes, BYTES[cache]),
        weight_format=numbers.weights,
        compute_format=numbers.compute,
        kv_format=cache,
        assumed=(
            *_defaults(found.keys.taken),
            *numbers.assumed,
            *sizes.assumed,
            *_even_routing(sizes.routed > 0),
            *assumed_cache,
        ),
    )


def _spans(sizes: Shape, cache_bytes: float) -> tuple[Span, ...]:
    return tuple(
        Span(window, layers * sizes.cached * cache_bytes, float(layers * sizes.attended))
        for window, layers in sizes.layers_by_window.items()
    )


def _cache(numbers: Formats, kv_format: str | None) -> tuple[str, tuple[str, ...]]:
    """The cache's format, and a sentence if nobody said it."""
    if kv_format is not None and kv_format != "auto":
        return cache_format(kv_format), ()
    if numbers.cache is not None:
        return numbers.cache, (f"{OF_CACHE} {numbers.cache}, as the checkpoint says.",)
    name = numbers.activations
    return name, (f"{OF_CACHE} {name}, as the activations.",)


def _defaults(taken: Mapping[str, str]) -> tuple[str, ...]:
    if not taken:
        return ()
    listed = ", ".join(f"`{key}` {text}" for key, text in taken.items())
    return (f"Not in the config, so as transformers has it: {listed}.",)


def _even_routing(has_experts: bool) -> tuple[str, ...]:
    return ("Tokens choose experts evenly, each by itself.",) if has_experts else ()
