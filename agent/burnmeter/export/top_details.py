"""What is known of one row of `burnmeter top`, in lines of text: what matters first. Pure.

The sentences are those of `burnmeter once`.
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Final, NamedTuple

from burnmeter.export import live, terminal, verdict, words
from burnmeter.export.top_layout import Row, breadth
from burnmeter.export.top_sections import gpu_key
from burnmeter.model import Burn
from burnmeter.snapshot import GpuView, ModelView, Snapshot, TargetView

BLOCKS: Final = " ▁▂▃▄▅▆▇█"
"""Nothing known, then from nothing to the most."""
CHARTED: Final = 50
"""Points of a chart; with its words it fits 80 columns."""
LEAST_WIDTH: Final = 20
WIDE: Final = 164
"""From here on two columns of text stand beside each other."""


class Details(NamedTuple):
    """What matters first, and the figures: side by side where there is room."""

    first: list[str]
    figures: list[str]


def details(snapshot: Snapshot, section: str, row: Row) -> Details:
    """All that is known of a row."""
    if section == "models":
        views = [view for view in snapshot.models if view.model == row.key]
        return _model(snapshot, views[0]) if views else Details([], [])
    say: Mapping[str, Callable[[Snapshot, Row], list[str]]] = {
        "engines": _engine,
        "gpus": _gpu,
        "objectives": _objective,
    }
    return Details(say.get(section, _sentence)(snapshot, row), [])


def laid(found: Details, width: int) -> list[str]:
    """As lines of a screen of that width."""
    if width < WIDE or not found.figures:
        return wrapped([*found.first, *found.figures], width)
    half = width // 2 - 1
    left, right = wrapped(found.first, half), wrapped(found.figures, half)
    return [
        (one + " " * (half + 2 - breadth(one)) + other).rstrip()
        for one, other in zip_longest(left, right, fillvalue="")
    ]


def wrapped(lines: Iterable[str], width: int) -> list[str]:
    """The same, broken to a width; what goes on stands further in."""
    found: list[str] = []
    for line in lines:
        if breadth(line) <= width:
            found.append(line)
            continue
        indent = " " * (len(line) - len(line.lstrip()))
        wide = max(LEAST_WIDTH, width)
        found += textwrap.wrap(
            line.strip(), wide, initial_indent=indent, subsequent_indent=f"{indent}  "
        )
    return found


def spark(values: Sequence[float | None]) -> str:
    """A small chart in signs of eight heights; where nothing is known, nothing stands."""
    known = [value for value in values if value is not None]
    most = max(known, default=0.0)
    signs = len(BLOCKS) - 1
    return "".join(
        BLOCKS[0]
        if value is None
        else BLOCKS[1 if most <= 0 else 1 + min(signs - 1, int(value / most * (signs - 1) + 0.5))]
        for value in values
    )


def _model(snapshot: Snapshot, view: ModelView) -> Details:
    burns = [burn for burn in snapshot.burns if burn.model == view.model]
    hits = [
        f"  {words.span(snapshot.timestamp_seconds - hit.timestamp_seconds)} ago: {hit.subjects}:"
        f" {hit.text}"
        for hit in live.hits(snapshot, view.model)
    ]
    where = f"  served by {words.some(list(view.targets))}" if view.targets else "  served by none"
    if gpus := _gpus_of(snapshot, view.model):
        where += f", on GPU {words.some(gpus, len(gpus))}"
    is_said = any(burn.state == view.state and burn.reason for burn in burns)
    state = f"{view.model}: {words.STATES.get(view.state, view.state)}"
    return Details(
        [
            *([state] if is_said else terminal.headline(view)),
            *terminal.burns(burns),
            *hits,
            where,
        ],
        [*terminal.rates(view), *_charts(view), *terminal.figures(view)],
    )


def _gpus_of(snapshot: Snapshot, model: str) -> list[str]:
    return [
        str(view.gpu.index)
        for view in snapshot.gpus
        if any(share.model == model for share in view.shares)
    ]


def _charts(view: ModelView) -> list[str]:
    """The recent past, if there is one."""
    past = view.history[-CHARTED:]
    if len(past) < 2:
        return []
    length = words.span(past[-1].timestamp_seconds - past[0].timestamp_seconds)
    series: tuple[tuple[str, list[float | None], Callable[[float], str]], ...] = (
        ("tokens/s", [point.generated_tokens_per_second for point in past], words.number),
        ("burn", [point.burn_lower for point in past], lambda most: words.burn(most, most)),
    )
    lines = [f"  the last {length}:"]
    for name, values, say in series:
        known = [value for value in values if value is not None]
        if known:
            lines.append(f"  {name:<8}  {spark(values)}  up to {say(max(known))}")
    return lines if len(lines) > 1 else []


def _engine(snapshot: Snapshot, row: Row) -> list[str]:
    views = [view for view in snapshot.targets if view.target == row.key]
    return [line for view in views[:1] for line in (*terminal.targets([view]), *_endpoint(view))]


def _endpoint(view: TargetView) -> list[str]:
    age = "never" if view.age_seconds is None else f"{words.span(view.age_seconds)} ago"
    found = [
        f"  {view.url}, found by: {view.origin}" + (f", process {view.pid}" if view.pid else ""),
        f"  last read {age}, in {words.seconds(view.duration_seconds)},"
        f" {words.size(float(view.body_bytes))}   restarts {view.restarts}",
    ]
    for name, own in view.models.items():
        found.append(f"  serves {name}" + (f", which it calls {own}" if own else ""))
    if view.unknown_families:
        few = words.some(list(view.unknown_families))
        found.append(f"  on its page, and not known to us: {few}")
    return found


def _gpu(snapshot: Snapshot, row: Row) -> list[str]:
    views = [view for view in snapshot.gpus if gpu_key(view) == row.key]
    if not views:
        return []
    view, gpu = views[0], views[0].gpu
    low, high = gpu.utilisation_min_ratio, gpu.utilisation_max_ratio
    between = f" ({words.ratio_range(low, high)})" if low is not None and high is not None else ""
    energy = words.unit(view.energy_joules, "J")
    return [
        f"GPU {gpu.index}: {gpu.name}, {gpu.uuid}: {verdict.gpu_state(view)}",
        *(f"  {kind}: {text}" for kind, text in verdict.troubles(view, snapshot.timestamp_seconds)),
        *_tenants(view),
        f"  used {words.ratio(gpu.utilisation_ratio)}{between}"
        f"   memory {words.size(gpu.memory_used_bytes)} of {words.size(gpu.memory_total_bytes)}",
        f"  {words.unit(gpu.power_watts, 'W')} of {words.unit(gpu.power_limit_watts, 'W')}"
        f"   {words.unit(gpu.temperature_celsius, '°C')}"
        f"   SM clock {words.unit(gpu.sm_clock_hertz, 'Hz')}"
        f"   memory clock {words.unit(gpu.memory_clock_hertz, 'Hz')}",
        *(f"  {name} active {words.ratio(ratio)}" for name, ratio in live.gpm(view).items()),
        f"  {words.dollars(view.dollars_per_hour)} an hour"
        + (f", by {view.price_source}" if view.price_source else "")
        + f"   {energy} since the agent started",
        *(f"  XID {xid.code}, {xid.name}: {xid.meaning}" for xid in view.xids),
    ]


def _tenants(view: GpuView) -> list[str]:
    found = []
    for share in view.shares:
        method = words.METHODS.get(share.method, share.method)
        pod = f", pod {share.namespace}/{share.pod}" if share.pod else ""
        found.append(f"  {share.model or 'nobody'}: {share.state}, {method}{pod}")
    for instance in view.gpu.instances or ():
        used, total = instance.memory_used_bytes, instance.memory_total_bytes
        found.append(f"  {instance.name}: {words.size(used)} of {words.size(total)}")
    return found


def _objective(snapshot: Snapshot, row: Row) -> list[str]:
    for place, burn in enumerate(snapshot.burns):
        if row.key == f"{burn.model} {burn.objective.name} {place}":
            return _burn(burn)
    return []


def _burn(burn: Burn) -> list[str]:
    state = words.STATES.get(burn.state, burn.state)
    by = words.counted(burn)
    rows = [["  window", "burn", "measured", "valid"]]
    for window in burn.windows:
        said = words.burn(window.burn_lower, window.burn_upper)
        covered = words.span(window.covered_seconds)
        rows.append([f"  {words.span(window.seconds)}", said, covered, words.count(window.valid)])
    return [
        f"{burn.objective.name} of {burn.model}: {state}"
        + (f", {burn.reason}" * bool(burn.reason)),
        f"  {words.promise(burn.objective)}; budget {words.budget(burn.budget_left_ratio)}",
        f"  {words.tallied(burn)}" + (f", counted {by}" if by else ""),
        *terminal.table(rows, indent=0),
    ]


def _sentence(_: Snapshot, row: Row) -> list[str]:
    """A row whose cells say it all, uncut."""
    cells = list(row.cells.values())
    return [": ".join(cell.text for cell in cells if cell.text)]
