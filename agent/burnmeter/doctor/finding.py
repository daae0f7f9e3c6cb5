"""What `doctor` takes and gives: one look at a node, and the lines it comes to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from burnmeter.config_probes import Probe
from burnmeter.model import EngineProcess, Failure, GpuReading, ProcessReading
from burnmeter.model_facts.known import Library
from burnmeter.pricing import Price
from burnmeter.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: ok, missing (something cannot be known) or wrong (something must be done)."""

    state: str
    subject: str
    text: str
    remedy: str | None = None
    engine: str | None = None
    """The dialect's name, where the line is about one engine."""
    pid: int | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What one look at this node found."""

    gpus: GpuReading | None
    """None: switched off."""
    processes: ProcessReading | None
    """None: switched off."""
    engines: tuple[EngineProcess, ...]
    """What looks like an engine by its command line, read or not."""
    snapshot: Snapshot
    probes: tuple[Probe, ...] = ()
    """Those of the config; a look sends none."""
    keyless: Mapping[str, str] = field(default_factory=dict)
    """Each probe whose key cannot be read -> why."""
    library: Library = field(default_factory=Library)
    """What is known of the models of engines here."""
    model_names: Mapping[str, str] = field(default_factory=dict)
    """An endpoint's word for a model -> ours, where the config says it."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """By the name of a GPU; one that is not in it has none."""
    price_file: str | None = None
    """The file that `prices.file` names."""
    price_failure: Failure | None = None
    """What is wrong with it."""
