"""Test files for promtool: that one objective's rules fire when they should, and not otherwise.

The cases are those of rule_cases.py. Alerts are looked at through ALERTS, with all labels; their
texts once. Two files: what happens within hours each minute, what takes days every ten.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from burnmeter.provision import conventions as names
from burnmeter.provision.burn_rules import Making
from burnmeter.provision.conventions import duration, number
from burnmeter.provision.rule_cases import days, hours
from burnmeter.provision.rule_story import FAST, MODEL, SLOW, Case, Pace, Stretch, labels
from burnmeter.provision.rules import dump

HEADER: Final = "# Written by `burnmeter rules`; run by `promtool test rules`.\n"


def files(making: Making, rule_file: str) -> dict[str, str]:
    """Suffix of a name -> a test file for the rules in `rule_file`, a path beside it."""
    written = {}
    for pace, cases in ((FAST, hours(making)), (SLOW, days(making))):
        made: dict[str, Any] = {
            "rule_files": [rule_file],
            "evaluation_interval": duration(pace.evaluate_seconds),
            "tests": [_test(making, pace, case) for case in cases],
        }
        written[pace.suffix] = HEADER + dump(made)
    return written


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
    wanted = labels(making, alert, kind if is_severity else "ticket")
    if not is_severity:
        wanted["cause"] = kind
    if kind in ("absent", "coverage") or alert == "BurnmeterSloDiffers":
        wanted = {k: v for k, v in wanted.items() if k not in ("sloth_service", "sloth_id")}
    if kind == "absent":
        del wanted["model"]
    said = ",".join(f'{key}="{value}"' for key, value in sorted(wanted.items()))
    sample = {"labels": f'ALERTS{{alertstate="firing",{said}}}', "value": 1}
    return _check(query, at_seconds, [sample] if fires else [])


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
    for severity in making.severities:
        wanted = labels(making, making.family.alert, severity)
        said = making.family.texts(making.objective, severity)
        written = making.links.annotations(making.family.alert, said)
        filled = {key: _expanded(text, wanted, "100%") for key, text in written.items()}
        del wanted["alertname"]
        expected.append({"exp_labels": wanted, "exp_annotations": filled})
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
