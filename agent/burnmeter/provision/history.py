"""What a Prometheus has counted of objectives, asked within bounds and told beforehand.

It knows neither engines nor alerts: where events are counted comes as texts (indicators.py,
engine_counts.py), what becomes of them is hindsight.py's.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, isinf, nan
from typing import Final

from burnmeter.errors import BurnmeterError
from burnmeter.model import Objective
from burnmeter.provision import conventions as names
from burnmeter.provision.conventions import quoted
from burnmeter.provision.counted import BASE_SECONDS, Counted, by_agents, spans_seconds
from burnmeter.provision.hindsight import Counts, Grid, Hindsight, Past, is_asked, judged
from burnmeter.provision.prometheus_api import MOST_POINTS, Prometheus, Series

MOST_QUERIES: Final = 3000
MOST_VALUES: Final = 60_000_000
"""Of all queries; an objective's are held until the next is asked: about 8 bytes each."""
AGENTS: Final = "agents"
Name = Callable[[Mapping[str, str]], str]
"""Labels of a series -> our name of its model."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where some events of an objective are counted."""

    source: str
    """For people."""
    counted: Counted
    name: Name
    models: frozenset[str]
    """Of which it is believed; what else it counts is counted nearer to the engines."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One objective, and all who count its events."""

    objective: Objective
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """An objective that cannot be judged from this history."""

    objective: Objective
    reason: str


@dataclass(frozen=True, slots=True)
class Bill:
    """What asking will cost a Prometheus."""

    queries: int
    values: int
    """At most."""

    def __str__(self) -> str:
        return f"{self.queries} queries, at most {_rounded(self.values)} points"


def _rounded(number: int) -> str:
    return f"{number / 1e6:.1f} million" if number >= 1e6 else f"{number}"


def grid(
    objectives: Sequence[Objective],
    *,
    begin_seconds: float,
    end_seconds: float,
    step_seconds: float,
) -> Grid:
    """From the longest window or period before the beginning, so that all of them are full."""
    spanned = [s for one in objectives for s in (*spans_seconds(one), one.period_seconds)]
    before = ceil(max(spanned, default=0.0) / step_seconds)
    end = end_seconds // step_seconds  # On whole steps since 1970, as who asks twice expects.
    first = end - ceil((end_seconds - begin_seconds) / step_seconds)
    return Grid(
        start_seconds=(first - before) * step_seconds,
        step_seconds=step_seconds,
        count=int(end - first) + before + 1,
        first=before,
    )


# --- by agents ----------------------------------------------------------------------------------


def has_agents(prometheus: Prometheus, grid: Grid) -> bool:
    """Whether any agent has counted any objective in the time asked for."""
    found = prometheus.label_values(
        "slo", [names.VALID], start_seconds=grid.begin_seconds, end_seconds=grid.end_seconds
    )
    return bool(found)


def from_agents(
    prometheus: Prometheus, objectives: Sequence[Objective], grid: Grid, model: str | None
) -> Iterator[Asked | Refused]:
    """Each objective by the counters of its name."""
    for objective in objectives:
        ours = _narrowed(objective, model)
        where = [("slo", objective.name), *ours.match]
        selector = ",".join(f"{label}={quoted(value)}" for label, value in where)
        models = prometheus.label_values(
            "model",
            [f"{names.VALID}{{{selector}}}"],
            start_seconds=grid.begin_seconds,
            end_seconds=grid.end_seconds,
        )
        if models:
            part = Part(AGENTS, by_agents(ours), lambda labels: labels["model"], frozenset(models))
            yield Asked(objective, (part,))
        else:
            which = f" of {model}" if model is not None else ""
            yield Refused(objective, f"no agent has counted it{which} in this time")


def _narrowed(objective: Objective, model: str | None) -> Objective:
    """The same, of one model only, so that no more is asked than is wanted."""
    if model is None or dict(objective.match).get("model", model) != model:
        return objective
    return replace(
        objective, match=(*(p for p in objective.match if p[0] != "model"), ("model", model))
    )


# --- asking -------------------------------------------------------------------------------------


def bill(asked: Sequence[Asked], grid: Grid) -> Bill:
    """What it will cost. Raises BurnmeterError if that is more than we ask of anybody."""
    queries = values = 0
    for one in asked:
        for seconds, texts in _windows(one.objective):
            moments = grid.count - (0 if seconds == BASE_SECONDS else grid.first)
            for part in one.parts:
                queries += texts * ceil(moments / MOST_POINTS)
                values += texts * moments * len(part.models)
    found = Bill(queries, values)
    if queries > MOST_QUERIES or values > MOST_VALUES:
        text = f"that is {found}, more than {Bill(MOST_QUERIES, MOST_VALUES)}"
        raise BurnmeterError(f"{text}; ask for less with --since, --step or --model")
    return found


def _windows(objective: Objective) -> Iterator[tuple[float, int]]:
    """Every window that is asked for, and how many texts it takes."""
    for seconds in filter(is_asked, spans_seconds(objective)):
        yield seconds, 3 if seconds == BASE_SECONDS else 2


def hindsights(prometheus: Prometheus, asked: Asked, grid: Grid) -> Iterator[Hindsight]:
    """What the alerts of one objective would have done, model by model."""
    found: dict[str, dict[tuple[float, str], array[float]]] = {}
    sources: dict[str, list[str]] = {}
    for part in asked.parts:
        for place, series in _asked(prometheus, asked.objective, part.counted, grid):
            model = part.name(series.labels)
            if model in part.models:
                _add(found.setdefault(model, {}), place, series, grid)
                if part.source not in (said := sources.setdefault(model, [])):
                    said.append(part.source)
    nothing = array("d", [nan]) * grid.count
    for model, points in sorted(found.items()):
        windows = {
            seconds: Counts(
                points.get((seconds, "valid"), nothing), points.get((seconds, "bad"), nothing)
            )
            for seconds, _ in _windows(asked.objective)
        }
        past = Past(windows, points.get((BASE_SECONDS, "bad_upper"), nothing))
        source = ", ".join(sources[model])
        yield judged(asked.objective, model, source, past, grid)


def _asked(
    prometheus: Prometheus, objective: Objective, counted: Counted, grid: Grid
) -> Iterator[tuple[tuple[float, str], Series]]:
    for seconds, number in _windows(objective):
        texts = {"valid": counted.valid, "bad": counted.bad_lower, "bad_upper": counted.bad_upper}
        start = grid.start_seconds if seconds == BASE_SECONDS else grid.begin_seconds
        for what, text in list(texts.items())[:number]:
            for series in prometheus.range(
                text(seconds),
                start_seconds=start,
                end_seconds=grid.end_seconds,
                step_seconds=grid.step_seconds,
            ):
                yield (seconds, what), series


def _add(
    points: dict[tuple[float, str], "array[float]"],
    place: tuple[float, str],
    series: Series,
    grid: Grid,
) -> None:
    """Several series of one model are one: its names in two engines, its jobs."""
    into = points.get(place)
    if into is None:
        into = points[place] = array("d", [nan]) * grid.count
    for at, value in series.points:
        index = round((at - grid.start_seconds) / grid.step_seconds)
        if 0 <= index < grid.count and value == value and not isinf(value):
            before = into[index]
            into[index] = value if before != before else before + value
