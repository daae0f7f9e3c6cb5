"""The same question as objects for those who roll out: Argo Rollouts and Flagger.

Nothing is asked here. The value of each side's last matcher is an argument of the object, so that
a rollout can give the hash of its pods. What each of the two makes of its answer is in CANARY.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from burnmeter.provision.canary import Plan
from burnmeter.provision.canary_promql import Asked, bounds_query
from burnmeter.provision.canary_queries import Sides, texts
from burnmeter.provision.canary_selectors import last_value_as
from burnmeter.provision.conventions import duration, number

FORMATS: Final = ("argo", "flagger")
NAME: Final = "burnmeter-canary"
THRESHOLDS_SECONDS: Final = {"ttft": 1.0, "tpot": 0.1}
"""Where no objective says: those of the objectives that hold by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What objects are written for."""

    address: str
    sides: Sides
    plan: Plan
    margins: Mapping[str, float]
    thresholds_seconds: Mapping[str, float]
    witness: str

    def query(self, measure: str, placeholder: Callable[[str], str]) -> str:
        """One measure's bounds, with arguments in place of the last values."""
        base, cand = (
            texts(
                measure,
                last_value_as(where, placeholder(side))[0],
                self.plan.slice_seconds,
                self.thresholds_seconds.get(measure),
                self.witness,
            )
            for side, where in self.sides._asdict().items()
        )
        by = self.plan.terms(measure, self.margins[measure])
        return bounds_query(Asked(base, cand, self.plan.window_seconds, by))

    def defaults(self) -> dict[str, str]:
        """Argument -> the value that the side's selector has."""
        return {side: last_value_as(where, "")[1] for side, where in self.sides._asdict().items()}


class _Dumper(yaml.SafeDumper):
    """Long text as a block, and nothing cut."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _yaml(document: Mapping[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000)


def _claim(order: Order) -> str:
    plan = order.plan
    looks = f", {plan.looks} looks" if plan.looks > 1 else ""
    return (
        f"# {' '.join(plan.measures)}: {duration(plan.window_seconds)} in slices of "
        f"{duration(plan.slice_seconds)}, alpha {number(plan.alpha)}{looks}.\n"
    )


# --- Argo Rollouts -------------------------------------------------------------------------------


def argo(order: Order) -> str:
    """An AnalysisTemplate. Neither condition met is inconclusive there, too: the rollout pauses."""
    metrics = [_argo_metric(order, measure) for measure in order.plan.measures]
    arguments = [{"name": name, "value": value} for name, value in order.defaults().items()]
    return (
        "# Each query gives [lower bound, upper bound] of how much worse the candidate is.\n"
        f"{_claim(order)}"
        + _yaml(
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "AnalysisTemplate",
                "metadata": {"name": NAME},
                "spec": {"args": arguments, "metrics": metrics},
            }
        )
    )


def _argo_metric(order: Order, measure: str) -> dict[str, Any]:
    plan, margin = order.plan, number(order.margins[measure])
    wait = duration(plan.window_seconds + plan.slice_seconds)
    more = {"interval": duration(plan.window_seconds), "inconclusiveLimit": plan.looks - 1}
    return {
        "name": measure,
        "initialDelay": wait,
        **(more if plan.looks > 1 else {}),
        "count": plan.looks,
        "successCondition": f"len(result) == 2 && result[1] < {margin}",
        "failureCondition": f"len(result) == 2 && result[0] > 0 && result[1] >= {margin}",
        "provider": {
            "prometheus": {
                "address": order.address,
                "query": order.query(measure, lambda side: f"{{{{args.{side}}}}}"),
            }
        },
    }


# --- Flagger -------------------------------------------------------------------------------------


def flagger(order: Order) -> str:
    """A MetricTemplate for each measure, and how a Canary's analysis names them."""
    documents = [_flagger_template(order, measure) for measure in order.plan.measures]
    analysis = {
        "analysis": {
            "interval": duration(order.plan.window_seconds),
            "threshold": 2,
            "iterations": order.plan.looks,
            "metrics": [_flagger_use(order, measure) for measure in order.plan.measures],
        }
    }
    snippet = "".join(f"#   {line}\n" for line in _yaml(analysis).splitlines())
    return (
        "# Flagger knows pass and fail only. With `bound: max`, the upper bound, what is not\n"
        "# shown to be good halts the rollout, and ends it after `threshold` checks. With\n"
        "# `bound: min` and `max: 0` what is not shown to be worse goes on, without data too.\n"
        f"{_claim(order)}#\n# In the Canary:\n{snippet}---\n"
        + "---\n".join(_yaml(document) for document in documents)
    )


def _flagger_template(order: Order, measure: str) -> dict[str, Any]:
    query = order.query(measure, lambda side: f"{{{{ variables.{side} }}}}")
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "MetricTemplate",
        "metadata": {"name": f"{NAME}-{measure}"},
        "spec": {
            "provider": {"type": "prometheus", "address": order.address},
            "query": f"{{{{ variables.bound }}}}(\n{query}\n)",
        },
    }


def _flagger_use(order: Order, measure: str) -> dict[str, Any]:
    return {
        "name": f"{NAME}-{measure}",
        "interval": duration(order.plan.window_seconds),
        "templateRef": {"name": f"{NAME}-{measure}"},
        "thresholdRange": {"max": order.margins[measure]},
        "templateVariables": {"bound": "max", **order.defaults()},
    }


def written(order: Order, format_: str) -> str:
    """The objects in one of FORMATS."""
    return argo(order) if format_ == "argo" else flagger(order)
