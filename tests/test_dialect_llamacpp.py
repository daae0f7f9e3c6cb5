"""llama.cpp: the one latency that it gives, a mean; and whose child a llama-server is."""

import pytest

from burnmeter.dialects import load_all
from burnmeter.inspection import inspect
from burnmeter.model import Process, ProcessHint
from burnmeter.sources.commands import arguments_of
from burnmeter.sources.processes import find_engines
from tests import pages

HINTS = load_all()["llamacpp"].processes
OLLAMAS_CHILD = "/usr/lib/ollama/llama-server --model /b/sha256-1 --port 41000 --no-webui --offline"


def first_hint(command: str) -> ProcessHint:
    return next(hint for hint in HINTS if arguments_of(command.split(), hint) is not None)


def process(pid: int, parent: int, command: str, *ports: int) -> Process:
    return Process(
        pid=pid,
        parent_pid=parent,
        started_timestamp_seconds=1.0,
        command=tuple(command.split()),
        title="",
        ports=ports,
    )


def page(tokens: float, seconds: float) -> str:
    return (
        f"llamacpp:tokens_predicted_total {tokens}\n"
        f"llamacpp:tokens_predicted_seconds_total {seconds}\n"
    )


def test_what_was_generated_between_two_looks_gives_a_mean_gap_and_no_quantile() -> None:
    """500 tokens in 10 s of busy slots: 20 ms a token."""
    (model,) = inspect(page(600, 12.0), page(100, 2.0)).models.values()

    itl = model.latencies["itl"]
    assert itl.count == 500
    assert itl.mean_seconds == pytest.approx(0.02)
    assert itl.quantiles == {}
    assert model.tokens == {"generated": 500}


def test_a_mean_is_no_ground_to_judge_an_objective_by() -> None:
    found = pages.engine_page(page(600, 12.0))
    assert found.not_available["itl_seconds"] == "only a mean can be had of it, no buckets"


@pytest.mark.parametrize(
    ("command", "title", "is_read", "remedy"),
    [
        ("llama-server -m x.gguf", "llama.cpp", True, "with --metrics"),
        ("/x/build/bin/llama-server -ngl 0", "llama.cpp", True, "LLAMA_ARG_ENDPOINT_METRICS=1"),
        (OLLAMAS_CHILD, "Ollama", True, "environment of `ollama serve`"),
        ("/usr/bin/ollama runner --model /b --port 40000", "Ollama", False, "a probe"),
        ("ollama serve", "Ollama", False, "no metrics page"),
        (
            "python run_inference_server.py -m m.gguf",
            "BitNet",
            True,
            "environment of run_inference_server.py",
        ),
    ],
)
def test_the_remedy_is_the_one_of_the_program_that_started_it(
    command: str, title: str, is_read: bool, remedy: str
) -> None:
    hint = first_hint(command)

    assert (hint.title, hint.is_read, hint.has_metrics) == (title, is_read, False)
    assert remedy in (hint.metrics_remedy or "")


def test_bitnet_and_its_server_are_one_target_and_so_is_each_child_of_ollama() -> None:
    table = [
        process(10, 1, "python run_inference_server.py -m models/b.gguf --port 8080"),
        process(11, 10, "build/bin/llama-server -m models/b.gguf --host 0.0.0.0 --port 8080", 8080),
        process(20, 1, "/usr/bin/ollama serve", 11434),
        process(21, 20, OLLAMAS_CHILD, 41000),
        process(22, 20, OLLAMAS_CHILD.replace("41000", "42000"), 42000),
    ]
    read = [hint for hint in HINTS if hint.is_read]
    found = find_engines({one.pid: one for one in table}, read)

    assert [(one.name, one.pid) for one in found] == [
        ("llamacpp-8080", 11),
        ("llamacpp-41000", 21),
        ("llamacpp-42000", 22),
    ]
