"""`burnmeter explain cost` and `energy`, as people run them: of a simulated node, of an agent."""

import json
import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.servers import free_port
from tests.test_cli import burnmeter, too_wide
from tests.test_running import Running, eventually, running

FACTOR = re.compile(r"^  [x ] +([\d.e+-]+)  (\w+) +(measured|given|assumed)", re.MULTILINE)
PRODUCT = re.compile(r"^  = +([\d.e+-]+)  (.+)$", re.MULTILINE)
MODELS = ("llama-3.3-70b-instruct", "qwen2.5-coder-7b-instruct", "qwen3-8b")


def sections(text: str) -> list[str]:
    """What is said of each model."""
    return [part for part in re.split(r"(?=^\S+: )", text, flags=re.MULTILINE) if part.strip()]


def check(said: str, unit: str) -> list[str]:
    """That the factors multiply to what stands below them; their names."""
    factors, (total,) = FACTOR.findall(said), PRODUCT.findall(said)
    assert total[1] == unit
    assert math.prod(float(value) for value, _, _ in factors) == pytest.approx(
        float(total[0]), rel=1e-3
    )
    return [name for _, name, _ in factors]


def test_the_factors_of_each_simulated_model_multiply_to_its_cost() -> None:
    result = burnmeter("explain", "cost", "--simulate", "--seconds", "4")

    assert result.returncode == 0
    assert too_wide(result.stdout) == []
    told = sections(result.stdout)
    assert len(told) == len(MODELS)
    for model, said in zip(MODELS, told, strict=True):
        assert said.startswith(f"{model}: $")
        names = check(said, "dollars per million tokens")
        assert names == ["price", "idle", "prefill", "stack", "batch", "model"]
        assert "the shipped list of" in said
        assert "as the config.json of" in said


def test_for_energy_the_factors_are_the_same_but_the_first() -> None:
    result = burnmeter("explain", "energy", "qwen3-8b", "--simulate", "--seconds", "2")

    (said,) = sections(result.stdout)
    assert check(said, "joules per token")[:2] == ["power", "idle"]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """An agent that runs, and the name of its config."""
    folder = tmp_path_factory.mktemp("agent")
    port = free_port()
    config = f"listen: 127.0.0.1:{port}\nprices: {{gpu_dollars_per_hour: {{H100: 2.0}}}}\n"
    with running(folder, "up", "--simulate", config=config) as started:
        eventually(lambda: [m for m in started.snapshot().get("models", ()) if m["signature"]])
        yield started, str(folder / "config.yaml")


def test_an_agent_that_runs_is_asked(agent: tuple[Running, str]) -> None:
    started, config = agent
    result = burnmeter("explain", "cost", "qwen3-8b", "--config", config)

    assert result.stderr == f"by the agent at {started.url}\n"
    (said,) = sections(result.stdout)
    check(said, "dollars per million tokens")
    assert "2 dollars an hour by the config, by the GPU's name" in re.sub(r"\s+", " ", said)


def test_for_machines_the_product_is_exactly_the_cost(agent: tuple[Running, str]) -> None:
    found = json.loads(burnmeter("explain", "cost", "--json", "--config", agent[1]).stdout)

    assert [one["model"] for one in found] == list(MODELS)
    for one in found:
        for subject, value in (
            ("dollars", one["dollars_per_million_tokens"] / 1e6),
            ("joules", one["joules_per_token"]),
        ):
            factors = one["signature"][subject]
            product = math.prod(factor["value"] for factor in factors)
            assert product == pytest.approx(value, rel=1e-9)


def test_a_model_that_is_not_there_is_told_with_those_that_are(agent: tuple[Running, str]) -> None:
    result = burnmeter("explain", "cost", "qwen3", "--config", agent[1])

    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "burnmeter: `qwen3` is no model of this node; there is `qwen3-8b`"
    )


def test_what_answers_and_is_no_agent_is_said_and_we_look_ourselves(tmp_path: Path) -> None:
    with servers.Server(servers.says(servers.answer(b'{"hello": 1}'))) as other:
        config = tmp_path / "config.yaml"
        host = other.url.removeprefix("http://").partition("/")[0]
        config.write_text(f"listen: {host}\ndiscovery: {{processes: false}}\n")
        result = burnmeter("explain", "cost", "--config", str(config), "--seconds", "0.2")

    assert result.returncode == 1
    assert f"what answers at http://{host} is no burnmeter of this version" in result.stderr
    assert result.stderr.endswith("no engine is watched here; `burnmeter doctor` says why\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("cost", "--engine", "vllm"), "--engine is for metrics, not for cost and energy"),
        (("ttft", "qwen3-8b"), "a MODEL and --simulate go with cost and energy only"),
        (("ttft", "--simulate"), "a MODEL and --simulate go with cost and energy only"),
    ],
)
def test_words_that_do_not_go_together_are_a_wrong_call(words: tuple[str, ...], says: str) -> None:
    result: subprocess.CompletedProcess[str] = burnmeter("explain", *words)

    assert result.returncode == 2
    assert says in result.stderr


def test_a_metric_is_explained_for_machines_too() -> None:
    (found,) = json.loads(burnmeter("explain", "ttft", "--engine", "vllm", "--json").stdout)

    assert found["metric"]["name"] == "burnmeter_ttft_seconds"
    assert [origin["engine"] for origin in found["origins"]] == ["vllm"]
