"""How far each layer of a decoder looks back over its context. Pure.

A layer with a window reads no more of the cache than the window, however long the context is: half
the layers of Gemma 2 and gpt-oss, all of Mistral 7B's first version. `layer_types` in the config
decides; only where it is absent does the rule of the family.
"""

from collections import Counter
from collections.abc import Mapping

from burnmeter.errors import ModelConfigError
from burnmeter.model_facts.families import Family
from burnmeter.model_facts.keys import Keys, shown


def layers_by_window(
    family: Family, keys: Keys, layers: int
) -> tuple[Mapping[int | None, int], tuple[str, ...]]:
    """Window -> layers that look back so far, and what was assumed of it."""
    if family.window_gate is not None and not keys.flag(family.window_gate):
        return {None: layers}, ()
    types = keys.texts("layer_types")
    assumed: tuple[str, ...] = ()
    if not types:
        types = _layer_types(family, keys, layers)
        if len(set(types)) > 1:
            assumed = ("Which layers slide is not in the config: taken as transformers has it.",)
    if len(types) != layers:
        raise keys.wrong("layer_types", f"a list of {layers}, one for each layer,")
    counts: Counter[int | None] = Counter()
    for kind, count in Counter(types).items():
        counts[_window(kind, keys)] += count
    if "chunked_attention" in types:
        assumed += ("Layers that attend within chunks are counted as if each chunk were full.",)
    return counts, assumed


def _window(kind: str, keys: Keys) -> int | None:
    """How far a layer of this type looks back."""
    match kind:
        case "full_attention":
            return None
        case "sliding_attention":
            return keys.count("sliding_window")
        case "chunked_attention":
            return keys.count("attention_chunk_size")
    raise ModelConfigError(
        f"`{keys.path}layer_types` has {shown(kind)}; only full, sliding and chunked attention can"
        " be counted, so state this model's numbers"
    )


def _layer_types(family: Family, keys: Keys, layers: int) -> list[str]:
    """Each layer's kind of attention where the config does not list them, by the family's rule."""
    full, sliding = "full_attention", "sliding_attention"
    if family.windows == "chunks":
        if keys.value("attention_chunk_size") is None:
            return [full] * layers
        has_rope = keys.counts("no_rope_layers", most=1)
        if not has_rope:
            interval = keys.count("no_rope_layer_interval")
            has_rope = [int((layer + 1) % interval != 0) for layer in range(layers)]
        if len(has_rope) != layers:
            raise keys.wrong("no_rope_layers", f"a list of {layers}, one for each layer,")
        return ["chunked_attention" if rope == 1 else full for rope in has_rope]
    if family.windows is None or keys.value("sliding_window") is None:
        return [full] * layers
    match family.windows:
        case "every":
            return [sliding] * layers
        case "after":
            first = keys.count("max_window_layers", least=0)
            return [sliding if layer >= first else full for layer in range(layers)]
        case "period":
            given = keys.optional_count("sliding_window_pattern", most=layers)
            period = family.window_period if given is None else given
            return [full if (layer + 1) % period == 0 else sliding for layer in range(layers)]
    raise keys.wrong("layer_types", f"a list of {layers}, one for each layer,")
