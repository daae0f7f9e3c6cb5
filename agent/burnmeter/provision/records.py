"""Recording rules that dashboards read: the reader of records.yaml. Pure.

Surprising: PromQL has no quantile with bounds, only one that is interpolated within a bucket. Of
buckets that are cut off at a rank the highest quantile is the upper bound of the bucket that holds
the rank; of those from the rank on, the lowest is its lower bound. So both are exact.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

from burnmeter.provision.conventions import duration, number
from burnmeter.provision.counted import BASE_SECONDS, INTERVAL_SECONDS
from burnmeter.provision.rules import Group, Rule

CLUSTER: Final = "cluster"
"""A label that is kept where a Prometheus has it."""
LOWEST: Final = 1e-9
"""A quantile so small that it lies at the lower bound of the first bucket with anything in it."""


@cache
def _file() -> dict[str, Any]:
    text = files("burnmeter").joinpath("provision/records.yaml").read_text("utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def groups(by: Sequence[str]) -> tuple[Group, ...]:
    """All of them, in groups that can be evaluated beside one another."""
    kept = ", ".join(dict.fromkeys((CLUSTER, *by)))
    return tuple(
        Group(
            name=f"burnmeter-records-{name}",
            interval_seconds=INTERVAL_SECONDS,
            rules=tuple(_rules(name, rows, kept)),
        )
        for name, rows in _file().items()
    )


def _rules(name: str, rows: Sequence[dict[str, Any]], by: str) -> Iterator[Rule]:
    for row in rows:
        if name == "latencies":
            yield from latency(row["metric"], row["quantiles"], by)
        elif name == "means":
            yield from _mean(row["metric"], by)
        else:
            yield Rule(record=row["record"], expr=row["expr"].replace("{by}", by))


def latency(metric: str, quantiles: Sequence[float], by: str) -> Iterator[Rule]:
    """Rates of a histogram's buckets, and of some quantiles the bounds of the bucket that holds it.

    An upper bound is absent where the quantile lies above the last bucket.
    """
    window = duration(BASE_SECONDS)
    buckets = f"model:{metric}_bucket:rate{window}"
    summed = f"sum by ({by}, engine, le) (rate({metric}_bucket[{window}]))"
    yield Rule(record=buckets, expr=summed)
    for quantile in quantiles:
        name = f"model:{metric}:p{round(quantile * 100)}"
        lower = f"{name}_lower{window}"
        rank = f'{number(quantile)} * ({buckets}{{le="+Inf"}} > 0)'
        side = f"on ({by}, engine) group_left ()"
        # Without their name: those that are kept and those that are cut are one histogram.
        bare = f"({buckets} * 1)"
        below = f"{buckets} * 0 + {side} (0 * ({rank}))"
        cut = f"{buckets} * 0 + {side} ({rank})"
        yield Rule(
            record=lower,
            expr=_quantile(LOWEST, f"{bare} >= {side} ({rank})", below),
        )
        yield Rule(
            record=f"{name}_upper{window}",
            expr=f"{_quantile(1.0, f'{bare} <= {side} ({rank})', cut)}\n> {lower}",
        )


def _mean(metric: str, by: str) -> Iterator[Rule]:
    """The two halves of a mean, each summed before one is divided by the other."""
    window = duration(BASE_SECONDS)
    for part in ("sum", "count"):
        summed = f"sum by ({by}) (rate({metric}_{part}[{window}]))"
        yield Rule(record=f"model:{metric}_{part}:rate{window}", expr=summed)


def _quantile(quantile: float, kept: str, otherwise: str) -> str:
    return f"histogram_quantile({number(quantile)},\n  {kept}\n  or\n  {otherwise}\n)"
