"""One name per model: what an engine calls a model -> what we call it. Pure.

Engines call the same model by a path, an alias or in lower case, and its GPUs know no name at all.
The order is stated once, here, so that a model's tokens, its gateway's and its GPUs meet under one
name on every node. The engine's own word stays in burnmeter_target_info.
"""

from collections.abc import Mapping

from burnmeter.model import About, ServedModel, Target
from burnmeter.planning import Namer


def model_namer(target: Target, model_names: Mapping[str, str], about: About | None) -> Namer:
    """How this target's word for a model becomes ours.

    In this order: the config's `model` of the target; the config's `models`, for any word below;
    the name that the command line serves it under; the engine's list of models; the engine's own
    word; the path it was started with; the target's name. Words of a page that has several models
    are kept apart: what is said of the target as a whole then names none of them.
    """

    def name(word: str, is_only: bool) -> str:
        if target.model is not None:
            return target.model
        served = target.served_model if is_only else None
        path = served if served is not None and is_path(served) else None
        listed = _listed(about, word, is_only)
        words = [served if path is None else None, listed, word, path]
        known = [found for found in words if found]
        # Who maps the engine's own word means it, whatever else is known.
        mapped = (model_names[w] for w in [word, *known] if w in model_names)
        return next(iter([*mapped, *known]), target.name)

    return name


def is_path(name: str) -> bool:
    """Whether a model's name says only where its files are."""
    return name.startswith(("/", "./", "~")) or name.endswith(".gguf")


def _listed(about: About | None, word: str, is_only: bool) -> str | None:
    """The engine's list's name for a word; adapters are no models of their own."""
    models = [model for model in about.models if model.parent is None] if about else []
    same = [model for model in models if word and word.lower() in _words(model)]
    if same:
        return same[0].id
    return models[0].id if is_only and len(models) == 1 else None


def _words(model: ServedModel) -> tuple[str, ...]:
    return model.id.lower(), (model.root or "").lower()
