"""Whose word counts for what a target serves: a person's first, then that of its files."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnmeter.config_facts import StatedModel
from burnmeter.dialects import load_all
from burnmeter.model import Process
from burnmeter.model_facts import ModelFacts, model_facts, stated_facts
from burnmeter.model_facts.known import UNASKED, Known, Library
from burnmeter.sources.launches import Matcher
from burnmeter.sources.model_files import AGAIN_SECONDS, ModelFiles
from tests import models
from tests.fakes import process, target

MATCHING = Matcher([hint for dialect in load_all().values() for hint in dialect.processes])
FOUND = Known(models.facts("qwen3-8b"), "/models/config.json")
STATED = Known(stated_facts(parameters=8e9, kv_bytes_per_token=1), "the config")


def test_a_target_has_what_was_found_for_it() -> None:
    library = Library(by_target={"a": FOUND})

    assert library.of("a", "chat", ["chat"]) is FOUND
    assert library.of("a", "chat", []) is FOUND


def test_why_nothing_was_found_is_an_answer() -> None:
    absent = Known(None, "its config.json was not found")

    assert Library(by_target={"a": absent}).of("a", "chat", ["chat"]) is absent


def test_what_a_person_states_of_a_model_comes_first() -> None:
    library = Library(by_target={"a": FOUND}, by_model={"chat": STATED})

    assert library.of("a", "chat", ["chat"]) is STATED
    assert library.of("b", "chat", ["chat"]) is STATED
    assert library.of("a", "code", ["code"]) is FOUND
    assert [library.is_stated(name) for name in ("chat", "code", None)] == [True, False, False]


def test_a_statement_that_went_wrong_is_not_made_up_for_by_a_file() -> None:
    wrong = Known(None, "/models/chat.json: No such file or directory")
    library = Library(by_target={"a": FOUND}, by_model={"chat": wrong})

    assert library.of("a", "chat", ["chat"]) is wrong


def test_of_several_models_on_one_target_each_must_be_stated() -> None:
    library = Library(by_target={"a": FOUND}, by_model={"chat": STATED})

    assert library.of("a", "chat", ["chat", "code"]) is STATED
    assert library.of("a", "code", ["chat", "code"]) == Known(
        None, "a serves several models; say `model_facts.code`"
    )


def test_a_target_that_nobody_has_looked_at_is_not_known() -> None:
    assert Library(by_target={"a": FOUND}).of("b", "chat", ["chat"]) is UNASKED
    assert Library().of("a", "chat", ["chat"]).facts is None


# --- what a person states ------------------------------------------------------------------------


def reader(said: StatedModel, clock: Callable[[], float] = time.monotonic) -> ModelFiles:
    """Of a config that states one model."""
    return ModelFiles(MATCHING, {"chat": said}, clock)


def stated(source: ModelFiles) -> Known:
    """What is known of it after one more read."""
    library = source.read().library
    assert library is not None
    return library.by_model["chat"]


def config(path: Path) -> Path:
    path.write_text(json.dumps(models.config("llama-3.1-8b")))
    return path


def test_a_model_may_be_stated_by_numbers() -> None:
    said = StatedModel(parameters=8e9, kv_bytes_per_token=1)

    assert stated(reader(said)) == Known(STATED.facts, "`model_facts.chat` of the config")


@pytest.mark.parametrize(("kv_format", "each"), [(None, 2), ("fp8", 1)])
def test_a_model_may_be_stated_by_a_file_of_the_agents_own(
    tmp_path: Path, kv_format: str | None, each: int
) -> None:
    """Its cache has a key and a value of 128 numbers for 8 heads in 32 layers."""
    path = config(tmp_path / "config.json")

    found = stated(reader(StatedModel(config_file=str(path), kv_format=kv_format)))

    assert found.source == str(path)
    assert found.facts is not None
    assert found.facts.kv_read_bytes(1) == 32 * 2 * 8 * 128 * each


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(None, "No such file or directory", id="absent"),
        pytest.param("[]", "holds no object", id="no object"),
        pytest.param("{}", "`model_type` is missing; a word is needed", id="no model"),
    ],
)
def test_a_stated_file_that_is_wrong_is_named_and_read_again_after_a_while(
    tmp_path: Path, text: str | None, says: str
) -> None:
    path, now = tmp_path / "config.json", [1000.0]
    source = reader(StatedModel(config_file=str(path)), lambda: now[-1])
    if text is not None:
        path.write_text(text)
    before = stated(source)

    config(path)
    now.append(now[-1] + AGAIN_SECONDS - 1)
    soon = stated(source)
    now.append(now[-1] + 1)

    assert before == soon == Known(None, f"{path}: {says}")
    assert stated(source) == Known(models.facts("llama-3.1-8b"), str(path))


def test_a_stated_file_that_is_right_is_read_once(tmp_path: Path) -> None:
    path, now = config(tmp_path / "config.json"), [1000.0]
    source = reader(StatedModel(config_file=str(path)), lambda: now[-1])
    first = stated(source)

    path.unlink()
    now.append(now[-1] + 100 * AGAIN_SECONDS)

    assert stated(source) is first


def test_what_is_found_and_what_is_stated_are_in_one_library(tmp_path: Path) -> None:
    """An engine whose file is found, and a person who knows better."""
    config(tmp_path / "config.json")
    pid = os.getpid()
    engine = replace(process(pid), command=("vllm", "serve", str(tmp_path)))
    source = reader(StatedModel(parameters=8e9, kv_bytes_per_token=1))

    source.want([target("a", pid=pid)], {pid: engine})
    library = source.read().library

    assert library is not None
    assert library.of("a", "code", ["code"]).facts == models.facts("llama-3.1-8b")
    assert library.of("a", "chat", ["chat"]).facts == STATED.facts


# --- a correction of what was found --------------------------------------------------------------


def test_a_format_of_the_cache_alone_corrects_what_was_found(tmp_path: Path) -> None:
    """As if the engine had been told of it, but for whose word it is."""
    config(tmp_path / "config.json")
    pid = os.getpid()
    engine = replace(process(pid), command=("vllm", "serve", str(tmp_path)))
    source = reader(StatedModel(kv_format="fp8"))

    source.want([target("a", pid=pid)], {pid: engine})
    library = source.read().library

    assert library is not None
    told = model_facts(models.config("llama-3.1-8b"), kv_format="fp8")
    by = "with a cache in fp8 by `model_facts.chat` of the config,"
    assert library.of("a", "chat", ["chat"]) == Known(told, f"{tmp_path}/config.json, {by}")
    assert library.of("a", "code", ["code"]).facts == models.facts("llama-3.1-8b")
    assert not library.is_stated("chat")


def test_a_correction_makes_nothing_known_that_is_not() -> None:
    absent = Known(None, "its config.json was not found")
    library = Library(by_target={"a": absent}, by_model={"chat": Known(None, "x", "fp8")})

    assert library.of("a", "chat", ["chat"]) is absent
    assert library.of("b", "chat", ["chat"]) is UNASKED
    assert "serves several models" in library.of("a", "chat", ["chat", "code"]).source


def test_stated_bytes_have_no_format_to_be_corrected() -> None:
    assert STATED.facts is not None
    assert STATED.facts.with_cache("fp8") is STATED.facts


# --- one read for all ----------------------------------------------------------------------------


class Trap(str):
    """A word of a command line on which looking for the model breaks."""

    def endswith(self, *_: Any) -> bool:
        raise TypeError("nobody has thought of this")


class Broken(StatedModel):
    """A statement that breaks whoever asks it."""

    def facts(self) -> ModelFacts:
        raise TypeError("nor of this")


def test_a_bug_with_one_model_is_told_there_and_costs_no_other(tmp_path: Path) -> None:
    config(tmp_path / "config.json")
    pid, gone = os.getpid(), 2**22 + 1
    table = {
        gone: replace(process(gone), command=("vllm", "serve", Trap("x"))),
        pid: replace(process(pid), command=("vllm", "serve", str(tmp_path))),
    }
    good = StatedModel(parameters=8e9, kv_bytes_per_token=1)
    source = ModelFiles(MATCHING, {"broken": Broken(), "good": good})

    source.want([target("broken", pid=gone), target("good", pid=pid)], table)
    library = source.read().library

    assert library is not None
    told = Known(None, "looking for it ended in TypeError: a bug in burnmeter")
    assert library.by_target["broken"] == library.by_model["broken"] == told
    assert library.by_target["good"].facts == models.facts("llama-3.1-8b")
    assert library.by_model["good"].facts == STATED.facts


def test_a_read_sees_what_is_wanted_as_a_whole() -> None:
    """It is in a thread of its own, and may look while the next targets are being named."""
    source = ModelFiles(MATCHING, {})
    seen: list[tuple[str, ...]] = []

    class Meanwhile(dict[int, Process]):
        def __contains__(self, pid: object) -> bool:
            library = source.read().library
            assert library is not None
            seen.append(tuple(sorted(library.by_target)))
            return super().__contains__(pid)

    source.want([target("a"), target("b", pid=41)], {})
    source.want([target("c"), target("d", pid=41)], Meanwhile())

    assert set(seen) == {("a", "b")}
