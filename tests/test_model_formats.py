"""How large a quantised checkpoint is: what is packed, with its scales, and what is not."""

from typing import Any

import pytest

from burnmeter.errors import ModelConfigError
from tests import models

LLAMA = "llama-3.1-8b"
BLOCKS = 6_979_321_856
"""Matrices in the layers of Llama 3.1 8B: all its parameters but table, head and norms."""
WIDE = 2 * 128256 * 4096 * 2
"""Bytes of its table and head, which no scheme packs."""

FLOAT8 = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}
INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}
NVFP4 = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}


def compressed(weights: dict[str, Any], inputs: dict[str, Any] | None, **more: Any) -> Any:
    """A scheme as llm-compressor writes it."""
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, **more}


def gptq(**more: Any) -> dict[str, Any]:
    """A scheme as GPTQModel writes it."""
    return {"quant_method": "gptq", "bits": 4, "group_size": 128, **more}


@pytest.mark.parametrize(
    ("scheme", "bits", "weights", "compute"),
    [
        pytest.param({"quant_method": "fp8"}, 8, "fp8", "fp8", id="fp8"),
        pytest.param({"quant_method": "fbgemm_fp8"}, 8, "fp8", "fp8", id="fp8 by channel"),
        pytest.param(gptq(), 4 + 20 / 128, "int4", "bf16", id="gptq"),
        pytest.param(gptq(bits=8, group_size=-1), 8, "int8", "bf16", id="gptq by channel"),
        pytest.param(gptq(quant_method="awq"), 4 + 20 / 128, "int4", "bf16", id="awq"),
        pytest.param(
            {"quant_method": "awq", "w_bit": 4, "q_group_size": 64},
            *(4 + 20 / 64, "int4", "bf16"),
            id="awq, older keys",
        ),
        pytest.param(
            gptq(quant_method="auto-round"), 4 + 20 / 128, "int4", "bf16", id="auto-round"
        ),
        pytest.param(
            {"quant_method": "bitsandbytes", "load_in_8bit": True},
            *(8, "int8", "int8"),
            id="bitsandbytes, eight bits",
        ),
        pytest.param(
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            *(4.5, "fp4", "bf16"),
            id="bitsandbytes, four bits",
        ),
        pytest.param(
            {
                "quant_method": "bitsandbytes",
                "load_in_4bit": True,
                "bnb_4bit_use_double_quant": True,
            },
            *(4 + 0.127, "fp4", "bf16"),
            id="bitsandbytes, doubly quantised",
        ),
        pytest.param(compressed(FLOAT8, FLOAT8), 8, "fp8", "fp8", id="compressed W8A8"),
        pytest.param(compressed(FLOAT8, None), 8, "fp8", "bf16", id="compressed W8A16"),
        pytest.param(compressed(INT4, None), 4.5, "int4", "bf16", id="compressed W4A16"),
        pytest.param(
            compressed(INT4 | {"symmetric": False}, None),
            *(4 + 20 / 32, "int4", "bf16"),
            id="compressed with zero points",
        ),
        pytest.param(compressed(NVFP4, NVFP4), 4.5, "fp4", "fp4", id="compressed NVFP4"),
        pytest.param(
            {"quant_method": "modelopt", "quant_algo": "NVFP4"}, 4.5, "fp4", "fp4", id="modelopt"
        ),
        *(
            pytest.param(
                {"quant_method": "modelopt", "quant_algo": algorithm},
                *(bits, weights, compute),
                id=f"modelopt, {algorithm}",
            )
            for algorithm, bits, weights, compute in (
                ("W4A16_NVFP4", 4.5, "fp4", "bf16"),
                ("MXFP8", 8.25, "fp8", "fp8"),
                ("FP8_PB_WO", 8, "fp8", "fp8"),
            )
        ),
        pytest.param(
            {"quant_method": "modelopt", "quantization": {"quant_algo": "FP8"}},
            *(8, "fp8", "fp8"),
            id="modelopt, nested",
        ),
        pytest.param(
            {
                "producer": {"name": "modelopt"},
                "quantization": {"quant_algo": "NVFP4", "exclude_modules": ["lm_head"]},
            },
            *(4.5, "fp4", "fp4"),
            id="modelopt's own file",
        ),
    ],
)
def test_layers_are_packed_and_table_and_head_are_not(
    scheme: dict[str, Any], bits: float, weights: str, compute: str
) -> None:
    found = models.facts(LLAMA, quantization_config=scheme)

    assert found.weight_bytes == pytest.approx(BLOCKS * bits / 8 + WIDE, rel=1e-4)
    assert (found.weight_format, found.compute_format) == (weights, compute)


def test_a_scheme_under_its_older_name_is_not_overlooked() -> None:
    found = models.facts(LLAMA, compression_config=compressed(FLOAT8, FLOAT8))

    assert found.weight_format == "fp8"


def test_a_4_bit_checkpoint_is_as_large_as_the_published_one() -> None:
    """hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4: two files of 4.68 and 1.05 GB."""
    found = models.facts(LLAMA, quantization_config=gptq(quant_method="awq"))

    assert found.weight_bytes == pytest.approx(5.73e9, rel=0.005)


ATTENTION = 32 * 2 * 4096 * 128 * (32 + 8)
MLP = BLOCKS - ATTENTION


@pytest.mark.parametrize(
    ("ignore", "skipped"),
    [
        pytest.param(["lm_head"], 0, id="the head, which never is packed"),
        pytest.param(["re:.*self_attn.*"], ATTENTION, id="attention by a pattern"),
        pytest.param(["model.layers.*.self_attn"], ATTENTION, id="attention by a wildcard"),
        pytest.param(
            [f"model.layers.{layer}.self_attn*" for layer in range(32)],
            ATTENTION,
            id="attention of each layer",
        ),
        pytest.param(
            [
                f"model.layers.{layer}.self_attn.{name}_proj"
                for layer in range(8)
                for name in "qkvo"
            ],
            ATTENTION / 4,
            id="attention of some layers",
        ),
        pytest.param([r"re:.*mlp\.(gate|up|gate_up|down)_proj.*"], MLP, id="blocks by a pattern"),
        pytest.param(["model.layers.3.mlp.gate_proj"], MLP / 32, id="blocks of one layer"),
        pytest.param(["model.layers.31*"], BLOCKS / 32, id="one whole layer"),
        pytest.param(["model.layers.32.mlp"], 0, id="a layer past the last, for further tokens"),
        pytest.param(
            ["model.layers.1.post_attention_layernorm"], 0, id="a norm, whatever its name"
        ),
        pytest.param(["re:.*vision_tower.*self_attn.*"], 0, id="attention of an encoder"),
        pytest.param([], 0, id="none"),
    ],
)
def test_what_is_listed_as_left_alone_is_not_packed(ignore: list[str], skipped: float) -> None:
    found = models.facts(LLAMA, quantization_config=compressed(FLOAT8, FLOAT8, ignore=ignore))

    assert found.weight_bytes == pytest.approx(BLOCKS + skipped + WIDE, rel=1e-4)


V3 = "deepseek-v3"
SHARED = 58 * 3 * 7168 * 2048


@pytest.mark.parametrize(
    ("ignore", "skipped"),
    [
        pytest.param(["re:.*mlp.gate$"], 0, id="the router"),
        pytest.param([r"re:.*(?:^|\.)(?:mlp|ffn)\.gate(?:\.|$).*"], 0, id="the router, in full"),
        pytest.param(["re:.*shared_experts.*"], SHARED, id="shared experts"),
        pytest.param(["re:.*shared_expert_gate$"], 0, id="their gate"),
        pytest.param(["model.layers.5.mlp.shared_experts"], SHARED / 58, id="those of one layer"),
        pytest.param(["model.layers.0.mlp"], 3 * 7168 * 18432, id="a layer without experts"),
        pytest.param(
            [r"re:.*mlp\.(gate|up|gate_up|down)_proj.*"],
            3 * 3 * 7168 * 18432,
            id="the blocks without experts, as Kimi K2's",
        ),
    ],
)
def test_experts_are_told_from_what_is_beside_them(ignore: list[str], skipped: float) -> None:
    scheme = compressed(FLOAT8, FLOAT8)

    packed = models.facts(V3, quantization_config=scheme).weight_bytes
    found = models.facts(V3, quantization_config=scheme | {"ignore": ignore}).weight_bytes

    assert found - packed == pytest.approx(skipped, rel=1e-6)


def test_mxfp4_packs_experts_alone() -> None:
    found = models.facts("gpt-oss-20b", quantization_config={"quant_method": "mxfp4"})

    assert found.expert_bytes == 24 * 32 * 3 * 2880 * 2880 * 4.25 / 8
    assert (found.weight_format, found.compute_format) == ("fp4", "bf16")
    assert found == models.facts("gpt-oss-20b")


def test_a_pattern_for_some_layers_is_told_and_not_read() -> None:
    scheme = compressed(FLOAT8, FLOAT8, ignore=[r"re:model\.layers\.(0|1)\.mlp.*"])

    found = models.facts(LLAMA, quantization_config=scheme)

    assert found.weight_bytes == BLOCKS + WIDE
    assert "Patterns for some layers are not read: counted as quantised." in found.assumed


def test_a_pattern_that_would_never_end_is_not_run() -> None:
    """Matched, either would outlast the age of the universe, and this test its time limit."""
    names = ["re:(a+)+$", "a" * 10_000 + "!", "re:(.*)*layers.*x", "layers." * 50_000]

    found = models.facts(LLAMA, quantization_config=compressed(FLOAT8, FLOAT8, ignore=names * 100))

    assert found.weight_bytes == BLOCKS + WIDE


@pytest.mark.parametrize(
    ("said", "bytes_per_token"),
    [
        pytest.param({"kv_cache_scheme": {"num_bits": 8, "type": "float"}}, 65_536, id="a scheme"),
        pytest.param({"kv_cache_quant_algo": "FP8"}, 65_536, id="an algorithm"),
        pytest.param({"kv_cache_scheme": None}, 131_072, id="none"),
        pytest.param({"kv_cache_scheme": {"num_bits": 8, "type": []}}, 131_072, id="nonsense"),
    ],
)
def test_a_checkpoint_may_say_how_its_cache_is_kept(
    said: dict[str, Any], bytes_per_token: int
) -> None:
    scheme = {"quant_method": "modelopt", "quant_algo": "FP8", **said}

    assert models.facts(LLAMA, quantization_config=scheme).kv_read_bytes(1) == bytes_per_token


@pytest.mark.parametrize(
    ("scheme", "sentence"),
    [
        pytest.param(
            {"bits": 4, "group_size": 64},
            "`quantization_config.quant_method` is missing; a word is needed",
            id="no method",
        ),
        pytest.param(
            {"quant_method": "quark"},
            "`quantization_config.quant_method` is 'quark', which is not known; state the model's"
            " numbers, or give one of fp8, fbgemm_fp8, mxfp4, gptq, awq, auto-round, bitsandbytes,"
            " compressed-tensors, modelopt",
            id="an unknown method",
        ),
        pytest.param(
            gptq(bits=3),
            "`quantization_config.bits` is 3; 4 or 8 is needed",
            id="bits without a name",
        ),
        pytest.param(
            {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"},
            "`quantization_config.quant_algo` is 'MIXED_PRECISION', which is not known; state the"
            " model's numbers, or give one of FP8, FP8_PB_WO, FP8_PER_CHANNEL_PER_TOKEN, MXFP8,"
            " NVFP4, W4A16_NVFP4",
            id="several formats",
        ),
        pytest.param(
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"weights": FLOAT8}, "b": {"weights": INT4}},
            },
            "`quantization_config.config_groups` is an object; one format for all groups is needed",
            id="groups that differ",
        ),
        pytest.param(
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"weights": FLOAT8, "targets": ["re:.*experts.*"]}},
            },
            "`quantization_config.config_groups.a.targets` is a list of 1; Linear is needed",
            id="a group of some matrices",
        ),
        pytest.param(
            {"quant_method": "bitsandbytes"},
            "`quantization_config.load_in_4bit` is missing; true, or `load_in_8bit` true, is"
            " needed",
            id="no bits",
        ),
    ],
)
def test_a_scheme_that_cannot_be_counted_is_refused(scheme: Any, sentence: str) -> None:
    with pytest.raises(ModelConfigError) as caught:
        models.facts(LLAMA, quantization_config=scheme)

    assert str(caught.value) == sentence
