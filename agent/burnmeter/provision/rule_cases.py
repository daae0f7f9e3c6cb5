"""What can happen to the events of an objective, and which alerts must fire then, and when. Pure.

The times are those of the workbook's formula (reach.py), not of the rules, so that a wrong window,
label or comparison in a rule is found. rule_tests.py writes the cases down for promtool.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from burnmeter.provision import burn_rules, reach
from burnmeter.provision import conventions as names
from burnmeter.provision.burn_rules import MISSING_SECONDS, Making
from burnmeter.provision.conventions import SEVERITIES, duration, number
from burnmeter.provision.counted import spans_seconds
from burnmeter.provision.reach import Promise

HOUR: Final = 3600.0
DAY: Final = 86400.0
MODEL: Final = "chat"
PER_SAMPLE: Final = 100_000
"""Valid events between two samples of busy traffic: a share of them to five digits is whole."""
NOT_MEASURED: Final = "BurnmeterSloNotMeasured"
BUSY: Final = 20
"""How many times that come in a busy time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a file's tests evaluate, and how often their agents are scraped."""

    suffix: str
    evaluate_seconds: float
    scrape_seconds: float


FAST: Final = Pace(suffix="", evaluate_seconds=60.0, scrape_seconds=30.0)
SLOW: Final = Pace(suffix="_days", evaluate_seconds=600.0, scrape_seconds=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time in which the same comes at every sample. `valid` None: no sample at all."""

    seconds: float
    valid: float | None = PER_SAMPLE
    bad: float = 0.0
    """Certainly."""
    doubtful: float = 0.0
    """Bad or not: nobody can tell."""
    measured_ratio: float = 1.0
    is_restart: bool = False
    """The agent begins anew, and its counters with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What happens to one or more nodes, and when what must fire."""

    name: str
    nodes: Mapping[str, Sequence[Stretch]]
    alerts: Sequence[tuple[float, str, str, bool]] = ()
    """At so many seconds: severity (or the cause, of what is not measured), alert, whether."""
    values: Sequence[tuple[float, str, float | None]] = ()
    """At so many seconds: a query, and its one value; None: it has none."""
    told_at_seconds: float | None = None
    """Then page and ticket fire, with all their texts, while everything fails."""
    objective_ratio: float | None = None
    """As the agents say it; None: as the rules do."""


def hours(making: Making) -> Iterator[Case]:
    """What shows within hours: pages, and what is no alert or not measured."""
    fast = _first(making)
    for one in reach.promises(making.objective):
        if one.tier.severity == "page":
            yield from _at_tier(making, one, FAST)
    yield _outage(making, fast)
    yield Case(
        name="everything has failed since the agents began: both alerts, with their texts",
        nodes={"a": [_failing(HOUR, 1.0)]},
        told_at_seconds=HOUR,
    )
    if making.floor:
        yield from _quiet(making)
    yield from _counters(making, fast)
    yield _two_nodes(making)
    yield from _unmeasured(making)
    yield from _doubted(making, fast)


def days(making: Making) -> Iterator[Case]:
    """What takes days: tickets."""
    for one in reach.promises(making.objective):
        if one.tier.severity != "page":
            yield from _at_tier(making, one, SLOW)


def _at_tier(making: Making, one: Promise, pace: Pace) -> Iterator[Case]:
    """1.5 times what a tier bears fires when it should and clears when it should; half does not.

    Tiers of longer windows are kept out by busy days before: of much traffic, few events fail.
    """
    alert, severity, every = making.family.alert, one.tier.severity, pace.evaluate_seconds
    same = [p for p in reach.promises(making.objective) if p.tier.severity == severity]
    able = [p for p in same if p.tier.long_seconds <= one.tier.long_seconds]
    clean = _grid(one.tier.long_seconds + HOUR, every)
    busy = [
        Stretch(seconds=p.tier.long_seconds, valid=BUSY * PER_SAMPLE) for p in same if p not in able
    ]
    before = clean + sum(stretch.seconds for stretch in busy)
    rate = min(1.0, 1.5 * one.trip_ratio)
    fires = reach.first(able, severity, rate)
    assert fires is not None, "more than a tier bears fires it"
    slack = max(2 * every, 0.04 * fires)
    # So long that what only may be bad would have its ticket, were it not certain.
    least = fires + (MISSING_SECONDS if one == _first(making) else 0.0)
    lasts = _grid(max(least + 2 * slack, one.tier.short_seconds), every)
    clears = max(
        reach.clears_after_seconds(p, rate)
        for p in able
        if (after := reach.fires_after_seconds(p, rate)) is not None and after <= lasts
    )
    end = before + lasts
    said = f"{number(rate)} of events fail: {severity} after {reach.short(fires)}"
    yield Case(
        name=f"{said}, over {reach.short(clears)} after recovery",
        nodes={"a": [*busy, _ok(clean), _failing(lasts, rate), _ok(clears + 0.5 * HOUR)]},
        alerts=[
            (_grid(before + fires - slack, every), severity, alert, False),
            (_grid(before + fires + slack, every), severity, alert, True),
            (end, severity, alert, True),
            (_grid(end + clears - every, every), severity, alert, True),
            (_grid(end + clears + 2 * every, every) + every, severity, alert, False),
            (end, "doubt", NOT_MEASURED, False),
        ],
    )
    half, lasts = 0.5 * one.trip_ratio, _grid(one.tier.long_seconds, every)
    yield Case(
        name=f"{number(half)} of events fail, half of what the tier bears: no {severity}",
        nodes={"a": [*busy, _ok(clean), _failing(lasts, half)]},
        alerts=[(_grid(before + part * lasts, every), severity, alert, False) for part in (0.5, 1)],
    )


def _first(making: Making) -> Promise:
    """The tier that pages first, and that doubt is held against."""
    return next(one for one in reach.promises(making.objective) if one.tier.severity == "page")


def _outage(making: Making, fast: Promise) -> Case:
    """Everything fails: who is paged, when, and with which words."""
    soon = reach.first(reach.promises(making.objective), "page", 1.0)
    assert soon is not None, "every objective has a page that a total outage reaches"
    before, lasts = 7 * HOUR, fast.tier.long_seconds + 600.0
    at = before + lasts - 300.0
    alert, window = making.family.alert, duration(300)
    burn = 1.0 / making.budget_ratio
    return Case(
        name=f"everything fails: a page within {reach.short(soon)}",
        nodes={"a": [_ok(before), _failing(lasts, 1.0)]},
        alerts=[
            (_grid(before + soon + 120.0, 60.0), "page", alert, True),
            (before - 60.0, "page", alert, False),
            (before - 60.0, "ticket", alert, False),
        ],
        values=[
            (before, making.series(names.ERROR_RATIO + window), 0.0),
            (at, making.series(names.ERROR_RATIO + window), 1.0),
            (at, making.series(names.BURN), burn),
            (at, making.series(names.OBJECTIVE), making.objective.objective_ratio),
            (at, making.series(names.BUDGET), making.budget_ratio),
            (at, making.series(names.PERIOD_DAYS), making.objective.period_seconds / DAY),
            (at, f"count({making.series(names.INFO)})", 1.0),
            (at, _labelled(making), float(_recorded(making))),
            (before, making.series(names.BUDGET_LEFT), 1.0),
        ],
    )


def _labelled(making: Making) -> str:
    """All that is recorded with the labels that it should have."""
    wanted = {**labels(making, "", ""), "__name__": "slo:.+|" + names.INFO}
    for key in ("alertname", "severity", "sloth_severity"):
        del wanted[key]
    said = ",".join(f'{key}=~"{value}"' for key, value in wanted.items())
    return f"count({{{said}}})"


def _recorded(making: Making) -> int:
    return sum(1 for group in burn_rules.groups(making) for rule in group.rules if rule.record)


def _quiet(making: Making) -> Iterator[Case]:
    """Ten requests an hour: one failure alerts nobody, a total outage does."""
    alert = making.family.alert
    calm = [Stretch(seconds=330, valid=0), Stretch(seconds=30, valid=1)]
    failing = [Stretch(seconds=330, valid=0), Stretch(seconds=30, valid=1, bad=1)]
    night = calm * 20
    at = 2 * HOUR
    slow = [p for p in reach.promises(making.objective) if p.tier.severity == "page"][-1]
    # Where most may fail, the window of the slower page must have hardly anything else in it.
    lasts = 2 * HOUR if slow.trip_ratio < 0.501 else slow.tier.long_seconds
    doubtful = [replace(one, bad=0, doubtful=one.bad) for one in failing]
    for said, found in (("fail", failing), ("may have failed", doubtful)):
        yield Case(
            name=f"one and then another of ten requests in a quiet hour {said}: nobody is alerted",
            nodes={"a": [*night, *found, *found, *night]},
            alerts=[
                (at + minutes * 60.0, kind, name, False)
                for minutes in (6, 10, 14, 30, 60, 120)
                for kind, name in (("page", alert), ("ticket", alert), ("doubt", NOT_MEASURED))
            ],
        )
    yield Case(
        name="a total outage pages, though ten requests an hour come",
        nodes={"a": [*night, *(failing * round(lasts / 360.0))]},
        alerts=[(at, "page", alert, False), (at + lasts, "page", alert, True)],
    )


def _counters(making: Making, fast: Promise) -> Iterator[Case]:
    """Resets, gaps and restarts make no alert, and end none."""
    alert = making.family.alert
    both = ("page", "ticket")
    anew = Stretch(seconds=HOUR, is_restart=True)
    for name, after in (
        ("counters that begin anew are no errors", [anew]),
        ("a gap of ten minutes is no error", [_silence(600), _ok(HOUR)]),
        ("an agent that starts again after two minutes makes no alert", [_silence(120), anew]),
    ):
        yield Case(
            name=name,
            nodes={"a": [_ok(HOUR), *after]},
            alerts=[
                (HOUR + minutes * 60.0, severity, alert, False)
                for minutes in (1, 3, 5, 11, 20, 55)
                for severity in both
            ],
        )
    yield Case(
        name="an outage pages on when the agent starts again in it",
        nodes={
            "a": [
                _ok(HOUR),
                _failing(0.5 * HOUR, 1.0),
                _silence(60),
                replace(_failing(0.5 * HOUR, 1.0), is_restart=True),
            ]
        },
        alerts=[
            (1.5 * HOUR, "page", alert, True),
            (1.5 * HOUR + 300.0, "page", alert, True),
            (2 * HOUR, "page", alert, True),
        ],
    )
    ratio = making.series(names.ERROR_RATIO + duration(fast.tier.long_seconds))
    yield Case(
        name="without events there is no ratio, and no alert",
        nodes={"a": [Stretch(seconds=2 * HOUR, valid=0)]},
        alerts=[(2 * HOUR, severity, alert, False) for severity in both],
        values=[(2 * HOUR, ratio, None)],
    )


def _two_nodes(making: Making) -> Case:
    """One of two nodes fails, with a quarter of the events: volume decides, and one alert tells."""
    alert = making.family.alert
    few = Stretch(seconds=HOUR, valid=PER_SAMPLE // 4)
    burning = replace(few, seconds=2 * HOUR, bad=PER_SAMPLE // 4)
    ratio = making.series(names.ERROR_RATIO + duration(300))
    known = []
    for severity in SEVERITIES:
        ours = [p for p in reach.promises(making.objective) if p.tier.severity == severity]
        least = min(p.trip_ratio for p in ours)
        # Between the two it depends on how long a window has been filled.
        if not 0.101 <= least < 0.2:
            known.append((3 * HOUR, severity, alert, least < 0.101))
    return Case(
        name="one of two nodes fails: a fifth of all events, not the half of two nodes",
        nodes={"a": [_ok(3 * HOUR)], "b": [few, burning]},
        alerts=known,
        values=[(3 * HOUR, ratio, 0.2), (3 * HOUR, f"count({ratio})", 1.0)],
    )


def _unmeasured(making: Making) -> Iterator[Case]:
    """What is missing is a ticket of its own, and never a page of the objective."""
    name, late = NOT_MEASURED, MISSING_SECONDS + 60.0
    burn = making.family.alert
    yield Case(
        name="no agent counts it",
        nodes={},
        alerts=[
            (MISSING_SECONDS - 60.0, "absent", name, False),
            (late, "absent", name, True),
            (late, "page", burn, False),
        ],
    )
    yield Case(
        name="it was counted and is not any more",
        nodes={"a": [_ok(HOUR), _silence(8 * HOUR)]},
        alerts=[
            (8 * HOUR, "vanished", name, True),
            (HOUR + MISSING_SECONDS, "vanished", name, False),
            (HOUR + MISSING_SECONDS + 600.0, "vanished", name, True),
            (HOUR + MISSING_SECONDS + 600.0, "page", burn, False),
        ],
    )
    third = Stretch(seconds=2 * HOUR, measured_ratio=1 / 3)
    most = Stretch(seconds=2 * HOUR, measured_ratio=2 / 3)
    for said, stretch, wants in (("a third", third, True), ("two thirds", most, False)):
        yield Case(
            name=f"{said} of the time is measured",
            nodes={"a": [stretch]},
            alerts=[(2 * HOUR, "coverage", name, wants), (2 * HOUR, "page", burn, False)],
        )
    yield Case(
        name="an agent is held to another objective",
        nodes={"a": [_ok(HOUR)]},
        alerts=[(HOUR, "ticket", "BurnmeterSloDiffers", True)],
        objective_ratio=making.objective.objective_ratio / 2,
    )
    yield Case(
        name="all agents are held to this objective, and all of it is measured",
        nodes={"a": [_ok(HOUR)], "b": [_ok(HOUR)]},
        alerts=[
            (HOUR, "ticket", "BurnmeterSloDiffers", False),
            *((HOUR, cause, name, False) for cause in ("absent", "vanished", "coverage", "doubt")),
        ],
    )


def _doubted(making: Making, fast: Promise) -> Iterator[Case]:
    """What may be bad is a ticket while it would page, unless it is certain and does page."""
    vague = _vague(2 * HOUR, 1.0)
    windows = map(duration, spans_seconds(making.objective))
    doubted = map(duration, (fast.tier.long_seconds, fast.tier.short_seconds))
    yield Case(
        name="all of it may be bad, and nobody can tell",
        nodes={"a": [_ok(HOUR), vague]},
        alerts=[
            (HOUR, "doubt", NOT_MEASURED, False),
            (3 * HOUR, "doubt", NOT_MEASURED, True),
            (3 * HOUR, "page", making.family.alert, False),
        ],
        values=[
            *((3 * HOUR, making.series(names.ERROR_UPPER_RATIO + w), 1.0) for w in doubted),
            *((3 * HOUR, making.series(names.ERROR_RATIO + w), 0.0) for w in windows),
        ],
    )
    trip = fast.trip_ratio
    yield Case(
        name="what may be bad has become less than the first tier bears",
        nodes={"a": [_ok(HOUR), vague, _vague(HOUR, 0.7 * trip)]},
        alerts=[(3.5 * HOUR, "doubt", NOT_MEASURED, False)],
    )
    yield Case(
        name="certain failures come, pause and come again: nothing is in doubt",
        nodes={
            "a": [_ok(HOUR), _failing(900, 1.0), _ok(1500), _failing(1440, min(1.0, 1.2 * trip))]
        },
        alerts=[(HOUR + 900 + 1500 + 1320, "doubt", NOT_MEASURED, False)],
    )


def _ok(seconds: float) -> Stretch:
    return Stretch(seconds=seconds)


def _failing(seconds: float, ratio: float) -> Stretch:
    return Stretch(seconds=seconds, bad=round(ratio * PER_SAMPLE))


def _vague(seconds: float, ratio: float) -> Stretch:
    return Stretch(seconds=seconds, doubtful=round(ratio * PER_SAMPLE))


def _silence(seconds: float) -> Stretch:
    return Stretch(seconds=seconds, valid=None)


def _grid(seconds: float, every: float) -> float:
    """The evaluation at or before a time."""
    return seconds // every * every


def labels(making: Making, alert: str, severity: str) -> dict[str, str]:
    """All labels of an alert of the objective, for the one model that the cases have."""
    name = making.objective.name
    return {
        "alertname": alert,
        "severity": severity,
        "slo": name,
        "indicator": making.objective.indicator,
        "sloth_slo": name,
        "sloth_severity": severity,
        "sloth_service": MODEL,
        "sloth_id": f"{MODEL}-{name}",
        "model": MODEL,
    }
