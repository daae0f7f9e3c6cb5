"""Write a small Llama with random weights, as vLLM's folder or as llama.cpp's file.

Not a model that says anything: it takes the time and counts the tokens of a real one. Run by the
Python of the engine's own environment, with numpy and either `safetensors` or `gguf`; no torch.
One character is one token, in and out: the vocabulary is the 256 bytes, and only printable ASCII
can be sampled, so that no stream ever holds back half a character.

usage: make_model.py folder DIR tiny|mid        make_model.py file FILE.gguf tiny|mid
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np  # type: ignore[import-not-found,unused-ignore]

Array = Any  # numpy is not in the environment that checks the types

CONTEXT_TOKENS = 2048
ROPE_BASE = 10000.0
NORM_EPSILON = 1e-5
SPECIALS = ("<|start|>", "<|end|>", "<|pad|>")
START, END, PAD = 256, 257, 258
PADDED_VOCABULARY = 320  # a multiple of 64, as the kernels like it
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """Sizes of one model."""

    width: int
    inner: int
    layers: int
    heads: int
    kv_heads: int

    @property
    def head_width(self) -> int:
        """Of one attention head."""
        return self.width // self.heads


# tiny is the fastest to start; mid takes 15 to 20 ms a token on two cores, for latency objectives.
SHAPES = {
    "tiny": Shape(width=64, inner=128, layers=2, heads=2, kv_heads=1),
    "mid": Shape(width=1024, inner=2816, layers=10, heads=16, kv_heads=4),
}


def byte_letters() -> list[str]:
    """How byte-level tokenizers write each of the 256 bytes as one visible letter."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(hidden)) for byte in range(256)]


def weights(shape: Shape) -> dict[str, Array]:
    """Random tensors by short name; layers are `<number>.<name>`. Always the same."""
    dice = np.random.default_rng(7)

    def noise(rows: int, columns: int) -> Array:
        return dice.standard_normal((rows, columns), dtype=np.float32) * np.float32(columns**-0.5)

    output = noise(PADDED_VOCABULARY, shape.width) * np.float32(10.0)
    output[:32] = output[127:] = 0.0  # a logit of 0 loses against the best of 95 random ones
    kv_width = shape.kv_heads * shape.head_width
    tensors = {"embed": noise(PADDED_VOCABULARY, shape.width), "output": output}
    tensors["norm"] = np.ones(shape.width, dtype=np.float32)
    for layer in range(shape.layers):
        tensors |= {
            f"{layer}.attn_norm": np.ones(shape.width, dtype=np.float32),
            f"{layer}.ffn_norm": np.ones(shape.width, dtype=np.float32),
            f"{layer}.q": noise(shape.width, shape.width),
            f"{layer}.k": noise(kv_width, shape.width),
            f"{layer}.v": noise(kv_width, shape.width),
            f"{layer}.o": noise(shape.width, shape.width),
            f"{layer}.gate": noise(shape.inner, shape.width),
            f"{layer}.up": noise(shape.inner, shape.width),
            f"{layer}.down": noise(shape.width, shape.inner),
        }
    return tensors


# --- vLLM's folder -------------------------------------------------------------------------------

FOLDER_NAMES = {
    "embed": "model.embed_tokens",
    "output": "lm_head",
    "norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


def folder_name(short: str) -> str:
    """A tensor's name in a Hugging Face folder."""
    layer, dot, name = short.rpartition(".")
    prefix = f"model.layers.{layer}." if dot else ""
    return f"{prefix}{FOLDER_NAMES[name]}.weight"


def folder_config(shape: Shape) -> dict[str, Any]:
    """config.json."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": PADDED_VOCABULARY,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT_TOKENS,
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": ROPE_BASE,
        "tie_word_embeddings": False,
        "bos_token_id": START,
        "eos_token_id": END,
        "pad_token_id": PAD,
    }


def folder_tokenizer() -> dict[str, Any]:
    """tokenizer.json: the bytes, no merges."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": START + place, "content": text, "special": True, **special}
            for place, text in enumerate(SPECIALS)
        ],
        "pre_tokenizer": byte_level | {"use_regex": False},
        "decoder": byte_level | {"use_regex": False},
        "model": {
            "type": "BPE",
            "vocab": {letter: byte for byte, letter in enumerate(byte_letters())},
            "merges": [],
        },
    }


def write_folder(place: Path, shape: Shape) -> None:
    """All that vLLM wants to see in a model's folder."""
    from safetensors.numpy import save_file  # type: ignore[import-not-found,unused-ignore]

    place.mkdir(parents=True, exist_ok=True)
    words = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIALS[0],
        "eos_token": SPECIALS[1],
        "pad_token": SPECIALS[2],
        "model_max_length": CONTEXT_TOKENS,
        "chat_template": CHAT_TEMPLATE,
    }
    texts = {"tokenizer.json": folder_tokenizer(), "tokenizer_config.json": words}
    for name, content in (texts | {"config.json": folder_config(shape)}).items():
        (place / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
    tensors = {folder_name(k): v.astype(np.float16) for k, v in weights(shape).items()}
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})


# --- llama.cpp's file ----------------------------------------------------------------------------

FILE_NAMES = {"embed": "token_embd", "output": "output", "norm": "output_norm"}
FILE_LAYER_NAMES = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def file_name(short: str) -> str:
    """A tensor's name in a GGUF file."""
    layer, dot, name = short.rpartition(".")
    if dot:
        return f"blk.{layer}.{FILE_LAYER_NAMES.get(name, name)}.weight"
    return f"{FILE_NAMES[name]}.weight"


def write_file(place: Path, shape: Shape) -> None:
    """One GGUF file: shape, vocabulary, template, tensors."""
    import gguf  # type: ignore[import-not-found,unused-ignore]

    place.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(place, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_vocabulary(writer, gguf.TokenType)
    for short, tensor in weights(shape).items():
        kind = np.float32 if tensor.ndim == 1 else np.float16
        writer.add_tensor(file_name(short), tensor.astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_vocabulary(writer: Any, kinds: Any) -> None:
    """The bytes, the specials, and padding that is never sampled."""
    spare = PADDED_VOCABULARY - 256 - len(SPECIALS)
    tokens = [*byte_letters(), *SPECIALS, *(f"<|spare{n}|>" for n in range(spare))]
    writer.add_vocab_size(PADDED_VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [kinds.NORMAL] * 256 + [kinds.CONTROL] * len(SPECIALS) + [kinds.UNUSED] * spare
    )
    # A file without merges is refused; this one joins two characters that never meet in a prompt.
    writer.add_token_merges([f"{tokens[0]} {tokens[1]}"])
    writer.add_bos_token_id(START)
    writer.add_eos_token_id(END)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


WRITERS: dict[str, Callable[[Path, Shape], None]] = {"folder": write_folder, "file": write_file}


def main(arguments: list[str]) -> None:
    """Write beside the place, then move, so that a killed run leaves no half model."""
    kind, place, size = arguments
    target = Path(place)
    if target.exists():
        return
    partial = target.with_name(f"{target.name}.partial")
    WRITERS[kind](partial, SHAPES[size])
    partial.rename(target)


if __name__ == "__main__":
    main(sys.argv[1:])
