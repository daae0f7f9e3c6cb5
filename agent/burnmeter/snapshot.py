"""The Snapshot: all that leaves burnmeter at one tick, frozen. No behaviour; see model.py.

Every outlet is a view of it. Names are those of the JSON (export/README.md), units are base units,
None means "not known".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from burnmeter.model import Burn, Failure, Figure, Gpu, Histogram, Key, Share, Spend


class Quantile(NamedTuple):
    """A quantile known only within its bucket. `upper_seconds` None: above the last bound."""

    lower_seconds: float
    upper_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """One latency measure over the recent window."""

    count: float
    mean_seconds: float | None
    quantiles: Mapping[str, Quantile]
    """p50, p90, p95, p99."""


class Point(NamedTuple):
    """One moment of a model's recent past, for small charts. None: not measured."""

    timestamp_seconds: float
    generated_tokens_per_second: float | None
    ttft_p95_upper_seconds: float | None
    error_ratio: float | None
    burn_lower: float | None
    """Of the objective that burns most over its shortest window: certain."""
    burn_upper: float | None
    """Likewise: what cannot be ruled out."""


class GpuPoint(NamedTuple):
    """One moment of a GPU's recent past, for small charts. None: not measured."""

    timestamp_seconds: float
    utilisation_ratio: float | None
    power_watts: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """One model as a gateway or a probe sees it."""

    targets: tuple[str, ...]
    latencies: Mapping[str, Latency]
    requests: Mapping[str, float]
    """As ModelView has them."""
    tokens: Mapping[str, float]


class Factor(NamedTuple):
    """One factor of what a token costs."""

    name: str
    """price or power; unknown, idle, prefill, stack, batch; and model, work or time."""
    value: float
    unit: str
    """`dollars per GPU-second`, `watts`, `GPU-seconds per token`; of the others, which say how many
    times more a token costs by them, `ratio`."""
    how: str
    """measured, given (somebody said so) or assumed."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a model's tokens cost, as products, over the recent window."""

    dollars: tuple[Factor, ...]
    """Their product is dollars per generated token; empty: the cost is not known."""
    joules: tuple[Factor, ...]
    """Likewise of joules."""
    notes: tuple[str, ...] = ()
    """What the assumed factors go by, and why others are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """One model on this node, over the recent window of `recent_seconds`."""

    model: str
    targets: tuple[str, ...]
    engines: tuple[str, ...]
    state: str
    """good, burning or not_measured: the worst of its objectives."""
    reason: str
    recent_seconds: float
    running: float | None
    waiting: float | None
    kv_cache_used_ratio: float | None
    generated_tokens_per_second: float | None
    prompt_tokens_per_second: float | None
    requests_per_second: float | None
    error_ratio_lower: float | None
    error_ratio_upper: float | None
    latencies: Mapping[str, Latency]
    """ttft, itl, tpot, duration, queue, prefill, decode; absent if nobody can say. Each is from
    the first vantage that has it: engine, gateway, probe."""
    dollars_per_million_tokens: float | None
    """Recent: dollars of its GPUs, busy and idle, over generated tokens."""
    joules_per_token: float | None
    cost_dollars: float | None
    revenue_dollars: float | None
    """Both since the agent started; None: not known, or no price is set for its tokens."""
    cost_dollars_per_hour: float | None
    revenue_dollars_per_hour: float | None
    """The same, lately."""
    signature: Signature | None
    """Why a token costs what it does. None: none was generated lately, or no GPU is known."""
    requests: Mapping[str, float]
    """Outcome -> count since first sight, at least; `error_upper`: at most, where that differs."""
    tokens: Mapping[str, float]
    """Kind -> count since first sight."""
    not_available: Mapping[str, str]
    seen_from: Mapping[str, str] = field(default_factory=dict)
    """What is not from the engine itself (tokens, requests, errors, a latency) -> its vantage."""
    elsewhere: Mapping[str, Elsewhere] = field(default_factory=dict)
    """Vantage other than the engine -> the same requests as seen there. Never added."""
    history: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """One engine endpoint: is it there, and how do we know."""

    target: str
    url: str
    origin: str
    engine: str | None
    role: str | None
    vantage: str | None
    version: str | None
    model: str | None
    engine_model: str | None
    """The engine's own word for the model."""
    models: Mapping[str, str]
    """Each model that it serves -> the engine's own words for it; "" if it has none."""
    is_up: bool
    is_stalled: bool | None
    """It holds requests, running or waiting, and nothing moves. None: not known."""
    is_stale: bool
    """Its page stands still while its GPUs work: what it says is not believed."""
    is_ill: bool | None
    """Its own health page says that it is not well. None: it has none that costs it nothing."""
    illness: str | None
    """What that page says."""
    failure: Failure | None
    duration_seconds: float
    age_seconds: float | None
    """Since the last page that could be read. None: never."""
    restarts: int
    unknown_families: tuple[str, ...]
    body_bytes: int
    pid: int | None
    is_down: bool = False
    """Users are not served: it is dead, or was silent for two looks. Not up alone may only mean
    that we cannot read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XidView:
    """One XID code that was seen on a GPU."""

    code: int
    times: int
    last_timestamp_seconds: float | None
    name: str
    meaning: str
    action: str
    """What to do; a key of xids.ACTIONS."""
    severity: str
    """page, ticket or log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuView:
    """One GPU with its tenants."""

    gpu: Gpu
    shares: tuple[Share, ...]
    is_up: bool | None
    """False: it is lost. None: the driver answers for none."""
    dollars_per_hour: float | None
    """Of an owned one with power, at what it draws now."""
    price_source: str | None = None
    """Whose word the price is."""
    energy_joules: float | None = None
    """Since the agent started."""
    meters: tuple[Figure, ...] = ()
    """What only grows, since the agent started."""
    xid_totals: Mapping[int, int] = field(default_factory=dict)
    """XID code -> times seen since the agent started."""
    xids: tuple[XidView, ...] = ()
    """The same codes with what they mean."""
    throttled_by: tuple[str, ...] = ()
    """What holds its clocks down now, but for what is usual at full load."""
    history: tuple[GpuPoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, for people."""

    timestamp_seconds: float
    kind: str
    """restart, down, up, resting, stalled, resumed, stale, fresh, sick, well, burning, recovered,
    not_measured (after burning), xid, gpu_lost, gpu_back, throttled, unthrottled, recovery (the
    driver asks for one), gap."""
    subject: str
    text: str
    models: tuple[str, ...] = ()
    """Which models it hits, as far as that is known."""
    gpu: str | None = None
    """The uuid of the GPU that it happened to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """One source that is not an engine: gpus, processes."""

    source: str
    is_up: bool
    failure: Failure | None
    duration_seconds: float
    age_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerView:
    """One Alertmanager that is told what needs somebody at once."""

    url: str
    is_up: bool | None
    """It took what it was last sent. None: nothing was sent yet."""
    failure: Failure | None
    active: int
    """Alerts that it is to hold open now."""
    sent: int
    """Alerts that it took, each time that it was told one."""
    failed: int
    """Alerts that it did not take, each time; all are told again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The agent's own cost."""

    cpu_seconds: float
    memory_bytes: float
    tick_duration_seconds: float
    ticks: int
    late_ticks: int
    failed_ticks: int
    """Ticks lost to a bug of ours."""
    limits_reached: Mapping[str, int]
    """Limit's name -> times reached."""
    nvml_seconds: Mapping[str, float] = field(default_factory=dict)
    """What the driver was asked -> time spent in it since the agent started."""
    nvml_put_off: int = 0
    """Questions to it that had to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that leaves burnmeter at one tick. Exporters are views of it and compute nothing new."""

    version: str
    node: str
    is_simulated: bool
    timestamp_seconds: float
    started_timestamp_seconds: float
    interval_seconds: float
    models: tuple[ModelView, ...]
    targets: tuple[TargetView, ...]
    gpus: tuple[GpuView, ...]
    sources: tuple[SourceView, ...]
    burns: tuple[Burn, ...]
    spends: Mapping[Share, Spend]
    node_spend: Spend
    """All GPUs together since the agent started; the rows of `spends` sum to it."""
    counters: Mapping[Key, float]
    """Canonical counters since first sight, by measure; labels include model and target."""
    histograms: Mapping[Key, Histogram]
    gauges: Mapping[Key, float]
    events: tuple[Event, ...]
    health: Health
    alertmanagers: tuple[AlertmanagerView, ...] = ()
