"""One look at a candidate: what is asked of whom, and a verdict on each measure."""

from collections.abc import Iterable, Mapping

from burnmeter.errors import BurnmeterError
from burnmeter.model import Objective
from burnmeter.provision import canary, canary_queries
from burnmeter.provision.canary import Compared, Plan
from burnmeter.provision.canary_queries import Sides, Window
from burnmeter.provision.canary_report import Report


class SharedSeriesError(BurnmeterError):
    """The two sides are not two; one sentence with what they share."""


def asked(
    window: Window,
    plan: Plan,
    sides: Sides,
    margins: Mapping[str, float],
    thresholds_seconds: Mapping[str, float],
) -> Report:
    """Ask Prometheus and judge, measure by measure."""
    compared, what = {}, {}
    for measure in plan.measures:
        shared = canary_queries.shared_series(window, measure, sides)
        if shared:
            metric = canary_queries.whole_metric(measure)
            text = f"{shared} series of {metric} are on both sides; name sides that share none"
            raise SharedSeriesError(text)
        found = canary_queries.fetch(window, measure, sides, thresholds_seconds.get(measure))
        terms = plan.terms(measure, margins[measure])
        if found.reason is not None:
            compared[measure] = Compared(verdict=canary.INCONCLUSIVE, reason=found.reason)
        else:
            compared[measure] = canary.compare(found.slices, terms)
        what[measure] = found.what
    return Report(sides=sides, plan=plan, margins=margins, compared=compared, what=what)


def objectives_for(model: str | None, objectives: Iterable[Objective]) -> dict[str, Objective]:
    """Measure -> the first objective that may hold for the model."""
    found: dict[str, Objective] = {}
    for one in objectives:
        if one.indicator in canary.MEASURES and dict(one.match).get("model", model) == model:
            found.setdefault(one.indicator, one)
    return found


def margins_of(objectives: Mapping[str, Objective]) -> dict[str, float]:
    """Measure -> the part of its budget that is tolerated."""
    return {
        name: (1 - one.objective_ratio) * canary.BUDGET_PART for name, one in objectives.items()
    }
