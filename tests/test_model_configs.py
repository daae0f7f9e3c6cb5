"""Configs are read as transformers reads them, and refused with a sentence that can be acted on."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnmeter.errors import ModelConfigError
from burnmeter.model_facts import ModelFacts, families, model_facts
from tests import models

LLAMA = "llama-3.1-8b"
QWEN = "qwen3-30b-a3b"
SCOUT = "llama-4-scout"


def answer(said: Any) -> ModelFacts | str:
    """Facts, or the sentence with which a config is refused."""
    try:
        return model_facts(said)
    except ModelConfigError as error:
        return str(error)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        pytest.param(
            *("num_hidden_layers", -3),
            "`num_hidden_layers` is -3; a whole number from 1 to 10000 is needed",
            id="negative",
        ),
        pytest.param(
            *("num_hidden_layers", 10**9),
            "`num_hidden_layers` is 1000000000; a whole number from 1 to 10000 is needed",
            id="endless",
        ),
        pytest.param(
            *("hidden_size", True),
            "`hidden_size` is true; a whole number from 1 to 1000000000 is needed",
            id="a truth",
        ),
        pytest.param(
            *("hidden_size", 4096.0),
            "`hidden_size` is 4096.0; a whole number from 1 to 1000000000 is needed",
            id="a fraction",
        ),
        pytest.param(
            *("hidden_size", 10**5000),
            "`hidden_size` is a number of more than 15 digits; a whole number from 1 to 1000000000"
            " is needed",
            id="a number too long to print",
        ),
        pytest.param(
            *("vocab_size", None),
            "`vocab_size` is null; a whole number from 1 to 1000000000 is needed",
            id="null",
        ),
        pytest.param(
            *("intermediate_size", {"of": "gate"}),
            "`intermediate_size` is an object; a whole number from 1 to 1000000000 is needed",
            id="an object",
        ),
        pytest.param(
            *("num_key_value_heads", 64),
            "`num_key_value_heads` is 64; a whole number from 1 to 32 is needed",
            id="more groups than heads",
        ),
        pytest.param(
            *("num_attention_heads", 5000),
            "`num_attention_heads` is 5000; at most `hidden_size` (4096) is needed",
            id="more heads than numbers",
        ),
        pytest.param(
            *("tie_word_embeddings", 0),
            "`tie_word_embeddings` is 0; true or false is needed",
            id="no truth",
        ),
        pytest.param(
            *("torch_dtype", "float8_e4m3fn"),
            "`torch_dtype` is 'float8_e4m3fn'; bfloat16, float16 or float32 is needed",
            id="a dtype of weights alone",
        ),
        pytest.param(
            *("layer_types", ["full_attention"]),
            "`layer_types` is a list of 1; a list of 32, one for each layer, is needed",
            id="too few layers",
        ),
        pytest.param(
            *("layer_types", ["full_attention", "linear_attention"] * 16),
            "`layer_types` has 'linear_attention'; only full, sliding and chunked attention can be"
            " counted, so state this model's numbers",
            id="a layer that is no attention",
        ),
        pytest.param(
            *("layer_types", ["sliding_attention"] * 32),
            "`sliding_window` is missing; a whole number from 1 to 1000000000 is needed",
            id="layers that slide by nothing",
        ),
        pytest.param(
            *("quantization_config", "fp8"),
            "`quantization_config` is 'fp8'; an object is needed",
            id="no object",
        ),
        pytest.param(
            *("model_type", "x" * 90),
            f"`model_type` is '{'x' * 40}'..., which is not known; state the model's numbers, or"
            f" give one of {', '.join(sorted(families.families()))}",
            id="an unknown decoder",
        ),
        pytest.param(
            *("model_type", "jamba"),
            "`model_type` is 'jamba', which keeps a state that does not grow with the context;"
            " state its numbers",
            id="a hybrid",
        ),
        pytest.param(
            *("model_type", "qwen3_next"),
            "`model_type` is 'qwen3_next', which keeps a state that does not grow with the"
            " context; state its numbers",
            id="linear attention",
        ),
        pytest.param(
            *("model_type", "deepseek_v32"),
            "`model_type` is 'deepseek_v32', which reads only a chosen part of its cache; state"
            " its numbers",
            id="sparse attention",
        ),
        pytest.param(
            *("model_type", ["llama"]),
            "`model_type` is a list of 1; a word is needed",
            id="no word",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(
    key: str, value: Any, sentence: str
) -> None:
    assert answer(models.config(LLAMA, **{key: value})) == sentence


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        pytest.param(
            models.without(QWEN, "num_experts"),
            "`num_experts` is missing; a whole number from 1 to 1000000000 is needed",
            id="experts",
        ),
        pytest.param(
            models.without(QWEN, "num_experts_per_tok"),
            "`num_experts_per_tok` is missing; a whole number from 1 to 128 is needed",
            id="experts of a token",
        ),
        pytest.param(
            models.without("deepseek-v3", "q_lora_rank"),
            "`q_lora_rank` is missing; a whole number, or null for none, is needed",
            id="what may be null but not missing",
        ),
        pytest.param(
            models.config(SCOUT, text_config={}),
            "`text_config.model_type` is missing; a word is needed",
            id="a decoder within a model",
        ),
        pytest.param({}, "`model_type` is missing; a word is needed", id="everything"),
        pytest.param([], "a model's config is one object; this one is not", id="no object"),
    ],
)
def test_a_key_that_is_missing_is_named(said: Any, sentence: str) -> None:
    assert answer(said) == sentence


@pytest.mark.parametrize("key", sorted({*models.config(LLAMA), *models.config("deepseek-v3")}))
def test_a_value_nested_without_end_is_refused_or_not_looked_at(key: str) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    for name in (LLAMA, "deepseek-v3"):
        found = answer(models.config(name, **{key: deep}))
        assert isinstance(found, ModelFacts) or f"`{key}` is a list of 1" in found


QWEN_LAYER = 128 * 3 * 2048 * 768
DEEPSEEK_LAYER = 256 * 3 * 7168 * 2048
SCOUT_LAYER = 16 * 3 * 5120 * 8192


@pytest.mark.parametrize(
    ("name", "changes", "experts_bytes"),
    [
        pytest.param(QWEN, {}, 48 * QWEN_LAYER * 2, id="every layer"),
        pytest.param(QWEN, {"decoder_sparse_step": 2}, 24 * QWEN_LAYER * 2, id="every other"),
        pytest.param(QWEN, {"mlp_only_layers": [0, 47]}, 46 * QWEN_LAYER * 2, id="all but some"),
        pytest.param("deepseek-v3", {}, 58 * DEEPSEEK_LAYER, id="all but the first"),
        pytest.param(
            "deepseek-v3", {"moe_layer_freq": 2}, 29 * DEEPSEEK_LAYER, id="every other of these"
        ),
        pytest.param("deepseek-v2-lite", {"n_routed_experts": None}, 0, id="none"),
        pytest.param(SCOUT, {}, 48 * SCOUT_LAYER * 2, id="interleaved with none"),
        pytest.param("llama-4-maverick", {}, 24 * 8 * SCOUT_LAYER * 2, id="interleaved with one"),
    ],
)
def test_experts_are_in_the_layers_that_have_them(
    name: str, changes: dict[str, Any], experts_bytes: int
) -> None:
    assert models.facts(name, **changes).expert_bytes == experts_bytes


def test_newer_configs_have_another_key_for_experts() -> None:
    """transformers 5 writes Qwen's num_experts as num_local_experts."""
    said = models.without(QWEN, "num_experts", num_local_experts=128)

    assert model_facts(said) == models.facts(QWEN)


@pytest.mark.parametrize(
    ("name", "changes", "windows"),
    [
        pytest.param("qwen2.5-7b", {}, {None}, id="a window that is turned off"),
        pytest.param(
            *("qwen2.5-7b", {"use_sliding_window": True, "max_window_layers": 20}),
            {None, 131072},
            id="the last layers",
        ),
        pytest.param(
            *("qwen2.5-7b", {"use_sliding_window": True, "max_window_layers": 0}),
            {131072},
            id="all layers",
        ),
        pytest.param("mixtral-8x7b-v0.1", {}, {None}, id="no window"),
        pytest.param("phi-4", {"sliding_window": 2047}, {2047}, id="Phi-3 mini's"),
        pytest.param("gemma-2-9b", {"sliding_window": None}, {None}, id="a window that is null"),
        pytest.param(
            *("gemma-2-9b", {"layer_types": ["full_attention"] * 42}),
            {None},
            id="what is listed goes before the rule",
        ),
    ],
)
def test_windows_are_where_transformers_has_them(
    name: str, changes: dict[str, Any], windows: set[int | None]
) -> None:
    assert {span.window_tokens for span in models.facts(name, **changes).spans} == windows


def test_a_window_that_is_left_out_is_not_none() -> None:
    """MistralConfig's default is 4096; the versions without a window say null."""
    found = model_facts(models.without("mistral-7b-v0.1", "sliding_window"))

    assert {span.window_tokens for span in found.spans} == {4096}
    assert "`sliding_window` 4096" in found.assumed[0]


def test_older_configs_have_as_many_groups_as_heads() -> None:
    found = model_facts(models.without(LLAMA, "num_key_value_heads"))

    assert found.kv_read_bytes(1) == 4 * 131_072
    assert "`num_key_value_heads` 32 (as many as heads)" in found.assumed[0]


def test_a_multimodal_config_may_say_of_its_decoder_what_is_true_of_all() -> None:
    inner = models.without(LLAMA, "torch_dtype", "tie_word_embeddings")
    outer = {"model_type": "llava", "torch_dtype": "float16", "tie_word_embeddings": True}

    found = model_facts({**outer, "text_config": inner})

    assert found.weight_format == "fp16"
    assert found.parameters == models.facts(LLAMA).parameters - 128256 * 4096


def test_a_nested_decoder_may_leave_out_its_sizes() -> None:
    """LLaVA 1.5's text_config has a model_type and a vocab_size, and no size of Vicuna."""
    inner = {"model_type": "llama", "vocab_size": 32064, "torch_dtype": "float16"}

    found = model_facts({"model_type": "llava", "text_config": inner})

    assert found.parameters == pytest.approx(6.74e9, rel=0.001)


KEYS = sorted(
    {key for name in models.NAMES for key in models.config(name)}
    | {key for name in models.NAMES for key in models.config(name).get("text_config", {})}
    | {"num_local_experts", "shared_expert_intermediate_size", "moe_layers", "n_inner", "dtype"}
    | {"compression_config", "sliding_window_pattern", "no_rope_layer_interval"}
)
SCHEME_KEYS = (
    *("quant_method", "bits", "group_size", "ignore", "config_groups", "weights", "num_bits"),
    *("type", "quant_algo", "quantization", "kv_cache_scheme", "load_in_4bit", "targets"),
)
words = st.sampled_from(
    (
        *families.families(),
        *("full_attention", "sliding_attention", "bfloat16", "Linear", "float", "re:.*mlp.*"),
        *("fp8", "awq", "compressed-tensors", "modelopt", "bitsandbytes", "NVFP4"),
    )
)
scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.integers(1, 200), st.floats(), st.text()),
    words,
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(SCHEME_KEYS) | st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)
changes = st.dictionaries(st.sampled_from(KEYS) | st.text(), values, max_size=4)
mended = st.builds(
    lambda name, said: models.config(name) | said, st.sampled_from(models.NAMES), changes
)
written = st.builds(
    lambda kind, said: {"model_type": kind} | said,
    st.sampled_from([*families.families(), *families.refused()]),
    st.dictionaries(st.sampled_from(KEYS), values, max_size=12),
)


@settings(max_examples=400)
@given(mended | written | changes)
def test_any_config_gives_facts_or_one_sentence(said: dict[str, Any]) -> None:
    found = answer(said)

    if isinstance(found, str):
        assert "\n" not in found
        assert len(found) < 1000
        return
    assert 0 < found.active_parameters <= found.parameters < math.inf
    assert 0 < found.step_weight_bytes(1) <= found.step_weight_bytes(64) <= found.weight_bytes
    assert 0 < found.kv_read_bytes(1) <= found.kv_read_bytes(5000) < math.inf
    assert 0 < found.flops(1) <= found.flops(5000) < math.inf


def test_every_family_can_be_read_and_none_is_refused_too() -> None:
    assert not families.families().keys() & families.refused().keys()
    assert json.dumps(families.refused())
    for family in families.families().values():
        assert family.windows != "period" or family.window_period > 1
