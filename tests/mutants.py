"""Rule files with one mistake each: a window, a label, a comparison or a factor that is another.

A mistake that changes nothing that anyone could see is not made: `>` for `>=`, or a part of an
expression that only guards against what cannot happen in a test; nor another window of a series
that is only asked whether it was there.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

NEXT_WINDOW = {"5m": "30m", "30m": "5m", "1h": "2h", "2h": "1h", "6h": "1d", "1d": "6h", "3d": "1d"}
WINDOW = re.compile(
    r"(?<=ratio_rate)\w+|(?<!last_over_time\(slo:sli_valid:increase)(?<=:increase)\w+|(?<=\[)\w+(?=\])"
)
SWAPS = (
    ("comparison", " > ", " < "),
    ("comparison", " < ", " > "),
    ("operator", "\nand ignoring", "\nor ignoring"),
    ("operator", "\n  or ignoring", "\n  and ignoring"),
    ("operator", "\nunless\n", "\nand ignoring (sloth_window)\n"),
    ("operator", " - sum", " + sum"),
    ("label", 'slo="errors"', 'slo="other"'),
    ("label", 'bound="upper"', 'bound="lower"'),
    ("label", 'bound="lower"', 'bound="upper"'),
    ("label", "sum by (model) ", "sum "),
    ("label", "max without (sloth_window)", "max"),
    ("label", '"sloth_service"', '"service"'),
    ("factor", "(14.4 *", "(6 *"),
    ("factor", "(6 *", "(14.4 *"),
    ("factor", "(3 *", "(6 *"),
    ("factor", "(1 *", "(3 *"),
    ("factor", "* 0.01)", "* 0.001)"),
    ("factor", "> 2.5", "> 0.5"),
    ("factor", "> 2.5", "> 100000000"),
    ("factor", "< 0.5", "< 0.1"),
    ("factor", "/ 0.01", "/ 0.1"),
)


class Mutant(NamedTuple):
    """A rule file with one mistake in it."""

    kind: str
    what: str
    text: str


def of(text: str) -> Iterator[Mutant]:
    """Every mutant of a rule file, in the order of its rules."""
    document: dict[str, Any] = yaml.safe_load(text)
    for g, group in enumerate(document["groups"]):
        for r, rule in enumerate(group["rules"]):
            for kind, said, changed in _changed(rule):
                other = copy.deepcopy(document)
                other["groups"][g]["rules"][r] = changed
                name = rule.get("record") or "/".join(
                    [
                        rule["alert"],
                        *(rule["labels"][k] for k in ("severity", "cause") if k in rule["labels"]),
                    ]
                )
                yield Mutant(kind, f"{name}: {said}", yaml.safe_dump(other, sort_keys=False))


def _changed(rule: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    expr = rule["expr"]
    for found in WINDOW.finditer(expr):
        window = found.group()
        if window in NEXT_WINDOW:
            other = expr[: found.start()] + NEXT_WINDOW[window] + expr[found.end() :]
            said = f"window {window} at {found.start()} is {NEXT_WINDOW[window]}"
            yield "window", said, {**rule, "expr": other}
    for kind, old, new in SWAPS:
        for at in (m.start() for m in re.finditer(re.escape(old), expr)):
            other = expr[:at] + new + expr[at + len(old) :]
            yield kind, f"{kind} {old.strip()} at {at} is {new.strip()}", {**rule, "expr": other}
    if "for" in rule:
        yield "for", "no `for`", {key: value for key, value in rule.items() if key != "for"}
    for label in ("severity", "slo", "indicator", "cause"):
        if label in rule["labels"]:
            labels = {**rule["labels"], label: "other"}
            yield "label", f"label {label} is other", {**rule, "labels": labels}
