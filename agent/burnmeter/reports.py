"""What `inspect`, `explain`, `doctor`, `record` and `replay` print; the daemon needs none of it."""

from collections.abc import Iterable

from burnmeter.doctor import Finding
from burnmeter.explanation import Explanation
from burnmeter.export import terminal, words
from burnmeter.inspection import RATES_SHOWN_SECONDS, Inspection
from burnmeter.names import OVERFLOW
from burnmeter.snapshot import Snapshot

MARKS = {"ok": "ok     ", "missing": "missing", "wrong": "WRONG  "}


def inspection(found: Inspection) -> str:
    """A page, or what happened between two."""
    what = "between the two pages" if found.is_difference else "since the engine started"
    if found.is_of_rates:
        what = f"in {RATES_SHOWN_SECONDS:g} s, as its rates are now"
    title = f"{found.title} {found.version}" if found.version else found.title
    lines = terminal.wrapped(f"{title}, role {found.role}: {what}", indent=0)
    if found.vantage == "gateway":
        lines.append("it sees the requests that its engines see; the two are never added")
    if found.is_restart:
        lines.append("the engine restarted in between: counted from zero")
    if found.also:
        also = ", ".join(found.also)
        lines += terminal.wrapped(f"also on this page, and not counted: {also}", indent=0)
    if found.models_beyond:
        more = f"{found.models_beyond} more models are counted together, as `{OVERFLOW}`"
        lines += terminal.wrapped(more, indent=0)
    if not found.models:
        lines += ["", "no model has been counted on this page yet"]
    for name, model in found.models.items():
        lines += ["", f"model {name}"]
        lines += terminal.wrapped(f"requests: {terminal.counts(model.requests)}")
        lines += terminal.wrapped(f"tokens: {terminal.counts(model.tokens)}")
        lines += terminal.latencies(model.latencies)
        now = found.gauges.get(name, {})
        text = ", ".join(f"{measure} {value:g}" for measure, value in now.items())
        lines += terminal.wrapped(f"now: {text}") if now else []
    lines += terminal.missing(found.not_available)
    if found.unknown_families:
        lines += ["", *terminal.wrapped(f"new to us: {', '.join(found.unknown_families)}")]
    return "\n".join(lines) + "\n"


def explanation(found: Explanation) -> str:
    """Where a number comes from."""
    metric = found.metric
    lines = [f"{metric.name} ({metric.kind}, {metric.unit})"]
    lines += terminal.wrapped(metric.help)
    lines += terminal.wrapped(f"labels: {', '.join(metric.labels) or 'none'}")
    if metric.source:
        lines += terminal.wrapped(f"from: {metric.source}")
    if metric.otel:
        lines += terminal.wrapped(f"OpenTelemetry: {metric.otel}")
    for origin in found.origins:
        lines += ["", f"{origin.engine}  {origin.place}".rstrip()]
        if origin.not_available is not None:
            lines += terminal.wrapped(f"cannot be had: {origin.not_available}")
            continue
        lines += terminal.wrapped(f"means: {origin.means}")
        lines += terminal.wrapped(f"observed: {origin.observed}")
        for part in origin.formula.split("; "):
            # A selector is one long word; it may be broken where it begins and where it says "or".
            spaced = part.replace("|", "| ").replace("{", "{ ")
            wrapped = terminal.wrapped(spaced)
            lines += [line.replace("| ", "|").replace("{ ", "{") for line in wrapped]
    return "\n".join(lines) + "\n"


def findings(found: Iterable[Finding]) -> str:
    """One line each, the remedy below."""
    lines: list[str] = []
    for finding in found:
        text = f"{MARKS[finding.state]}  {finding.subject}: {finding.text}"
        lines += terminal.wrapped(text, indent=0, hang=9)
        if finding.remedy is not None:
            lines += terminal.wrapped(f"-> {finding.remedy}", indent=9, hang=3)
    return "\n".join(lines) + "\n"


def happened(snapshot: Snapshot, tick: int) -> str:
    """What is new in one tick of a replay, one event a line; empty if nothing is."""
    lines: list[str] = []
    for event in snapshot.events:
        if event.timestamp_seconds == snapshot.timestamp_seconds:
            text = f"{words.stamp(event.timestamp_seconds)}  tick {tick}"
            text += f"  {event.subject}: {event.kind}, {event.text}"
            lines += terminal.wrapped(text, indent=0, hang=4)
    return "".join(f"{line}\n" for line in lines)


def recorded(ticks: int, targets: int, size_bytes: int) -> str:
    """How far a recording has come."""
    return (
        f"{ticks} tick{'s' * (ticks != 1)} of {targets} target{'s' * (targets != 1)},"
        f" {size_bytes} bytes"
    )
