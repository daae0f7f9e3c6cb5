"""What engines on this machine serve, by their models' config.json: bytes and operations per token.

It asks no engine; it looks where the engine itself must have: the folder on its command line, or
the hub's cache. Of an engine's environment it reads three names that say where that cache is, and
nothing else. A file is read once in an engine's life; what was not found is looked for again.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from burnmeter.config_facts import StatedModel
from burnmeter.errors import ModelConfigError
from burnmeter.located import shown
from burnmeter.model import Process, Target
from burnmeter.model_facts import ModelFacts, model_facts
from burnmeter.model_facts.formats import cache_format
from burnmeter.model_facts.known import Known, Library, LibraryReading
from burnmeter.sources.inside import read_object, read_text
from burnmeter.sources.launches import Match, Matcher
from burnmeter.tree import ancestors

log = logging.getLogger("burnmeter")

AGAIN_SECONDS: Final = 60.0
"""What was not found may be downloaded meanwhile."""
CACHES: Final = ("HF_HUB_CACHE", "HF_HOME", "HOME")
ENVIRONMENT_BYTES: Final = 1 << 20
COMMIT: Final = re.compile("[0-9a-f]{40}")
"""All that the hub's cache has in refs/main; what else is there is not repeated to anybody."""
QUANTISED: Final = "hf_quant_config.json"
SCHEMES: Final = ("quantization_config", "compression_config")
"""Keys of a config.json under which a checkpoint says that it is quantised."""
ONLINE_FP8: Final = {"quant_method": "fp8", "activation_scheme": "dynamic"}
"""What vLLM and SGLang make of a 16-bit checkpoint with `--quantization fp8`."""
ELSEWHERE: Final = Known(None, "no process of this machine that we see is it; say `model_facts`")
LONGEST: Final = 300
"""Signs of what is told of a file: it has words of a command line, which may be anybody's."""


class _Seen(NamedTuple):
    """Whose file was looked for, when, and what came of it."""

    pid: int
    started_timestamp_seconds: float | None
    at_seconds: float
    known: Known

    def stands(self, pid: int, started: float | None, now_seconds: float) -> bool:
        """Whether it need not be looked for again."""
        is_same = (self.pid, self.started_timestamp_seconds) == (pid, started)
        is_young = now_seconds - self.at_seconds < AGAIN_SECONDS
        return is_same and (self.known.facts is not None or is_young)


class _Wanted(NamedTuple):
    """What a read is to look for."""

    here: tuple[tuple[Target, tuple[Match, ...]], ...] = ()
    """With what each was started by."""
    elsewhere: tuple[str, ...] = ()


class ModelFiles:
    """Looks for the model of each target that runs here. Never raises."""

    def __init__(
        self,
        matching: Matcher,
        stated: Mapping[str, StatedModel],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._matching = matching
        self._stated = stated
        self._clock = clock
        self._wanted = _Wanted()
        self._seen: dict[str, _Seen] = {}
        self._seen_stated: dict[str, _Seen] = {}

    def want(self, targets: Iterable[Target], processes: Mapping[int, Process]) -> None:
        """What the next read is to look for: call it from the thread that asks for reads."""
        here: list[tuple[Target, tuple[Match, ...]]] = []
        elsewhere: list[str] = []
        for target in targets:
            if target.pid is None:
                elsewhere.append(target.name)
            else:
                here.append((target, tuple(self._matches(target.pid, processes))))
        self._wanted = _Wanted(tuple(here), tuple(elsewhere))  # At once: a read may be under way.

    def read(self) -> LibraryReading:
        """All that is known; files of engines that are new are read."""
        began = self._clock()
        wanted = self._wanted
        found: dict[str, _Seen] = {}
        for target, matches in wanted.here:
            pid, started = target.pid, target.started_timestamp_seconds
            seen = self._seen.get(target.name)
            assert pid is not None, "only those are wanted"
            if seen is None or not seen.stands(pid, started, began):
                seen = _Seen(pid, started, began, _safely(look, pid, matches))
            found[target.name] = seen
        self._seen = found
        told: dict[str, _Seen] = {}
        for model, said in self._stated.items():
            seen = self._seen_stated.get(model)
            if seen is None or not seen.stands(os.getpid(), None, began):
                seen = _Seen(os.getpid(), None, began, _safely(stated, model, said))
            told[model] = seen
        self._seen_stated = told
        by_target = dict.fromkeys(wanted.elsewhere, ELSEWHERE) | _known(found)
        library = Library(by_target=by_target, by_model=_known(told))
        now = self._clock()
        return LibraryReading(now, now - began, library, None)

    def close(self) -> None:
        """There is nothing to close."""

    def _matches(self, pid: int, processes: Mapping[int, Process]) -> Iterator[Match]:
        for one in (pid, *ancestors(pid, processes)):
            if one in processes:
                yield from self._matching(processes[one].command)[:1]


def _known(seen: Mapping[str, _Seen]) -> dict[str, Known]:
    return {name: one.known for name, one in seen.items()}


def _safely(ask: Callable[..., Known], *given: Any) -> Known:
    """What one question brings; whatever goes wrong with it, the others are still asked."""
    try:
        return ask(*given)
    except Exception as error:
        log.exception("looking for a model's config.json failed; this is a bug in burnmeter")
        return Known(None, f"looking for it ended in {type(error).__name__}: a bug in burnmeter")


def look(pid: int, matches: Sequence[Match]) -> Known:
    """The facts of what a process serves, by its command line and those above it."""
    words = [word for match in matches for word in _models(match)]
    if not words:
        return Known(None, "no command line of its says which model it serves")
    formats = _formats(matches)
    tried: list[str] = []
    for word in dict.fromkeys(words):
        if word.endswith(".gguf"):
            return _known_as(None, f"{word} is a GGUF file, which is not read; say `model_facts`")
        for folder in _folders(pid, word):
            try:
                return _read(pid, folder, *formats)
            except OSError as error:
                tried.append(f"{folder}: {error.strerror}")
            except (ModelConfigError, ValueError, RecursionError) as error:
                return _known_as(None, f"{folder}/config.json: {error}")
    return _known_as(None, f"its config.json was not found ({'; '.join(tried)})")


def stated(model: str, said: StatedModel) -> Known:
    """By the config: its numbers, the file that it names, or only the format of the cache."""
    facts, file = said.facts(), said.config_file
    where = f"`model_facts.{model}` of the config"
    if facts is not None:
        return _known_as(facts, where)
    if file is None:
        return _known_as(None, where)._replace(kv_format=said.kv_format)
    try:
        config = read_object(os.getpid(), file)
        return _known_as(model_facts(config, kv_format=said.kv_format), file)
    except OSError as error:
        return _known_as(None, f"{file}: {error.strerror}")
    except (ModelConfigError, ValueError, RecursionError) as error:
        return _known_as(None, f"{file}: {error}")


def _known_as(facts: ModelFacts | None, source: str) -> Known:
    return Known(facts, shown(source, limit=LONGEST))


def _models(match: Match) -> Iterator[str]:
    """Words for the model on a command line: a path or a name of the hub, best first."""
    words = match.arguments
    if match.hint.has_positional_model and words and not words[0].startswith("-"):
        yield words[0]
    for flag in reversed(match.hint.model_flags):
        yield from _value(words, (flag,))


def _formats(matches: Sequence[Match]) -> tuple[str | None, str | None]:
    """What the command lines say of the formats of cache and weights; the nearest counts."""
    cache = (said for m in matches for said in _value(m.arguments, m.hint.kv_format_flags))
    weights = (said for m in matches for said in _value(m.arguments, m.hint.weight_format_flags))
    return next(cache, None), next(weights, None)


def _value(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """What a flag says, by any of its spellings, if it says anything; the last one counts."""
    found: list[str] = []
    for place, word in enumerate(words):
        name, _, attached = word.partition("=")
        if name.replace("_", "-") in flags:
            following = words[place + 1 : place + 2]
            found += [attached] if attached else [w for w in following if w[:1] != "-"]
    return found[-1:]


def _folders(pid: int, word: str) -> Iterator[str]:
    """Where the process must have found it, as it sees its files; a folder comes before the hub."""
    yield word
    if word.startswith(("/", "./", "../")):
        return
    for cache in _caches(pid):
        folder = f"{cache}/models--{word.replace('/', '--')}"
        revision = ""
        with suppress(OSError, ValueError):
            revision = read_text(pid, f"{folder}/refs/main").strip()
        # Without one there is nothing to be found, and the folder is what to tell of.
        yield f"{folder}/snapshots/{revision}" if COMMIT.fullmatch(revision) else folder


def _caches(pid: int) -> Iterator[str]:
    """The hub's cache, by what the process's environment says of it."""
    said: dict[str, str] = {}
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        for pair in file.read(ENVIRONMENT_BYTES).split(b"\0"):
            name, _, value = os.fsdecode(pair).partition("=")
            if name in CACHES:
                said[name] = value
    if "HF_HUB_CACHE" in said:
        yield said["HF_HUB_CACHE"]
    if "HF_HOME" in said:
        yield f"{said['HF_HOME']}/hub"
    yield f"{said.get('HOME', '/root')}/.cache/huggingface/hub"


def _read(pid: int, folder: str, kv_format: str | None, weight_format: str | None) -> Known:
    place = f"{folder}/config.json"
    config = read_object(pid, place)
    if kv_format not in (None, "auto"):
        try:
            kv_format = cache_format(kv_format or "")
        except ModelConfigError:
            text = f"it was started with a KV cache in {kv_format}, which is not known here"
            return _known_as(None, f"{text}; say `model_facts`")
    if not _is_quantised(config):
        beside = f"{folder}/{QUANTISED}"
        try:
            # Some quantisers write what they did beside the config, not into it.
            config["quantization_config"] = read_object(pid, beside)
        except FileNotFoundError:
            pass
        except (ValueError, RecursionError) as error:
            return _known_as(None, f"{beside}: {error}")
    if weight_format is not None and not _is_quantised(config):
        if weight_format != "fp8":
            text = f"{place}: its weights are quantised to {weight_format} on loading"
            return _known_as(None, f"{text}, which is not known here; say `model_facts`")
        config["quantization_config"] = ONLINE_FP8
    return _known_as(model_facts(config, kv_format=kv_format), place)


def _is_quantised(config: Mapping[str, Any]) -> bool:
    """Whether the checkpoint says so, of itself or of the language model in it."""
    inner = config.get("text_config")
    holders = (config, inner if isinstance(inner, dict) else {})
    return any(one.get(key) is not None for one in holders for key in SCHEMES)
