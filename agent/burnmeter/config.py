"""What the user may set: the frozen Config, its defaults, and how a file becomes one.

All defaults stand in the dataclasses here and nowhere else. `parse` finds all problems of a text at
once; the rules for single values are in config_rules.py, those for targets and addresses in
config_targets.py, those for objectives in config_slos.py. It does not know the dialects: whoever
calls brings the engines and their bounds.

Surprising: an unknown key is an error, and so is a key without a value. A config whose half is
silently not in force is worse than an agent that does not start and says why.
"""

import dataclasses
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from burnmeter import (
    config_alertmanagers,
    config_facts,
    config_owners,
    config_prices,
    config_probes,
    config_slo_files,
    config_slos,
    config_targets,
    indicators,
    located,
)
from burnmeter import config_rules as rules
from burnmeter.config_alertmanagers import Alertmanager
from burnmeter.config_facts import StatedModel
from burnmeter.config_owners import OwnerRule
from burnmeter.config_prices import Prices
from burnmeter.config_probes import Probe
from burnmeter.config_queries import Setting
from burnmeter.config_rules import Report, Rule, number, plain, whole
from burnmeter.config_slo_files import Finder
from burnmeter.config_slos import Bounds
from burnmeter.config_targets import Roles
from burnmeter.errors import ConfigError, Problem
from burnmeter.located import Located
from burnmeter.model import Objective, Target
from burnmeter.slo_meanings import Known
from burnmeter.units import SECONDS_PER_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The section `discovery`."""

    processes: bool = True
    """Find engines among this machine's processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """The section `gpus`."""

    enabled: bool = True
    """Read this machine's GPUs at all."""
    timeout_seconds: float = 2.0
    """How long one reading of all GPUs may take."""
    processes_every: int = 6
    """List the processes on each GPU, which is slow, at every so many readings or for a new GPU."""
    samples_per_second: float = 10.0
    """How often power and utilisation are sampled between readings; 0: only at each reading."""
    nvml_time_ratio: float = 0.02
    """At most this share of time goes into asking the driver; beyond it, it is asked less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The section `limits`."""

    body_bytes: int = 8_000_000
    """Longest metrics page that is read."""
    scrape_timeout_seconds: float = 3.0
    """How long one page may take; below `interval_seconds`."""
    series_per_target: int = 20_000
    """Most series that one page may hold."""
    targets: int = 64
    """Most targets, listed and discovered together."""
    models: int = 64
    """Most models that one target may name; the rest are counted together, as `other`."""
    clients: int = 32
    """Most connections that our own web server holds at once."""
    shares: int = 1000
    """Rows that the bill may have; beyond, what was used least recently is put under no model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All that a user may set. Without a file, all defaults."""

    node: str = field(default_factory=socket.gethostname)
    """This machine's name in metrics and on the page."""
    listen: str = "127.0.0.1:9778"
    """host:port of our own metrics and page; 0.0.0.0 as the host for every network."""
    interval_seconds: float = 5.0
    """How often everything is read."""
    recent_seconds: float = 60.0
    """Window of the rates on the page."""
    stalled_after_seconds: float = 10.0
    """An engine with running requests that makes no token for so long is stalled."""
    targets: tuple[Target, ...] = ()
    """Engines to read, besides those that are discovered."""
    probes: tuple[Probe, ...] = ()
    """Small requests of our own that measure what a client sees; none are sent by default."""
    discovery: Discovery = Discovery()
    """How engines are found that the config does not list."""
    models: Mapping[str, str] = field(default_factory=dict)
    """The engine's word for a model -> our name for it."""
    owners: tuple[OwnerRule, ...] = ()
    """Whose GPUs are by your word, where nothing on this machine tells."""
    prices: Prices = field(default_factory=Prices)
    """What a GPU costs, and what tokens bring."""
    node_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of this node, for prices that go by them."""
    model_facts: Mapping[str, StatedModel] = field(default_factory=dict)
    """What a model is, by our name, where the agent cannot read its config.json."""
    gpus: Gpus = Gpus()
    """How the GPUs are read."""
    objectives: tuple[Objective, ...] = config_slos.DEFAULTS
    """`slos` in the file: what is good enough. `slos: []` means nothing is asked."""
    alertmanagers: tuple[Alertmanager, ...] = ()
    """Who is told at once of dead, stalled and ill engines and of lost GPUs; nobody by default."""
    limits: Limits = Limits()
    """What the agent refuses to exceed; reaching one is counted and exported."""
    warnings: tuple[Problem, ...] = ()
    """What is allowed but doubtful. Not a key of the file."""

    @property
    def listen_host(self) -> str:
        """The host part of `listen`, without the brackets of IPv6."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def listen_port(self) -> int:
        """The port part of `listen`. 0 means any free one."""
        return int(self.listen.rpartition(":")[2])


class Engines(NamedTuple):
    """What is known of engines, by whoever knows the dialects."""

    bounds: Bounds
    roles: Roles
    """Those that each engine knows; of an engine that is not in it any is taken."""
    series: Known
    """What their names on a page are to us, for the queries of SLO documents."""


def load(
    path: Path, *, bounds: Bounds, roles: Roles | None = None, series: Known | None = None
) -> Config:
    """Read a file. Raises ConfigError with all its problems; warnings are in the Config."""
    config, problems = examined(path, bounds=bounds, roles=roles, series=series)
    if any(not problem.is_warning for problem in problems):
        raise ConfigError(problems)
    return config


def examined(
    path: Path, *, bounds: Bounds, roles: Roles | None = None, series: Known | None = None
) -> tuple[Config, tuple[Problem, ...]]:
    """What a file says as far as it is right, and all its problems and warnings.

    Those of the files that its `slo_files` names too.
    """
    try:
        with path.open("rb") as file:
            source = file.read(located.LIMIT_BYTES + 1)
    except OSError as error:
        text = f"cannot be read: {error.strerror or error}"
        return Config(), (Problem(str(path), 1, 1, text),)
    engines = Engines(bounds, roles or {}, series or {})
    return _examined(source, str(path), engines, config_slo_files.near(path.parent))


def parse(
    source: str | bytes,
    path_shown: str,
    *,
    bounds: Bounds,
    roles: Roles | None = None,
    series: Known | None = None,
    find: Finder = config_slo_files.nothing,
) -> tuple[Config | None, tuple[Problem, ...]]:
    """Config of a text, or None; and all its problems and warnings, in the order of the file.

    `find`: how the files of `slo_files` are read; a text alone has none beside it.
    """
    engines = Engines(bounds, roles or {}, series or {})
    config, found = _examined(source, path_shown, engines, find)
    return (None if any(not problem.is_warning for problem in found) else config), found


def _examined(
    source: str | bytes, path_shown: str, engines: Engines, find: Finder
) -> tuple[Config, tuple[Problem, ...]]:
    root, problems = located.read(source, path_shown)
    report = Report(path_shown, list(problems))
    config = _config(report, root, engines, find) if root is not None else Config()
    # The config's own first; the files of `slo_files` follow by name.
    found = tuple(sorted(set(report.problems), key=lambda one: (one.path != path_shown, one)))
    return dataclasses.replace(config, warnings=found), found


def as_dict(config: Config) -> dict[str, Any]:
    """The effective config as the file would say it; what is None is left out."""
    targets = [{key: getattr(target, key) for key in TARGET_KEYS} for target in config.targets]
    known: dict[str, Any] = {
        "node": config.node,
        "listen": config.listen,
        "interval_seconds": config.interval_seconds,
        "recent_seconds": config.recent_seconds,
        "stalled_after_seconds": config.stalled_after_seconds,
        "targets": targets,
        "probes": [dataclasses.asdict(probe) for probe in config.probes],
        "discovery": dataclasses.asdict(config.discovery),
        "models": dict(config.models),
        "owners": [rule._asdict() for rule in config.owners],
        "prices": dataclasses.asdict(config.prices),
        "node_labels": dict(config.node_labels),
        "model_facts": {n: dataclasses.asdict(m) for n, m in config.model_facts.items()},
        "gpus": dataclasses.asdict(config.gpus),
        "slos": [_objective_as_dict(objective) for objective in config.objectives],
        "alertmanagers": [dataclasses.asdict(one) for one in config.alertmanagers],
        "limits": dataclasses.asdict(config.limits),
    }
    return {key: _without_none(value) for key, value in known.items()}


def _objective_as_dict(objective: Objective) -> dict[str, Any]:
    return {
        "name": objective.name,
        "indicator": objective.indicator,
        **indicators.thresholds(objective),
        "objective_percent": float(Decimal(repr(objective.objective_ratio)) * 100),
        "window_days": objective.period_seconds / SECONDS_PER_DAY,
        "match": dict(objective.match) or None,
        "page": objective.is_paging,
    }


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list | tuple) else value


# --- the keys ----------------------------------------------------------------------------------

TARGET_KEYS: Final = (
    "name",
    "url",
    "engine",
    "model",
    "role",
    "token_file",
    "token_environment",
    "least_interval_seconds",
    "is_only_reader",
)
DISCOVERY: Final[Mapping[str, Rule]] = {"processes": rules.flag}
GPUS: Final[Mapping[str, Rule]] = {
    "enabled": rules.flag,
    "timeout_seconds": number("timeout_seconds", 0.1, 60),
    "processes_every": whole("processes_every", 1, 1000),
    "samples_per_second": number("samples_per_second", 0, 100),
    "nvml_time_ratio": number("nvml_time_ratio", 0.0001, 1),
}
LIMITS: Final[Mapping[str, Rule]] = {
    "body_bytes": whole("body_bytes", 10_000, 1_000_000_000),
    "scrape_timeout_seconds": number("scrape_timeout_seconds", 0.1, 299),
    "series_per_target": whole("series_per_target", 100, 1_000_000),
    "targets": whole("targets", 1, 1000),
    "models": whole("models", 1, 1000),
    "clients": whole("clients", 1, 1000),
    "shares": whole("shares", 10, 100_000),
}


def _config(report: Report, root: Located, engines: Engines, find: Finder) -> Config:
    """What the text says, as far as it is right; the rest is in the report."""
    if root.value is None:
        return Config()
    bounds, roles, _ = engines
    taken: dict[str, str] = {}
    keys: Mapping[str, Rule] = {
        "node": rules.word,
        "listen": config_targets.listen,
        "interval_seconds": number("interval_seconds", 1, 300),
        "recent_seconds": number("recent_seconds", 5, 3600),
        "stalled_after_seconds": number("stalled_after_seconds", 1, 3600),
        "targets": lambda node: config_targets.read_targets(report, node, bounds.keys(), roles),
        "probes": lambda node: config_probes.read_probes(report, node),
        "discovery": lambda n: Discovery(**rules.section(report, n, "discovery", DISCOVERY)),
        "models": lambda node: rules.table(report, node, "models", rules.word),
        "owners": lambda node: config_owners.read_owners(report, node),
        "prices": lambda node: config_prices.read_prices(report, node),
        "node_labels": lambda node: rules.table(report, node, "node_labels", rules.word),
        "model_facts": lambda node: config_facts.read_models(report, node),
        "gpus": lambda node: Gpus(**rules.section(report, node, "gpus", GPUS)),
        "slos": lambda node: config_slos.read_objectives(report, node, taken),
        "slo_files": lambda node: config_slo_files.read_names(report, node),
        "alertmanagers": lambda n: config_alertmanagers.read_alertmanagers(report, n),
        "limits": lambda node: Limits(**rules.section(report, node, "limits", LIMITS)),
    }
    values = rules.section(report, root, "", keys)
    slos, named = values.pop("slos", None), values.pop("slo_files", None)
    setting = Setting(engines.series, values.get("models", {}), taken)
    setting.promised.update({one.objective.name: one.objective for one in slos or ()})
    documents = config_slo_files.read_files(report, named or (), find, setting, len(slos or ()))
    of_files = [placed.objective for file in documents for placed in file.placed]
    if slos is not None or named is not None:
        values["objectives"] = (*(placed.objective for placed in slos or ()), *of_files)
    config = Config(**values)
    probed = {one.model: config.models.get(one.model, one.model) for one in config.probes}
    models = {**probed, **config.models}
    for part in (config_slo_files.Documents(report, slos or []), *documents):
        config_slos.check(part.report, part.placed, config.targets, models, bounds)
    report.problems.extend(problem for file in documents for problem in file.report.problems)
    if rules.has(root, "interval_seconds") == ("interval_seconds" in values):
        _check_times(report, root, config)
    _check_sources(report, root, config)
    _check_models(report, rules.find(root, "models"), config.models)
    _check_our_names(report, root, config)
    names = {target.name for target in config.targets}
    config_probes.check_names(report, rules.find(root, "probes"), config.probes, names)
    return config


def _check_times(report: Report, root: Located, config: Config) -> None:
    """Two reads of one engine may not overlap, and a rate needs two readings in its window."""
    interval = plain(config.interval_seconds)
    timeout = config.limits.scrape_timeout_seconds
    if timeout >= config.interval_seconds:
        at, said = _culprit(root, ("limits", "scrape_timeout_seconds"))
        text = f"limits.scrape_timeout_seconds: {plain(timeout)}{said} is not below"
        report.error(
            at, f"{text} interval_seconds ({interval}); write {plain(config.interval_seconds / 2)}"
        )
    if config.recent_seconds < config.interval_seconds:
        at, said = _culprit(root, ("recent_seconds",))
        text = f"recent_seconds: {plain(config.recent_seconds)}{said} is below"
        report.error(
            at, f"{text} interval_seconds ({interval}), so no rate has two readings; write more"
        )


def _culprit(root: Located, keys: tuple[str, ...]) -> tuple[Located, str]:
    """Where to point for a value: at itself, or at the interval if it is only a default."""
    section = rules.find(root, *keys[:-1])
    if (len(keys) == 1 or section is not root) and rules.has(section, keys[-1]):
        return rules.find(section, keys[-1]), ""
    return rules.find(root, "interval_seconds"), ", the default,"


def _check_sources(report: Report, root: Located, config: Config) -> None:
    count, limit = len(config.targets) + len(config.probes), config.limits.targets
    if count > limit:
        words = "targets and probes" if config.probes else "targets"
        text = f"{words}: {count} are more than limits.targets ({limit}); raise it or list fewer"
        report.error(rules.find(root, "targets"), text)
    if not config.targets and not config.probes and not config.discovery.processes:
        text = "discovery.processes: false, and no targets: no engine will ever be read"
        report.warn(rules.find(root, "discovery", "processes"), text)


def _check_models(report: Report, node: Located, models: Mapping[str, str]) -> None:
    """Names are looked up once, and as they are written."""
    if not isinstance(node.value, Mapping):
        return
    written: dict[str, str] = {}
    for word, name in models.items():
        where, entry = located.step("models", word), node.value[word]
        further = models.get(name, name)
        if further != name:
            text = f"{where}: `{located.shown(name)}` is renamed too, but no name is followed on"
            text += f"; write `{located.shown(further)}`, if that is meant"
            report.warn(entry.value, text)
        first = written.setdefault(word.lower(), word)
        if models[first] != name:
            text = f"{where}: the key differs only by case from `{located.shown(first)}`"
            text += ", which means another name; keep the engine's own word"
            report.warn(entry.key, text)


def _check_our_names(report: Report, root: Located, config: Config) -> None:
    """Where our name is meant, an engine's word that has another name finds nothing."""
    of_owners = [("owners", place, rule.model) for place, rule in enumerate(config.owners)]
    said = [
        *((("prices", "tokens"), model) for model in config.prices.tokens),
        *((("model_facts",), model) for model in config.model_facts),
    ]
    places = [(located.step(".".join(keys), model), keys, model) for keys, model in said]
    places += [(f"{key}[{place}].model", (key,), model) for key, place, model in of_owners]
    for where, keys, model in places:
        name = config.models.get(model, model)
        if name != model:
            text = (
                f"{where}: `{located.shown(model)}` is called `{located.shown(name)}` by `models`"
            )
            report.warn(rules.find(root, *keys), f"{text}; write that")
