"""Snapshot -> the text of /metrics.

Every family is built anew from the Snapshot, so what is gone vanishes. Names, kinds, labels and
help come from the catalogue; a value that is None is not written. Surprising: prometheus-client
only judges the page in tests, and does not write it. It took two thirds of a tick, for it makes
the text of each series anew, and that text is the same at every tick.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Final

from burnmeter import catalog
from burnmeter.model import Burn, GpuView, Histogram, Labels, Snapshot, SourceView, TargetView

Row = tuple[str, Labels, float | Histogram | None]
"""Metric's name, labels, value."""
SIMULATED: Final = (("simulated", "true"),)
SERIES_REMEMBERED: Final = 20_000
"""Texts that are kept, a few hundred bytes each; beyond it they are made anew."""


def render(snapshot: Snapshot) -> bytes:
    """The page in text format 0.0.4. A simulated node says so on every series."""
    extra = SIMULATED if snapshot.is_simulated else ()
    families: dict[str, list[str]] = {}
    for name, labels, value in rows(snapshot):
        if value is None:
            continue
        lines = families.setdefault(name, [])
        if isinstance(value, Histogram):
            lines += _histogram(name, labels + extra, value)
        else:
            lines.append(f"{_series(name, labels + extra)} {number(value)}\n")
    texts = [
        text
        for name in catalog.metrics()
        if name in families
        for text in (_head(name), *families[name])
    ]
    # One name that has no bytes in UTF-8 costs a letter, and not the page.
    return "".join(texts).encode("utf-8", "replace")


def _histogram(name: str, labels: Labels, value: Histogram) -> Iterator[str]:
    counts = (*value.counts, value.total)
    for bucket, count in zip(_buckets(name, labels, value.bounds), counts, strict=True):
        yield f"{bucket} {number(count)}\n"
    yield f"{_series(f'{name}_count', labels)} {number(value.total)}\n"
    if value.sum is not None:
        yield f"{_series(f'{name}_sum', labels)} {number(value.sum)}\n"


@lru_cache(maxsize=SERIES_REMEMBERED)
def _series(name: str, labels: Labels) -> str:
    if not labels:
        return name
    pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in sorted(labels))
    return f"{name}{{{pairs}}}"


@lru_cache(maxsize=SERIES_REMEMBERED // 10)
def _buckets(name: str, labels: Labels, bounds: tuple[float, ...]) -> tuple[str, ...]:
    texts = (*(repr(bound) for bound in bounds), "+Inf")
    return tuple(_series(f"{name}_bucket", (*labels, ("le", text))) for text in texts)


def number(value: float) -> str:
    """As the text format writes it: all digits, and words of its own for what has none."""
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@cache
def _head(name: str) -> str:
    metric = catalog.metrics()[name]
    return f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n"


def _of(**labels: str) -> Labels:
    return tuple(labels.items())


def rows(snapshot: Snapshot) -> Iterator[Row]:
    """Everything that leaves, in catalogue names."""
    for values in (snapshot.counters, snapshot.histograms, snapshot.gauges):
        for key, value in values.items():
            yield catalog.PREFIX + key.measure, key.labels, value
    for target in snapshot.targets:
        yield from _target(target)
    for burn in snapshot.burns:
        yield from _slo(burn)
    for gpu in snapshot.gpus:
        yield from _gpu(gpu)
    yield from _money(snapshot)
    for source in snapshot.sources:
        yield from _source(source)
    yield from _agent(snapshot)


def _target(view: TargetView) -> Iterator[Row]:
    who = _of(target=view.target)
    said = who + _of(engine=view.engine or "", model=view.model or "")
    yield "burnmeter_target_up", said, float(view.is_up)
    if view.is_stalled is not None:
        yield "burnmeter_target_stalled", said, float(view.is_stalled)
    if view.failure is not None:
        yield "burnmeter_target_failure", who + _of(kind=view.failure.kind), 1.0
    info = _of(
        role=view.role or "",
        version=view.version or "",
        engine_model=view.engine_model or "",
        origin=view.origin,
    )
    yield "burnmeter_target_info", said + info, 1.0
    yield "burnmeter_target_read_duration_seconds", who, view.duration_seconds
    yield "burnmeter_target_age_seconds", who, view.age_seconds
    yield "burnmeter_target_page_bytes", who, float(view.body_bytes)
    yield "burnmeter_target_restarts_total", who, float(view.restarts)
    yield "burnmeter_target_unknown_families", who, float(len(view.unknown_families))


STATES: Final = ("good", "burning", "not_measured")


def _slo(burn: Burn) -> Iterator[Row]:
    who = _of(slo=burn.objective.name, model=burn.model)
    whose = who + _of(indicator=burn.objective.indicator)
    lower, upper = _of(bound="lower"), _of(bound="upper")
    yield "burnmeter_slo_valid_total", whose, burn.total.valid
    yield "burnmeter_slo_good_total", whose + lower, burn.total.good_lower
    yield "burnmeter_slo_good_total", whose + upper, burn.total.good_upper
    yield "burnmeter_slo_objective_ratio", whose, burn.objective.objective_ratio
    for window in burn.windows:
        span = who + _of(window=duration(window.seconds))
        yield "burnmeter_slo_burn_ratio", span + lower, window.burn_lower
        yield "burnmeter_slo_burn_ratio", span + upper, window.burn_upper
    yield "burnmeter_slo_budget_left_ratio", who, burn.budget_left_ratio
    yield "burnmeter_slo_covered_ratio", who, burn.covered_ratio
    for state in STATES:
        yield "burnmeter_slo_state", who + _of(state=state), float(burn.state == state)


def duration(seconds: float) -> str:
    """A window as Prometheus writes it: `5m`, `6h`, `3d`."""
    for size, letter in ((86400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds % size == 0:
            return f"{seconds / size:g}{letter}"
    return f"{seconds:g}s"


GPU_GAUGES: Final[dict[str, Callable[[GpuView], float | None]]] = {
    "burnmeter_gpu_utilisation_ratio": lambda view: view.gpu.utilisation_ratio,
    "burnmeter_gpu_memory_used_bytes": lambda view: view.gpu.memory_used_bytes,
    "burnmeter_gpu_memory_total_bytes": lambda view: view.gpu.memory_total_bytes,
    "burnmeter_gpu_power_watts": lambda view: view.gpu.power_watts,
    "burnmeter_gpu_power_limit_watts": lambda view: view.gpu.power_limit_watts,
    "burnmeter_gpu_energy_joules_total": lambda view: view.energy_joules,
    "burnmeter_gpu_temperature_celsius": lambda view: view.gpu.temperature_celsius,
    "burnmeter_gpu_sm_clock_hertz": lambda view: view.gpu.sm_clock_hertz,
    "burnmeter_gpu_memory_clock_hertz": lambda view: view.gpu.memory_clock_hertz,
    "burnmeter_gpu_price_dollars_per_hour": lambda view: view.dollars_per_hour,
}


def _gpu(view: GpuView) -> Iterator[Row]:
    which = _of(gpu=view.gpu.uuid, index=str(view.gpu.index))
    yield "burnmeter_gpu_up", which, float(view.gpu.failure is None)
    yield "burnmeter_gpu_info", which + _of(name=view.gpu.name), 1.0
    for name, value in GPU_GAUGES.items():
        yield name, which, value(view)
    for code, times in view.xid_totals.items():
        yield "burnmeter_gpu_xid_total", which + _of(code=str(code)), float(times)


def _money(snapshot: Snapshot) -> Iterator[Row]:
    for share, spend in snapshot.spends.items():
        labels = _of(**share._asdict())
        yield "burnmeter_gpu_seconds_total", labels, spend.gpu_seconds
        yield "burnmeter_energy_joules_total", labels, spend.joules
        yield "burnmeter_cost_dollars_total", labels, spend.dollars


def _source(view: SourceView) -> Iterator[Row]:
    kind = view.failure.kind if view.failure else ""
    yield "burnmeter_source_up", _of(source=view.source, kind=kind), float(view.is_up)
    yield "burnmeter_source_duration_seconds", _of(source=view.source), view.duration_seconds
    yield "burnmeter_source_age_seconds", _of(source=view.source), view.age_seconds


def _agent(snapshot: Snapshot) -> Iterator[Row]:
    health = snapshot.health
    yield "burnmeter_build_info", _of(version=snapshot.version), 1.0
    yield "burnmeter_snapshot_timestamp_seconds", (), snapshot.timestamp_seconds
    yield "burnmeter_ticks_total", (), float(health.ticks)
    yield "burnmeter_late_ticks_total", (), float(health.late_ticks)
    yield "burnmeter_failed_ticks_total", (), float(health.failed_ticks)
    yield "burnmeter_tick_duration_seconds", (), health.tick_duration_seconds
    yield "burnmeter_agent_cpu_seconds_total", (), health.cpu_seconds
    yield "burnmeter_agent_memory_bytes", (), health.memory_bytes
    for limit, times in health.limits_reached.items():
        yield "burnmeter_limit_reached_total", _of(limit=limit), float(times)
