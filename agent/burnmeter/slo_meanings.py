"""Which of our indicators two sums of counters are: what is good, or bad, and what there is of it.

It knows our own names; those of the engines are brought by the caller, as no engine is known here.

Surprising: what requests a selection takes is found by trying values of its labels, as two patterns
cannot be compared. And labels that Prometheus adds when it scrapes (job, namespace) are not held
against a query: they say where it is counted, and an agent counts on its own node.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from burnmeter.config_rules import listing, suggestion
from burnmeter.indicators import SECONDS, having
from burnmeter.located import shown
from burnmeter.slo_queries import (
    Matcher,
    QuantileError,
    QueryError,
    Selector,
    Terms,
    UnreadableError,
)

Patterns = Mapping[str, re.Pattern[str]]


class Series(NamedTuple):
    """What one engine means by a counter or a histogram (its name without `_bucket`)."""

    engine: str
    vantage: str
    model_labels: tuple[str, ...]
    indicator: str | None = None
    """Of a histogram of seconds: the latency that it measures."""
    factor: float = 1.0
    """From its unit to seconds."""
    outcomes: tuple[tuple[Patterns, str], ...] = ()
    """Of a counter of requests: labels that all fit, and what then became of the request."""


Known = Mapping[str, tuple[Series, ...]]
"""Name on a page -> what each engine that has it means by it."""


class Indicator(NamedTuple):
    """What a query counts, in our words."""

    indicator: str
    threshold_seconds: float | None = None
    model: str | None = None
    is_our_name: bool = False
    """Whether `model` is ours already; else it is the engine's word."""
    warnings: tuple[str, ...] = ()
    like: str | None = None
    """It counts what this objective of ours counts; then the rest but `model` says nothing."""


PLACES: Final = frozenset(
    """job instance namespace kubernetes_namespace exported_namespace exported_job pod container
    service endpoint node host cluster region zone availability_zone env environment stage
    datacenter prometheus prometheus_replica k8s_cluster k8s_cluster_name k8s_namespace_name
    k8s_pod_name k8s_node_name""".split()  # noqa: SIM905
)
"""Labels that Prometheus or its operator adds, so that they tell where and not what."""
OUTCOMES: Final = ("ok", "error", "cancelled", "rejected", "lost")
OWN: Final = "burnmeter_"
VALID: Final = f"{OWN}slo_valid_total"
GOOD: Final = f"{OWN}slo_good_total"
OURS: Final[Known] = {
    **{
        f"{OWN}{latency}_seconds": (Series("burnmeter", "engine", ("model",), latency),)
        for latency in having(SECONDS)
    },
    f"{OWN}requests_total": (
        Series(
            *("burnmeter", "engine", ("model",)),
            outcomes=tuple(({"outcome": re.compile(outcome)}, outcome) for outcome in OUTCOMES),
        ),
    ),
}
_STATUSES: Final = "200 201 400 401 403 404 408 422 429 499 500 502 503 504".split()  # noqa: SIM905
_FINISHES: Final = ("stop", "length")
"""How an answer ends that went well, in the words of OpenAI's API, which engines repeat."""
_GENERIC: Final = ("", "any-other")
_LOOKS: Final = (
    ("first_token|ttft|first_response", "ttft"),
    ("inter_token|itl", "itl"),
    ("per_output_token|tpot|per_token", "tpot"),
    ("queue|wait", "queue"),
    (r"\bup\b|target_up|probe_success|availab", "availability"),
    ("error|fail|success|request.*_total|http", "errors"),
    ("duration|latency|e2e", "duration"),
)
"""Part of a name -> what its counter is likely about."""


def judge(part: Terms, total: Terms, *, is_good: bool, known: Known) -> Indicator:
    """Our indicator that a ratio is. `part`: the good events, else the bad. Raises QueryError."""
    if not part or not total:
        raise QueryError("counts nothing")
    names = sorted({selector.name for selector in (*part, *total)})
    known = {**known, **OURS}
    if any(name in (VALID, GOOD) for name in names):
        return _like(part, total, is_good=is_good)
    for name in names:
        _check_known(name, known)
    if any(name.endswith("_bucket") for name in names):
        return _latency(part, total, is_good=is_good, known=known)
    return _requests(part, total, is_good=is_good, known=known)


def meant(error: QueryError, texts: Iterable[str], known: Known) -> str:
    """What to write instead of a query that is refused, as far as its names tell."""
    if isinstance(error, UnreadableError):
        return "correct the query"
    if isinstance(error, QuantileError):
        series = {**known, **OURS}.get(error.name, ())
        found = series[0].indicator if series else _looks(error.name)
        latency = found if found in having(SECONDS) else "ttft"
        percent = ""
        if error.ratio is not None and 0.01 <= error.ratio < 1:
            percent = f" and `objective_percent: {float(Decimal(repr(error.ratio)) * 100):g}`"
        return f"write an objective with `indicator: {latency}`, `threshold_seconds`{percent}"
    found = next(filter(None, map(_looks, texts)), None)
    return f"write an objective with `indicator: {found or 'errors'}`, if that is meant"


def _looks(text: str) -> str | None:
    return next((ours for words, ours in _LOOKS if re.search(words, text.lower())), None)


def _base(name: str) -> str:
    """A histogram's name, of one of its lines."""
    return name.removesuffix("_bucket") if name.endswith("_bucket") else name.removesuffix("_count")


def _check_known(name: str, known: Known) -> None:
    if any(series.outcomes for series in known.get(name, ())):
        return
    if name in known or (name.endswith("_sum") and name.removesuffix("_sum") in known):
        base = name.removesuffix("_sum")
        text = f"`{shown(name)}` is no count of requests; those are"
        raise QueryError(f"{text} {shown(base)}_bucket and {shown(base)}_count")
    if any(series.indicator for series in known.get(_base(name), ())):
        return
    if name.startswith((f"{OWN}gateway_", f"{OWN}probe_")):
        text = f"`{name}`: an objective chooses by itself who counts; write"
        raise QueryError(f"{text} {OWN}{name.removeprefix(OWN).partition('_')[2]}")
    family = re.split("[:_]", name)[0]
    alike = [one for one in known if re.split("[:_]", one)[0] == family]
    near = suggestion(name, [*alike, *(f"{base}_bucket" for base in alike)])
    raise QueryError(f"`{shown(name)}` is no counter that burnmeter knows{near.rstrip('?')}")


# --- labels ------------------------------------------------------------------------------------


class _Where(NamedTuple):
    """The selection of a query beside what it counts."""

    model: str | None
    places: tuple[Matcher, ...]


def _split(
    selector: Selector, series: tuple[Series, ...], taken: frozenset[str]
) -> tuple[_Where, tuple[Matcher, ...]]:
    """Model and places of a selector, and its matchers of labels that are `taken`."""
    model, places, rest = None, [], []
    model_labels = {label for one in series for label in one.model_labels}
    for matcher in selector.matchers:
        if matcher.label in model_labels:
            model = _model(matcher, model)
        elif matcher.label in taken:
            rest.append(matcher)
        elif matcher.label in PLACES:
            places.append(matcher)
        else:
            text = f"`{shown(selector.name)}` is narrowed to `{shown(str(matcher))}`"
            raise QueryError(f"{text}, which an objective of burnmeter cannot say")
    return _Where(model, tuple(places)), tuple(rest)


def _model(matcher: Matcher, before: str | None) -> str | None:
    is_any = matcher.operator == "=~" and matcher.value in (".*", ".+")
    if is_any or (matcher.operator == "!=" and matcher.value == ""):
        return before
    name = (
        re.sub(r"\\+([.\-/])", r"\1", matcher.value) if matcher.operator == "=~" else matcher.value
    )
    is_one = matcher.operator == "=" or (
        matcher.operator == "=~" and not re.search(r"[][|()*+?{}^$\\]", name)
    )
    if not is_one or not name.strip() or not name.isprintable():
        text = f"`{shown(str(matcher))}`: an objective is of one model, or of each"
        raise QueryError(f"{text}; write one for each model, or leave the label out")
    if before not in (None, name):
        raise QueryError(f"`{shown(str(matcher))}` and another model cannot both be meant")
    return name


def _told(where: _Where, series: Iterable[Series]) -> Iterator[str]:
    """What is allowed, but not quite what was written."""
    if where.places:
        said = listing(f"`{shown(str(matcher))}`" for matcher in where.places)
        text = "not taken: an objective counts what this node's targets serve, wherever"
        yield f"{said} {'is' if len(where.places) == 1 else 'are'} {text} Prometheus has it from"
    engines = sorted({one.engine for one in series if one.vantage != "engine"})
    if engines and not any(one.vantage == "engine" for one in series):
        text = "counts before the engines; an objective counts at the engines where they can tell"
        yield f"{listing(engines)} {text}"


# --- latencies ---------------------------------------------------------------------------------


class _Count(NamedTuple):
    """Requests of one histogram, all or at most so long."""

    base: str
    where: _Where
    at_most: float | None


def _latency(part: Terms, total: Terms, *, is_good: bool, known: Known) -> Indicator:
    series = {s.name: _histogram(s.name, known) for s in (*part, *total)}
    counted = {s: _count(s, series[s.name]) for s in (*part, *total)}
    all_terms = _sum((counted[s], times) for s, times in total.items())
    good = _sum((counted[s], times) for s, times in part.items())
    if not is_good:
        good = _sum([*all_terms.items(), *((count, -times) for count, times in good.items())])
    _check_latency(good, all_terms)
    found = {
        (s.indicator, c.at_most and _in_seconds(c.at_most, s.factor))
        for name, s in series.items()
        for c in good
        if c.base == _base(name)
    }
    if len(found) != 1:
        said = listing(sorted(f"{indicator} {at_most:g}" for indicator, at_most in found))
        raise QueryError(f"adds up different latencies or thresholds ({said}); write one for each")
    indicator, threshold = found.pop()
    where = _one_where({count.where for count in good})
    return Indicator(
        indicator=str(indicator),
        threshold_seconds=threshold,
        model=where.model,
        is_our_name=any(name.startswith(OWN) for name in series),
        warnings=tuple(_told(where, series.values())),
    )


def _sum(terms: Iterable[tuple[_Count, int]]) -> dict[_Count, int]:
    found: dict[_Count, int] = {}
    for count, times in terms:
        found[count] = found.get(count, 0) + times
    return {count: times for count, times in found.items() if times != 0}


def _histogram(name: str, known: Known) -> Series:
    found = [one for one in known.get(_base(name), ()) if one.indicator is not None]
    if len({(one.indicator, one.factor) for one in found}) > 1:
        said = listing(f"{one.indicator} to {one.engine}" for one in found)
        raise QueryError(f"`{shown(name)}` means different things to different engines: {said}")
    if not found:
        raise QueryError(f"`{shown(name)}` is counted beside a latency, and is none")
    labels = tuple(dict.fromkeys(label for one in found for label in one.model_labels))
    nearest = min(found, key=lambda one: one.vantage != "engine")
    return nearest._replace(model_labels=labels)


def _count(selector: Selector, series: Series) -> _Count:
    where, bounds = _split(selector, (series,), frozenset(("le",)))
    base = _base(selector.name)
    if not selector.name.endswith("_bucket"):
        if bounds:
            raise QueryError(
                f"`{shown(selector.name)}` has no label `le`; write {shown(base)}_bucket"
            )
        return _Count(base, where, None)
    if len(bounds) != 1 or bounds[0].operator != "=":
        text = f"`{shown(selector.name)}` adds up several buckets, each of which holds those below"
        raise QueryError(f'{text} it; choose one, as le="0.5"')
    try:
        at_most = float(bounds[0].value)
    except ValueError as error:
        raise QueryError(f"`{shown(str(bounds[0]))}` is no number") from error
    if at_most == float("inf"):
        return _Count(base, where, None)
    if not 0 < _in_seconds(at_most, series.factor) <= 86400:
        raise QueryError(f"`{shown(str(bounds[0]))}` is no threshold that can be reached")
    return _Count(base, where, at_most)


def _in_seconds(value: float, factor: float) -> float:
    # By way of decimals: 300 * 0.001 is 0.3, and 0.7 * 0.001 is too.
    return float(Decimal(repr(value)) * Decimal(repr(factor)))


def _check_latency(good: Mapping[_Count, int], total: Mapping[_Count, int]) -> None:
    """Each histogram once: all of it in the total, what is below the threshold in the good."""
    if any(count.at_most is not None or times != 1 for count, times in total.items()):
        raise QueryError("has a total that is not all requests; write the histogram's _count")
    if {count.base for count in good} != {count.base for count in total}:
        raise QueryError("does not count the same histograms in both of its sums")
    if {count.where for count in good} != {count.where for count in total}:
        raise QueryError("does not select the same series in both of its sums")
    if any(count.at_most is None for count in good) or any(times != 1 for times in good.values()):
        text = "counts as good what is above a bucket, or no bucket; are good and bad swapped?"
        raise QueryError(f"{text} Bad is the _count less the bucket")


def _one_where(found: set[_Where]) -> _Where:
    if len(found) != 1:
        raise QueryError("adds up different models or places; write one for each model")
    return next(iter(found))


# --- requests ----------------------------------------------------------------------------------


def _requests(part: Terms, total: Terms, *, is_good: bool, known: Known) -> Indicator:
    selectors = (*part, *total)
    series = {
        s.name: tuple(one for one in known.get(s.name, ()) if one.outcomes) for s in selectors
    }
    for name, found in series.items():
        if not found:
            raise QueryError(f"`{shown(name)}` is all requests, of which none is said to be bad")
    wheres = {_split(s, series[s.name], _outcome_labels(series[s.name]))[0] for s in selectors}
    if len(wheres) != 1:
        raise QueryError("does not select the same series in both of its sums")
    all_requests = _vector(total, series)
    good = _vector(part, series)
    if not is_good:
        good = {outcome: all_requests[outcome] - good[outcome] for outcome in OUTCOMES}
    left_out = _check_requests(good, all_requests)
    where = wheres.pop()
    warnings = list(_told(where, [one for found in series.values() for one in found]))
    if left_out:
        text = "requests count here; to burnmeter they are no verdict on the server, and do not"
        warnings.append(f"{' and '.join(left_out)} {text}")
    is_ours = any(name.startswith(OWN) for name in series)
    return Indicator("errors", None, where.model, is_ours, tuple(warnings))


def _outcome_labels(series: tuple[Series, ...]) -> frozenset[str]:
    own = ("counted_by",) if any(one.engine == "burnmeter" for one in series) else ()
    return frozenset((*own, *(lb for one in series for match, _ in one.outcomes for lb in match)))


def _vector(terms: Terms, series: Mapping[str, tuple[Series, ...]]) -> dict[str, int]:
    """Outcome -> how often a request with it is counted."""
    found = dict.fromkeys(OUTCOMES, 0)
    for selector, times in terms.items():
        taken = _split(selector, series[selector.name], _outcome_labels(series[selector.name]))[1]
        readings = {_covered(selector.name, taken, one) for one in series[selector.name]}
        if len(readings) != 1:
            said = listing(one.engine for one in series[selector.name])
            text = f"`{shown(selector.name)}` means different things to different engines"
            raise QueryError(f"{text}: {said}")
        for outcome in readings.pop():
            found[outcome] += times
    return found


def _covered(name: str, taken: tuple[Matcher, ...], series: Series) -> frozenset[str]:
    """The outcomes whose requests are all selected; raises QueryError if of one some are."""
    labels = sorted(_outcome_labels((series,)) - {"counted_by"})
    selected: dict[str, list[bool]] = {}
    generic: dict[str, list[bool]] = {}
    missed: dict[str, list[str]] = {}
    narrowed = [label for label in labels if any(m.label == label for m in taken)]
    tried = (_examples(label, taken, series) for label in labels)
    for values in itertools.islice(itertools.product(*tried), 20_000):
        row = dict(zip(labels, values, strict=True))
        outcome = next((o for match, o in series.outcomes if _fits(match, row)), None)
        if outcome is None:
            continue
        is_taken = all(m.fits(row.get(m.label, "")) for m in taken if m.label in row)
        is_generic = any(row[label] in _GENERIC for label in narrowed)
        (generic if is_generic else selected).setdefault(outcome, []).append(is_taken)
        if not is_taken and not is_generic:
            missed.setdefault(outcome, []).extend(f'{k}="{row[k]}"' for k in narrowed)
    found = {
        outcome: selected.get(outcome) or tries for outcome, tries in generic.items()
    } | selected
    for outcome, tries in found.items():
        if any(tries) and not all(tries):
            text = f"`{shown(name)}` is narrowed to some of the requests that burnmeter calls"
            lacking = listing(map(shown, dict.fromkeys(missed.get(outcome, ()))))
            raise QueryError(f"{text} {outcome}{f': {lacking} is left out' if lacking else ''}")
    return frozenset(outcome for outcome, tries in found.items() if all(tries))


def _fits(match: Patterns, row: Mapping[str, str]) -> bool:
    return all(pattern.fullmatch(row.get(label, "")) for label, pattern in match.items())


def _examples(label: str, taken: tuple[Matcher, ...], series: Series) -> list[str]:
    """Values that a label may have: those that patterns speak of, and what nobody speaks of."""
    patterns = [match[label].pattern for match, _ in series.outcomes if label in match]
    words = [word for text in patterns for word in re.findall(r"[A-Za-z_][\w-]*", text)]
    written = [m for m in taken if m.label == label]
    whole = [m.value for m in written if m.operator in ("=", "!=")]
    whole += [word for m in written for word in m.value.strip("()").split("|") if word.isalnum()]
    finishes = _FINISHES if "finish" in label else ()
    statuses = _STATUSES if any(re.search(r"\d", text) for text in patterns) else ()
    return list(dict.fromkeys((*words, *whole, *finishes, *statuses, *_GENERIC)))[:60]


def _check_requests(good: Mapping[str, int], total: Mapping[str, int]) -> list[str]:
    """The outcomes that count as good here and not at all in ours."""
    if (total["ok"], total["error"]) != (1, 1):
        lacking = "errors" if total["ok"] == 1 else "the requests that went well"
        if max(total["ok"], total["error"]) > 1:
            raise QueryError("has a total that counts some requests twice")
        raise QueryError(f"has a total without {lacking}, so it is no share of all requests")
    if (good["ok"], good["error"]) != (1, 0):
        raise QueryError("has bad events that are not the failed requests; are they the good ones?")
    for outcome in ("cancelled", "rejected"):
        if good[outcome] != total[outcome]:
            text = f"counts {outcome} requests as bad, which to burnmeter are no verdict on the"
            raise QueryError(f"{text} server")
    return [outcome for outcome in ("cancelled", "rejected") if total[outcome] == 1]


# --- objectives of ours ------------------------------------------------------------------------


def _like(part: Terms, total: Terms, *, is_good: bool) -> Indicator:
    """Our own counters of an objective: what it counts, under another promise."""
    rows = {s: {m.label: m.value for m in s.matchers if m.operator == "="} for s in (*part, *total)}
    ours = Series("burnmeter", "engine", ("model",))
    wheres = {
        _split(s, (ours,), frozenset(("slo", "bound", "indicator", "source")))[0] for s in rows
    }
    slos = {row.get("slo") for row in rows.values()}
    slo = next(iter(slos))
    if len(slos) != 1 or slo is None:
        raise QueryError('does not say of which objective; write slo="its name" in each selector')
    good = {s.name: times for s, times in part.items()}
    if not is_good:
        good = {GOOD: -good.get(GOOD, 0)} if good.get(VALID) == 1 else {}
    bounds = [row.get("bound") for s, row in rows.items() if s.name == GOOD]
    if {s.name: times for s, times in total.items()} != {VALID: 1} or good != {GOOD: 1}:
        raise QueryError(f"is no share of {GOOD} in {VALID}")
    if any(bound not in ("lower", "upper") for bound in bounds):
        raise QueryError(f'`{GOOD}` has two bounds, which may not be added; write bound="lower"')
    where = _one_where(wheres)
    return Indicator("", None, where.model, True, tuple(_told(where, ())), like=slo)
