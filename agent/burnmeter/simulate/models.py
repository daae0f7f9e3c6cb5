"""What the simulated engines serve: the numbers of published configs that decide bytes and FLOPs.

Pure. In place of the config.json files that a real engine's machine has.
"""

from typing import Any, Final

from burnmeter.model_facts import model_facts
from burnmeter.model_facts.known import Known, Library
from burnmeter.simulate.fleet import FLEET

CONFIGS: Final[dict[str, dict[str, Any]]] = {
    "meta-llama/Llama-3.3-70B-Instruct": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
    "Qwen/Qwen3-8B": {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "Qwen/Qwen2.5-Coder-7B-Instruct": {
        "model_type": "qwen2",
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
}
COMMON: Final = {"torch_dtype": "bfloat16", "tie_word_embeddings": False, "attention_bias": False}


def library() -> Library:
    """By the engines' names, as targets have them."""
    return Library(
        by_target={
            spec.name: Known(
                model_facts({**COMMON, **CONFIGS[spec.model]}), f"the config.json of {spec.model}"
            )
            for spec in FLEET
        }
    )
