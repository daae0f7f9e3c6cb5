"""Example Snapshots for what is shown to people: one node in each of the states it can be in.

The numbers are those of an 8-GPU node at 09:26:40 UTC; they agree with each other where a reader
would compare them.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from burnmeter.model import (
    Burn,
    Failure,
    Figure,
    GpuInstance,
    GpuProcess,
    Histogram,
    Key,
    Share,
    Spend,
)
from burnmeter.snapshot import GpuView, ModelView, Snapshot, TargetView, XidView
from tests.snapshot_parts import (
    GIB,
    HEALTH,
    LLAMA,
    MISTRAL,
    NOW,
    QWEN,
    alertmanager,
    burn,
    event,
    gpu,
    held,
    history,
    latency,
    model,
    objective,
    source,
    target,
)

HOSTILE: Final = "<script>alert(1)</script>\"quoted\" 'name'\nsecond line & more"


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
        node_spend=Spend(0.0, None, None),
        counters={},
        histograms={},
        gauges={},
        events=(),
        health=HEALTH,
    )
    return replace(value, **changes)


def _spends(gpus: tuple[GpuView, ...]) -> dict[Share, Spend]:
    spends: dict[Share, Spend] = {}
    for view in gpus:
        for share in view.shares:
            spends[share] = Spend(8900.0, 4.9e6, 8900.0 / 3600 * 2.99)
            if share.model:
                idle = share._replace(state="idle")
                spends[idle] = Spend(2500.0, 0.4e6, 2500.0 / 3600 * 2.99)
    return spends


def _sum(spends: dict[Share, Spend]) -> Spend:
    """What all of them come to; of these nothing is unknown."""
    found = spends.values()
    return Spend(
        sum(one.gpu_seconds for one in found),
        sum(one.joules or 0.0 for one in found),
        sum(one.dollars or 0.0 for one in found),
    )


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
    counted = (("engine", "vllm"), ("model", LLAMA), ("target", "vllm-8000"))
    tokens = (counted[0], ("kind", "generated"), *counted[1:])
    value = empty(
        models=(
            model(revenue_dollars=58.4, revenue_dollars_per_hour=18.7),
            model(
                QWEN,
                targets=("sglang-30000",),
                engines=("sglang",),
                history=history(980, 0.1, 0.1),
                generated_tokens_per_second=981.0,
                dollars_per_million_tokens=1.69,
                joules_per_token=1.15,
                cost_dollars=18.94,
                cost_dollars_per_hour=5.98,
            ),
            model(
                MISTRAL,
                targets=("vllm-8001",),
                history=history(430, 0.05, 0.0),
                generated_tokens_per_second=432.0,
                waiting=None,
                dollars_per_million_tokens=1.92,
                joules_per_token=1.26,
                cost_dollars=9.47,
                cost_dollars_per_hour=2.99,
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
        counters={Key("tokens_total", tokens): 10_113_870.0},
        histograms={Key("ttft_seconds", counted): Histogram((0.5, 1.0), (3.0, 4.0), 5.0, 2.2)},
        gauges={Key("running_requests", counted): 37.0},
        events=(
            event(9000, "up", "vllm-8000", "answers again"),
            event(4100, "restart", "vllm-8001", "counters began anew; nothing was lost", MISTRAL),
        ),
    )
    spends = _spends(value.gpus)
    value = replace(value, spends=spends, node_spend=_sum(spends))
    return replace(value, **changes)


def _burning_model() -> ModelView:
    return model(
        state="burning",
        reason="TTFT below 1 s burns 16.8 times too fast over 1 h and 31.5 times over 5 min",
        waiting=212.0,
        running=128.0,
        kv_cache_used_ratio=0.9973,
        latencies={**model().latencies, "ttft": latency(5.0, None), "queue": latency(5.0, 10.0)},
        dollars_per_million_tokens=2.94,
        joules_per_token=2.11,
        generated_tokens_per_second=1130.0,
        error_ratio_lower=0.012,
        error_ratio_upper=0.034,
        history=history(1130, 0.25, 0.6, rise=31.0),
    )


def _model_without_latencies() -> ModelView:
    past = history(61)
    return model(
        MISTRAL,
        targets=("llamacpp-8081",),
        engines=("llamacpp",),
        state="not_measured",
        reason="the engine has no latency histograms; add a probe to measure TTFT",
        generated_tokens_per_second=61.0,
        prompt_tokens_per_second=240.0,
        requests_per_second=None,
        running=1.0,
        waiting=0.0,
        kv_cache_used_ratio=None,
        error_ratio_lower=None,
        error_ratio_upper=None,
        latencies={},
        dollars_per_million_tokens=13.6,
        joules_per_token=None,
        cost_dollars_per_hour=2.99,
        not_available={
            "ttft": "llama.cpp counts seconds and tokens, not single requests",
            "requests": "llama.cpp does not count outcomes",
        },
        history=tuple(
            p._replace(ttft_p95_upper_seconds=None, burn_lower=None, burn_upper=None) for p in past
        ),
    )


def _burning_burns() -> tuple[Burn, ...]:
    return (
        burn(
            LLAMA,
            (31.5, 22.0, 16.8, 4.1, 1.3, None),
            state="burning",
            reason="burns 16.8 times too fast over 1 h and 31.5 times over 5 min",
            severity="page",
            budget_left_ratio=-0.08,
        ),
        burn(LLAMA, (1.2, 1.4, 1.9, 0.7, 0.3, None), objective=objective("errors")),
        burn(QWEN, (0.1, 0.1, 0.1, 0.1, 0.1, None), budget_left_ratio=0.98),
        burn(
            MISTRAL,
            (None,) * 6,
            state="not_measured",
            reason="the engine has no latency histograms",
            budget_left_ratio=None,
            covered_ratio=0.0,
            measured_seconds=0.0,
        ),
    )


def _lost_gpu() -> GpuView:
    return gpu(
        5,
        utilisation_ratio=None,
        memory_used_bytes=None,
        memory_total_bytes=None,
        power_watts=None,
        power_limit_watts=None,
        energy_joules=None,
        temperature_celsius=None,
        sm_clock_hertz=None,
        memory_clock_hertz=None,
        processes=None,
        recovery_action=None,
        gauges=(),
        failure=Failure("gone", "GPU is lost (NVML_ERROR_GPU_IS_LOST)"),
        xid_counts={79: 1},
    )


def _hot_gpu() -> GpuView:
    hot = gpu(3, held(3, LLAMA), temperature_celsius=91.0, sm_clock_hertz=1.1e9)
    return replace(hot, throttled_by=("hardware_thermal", "software_thermal"))


def _worn_gpu() -> GpuView:
    """It still works; its memory may not for long."""
    return gpu(4, held(4, QWEN), xid_counts={64: 2}, recovery_action="drain_and_reset")


def _divided_gpu() -> GpuView:
    """Two MIG instances, one held by a model."""
    shares = held(7, QWEN, method="mig_slices"), held(7, "", "unattributed", "none")
    halves = (("MIG-7a", "4g.40gb", 31.5, 4 / 7), ("MIG-7b", "3g.40gb", 0.0, 3 / 7))
    return gpu(
        7,
        *shares,
        utilisation_ratio=None,
        memory_used_bytes=31.6 * GIB,
        power_watts=203.0,
        processes=(GpuProcess(pid=4107, memory_bytes=31.5 * GIB, instance="MIG-7a"),),
        gauges=(
            Figure("gpu_sm_active_ratio", (("mig", "MIG-7a"),), 0.44),
            Figure("gpu_temperature_limit_celsius", (("limit", "slowdown"),), 87.0),
        ),
        instances=tuple(
            GpuInstance(
                uuid=uuid,
                name=f"NVIDIA H100 80GB HBM3 MIG {profile}",
                compute_ratio=ratio,
                memory_used_bytes=used * GIB,
                memory_total_bytes=39.5 * GIB,
            )
            for uuid, profile, used, ratio in halves
        ),
    )


def _dead_target() -> TargetView:
    return target(
        "vllm-8002",
        url="http://127.0.0.1:8002/metrics",
        is_up=False,
        is_stalled=None,
        engine=None,
        role=None,
        version=None,
        model=None,
        engine_model=None,
        failure=Failure("refused", "connection refused by 127.0.0.1:8002"),
        is_down=True,
        age_seconds=418.0,
        restarts=2,
    )


def burning(**changes: Any) -> Snapshot:
    """The same node at 3 am: one model burns, one cannot be measured, and GPUs are in trouble.

    Of these one is lost, one too hot, one must be reset soon; and one is divided.
    """
    before = good()
    shared = gpu(6, held(6, MISTRAL, "idle", "equal"), utilisation_ratio=0.0)
    value = replace(
        before,
        models=(_burning_model(), before.models[1], _model_without_latencies()),
        burns=_burning_burns(),
        gpus=(*before.gpus[:3], _hot_gpu(), _worn_gpu(), _lost_gpu(), shared, _divided_gpu()),
        targets=(
            target(),
            before.targets[2],
            target("llamacpp-8081", engine="llamacpp", version=None, model=MISTRAL),
            _dead_target(),
        ),
        events=(
            *before.events,
            event(418, "down", "vllm-8002", "nothing listens on that address"),
            event(340, "xid", "gpu 4", "XID 64, memory row not retired", QWEN),
            event(340, "recovery", "gpu 4", "the driver asks: give it no new work", QWEN),
            event(212, "gpu_lost", "gpu 5", "XID 79: fallen off the bus", QWEN),
            event(120, "throttled", "gpu 3", "clocks are held down: hardware thermal", LLAMA),
            event(95, "burning", LLAMA, "TTFT below 1 s, page", LLAMA),
        ),
        alertmanagers=(alertmanager(),),
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
        cost_dollars=None,
        cost_dollars_per_hour=None,
        signature=None,
        requests={},
        tokens={},
        history=(),
    )
    down = target(
        model="gemma-3-27b",
        engine_model="google/gemma-3-27b-it",
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
    failed = gpu(1, name=text, uuid=text, failure=Failure("driver", text))
    slo = objective("errors", name=text, match=(("model", text),))
    counted = (("engine", text), ("model", text), ("target", text))
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
        counters={Key("preemptions_total", counted): float("nan")},
        gauges={Key("kv_cache_used_ratio", counted): float("inf")},
        events=(event(1, text, text, text),),
        health=replace(HEALTH, limits_reached={text: 3}),
        alertmanagers=(alertmanager(url=text, is_up=False, failure=Failure("http", text)),),
    )


def moved(snapshot: Snapshot, timestamp_seconds: float) -> Snapshot:
    """The same node at another time: all that is told by how long ago it was stays so."""
    by = timestamp_seconds - snapshot.timestamp_seconds

    def later(xid: XidView) -> XidView:
        return replace(xid, last_timestamp_seconds=(xid.last_timestamp_seconds or 0.0) + by)

    return replace(
        snapshot,
        timestamp_seconds=timestamp_seconds,
        started_timestamp_seconds=snapshot.started_timestamp_seconds + by,
        events=tuple(
            replace(one, timestamp_seconds=one.timestamp_seconds + by) for one in snapshot.events
        ),
        gpus=tuple(replace(view, xids=tuple(map(later, view.xids))) for view in snapshot.gpus),
    )


ALL: Final[dict[str, Callable[[], Snapshot]]] = {
    "good": good,
    "burning": burning,
    "not_measured": not_measured,
    "empty": empty,
    "simulated": simulated,
    "hostile": hostile,
}
"""Name -> maker, for tests that hold in every state."""
