"""The objectives against what the pages can tell: can they be judged, and how exactly. Pure.

Surprising: it looks at the bucket bounds that were read, not at a dialect's defaults, which
versions and flags change.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from burnmeter import catalog
from burnmeter.config_rules import plain
from burnmeter.dialects import INDICATORS, Dialect, load_all
from burnmeter.doctor import engines
from burnmeter.doctor.finding import Finding, Glance
from burnmeter.ledgers import MEASURES
from burnmeter.model import Burn, Objective
from burnmeter.snapshot import Snapshot, TargetView

WITHIN: Final = "good is known only within bounds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What there is to say of the objectives."""

    findings: tuple[Finding, ...]
    needs: frozenset[tuple[str, str]]
    """(model, measure) that an objective needs and nobody can give: told in its line. And those
    that a probe brings, which are not missing."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A finding but for the models that it is about."""

    objective: str
    text: str
    remedy: str | None
    """None: nothing is amiss."""
    engine: str | None


def judged(glance: Glance) -> Judged:
    """Each objective on each model of which some target is up; what is alike is told once."""
    up = {view.target: view for view in glance.snapshot.targets if view.is_up}
    here = {m.model: [up[name] for name in m.targets if name in up] for m in glance.snapshot.models}
    lines: dict[_Line, list[str]] = {}
    needs: set[tuple[str, str]] = set()
    for burn in glance.snapshot.burns:
        measure = MEASURES.get(burn.objective.indicator)
        views = here.get(burn.model, [])
        if measure is None or not views:
            continue
        if burn.source is None:
            needs |= {(burn.model, name) for name in (measure, measure.partition("{")[0])}
            line = _unmeasured(glance, burn, measure, views)
            lines.setdefault(line, []).append(burn.model)
        elif burn.objective.indicator in INDICATORS:
            for line in _inexact(glance, burn, measure, views):
                lines.setdefault(line, []).append(burn.model)
        else:
            for line in _half(burn, measure, views):
                lines.setdefault(line, []).append(burn.model)
    for model, views in here.items():
        probed = {
            name for d in _probing() for name in d.measures if _probes_of(glance, model, name)
        }
        needs |= {(model, name) for name in probed if all(_is_unable(v, name) for v in views)}
    told = tuple(_finding(line, models) for line, models in lines.items())
    return Judged(findings=told, needs=frozenset(needs))


def _finding(line: _Line, models: Sequence[str]) -> Finding:
    shown = ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")
    return Finding(
        state="missing" if line.remedy is not None else "ok",
        subject=f"slo {line.objective}",
        text=f"{shown}: {line.text}",
        remedy=line.remedy,
        engine=line.engine,
    )


# --- nobody can tell -----------------------------------------------------------------------------


def _probes_of(glance: Glance, model: str, measure: str) -> list[str]:
    """The probes of the config that will tell, which a look does not send."""
    if all(_gives(dialect, measure) is None for dialect in _probing()):
        return []
    names = glance.model_names
    return [probe.name for probe in glance.probes if names.get(probe.model, probe.model) == model]


def _probing() -> list[Dialect]:
    return [dialect for dialect in load_all().values() if dialect.vantage == "probe"]


def _unmeasured(glance: Glance, burn: Burn, measure: str, views: Sequence[TargetView]) -> _Line:
    names = {view.engine for view in views}
    engine = next(iter(names)) if len(names) == 1 else None
    probes, is_half = _probes_of(glance, burn.model, measure), _is_half(measure, views)
    if probes and not is_half and all(_is_unable(view, measure) for view in views):
        asked = ", ".join(f"`{name}`" for name in probes)
        text = f"measured by the probe {asked}, of which none is sent here"
        return _Line(burn.objective.name, text, None, engine)
    remedy = _remedy(measure, views, may_probe=not probes and not is_half)
    return _Line(burn.objective.name, f"not measured: {burn.reason}", remedy, engine)


def _half(burn: Burn, measure: str, views: Sequence[TargetView]) -> Iterable[_Line]:
    """A line for engines that cannot tell what others of the model count."""
    beside = [view for view in views if view.vantage == burn.source]
    unable = [view for view in beside if _is_unable(view, measure)]
    if unable:
        where = ", ".join(view.target for view in unable)
        text = f"not measured on {where}, and so not as a whole: {measure} cannot be had there"
        names = {view.engine for view in unable}
        engine = next(iter(names)) if len(names) == 1 else None
        yield _Line(burn.objective.name, text, _remedy(measure, unable, may_probe=False), engine)


def _is_half(measure: str, views: Sequence[TargetView]) -> bool:
    """Whether some can tell and some cannot: a probe is no stand-in for those that can."""
    return len({_is_unable(view, measure) for view in views if view.vantage == "engine"}) == 2


def _is_unable(view: TargetView, measure: str) -> bool:
    """Whether no page of such an engine has it, and none of its other half either."""
    dialect = load_all().get(view.engine or "")
    return (
        dialect is not None
        and not _is_elsewhere(view, measure)
        and _gives(dialect, measure) is None
    )


def _is_elsewhere(view: TargetView, measure: str) -> bool:
    role = engines.role_of(view)
    return role is not None and _is_listed(measure, role.leaves_out)


def _remedy(measure: str, views: Iterable[TargetView], *, may_probe: bool) -> str:
    """What would bring a measure that no page of a model has."""
    for view in views:
        dialect = load_all().get(view.engine or "")
        if dialect is None or _is_elsewhere(view, measure):
            continue
        only_with = _gives(dialect, measure)
        if only_with is not None:
            if only_with:
                return f"{dialect.title} gives it with {only_with}"
            return "send a request and look again; other versions of the engine have it"
    able = [dialect for dialect in load_all().values() if _gives(dialect, measure) is not None]
    gateways = sorted(dialect.title for dialect in able if dialect.vantage == "gateway")
    ways = ["a probe of its endpoint, listed under `probes:`"] * any(
        may_probe and dialect.vantage == "probe" for dialect in able
    )
    ways += [f"a gateway before it that counts it ({', '.join(gateways)})"] if gateways else []
    return ", or ".join(ways) or "nothing that we know counts it here; remove the objective"


def _gives(dialect: Dialect, measure: str) -> str | None:
    """Whether an engine's pages may hold it: what must be switched on for that, empty if nothing
    must; None: they never do."""
    name, _, rest = measure.partition("{")
    found = dialect.measures.get(name)
    if found is None or _is_listed(measure, dialect.not_available):
        return None
    label = tuple(rest.rstrip("}").split("=")) if rest else None
    rules = [rule for rule in found.rules if label is None or label in rule.labels]
    # Of a sum and a count comes only a mean.
    return (found.only_with or "") if any(rule.names for rule in rules) else None


def _is_listed(measure: str, names: Container[str]) -> bool:
    return measure in names or measure.partition("{")[0] in names


# --- known within bounds -------------------------------------------------------------------------


def _inexact(
    glance: Glance, burn: Burn, measure: str, views: Sequence[TargetView]
) -> Iterable[_Line]:
    """A line for each set of bounds that does not hold the threshold, and for pages without any."""
    by_bounds: dict[tuple[str, tuple[float, ...]], list[str]] = {}
    for view in views:
        if view.vantage == burn.source and not _is_elsewhere(view, measure):
            for bounds in _bounds(glance.snapshot, measure, burn.model, view) or [()]:
                by_bounds.setdefault((view.engine or "", bounds), []).append(view.target)
    is_probed = bool(_probes_of(glance, burn.model, measure))
    may_probe = not is_probed and not any(bounds for _, bounds in by_bounds)
    for (engine, bounds), names in by_bounds.items():
        where = ", ".join(names)
        if not bounds:
            text = f"not measured on {where}: its page has no buckets of {measure}"
            lacking = [view for view in views if view.target in names]
            remedy = _remedy(measure, lacking, may_probe=may_probe)
            yield _Line(burn.objective.name, text, remedy, engine)
        elif burn.objective.threshold_seconds not in bounds:
            yield _off(burn.objective, measure, bounds, engine, where)


def _bounds(
    snapshot: Snapshot, measure: str, model: str, view: TargetView
) -> list[tuple[float, ...]]:
    """The bucket bounds, in s, of a measure on a target's page."""
    name = catalog.seen_from(view.vantage or "engine", measure)
    ours = {("model", model), ("target", view.target)}
    keys = [k for k in snapshot.histograms if k.measure == name and ours <= {*k.labels}]
    return sorted({snapshot.histograms[key].bounds for key in keys})


def _off(
    objective: Objective, measure: str, bounds: tuple[float, ...], engine: str, where: str
) -> _Line:
    threshold = objective.threshold_seconds
    assert threshold is not None, "config refuses a latency SLO without one"
    below = [plain(bound) for bound in bounds if bound < threshold][-1:]
    above = [plain(bound) for bound in bounds if bound > threshold][:1]
    if below and above:
        place = f"between the bounds {below[0]} and {above[0]} s"
    elif above:
        place = f"below the first bound, {above[0]} s,"
    else:
        place = f"above the last bound, {below[0]} s,"
    text = f"{plain(threshold)} s lies {place} of {where}: {WITHIN}"
    remedy = f"set its `threshold_seconds` to {' or '.join(below + above)}"
    own = load_all()[engine].measures[measure].buckets_by
    if own is not None:
        remedy += f", or give {engines.title_of(engine)} a bucket there: {own}"
    return _Line(objective.name, text, remedy, engine)
