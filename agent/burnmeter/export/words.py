"""How numbers are said to people: the live page and the terminal share these words.

It formats and nothing else: no markup, no colour, no arithmetic over several values. Rounding
happens here only, and never towards a nicer verdict: 99.97 % is not "100 %", and a small error rate
is not "0 %". None is always NOT_MEASURED, and 0 is always a 0.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from burnmeter import indicators
from burnmeter.model import Burn, Objective
from burnmeter.snapshot import Factor, Quantile
from burnmeter.units import SECONDS_PER_DAY, SECONDS_PER_HOUR, TOKENS_PER_MILLION

NOT_MEASURED: Final = "–"

_LARGE = ((1e12, "T"), (1e9, "G"), (TOKENS_PER_MILLION, "M"), (1e3, "k"))
_BINARY = ((1024.0**4, "TiB"), (1024.0**3, "GiB"), (1024.0**2, "MiB"), (1024.0, "KiB"))
_SPANS = ((SECONDS_PER_DAY, "d"), (SECONDS_PER_HOUR, "h"), (60.0, "min"), (1.0, "s"))

INDICATORS: Final = {
    "ttft": "TTFT",
    "itl": "ITL",
    "tpot": "TPOT",
    "duration": "request duration",
    "queue": "queue time",
    "prefill": "prefill",
    "decode": "decode",
    "errors": "errors",
    "availability": "availability",
    "throughput": "throughput",
    "cost": "cost",
    "energy": "energy",
}
"""Short name of an indicator or latency measure -> how it is said."""

STATES: Final = {"good": "good", "burning": "burning", "not_measured": "not measured"}

FACTORS: Final = {
    "price": "price of the GPUs",
    "power": "power of the GPUs",
    "unknown": "time of which nobody knows",
    "idle": "idle time",
    "prefill": "time spent on prompts",
    "stack": "distance from the hardware's limits",
    "batch": "small batches",
    "model": "the model at the limits",
    "work": "busy GPU time",
    "time": "GPU time",
}
"""A factor of what a token costs -> how it is said."""
METHODS: Final = {
    "process_tree": "exact, by process tree",
    "command_line": "by its command line; it answers elsewhere",
    "container": "by its container",
    "config": "by the config's owners",
    "last_seen": "as the driver last said",
    "mig_slices": "by MIG slices",
    "sm_utilisation": "shared, by SM time",
    "memory": "shared, by memory: a guess",
    "equal": "shared, split equally: a guess",
    "none": "owner not known",
}
"""How an attribution was made -> how it is said."""
SOURCES: Final = {
    "engine": "the engine",
    "http": "HTTP status codes, the engine counts no outcomes",
    "gateway": "the gateway, no engine can",
    "probe": "our own probe, nothing else can",
}
"""Who counted an objective's events -> how it is said."""
PROMISES: Final = {"errors": "without error", "availability": "available"}
"""Indicator -> what is promised, where that is more than a threshold."""
ANSWERED: Final = ("availability",)
"""Indicators of which it must be said whose answers are meant."""
ANSWERERS: Final = {
    "engine": "at the engines, not at what stands before them",
    "gateway": "at the gateway",
    "probe": "by our own probe",
}
"""Of whose answers availability is made -> how it is said."""
VANTAGES: Final = {
    "gateway": "The same requests at the gateway; the difference is queueing and network.",
    "probe": "Our own requests only, now and then; the engine counts them too.",
}
"""Where else a model's requests are seen -> what that means."""


def plain(value: float, digits: int) -> str:
    """At most `digits` significant digits, no exponent, no trailing zeros."""
    text = format(Decimal(f"{value:.{digits}g}"), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(value: float | None) -> str:
    """A duration as long as a request: `83 ms`, `1.2 s`, `140 s`."""
    if value is None:
        return NOT_MEASURED
    for unit, factor in (("µs", 1e6), ("ms", 1e3), ("s", 1.0)):
        scaled = value * factor
        text = plain(scaled, 2) if scaled < 10 else f"{scaled:.0f}"
        # The rounded text decides: 999.7 ms is said as 1 s, never as 1000 ms.
        if unit == "s" or (scaled > 0 and float(text) < 1000):
            break
    return f"{text} {unit}"


def bound(value: float) -> str:
    """A bucket's bound or a threshold, which is exact and therefore not rounded: `0.25 s`."""
    if 0 < value <= 0.1:
        return f"{plain(value * 1e3, 6)} ms"
    return f"{plain(value, 6)} s"


THRESHOLDS: Final[Mapping[str, Callable[[float], str]]] = {
    indicators.SECONDS: bound,
    indicators.SPEED: lambda value: f"{plain(value, 6)} tokens/s per request",
    indicators.DOLLARS: lambda value: f"${plain(value, 6)} per million tokens",
    indicators.JOULES: lambda value: f"{plain(value, 6)} J per token",
}
"""An objective's threshold, by its key -> how it is said: exactly."""


def quantile(value: Quantile | None) -> str:
    """A quantile as the bucket that holds it: `0.25–0.5 s`, `≤ 5 ms`, `above 2560 s`."""
    if value is None:
        return NOT_MEASURED
    if value.upper_seconds is None:
        return f"above {bound(value.lower_seconds)}"
    upper = bound(value.upper_seconds)
    if value.lower_seconds <= 0:
        return f"≤ {upper}"
    factor = 1e3 if upper.endswith(" ms") else 1.0
    return f"{plain(value.lower_seconds * factor, 6)}–{upper}"


def number(value: float | None) -> str:
    """Three digits and an SI prefix: `0.42`, `12.3`, `1.23 k`, `4 M`."""
    if value is None:
        return NOT_MEASURED
    for factor, prefix in _LARGE:
        if abs(value) >= factor * 0.9995:
            return f"{plain(value / factor, 3)} {prefix}"
    return plain(value, 3)


def count(value: float | None) -> str:
    """A whole number in full: `12,345`."""
    return NOT_MEASURED if value is None else f"{value:,.0f}"


def dollars(value: float | None) -> str:
    """`$0.42`, `$1,234`, `$0.0031`, `$0`."""
    if value is None:
        return NOT_MEASURED
    sign, size = ("−" if value < 0 else ""), abs(value)
    if size >= 1000:
        return f"{sign}${size:,.0f}"
    if size >= 0.1:
        return f"{sign}${size:.2f}"
    return f"{sign}${plain(size, 2)}"


def _percent(value: float) -> str:
    percent = abs(value) * 100
    if 0 < percent < 0.001:
        text = "<0.001"
    elif 99.9995 <= percent < 100:
        text = ">99.999"
    elif 99.95 <= percent < 100:
        text = f"{percent:.{2 if percent < 99.995 else 3}f}"
    else:
        text = f"{percent:.0f}" if percent >= 1000 else plain(percent, 3 if percent >= 10 else 2)
    return f"−{text}" if value < 0 else text


def ratio(value: float | None) -> str:
    """`1.2 %`; `99.97 %` is never rounded to 100, nor `<0.001 %` to 0."""
    return NOT_MEASURED if value is None else f"{_percent(value)} %"


def ratio_range(lower: float | None, upper: float | None) -> str:
    """A ratio known between two bounds: `1.2 %` if they are said the same, else `1.2–3.4 %`."""
    if lower is None or upper is None:
        return NOT_MEASURED
    low, high = _percent(lower), _percent(upper)
    return f"{low} %" if low == high else f"{low}–{high} %"


def burn(lower: float | None, upper: float | None) -> str:
    """How many times faster than the budget allows: `14.4×`, `3.1–12×`."""
    if lower is None or upper is None:
        return NOT_MEASURED
    low, high = (f"{x:.0f}" if x >= 100 else plain(x, 3 if x >= 1 else 2) for x in (lower, upper))
    return f"{low}×" if low == high else f"{low}–{high}×"


def budget(left_ratio: float | None) -> str:
    """What is left of an error budget: `62 % left`, `overspent by 34 %`."""
    if left_ratio is None:
        return "not measured"
    if left_ratio < 0:
        return f"overspent by {ratio(-left_ratio)}"
    return f"{ratio(left_ratio)} left"


def size(value: float | None) -> str:
    """Bytes in binary units: `61.2 GiB`."""
    if value is None:
        return NOT_MEASURED
    for factor, unit in _BINARY:
        if value >= factor * 0.9995:
            return f"{plain(value / factor, 3)} {unit}"
    return f"{value:.0f} B"


def unit(value: float | None, name: str) -> str:
    """A number with its unit, as `412 W` or `4.9 MJ`; without a unit if there is no number."""
    if value is None:
        return NOT_MEASURED
    digits, _, prefix = number(value).partition(" ")
    return f"{digits} {prefix}{name}"


def factor(value: Factor) -> str:
    """A factor as it is multiplied, by the hour: `$3.50 / GPU-h`, `1.3×`, `0.052 GPU-h / M tokens`.

    So the product of cost is dollars, that of energy watt-hours, of a million tokens.
    """
    if value.unit == "dollars per GPU-second":
        hourly = value.value * SECONDS_PER_HOUR
        # Of cents alone two digits are left, and the product would be out by one in twenty.
        return f"{dollars(hourly) if hourly >= 1 else f'${plain(hourly, 3)}'} / GPU-h"
    if value.unit == "GPU-seconds per token":
        hours = value.value * TOKENS_PER_MILLION / SECONDS_PER_HOUR
        return f"{plain(hours, 3)} GPU-h / M tokens"
    if value.unit == "watts":
        return f"{plain(value.value, 3)} W"
    return f"{plain(value.value, 3)}×"


def watt_hours(joules_per_token: float | None) -> str:
    """Energy as the product of factors is said: watt-hours of a million tokens."""
    if joules_per_token is None:
        return NOT_MEASURED
    return unit(joules_per_token * TOKENS_PER_MILLION / SECONDS_PER_HOUR, "Wh")


def factors(found: Sequence[Factor]) -> str:
    """All of them in a line, for where there is no room for more."""
    return " × ".join(f"{one.name} {factor(one).removesuffix('×')}" for one in found)


def span(value: float | None) -> str:
    """A time as long as a watch or a window: `42 s`, `5 min`, `2 h 5 min`, `30 d`."""
    if value is None:
        return NOT_MEASURED
    if 0 < value < 1:
        return "<1 s"
    if value < 120:
        return f"{max(value, 0.0):.0f} s"
    for place, (length, name) in enumerate(_SPANS[:-1]):
        if value < length:
            continue
        whole, rest = divmod(value, length)
        smaller_length, smaller = _SPANS[place + 1]
        few = int(rest // smaller_length)
        return f"{whole:.0f} {name}" + (f" {few} {smaller}" if few and length > 60 else "")
    raise AssertionError("two minutes are longer than the last span")


def moment(timestamp_seconds: float) -> str:
    """`03:12:07 UTC`."""
    return datetime.fromtimestamp(timestamp_seconds, UTC).strftime("%H:%M:%S UTC")


def stamp(timestamp_seconds: float) -> str:
    """ISO 8601, for machines and for titles."""
    return datetime.fromtimestamp(timestamp_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def objective(value: Objective) -> str:
    """What is promised, short: `TTFT below 1 s`."""
    name = INDICATORS.get(value.indicator, value.indicator)
    about, threshold = indicators.of(value), indicators.threshold(value)
    if about.threshold is None or threshold is None:
        return name
    side = "above" if about.is_above else "below"
    return f"{name} {side} {THRESHOLDS[about.threshold](threshold)}"


def promise(value: Objective) -> str:
    """What is promised, in full: `99.5 % with TTFT below 1 s, over 30 d`."""
    share = f"{plain(value.objective_ratio * 100, 6)} %"
    what = PROMISES.get(value.indicator, f"with {objective(value)}")
    if indicators.of(value).is_worth:
        share += " of working time"
    return f"{share} {what}, over {span(value.period_seconds)}"


def tallied(value: Burn) -> str:
    """What it has come to: `valid 61,240, good 61,010 to 61,022`, `valid 135 s, good 130 s`."""
    unit_ = " s" if indicators.of(value.objective).is_of_time else ""
    total = value.total
    lower, upper = count(total.good_lower), count(total.good_upper)
    good = lower if total.good_lower == total.good_upper else f"{lower} to {upper}"
    return f"valid {count(total.valid)}{unit_}, good {good}{unit_}"


def counted(value: Burn) -> str | None:
    """Who counted its events, after the word "counted"; None if nobody has yet."""
    if value.source is None:
        return None
    if value.objective.indicator in ANSWERED:
        return ANSWERERS.get(value.source, f"at the {value.source}")
    return f"by {SOURCES.get(value.source, value.source)}"


def some(names: list[str], limit: int = 3) -> str:
    """A list in a sentence: `a, b and c`, `a, b, c and 4 more`."""
    shown = names[:limit]
    if len(names) > limit:
        shown.append(f"{len(names) - limit} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
