"""What this machine lets us see, its GPUs and its processes; and whom it can tell. Pure."""

from collections.abc import Mapping, Sequence

from burnmeter import xids
from burnmeter.doctor.finding import Finding
from burnmeter.model import Gpu, GpuReading, Process, ProcessReading
from burnmeter.snapshot import AlertmanagerView


def gpus(reading: GpuReading | None) -> list[Finding]:
    """The GPUs together, then each of which there is something to say."""
    if reading is None:
        return [
            Finding(
                state="missing",
                subject="gpus",
                text="switched off in the config",
                remedy="set `gpus.enabled: true`",
            )
        ]
    found = []
    if reading.failure is not None:
        # A machine without NVIDIA's library has no GPU; any other reason is somebody's to mend.
        state = "missing" if reading.failure.kind == "no_library" else "wrong"
        found.append(Finding(state=state, subject="gpus", text=reading.failure.message))
        if not reading.gpus:
            return found
    found += [
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
        elif gpu.recovery_action not in (None, "none"):
            found.append(
                Finding(
                    state="wrong",
                    subject=subject,
                    text=f"the driver asks for a recovery: {_recovery(gpu.recovery_action)}",
                )
            )
    return [*found, *_unsupported(reading.gpus)]


def _recovery(word: str | None) -> str:
    meanings = {one.word: one.meaning for one in xids.RECOVERIES.values()}
    return meanings.get(word or "", "One that burnmeter does not know; see `nvidia-smi -q`.")


def _unsupported(gpus: Sequence[Gpu]) -> list[Finding]:
    """What boards do not give: once for all that lack the same."""
    alike: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for gpu in gpus:
        if gpu.failure is None and gpu.unsupported:
            alike.setdefault((gpu.name, gpu.unsupported), []).append(gpu.index)
    return [
        Finding(
            state="ok",
            subject=f"gpu {', '.join(map(str, indices))}",
            text=f"{name}; it does not give {', '.join(lacks)}",
        )
        for (name, lacks), indices in alike.items()
    ]


def processes(reading: ProcessReading | None, gpus: GpuReading | None) -> list[Finding]:
    """The table of processes, and holders of a GPU that are not in it."""
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


def alertmanagers(views: Sequence[AlertmanagerView]) -> list[Finding]:
    """Whether each would take an alert."""
    return [
        Finding(state="wrong", subject="alerts", text=view.failure.message)
        if view.failure is not None
        else Finding(state="ok", subject="alerts", text=f"{view.url} takes them")
        for view in views
    ]
