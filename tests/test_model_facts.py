"""What is made of published models' configs agrees with what is published of them, or by hand."""

import math
from typing import Any

import pytest

from burnmeter.model_facts import model_facts
from tests import models
from tests.models import facts

BILLION = 1e9
GIBIBYTE = 2.0**30

COUNTED = {
    "deepseek-v2-lite": 15706484224,
    "deepseek-v3": 671026404352,
    "gemma-2-9b": 9241705984,
    "gemma-3-4b": 3880263168,
    "gpt-oss-120b": 116829156672,
    "gpt-oss-20b": 20914757184,
    "gpt2": 124439808,
    "llama-3.1-8b": 8030261248,
    "llama-3.3-70b": 70553706496,
    "llama-4-maverick": 400711848960,
    "llama-4-scout": 107769861120,
    "mistral-7b-v0.1": 7241732096,
    "mixtral-8x7b-v0.1": 46702792704,
    "opt-125m": 125239296,
    "phi-4": 14659507200,
    "qwen2.5-7b": 7615616512,
    "qwen3-30b-a3b": 30532122624,
    "qwen3-8b": 8190735360,
}
"""All parameters of the model that transformers 5.19 builds of each config, without its weights."""


@pytest.mark.parametrize("name", models.NAMES)
def test_parameters_are_those_of_the_model_but_for_norms_and_biases(name: str) -> None:
    found = facts(name).parameters

    assert found == pytest.approx(COUNTED[name], rel=0.001)
    assert found < COUNTED[name]


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        pytest.param("llama-3.1-8b", 8.03, id="Llama 3.1 8B: its checkpoint's metadata"),
        pytest.param("llama-3.3-70b", 70.55, id="Llama 3.3 70B: its checkpoint's metadata"),
        pytest.param("mistral-7b-v0.1", 7.24, id="Mistral 7B: its checkpoint's metadata"),
        pytest.param("mixtral-8x7b-v0.1", 46.7, id="Mixtral: mistral.ai/news/mixtral-of-experts"),
        pytest.param("qwen2.5-7b", 7.61, id="Qwen2.5 7B: its model card"),
        pytest.param("qwen3-8b", 8.19, id="Qwen3 8B: its checkpoint's metadata; 8.2 on its card"),
        pytest.param("qwen3-30b-a3b", 30.5, id="Qwen3 30B A3B: its model card"),
        pytest.param(
            "deepseek-v3", 671, id="DeepSeek V3: README_WEIGHTS.md, without the MTP module"
        ),
        pytest.param("deepseek-v2-lite", 15.7, id="DeepSeek V2 Lite: arXiv 2405.04434, appendix B"),
        pytest.param("gpt-oss-20b", 20.91, id="gpt-oss 20b: arXiv 2508.10925, table 1"),
        pytest.param("gpt-oss-120b", 116.83, id="gpt-oss 120b: arXiv 2508.10925, table 1"),
        pytest.param("gemma-2-9b", 9.242164736, id="Gemma 2 9B: arXiv 2408.00118, table 2"),
        pytest.param("phi-4", 14.66, id="Phi 4: its checkpoint's metadata"),
    ],
)
def test_parameters_are_as_many_as_published(name: str, billions: float) -> None:
    assert facts(name).parameters == pytest.approx(billions * BILLION, rel=0.01)


@pytest.mark.parametrize(
    ("name", "has_table", "billions"),
    [
        # gpt-oss says so: the head is counted as active, the table of embeddings is not.
        pytest.param("gpt-oss-20b", False, 3.61, id="gpt-oss 20b: arXiv 2508.10925, table 1"),
        pytest.param("gpt-oss-120b", False, 5.13, id="gpt-oss 120b: arXiv 2508.10925, table 1"),
        # It is said to have both, and adds up with one.
        pytest.param("deepseek-v3", False, 36.7, id="DeepSeek V3: README_WEIGHTS.md; 37 elsewhere"),
        pytest.param("mixtral-8x7b-v0.1", True, 12.9, id="Mixtral: mixtral-of-experts"),
        pytest.param(
            "qwen3-30b-a3b", True, 3.3, id="Qwen3 30B A3B: its model card, 3.35 cut short"
        ),
        pytest.param("llama-4-scout", True, 17, id="Llama 4 Scout: its model card"),
    ],
)
def test_active_parameters_are_as_many_as_published(
    name: str, has_table: bool, billions: float
) -> None:
    """Publishers differ in whether the table of input embeddings is active; ours never has it."""
    said = models.config(name)
    said = said.get("text_config", said)
    table = said["vocab_size"] * said["hidden_size"] if has_table else 0

    found = facts(name).active_parameters + table

    assert found == pytest.approx(billions * BILLION, rel=0.02), "of two digits"


def test_a_dense_model_is_active_as_a_whole_but_for_its_table() -> None:
    found = facts("llama-3.1-8b")

    assert found.active_parameters == found.parameters - 128256 * 4096


def test_a_tied_table_is_multiplied_as_the_head_and_is_in_memory_once() -> None:
    """Every step reads it, for it is the head."""
    found = facts("gemma-2-9b")

    assert found.active_parameters == found.parameters
    assert found.weight_bytes == found.shared_step_bytes == 2 * found.parameters


def test_a_table_apart_from_the_head_is_in_memory_and_no_step_reads_it() -> None:
    found = facts("llama-3.1-8b")

    assert found.weight_bytes == 2 * found.parameters
    assert found.shared_step_bytes == found.weight_bytes - 2 * 128256 * 4096


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [
        pytest.param("llama-3.3-70b", 80 * 2 * 8 * 128 * 2, id="grouped queries, 327,680"),
        pytest.param("llama-3.1-8b", 131_072, id="grouped queries"),
        pytest.param("qwen2.5-7b", 28 * 2 * 4 * 128 * 2, id="fewer groups"),
        pytest.param("deepseek-v3", (512 + 64) * 61 * 2, id="one compressed row, 70,272"),
        pytest.param("gemma-2-9b", 42 * 2 * 8 * 256 * 2, id="a head size of its own"),
        pytest.param("opt-125m", 12 * 2 * 768 * 2, id="as many groups as heads"),
    ],
)
def test_a_token_leaves_so_much_in_the_cache(name: str, bytes_per_token: int) -> None:
    assert facts(name).kv_read_bytes(1) == bytes_per_token


@pytest.mark.parametrize(
    ("name", "context_tokens", "layer_tokens", "layers"),
    [
        pytest.param("llama-3.1-8b", 100_000, 32 * 100_000, 32, id="no window"),
        pytest.param("mistral-7b-v0.1", 100_000, 32 * 4096, 32, id="every layer slides"),
        pytest.param("mistral-7b-v0.1", 1000, 32 * 1000, 32, id="a context within the window"),
        pytest.param("gemma-2-9b", 8192, 21 * 4096 + 21 * 8192, 42, id="every other layer"),
        pytest.param("gemma-3-4b", 100_000, 29 * 1024 + 5 * 100_000, 34, id="five of six"),
        pytest.param("gpt-oss-20b", 100_000, 12 * 128 + 12 * 100_000, 24, id="as listed"),
        pytest.param("llama-4-scout", 100_000, 36 * 8192 + 12 * 100_000, 48, id="within chunks"),
    ],
)
def test_layers_with_a_window_read_no_more_than_it(
    name: str, context_tokens: int, layer_tokens: int, layers: int
) -> None:
    found = facts(name)

    layer_bytes = found.kv_read_bytes(1) / layers
    assert found.kv_read_bytes(context_tokens) == pytest.approx(layer_bytes * layer_tokens)


@pytest.mark.parametrize(
    ("name", "context_tokens", "attention"),
    [
        pytest.param("llama-3.1-8b", 1000, 32 * 4 * 32 * 128 * 1000, id="no window"),
        pytest.param("mistral-7b-v0.1", 10_000, 32 * 4 * 32 * 128 * 4096, id="a window"),
        # Each of 128 heads: 576 numbers for its weight, 512 for its value.
        pytest.param("deepseek-v3", 1000, 61 * 128 * 2 * (576 + 512) * 1000, id="compressed"),
    ],
)
def test_operations_are_two_per_active_parameter_and_attention(
    name: str, context_tokens: int, attention: int
) -> None:
    found = facts(name)

    assert found.flops(context_tokens) == pytest.approx(2 * found.active_parameters + attention)


def test_a_step_of_a_dense_model_reads_the_same_whatever_its_batch() -> None:
    found = facts("llama-3.1-8b")

    assert found.step_weight_bytes(1) == found.step_weight_bytes(256) == 2 * found.active_parameters
    assert found.weight_bytes - found.step_weight_bytes(1) == 2 * 128256 * 4096


def test_a_step_of_one_token_reads_what_the_token_passes_through() -> None:
    found = facts("mixtral-8x7b-v0.1")

    assert found.step_weight_bytes(1) == pytest.approx(2 * found.active_parameters)


def test_a_larger_batch_reads_more_experts_and_in_the_end_all() -> None:
    found = facts("qwen3-30b-a3b")
    read = [found.step_weight_bytes(batch) for batch in (1, 1.5, 2, 8, 32, 128, 512)]

    assert read == sorted(set(read))
    assert (
        read[-1]
        < found.step_weight_bytes(100_000)
        == pytest.approx(found.weight_bytes - 2 * 151936 * 2048)
    )


def test_two_tokens_share_an_expert_by_chance() -> None:
    """Of 8 experts two tokens with two each meet 8 x (1 - (3/4)^2) = 3.5."""
    found = facts("mixtral-8x7b-v0.1")

    each = found.expert_bytes / 8
    assert found.step_weight_bytes(2) - found.shared_step_bytes == pytest.approx(3.5 * each)


@pytest.mark.parametrize(
    ("name", "gibibytes"),
    [
        pytest.param("gpt-oss-20b", 12.8, id="gpt-oss 20b"),
        pytest.param("gpt-oss-120b", 60.8, id="gpt-oss 120b"),
    ],
)
def test_weights_are_as_large_as_the_published_checkpoint(name: str, gibibytes: float) -> None:
    """Table 1 of arXiv 2508.10925: experts in MXFP4, all else in bf16."""
    assert facts(name).weight_bytes == pytest.approx(gibibytes * GIBIBYTE, rel=0.005)


@pytest.mark.parametrize("name", models.NAMES)
def test_weights_are_never_less_than_what_a_step_reads(name: str) -> None:
    found = facts(name)

    assert 0 < found.step_weight_bytes(1) <= found.step_weight_bytes(1000) <= found.weight_bytes
    assert all(math.isfinite(value) for value in (found.flops(1e5), found.kv_read_bytes(1e5)))


@pytest.mark.parametrize(
    ("said", "kv_format", "bytes_per_token", "sentence"),
    [
        pytest.param({}, None, 131_072, "in bf16, as the activations", id="by default"),
        pytest.param({}, "auto", 131_072, "in bf16, as the activations", id="auto"),
        pytest.param({}, "fp8", 65_536, None, id="told"),
        pytest.param({}, "fp8_e5m2", 65_536, None, id="an engine's word"),
        pytest.param({}, "bfloat16", 131_072, None, id="another"),
        pytest.param({"torch_dtype": "float32"}, None, 262_144, "in fp32", id="wide activations"),
    ],
)
def test_the_cache_is_in_the_format_that_is_told(
    said: dict[str, Any], kv_format: str | None, bytes_per_token: int, sentence: str | None
) -> None:
    found = model_facts(models.config("llama-3.1-8b", **said), kv_format=kv_format)

    assert found.kv_read_bytes(1) == bytes_per_token
    told = [text for text in found.assumed if "KV cache" in text]
    assert (sentence is None and told == []) or (sentence is not None and sentence in told[0])


def test_what_a_config_lacks_is_taken_from_transformers_and_told() -> None:
    assert facts("gemma-3-4b").assumed == (
        "Not in the config, so as transformers has it: `vocab_size` 262208, `num_attention_heads`"
        " 8, `num_key_value_heads` 4, `head_dim` 256, `tie_word_embeddings` true.",
        "Which layers slide is not in the config: taken as transformers has it.",
        "Only the language model is counted, no encoder of images or sound.",
        "The KV cache is in bf16, as the activations.",
    )


def test_what_nobody_said_of_experts_and_formats_is_told() -> None:
    assert facts("gpt-oss-20b").assumed == (
        "`dtype` is not in the config: taken as bfloat16.",
        "Tokens choose experts evenly, each by itself.",
        "The KV cache is in bf16, as the activations.",
    )
    assert "Layers that predict further tokens are not counted." in facts("deepseek-v3").assumed
