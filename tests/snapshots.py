"""Example Snapshots for what is shown to people: one node in each of the states it can be in.

Made by hand, not by the pipeline, so that the exporters are tested without it. Numbers are those of
an 8-GPU node at 09:26:40 UTC; they agree with each other where a reader would compare them.
"""

import math
from dataclasses import replace
from typing import Any

from burnmeter.model import (
    Burn,
    Event,
    Failure,
    Gpu,
    GpuProcess,
    GpuView,
    Health,
    Histogram,
    Key,
    Latency,
    ModelView,
    Objective,
    Point,
    Quantile,
    Share,
    Snapshot,
    SourceView,
    Spend,
    Tally,
    TargetView,
    WindowBurn,
)

NOW = 1_700_040_400.0
GIB = 1024.0**3
LLAMA, QWEN, MISTRAL = "llama-3.3-70b", "qwen2.5-coder-32b", "mistral-small-24b"
HOSTILE = "<script>alert(1)</script>\"quoted\" 'name'\nsecond line & more"


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
            points.append(Point(at, None, None, None, None))
            continue
        late = max(0.0, (place - 30) / 30.0) * rise
        slow = ttft * (4 if late > rise * 0.5 > 0 else 2 if late > 0 else 1)
        points.append(
            Point(at, wave(place, tokens, tokens / 8), slow, 0.001, wave(place, burn, 0.2) + late)
        )
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


def model(name: str = LLAMA, **changes: Any) -> ModelView:
    """A model that is good; `changes` are fields of ModelView."""
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
        dollars_per_million_tokens=1.18,
        joules_per_token=0.93,
        requests={"ok": 61240.0, "error": 74.0, "cancelled": 812.0, "rejected": 3.0, "lost": 0.0},
        tokens={"prompt": 38_122_004.0, "prompt_cached": 9_530_112.0, "generated": 10_113_870.0},
        not_available={},
        history=history(),
    )
    return replace(view, **changes)


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
        windows=windows,
        budget_left_ratio=0.62,
        covered_ratio=0.0154,
    )
    return replace(value, **changes)


def gpu(index: int, share: Share | None, **changes: Any) -> GpuView:
    """An H100 that works; `changes` are fields of Gpu."""
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
        unsupported=(),
    )
    shares = () if share is None else (share,)
    return GpuView(gpu=replace(value, **changes), shares=shares, dollars_per_hour=2.99)


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
        version="0.10.2",
        model=LLAMA,
        engine_model="meta-llama/Llama-3.3-70B-Instruct",
        is_up=True,
        is_stalled=False,
        failure=None,
        duration_seconds=0.0042,
        age_seconds=0.3,
        restarts=0,
        unknown_families=(),
        body_bytes=54_210,
        pid=4100,
    )
    return replace(value, **changes)


def source(name: str = "gpus", **changes: Any) -> SourceView:
    """A source that answers."""
    value = SourceView(
        source=name, is_up=True, failure=None, duration_seconds=0.011, age_seconds=0.2
    )
    return replace(value, **changes)


def event(ago_seconds: float, kind: str, subject: str, text: str) -> Event:
    """Something that happened so long ago."""
    return Event(timestamp_seconds=NOW - ago_seconds, kind=kind, subject=subject, text=text)


HEALTH = Health(
    cpu_seconds=14.2,
    memory_bytes=41.0 * 1024**2,
    tick_duration_seconds=0.021,
    ticks=2280,
    late_ticks=0,
    limits_reached={},
)


def empty(**changes: Any) -> Snapshot:
    """A node without GPUs and without engines; `changes` are fields of Snapshot."""
    value = Snapshot(
        version="0.1.0",
        node="gpu-node-07",
        is_simulated=False,
        timestamp_seconds=NOW,
        started_timestamp_seconds=NOW - 11400.0,
        interval_seconds=5.0,
        models=(),
        targets=(),
        gpus=(),
        sources=(source("gpus"), source("processes")),
        burns=(),
        spends={},
        counters={},
        histograms={},
        gauges={},
        events=(),
        health=HEALTH,
    )
    return replace(value, **changes)


def _spends(gpus: tuple[GpuView, ...]) -> dict[Share, Spend]:
    spends = {}
    for view in gpus:
        for share in view.shares:
            spends[share] = Spend(8900.0, 4.9e6, 8900.0 / 3600 * 2.99)
            if share.model:
                idle = share._replace(state="idle")
                spends[idle] = Spend(2500.0, 0.4e6, 2500.0 / 3600 * 2.99)
    return spends


def good(**changes: Any) -> Snapshot:
    """Three models on eight GPUs, all good; one GPU is nobody's."""
    owners = [LLAMA, LLAMA, LLAMA, LLAMA, QWEN, QWEN, MISTRAL]
    gpus = tuple(gpu(index, held(index, owner)) for index, owner in enumerate(owners))
    alone = gpu(
        7,
        held(7, "", "unattributed", "none"),
        utilisation_ratio=0.0,
        memory_used_bytes=0.0,
        power_watts=71.0,
        processes=(),
    )
    key = Key("tokens", (("kind", "generated"), ("model", LLAMA), ("target", "vllm-8000")))
    value = empty(
        models=(
            model(),
            model(
                QWEN,
                targets=("sglang-30000",),
                engines=("sglang",),
                history=history(980, 0.1, 0.1),
                generated_tokens_per_second=981.0,
                dollars_per_million_tokens=1.69,
            ),
            model(
                MISTRAL,
                targets=("vllm-8001",),
                history=history(430, 0.05, 0.0),
                generated_tokens_per_second=432.0,
                waiting=None,
                not_available={"queue": "llama.cpp does not count time in the queue"},
            ),
        ),
        targets=(
            target(),
            target("vllm-8001", model=MISTRAL, engine_model="mistral", pid=4106),
            target("sglang-30000", engine="sglang", version="0.5.3", model=QWEN, pid=4104),
        ),
        gpus=(*gpus, alone),
        burns=(
            burn(LLAMA, (0.2, 0.4, 0.5, 0.4, 0.4, None)),
            burn(LLAMA, (0.0, 0.1, 0.1, 0.1, 0.1, None), objective=objective("errors")),
            burn(QWEN, (0.1, 0.1, 0.1, 0.1, 0.1, None), budget_left_ratio=0.98),
            burn(MISTRAL, (0.0, 0.0, 0.0, 0.0, 0.0, None), budget_left_ratio=1.0),
        ),
        counters={key: 10_113_870.0},
        histograms={Key("ttft", (("model", LLAMA),)): Histogram((0.5, 1.0), (3.0, 4.0), 5.0, 2.2)},
        gauges={Key("running", (("model", LLAMA),)): 37.0},
        events=(
            event(9000, "up", "vllm-8000", "answers again"),
            event(4100, "restart", "vllm-8001", "counters began anew; nothing was lost"),
        ),
    )
    value = replace(value, spends=_spends(value.gpus))
    return replace(value, **changes)


def burning(**changes: Any) -> Snapshot:
    """The same node at 3 am: one model burns, one cannot be measured, one GPU is lost."""
    before = good()
    llama = model(
        state="burning",
        reason="TTFT below 1 s burns 16.8 times too fast over 1 h and 31.5 times over 5 min",
        waiting=212.0,
        running=128.0,
        kv_cache_used_ratio=0.9973,
        latencies={**model().latencies, "ttft": latency(5.0, None), "queue": latency(5.0, 10.0)},
        dollars_per_million_tokens=2.91,
        generated_tokens_per_second=1130.0,
        error_ratio_lower=0.012,
        error_ratio_upper=0.034,
        history=history(1130, 0.25, 0.6, rise=31.0),
    )
    nemo = model(
        MISTRAL,
        targets=("llamacpp-8081",),
        engines=("llamacpp",),
        state="not_measured",
        reason="the engine has no latency histograms; add a probe to measure TTFT",
        running=None,
        waiting=None,
        kv_cache_used_ratio=None,
        error_ratio_lower=None,
        error_ratio_upper=None,
        latencies={},
        joules_per_token=None,
        not_available={
            "ttft": "llama.cpp counts seconds and tokens, not single requests",
            "requests": "llama.cpp does not count outcomes",
        },
        history=tuple(p._replace(ttft_p95_upper_seconds=None, burn=None) for p in history(61)),
    )
    lost = gpu(
        5,
        None,
        utilisation_ratio=None,
        memory_used_bytes=None,
        memory_total_bytes=None,
        power_watts=None,
        temperature_celsius=None,
        failure=Failure("gone", "GPU is lost (NVML_ERROR_GPU_IS_LOST)"),
        xid_counts={79: 1},
    )
    shared = gpu(6, held(6, MISTRAL, "idle", "equal_split"), utilisation_ratio=0.0)
    value = replace(
        before,
        models=(llama, before.models[1], nemo),
        burns=(
            burn(
                LLAMA,
                (31.5, 22.0, 16.8, 4.1, 1.3, None),
                state="burning",
                reason="burns 16.8 times too fast over 1 h and 31.5 times over 5 min",
                severity="page",
                budget_left_ratio=-0.08,
            ),
            burn(LLAMA, (1.2, 1.4, 1.9, 0.7, 0.3, None), objective=objective("errors")),
            before.burns[2],
            burn(
                MISTRAL,
                (None,) * 6,
                state="not_measured",
                reason="the engine has no latency histograms",
                budget_left_ratio=None,
                covered_ratio=0.0,
            ),
        ),
        gpus=(*before.gpus[:5], lost, shared, before.gpus[7]),
        targets=(
            target(),
            before.targets[2],
            target("llamacpp-8081", engine="llamacpp", version=None, model=MISTRAL),
            target(
                "vllm-8002",
                is_up=False,
                is_stalled=None,
                engine=None,
                role=None,
                version=None,
                model=None,
                engine_model=None,
                failure=Failure("refused", "connection refused by 127.0.0.1:8002"),
                age_seconds=418.0,
                restarts=2,
            ),
        ),
        events=(
            *before.events,
            event(418, "down", "vllm-8002", "nothing listens on that address"),
            event(212, "gpu_lost", "GPU 5", "XID 79: fallen off the bus"),
            event(95, "burning", LLAMA, "TTFT below 1 s, page"),
        ),
    )
    return replace(value, **changes)


def not_measured(**changes: Any) -> Snapshot:
    """One engine that gives nothing, on a machine whose driver we may not ask."""
    failure = Failure("no_permission", "the driver answered: insufficient permissions")
    view = model(
        "gemma-3-27b",
        state="not_measured",
        reason="its engine has not answered since the agent started",
        running=None,
        waiting=None,
        kv_cache_used_ratio=None,
        generated_tokens_per_second=None,
        prompt_tokens_per_second=None,
        requests_per_second=None,
        error_ratio_lower=None,
        error_ratio_upper=None,
        latencies={},
        dollars_per_million_tokens=None,
        joules_per_token=None,
        requests={},
        tokens={},
        history=(),
    )
    down = target(
        is_up=False,
        is_stalled=None,
        failure=Failure("timeout", "no answer in 2 s"),
        age_seconds=None,
    )
    value = empty(
        models=(view,),
        targets=(down,),
        sources=(
            source("gpus", is_up=False, failure=failure, age_seconds=None),
            source("processes", is_up=False, failure=Failure("disabled", "switched off")),
        ),
    )
    return replace(value, **changes)


def simulated(**changes: Any) -> Snapshot:
    """The burning node, marked as not real."""
    return burning(**{"is_simulated": True, "node": "simulated-node", **changes})


def hostile() -> Snapshot:
    """Names and texts from outside that try to be markup, wherever a name can be."""
    text = HOSTILE
    share = Share(text, text, text, "busy", text)
    view = model(
        text,
        targets=(text,),
        engines=(text,),
        state="burning",
        reason=text,
        not_available={text: text},
    )
    failed = gpu(1, None, name=text, uuid=text, failure=Failure("driver", text))
    slo = objective("errors", name=text, match=(("model", text),))
    return empty(
        node=text,
        version=text,
        models=(view,),
        targets=(
            target(
                text,
                url=f"javascript:{text}",
                engine=text,
                role=text,
                version=text,
                model=text,
                engine_model=text,
                origin=text,
                is_up=False,
                failure=Failure("http", text),
                unknown_families=(text,),
            ),
        ),
        gpus=(gpu(0, share, name=text, uuid=text), failed),
        sources=(source(text, is_up=False, failure=Failure(text, text)),),
        burns=(
            burn(text, (20.0,) * 6, objective=slo, state="burning", reason=text, severity=text),
        ),
        spends={share: Spend(1.0, None, None)},
        counters={Key(text, (("model", text),)): float("nan")},
        gauges={Key(text, ()): float("inf")},
        events=(event(1, text, text, text),),
        health=replace(HEALTH, limits_reached={text: 3}),
    )


ALL = {
    "good": good,
    "burning": burning,
    "not_measured": not_measured,
    "empty": empty,
    "simulated": simulated,
    "hostile": hostile,
}
"""Name -> maker, for tests that hold in every state."""
