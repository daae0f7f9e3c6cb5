"""Snapshot -> the text of /metrics, through prometheus-client and a registry of our own.

Every family is built anew from the Snapshot, so what is gone vanishes. Names, kinds, labels and
help come from the catalogue; a value that is None is not written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from burnmeter import catalog
from burnmeter.model import Burn, GpuInstance, Histogram
from burnmeter.snapshot import GpuView, Signature, Snapshot, SourceView, TargetView, XidView

Labels = Mapping[str, str]
Row = tuple[str, Labels, float | Histogram | None]
"""Metric's name, labels, value."""


def render(snapshot: Snapshot) -> bytes:
    """The page in text format 0.0.4. A simulated node says so on every series."""
    extra = {"simulated": "true"} if snapshot.is_simulated else {}
    families: dict[str, Metric] = {}
    for name, labels, value in rows(snapshot):
        if value is not None:
            if name not in families:
                families[name] = _family(name, extra)
            _add(families[name], catalog.metrics()[name], {**labels, **extra}, value)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([families[name] for name in catalog.metrics() if name in families]))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _family(name: str, extra: Labels) -> Metric:
    metric = catalog.metrics()[name]
    kind = {
        "counter": CounterMetricFamily,
        "gauge": GaugeMetricFamily,
        "histogram": HistogramMetricFamily,
    }[metric.kind]
    found: Metric = kind(name, metric.help, labels=[*metric.labels, *extra])
    return found


def _add(family: Metric, metric: catalog.Metric, labels: Labels, value: float | Histogram) -> None:
    simulated = ("simulated",) if "simulated" in labels else ()
    values = [_encodable(labels.get(name, "")) for name in (*metric.labels, *simulated)]
    if isinstance(value, Histogram):
        assert isinstance(family, HistogramMetricFamily), "the catalogue gives the kind"
        pairs = zip(value.bounds, value.counts, strict=True)
        buckets = [(repr(bound), count) for bound, count in pairs]
        family.add_metric(values, [*buckets, ("+Inf", value.total)], value.sum)
    else:
        assert isinstance(family, CounterMetricFamily | GaugeMetricFamily), "as above"
        family.add_metric(values, value)


def _encodable(text: str) -> str:
    """The text, with `?` for what UTF-8 has no bytes for: one odd name must not cost the page."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def rows(snapshot: Snapshot) -> Iterator[Row]:
    """Everything that leaves, in catalogue names."""
    for values in (snapshot.counters, snapshot.histograms, snapshot.gauges):
        for key, value in values.items():
            yield catalog.PREFIX + key.measure, dict(key.labels), value
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
    who = {"target": view.target}
    # What is so of a target is so of all its models: of several none is named, and info has them.
    only = next(iter(view.models)) if len(view.models) == 1 else ""
    said = {**who, "engine": view.engine or "", "model": only}
    if view.failure is None or view.failure.kind != "disabled":
        yield "burnmeter_target_up", said, float(view.is_up)
    if view.is_stalled is not None:
        yield "burnmeter_target_stalled", said, float(view.is_stalled)
    yield "burnmeter_target_stale", said, float(view.is_stale)
    if view.is_ill is not None:
        yield "burnmeter_target_ill", said, float(view.is_ill)
    if view.failure is not None:
        yield "burnmeter_target_failure", {**who, "kind": view.failure.kind}, 1.0
    info = {
        **said,
        "role": view.role or "",
        "vantage": view.vantage or "",
        "version": view.version or "",
        "origin": view.origin,
    }
    for model, words in (view.models or {"": ""}).items():
        yield "burnmeter_target_info", {**info, "model": model, "engine_model": words}, 1.0
    yield "burnmeter_target_read_duration_seconds", who, view.duration_seconds
    yield "burnmeter_target_age_seconds", who, view.age_seconds
    yield "burnmeter_target_page_bytes", who, float(view.body_bytes)
    yield "burnmeter_target_restarts_total", who, float(view.restarts)
    yield "burnmeter_target_unknown_families", who, float(len(view.unknown_families))


STATES: Final = ("good", "burning", "not_measured")


def _slo(burn: Burn) -> Iterator[Row]:
    who = {"slo": burn.objective.name, "model": burn.model}
    whose = {**who, "indicator": burn.objective.indicator}
    for source, tally in burn.tallies.items():
        by = {**whose, "source": source}
        yield "burnmeter_slo_valid_total", by, tally.valid
        yield "burnmeter_slo_good_total", {**by, "bound": "lower"}, tally.good_lower
        yield "burnmeter_slo_good_total", {**by, "bound": "upper"}, tally.good_upper
    if burn.source is not None:
        yield "burnmeter_slo_source_info", {**whose, "source": burn.source}, 1.0
    yield "burnmeter_slo_objective_ratio", whose, burn.objective.objective_ratio
    for window in burn.windows:
        span = {**who, "window": duration(window.seconds)}
        yield "burnmeter_slo_burn_ratio", {**span, "bound": "lower"}, window.burn_lower
        yield "burnmeter_slo_burn_ratio", {**span, "bound": "upper"}, window.burn_upper
    left = "burnmeter_slo_budget_left_ratio"
    yield left, {**who, "bound": "lower"}, burn.budget_left_ratio
    yield left, {**who, "bound": "upper"}, burn.budget_left_upper_ratio
    yield "burnmeter_slo_covered_ratio", who, burn.covered_ratio
    yield "burnmeter_slo_measured_seconds_total", who, burn.measured_seconds
    yield "burnmeter_slo_watched_seconds_total", who, burn.watched_seconds
    for state in STATES:
        yield "burnmeter_slo_state", {**who, "state": state}, float(burn.state == state)


def duration(seconds: float) -> str:
    """A window as Prometheus writes it: `5m`, `6h`, `3d`."""
    for size, letter in ((86400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds % size == 0:
            return f"{seconds / size:g}{letter}"
    return f"{seconds:g}s"


GPU_GAUGES: Final[dict[str, Callable[[GpuView], float | None]]] = {
    "burnmeter_gpu_utilisation_ratio": lambda view: view.gpu.utilisation_ratio,
    "burnmeter_gpu_utilisation_min_ratio": lambda view: view.gpu.utilisation_min_ratio,
    "burnmeter_gpu_utilisation_max_ratio": lambda view: view.gpu.utilisation_max_ratio,
    "burnmeter_gpu_memory_used_bytes": lambda view: view.gpu.memory_used_bytes,
    "burnmeter_gpu_memory_total_bytes": lambda view: view.gpu.memory_total_bytes,
    "burnmeter_gpu_memory_bandwidth_bytes_per_second": lambda view: (
        view.gpu.memory_bandwidth_bytes_per_second
    ),
    "burnmeter_gpu_power_watts": lambda view: view.gpu.power_watts,
    "burnmeter_gpu_power_min_watts": lambda view: view.gpu.power_min_watts,
    "burnmeter_gpu_power_max_watts": lambda view: view.gpu.power_max_watts,
    "burnmeter_gpu_power_window_seconds": lambda view: view.gpu.power_window_seconds,
    "burnmeter_gpu_power_limit_watts": lambda view: view.gpu.power_limit_watts,
    "burnmeter_gpu_energy_joules_total": lambda view: view.energy_joules,
    "burnmeter_gpu_temperature_celsius": lambda view: view.gpu.temperature_celsius,
    "burnmeter_gpu_sm_clock_hertz": lambda view: view.gpu.sm_clock_hertz,
    "burnmeter_gpu_memory_clock_hertz": lambda view: view.gpu.memory_clock_hertz,
    "burnmeter_gpu_price_dollars_per_hour": lambda view: view.dollars_per_hour,
}


def _gpu(view: GpuView) -> Iterator[Row]:
    which = {"gpu": view.gpu.uuid, "index": str(view.gpu.index)}
    yield "burnmeter_gpu_up", which, None if view.is_up is None else float(view.is_up)
    yield "burnmeter_gpu_info", {**which, "name": view.gpu.name}, 1.0
    for name, value in GPU_GAUGES.items():
        yield name, which, value(view)
    for figure in (*view.gpu.gauges, *view.meters):
        yield catalog.PREFIX + figure.measure, {**which, **dict(figure.labels)}, figure.value
    for instance in view.gpu.instances or ():
        yield from _instance(which, instance)
    if view.gpu.recovery_action is not None:
        yield "burnmeter_gpu_recovery_info", {**which, "action": view.gpu.recovery_action}, 1.0
    for xid in view.xids:
        yield from _xid({**which, "code": str(xid.code)}, xid)


def _instance(which: Labels, instance: GpuInstance) -> Iterator[Row]:
    ours = {**which, "mig": instance.uuid}
    prefix = "burnmeter_gpu_instance_"
    yield f"{prefix}info", {**ours, "name": instance.name}, 1.0
    yield f"{prefix}compute_ratio", ours, instance.compute_ratio
    yield f"{prefix}memory_used_bytes", ours, instance.memory_used_bytes
    yield f"{prefix}memory_total_bytes", ours, instance.memory_total_bytes


def _xid(which: Labels, xid: XidView) -> Iterator[Row]:
    yield "burnmeter_gpu_xid_total", which, float(xid.times)
    yield "burnmeter_gpu_xid_last_timestamp_seconds", which, xid.last_timestamp_seconds
    said = {"meaning": xid.name, "action": xid.action, "severity": xid.severity}
    yield "burnmeter_gpu_xid_info", {**which, **said}, 1.0


FACTORS: Final = {
    "dollars per GPU-second": ("price_dollars_per_second", ("model",)),
    "watts": ("power_watts", ("model",)),
    "ratio": ("factor_ratio", ("model", "factor", "how")),
    "GPU-seconds per token": ("seconds_per_token", ("model", "factor", "how")),
}
"""Unit of a factor of a signature -> the rest of its metric's name, and its labels."""


def _signature(model: str, found: Signature) -> Iterator[Row]:
    for factor in (*found.dollars, *found.joules[:1]) if found.dollars else found.joules:
        name, labels = FACTORS[factor.unit]
        said = {"model": model, "factor": factor.name, "how": factor.how}
        yield f"burnmeter_signature_{name}", {label: said[label] for label in labels}, factor.value


def _money(snapshot: Snapshot) -> Iterator[Row]:
    for share, spend in snapshot.spends.items():
        labels = share._asdict()
        yield "burnmeter_gpu_seconds_total", labels, spend.gpu_seconds
        yield "burnmeter_energy_joules_total", labels, spend.joules
        yield "burnmeter_cost_dollars_total", labels, spend.dollars
    for view in snapshot.models:
        if view.signature is not None:
            yield from _signature(view.model, view.signature)
    if snapshot.gpus:
        yield "burnmeter_node_gpu_seconds_total", {}, snapshot.node_spend.gpu_seconds
        yield "burnmeter_node_energy_joules_total", {}, snapshot.node_spend.joules
        yield "burnmeter_node_cost_dollars_total", {}, snapshot.node_spend.dollars


def _source(view: SourceView) -> Iterator[Row]:
    kind = view.failure.kind if view.failure else ""
    yield "burnmeter_source_up", {"source": view.source, "kind": kind}, float(view.is_up)
    yield "burnmeter_source_duration_seconds", {"source": view.source}, view.duration_seconds
    yield "burnmeter_source_age_seconds", {"source": view.source}, view.age_seconds


def _agent(snapshot: Snapshot) -> Iterator[Row]:
    health = snapshot.health
    yield "burnmeter_build_info", {"version": snapshot.version}, 1.0
    yield "burnmeter_snapshot_timestamp_seconds", {}, snapshot.timestamp_seconds
    yield "burnmeter_ticks_total", {}, float(health.ticks)
    yield "burnmeter_late_ticks_total", {}, float(health.late_ticks)
    yield "burnmeter_failed_ticks_total", {}, float(health.failed_ticks)
    yield "burnmeter_tick_duration_seconds", {}, health.tick_duration_seconds
    yield "burnmeter_agent_cpu_seconds_total", {}, health.cpu_seconds
    yield "burnmeter_agent_memory_bytes", {}, health.memory_bytes
    for question, seconds in health.nvml_seconds.items():
        yield "burnmeter_nvml_seconds_total", {"question": question}, seconds
    if health.nvml_seconds:
        yield "burnmeter_nvml_put_off_total", {}, float(health.nvml_put_off)
    for limit, times in health.limits_reached.items():
        yield "burnmeter_limit_reached_total", {"limit": limit}, float(times)
