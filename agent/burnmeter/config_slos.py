"""From the `slos` of a config to objectives in base units, and what is doubtful about them.

It decides nothing about burn or windows. Surprising: a threshold is held against the bucket bounds
of the engines that it can meet, because a histogram cannot say how many requests were faster than a
value between two of its bounds; that is a warning, and a threshold above the last bound, where
nothing could ever be late, is an error.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from burnmeter import config_rules as rules
from burnmeter import indicators
from burnmeter.config_rules import Report, Rule, RuleError, given, plain
from burnmeter.indicators import DOLLARS, INDICATORS, JOULES, SPEED, THRESHOLDS, Threshold
from burnmeter.located import Located, shown
from burnmeter.model import Objective, Target
from burnmeter.units import SECONDS_PER_DAY, SECONDS_PER_HOUR, TOKENS_PER_MILLION

Bounds = Mapping[str, Mapping[str, tuple[float, ...]]]
"""Engine -> latency indicator -> upper bounds of its buckets, by default, ascending."""

TOKEN_LATENCIES: Final = ("ttft", "itl", "tpot")
NEEDED: Final = {"name": "chat-ttft", "indicator": "ttft", "objective_percent": "95"}
"""Keys that each objective must have, with an example."""
MOST_PERCENT: Final = 99.9999
WINDOW_DAYS: Final = 30.0
WINDOW_SECONDS: Final = WINDOW_DAYS * SECONDS_PER_DAY
MOST: Final = 100
"""Each objective is kept for each of its models, and looked at in each tick."""
LONG_SECONDS: Final = 60.0
"""Nobody waits longer for a token: a threshold above it is likely meant in milliseconds."""
MANY_TOKENS_PER_SECOND: Final = 1000.0
"""No single request gets more of a large model: likely what all get together is meant."""
MANY_JOULES_PER_TOKEN: Final = 200.0
"""Eight GPUs at full power make a token so: likely watt-hours of a million tokens are meant."""

DEFAULTS: Final = (
    Objective(name="ttft", indicator="ttft", objective_ratio=0.95, threshold_seconds=1.0),
    Objective(name="tpot", indicator="tpot", objective_ratio=0.95, threshold_seconds=0.1),
    Objective(name="errors", indicator="errors", objective_ratio=0.99),
    Objective(name="availability", indicator="availability", objective_ratio=0.995),
)
"""What holds for each model where the config does not say `slos`."""


class Placed(NamedTuple):
    """An objective, where it stands and what it is called there."""

    where: str
    node: Located
    objective: Objective
    threshold: str = "threshold_seconds"
    """What says the threshold there."""
    model: str = "match.model"
    """What says the model there."""


def read_objectives(
    report: Report, node: Located, names: dict[str, str] | None = None
) -> list[Placed]:
    """The list of objectives, as far as they are right.

    `names`: those that are taken, by other files too, and the file of each; it grows.
    """
    if isinstance(node.value, tuple) and len(node.value) > MOST:
        text = f"slos: {len(node.value)} are more than {MOST}, the most allowed"
        report.error(node, f"{text}; one without `match` holds for each model, so list fewer")
        return []
    taken = {} if names is None else names
    return rules.items(report, node, "slos", lambda n, w: _read_objective(report, n, w, taken))


def _read_objective(
    report: Report, node: Located, where: str, names: dict[str, str]
) -> list[Placed]:
    keys: Mapping[str, Rule] = {
        "name": rules.slug,
        "indicator": rules.choice("an indicator", INDICATORS),
        **{key: _threshold(key, one) for key, one in THRESHOLDS.items()},
        "objective_percent": percent,
        "window_days": rules.number("window_days", 1, 366),
        "match": lambda got: _match(report, got, f"{where}.match"),
        "page": rules.flag,
    }
    values = rules.section(report, node, where, keys)
    if "name" in values:
        at = rules.find(node, "name")
        take_name(report, at, f"{where}.name", values["name"], names)
    for key in NEEDED:
        if rules.lacks(node, key, keys):
            report.error(node, f"{where}: `{key}` is missing; add one like `{key}: {NEEDED[key]}`")
    if "indicator" in values:
        _check_own_threshold(report, node, where, values["indicator"], keys)
    if not NEEDED.keys() <= values.keys():
        return []
    objective = Objective(
        name=values["name"],
        indicator=values["indicator"],
        objective_ratio=values["objective_percent"],
        **{key: values.get(key) for key in THRESHOLDS},
        period_seconds=values.get("window_days", WINDOW_DAYS) * SECONDS_PER_DAY,
        match=values.get("match", ()),
        is_paging=values.get("page", INDICATORS[values["indicator"]].is_paging),
    )
    return [Placed(where, node, objective)]


def _check_own_threshold(
    report: Report, node: Located, where: str, name: str, keys: Mapping[str, Rule]
) -> None:
    """An objective has the threshold of its indicator, and no other's."""
    about = INDICATORS[name]
    own = about.threshold
    if own is not None and rules.lacks(node, own, keys):
        side = "above" if about.is_above else "below"
        of = THRESHOLDS[own]
        text = f"{where}: `{own}` is missing; {side} how many {of.unit} is {name} good?"
        report.error(node, f"{text} Add one like `{own}: {plain(of.example)}`")
    for key in THRESHOLDS:
        if key == own or not rules.has(node, key):
            continue
        knows = "no threshold" if own is None else f"only `{own}`"
        text = f"{where}.{key}: {name} knows {knows}; remove the line, or choose another indicator"
        others = rules.listing(indicators.having(key))
        report.error(rules.find(node, key), f"{text}: {others}")


def _threshold(key: str, of: Threshold) -> Rule:
    number = rules.number(key, of.least, of.most)

    def dollars(node: Located) -> float:
        value = node.value
        if isinstance(value, float) and 0 < value < of.least:
            text = f"{plain(value)} dollars per million tokens are next to nothing"
            meant = plain(float(Decimal(repr(value)) * Decimal(TOKENS_PER_MILLION)))
            raise RuleError(f"{text}. Dollars per token? Write {meant}")
        checked: float = number(node)
        return checked

    return dollars if key == DOLLARS else number


def take_name(report: Report, at: Located, where: str, name: str, names: dict[str, str]) -> None:
    """Before the rest is judged: an objective that is wrong in other ways has a name too."""
    if name in names:
        place = "above" if names[name] == report.path else f"in {names[name]}"
        text = f"{where}: `{name}` is the name of another objective {place}; choose another"
        report.error(at, text)
    else:
        names[name] = report.path


def percent(node: Located) -> float:
    """A share of good events in percent, as the ratio it is."""
    value = node.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 < value < 1:
            meant = plain(float(Decimal(repr(value)) * 100))
            raise RuleError(f"{plain(value)} is below 1 percent; did you mean {meant}?")
        if value == 100:
            raise RuleError("100 leaves no budget: nothing could ever fail; write one like 99.9")
        if MOST_PERCENT < value < 100:
            text = f"{given(node)} leaves less than one failure in a million requests"
            raise RuleError(f"{text}; write at most {MOST_PERCENT}")
    share = rules.number("objective_percent", 1, MOST_PERCENT)(node)
    # By way of decimals: 99.9 / 100 is 0.9990000000000001 in binary.
    return float(Decimal(repr(share)) / 100)


def _match(report: Report, node: Located, where: str) -> tuple[tuple[str, str], ...]:
    values = rules.section(report, node, where, {"model": rules.word})
    return tuple(sorted(values.items()))


# --- against targets and engines ---------------------------------------------------------------


def check(
    report: Report,
    read: Iterable[Placed],
    targets: Iterable[Target],
    models: Mapping[str, str],
    bounds: Bounds,
) -> None:
    """What only the rest of the config and the engines can tell."""
    targets = tuple(targets)
    known = {target.model for target in targets if target.model is not None} | {*models.values()}
    for placed in read:
        if placed.objective.threshold_seconds is not None:
            engines = _meeting(placed.objective, targets, bounds)
            _check_bounds(report, placed, placed.objective.threshold_seconds, engines)
        _check_likely(report, placed)
        for _, model in placed.objective.match:
            if model not in known:
                text = f"{placed.where}.{placed.model}: no target and no line of `models` names"
                hint = rules.suggestion(model, known) or "; right only if an engine calls it so"
                at = rules.find(placed.node, "match", "model")
                report.warn(at, f"{text} `{shown(model)}`{hint}")


def _check_likely(report: Report, placed: Placed) -> None:
    """Thresholds that are allowed, and likely meant in another unit."""
    speed, joules = (getattr(placed.objective, key) for key in (SPEED, JOULES))
    if speed is not None and speed > MANY_TOKENS_PER_SECOND:
        text = f"{placed.where}.{SPEED}: {plain(speed)} tokens per second are many for one request"
        report.warn(rules.find(placed.node, SPEED), f"{text}; all together are not meant here")
    if joules is not None and joules > MANY_JOULES_PER_TOKEN:
        text = f"{placed.where}.{JOULES}: {plain(joules)} joules are many for one token"
        meant = plain(round(joules * SECONDS_PER_HOUR / TOKENS_PER_MILLION, 6))
        at = rules.find(placed.node, JOULES)
        report.warn(at, f"{text}. Watt-hours of a million tokens? Write {meant}")


def _check_bounds(report: Report, placed: Placed, threshold: float, engines: Bounds) -> None:
    """Hold a threshold against the bounds of the engines that it may meet."""
    indicator = placed.objective.indicator
    at = rules.find(placed.node, "threshold_seconds")
    known = {
        name: table[indicator] for name, table in sorted(engines.items()) if table.get(indicator)
    }
    name = f"{placed.where}.{placed.threshold}: {plain(threshold)}"
    likely_ms = f"Milliseconds? Write {plain(threshold / 1000)}"
    if known and all(bounds[-1] < threshold for bounds in known.values()):
        lasts = rules.listing(f"{engine} ({plain(b[-1])})" for engine, b in known.items())
        text = f"{name} is above the last bound of {lasts}: nothing could ever be late"
        report.error(at, f"{text}. {likely_ms}" if threshold >= 1 else text)
    elif threshold > LONG_SECONDS and indicator in TOKEN_LATENCIES:
        report.warn(at, f"{name} seconds is long for {indicator}. {likely_ms}")
    elif off := {engine: b for engine, b in known.items() if threshold not in b}:
        places = rules.listing(f"{engine} ({_place(threshold, b)})" for engine, b in off.items())
        text = f"{name} is no bucket bound of {places}"
        report.warn(at, f"{text}: good counts will be a lower and an upper bound, not exact")


def _place(threshold: float, bounds: tuple[float, ...]) -> str:
    """Where a threshold lies among bounds that do not hold it."""
    below = [bound for bound in bounds if bound < threshold]
    above = [bound for bound in bounds if bound > threshold]
    if not below:
        return f"below its first, {plain(above[0])}"
    if not above:
        return f"above its last, {plain(below[-1])}"
    return f"between its {plain(below[-1])} and {plain(above[0])}"


def _meeting(objective: Objective, targets: Iterable[Target], bounds: Bounds) -> Bounds:
    """The engines that an objective's threshold must suit.

    Those of the targets it matches, as far as they name one. Otherwise any engine may come, and
    only a threshold that is a bound of none of them is worth a word.
    """
    models = [value for key, value in objective.match if key == "model"]
    named = {
        target.engine: bounds[target.engine]
        for target in targets
        if target.engine is not None and (not models or target.model in (None, *models))
    }
    if named:
        return named
    threshold = objective.threshold_seconds
    suits = any(threshold in table.get(objective.indicator, ()) for table in bounds.values())
    return {} if suits else bounds
