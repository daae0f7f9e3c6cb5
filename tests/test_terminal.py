"""What `once` prints, for Snapshots in each state a node can be in."""

from dataclasses import replace

import pytest

from burnmeter.export import terminal
from burnmeter.model import Failure
from burnmeter.snapshot import Elsewhere
from tests import snapshots
from tests.snapshot_parts import LLAMA, burn, latency, model, objective, target

EXAMPLES = [name for name in snapshots.ALL if name != "hostile"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_state_fits_80_columns(name: str) -> None:
    told = terminal.snapshot(snapshots.ALL[name]())

    assert [line for line in told.splitlines() if len(line) > terminal.WIDTH] == []
    assert told.endswith("\n")
    assert "None" not in told


def test_a_lost_gpu_says_why_in_full() -> None:
    told = terminal.snapshot(snapshots.burning())

    assert "does not answer" in told
    assert "GPU 5: GPU is lost (NVML_ERROR_GPU_IS_LOST)" in told


def test_an_engine_that_is_down_says_why() -> None:
    told = terminal.snapshot(snapshots.burning())

    assert "vllm-8002 (engine not known) down: connection refused by 127.0.0.1:8002" in told


def test_a_probe_that_rests_is_said_to_rest_and_availability_says_of_what_it_is() -> None:
    why = Failure("disabled", "its `tokens_per_day` (1000) would be exceeded")
    counted = burn(LLAMA, (0.0,) * 6, objective=objective("availability"), source="engine")

    told = terminal.snapshot(
        snapshots.empty(
            models=(model(),),
            targets=(target("ask", engine=None, version=None, is_up=False, failure=why),),
            burns=(counted,),
        )
    )

    assert "ask (engine not known) resting: its `tokens_per_day` (1000) would be" in told
    assert "counted at the engines, not at what stands before" in " ".join(told.split())


def test_a_source_that_fails_says_why() -> None:
    told = terminal.snapshot(snapshots.not_measured())

    assert "gpus: the driver answered: insufficient permissions" in told


def test_a_simulated_node_says_so_in_the_first_line() -> None:
    assert "SIMULATED" in terminal.snapshot(snapshots.simulated()).splitlines()[0]
    assert "SIMULATED" not in terminal.snapshot(snapshots.good())


def test_a_node_without_engines_says_where_to_look() -> None:
    assert "`burnmeter doctor` says why" in terminal.snapshot(snapshots.empty())


def test_a_latency_above_the_last_bound_is_above_and_not_at_it() -> None:
    told = terminal.snapshot(snapshots.burning())

    ttft = next(line for line in told.splitlines() if line.startswith("  TTFT"))
    assert ttft.split()[-6:] == ["above", "5", "s", "above", "5", "s"]


def test_what_is_not_known_is_a_dash_and_0_is_0() -> None:
    idle = replace(model(), running=0.0, waiting=None, kv_cache_used_ratio=0.0)

    told = terminal.snapshot(snapshots.empty(models=(idle,)))

    assert "running 0   waiting –   KV cache 0 %" in told


def test_a_gateways_view_stands_apart_and_an_engine_tells_version_role_and_illness() -> None:
    seen = Elsewhere(
        targets=("litellm-4000",),
        latencies={"ttft": latency(0.5, 1.0)},
        requests={"ok": 7.0},
        tokens={},
    )
    ill = target(role="decode", is_ill=True, illness="/health answers HTTP 503")

    told = terminal.snapshot(
        snapshots.empty(models=(model(elsewhere={"gateway": seen}),), targets=(ill,))
    )

    assert "  as a gateway sees it (litellm-4000):\n  requests ok 7\n" in told
    assert "vllm-8000 (vllm 0.10.2, decode) ill: /health answers HTTP 503\n" in told


def test_a_reason_for_several_measures_is_said_once() -> None:
    lacks = {"a": "its role", "b": "it is old", "c": "its role"}

    told = terminal.missing(lacks)

    assert told == ["", "  cannot be had:", "    a, c: its role", "    b: it is old"]


def test_what_is_not_the_engines_own_is_labelled_with_who_counted_it() -> None:
    view = model(
        latencies={"ttft": latency(0.5, 1.0), "itl": latency(0.02, 0.04)},
        seen_from={"ttft": "gateway", "errors": "probe"},
    )

    told = terminal.snapshot(snapshots.empty(models=(view,)))

    assert "  TTFT (gateway) " in told
    assert "  ITL (" not in told
    assert "errors 0.12 % (probe)\n" in told
