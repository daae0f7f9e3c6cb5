"""Which matrices a quantised checkpoint leaves as they were. Pure.

Every scheme lists them as names, wildcards or regular expressions of modules. These are looked
through for words, not matched: the list comes from a file that may be anybody's, and a pattern can
be written that never ends. What is counted is kinds of matrices and whole layers, not single ones.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from burnmeter.model_facts.keys import Keys
from burnmeter.model_facts.shape import Shape

PARTS: Final = ("attention", "dense", "shared", "routed")
"""Parts of `Shape` that a scheme may quantise."""
LISTS: Final = (
    *("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules"),
    "llm_int8_skip_modules",
)
LAYER: Final = re.compile(r"(?:layers|h|blocks)\.(\d{1,5})(?!\d)(.*)")
SOME_LAYERS: Final = re.compile(r"(?:layers|h|blocks)\.[(\[]")
OTHERS: Final = re.compile(r"norm|router|gate(?![a-z_|])|vision|visual|audio|image|mtp")
"""Never quantised whether listed or not, or no part of the decoder; `gate_proj` is."""
MOST_CHARACTERS: Final = 200


def skipped_shares(keys: Keys, shape: Shape) -> tuple[Mapping[str, float], tuple[str, ...]]:
    """Part -> share of its layers that is not quantised, and what was assumed."""
    inner = keys.inner("quantization") or keys
    names = [name[:MOST_CHARACTERS].replace("\\", "") for key in LISTS for name in inner.texts(key)]
    found = {hit for name in names for hit in _hits(name, shape)}
    sparse = len(shape.sparse_layers)
    layers = {"attention": shape.layers, "dense": shape.layers - sparse}
    shares = {}
    for part in PARTS:
        whole = layers.get(part, sparse)
        skipped = len({layer for kind, layer in found if kind == part and layer is not None})
        shares[part] = 1.0 if (part, None) in found else skipped / whole if whole > 0 else 0.0
    if any(SOME_LAYERS.search(name) for name in names):
        return shares, ("Patterns for some layers are not read: counted as quantised.",)
    return shares, ()


def _hits(name: str, shape: Shape) -> Iterator[tuple[str, int | None]]:
    """The parts and layers (None: all) that one entry of a list names."""
    if SOME_LAYERS.search(name) or OTHERS.search(name):
        return
    found = LAYER.search(name)
    layer = None if found is None else int(found[1])
    is_whole = found is not None and found[2].strip(".*$") == ""
    for part in PARTS if is_whole else _parts(name):
        if layer is None or _has(part, layer, shape):
            yield part, layer


def _has(part: str, layer: int, shape: Shape) -> bool:
    """Whether a layer has such a part."""
    if layer >= shape.layers or part == "attention":
        return layer < shape.layers
    return (part == "dense") == (layer not in shape.sparse_layers)


def _parts(name: str) -> tuple[str, ...]:
    """What kinds of matrices a module's name or pattern is about."""
    if "shared_expert" in name:
        return ("shared",)
    if "experts" in name:
        return ("routed",)
    if "attn" in name or "attention" in name:
        return ("attention",)
    if re.search("mlp|feed_forward|ffn", name):
        # With its projection it is a block without experts: theirs would have said so.
        return ("dense",) if "_proj" in name else ("dense", "shared", "routed")
    return ()
