"""What one look at this node found, what is missing, and what would bring it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnmeter.dialects import load_all
from burnmeter.model import GpuReading, Process, ProcessReading
from burnmeter.snapshot import TargetView


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: ok, missing (something cannot be known) or wrong (something must be done)."""

    state: str
    subject: str
    text: str
    remedy: str | None = None


def findings(
    gpus: GpuReading | None,
    processes: ProcessReading | None,
    targets: Sequence[TargetView],
    not_available: Mapping[str, Mapping[str, str]],
) -> tuple[Finding, ...]:
    """Everything worth saying, sources first."""
    return (*_gpus(gpus), *_processes(processes, gpus), *_targets(targets, not_available))


def _gpus(reading: GpuReading | None) -> list[Finding]:
    if reading is None:
        return [
            Finding(
                state="missing",
                subject="gpus",
                text="switched off in the config",
                remedy="set `gpus.enabled: true`",
            )
        ]
    if reading.failure is not None:
        # A machine without NVIDIA's library has no GPU; any other reason is somebody's to mend.
        state = "missing" if reading.failure.kind == "no_library" else "wrong"
        return [Finding(state=state, subject="gpus", text=reading.failure.message)]
    found = [
        Finding(
            state="ok",
            subject="gpus",
            text=f"{len(reading.gpus)} GPUs, driver {reading.driver_version or 'unknown'}",
        )
    ]
    for gpu in reading.gpus:
        subject = f"gpu {gpu.index}"
        if gpu.failure is not None:
            found.append(
                Finding(
                    state="wrong",
                    subject=subject,
                    text=gpu.failure.message,
                    remedy="see `nvidia-smi` and the kernel log for XID lines",
                )
            )
        elif gpu.unsupported:
            found.append(
                Finding(
                    state="ok",
                    subject=subject,
                    text=f"{gpu.name}; it does not give {', '.join(gpu.unsupported)}",
                )
            )
    return found


def _processes(reading: ProcessReading | None, gpus: GpuReading | None) -> list[Finding]:
    if reading is None:
        return [
            Finding(
                state="missing",
                subject="processes",
                text="switched off in the config",
                remedy="set `discovery.processes: true` to find engines by themselves",
            )
        ]
    if reading.failure is not None:
        return [Finding(state="wrong", subject="processes", text=reading.failure.message)]
    found = [
        Finding(state="ok", subject="processes", text=f"{len(reading.processes)} processes seen")
    ]
    strangers = _strangers(reading.processes, gpus)
    if strangers:
        found.append(
            Finding(
                state="missing",
                subject="processes",
                text=f"{len(strangers)} processes hold a GPU and are not in our process table",
                remedy="share the host's PID namespace (`hostPID: true`, `--pid=host`)",
            )
        )
    return found


def _strangers(table: Mapping[int, Process], gpus: GpuReading | None) -> set[int]:
    held = {p.pid for gpu in (gpus.gpus if gpus else ()) for p in gpu.processes or ()}
    return held - table.keys()


def _targets(
    targets: Sequence[TargetView], not_available: Mapping[str, Mapping[str, str]]
) -> list[Finding]:
    if not targets:
        return [
            Finding(
                state="missing",
                subject="engines",
                text="no engine found",
                remedy="list it under `targets:` in a config, or start it and look again",
            )
        ]
    found: list[Finding] = []
    for view in targets:
        if not view.is_up:
            said = view.failure.message if view.failure else "never read"
            found.append(Finding(state="wrong", subject=view.target, text=said))
            continue
        text = f"{view.engine} serving {view.model or 'an unnamed model'} at {view.url}"
        found.append(Finding(state="ok", subject=view.target, text=text))
        if view.unknown_families:
            names = ", ".join(view.unknown_families[:5])
            found.append(
                Finding(
                    state="missing",
                    subject=view.target,
                    text=f"{len(view.unknown_families)} families are new to us: {names}",
                    remedy="send the page with a bug report; what is known goes on working",
                )
            )
        optional = _optional(view.engine)
        for measure, why in not_available.get(view.target, {}).items():
            if measure not in optional:
                text = f"{measure}: {why}"
                found.append(Finding(state="missing", subject=view.target, text=text))
    return found


def _optional(engine: str | None) -> set[str]:
    """What an engine gives only if somebody switched it on: who did not misses nothing."""
    dialect = load_all().get(engine or "")
    measures = dialect.measures if dialect is not None else {}
    return {name for name, measure in measures.items() if measure.only_with is not None}
