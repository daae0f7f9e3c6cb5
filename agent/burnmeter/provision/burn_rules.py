"""One objective -> its recording rules and alerts, as Prometheus evaluates them over the fleet.

Multi-window, multi-burn-rate alerts of the SRE workbook, chapter 5, by the tiers of slo.py: those
that a real outage cannot reach are rewritten there. A page needs bad events that are certain, in
both windows of a tier, and a least number of them; never a least number of requests.

Surprising: windows beyond two hours are sums of the recorded increases over five minutes. These
overlap, one each evaluation, so a sum is scaled by the interval; their ratio needs no scale.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from burnmeter import slo
from burnmeter.model import Objective
from burnmeter.provision import conventions as names
from burnmeter.provision.conventions import duration, number, quoted
from burnmeter.provision.counted import (
    BASE_SECONDS,
    INTERVAL_SECONDS,
    RAW_SECONDS,
    Text,
    by_agents,
    spans_seconds,
)
from burnmeter.provision.rules import Group, Rule
from burnmeter.provision.runbooks import Family, Links, family
from burnmeter.units import SECONDS_PER_DAY

PERIOD_INTERVAL_SECONDS: Final = 300.0
"""A budget over weeks need not be known to the half minute, and costs 86,400 samples to sum."""
COVERED_RATIO: Final = 0.5
"""With less than this of the last hour measured, an objective is not held, whatever it shows."""
MISSING_SECONDS: Final = 900.0
"""For so long something may be missing before it is a ticket: a rollout of agents takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """One objective, and all that its rules share."""

    objective: Objective
    by: tuple[str, ...]
    links: Links
    floor: float
    """Bad events of a long window must be more; 0: none are asked for."""

    @property
    def budget_ratio(self) -> float:
        """What may fail."""
        return round(1.0 - self.objective.objective_ratio, 12)

    @property
    def tiers(self) -> tuple[slo.Tier, ...]:
        """Its alert conditions."""
        return slo.tiers(self.objective)

    @property
    def severities(self) -> tuple[str, ...]:
        """Those of its tiers: an objective that pages nobody has tickets only."""
        return tuple(dict.fromkeys(tier.severity for tier in self.tiers))

    @property
    def family(self) -> Family:
        """What its alerts are called, and what they say."""
        return family(self.objective.indicator)

    def series(self, name: str) -> str:
        """Our own recorded series of this objective."""
        return f"{name}{{slo={quoted(self.objective.name)}}}"


def groups(making: Making) -> tuple[Group, Group]:
    """What alerts, twice a minute; and the budget over the period, every five minutes."""
    name = f"burnmeter-slo-{making.objective.name}"
    spans = spans_seconds(making.objective)
    fast = making.tiers[0]
    rules = [
        *(rule for seconds in spans for rule in _recorded(making, seconds)),
        *_doubted(making, fast),
        *_about(making),
        *(_burns(making, severity) for severity in making.severities),
        *_not_measured(making, fast),
    ]
    seconds = making.objective.period_seconds
    # A period of one or three days is a window of the tiers, and one series has one rule.
    summed = () if seconds in spans else _recorded(making, seconds)
    period = [*summed, *_budget(making)]
    return (
        Group(name=name, interval_seconds=INTERVAL_SECONDS, rules=tuple(rules)),
        Group(name=f"{name}-period", interval_seconds=PERIOD_INTERVAL_SECONDS, rules=tuple(period)),
    )


# --- recording rules -----------------------------------------------------------------------------


def _recorded(making: Making, seconds: float) -> Iterator[Rule]:
    counted = by_agents(making.objective, making.by)
    yield _increase(making, names.VALID_INCREASE, counted.valid, seconds)
    yield _increase(making, names.BAD_INCREASE, counted.bad_lower, seconds)
    yield _ratio(making, names.ERROR_RATIO, names.BAD_INCREASE, seconds)


def _doubted(making: Making, fast: slo.Tier) -> Iterator[Rule]:
    """With what may be bad, over the windows of the fastest tier."""
    counted = by_agents(making.objective, making.by)
    if fast.long_seconds > RAW_SECONDS:
        yield _increase(making, names.BAD_UPPER_INCREASE, counted.bad_upper, BASE_SECONDS)
    for seconds in (fast.long_seconds, fast.short_seconds):
        yield _increase(making, names.BAD_UPPER_INCREASE, counted.bad_upper, seconds)
        yield _ratio(making, names.ERROR_UPPER_RATIO, names.BAD_UPPER_INCREASE, seconds)


def _increase(making: Making, name: str, counted: Text, seconds: float) -> Rule:
    """From the counters, or of a long window from what is recorded of them."""
    word, base = duration(seconds), duration(BASE_SECONDS)
    if seconds <= RAW_SECONDS:
        return _rule(making, name + word, _named(making, counted(seconds)))
    scale = f"{number(INTERVAL_SECONDS)} / {number(BASE_SECONDS)}"
    summed = f"sum_over_time({making.series(name + base)}[{word}]) * {scale}"
    return _rule(making, name + word, summed)


def _ratio(making: Making, name: str, bad: str, seconds: float) -> Rule:
    word = duration(seconds)
    valid = making.series(names.VALID_INCREASE + word)
    # Without events there is no ratio: 0 / 0 would leave as NaN, which is not absent.
    expr = f"{making.series(bad + word)}\n/\n({valid} > 0)"
    return _rule(making, name + word, expr, window=word)


def _about(making: Making) -> Iterator[Rule]:
    """What the objective is, beside each model that it is held for, so that queries can join."""
    days = making.objective.period_seconds / SECONDS_PER_DAY
    base = making.series(names.VALID_INCREASE + duration(BASE_SECONDS))
    held = f"group without () (last_over_time({base}[1d]))"
    yield _rule(making, names.OBJECTIVE, f"{held} * {number(making.objective.objective_ratio)}")
    yield _rule(making, names.BUDGET, f"{held} * {number(making.budget_ratio)}")
    yield _rule(making, names.PERIOD_DAYS, f"{held} * {number(days)}")
    ratio = making.series(names.ERROR_RATIO + duration(BASE_SECONDS))
    yield _rule(making, names.BURN, f"{_without_window(ratio)} / {number(making.budget_ratio)}")
    percent = number(making.objective.objective_ratio * 100)
    about = {"sloth_mode": "burnmeter", "sloth_objective": percent, "sloth_spec": "burnmeter/v1"}
    yield _rule(making, names.INFO, held, more=about)


def _budget(making: Making) -> Iterator[Rule]:
    ratio = making.series(names.ERROR_RATIO + duration(making.objective.period_seconds))
    spent = f"{_without_window(ratio)} / {number(making.budget_ratio)}"
    yield _rule(making, names.PERIOD_BURN, spent)
    yield _rule(making, names.BUDGET_LEFT, f"1 - {making.series(names.PERIOD_BURN)}")


def _rule(
    making: Making,
    name: str,
    expr: str,
    *,
    window: str | None = None,
    more: Mapping[str, str] | None = None,
) -> Rule:
    labels = {"slo": making.objective.name, "indicator": making.objective.indicator}
    labels |= {"sloth_slo": making.objective.name, **(more or {})}
    if window is not None:
        labels[names.WINDOW_LABEL] = window
    return Rule(record=name, expr=expr, labels=labels)


def _named(making: Making, expr: str) -> str:
    """With the model as the service that Sloth's dashboards ask for, and an id of both."""
    said = f'label_replace(\n  {expr},\n  "sloth_service", "$1", "model", "(.*)"\n)'
    identity = quoted(f"$1-{making.objective.name}")
    return f'label_replace(\n{_indented(said)},\n  "sloth_id", {identity}, "model", "(.*)"\n)'


def _without_window(expr: str) -> str:
    return f"max without ({names.WINDOW_LABEL}) ({expr})"


# --- alerts --------------------------------------------------------------------------------------


def _burns(making: Making, severity: str) -> Rule:
    """The objective's page, or its ticket: any tier of that severity."""
    conditions = [
        _exceeds(making, tier, floor=making.floor)
        for tier in making.tiers
        if tier.severity == severity
    ]
    joined = f"\nor ignoring ({names.WINDOW_LABEL})\n".join(conditions)
    said = making.family.texts(making.objective, severity)
    return Rule(
        alert=making.family.alert,
        expr=f"max without ({names.WINDOW_LABEL}) (\n{_indented(joined)}\n)",
        labels=_alert_labels(making, severity),
        annotations=making.links.annotations(making.family.alert, said),
    )


def _exceeds(
    making: Making, tier: slo.Tier, ratio: str = names.ERROR_RATIO, *, floor: float = 0.0
) -> str:
    """Both windows of a tier burn faster than its factor, by more than `floor` bad events."""
    bound = f"({number(tier.factor)} * {number(making.budget_ratio)})"
    long, short = duration(tier.long_seconds), duration(tier.short_seconds)
    lines = [f"{making.series(ratio + long)} > {bound}"]
    lines.append(f"and ignoring ({names.WINDOW_LABEL})")
    lines.append(f"{making.series(ratio + short)} > {bound}")
    if floor:
        lines.append(f"and ignoring ({names.WINDOW_LABEL})")
        lines.append(f"{making.series(names.BAD_INCREASE + long)} > {number(floor)}")
    return f"(\n{_indented(chr(10).join(lines))}\n)"


def _alert_labels(making: Making, severity: str) -> dict[str, str]:
    return {
        "severity": severity,
        "slo": making.objective.name,
        "indicator": making.objective.indicator,
        "sloth_slo": making.objective.name,
        "sloth_severity": severity,
    }


def _not_measured(making: Making, fast: slo.Tier) -> Iterator[Rule]:
    """Missing data is never good: each way in which an objective is not held has a ticket."""
    name = making.objective.name
    kept = ", ".join(making.by)
    where = f"slo={quoted(name)}"
    measured, watched = (
        f"sum by ({kept}) (increase(burnmeter_slo_{what}_seconds_total{{{where}}}[1h]))"
        for what in ("measured", "watched")
    )
    base = making.series(names.VALID_INCREASE + duration(BASE_SECONDS))
    doubt = _exceeds(making, fast, names.ERROR_UPPER_RATIO)
    causes = {
        "absent": f"absent({names.VALID}{{{where}}})",
        "vanished": f"group without () (last_over_time({base}[1d]))\nunless\n{base}",
        "coverage": f"{measured}\n/\n({watched} > 0)\n< {number(COVERED_RATIO)}",
        "doubt": f"{_without_window(doubt)}\nunless\n{_without_window(_exceeds(making, fast))}",
    }
    about = family("not_measured")
    for cause, expr in causes.items():
        yield Rule(
            alert=about.alert,
            expr=expr,
            for_seconds=MISSING_SECONDS,
            labels={**_alert_labels(making, "ticket"), "cause": cause},
            annotations=making.links.annotations(about.alert, about.cause(making.objective, cause)),
        )
    differs = family("differs")
    said = f"max by ({kept}) (burnmeter_slo_objective_ratio{{{where}}})"
    yield Rule(
        alert=differs.alert,
        expr=f"abs({said} - {number(making.objective.objective_ratio)}) > 1e-9",
        for_seconds=MISSING_SECONDS,
        labels=_alert_labels(making, "ticket"),
        annotations=making.links.annotations(
            differs.alert, differs.texts(making.objective, "ticket")
        ),
    )


def burnt_in(group: Group) -> Group:
    """Each alert as a recording: what would have fired can be seen, and is routed nowhere."""
    rules = [
        rule
        if rule.record
        else Rule(
            record=names.BURN_IN,
            expr=rule.expr,
            labels={**rule.labels, "alertname": rule.alert},
        )
        for rule in group.rules
    ]
    return Group(name=group.name, interval_seconds=group.interval_seconds, rules=tuple(rules))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))
