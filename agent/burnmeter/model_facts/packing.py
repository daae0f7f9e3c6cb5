"""`quantization_config` of a config.json -> how its matrices are kept. Pure.

One reader per scheme, for each has its own keys. Which matrices are kept so is for `skipped`. A
scheme that is not known is refused: bytes per token would be wrong by a factor of two or four.
"""

from typing import Final, NamedTuple

from burnmeter.model_facts.keys import Keys

METHODS: Final = (
    *("fp8", "fbgemm_fp8", "mxfp4", "gptq", "awq", "auto-round", "bitsandbytes"),
    *("compressed-tensors", "modelopt"),
)
ALGORITHMS: Final = {
    "FP8": ("fp8", 8.0, "fp8"),
    "FP8_PB_WO": ("fp8", 8.0, "fp8"),
    "FP8_PER_CHANNEL_PER_TOKEN": ("fp8", 8.0, "fp8"),
    "MXFP8": ("fp8", 8.25, "fp8"),
    "NVFP4": ("fp4", 4.5, "fp4"),
    "W4A16_NVFP4": ("fp4", 4.5, None),
}
"""ModelOpt's `quant_algo` -> its Packing."""


class Packing(NamedTuple):
    """How quantised matrices are kept."""

    name: str
    bits: float
    """Of one parameter, with the scales and zero points of its group."""
    compute: str | None
    """The format in which they are multiplied; None: that of the activations."""


def method(keys: Keys) -> str:
    """The scheme's name, in one spelling."""
    if "quant_method" not in keys.said and keys.value("producer") is not None:
        return "modelopt"  # its own hf_quant_config.json, which config.json does not always repeat
    return keys.text("quant_method").lower().replace("_", "-").replace("gpt-oss-", "")


def packing(keys: Keys) -> Packing:
    """How a scheme keeps its matrices. Scales of whole channels or large blocks are not counted."""
    match method(keys):
        case "fp8" | "fbgemm-fp8":
            # One scale for a tensor, a channel or 128 x 128 parameters: under 0.1 %.
            return Packing("fp8", 8.0, "fp8")
        case "mxfp4":
            # One scale of 8 bits for 32 (OCP Microscaling Formats 1.0, section 5.2).
            return Packing("fp4", 4.25, None)
        case "gptq" | "awq" | "auto-round":
            return _grouped(keys)
        case "bitsandbytes":
            return _bitsandbytes(keys)
        case "compressed-tensors":
            return _compressed(keys)
        case "modelopt" | "modelopt-fp4":
            return _modelopt(keys)
    raise keys.unknown("quant_method", METHODS)


def _grouped(keys: Keys) -> Packing:
    """Integers in groups, each with a scale of 16 bits and a zero point of its own width."""
    bits = _bits(keys, "w_bit" if "w_bit" in keys.said else "bits")
    size = keys.optional_count(
        "q_group_size" if "q_group_size" in keys.said else "group_size", least=-1
    )
    overhead = (16 + bits) / size if size is not None and size > 0 else 0.0
    return Packing(f"int{bits}", bits + overhead, None)


def _bits(keys: Keys, key: str) -> int:
    bits = keys.count(key)
    if bits not in (4, 8):
        raise keys.wrong(key, "4 or 8")
    return bits


def _bitsandbytes(keys: Keys) -> Packing:
    """Eight bits by vector, or four in blocks of 64 with a scale of 32 bits.

    Doubly quantised, the scales have 8 bits and one of 32 for 256 of them (QLoRA, arXiv 2305.14314,
    section 3). Its NF4 is no float, and nearer to one than to an integer.
    """
    if keys.value("load_in_8bit") is True:
        return Packing("int8", 8.0, "int8")
    if keys.value("load_in_4bit") is not True:
        raise keys.wrong("load_in_4bit", "true, or `load_in_8bit` true,")
    is_double = keys.value("bnb_4bit_use_double_quant") is True
    return Packing("fp4", 4 + (8 / 64 + 32 / (64 * 256) if is_double else 32 / 64), None)


def _compressed(keys: Keys) -> Packing:
    """Groups of layers, each with its own arguments; only groups that agree can be counted."""
    groups = keys.inner("config_groups")
    if groups is None:
        raise keys.wrong("config_groups", "an object")
    found = {_compressed_group(groups, name) for name in groups.said}
    if len(found) != 1:
        raise keys.wrong("config_groups", "one format for all groups")
    return found.pop()


def _compressed_group(groups: Keys, name: str) -> Packing:
    group = groups.inner(name)
    weights = None if group is None else group.inner("weights")
    if group is None or weights is None:
        raise groups.wrong(name, "an object with `weights`")
    if "targets" in group.said and "Linear" not in group.texts("targets"):
        raise group.wrong(
            "targets", "Linear"
        )  # else some matrices are quantised, and who says which
    kept = _compressed_numbers(weights)
    inputs = group.inner("input_activations")
    return kept if inputs is None else kept._replace(compute=_compressed_numbers(inputs).name)


def _compressed_numbers(keys: Keys) -> Packing:
    bits, kind = _bits(keys, "num_bits"), keys.text("type")
    if kind not in ("int", "float"):
        raise keys.wrong("type", "int or float")
    size = keys.optional_count("group_size", least=-1)
    overhead = 0.0
    if size is not None and size > 0:
        # Scales of float groups have 8 bits (MXFP4, MXFP8, NVFP4), of integers 16.
        scale = 8 if kind == "float" else 16
        zero = bits if keys.value("symmetric") is False else 0
        overhead = (scale + zero) / size
    return Packing(("fp" if kind == "float" else "int") + str(bits), bits + overhead, None)


def _modelopt(keys: Keys) -> Packing:
    inner = keys.inner("quantization") or keys
    found = ALGORITHMS.get(inner.text("quant_algo").upper())
    if found is None:
        raise inner.unknown("quant_algo", ALGORITHMS)
    return Packing(*found)
