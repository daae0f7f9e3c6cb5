"""What the commands print: plain text that fits 80 columns, made of the same words as the page.

No colour and no cursor movement: the output is read in pagers, in tickets and by grep.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from burnmeter import xids
from burnmeter.export import verdict, words
from burnmeter.model import Burn
from burnmeter.snapshot import GpuView, Latency, ModelView, Quantile, Snapshot, TargetView

WIDTH: Final = 80
COST: Final = "cost_dollars_total"
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
LATENCY_ORDER: Final = ("ttft", "itl", "tpot", "queue", "prefill", "decode", "duration")


def table(rows: Sequence[Sequence[str]], *, indent: int = 2) -> list[str]:
    """Columns as wide as their widest cell; the first aligned left, the rest right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append((" " * indent + "  ".join([first.ljust(widths[0]), *cells])).rstrip())
    return lines


def wrapped(text: str, *, indent: int = 2, hang: int = 2) -> list[str]:
    """A sentence broken at 80 columns; an address is never broken."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        break_long_words=False,
        break_on_hyphens=False,
    )


def latencies(
    found: Mapping[str, Latency], seen_from: Mapping[str, str] | None = None
) -> list[str]:
    """One line per measure: count, mean, quantiles as the buckets that hold them.

    `seen_from`: measure -> who counted it, if that was not the engine.
    """
    if not found:
        return []
    rows = [["", "count", "mean", "p50", "p95", "p99"]]
    for name in LATENCY_ORDER:
        if name in found:
            row = found[name]
            cells = [_interval(row.quantiles.get(q)) for q in ("p50", "p95", "p99")]
            where = (seen_from or {}).get(name)
            label = words.INDICATORS.get(name, name) + (f" ({where})" if where else "")
            rows.append([label, words.count(row.count), words.seconds(row.mean_seconds), *cells])
    return table(rows)


def _interval(quantile: Quantile | None) -> str:
    return words.quantile(quantile)


def counts(found: Mapping[str, float]) -> str:
    """`ok 60, error 0`."""
    return ", ".join(f"{name} {words.count(value)}" for name, value in found.items()) or "none"


def missing(not_available: Mapping[str, str]) -> list[str]:
    """What an engine cannot say, and why: each reason once."""
    if not not_available:
        return []
    lines = ["", "  cannot be had:"]
    for why in dict.fromkeys(not_available.values()):
        measures = [measure for measure, reason in not_available.items() if reason == why]
        lines += wrapped(f"{', '.join(measures)}: {why}", indent=4)
    return lines


# --- once ----------------------------------------------------------------------------------------


def snapshot(shown: Snapshot) -> str:
    """A whole Snapshot, for `burnmeter once`."""
    when = words.stamp(shown.timestamp_seconds)
    simulated = "; SIMULATED: not a real node" if shown.is_simulated else ""
    title = f"burnmeter {shown.version} on {shown.node}, {when}{simulated}"
    lines = [*wrapped(title, indent=0), ""]
    for model in shown.models:
        lines += [
            *headline(model),
            *rates(model),
            *figures(model),
            *burns([b for b in shown.burns if b.model == model.model]),
            "",
        ]
    if not shown.models:
        lines += ["No engine is watched here. `burnmeter doctor` says why.", ""]
    lines += [*targets(shown.targets), *_gpus(shown.gpus)]
    if any(model.signature is not None for model in shown.models):
        lines += [
            "",
            *wrapped("`burnmeter explain cost MODEL` says what a cost is made of.", indent=0),
        ]
    for source in shown.sources:
        if source.failure is not None:
            lines += wrapped(f"{source.source}: {source.failure.message}", indent=0)
    return "\n".join(lines).rstrip() + "\n"


def headline(view: ModelView) -> list[str]:
    """A model's state, and why."""
    return wrapped(f"{view.model}: {words.STATES[view.state]}, {view.reason}", indent=0)


def rates(view: ModelView) -> list[str]:
    """What a model does and costs, lately."""
    lines: list[str] = []
    rate = words.ratio_range(view.error_ratio_lower, view.error_ratio_upper)
    lines.append(
        f"  {words.unit(view.generated_tokens_per_second, 'tokens/s')}"
        f"   {words.unit(view.requests_per_second, 'requests/s')}   errors {rate}"
        + (f" ({view.seen_from['errors']})" if "errors" in view.seen_from else "")
    )
    lines.append(
        f"  running {words.count(view.running)}   waiting {words.count(view.waiting)}"
        f"   KV cache {words.ratio(view.kv_cache_used_ratio)}"
    )
    lines.append(
        f"  {words.dollars(view.dollars_per_million_tokens)} per million tokens"
        f"   {words.unit(view.joules_per_token, 'J')} per token"
        f"   (over {words.span(view.recent_seconds)})"
    )
    return lines


def figures(view: ModelView) -> list[str]:
    """What its cost is made of, and how long its requests take, also as others see it."""
    lines = [*_money(view), *latencies(view.latencies, view.seen_from)]
    for where, other in view.elsewhere.items():
        lines += wrapped(f"as a {where} sees it ({', '.join(other.targets)}):", indent=2)
        lines.append(f"  requests {counts(other.requests)}")
        lines += latencies(other.latencies)
    return lines


def _money(view: ModelView) -> list[str]:
    """What it brings, where tokens have a price; and what its cost is made of, or why not."""
    lines: list[str] = []
    costs, brings = view.cost_dollars_per_hour, view.revenue_dollars_per_hour
    if costs is not None and brings is not None:
        text = f"an hour: costs {words.dollars(costs)}, brings {words.dollars(brings)}"
        lines += wrapped(text)
    if view.signature is not None and view.signature.dollars:
        lines += _product(words.factors(view.signature.dollars))
    elif view.dollars_per_million_tokens is None and COST in view.not_available:
        lines += wrapped(f"cost: {view.not_available[COST]}")
    return lines


def _product(text: str) -> list[str]:
    """Broken between its factors only; textwrap leaves a no-break space alone."""
    joined = text.replace(" ", NO_BREAK).replace(f"{NO_BREAK}×{NO_BREAK}", f" ×{NO_BREAK}")
    return [line.replace(NO_BREAK, " ") for line in wrapped(f"a token ={NO_BREAK}{joined}", hang=4)]


def burns(found: Sequence[Burn]) -> list[str]:
    """Every objective of a model in a sentence."""
    lines: list[str] = []
    for burn in found:
        left = words.budget(burn.budget_left_ratio)
        why = f", {burn.reason}" if burn.reason else ""
        text = f"{burn.objective.name}: {words.STATES[burn.state]}{why}; budget {left}"
        if burn.objective.indicator in words.ANSWERED and burn.source is not None:
            text += f", counted {words.counted(burn)}"
        lines += wrapped(text)
    return lines


def targets(found: Iterable[TargetView]) -> list[str]:
    """Every engine in a sentence."""
    lines: list[str] = []
    for view in found:
        why = view.failure.message if view.failure else view.illness
        who = " ".join(word for word in (view.engine or "engine not known", view.version) if word)
        if view.role not in (None, "engine"):
            who += f", {view.role}"
        text = f"{view.target} ({who}) {verdict.target_state(view)}{f': {why}' if why else ''}"
        lines += wrapped(text, indent=0)
    return lines


def _gpus(found: Iterable[GpuView]) -> list[str]:
    rows = [["GPU", "used", "memory", "power", "temp", "held by"]]
    failures: list[str] = []
    for view in found:
        gpu = view.gpu
        holders = (
            ", ".join(sorted({share.model for share in view.shares if share.model})) or "nobody"
        )
        if gpu.failure is not None:
            holders = "does not answer"
            failures += wrapped(f"GPU {gpu.index}: {gpu.failure.message}", indent=0)
        if view.throttled_by:
            reasons = ", ".join(view.throttled_by).replace("_", " ")
            failures += wrapped(f"GPU {gpu.index}: its clocks are held down: {reasons}", indent=0)
        if (asked := verdict.recovery(view)) is not None:
            text = f"GPU {gpu.index}: the driver asks for a recovery: {asked}"
            failures += wrapped(text, indent=0)
        for xid in view.xids:
            times = f" ({xid.times} times)" if xid.times > 1 else ""
            text = f"GPU {gpu.index}: XID {xid.code}{times}, {xid.name}: {xid.meaning}"
            failures += wrapped(f"{text} {xids.ACTIONS.get(xid.action, xid.action)}", indent=0)
        rows.append(
            [
                str(gpu.index),
                words.ratio(gpu.utilisation_ratio),
                words.size(gpu.memory_used_bytes),
                words.unit(gpu.power_watts, "W"),
                words.unit(gpu.temperature_celsius, "°C"),
                holders[:34],
            ]
        )
    return ["", *table(rows, indent=0), *failures] if len(rows) > 1 else []
