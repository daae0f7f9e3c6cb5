"""What a person states of a model stands in for its config, and what follows is told."""

from typing import Any

import pytest

from burnmeter.errors import ModelConfigError
from burnmeter.model_facts import stated_facts
from tests.models import facts

COMMON = (
    "The table of input embeddings is read and multiplied like any matrix.",
    "Every layer looks back over the whole context.",
    "Operations of attention over the context are not counted.",
)


def test_parameters_and_cache_are_enough_for_a_dense_model() -> None:
    found = stated_facts(parameters=8.03e9, kv_bytes_per_token=131_072)

    assert found.step_weight_bytes(1) == found.step_weight_bytes(64) == 16.06e9
    assert found.kv_read_bytes(1000) == 131_072_000
    assert found.flops(1000) == 16.06e9
    assert found.assumed == ("Weights are in bf16.", *COMMON)


def test_a_model_with_experts_is_as_by_its_config() -> None:
    """Qwen3-30B-A3B from its card: 30.5 B, 3.3 B active, 8 of 128 experts."""
    told = stated_facts(
        parameters=30.5e9,
        active_parameters=3.3e9,
        kv_bytes_per_token=98_304,
        experts=128,
        experts_per_token=8,
    )

    read = facts("qwen3-30b-a3b")
    for batch in (1, 8, 64, 512):
        assert told.step_weight_bytes(batch) == pytest.approx(
            read.step_weight_bytes(batch), rel=0.1
        )
    assert told.step_weight_bytes(1) == pytest.approx(2 * 3.3e9)


def test_without_the_number_of_experts_one_token_still_reads_what_is_active() -> None:
    found = stated_facts(parameters=30e9, active_parameters=3e9, kv_bytes_per_token=1)

    assert found.step_weight_bytes(1) == pytest.approx(2 * 3e9)
    assert found.step_weight_bytes(10_000) == pytest.approx(2 * 30e9)
    assert "All weights are experts, for their number is not stated." in found.assumed


@pytest.mark.parametrize(
    ("said", "weight_bytes", "weights", "compute", "sentence"),
    [
        pytest.param(
            *({"weight_format": "fp8"}, 8e9, "fp8", "fp8"),
            "All weights are in that format; scales are not counted.",
            id="a format",
        ),
        pytest.param({"weight_format": "fp16"}, 16e9, "fp16", "fp16", None, id="a wide format"),
        pytest.param(
            *({"weight_bytes": 5.7e9}, 5.7e9, "int4", "bf16"),
            "Weights are in int4, by their bytes per parameter.",
            id="bytes",
        ),
        pytest.param(
            *({"weight_bytes": 9e9}, 9e9, "fp8", "fp8"),
            "Weights are in fp8, by their bytes per parameter.",
            id="more bytes",
        ),
        pytest.param(
            *({"weight_bytes": 5.7e9, "weight_format": "fp4"}, 5.7e9, "fp4", "bf16"),
            None,
            id="both",
        ),
    ],
)
def test_weights_are_stated_by_their_format_or_their_bytes(
    said: dict[str, Any], weight_bytes: float, weights: str, compute: str, sentence: str | None
) -> None:
    found = stated_facts(parameters=8e9, kv_bytes_per_token=1, **said)

    assert found.weight_bytes == found.step_weight_bytes(1) == weight_bytes
    assert (found.weight_format, found.compute_format) == (weights, compute)
    assert found.assumed == (*(() if sentence is None else (sentence,)), *COMMON)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        pytest.param({"parameters": 0}, "`parameters` is 0; more than 0 is needed", id="nothing"),
        pytest.param(
            {"parameters": float("nan")},
            "`parameters` is nan; more than 0 is needed",
            id="no number",
        ),
        pytest.param(
            {"kv_bytes_per_token": -1},
            "`kv_bytes_per_token` is -1; more than 0 is needed",
            id="a negative cache",
        ),
        pytest.param(
            {"active_parameters": 9e9},
            "`active_parameters` is 9e+09; more than 0 and at most 8e+09 is needed",
            id="more active than there are",
        ),
        pytest.param(
            {"weight_format": "q4"},
            "`weight_format` is 'q4'; one of fp32, bf16, fp16, fp8, int8, int4, fp4 is needed",
            id="an unknown format",
        ),
        pytest.param(
            {"experts": 8}, "`experts` and `experts_per_token` are needed together", id="one of two"
        ),
        pytest.param(
            {"experts": 8, "experts_per_token": 9},
            "`experts_per_token` is 9; more than 0 and at most 8 is needed",
            id="more chosen than there are",
        ),
        pytest.param(
            {"experts": 8, "experts_per_token": 4, "active_parameters": 1e9},
            "`active_parameters` is 1e+09; at least 4e+09 and at most 8e+09 is needed",
            id="fewer active than are chosen",
        ),
    ],
)
def test_what_cannot_be_is_refused(said: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelConfigError) as caught:
        stated_facts(**{"parameters": 8e9, "kv_bytes_per_token": 1, **said})

    assert str(caught.value) == sentence
