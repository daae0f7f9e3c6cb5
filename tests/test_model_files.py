"""The models that real processes serve, by the files that they must have read themselves."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnmeter.dialects import load_all
from burnmeter.model import Target
from burnmeter.model_facts import ModelFacts, model_facts
from burnmeter.model_facts.known import Known
from burnmeter.sources.launches import Matcher
from burnmeter.sources.model_files import AGAIN_SECONDS, ELSEWHERE, LONGEST, ModelFiles
from burnmeter.sources.processes import ProcessSource
from tests import models
from tests.fakes import process, target

MATCHING = Matcher([hint for dialect in load_all().values() for hint in dialect.processes])
LLAMA, QWEN = "llama-3.1-8b", "qwen3-8b"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MATRICES, TABLES = 6_979_321_856, 2 * 128_256 * 4096
"""Parameters of Llama 3.1 8B: 32 layers of 2 * 4096 * 128 * (32 + 8) + 3 * 4096 * 14336; words."""
KV_NUMBERS = 32 * 2 * 8 * 128
"""What one token leaves in its cache: a key and a value of 128 for 8 heads in 32 layers."""
GONE = 2**22 + 1
"""Linux hands out no such number."""

PROGRAM = """
import os, subprocess, sys
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE) if "--child" in sys.argv else None
print(child.pid if child else os.getpid(), flush=True)
sys.stdin.read()
if child:
    child.communicate()
"""


class Engines:
    """Starts processes with the command lines of engines, which end with the test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack

    def start(self, line: str, **environment: str) -> Target:
        """What listens is the process that the program names."""
        name, *words = line.format(here=self.folder).split()
        program = self.folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(PROGRAM)
        pipe = subprocess.PIPE
        command = [sys.executable, str(program), *words]
        started = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdin=pipe, stdout=pipe, text=True
        )
        self._stack.enter_context(started)
        assert started.stdin is not None
        assert started.stdout is not None
        self._stack.callback(started.stdin.close)
        return target("a", pid=int(started.stdout.readline()))

    def write(self, said: Any, place: str = "model/config.json") -> Path:
        """A file of JSON, or of text."""
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(said if isinstance(said, str) else json.dumps(said))
        return path


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    with ExitStack() as stack:
        yield Engines(tmp_path, stack)


def known(source: ModelFiles, *targets: Target) -> Known | None:
    """What is known of the model of the first target after one more read."""
    with closing(ProcessSource()) as processes:
        source.want(targets, processes.read().processes)
    reading = source.read()
    assert reading.failure is None
    assert reading.library is not None
    return reading.library.by_target.get(targets[0].name)


def facts(one: Target) -> ModelFacts:
    """The facts of what a target serves, which are known."""
    found = known(ModelFiles(MATCHING, {}), one)
    assert found is not None
    assert found.facts is not None, found.source
    return found.facts


def why(one: Target) -> str:
    """Why the facts of what a target serves are not known."""
    found = known(ModelFiles(MATCHING, {}), one)
    assert found is not None
    assert found.facts is None
    return found.source


# --- where the file is ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "vllm serve {here}/model",
        "vllm serve {here}/model --served-model-name other",
        "vllm serve --served-model-name other --model {here}/model",
        "vllm serve --port 8000 --model={here}/model",
        "vllm serve ./model",
        "vllm serve model/../model",
        "sglang serve --model-path {here}/model",
        "sglang serve --served-model-name other --model_path={here}/model",
        "vllm serve --model {here}/absent --model {here}/model",
    ],
)
def test_the_folder_is_on_the_command_line(engines: Engines, line: str) -> None:
    engines.write(models.config(LLAMA))

    assert facts(engines.start(line)) == models.facts(LLAMA)


def test_the_name_that_it_serves_under_is_the_last_to_be_tried(engines: Engines) -> None:
    engines.write(models.config(LLAMA))
    engines.write(models.config(QWEN), "other/config.json")

    for model, name in (("model", LLAMA), ("absent", QWEN)):
        line = f"vllm serve --served-model-name other --model {{here}}/{model}"
        assert facts(engines.start(line)) == models.facts(name)


def test_the_command_line_may_be_that_of_what_started_the_listener(engines: Engines) -> None:
    engines.write(models.config(LLAMA))

    assert facts(engines.start("vllm serve {here}/model --child")) == models.facts(LLAMA)


def hub(engines: Engines, cache: str, name: str, *, revision: str = COMMIT) -> Path:
    """A model in a cache as the hub's client lays it out: links to files by their sums."""
    folder = f"{cache}/models--org--tiny"
    engines.write(models.config(name), f"{folder}/blobs/5f0c")
    engines.write(f"{revision}\n", f"{folder}/refs/main")
    snapshot = engines.folder / folder / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/5f0c")
    return snapshot


@pytest.mark.parametrize(
    ("variable", "cache"),
    [
        ("HF_HUB_CACHE", "cache"),
        ("HF_HOME", "cache/hub"),
        ("HOME", "cache/.cache/huggingface/hub"),
    ],
)
def test_a_name_of_the_hub_is_looked_for_in_the_engines_own_cache(
    engines: Engines, variable: str, cache: str
) -> None:
    snapshot = hub(engines, cache, LLAMA)
    said = {variable: str(engines.folder / "cache")}

    found = known(ModelFiles(MATCHING, {}), engines.start("vllm serve org/tiny", **said))

    assert found == Known(models.facts(LLAMA), f"{snapshot}/config.json")


def test_the_cache_that_is_named_most_exactly_comes_first(engines: Engines) -> None:
    here = str(engines.folder)
    hub(engines, "one", LLAMA)
    hub(engines, "two/hub", QWEN)
    exact, home = {"HF_HUB_CACHE": f"{here}/one"}, {"HF_HOME": f"{here}/two", "HOME": here}

    assert facts(engines.start("vllm serve org/tiny", **exact, **home)) == models.facts(LLAMA)
    assert facts(engines.start("vllm serve org/tiny", **home)) == models.facts(QWEN)


def test_a_cache_may_have_a_name_that_is_no_text(engines: Engines) -> None:
    hub(engines, "caf\udce9", LLAMA)
    cache = f"{engines.folder}/caf\udce9"

    assert facts(engines.start("vllm serve org/tiny", HF_HUB_CACHE=cache)) == models.facts(LLAMA)


def test_a_folder_of_that_name_comes_before_the_hub_as_for_the_engine(engines: Engines) -> None:
    hub(engines, "cache", LLAMA)
    engines.write(models.config(QWEN), "org/tiny/config.json")
    cache = str(engines.folder / "cache")

    assert facts(engines.start("vllm serve org/tiny", HF_HUB_CACHE=cache)) == models.facts(QWEN)


def test_what_is_no_commit_is_not_followed_and_not_repeated(engines: Engines) -> None:
    """A link there may lead to any text that the agent may read, and its user may not."""
    hub(engines, "cache", LLAMA, revision="root:x:0:0")
    cache = str(engines.folder / "cache")

    said = why(engines.start("vllm serve org/tiny", HF_HUB_CACHE=cache))

    assert "root:x" not in said
    assert f"{cache}/models--org--tiny: No such file or directory" in said


# --- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "each"),
    [
        ("", 2),
        ("--kv-cache-dtype auto", 2),
        ("--kv-cache-dtype fp8", 1),
        ("--kv_cache_dtype=fp8_e5m2", 1),
        ("--kv-cache-dtype auto --kv-cache-dtype fp8", 1),
        ("--kv-cache-dtype --port 8000", 2),
    ],
)
def test_the_cache_has_the_format_that_the_engine_was_told(
    engines: Engines, flags: str, each: int
) -> None:
    engines.write(models.config(LLAMA))

    found = facts(engines.start(f"vllm serve {{here}}/model {flags}"))

    assert found.kv_read_bytes(1) == KV_NUMBERS * each


@pytest.mark.parametrize(
    "flags", ["--quantization fp8", "-q fp8", "--quantization=fp8", "-q awq --quantization fp8"]
)
def test_weights_of_16_bits_are_halved_by_an_engine_that_makes_them_fp8(
    engines: Engines, flags: str
) -> None:
    """All but those of words: their table and the head stay as they are."""
    engines.write(models.config(LLAMA, quantization_config=None))

    plain = facts(engines.start("vllm serve {here}/model"))
    halved = facts(engines.start(f"vllm serve {{here}}/model {flags}"))

    assert plain.weight_bytes == 2 * (MATRICES + TABLES)
    assert halved.weight_bytes == MATRICES + 2 * TABLES
    assert (halved.weight_format, halved.compute_format) == ("fp8", "fp8")


def test_what_else_an_engine_makes_of_its_weights_is_refused_by_name(engines: Engines) -> None:
    engines.write(models.config(LLAMA))

    assert why(engines.start("sglang serve --model-path {here}/model --quantization awq")) == (
        f"{engines.folder}/model/config.json: its weights are quantised to awq on loading, which"
        " is not known here; say `model_facts`"
    )


FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic"}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128}
INT8 = {
    "quant_method": "compressed-tensors",
    "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "int", "symmetric": True}}},
}
BESIDE = {"quantization": {"quant_algo": "FP8"}, "producer": {"name": "modelopt"}}
GEMMA = models.config("gemma-3-4b")


@pytest.mark.parametrize(
    ("said", "flag"),
    [
        pytest.param(models.config(LLAMA, quantization_config=FP8), "fp8", id="the same"),
        pytest.param(models.config(LLAMA, quantization_config=AWQ), "awq_marlin", id="a kernel's"),
        pytest.param(
            models.config(LLAMA, compression_config=INT8), "compressed-tensors", id="older"
        ),
        pytest.param(
            {**GEMMA, "text_config": {**GEMMA["text_config"], "quantization_config": FP8}},
            "modelopt",
            id="the language model's alone",
        ),
    ],
)
def test_a_checkpoint_that_is_quantised_already_is_taken_as_it_is(
    engines: Engines, said: dict[str, Any], flag: str
) -> None:
    engines.write(said)

    found = facts(engines.start(f"vllm serve {{here}}/model --quantization {flag}"))

    assert found == model_facts(said)


@pytest.mark.parametrize("flags", ["", "--quantization modelopt"])
def test_a_quantiser_may_write_what_it_did_beside_the_config(engines: Engines, flags: str) -> None:
    engines.write(models.config(LLAMA, quantization_config=None))
    engines.write(BESIDE, "model/hf_quant_config.json")

    found = facts(engines.start(f"vllm serve {{here}}/model {flags}"))

    assert found.weight_bytes == MATRICES + 2 * TABLES


def test_what_the_config_says_itself_comes_before_what_is_beside_it(engines: Engines) -> None:
    said = models.config(LLAMA, quantization_config=AWQ)
    engines.write(said)
    engines.write(BESIDE, "model/hf_quant_config.json")

    assert facts(engines.start("vllm serve {here}/model")) == model_facts(said)


# --- what cannot be known ------------------------------------------------------------------------


def test_a_gguf_file_is_not_read_and_what_helps_is_said(engines: Engines) -> None:
    line = "llama-server -m {here}/tiny.gguf --alias tiny"

    assert why(engines.start(line)) == (
        f"{engines.folder}/tiny.gguf is a GGUF file, which is not read; say `model_facts`"
    )


@pytest.mark.parametrize(
    "line", ["python-script --model x", "vllm serve --port 8000", "vllm bench --model x"]
)
def test_a_command_line_may_not_say_which_model_it_is(engines: Engines, line: str) -> None:
    assert why(engines.start(line)) == "no command line of its says which model it serves"


def test_where_no_config_is_found_all_places_are_told(engines: Engines) -> None:
    engine = engines.start("vllm serve org/tiny", HOME="/people/me", HF_HOME="/hf")

    assert why(engine) == (
        "its config.json was not found (org/tiny: No such file or directory;"
        " /hf/hub/models--org--tiny: No such file or directory;"
        " /people/me/.cache/huggingface/hub/models--org--tiny: No such file or directory)"
    )


def test_an_engine_that_says_no_home_is_taken_for_roots(engines: Engines) -> None:
    home = "/root"

    said = why(engines.start("vllm serve org/tiny"))

    assert f"; {home}/.cache/huggingface/hub/models--org--tiny: " in said


def test_a_path_is_no_name_of_the_hub(engines: Engines) -> None:
    said = why(engines.start("vllm serve /models/tiny --model /models/tiny"))

    assert said == "its config.json was not found (/models/tiny: No such file or directory)"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param(
            {"config.json": models.config(LLAMA, hidden_size="wide")},
            "config.json: `hidden_size` is 'wide'; a whole number from 1 to 1000000000 is needed",
            id="a wrong key",
        ),
        pytest.param(
            {"config.json": "{"},
            "config.json: Expecting property name enclosed in double quotes: line 1 column 2",
            id="no JSON",
        ),
        pytest.param({"config.json": "[]"}, "config.json: holds no object", id="a list"),
        pytest.param({"config.json": "[" * 100_000}, "config.json: maximum recurs", id="too deep"),
        pytest.param({"config.json/x": ""}, "config.json: is no plain file", id="a folder"),
        pytest.param(
            {"config.json": models.config(LLAMA), "hf_quant_config.json": "{"},
            "hf_quant_config.json: Expecting property name",
            id="beside it no JSON",
        ),
        pytest.param(
            {"config.json": models.config(LLAMA), "hf_quant_config.json": "[" * 100_000},
            "hf_quant_config.json: maximum recursion depth",
            id="beside it too deep",
        ),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(
    engines: Engines, files: dict[str, Any], says: str
) -> None:
    for name, said in files.items():
        engines.write(said, f"model/{name}")

    assert why(engines.start("vllm serve {here}/model")).startswith(
        f"{engines.folder}/model/{says}"
    )


def test_a_cache_in_a_format_that_is_not_known_is_refused(engines: Engines) -> None:
    engines.write(models.config(LLAMA))

    said = why(engines.start("vllm serve {here}/model --kv-cache-dtype fp7"))

    assert said == (
        "it was started with a KV cache in fp7, which is not known here; say `model_facts`"
    )


def test_what_is_told_is_short_and_can_be_printed_whatever_a_command_line_says(
    engines: Engines,
) -> None:
    line = "vllm serve /caf\udce9/\x1b[2J\x07" + "x" * 1000

    said = why(engines.start(line))

    assert said.isprintable()
    assert said.startswith("its config.json was not found (/caf / [2J xxx")
    assert len(said) == LONGEST


def test_an_engine_that_is_gone_has_no_model() -> None:
    source = ModelFiles(MATCHING, {})
    gone = replace(process(GONE), command=("vllm", "serve", "org/tiny"))

    source.want([target("a", pid=GONE)], {GONE: gone})
    library = source.read().library

    assert library is not None
    assert library.by_target["a"].facts is None
    assert "No such file or directory" in library.by_target["a"].source


# --- when it is read -----------------------------------------------------------------------------


def test_a_file_is_read_once_in_an_engines_life(engines: Engines) -> None:
    engines.write(models.config(LLAMA))
    now = [1000.0]
    source, engine = ModelFiles(MATCHING, {}, lambda: now[-1]), engines.start("vllm serve ./model")
    first = known(source, engine)

    engines.write(models.config(QWEN))
    now.append(now[-1] + 100 * AGAIN_SECONDS)

    assert first == Known(models.facts(LLAMA), "./model/config.json")
    assert known(source, engine) is first


@pytest.mark.parametrize("is_other", [True, False], ids=["another process", "the number again"])
def test_for_a_new_process_it_is_read_again(engines: Engines, is_other: bool) -> None:
    engines.write(models.config(LLAMA))
    source, old = ModelFiles(MATCHING, {}), engines.start("vllm serve ./model")
    known(source, old)
    engines.write(models.config(QWEN))
    new = engines.start("vllm serve ./model") if is_other else old

    found = known(source, replace(new, started_timestamp_seconds=None if is_other else 2.0))

    assert found is not None
    assert found.facts == models.facts(QWEN)


@pytest.mark.parametrize("text", [None, "{"], ids=["not there", "not whole"])
def test_what_was_not_found_is_looked_for_again_after_a_while(
    engines: Engines, text: str | None
) -> None:
    now = [1000.0]
    source, engine = ModelFiles(MATCHING, {}, lambda: now[-1]), engines.start("vllm serve ./model")
    if text is not None:
        engines.write(text)
    before = known(source, engine)

    engines.write(models.config(LLAMA))
    now.append(now[-1] + AGAIN_SECONDS - 1)
    soon = known(source, engine)
    now.append(now[-1] + 1)
    later = known(source, engine)

    assert before is not None
    assert before.facts is None
    assert soon is before
    assert later == Known(models.facts(LLAMA), "./model/config.json")


def test_only_what_runs_here_is_looked_for_and_only_while_it_is_wanted(engines: Engines) -> None:
    engines.write(models.config(LLAMA))
    source, engine = ModelFiles(MATCHING, {}), engines.start("vllm serve ./model")
    elsewhere = target("elsewhere")

    assert known(source, elsewhere, engine) == ELSEWHERE
    assert known(source, engine) is not None
    assert known(source, elsewhere) == ELSEWHERE
    assert source.read().library is not None
    source.close()


def test_a_reading_says_when_it_was_made_and_how_long_it_took() -> None:
    reading = ModelFiles(MATCHING, {}, iter((5.0, 5.25)).__next__).read()

    assert (reading.at_seconds, reading.duration_seconds) == (5.25, 0.25)
