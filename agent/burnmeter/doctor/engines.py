"""Engines: what was read of each, what runs here unread, and what their pages cannot give. Pure."""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from burnmeter.bill import REASONED
from burnmeter.config_probes import Probe
from burnmeter.config_targets import OTHER_HALF
from burnmeter.dialects import Dialect, Role, load_all
from burnmeter.doctor.finding import Finding, Glance
from burnmeter.model import EngineProcess
from burnmeter.snapshot import TargetView

PLAIN_ROLES = ("engine", "gateway", "probe")
"""Roles that need no more words than their name."""
ANSWERS = ("http", "redirect", "html", "not_metrics", "unknown_engine")
"""Failures of something that answers, but with no page of metrics."""


def targets(glance: Glance) -> list[Finding]:
    """A line for each target, and one for each page with names that are new."""
    found: list[Finding] = []
    for view in glance.snapshot.targets:
        process = _process_of(view, glance.engines)
        found.append(_up(view, process) if view.is_up else _down(view, process))
        if view.is_up and view.unknown_families:
            names = ", ".join(view.unknown_families[:5])
            found.append(
                Finding(
                    state="missing",
                    subject=view.target,
                    text=f"{len(view.unknown_families)} families are new to us: {names}",
                    remedy="send the page with a bug report; what is known goes on working",
                    engine=view.engine,
                )
            )
    if not found and not (glance.engines and glance.processes):
        found.append(
            Finding(
                state="missing",
                subject="engines",
                text="no engine found",
                remedy="list it under `targets:` in a config, or start it and look again",
            )
        )
    return found


def roles(glance: Glance) -> list[Finding]:
    """Halves of a pair whose other half is not here, and roles that an engine does not know."""
    found: list[Finding] = []
    views = glance.snapshot.targets
    for view in views:
        other = OTHER_HALF.get(view.role or "")
        if not view.is_up or other is None:
            continue
        role = role_of(view)
        here = [one for one in views if one.role == other or (one.role is None and not one.is_up)]
        if role is None:
            text = (
                f"{title_of(view.engine)} knows no role `{view.role}`, so its numbers count whole"
            )
            remedy = "remove its `role`"
        elif role.leaves_out and not any(_may_serve(one, view.model) for one in here):
            text = f"its other half is not on this node: no {other} server of {view.model or 'it'}"
            text += f", which alone counts {', '.join(role.leaves_out)}"
            remedy = f"list it under `targets:` with `role: {other}`, or watch it on its own node"
        else:
            continue
        found.append(
            Finding(
                state="missing",
                subject=view.target,
                text=text,
                remedy=remedy,
                engine=view.engine,
            )
        )
    return found


def _may_serve(view: TargetView, model: str | None) -> bool:
    """Whether it is this model's; who is down may not have said whose it is."""
    return not view.is_up or view.model is None or view.model == model


def probes(glance: Glance) -> list[Finding]:
    """A line for each probe of the config."""
    return [_probe(probe, glance.keyless.get(probe.name)) for probe in glance.probes]


def unread(glance: Glance) -> list[Finding]:
    """What runs here, looks like an engine, and is behind no target."""
    if glance.processes is None:
        return []
    views = glance.snapshot.targets
    return [
        _unread(process)
        for process in glance.engines
        if not any(_is_behind(process, view) for view in views)
    ]


def not_available(glance: Glance, told: Collection[tuple[str, str]]) -> list[Finding]:
    """What the pages of a model cannot give, by reason; models of the same targets together.

    `told`: (model, measure) of which another line says more.
    """
    up = {view.target: view for view in glance.snapshot.targets if view.is_up}
    lines: dict[tuple[str, str, str | None], list[str]] = {}
    for model in glance.snapshot.models:
        names = [name for name in model.targets if name in up]
        optional = _optional(model.engines)
        for measure, why in model.not_available.items():
            if measure in REASONED:
                continue  # of which money.py says more
            if names and measure not in optional and (model.model, measure) not in told:
                engine = model.engines[0] if len(model.engines) == 1 else None
                measures = lines.setdefault((", ".join(names), why, engine), [])
                measures += [measure] * (measure not in measures)
    return [
        Finding(
            state="missing", subject=subject, text=f"{', '.join(measures)}: {why}", engine=engine
        )
        for (subject, why, engine), measures in lines.items()
    ]


def title_of(engine: str | None) -> str:
    """An engine's name for people."""
    dialect = load_all().get(engine or "")
    return dialect.title if dialect is not None else engine or "an unknown engine"


def role_of(view: TargetView) -> Role | None:
    """What the dialect knows of a target's role; None: nothing more than its name."""
    dialect: Dialect | None = load_all().get(view.engine or "")
    roles = dialect.roles if dialect is not None else ()
    return next((role for role in roles if role.role == view.role), None)


# --- one target ----------------------------------------------------------------------------------


def _up(view: TargetView, process: EngineProcess | None) -> Finding:
    role = role_of(view)
    is_counted = role is None or role.is_counted
    name = f"{title_of(view.engine)} {view.version or ''}".rstrip()
    text = f"{name} ({_seen_as(view)}{_run_as(view, process)})"
    if is_counted:
        text += f" serving {view.model or 'an unnamed model'}"
    text += f" at {view.url}"
    if not is_counted:
        text += "; its numbers count for nothing here"
    if role is not None and role.role not in PLAIN_ROLES:
        text += f"; {role.role} means: {role.says}"
    elif view.vantage == "gateway":
        text += "; its requests are its engines', so they are never added to theirs"
    return Finding(
        state="ok",
        subject=view.target,
        text=text,
        engine=view.engine,
        pid=view.pid,
        port=_port_of(view),
    )


def _seen_as(view: TargetView) -> str:
    """Its role; and its vantage, where the role does not say it."""
    role, vantage = view.role or "engine", view.vantage or "engine"
    if role == "engine" or role == vantage:
        return vantage
    return role if vantage == "engine" else f"{role}, counts as a {vantage}"


def _run_as(view: TargetView, process: EngineProcess | None) -> str:
    """The program that started it, where that has a name of its own (Ollama)."""
    title = process.title if process is not None else None
    return f", run as {title}" if title and title != title_of(view.engine) else ""


def _down(view: TargetView, process: EngineProcess | None) -> Finding:
    text, remedy = view.failure.message if view.failure else "never read", _remedy(view, process)
    if process is not None and process.remedy is not None:
        text = text.removesuffix(f": {process.remedy}")  # It goes below.
    return Finding(
        state="wrong",
        subject=view.target,
        text=text,
        remedy=remedy,
        engine=view.engine or (process.engine if process is not None else None),
        pid=view.pid,
        port=_port_of(view),
    )


def _remedy(view: TargetView, process: EngineProcess | None) -> str | None:
    """What may turn its metrics on, unless it is its address that is wrong."""
    if process is None or process.remedy is None:
        return None
    message = view.failure.message if view.failure is not None else ""
    if not process.shows_metrics or message.endswith(f": {process.remedy}"):
        return process.remedy
    is_answer = view.failure is not None and view.failure.kind in ANSWERS
    return f"if its metrics are off all the same: {process.remedy}" if is_answer else None


def _port_of(view: TargetView) -> int:
    parts = urlsplit(view.url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _probe(probe: Probe, keyless: str | None) -> Finding:
    if keyless is None:
        text = f"a probe of {probe.model} at {probe.url} every {probe.every_seconds:g} s"
        return Finding(state="ok", subject=probe.name, text=f"{text}; none is sent here")
    remedy = "let the agent's user read a key in the file that `token_file` names"
    if probe.token_environment is not None:
        remedy = f"set the variable {probe.token_environment} where the agent runs, and look there"
    return Finding(
        state="wrong", subject=probe.name, text=f"{keyless}; it asks nothing", remedy=remedy
    )


# --- one process ---------------------------------------------------------------------------------


def _process_of(view: TargetView, processes: Collection[EngineProcess]) -> EngineProcess | None:
    return next((process for process in processes if _is_behind(process, view)), None)


def _is_behind(process: EngineProcess, view: TargetView) -> bool:
    """Whether a target is this process; what listens for it may be below or above it."""
    if view.pid is None:
        return False
    return view.pid in process.pids or _port_of(view) == process.port


def _unread(process: EngineProcess) -> Finding:
    name = process.title or title_of(process.engine)
    text = f"looks like {name}" + (f" on port {process.port}" if process.port is not None else "")
    remedy = process.remedy
    if not process.is_read:
        text += "; its command line names no metrics page that could be read"
    elif not process.shows_metrics:
        text += "; its metrics are off, by its command line"
    else:
        text += "; its metrics are on, and it listens on no port that we can see"
        remedy = (
            "wait until it has started and look again; ports of other users' processes are seen"
            " only by root, so else list its page under `targets:`"
        )
    return Finding(
        state="missing",
        subject=f"process {process.pid}",
        text=text,
        remedy=remedy,
        engine=process.engine,
        pid=process.pid,
        port=process.port,
    )


def _optional(engines: Collection[str]) -> set[str]:
    """What engines give only if somebody switched it on: who did not misses nothing."""
    dialects: Mapping[str, Dialect] = load_all()
    measures = [m for engine in engines for m in dialects[engine].measures.values()]
    return {measure.name for measure in measures if measure.only_with is not None}
