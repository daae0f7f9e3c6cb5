"""A canary's verdict in words and as JSON. It decides nothing."""

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from burnmeter.provision import canary
from burnmeter.provision.canary import Compared, Plan
from burnmeter.provision.canary_queries import Sides
from burnmeter.provision.conventions import duration, number

WIDTH: Final = 80
TOKENS_SHOWN: Final = 1e6
ROW: Final = "{:<7} {:<12} {:>9} {:>9} {:>10} {:>18} {:>8}"
MEANING: Final = {
    canary.PASS: "the candidate is not worse than the baseline by what is tolerated",
    canary.FAIL: "the candidate is worse than the baseline",
    canary.INCONCLUSIVE: "too little is known to say whether the candidate is worse",
}
HEAD: Final = ("", "verdict", "baseline", "candidate", "difference", "between", "margin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All measures of one look."""

    sides: Sides
    plan: Plan
    margins: Mapping[str, float]
    compared: Mapping[str, Compared]
    what: Mapping[str, str]
    """Measure -> what exactly was counted."""

    @property
    def verdict(self) -> str:
        """On all measures together."""
        return canary.overall([one.verdict for one in self.compared.values()])


def text(report: Report) -> str:
    """The verdict first, then a row a measure, why, and the statistics."""
    lines = [f"{report.verdict.upper()}: {MEANING[report.verdict]}"]
    for name, where in report.sides._asdict().items():
        lines += _wrapped(f"{name + ':':<10} {where}", 11)
    lines += ["", ROW.format(*HEAD).rstrip()]
    lines += [_row(name, one, report.margins[name]) for name, one in report.compared.items()]
    lines.append("")
    for name, one in report.compared.items():
        lines += _wrapped(f"{name + ':':<8}{_why(name, one, report.what.get(name, ''))}", 8)
    lines += ["", *textwrap.wrap(statistics(report.plan), WIDTH)]
    return "\n".join(lines)


def _wrapped(line: str, indent: int) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent=" " * indent)


def _why(name: str, one: Compared, what: str) -> str:
    if one.baseline is None:
        return f"{one.reason}."
    noun = "requests" if name in canary.SHARES else "tokens"
    counts = f"{one.baseline_whole:.0f} and {one.candidate_whole:.0f} {noun}"
    return f"{one.reason}; {what}, {counts} in {one.slices} slices."


def _row(name: str, one: Compared, margin: float) -> str:
    is_share = name in canary.SHARES
    unit = "pp" if is_share else "%"
    low, high = _signed(one.lower), _signed(one.upper)
    return ROW.format(
        name,
        one.verdict,
        _amount(name, one.baseline),
        _amount(name, one.candidate),
        "-" if one.difference is None else f"{_signed(one.difference)} {unit}",
        "-" if one.difference is None else f"{low} and {high}",
        f"{margin * 100:.3g} {unit}",
    )


def _signed(value: float | None) -> str:
    """In hundredths; one that is not known is open."""
    return "?" if value is None else f"{value * 100:+.2f}"


def _amount(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name in canary.SHARES:
        return f"{value * 100:.2f} %"
    return f"{value * TOKENS_SHOWN:.3g} $/M" if name == "cost" else f"{value:.3g} J"


def statistics(plan: Plan) -> str:
    """What is claimed, in words."""
    count, looks = len(plan.measures), plan.looks
    shared = f" in any of {looks} looks" if looks > 1 else ""
    each = plan.terms(plan.measures[0], 1.0)
    return (
        f"If nothing is worse, this says fail with a probability of at most {number(plan.alpha)}"
        f"{shared} ({number(each.alpha_fail)} a measure, {count} asked); if one is worse by its"
        f" margin or more, pass with at most {number(plan.alpha)}. Ratios of sums over"
        f" {plan.slices} slices of {duration(plan.slice_seconds)}; the error of their difference is"
        " from paired residuals by slice, widened where neighbours are alike; one-sided bounds by"
        f" Student's t with {each.least_slices - 1} degrees of freedom. Shares differ in percentage"
        " points (pp), cost and energy per generated token in percent of the baseline's."
    )


def as_json(report: Report) -> dict[str, Any]:
    """For machines: ratios, in base units."""
    return {
        "verdict": report.verdict,
        **report.sides._asdict(),
        "alpha_ratio": report.plan.alpha,
        "looks": report.plan.looks,
        "window_seconds": report.plan.window_seconds,
        "slice_seconds": report.plan.slice_seconds,
        "measures": {
            name: {
                **asdict(one),
                "margin": report.margins[name],
                "what": report.what.get(name, ""),
            }
            for name, one in report.compared.items()
        },
    }
