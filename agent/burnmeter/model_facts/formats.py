"""`dtype` and `quantization_config` of a config.json -> bytes per parameter of each part. Pure.

What a checkpoint says, not what an engine makes of it: one that quantises while it loads must be
stated. Surprising: in every scheme known here the embedding, the head, the routers and the norms
stay in the format of the activations: a 4-bit model with many words is far more than 4 bits.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from burnmeter.errors import ModelConfigError
from burnmeter.model_facts.keys import Keys, shown
from burnmeter.model_facts.packing import method, packing
from burnmeter.model_facts.shape import Decoder, Shape
from burnmeter.model_facts.skipped import PARTS, skipped_shares

BYTES: Final = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.5,
    "fp4": 0.5,
}
"""Format of numbers -> bytes of one, without scales."""
WORDS: Final = {
    "float32": "fp32",
    "float": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "fp8_inc": "fp8",
    "fp8_per_token_head": "fp8",
    "int8_per_token_head": "int8",
}
"""What configs and engines' flags call a format -> what we call it."""
CACHES: Final = ("fp32", "bf16", "fp16", "fp8", "int8")


class Formats(NamedTuple):
    """The number formats of one checkpoint."""

    activations: str
    weights: str
    compute: str
    cache: str | None
    """What the checkpoint says of the KV cache."""
    bytes_by_part: Mapping[str, float]
    """Bytes per parameter; parts that are not named have the activations' format."""
    assumed: tuple[str, ...]


def formats(found: Decoder, shape: Shape) -> Formats:
    """Raises ModelConfigError."""
    activations, assumed = _activations(found)
    keys = _scheme(found)
    if keys is None:
        return Formats(activations, activations, activations, None, {}, assumed)
    kept = packing(keys)
    skipped, assumed_of_these = skipped_shares(keys, shape)
    shares = {part: skipped.get(part, 0.0) for part in PARTS}
    if method(keys) == "mxfp4":
        # transformers' and the engines' MXFP4 is for experts alone, whatever else is listed.
        shares |= dict.fromkeys(("attention", "dense", "shared"), 1.0)
    wide = BYTES[activations]
    return Formats(
        activations=activations,
        weights=kept.name,
        compute=activations if kept.compute is None else kept.compute,
        cache=_cache(keys),
        bytes_by_part={
            part: share * wide + (1 - share) * kept.bits / 8 for part, share in shares.items()
        },
        assumed=(*assumed, *assumed_of_these),
    )


def cache_format(given: str) -> str:
    """The KV cache's format by its own or an engine's word for it. Raises ModelConfigError."""
    name = WORDS.get(given, given)
    if name not in CACHES:
        raise ModelConfigError(
            f"`kv_format` is {shown(given)}; one of {', '.join(CACHES)} is needed"
        )
    return name


def _activations(found: Decoder) -> tuple[str, tuple[str, ...]]:
    """The format of what is not quantised."""
    for key in ("dtype", "torch_dtype"):
        keys = found.holder(key)
        if keys.value(key) is None:
            continue
        name = WORDS.get(keys.text(key).removeprefix("torch."))
        if name not in ("fp32", "bf16", "fp16"):
            raise keys.wrong(key, "bfloat16, float16 or float32")
        if name == "fp32":
            return name, ("Weights are in fp32 as the config says; an engine may halve them.",)
        return name, ()
    return "bf16", ("`dtype` is not in the config: taken as bfloat16.",)


def _scheme(found: Decoder) -> Keys | None:
    """How the checkpoint was quantised, under its name or the one before it; None: it was not."""
    for key in ("quantization_config", "compression_config"):
        keys = found.holder(key).inner(key)
        if keys is not None:
            return keys
    return None


def _cache(keys: Keys) -> str | None:
    """The KV cache's format, if the checkpoint was made for one."""
    inner = keys.inner("quantization") or keys
    scheme = inner.value("kv_cache_scheme")
    if isinstance(scheme, Mapping) and scheme.get("num_bits") == 8:
        return {"float": "fp8", "int": "int8"}.get(shown(scheme.get("type")).strip("'"))
    algorithm = inner.value("kv_cache_quant_algo")
    return "fp8" if algorithm == "FP8" else "int8" if algorithm == "INT8" else None
