"""What a real engine's tokens cost: the daemon beside a real vLLM that holds a GPU of the stub's.

All is real but the driver: the engine's processes, its page, its config.json and the command that
is asked in the end.
"""

import json
import math
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.engines import load
from tests.engines.serving import Server, free_port
from tests.engines.test_end_to_end import daemon, until
from tests.nvml import Node

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

COMMAND = [sys.executable, "-m", "burnmeter"]
MODEL = "ours"
"""Engines of other tests may run beside this one, and are found: theirs are all called `tiny`."""


def shown(address: str) -> dict[str, Any]:
    """What the agent's snapshot says of our model; empty if nothing yet."""
    try:
        with urllib.request.urlopen(f"http://{address}/api/v1/snapshot", timeout=10) as answer:
            models = json.load(answer)["models"]
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return {}
    return next((one for one in models if one["model"] == MODEL), {})


def explained(config: Path) -> dict[str, Any]:
    """What the command says of it, by the agent."""
    asked = [*COMMAND, "explain", "cost", MODEL, "--json", "--config", str(config)]
    result = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    assert result.stderr.startswith("by the agent at"), result.stderr
    (found,) = json.loads(result.stdout)
    return dict(found)


def test_a_real_engine_s_tokens_have_a_cost_and_its_factors_are_known(
    vllm: Server, gpu_node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU's holder is the engine core, two processes below the one that listens."""
    (core,) = vllm.processes("EngineCore")
    gpu_node.has(1)
    gpu_node.says({"0.compute": [f"{core.pid} 1048576"]})
    monkeypatch.setenv("LD_LIBRARY_PATH", gpu_node.library_path)
    config, address = tmp_path / "burnmeter.yaml", f"127.0.0.1:{free_port()}"
    config.write_text(
        f"listen: {address}\ninterval_seconds: 2\n"
        "limits: {scrape_timeout_seconds: 1.8}\nprices: {gpu_dollars_per_hour: {H100: 3.6}}\n"
        f"targets: [{{url: {vllm.url}, model: {MODEL}}}]\n"
    )
    log = tmp_path / "burnmeter.log"
    # Whether it has work is seen at looks, which a machine with other engines on it may delay.
    with (
        daemon([*COMMAND, "run", "--config", str(config)], log),
        load.lasting(vllm.url, load.ok(20, max_tokens=64), workers=4),
    ):
        until(lambda: is_whole(shown(address)), lambda: shown(address), seconds=180.0)
        found = explained(config)

    factors = found["signature"]["dollars"]
    cost = found["dollars_per_million_tokens"]
    assert math.prod(factor["value"] for factor in factors) == pytest.approx(cost / 1e6, rel=1e-9)
    assert factors[0]["value"] == pytest.approx(0.001)
    assert "/models/tiny/config.json has it" in " ".join(found["signature"]["notes"])


def is_whole(found: dict[str, Any]) -> bool:
    """Whether all its factors are there: one request must have ended.

    On a machine that is too busy to look in time, there is time of which nothing is known as well.
    """
    factors = (found.get("signature") or {"dollars": []})["dollars"]
    names = [factor["name"] for factor in factors if factor["name"] != "unknown"]
    return names == ["price", "idle", "prefill", "stack", "batch", "model"]
