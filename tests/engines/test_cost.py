"""What a real engine's tokens cost: the daemon beside a real vLLM that holds a GPU of the stub's.

All is real but the driver: the engine's processes, its page, its config.json and the command that
is asked in the end.
"""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engines import load
from tests.engines.serving import Server, free_port
from tests.engines.test_end_to_end import daemon, until
from tests.nvml import Node

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]

COMMAND = [sys.executable, "-m", "burnmeter"]
MODEL = "ours"
"""Engines of other tests may run beside this one, and are found: theirs are all called `tiny`."""


def explained(config: Path) -> dict[str, Any] | None:
    """What the agent says of our model; None if nothing yet."""
    asked = [*COMMAND, "explain", "cost", MODEL, "--json", "--config", str(config)]
    result = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    found = json.loads(result.stdout or "[]")
    is_by_agent = result.stderr.startswith("by the agent at")
    return dict(found[0]) if is_by_agent and found and found[0]["signature"] else None


def test_a_real_engine_s_tokens_have_a_cost_and_its_factors_are_known(
    vllm: Server, gpu_node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU's holder is the engine core, two processes below the one that listens."""
    (core,) = vllm.processes("EngineCore")
    gpu_node.has(1)
    gpu_node.says({"0.compute": [f"{core.pid} 1048576"]})
    monkeypatch.setenv("LD_LIBRARY_PATH", gpu_node.library_path)
    config = tmp_path / "burnmeter.yaml"
    config.write_text(
        f"listen: 127.0.0.1:{free_port()}\ninterval_seconds: 1\n"
        "limits: {scrape_timeout_seconds: 0.8}\nprices: {gpu_dollars_per_hour: {H100: 3.6}}\n"
        f"targets: [{{url: {vllm.url}, model: {MODEL}}}]\n"
    )
    with daemon([*COMMAND, "run", "--config", str(config)], tmp_path / "burnmeter.log"):
        with load.running(vllm.url, load.ok(150, max_tokens=24), workers=4):
            until(lambda: is_whole(explained(config)), lambda: json.dumps(explained(config)))
        found = explained(config)

    assert found is not None
    factors = found["signature"]["dollars"]
    cost = found["dollars_per_million_tokens"]
    assert math.prod(factor["value"] for factor in factors) == pytest.approx(cost / 1e6, rel=1e-9)
    assert factors[0]["value"] == pytest.approx(0.001)
    assert "/models/tiny/config.json has it" in " ".join(found["signature"]["notes"])


def is_whole(found: dict[str, Any] | None) -> bool:
    """Whether all its factors are there: one request must have ended."""
    factors = found["signature"]["dollars"] if found is not None else []
    names = [factor["name"] for factor in factors]
    return names == ["price", "idle", "prefill", "stack", "batch", "model"]
