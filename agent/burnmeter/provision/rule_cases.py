"""What can happen to the events of an objective, and which alerts must fire then, and when. Pure.

The times are those of the workbook's formula (reach.py), not of the rules, so that a wrong window,
label or comparison in a rule is found. rule_tests.py writes the cases down for promtool.
"""

from collections.abc import Iterator
from dataclasses import replace

from burnmeter.provision import burn_rules, reach, rule_edges
from burnmeter.provision import conventions as names
from burnmeter.provision.burn_rules import MISSING_SECONDS, Making
from burnmeter.provision.conventions import duration, number
from burnmeter.provision.reach import Promise
from burnmeter.provision.rule_story import (
    BUSY,
    DAY,
    FAST,
    HOUR,
    NOT_MEASURED,
    PER_SAMPLE,
    SLOW,
    Case,
    Pace,
    Stretch,
    failing,
    first,
    grid,
    labels,
    near,
    ok,
    silence,
)


def hours(making: Making) -> Iterator[Case]:
    """What shows within hours: pages, and what is no alert or not measured."""
    fast = first(making)
    for one in reach.promises(making.objective):
        if one.tier.severity == "page":
            yield from _at_tier(making, one, FAST)
    if making.objective.is_paging:
        yield _outage(making, fast)
    yield Case(
        name="everything has failed since the agents began: its alerts, with their texts",
        nodes={"a": [failing(HOUR, 1.0)]},
        told_at_seconds=HOUR,
    )
    if making.floor and making.objective.is_paging:
        yield from _quiet(making)
    yield from _counters(making, fast)
    yield _two_nodes(making)
    yield from _unmeasured(making)
    yield from rule_edges.hours(making)


def days(making: Making) -> Iterator[Case]:
    """What takes days: tickets."""
    for one in reach.promises(making.objective):
        if one.tier.severity != "page":
            yield from _at_tier(making, one, SLOW)
    yield from rule_edges.days(making)


def _at_tier(making: Making, one: Promise, pace: Pace) -> Iterator[Case]:
    """1.5 times what a tier bears fires when it should and clears when it should; half does not.

    Tiers of longer windows are kept out by busy days before: of much traffic, few events fail.
    """
    alert, severity, every = making.family.alert, one.tier.severity, pace.evaluate_seconds
    same = [p for p in reach.promises(making.objective) if p.tier.severity == severity]
    able = [p for p in same if p.tier.long_seconds <= one.tier.long_seconds]
    clean = grid(one.tier.long_seconds + HOUR, every)
    busy = [
        Stretch(seconds=p.tier.long_seconds, valid=BUSY * PER_SAMPLE) for p in same if p not in able
    ]
    before = clean + sum(stretch.seconds for stretch in busy)
    rate = min(1.0, 1.5 * one.trip_ratio)
    fires = reach.first(able, severity, rate)
    assert fires is not None, "more than a tier bears fires it"
    slack = max(2 * every, 0.04 * fires)
    # So long that what only may be bad would have its ticket, were it not certain.
    least = fires + (MISSING_SECONDS if one == first(making) else 0.0)
    lasts = grid(max(least + 2 * slack, one.tier.short_seconds), every)
    clears = max(
        reach.clears_after_seconds(p, rate)
        for p in able
        if (after := reach.fires_after_seconds(p, rate)) is not None and after <= lasts
    )
    end = before + lasts
    said = f"{number(rate)} of events fail: {severity} after {reach.short(fires)}"
    yield Case(
        name=f"{said}, over {reach.short(clears)} after recovery",
        nodes={"a": [*busy, ok(clean), failing(lasts, rate), ok(clears + 0.5 * HOUR)]},
        alerts=[
            (grid(before + fires - slack, every), severity, alert, False),
            (grid(before + fires + slack, every), severity, alert, True),
            (end, severity, alert, True),
            (grid(end + clears - every, every), severity, alert, True),
            (grid(end + clears + 2 * every, every) + every, severity, alert, False),
            (end, "doubt", NOT_MEASURED, False),
        ],
    )
    half, lasts = 0.5 * one.trip_ratio, grid(one.tier.long_seconds, every)
    yield Case(
        name=f"{number(half)} of events fail, half of what the tier bears: no {severity}",
        nodes={"a": [*busy, ok(clean), failing(lasts, half)]},
        alerts=[(grid(before + part * lasts, every), severity, alert, False) for part in (0.5, 1)],
    )


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
        nodes={"a": [ok(before), failing(lasts, 1.0)]},
        alerts=[
            (grid(before + soon + 120.0, 60.0), "page", alert, True),
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
        ("a gap of ten minutes is no error", [silence(600), ok(HOUR)]),
        ("an agent that starts again after two minutes makes no alert", [silence(120), anew]),
    ):
        yield Case(
            name=name,
            nodes={"a": [ok(HOUR), *after]},
            alerts=[
                (HOUR + minutes * 60.0, severity, alert, False)
                for minutes in (1, 3, 5, 11, 20, 55)
                for severity in both
            ],
        )
    severity = fast.tier.severity
    # A ticket's window is long, so that what was before must not matter.
    before = [ok(HOUR)] if making.objective.is_paging else []
    begun = sum(one.seconds for one in before)
    yield Case(
        name=f"the {severity} of an outage stays when the agent starts again in it",
        nodes={
            "a": [
                *before,
                failing(0.5 * HOUR, 1.0),
                silence(60),
                replace(failing(0.5 * HOUR, 1.0), is_restart=True),
            ]
        },
        alerts=[(begun + minutes * 60.0, severity, alert, True) for minutes in (30, 35, 60)],
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
    for severity in making.severities:
        ours = [p for p in reach.promises(making.objective) if p.tier.severity == severity]
        least = min(p.trip_ratio for p in ours)
        # Between the two it depends on how long a window has been filled.
        if not 0.101 <= least < 0.2:
            known.append((3 * HOUR, severity, alert, least < 0.101))
    return Case(
        name="one of two nodes fails: a fifth of all events, not the half of two nodes",
        nodes={"a": [ok(3 * HOUR)], "b": [few, burning]},
        alerts=known,
        values=[
            (3 * HOUR, ratio, 0.2),
            (3 * HOUR, f"count({ratio})", 1.0),
            # A fifth for two of three hours.
            (3 * HOUR, *near(making.series(names.PERIOD_BURN), 0.4 / 3 / making.budget_ratio)),
        ],
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
        nodes={"a": [ok(HOUR), silence(8 * HOUR)]},
        alerts=[
            (8 * HOUR, "vanished", name, True),
            (HOUR + MISSING_SECONDS, "vanished", name, False),
            (HOUR + MISSING_SECONDS + 600.0, "vanished", name, True),
            (HOUR + MISSING_SECONDS + 600.0, "page", burn, False),
        ],
        values=[
            (8 * HOUR, making.series(names.OBJECTIVE), making.objective.objective_ratio),
            (8 * HOUR, making.series(names.BUDGET), making.budget_ratio),
            (8 * HOUR, making.series(names.PERIOD_DAYS), making.objective.period_seconds / DAY),
            (8 * HOUR, making.series(names.INFO), 1.0),
        ],
    )
    third = Stretch(seconds=2 * HOUR, measured_ratio=1 / 3)
    most = Stretch(seconds=2 * HOUR, measured_ratio=2 / 3)
    for said, stretch, wants in (("a third", third, True), ("two thirds", most, False)):
        yield Case(
            name=f"{said} of the time is measured",
            nodes={"a": [stretch]},
            alerts=[
                (600.0, "coverage", name, False),
                (2 * HOUR, "coverage", name, wants),
                (2 * HOUR, "page", burn, False),
            ],
        )
    yield Case(
        name="an agent is held to another objective",
        nodes={"a": [ok(HOUR)]},
        alerts=[
            (600.0, "ticket", "BurnmeterSloDiffers", False),
            (HOUR, "ticket", "BurnmeterSloDiffers", True),
        ],
        objective_ratio=making.objective.objective_ratio / 2,
    )
    yield Case(
        name="all agents are held to this objective, and all of it is measured",
        nodes={"a": [ok(HOUR)], "b": [ok(HOUR)]},
        alerts=[
            (HOUR, "ticket", "BurnmeterSloDiffers", False),
            *((HOUR, cause, name, False) for cause in ("absent", "vanished", "coverage", "doubt")),
        ],
    )
