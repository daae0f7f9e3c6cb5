"""What `once` prints, for Snapshots in each state a node can be in."""

from dataclasses import replace
from typing import Any

import pytest

from burnmeter.export import terminal
from burnmeter.model import Failure
from burnmeter.snapshot import Elsewhere
from tests import snapshots
from tests.snapshot_parts import LLAMA, burn, gpu, latency, model, objective, target

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


# --- money ---------------------------------------------------------------------------------------


def told_of(**changes: Any) -> str:
    """What is told of one model."""
    return terminal.snapshot(snapshots.empty(models=(model(**changes),)))


def test_a_cost_is_followed_by_its_factors_and_no_factor_is_broken() -> None:
    told = told_of(dollars_per_million_tokens=1.38)

    assert (
        "  $1.38 per million tokens   0.988 J per token   (over 5 min)\n"
        "  a token = price $2.99 / GPU-h × idle 1.28 × prefill 1.31 × stack 2.22\n"
        "      × batch 2.4 × model 0.0517 GPU-h / M tokens\n"
    ) in told


@pytest.mark.parametrize("brings", [None, 18.7])
def test_what_tokens_bring_is_told_where_they_have_a_price(brings: float | None) -> None:
    told = told_of(cost_dollars_per_hour=11.96, revenue_dollars_per_hour=brings)

    assert ("  an hour: costs $11.96, brings $18.70\n" in told) == (brings is not None)


def test_a_cost_that_is_not_known_says_why() -> None:
    why = "no price is known for NVIDIA GB300: set prices.gpu_dollars_per_hour"
    lacks = {"cost_dollars_total": why}

    told = told_of(dollars_per_million_tokens=None, not_available=lacks)

    assert "  – per million tokens   0.988 J per token" in told
    assert f"  cost: {why}\n" in told
    assert "= price" not in told


# --- GPUs in trouble -----------------------------------------------------------------------------


def test_an_xid_says_how_often_it_was_seen_what_it_is_and_what_to_do() -> None:
    views = (gpu(0, xid_counts={48: 1}), gpu(1, xid_counts={48: 3}))

    told = " ".join(terminal.snapshot(snapshots.empty(gpus=views)).split())

    assert "GPU 0: XID 48, double-bit memory error: Memory of the GPU gave wrong data" in told
    assert "GPU 1: XID 48 (3 times), double-bit memory error: Memory of the GPU" in told
    assert "Move the work away, stop every program on the GPU and reset it." in told


def test_a_gpu_says_what_holds_its_clocks_down_and_what_the_driver_asks_for() -> None:
    view = replace(gpu(2, recovery_action="reset_gpu"), throttled_by=("power_brake", "board_limit"))

    told = terminal.snapshot(snapshots.empty(gpus=(gpu(0), view)))

    assert "GPU 2: its clocks are held down: power brake, board limit\n" in told
    assert "GPU 2: the driver asks for a recovery: Stop every program on the GPU and" in told
    assert "GPU 0:" not in told
