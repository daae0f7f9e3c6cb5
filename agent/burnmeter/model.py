"""The frozen values that flow through the pipeline, in the order in which they are made.

It knows no engine, no file and no clock. None always means "not known"; 0 is a value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

Labels = tuple[tuple[str, str], ...]
"""Label pairs, sorted by name."""

FAILURE_KINDS: Final = {
    "refused": "nothing listens on that address",
    "timeout": "no complete answer within the time allowed",
    "unreachable": "the network or the name did not lead anywhere",
    "http": "an HTTP status other than 200",
    "redirect": "the answer points elsewhere, and redirects are not followed",
    "too_large": "the answer is longer than the limit",
    "truncated": "the answer stopped before its declared end",
    "encoding": "the compression or the text encoding is broken",
    "html": "the answer is a web page, not metrics",
    "not_metrics": "the answer is not in a Prometheus text format",
    "too_many_series": "the page holds more series than the limit",
    "unknown_engine": "the page names no engine that a dialect knows",
    "no_library": "the driver's library is not on this machine",
    "no_permission": "the driver or the kernel refused us",
    "driver": "the driver answered with an error",
    "crashed": "the reading process died",
    "gone": "what was read is no longer there",
    "invalid": "what was read has mistakes in it",
    "disabled": "switched off in the config",
}
"""Closed set: why a source gave nothing. The keys are label values of `burnmeter_source_up`."""


# --- what sources bring ------------------------------------------------------------------------


class Failure(NamedTuple):
    """Why a source gave nothing. `kind` is a key of FAILURE_KINDS; `message` is for people."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One engine endpoint."""

    name: str
    url: str
    origin: str
    """`config`, `process`, `probe` or `simulated`."""
    engine: str | None = None
    """A dialect's name, if the config says so; else the page decides."""
    role: str | None = None
    """prefill or decode, if the config or the command line says so; else the page decides."""
    model: str | None = None
    """Our name for the model, if the config says so."""
    served_model: str | None = None
    """From `--served-model-name` or its like on the command line."""
    pid: int | None = None
    """The process that listens, if it is on this machine and we may look."""
    started_timestamp_seconds: float | None = None
    token_file: str | None = None
    token_environment: str | None = None
    least_interval_seconds: float | None = None
    """It is not read more often than this; None: at every tick."""
    is_only_reader: bool = False
    """The config says that nobody else reads it, so a page that reading empties may be read."""
    remedy: str | None = None
    """Of a discovered one, for people: what turns its metrics on."""
    worker_roots: tuple[int, ...] = ()
    """Other processes below which its workers are: a Ray node's, a launcher's."""
    local_ranks: tuple[str, ...] | None = None
    """Data-parallel ranks that run on this machine; None: not known, or it has none."""
    gpus_per_rank: int | None = None
    """How many GPUs each rank needs, here and elsewhere, by its command line."""


class ServedModel(NamedTuple):
    """One entry of an engine's list of models."""

    id: str
    root: str | None
    """What it was loaded from."""
    parent: str | None
    """The model that it adapts (LoRA); None: it is one itself."""


class About(NamedTuple):
    """What an engine says of itself beside its page."""

    version: str | None = None
    models: tuple[ServedModel, ...] = ()


class Checkup(NamedTuple):
    """What became of asking an engine whether it is well."""

    is_well: bool
    is_answer: bool
    """False: it said nothing in time."""
    text: str
    """For people, if it is not well."""


class PageReading(NamedTuple):
    """One attempt to read one target's metrics page."""

    target: str
    at_seconds: float
    """Monotonic, when the answer was complete."""
    timestamp_seconds: float
    """Wall clock, at the same moment."""
    duration_seconds: float
    text: str | None
    failure: Failure | None
    """Beside a text only of our own probes: they count, and say what became of the last request."""
    body_bytes: int = 0
    about: About | None = None
    """None: it was not asked, or did not say."""
    checkup: Checkup | None = None
    """None: it was not asked."""


class Figure(NamedTuple):
    """One number of a GPU that is only passed on, under a name of the catalogue."""

    measure: str
    labels: Labels
    """Its own, beside the GPU's."""
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process that holds memory on a GPU."""

    pid: int
    memory_bytes: float | None = None
    sm_ratio: float | None = None
    """Its share of the SMs' time since the reading before, where the driver says so."""
    instance: str | None = None
    """The uuid of the MIG instance that it is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuInstance:
    """One MIG instance of a GPU."""

    uuid: str
    name: str
    """With its profile: `NVIDIA H100 80GB HBM3 MIG 3g.40gb`."""
    compute_ratio: float | None = None
    """Its compute slices over all of the GPU's."""
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU at one moment. What the board does not support is None."""

    index: int
    uuid: str
    name: str
    utilisation_ratio: float | None = None
    """The mean since the reading before, as for power; `min` and `max` of the same samples."""
    utilisation_min_ratio: float | None = None
    utilisation_max_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    memory_bandwidth_bytes_per_second: float | None = None
    """What its memory can do at its highest clock: bus width x clock x 2."""
    power_watts: float | None = None
    power_min_watts: float | None = None
    power_max_watts: float | None = None
    power_window_seconds: float | None = None
    """Over how long the driver averages each sample of power. 0: it does not."""
    power_limit_watts: float | None = None
    power_joules: float | None = None
    """The samples of power, integrated since the reader started; gaps add nothing."""
    energy_joules: float | None = None
    """The driver's counter since it was loaded."""
    temperature_celsius: float | None = None
    sm_clock_hertz: float | None = None
    memory_clock_hertz: float | None = None
    processes: tuple[GpuProcess, ...] | None = None
    """None: could not be listed, or not asked in this reading."""
    instances: tuple[GpuInstance, ...] | None = None
    """None: it is not divided (MIG is off)."""
    recovery_action: str | None = None
    """What the driver says must be done with it: none, gpu_reset ...; see xids.RECOVERIES."""
    gauges: tuple[Figure, ...] = ()
    meters: tuple[Figure, ...] = ()
    """What only grows, as the driver or the reader counts it: each may begin again from zero."""
    unsupported: tuple[str, ...] = ()
    """Names of fields and measures that this board or driver does not give, or not for now."""
    failure: Failure | None = None
    """This GPU alone did not answer (lost, fallen off the bus)."""
    xid_counts: Mapping[int, int] = field(default_factory=dict)
    """XID code -> times seen since the reader started."""
    xid_timestamps_seconds: Mapping[int, float] = field(default_factory=dict)
    """XID code -> when it was last seen, by the wall clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One attempt to read all GPUs of the node."""

    at_seconds: float
    timestamp_seconds: float
    duration_seconds: float
    gpus: tuple[Gpu, ...] = ()
    failure: Failure | None = None
    """Beside GPUs: that of others, of which nobody knows which they are."""
    driver_version: str | None = None
    nvml_seconds: Mapping[str, float] = field(default_factory=dict)
    """What was asked -> time spent in the driver for it since the reader started."""
    nvml_put_off: int = 0
    """Questions put off since then, as the driver had been asked for as long as is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of this machine, as far as we may see it."""

    pid: int
    parent_pid: int
    started_timestamp_seconds: float
    command: tuple[str, ...]
    title: str
    """What the process calls itself (setproctitle), else its name."""
    ports: tuple[int, ...] = ()
    """TCP ports it listens on."""
    container: str | None = None
    """Its container's id."""
    pod_uid: str | None = None


class Pod(NamedTuple):
    """What a pod is called."""

    namespace: str
    name: str


class Launch(NamedTuple):
    """An engine that was started on this machine, by its command line, whether or not it answers.

    One that answers on another node (a headless rank, a node of a tensor-parallel group) has GPUs
    here all the same.
    """

    pid: int
    model: str
    """Its word for the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReading:
    """One look at this machine's processes. Empty with a failure if it could not be made."""

    at_seconds: float
    timestamp_seconds: float
    duration_seconds: float
    processes: Mapping[int, Process] = field(default_factory=dict)
    failure: Failure | None = None
    pods: Mapping[str, Pod] = field(default_factory=dict)
    """Of those that run here, by uid, as far as their names are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessHint:
    """How an engine's listening process is told from its command line. Comes from a dialect."""

    engine: str
    command_patterns: tuple[str, ...]
    """Regular expressions, searched in the command line joined by single spaces."""
    default_port: int
    port_flags: tuple[str, ...] = ("--port",)
    path: str = "/metrics"
    model_flags: tuple[str, ...] = ()
    """Flags whose value is our best word for the model, best first."""
    has_positional_model: bool = False
    """`vllm serve MODEL`: the first word after the pattern's match is the model."""
    title: str | None = None
    """The program for people, where several share a dialect (Ollama, BitNet); None: the engine."""
    is_read: bool = True
    """False: it has no page of its own; `doctor` says what would help."""
    role_patterns: Mapping[str, str] = field(default_factory=dict)
    """Role -> regular expression that tells it from the command line."""
    has_metrics: bool = True
    """Whether it shows metrics unless a flag says otherwise."""
    metrics_patterns: tuple[str, ...] = ()
    """Regular expressions of the flags that turn them the other way."""
    metrics_remedy: str | None = None
    """For people: what turns them on."""
    rank_title: str | None = None
    """Regular expression of the title of a data-parallel rank's process; its group is the rank."""
    kv_format_flags: tuple[str, ...] = ()
    """Flags whose value is the format of the KV cache."""
    weight_format_flags: tuple[str, ...] = ()
    """Flags whose value is how weights are quantised while they are loaded."""
    size_flags: tuple[tuple[str, ...], ...] = ()
    """Flags whose values, multiplied, are the GPUs of a rank; each with its other spellings."""
    worker_parents: Mapping[str, str] = field(default_factory=dict)
    """Regular expression of its own command line -> of that of a process which then starts its
    workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProcess:
    """A process that looks like an engine by its command line, whether or not it is read."""

    pid: int
    pids: frozenset[int]
    """Itself and all below it."""
    engine: str
    title: str | None
    """As in ProcessHint."""
    port: int | None
    """What the command line says, else one that it listens on."""
    is_read: bool
    shows_metrics: bool
    """By its command line; its environment is not read."""
    remedy: str | None
    """For people: what turns its metrics on."""


# --- what normalise makes of a page ------------------------------------------------------------


class Histogram(NamedTuple):
    """Cumulative counts at finite upper bounds; `total` is the +Inf bucket."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    total: float
    sum: float | None


class Key(NamedTuple):
    """What a sample is about. `labels` holds ours only: model, and those the measure declares."""

    measure: str
    labels: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePage:
    """A page in our words.

    `parts` splits counters and histograms by the engine's own series (a rank, a process), so that
    growth can tell a rank that went from a counter that fell; merging happens after growth.
    """

    engine: str
    role: str
    """engine, prefill, decode, worker, router, gateway, simulator or probe."""
    vantage: str
    """Where it counts: engine, gateway (before the engines) or probe (a client of ours)."""
    version: str | None
    started_timestamp_seconds: float | None
    counters: Mapping[Key, Mapping[str, float]]
    histograms: Mapping[Key, Mapping[str, Histogram]]
    gauges: Mapping[Key, float]
    not_available: Mapping[str, str]
    """Measure -> why this engine cannot give it."""
    not_yet: frozenset[str] = frozenset()
    """Of these, measures that it can give and has counted nothing of."""
    left_out: frozenset[str] = frozenset()
    """Of these, what another page counts for the same requests: of a prefill worker its decoder."""
    unknown_families: tuple[str, ...] = ()
    """Families with the engine's prefix that its dialect does not know."""
    parts_here: frozenset[str] | None = None
    """Which parts are of ranks on this machine; None: all, or nobody can tell."""
    gauges_here: Mapping[Key, float] | None = None
    """The gauges of these parts alone."""


# --- what growth makes of two pages ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What happened on one target since it was last read."""

    seconds: float
    """Time covered. 0 at first sight."""
    counters: Mapping[Key, float]
    histograms: Mapping[Key, Histogram]
    is_first_sight: bool = False
    is_restart: bool = False
    gap_seconds: float = 0.0
    """How much longer than one interval `seconds` is; the time we did not watch."""
    here: Mapping[Key, float] | None = None
    """Of the counters in growth.HERE what ranks on this machine did; None: not told apart."""


# --- objectives --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One SLO, in base units; indicators.py says which of the thresholds its indicator has."""

    name: str
    indicator: str
    objective_ratio: float
    threshold_seconds: float | None = None
    threshold_tokens_per_second: float | None = None
    threshold_dollars_per_million_tokens: float | None = None
    threshold_joules_per_token: float | None = None
    period_seconds: float = 30 * 86400.0
    match: Labels = ()
    is_paging: bool = True
    """It may wake people, and take a node out of service."""


class Tally(NamedTuple):
    """Valid and good events (or seconds) of one objective and model; good within bounds."""

    valid: float
    good_lower: float
    good_upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBurn:
    """How fast one window spends the budget, by the bounds on good events; None: nothing valid."""

    seconds: float
    covered_seconds: float
    """How much of it was measured."""
    valid: float
    burn_lower: float | None
    burn_upper: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """One objective on one model, on this node, now."""

    objective: Objective
    model: str
    state: str
    """good, burning or not_measured."""
    reason: str
    source: str | None = None
    """Where its events were counted at the last tick: a vantage, or http; None: nowhere."""
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    """Source -> what it has counted since first sight; together they are `total`."""
    severity: str | None
    """page or ticket while burning."""
    total: Tally
    windows: tuple[WindowBurn, ...]
    budget_left_ratio: float | None
    """At least. 1 = untouched; below 0 = overspent. None: nothing measured."""
    budget_left_upper_ratio: float | None = None
    """At most; the same where good events are known exactly."""
    covered_ratio: float
    """Share of the period that this agent has measured."""
    measured_seconds: float = 0.0
    """Since first sight, of at least one of the model's targets."""
    watched_seconds: float = 0.0
    """The same, measured or not, while some page named the model."""


# --- money -------------------------------------------------------------------------------------


class Share(NamedTuple):
    """Who had a GPU, doing what, and how we know."""

    gpu: str
    model: str
    """"" for nobody."""
    target: str
    state: str
    """busy, idle or unattributed."""
    method: str
    """How we know; a key of attribution.METHODS."""
    namespace: str = ""
    pod: str = ""
    """The pod's name, or its uid where its name is not known."""


class Spend(NamedTuple):
    """What a share has used since the agent started. `joules` or `dollars` None: not known."""

    gpu_seconds: float
    joules: float | None
    dollars: float | None
    metered_seconds: float = 0.0
    """Of which GPU time `joules` are: less of late while a driver is silent, as it catches up."""
    priced_seconds: float = 0.0
    """Of which GPU time `dollars` are: less if there was no price."""
