"""Test files for promtool: that one objective's rules fire when they should, and not otherwise.

The times are those of the workbook's formula (reach.py), not of the rules, so that a wrong window,
label or comparison in a rule fails here. Alerts are looked at through ALERTS, with all labels;
their texts once. Two files: what happens within hours each minute, what takes days every ten.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from burnmeter.provision import conventions as names
from burnmeter.provision import reach
from burnmeter.provision.burn_rules import MISSING_SECONDS, SEVERITIES, Making
from burnmeter.provision.conventions import duration, number
from burnmeter.provision.reach import Promise
from burnmeter.provision.rules import dump

HEADER: Final = "# Written by `burnmeter rules`; run by `promtool test rules`.\n"
HOUR: Final = 3600.0
DAY: Final = 86400.0
MODEL: Final = "chat"
PER_SAMPLE: Final = 100_000
"""Valid events between two samples of busy traffic: a share of them to five digits is whole."""
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


def files(making: Making, rule_file: str) -> dict[str, str]:
    """Suffix of a name -> a test file for the rules in `rule_file`, a path beside it."""
    written = {}
    for pace, cases in ((FAST, _hours(making)), (SLOW, _days(making))):
        made: dict[str, Any] = {
            "rule_files": [rule_file],
            "evaluation_interval": duration(pace.evaluate_seconds),
            "tests": [_test(making, pace, case) for case in cases],
        }
        written[pace.suffix] = HEADER + dump(made)
    return written


# --- cases ---------------------------------------------------------------------------------------


def _hours(making: Making) -> Iterator[Case]:
    pages = [one for one in reach.promises(making.objective) if one.tier.severity == "page"]
    fast = pages[0]
    for one in pages:
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
    yield _two_nodes(making, fast)
    yield from _unmeasured(making, fast)


def _days(making: Making) -> Iterator[Case]:
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
    lasts = _grid(max(fires + 2 * slack, one.tier.short_seconds), every)
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
        ],
    )
    half, lasts = 0.5 * one.trip_ratio, _grid(one.tier.long_seconds, every)
    yield Case(
        name=f"{number(half)} of events fail, half of what the tier bears: no {severity}",
        nodes={"a": [*busy, _ok(clean), _failing(lasts, half)]},
        alerts=[(_grid(before + part * lasts, every), severity, alert, False) for part in (0.5, 1)],
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
            (before, making.series(names.BUDGET_LEFT), 1.0),
        ],
    )


def _quiet(making: Making) -> Iterator[Case]:
    """Ten requests an hour: one failure alerts nobody, a total outage does."""
    alert = making.family.alert
    hour = [Stretch(seconds=330, valid=0), Stretch(seconds=30, valid=1)]
    failing = [Stretch(seconds=330, valid=0), Stretch(seconds=30, valid=1, bad=1)]
    night = [*(hour * 20)]
    at = 2 * HOUR
    yield Case(
        name="one error in a quiet hour alerts nobody",
        nodes={"a": [*night, *failing, *(hour * 20)]},
        alerts=[
            (at + minutes * 60.0, severity, alert, False)
            for minutes in (6, 10, 30, 60, 120)
            for severity in ("page", "ticket")
        ],
        values=[(at + 360.0, f"{making.series(names.BAD_INCREASE + '1h')} > 0", None)]
        if "1h" not in map(duration, making.spans_seconds)
        else [],
    )
    yield Case(
        name="a total outage pages, though ten requests an hour come",
        nodes={"a": [*night, *(failing * 20)]},
        alerts=[(at, "page", alert, False), (at + 2 * HOUR, "page", alert, True)],
    )


def _counters(making: Making, fast: Promise) -> Iterator[Case]:
    """Resets, gaps and restarts make no alert, and end none."""
    alert = making.family.alert
    both = ("page", "ticket")
    for name, gap in (
        ("counters that begin anew are no errors", []),
        ("a gap of ten minutes is no error", [Stretch(seconds=600, valid=None)]),
        ("an agent that starts again after two minutes makes no alert", [_silence(120)]),
    ):
        anew = "gap" not in name
        again = Stretch(seconds=HOUR, is_restart=anew)
        yield Case(
            name=name,
            nodes={"a": [_ok(HOUR), *gap, again]},
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


def _two_nodes(making: Making, fast: Promise) -> Case:
    """One of two nodes fails, with a quarter of the events: volume decides, and one alert tells."""
    alert = making.family.alert
    few = Stretch(seconds=HOUR, valid=PER_SAMPLE // 4)
    burning = replace(few, seconds=2 * HOUR, bad=PER_SAMPLE // 4)
    ratio = making.series(names.ERROR_RATIO + duration(300))
    trips = [p.trip_ratio for p in reach.promises(making.objective) if p.tier.severity == "page"]
    # Between the two it depends on how long a window has been filled.
    known = [(3 * HOUR, "page", alert, min(trips) < 0.1)] if not 0.1 <= min(trips) < 0.2 else []
    return Case(
        name="one of two nodes fails: a fifth of all events, not the half of two nodes",
        nodes={"a": [_ok(3 * HOUR)], "b": [few, burning]},
        alerts=[*known, (3 * HOUR, "ticket", alert, True)],
        values=[(3 * HOUR, ratio, 0.2), (3 * HOUR, f"count({ratio})", 1.0)],
    )


def _unmeasured(making: Making, fast: Promise) -> Iterator[Case]:
    """What is missing is a ticket of its own, and never a page of the objective."""
    name, late = "BurnmeterSloNotMeasured", MISSING_SECONDS + 60.0
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
        nodes={"a": [_ok(HOUR), _silence(2 * HOUR)]},
        alerts=[
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
    vague = Stretch(seconds=2 * HOUR, doubtful=float(PER_SAMPLE))
    windows = map(duration, making.spans_seconds)
    doubted = map(duration, (fast.tier.long_seconds, fast.tier.short_seconds))
    yield Case(
        name="all of it may be bad, and nobody can tell",
        nodes={"a": [_ok(HOUR), vague]},
        alerts=[
            (HOUR, "doubt", name, False),
            (3 * HOUR, "doubt", name, True),
            (3 * HOUR, "page", burn, False),
        ],
        values=[
            *((3 * HOUR, making.series(names.ERROR_UPPER_RATIO + w), 1.0) for w in doubted),
            *((3 * HOUR, making.series(names.ERROR_RATIO + w), 0.0) for w in windows),
        ],
    )
    yield Case(
        name="an agent is held to another objective",
        nodes={"a": [_ok(HOUR)]},
        alerts=[(HOUR, "ticket", "BurnmeterSloDiffers", True)],
        objective_ratio=0.5,
    )
    yield Case(
        name="all agents are held to this objective, and all of it is measured",
        nodes={"a": [_ok(HOUR)], "b": [_ok(HOUR)]},
        alerts=[
            (HOUR, "ticket", "BurnmeterSloDiffers", False),
            *((HOUR, cause, name, False) for cause in ("absent", "vanished", "coverage", "doubt")),
        ],
    )


def _ok(seconds: float) -> Stretch:
    return Stretch(seconds=seconds)


def _failing(seconds: float, ratio: float) -> Stretch:
    return Stretch(seconds=seconds, bad=round(ratio * PER_SAMPLE))


def _silence(seconds: float) -> Stretch:
    return Stretch(seconds=seconds, valid=None)


def _grid(seconds: float, every: float) -> float:
    """The evaluation at or before a time."""
    return seconds // every * every


# --- promtool's words ----------------------------------------------------------------------------


def _test(making: Making, pace: Pace, case: Case) -> dict[str, Any]:
    series = [
        row
        for node, stretches in case.nodes.items()
        for row in _series(making, pace, case, node, stretches)
    ]
    checks = [_alert_check(making, *expected) for expected in case.alerts]
    checks += [_value_check(at, query, value) for at, query, value in case.values]
    made: dict[str, Any] = {
        "name": case.name,
        "interval": duration(pace.scrape_seconds),
        "input_series": series,
        "promql_expr_test": checks,
    }
    if case.told_at_seconds is not None:
        made["alert_rule_test"] = [_told(making, case.told_at_seconds)]
    return made


def _series(
    making: Making, pace: Pace, case: Case, node: str, stretches: Sequence[Stretch]
) -> Iterator[dict[str, str]]:
    """What the agent of one node exports of the objective."""
    said = f'slo="{making.objective.name}",model="{MODEL}"'
    more = f'{said},indicator="{making.objective.indicator}",source="engine",instance="{node}"'
    valid = [s.valid for s in stretches]
    grown = {
        f"{names.VALID}{{{more}}}": valid,
        f'{names.GOOD}{{{more},bound="upper"}}': [
            None if s.valid is None else s.valid - s.bad for s in stretches
        ],
        f'{names.GOOD}{{{more},bound="lower"}}': [
            None if s.valid is None else s.valid - s.bad - s.doubtful for s in stretches
        ],
        f'burnmeter_slo_measured_seconds_total{{{said},instance="{node}"}}': [
            None if s.valid is None else s.measured_ratio * pace.scrape_seconds for s in stretches
        ],
        f'burnmeter_slo_watched_seconds_total{{{said},instance="{node}"}}': [
            None if s.valid is None else pace.scrape_seconds for s in stretches
        ],
    }
    for name, steps in grown.items():
        yield {"series": name, "values": _counter(stretches, steps, pace.scrape_seconds)}
    held = making.objective.objective_ratio
    ratio = number(held if case.objective_ratio is None else case.objective_ratio)
    count = round(sum(s.seconds for s in stretches) / pace.scrape_seconds)
    last = f'slo="{making.objective.name}",model="{MODEL}",indicator="{making.objective.indicator}"'
    yield {
        "series": f'burnmeter_slo_objective_ratio{{{last},instance="{node}"}}',
        "values": f"{ratio}x{count}",
    }


def _counter(
    stretches: Sequence[Stretch], steps: Sequence[float | None], scrape_seconds: float
) -> str:
    """Samples of a counter as promtool writes them: `0+10x60 600+5x10 _x4`."""
    total, words, is_first = 0.0, [], True
    for stretch, step in zip(stretches, steps, strict=True):
        count = round(stretch.seconds / scrape_seconds)
        if step is None:
            words.append(f"_x{count}")
            continue
        if stretch.is_restart:
            total = 0.0
        # `a+bxn` is n + 1 samples: the first has no step, so later stretches begin one step on.
        first = total if is_first or stretch.is_restart else total + step
        more = count if is_first else count - 1
        words.append(f"{number(first)}+{number(step)}x{more}")
        total, is_first = first + step * more, False
    return " ".join(words)


def _alert_check(
    making: Making, at_seconds: float, kind: str, alert: str, fires: bool
) -> dict[str, Any]:
    """Whether an alert fires at one time, and that it alone does, with all its labels."""
    is_severity = kind in ("page", "ticket")
    label = "severity" if is_severity else "cause"
    query = f'ALERTS{{alertname="{alert}",{label}="{kind}",alertstate="firing"}}'
    labels = _labels(making, alert, kind if is_severity else "ticket")
    if not is_severity:
        labels["cause"] = kind
    if kind in ("absent", "coverage") or alert == "BurnmeterSloDiffers":
        labels = {k: v for k, v in labels.items() if k not in ("sloth_service", "sloth_id")}
    if kind == "absent":
        del labels["model"]
    said = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    sample = {"labels": f'ALERTS{{alertstate="firing",{said}}}', "value": 1}
    return _check(query, at_seconds, [sample] if fires else [])


def _labels(making: Making, alert: str, severity: str) -> dict[str, str]:
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


def _value_check(at_seconds: float, query: str, value: float | None) -> dict[str, Any]:
    # Rounded, for an increase is extrapolated; without labels, which the alerts are asked for.
    rounded = f"round(max({query}), 0.0001)" if value is not None else query
    samples = [] if value is None else [{"labels": "{}", "value": round(value * 1e4) / 1e4}]
    return _check(rounded, at_seconds, samples)


def _check(query: str, at_seconds: float, samples: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found = [dict(sample) for sample in samples]
    return {"expr": query, "eval_time": duration(at_seconds), "exp_samples": found}


def _told(making: Making, at_seconds: float) -> dict[str, Any]:
    """Page and ticket with their texts, when nothing but failures is in their windows."""
    expected = []
    for severity in SEVERITIES:
        labels = _labels(making, making.family.alert, severity)
        said = making.family.texts(making.objective, severity)
        written = making.links.annotations(making.family.alert, said)
        filled = {key: _expanded(text, labels, "100%") for key, text in written.items()}
        del labels["alertname"]
        expected.append({"exp_labels": labels, "exp_annotations": filled})
    return {
        "eval_time": duration(at_seconds),
        "alertname": making.family.alert,
        "exp_alerts": expected,
    }


def _expanded(text: str, labels: Mapping[str, str], value: str) -> str:
    """What Prometheus makes of an annotation's template."""
    for key, said in labels.items():
        text = text.replace(f"{{{{ $labels.{key} }}}}", said)
    return text.replace("{{ $value | humanizePercentage }}", value)
