"""The pieces that example Snapshots are made of: one model, one GPU, one target, one objective.

Made by hand, not by the pipeline, so that the exporters are tested without it. Each piece is well
unless told otherwise: `changes` are fields of the value that is returned.
"""

import math
from dataclasses import replace
from typing import Any

from burnmeter.model import Burn, Figure, Gpu, GpuProcess, Objective, Share, Tally, WindowBurn
from burnmeter.snapshot import (
    AlertmanagerView,
    Event,
    Factor,
    GpuPoint,
    GpuView,
    Health,
    Latency,
    ModelView,
    Point,
    Quantile,
    Signature,
    SourceView,
    TargetView,
    XidView,
)
from burnmeter.xids import xid

NOW = 1_700_040_400.0
GIB = 1024.0**3
LLAMA, QWEN, MISTRAL = "llama-3.3-70b", "qwen2.5-coder-32b", "mistral-small-24b"


def wave(place: int, height: float, swing: float) -> float:
    """A quiet, repeatable curve."""
    return max(0.0, height + swing * math.sin(place / 4.0) + swing / 3 * math.sin(place * 1.7))


def history(
    tokens: float = 2400.0, ttft: float = 0.25, burn: float = 0.4, rise: float = 0.0
) -> tuple[Point, ...]:
    """Ten minutes, one point in 10 s, with a gap of one minute; `rise` lets the burn grow."""
    points = []
    for place in range(61):
        at = NOW - (60 - place) * 10.0
        if 20 <= place < 26:
            points.append(Point(at, None, None, None, None, None))
            continue
        late = max(0.0, (place - 30) / 30.0) * rise
        slow = ttft * (20 if late > rise * 0.5 > 0 else 4 if late > 0 else 1)
        now = wave(place, burn, 0.2) + late
        points.append(Point(at, wave(place, tokens, tokens / 8), slow, 0.001, now, now))
    return tuple(points)


def latency(lower: float, upper: float | None, count: float = 5210.0) -> Latency:
    """All quantiles in or below the bucket that is given for p95."""
    half = Quantile(lower / 2, lower)
    whole = Quantile(lower, upper)
    return Latency(
        count=count,
        mean_seconds=lower * 0.83,
        quantiles={"p50": half, "p90": whole, "p95": whole, "p99": whole},
    )


GPU_DOLLARS_PER_SECOND = 2.99 / 3600


def signature(
    dollars_per_million_tokens: float | None = 1.38, joules_per_token: float | None = 0.988
) -> Signature:
    """One whose products are that; what is not known has none. The stack is what is left over."""
    took = (dollars_per_million_tokens or 1.38) / 1e6 / GPU_DOLLARS_PER_SECOND
    idle, prefill, batch, least = 1.28, 1.31, 2.4, 1.86e-4
    stack = took / (idle * prefill * batch * least)
    text = f"it reaches {1 / stack:.1%} of what its GPUs allow for the batches that there were"
    shared = (
        Factor("idle", idle, "ratio", "measured", "requests were running in 78.1% of its GPU time"),
        Factor("prefill", prefill, "ratio", "assumed", "prompts take 23.7% of the busy time"),
        Factor("stack", stack, "ratio", "assumed", text),
        Factor("batch", batch, "ratio", "assumed", "in batches without end 41.7% would be left"),
        Factor("model", least, "GPU-seconds per token", "assumed", "at the limits of the GPUs"),
    )
    price = (dollars_per_million_tokens or 0.0) / 1e6 / took
    power = (joules_per_token or 0.0) / took
    word = "NVIDIA H100 80GB HBM3: 2.99 dollars an hour by the config"
    dollars = Factor("price", price, "dollars per GPU-second", "given", word), *shared
    joules = Factor("power", power, "watts", "measured", "mean of its GPUs"), *shared
    return Signature(
        dollars=dollars if dollars_per_million_tokens is not None else (),
        joules=joules if joules_per_token is not None else (),
        notes=("The model is as /models/llama/config.json has it.", "The KV cache is in bf16."),
    )


def model(name: str = LLAMA, **changes: Any) -> ModelView:
    """A model that is good; `changes` are fields of ModelView. Its signature is of its cost."""
    view = ModelView(
        model=name,
        targets=("vllm-8000",),
        engines=("vllm",),
        state="good",
        reason="every objective holds in every window",
        recent_seconds=300.0,
        running=37.0,
        waiting=0.0,
        kv_cache_used_ratio=0.634,
        generated_tokens_per_second=2412.0,
        prompt_tokens_per_second=9120.0,
        requests_per_second=17.4,
        error_ratio_lower=0.0012,
        error_ratio_upper=0.0012,
        latencies={
            "ttft": latency(0.25, 0.5),
            "itl": latency(0.02, 0.04, count=1.2e6),
            "tpot": latency(0.02, 0.03),
            "duration": latency(10.0, 15.0),
            "queue": latency(0.0, 0.3),
            "prefill": latency(0.08, 0.1),
            "decode": latency(5.0, 10.0),
        },
        dollars_per_million_tokens=1.38,
        joules_per_token=0.988,
        cost_dollars=37.87,
        revenue_dollars=None,
        cost_dollars_per_hour=11.96,
        revenue_dollars_per_hour=None,
        signature=None,
        requests={"ok": 61240.0, "error": 74.0, "cancelled": 812.0, "rejected": 3.0, "lost": 0.0},
        tokens={"prompt": 38_122_004.0, "prompt_cached": 9_530_112.0, "generated": 10_113_870.0},
        not_available={},
        history=history(),
    )
    changed = replace(view, **changes)
    cost = changed.dollars_per_million_tokens, changed.joules_per_token
    return replace(changed, **({"signature": signature(*cost)} | changes))


def objective(indicator: str = "ttft", **changes: Any) -> Objective:
    """99 % of first tokens within 1 s, or another indicator."""
    limits = {"ttft": 1.0, "itl": 0.1, "duration": 30.0}
    value = Objective(
        name=f"{indicator}-slo",
        indicator=indicator,
        objective_ratio=0.99,
        threshold_seconds=limits.get(indicator),
        match=(("model", LLAMA),),
    )
    return replace(value, **changes)


WINDOWS = (300.0, 1800.0, 3600.0, 21600.0, 86400.0, 259200.0)


def burn(name: str, values: tuple[float | None, ...], **changes: Any) -> Burn:
    """One objective of one model; `values` are the burns of WINDOWS, shortest first."""
    windows = tuple(
        WindowBurn(
            seconds=seconds,
            covered_seconds=0.0 if value is None else min(seconds, 40000.0),
            valid=0.0 if value is None else seconds * 17,
            burn_lower=value,
            burn_upper=None if value is None else value * (1.2 if seconds == 3600 else 1.0),
        )
        for seconds, value in zip(WINDOWS, values, strict=True)
    )
    value = Burn(
        objective=objective(),
        model=name,
        state="good",
        reason="",
        severity=None,
        total=Tally(61240.0, 61010.0, 61022.0),
        tallies={"engine": Tally(61240.0, 61010.0, 61022.0)},
        windows=windows,
        budget_left_ratio=0.62,
        covered_ratio=0.0154,
        measured_seconds=40000.0,
        watched_seconds=40320.0,
    )
    return replace(value, **changes)


def gpu_history(now: Gpu) -> tuple[GpuPoint, ...]:
    """Ten minutes that end at what the GPU does now; the last minute is missing if it is silent."""
    busy, watts = (0.8, 580.0) if now.failure else (now.utilisation_ratio, now.power_watts)

    def point(place: int) -> GpuPoint:
        at = NOW - (60 - place) * 10.0
        if now.failure and place > 54:
            return GpuPoint(at, None, None)
        back = (60 - place) + 7 * now.index
        return GpuPoint(
            at,
            None if busy is None else min(1.0, wave(back, busy, 0.12 * busy)),
            None if watts is None else wave(back, watts, 0.06 * watts),
        )

    return tuple(point(place) for place in range(61))


def gpu(index: int, *shares: Share, **changes: Any) -> GpuView:
    """An H100 that works, and who has it; `changes` are fields of Gpu."""
    value = Gpu(
        index=index,
        uuid=f"GPU-{index:08d}",
        name="NVIDIA H100 80GB HBM3",
        utilisation_ratio=0.87 - 0.03 * index,
        memory_used_bytes=(71.4 - index) * GIB,
        memory_total_bytes=79.6 * GIB,
        power_watts=612.0 - 11 * index,
        power_limit_watts=700.0,
        energy_joules=8.1e8,
        temperature_celsius=61.0 + index,
        sm_clock_hertz=1.98e9,
        memory_clock_hertz=2.619e9,
        processes=(GpuProcess(pid=4100 + index, memory_bytes=70 * GIB),),
        recovery_action="none",
        gauges=(
            Figure("gpu_sm_active_ratio", (("mig", ""),), 0.61),
            Figure("gpu_temperature_limit_celsius", (("limit", "slowdown"),), 87.0),
        ),
        unsupported=(),
    )
    now = replace(value, **changes)
    return GpuView(
        gpu=now,
        shares=shares,
        is_up=now.failure is None,
        dollars_per_hour=2.99,
        price_source="the config, by the GPU's name",
        energy_joules=5.3e6,
        meters=(
            Figure("gpu_throttle_seconds_total", (("reason", "power_cap"),), 8.5),
            Figure("gpu_pcie_bytes_total", (("direction", "sent"),), 3.1e12),
        ),
        xid_totals=now.xid_counts,
        xids=tuple(
            XidView(times=times, last_timestamp_seconds=NOW - 40.0, **xid(code)._asdict())
            for code, times in now.xid_counts.items()
        ),
        history=gpu_history(now),
    )


def held(index: int, name: str, state: str = "busy", method: str = "process_tree") -> Share:
    """Who has the GPU of that index."""
    return Share(f"GPU-{index:08d}", name, "vllm-8000" if name else "", state, method)


def target(name: str = "vllm-8000", **changes: Any) -> TargetView:
    """An engine that answers."""
    value = TargetView(
        target=name,
        url="http://127.0.0.1:8000/metrics",
        origin="process",
        engine="vllm",
        role="engine",
        vantage="engine",
        version="0.10.2",
        model=LLAMA,
        engine_model="meta-llama/Llama-3.3-70B-Instruct",
        models={LLAMA: "meta-llama/Llama-3.3-70B-Instruct"},
        is_up=True,
        is_stalled=False,
        is_stale=False,
        is_ill=False,
        illness=None,
        failure=None,
        duration_seconds=0.0042,
        age_seconds=0.3,
        restarts=0,
        unknown_families=(),
        body_bytes=54_210,
        pid=4100,
    )
    changed = replace(value, **changes)
    if "model" in changes and "models" not in changes:
        words = {} if changed.model is None else {changed.model: changed.engine_model or ""}
        changed = replace(changed, models=words)
    return changed


def source(name: str = "gpus", **changes: Any) -> SourceView:
    """A source that answers."""
    value = SourceView(
        source=name, is_up=True, failure=None, duration_seconds=0.011, age_seconds=0.2
    )
    return replace(value, **changes)


def alertmanager(**changes: Any) -> AlertmanagerView:
    """One that takes what it is sent."""
    value = AlertmanagerView(
        url="http://alertmanager:9093", is_up=True, failure=None, active=1, sent=12, failed=2
    )
    return replace(value, **changes)


def event(ago_seconds: float, kind: str, subject: str, text: str, *models: str) -> Event:
    """Something that happened so long ago, and hits these models. `gpu 4` is that of gpu(4)."""
    word, _, index = subject.partition(" ")
    return Event(
        timestamp_seconds=NOW - ago_seconds,
        kind=kind,
        subject=subject,
        text=text,
        models=models,
        gpu=f"GPU-{int(index):08d}" if word == "gpu" else None,
    )


HEALTH = Health(
    cpu_seconds=14.2,
    memory_bytes=41.0 * 1024**2,
    tick_duration_seconds=0.021,
    ticks=2280,
    late_ticks=0,
    failed_ticks=0,
    limits_reached={},
)
