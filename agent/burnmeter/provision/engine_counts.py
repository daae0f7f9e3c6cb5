"""An objective's events straight from engines' own metrics, by their dialects, as PromQL.

For a Prometheus that scraped engines before any agent was there. It asks for no value. All
arithmetic on witnesses is within the query and target by target, as an agent does it; a target is
what has one `job` and `instance`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from burnmeter.catalog import ESTIMATE, VANTAGES, WITNESSES
from burnmeter.dialects import INDICATORS, Dialect, Measure, Rule
from burnmeter.model import Objective
from burnmeter.provision.conventions import duration, quoted
from burnmeter.provision.counted import Counted, Text
from burnmeter.provision.engine_history import Stored, marks, word
from burnmeter.provision.hindsight import Grid
from burnmeter.provision.history import Asked, Name, Part, Refused
from burnmeter.provision.prometheus_api import Prometheus

REQUESTS: Final = "requests_total"
ON: Final = "on (job, instance)"
NEAR: Final = 1e-9
OF_AGENTS: Final = "no engine knows what its GPUs cost and took; agents count it"
UNSEEN: Final = {
    "cost": OF_AGENTS,
    "energy": OF_AGENTS,
    "throughput": "it is judged by what runs at each moment, of which a history has samples only;"
    " agents count it",
    "availability": "engines' own metrics end with the engine, and `up` tells neither whose"
    " model it was nor whether it stood still; agents count it",
}
"""Indicator -> why no history of engines tells it."""


class _UntoldError(Exception):
    """Why a dialect's metrics cannot tell an objective; caught in this module."""


@dataclass(frozen=True, slots=True)
class Engines:
    """Who is asked, and what their words for models mean."""

    stored: Stored
    dialects: Sequence[Dialect]
    """Those that have history, nearest vantage first."""
    models: Mapping[str, str]
    """The config's: an engine's word for a model -> ours."""

    def before(self, dialect: Dialect) -> tuple[Dialect, ...]:
        """Those that are asked first whose page it is, where the pages of some are of both."""
        ours = self.stored.targets(dialect)
        first = (one for one in self.dialects if one.turn < dialect.turn)
        return tuple(one for one in first if self.stored.targets(one) & ours)

    def words(self, dialect: Dialect) -> frozenset[str]:
        """All that a dialect's own series call a model."""
        names = {name for mark in dialect.recognise for name in mark.names}
        pattern = "|".join(re.escape(name).replace(r"\*", ".*") for name in sorted(names))
        page = f"{{__name__=~{quoted(pattern)}}}"
        return frozenset(
            value for label in dialect.model_labels for value in self.stored.values(label, page)
        )

    def namer(self, dialect: Dialect, words: Iterable[str]) -> Name:
        """How a series' model is called: by its word with capitals, where it is written both ways.

        `words`: all that this dialect's series call a model.
        """
        spelled: dict[str, str] = {}
        for own in sorted(words, key=lambda own: own != own.lower()):
            spelled[own.lower()] = own

        def name(labels: Mapping[str, str]) -> str:
            own = word(dialect, labels)
            best = spelled.get(own.lower(), own)
            return self.models.get(own, self.models.get(best, best))

        return name


def from_engines(
    prometheus: Prometheus,
    objectives: Sequence[Objective],
    grid: Grid,
    *,
    dialects: Mapping[str, Dialect],
    models: Mapping[str, str],
    model: str | None = None,
) -> Iterator[Asked | Refused]:
    """Each objective by all engines that have history, or why none tells it; of one `model`."""
    stored = Stored(prometheus, grid)
    present = [one for one in dialects.values() if stored.names(one) and stored.targets(one)]
    # Of one model only the nearest vantage is believed.
    present.sort(key=lambda one: (VANTAGES.index(one.vantage), one.turn))
    engines = Engines(stored, present, models)
    for objective in objectives:
        wanted = {model, dict(objective.match).get("model")} - {None}
        if objective.indicator in UNSEEN:
            yield Refused(objective, UNSEEN[objective.indicator])
        else:
            yield _one(engines, objective, frozenset(one for one in wanted if one is not None))


def _one(engines: Engines, objective: Objective, wanted: frozenset[str]) -> Asked | Refused:
    parts: list[Part] = []
    reasons: list[str] = []
    nearest: dict[str, str] = {}
    for dialect in engines.dialects:
        try:
            part = _part(engines, dialect, objective)
        except _UntoldError as error:
            reasons.append(f"{dialect.title}: {error}")
            continue
        ours = {one for one in part.models if nearest.setdefault(one, dialect.vantage)}
        ours = {one for one in ours if nearest[one] == dialect.vantage}
        ours = {one for one in ours if not wanted or wanted == {one}}
        if ours:
            parts.append(replace(part, models=frozenset(ours)))
    if parts:
        return Asked(objective, tuple(parts))
    found = sorted(nearest)
    if found and wanted:
        return Refused(objective, f"no engine has counted it of {', '.join(sorted(wanted))}")
    return Refused(objective, "; ".join(reasons) or "no engine that we know has history here")


def _part(engines: Engines, dialect: Dialect, objective: Objective) -> Part:
    """One dialect's events of an objective. Raises _UntoldError."""
    name = INDICATORS.get(objective.indicator, REQUESTS)
    measure = dialect.measures.get(name)
    if measure is None:
        raise _UntoldError(dialect.not_available.get(name, f"it has no {name}"))
    if dialect.is_per_second:
        raise _UntoldError("its numbers are rates, and a rate between two scrapes is lost")
    if dialect.stages:
        raise _UntoldError(
            "one request is counted at several stages, which only an agent tells apart"
        )
    builder = _Builder(engines.stored, dialect, measure, engines.before(dialect))
    if name == REQUESTS:
        counted, selectors = builder.errors()
    else:
        assert objective.threshold_seconds is not None, "config refuses a latency without one"
        counted, selectors = builder.latency(objective.threshold_seconds)
    shown = [labels for selector in selectors for labels in builder.labels(selector)]
    name_of = engines.namer(dialect, engines.words(dialect))
    return Part(
        source=dialect.title,
        counted=counted,
        name=name_of,
        models=frozenset(map(name_of, shown)) - {""},
    )


class _Builder:
    """Texts of one measure of one dialect."""

    def __init__(
        self, stored: Stored, dialect: Dialect, measure: Measure, before: Sequence[Dialect]
    ) -> None:
        self.stored, self.dialect, self.measure = stored, dialect, measure
        self.before = before
        self.names = stored.names(dialect)
        self.by = tuple(dict.fromkeys((*dialect.model_labels, "job")))
        self.at_target = tuple(dict.fromkeys((*self.by, "instance")))

    def labels(self, selector: str) -> Iterator[dict[str, str]]:
        """What tells models, of each that a selector has."""
        own = self.dialect.model_labels
        found = [{label: value} for label in own for value in self.stored.values(label, selector)]
        return iter(found or [{"job": job} for job in self.stored.values("job", selector)])

    def grown(self, selector: str) -> Text:
        """The increase of each target and model."""
        copies = ", ".join(self.dialect.copies)
        is_foreign = not marks(self.dialect, selector.partition("{")[0])

        def text(seconds: float) -> str:
            grown = f"increase({selector}[{duration(seconds)}])"
            if copies:  # Each tensor-parallel rank tells the same.
                grown = f"max without ({copies}) ({grown})"
            terms = [f"sum by ({', '.join(self.at_target)}) ({grown})"]
            if is_foreign:
                terms.append(f"and {ON} {self._shown(self.dialect, seconds)}")
            terms += [f"unless {ON} {self._shown(other, seconds)}" for other in self.before]
            return terms[0] if len(terms) == 1 else f"({' '.join(terms)})"

        return text

    def _shown(self, dialect: Dialect, seconds: float) -> str:
        """Targets whose page spoke a dialect within a window."""
        signs = self.stored.signs(dialect)
        seen = (f"last_over_time({sign}[{duration(seconds)}])" for sign in signs)
        return f"({' or '.join(seen)})"

    # --- latencies ------------------------------------------------------------------------------

    def latency(self, threshold_seconds: float) -> tuple[Counted, list[str]]:
        """Events, and good ones at the bounds next to the threshold. Raises _UntoldError."""
        valid: list[Text] = []
        lower: list[Text] = []
        upper: list[Text] = []
        selectors: list[str] = []
        for rule in self.measure.rules:
            for name in rule.names:
                line = f"{name}_count"
                if line not in self.names or f"{name}_bucket" not in self.names:
                    continue
                count = self.stored.selector(self.dialect, self.measure, rule, line)
                bucket = self.stored.selector(self.dialect, self.measure, rule, f"{name}_bucket")
                if count is None or bucket is None:
                    continue
                good = self._good(count, bucket, threshold_seconds)
                if good is None:
                    continue
                selectors.append(count)
                valid.append(self.grown(count))
                lower.append(good[0])
                upper.append(good[1])
        if not selectors:
            is_mean = any(rule.count for rule in self.measure.rules)
            raise _UntoldError("only a mean can be had of it" if is_mean else "no history of it")
        total, sure, perhaps = newest(valid), newest(lower), newest(upper)
        counted = Counted(
            valid=self.summed(total),
            bad_lower=self.summed(lambda s: f"clamp_min({total(s)} - ({perhaps(s)}), 0)"),
            bad_upper=self.summed(lambda s: f"clamp_min({total(s)} - ({sure(s)}), 0)"),
        )
        return counted, selectors

    def _good(self, count: str, bucket: str, threshold: float) -> tuple[Text, Text] | None:
        """At the next bound below a threshold, and at the next above: equal where it is one.

        None: there is no bound at all, and of a mean nobody can tell.
        """
        bounds = self.stored.bounds(bucket, self.measure.factor)
        if not bounds:
            return None
        comma = "" if bucket.endswith("{}") else ","
        at = {
            bound: f"{bucket[:-1]}{comma}le=~{quoted('|'.join(map(re.escape, spelled)))}}}"
            for bound, spelled in bounds.items()
        }
        down = [bound for bound in reversed(bounds) if bound <= threshold * (1 + NEAR)]
        up = [bound for bound in bounds if bound >= threshold * (1 - NEAR)]
        below = [self.grown(at[bound]) for bound in self.stored.nearest(count, at, down)]
        above = [self.grown(at[bound]) for bound in self.stored.nearest(count, at, up)]
        total = self.grown(count)
        return first([*below, lambda s: f"0 * {total(s)}"]), first([*above, total])

    def summed(self, text: Text) -> Text:
        """Over targets."""
        return lambda seconds: f"sum by ({', '.join(self.by)}) ({text(seconds)})"

    # --- errors ---------------------------------------------------------------------------------

    def errors(self) -> tuple[Counted, list[str]]:
        """Requests that ended well and those that failed, by each witness. Raises _UntoldError."""
        ok, selectors = self._ok()
        failed: dict[str, list[Text]] = {}
        is_counted = False
        for rule in self.measure.rules:
            labels = dict(rule.labels)
            lines = [name for name in rule.names if name in self.names]
            if labels.get("outcome") != "error" or not lines:
                continue
            is_counted = True
            ours = (self._failed(rule_line, ok) for rule_line in self._selected(rule, lines))
            texts = list(ours)
            if texts:
                failed.setdefault(labels["counted_by"], []).append(newest(texts))
        if not is_counted:
            raise _UntoldError(
                self.dialect.not_available.get(
                    f"{REQUESTS}{{outcome=error}}", "nothing in its history counts failed requests"
                )
            )
        guessed = failed.pop(ESTIMATE, [])
        known = [_sum(texts, self.at_target) for _, texts in sorted(failed.items())]
        none: Text = lambda s: f"0 * {ok(s)}"  # noqa: E731
        at_target = ", ".join(self.at_target)
        return Counted(
            valid=self.summed(union([ok, *known, *guessed])),
            bad_lower=self.summed(
                lambda s: f"max by ({at_target}) ({union([none, *known])(s)})",
            ),
            bad_upper=self.summed(union([none, *known, *guessed])),
        ), selectors

    def _ok(self) -> tuple[Text, list[str]]:
        """What ended well, by the first witness that there is."""
        for witness in WITNESSES:
            texts: list[Text] = []
            selectors: list[str] = []
            for rule in self.measure.rules:
                if {("outcome", "ok"), ("counted_by", witness)} <= {*rule.labels}:
                    lines = [name for name in rule.names if name in self.names]
                    ours = list(self._selected(rule, lines))
                    selectors += ours
                    texts += [newest([self.grown(one) for one in ours])] if ours else []
            if texts:
                return _sum(texts, self.at_target), selectors
        raise _UntoldError("nothing in its history counts requests that went well")

    def _selected(self, rule: Rule, lines: Sequence[str]) -> Iterator[str]:
        for line in lines:
            selector = self.stored.selector(self.dialect, self.measure, rule, line)
            if selector is not None:
                yield selector

    def _failed(self, selector: str, ok: Text) -> Text:
        """Failures of targets that count what went well, under the model that those name."""
        own = self.dialect.model_labels
        if not own or any(self.stored.values(label, selector) for label in own):
            return self.grown(selector)

        # HTTP servers know no model: it is that of a target which has only one.
        def text(seconds: float) -> str:
            grown = f"sum by (job, instance) (increase({selector}[{duration(seconds)}]))"
            alone = f"count by (job, instance) ({ok(seconds)}) == 1"
            return f"({grown} * {ON} group_right () (0 * ({ok(seconds)} and {ON} {alone}) + 1))"

        return text


# --- texts --------------------------------------------------------------------------------------


def newest(texts: Sequence[Text]) -> Text:
    """One target's names of the same events, newest first: the first counts, never two."""
    return _joined(f" or {ON} ", texts)


def first(texts: Sequence[Text]) -> Text:
    """The first of several that a target and model has."""
    return _joined(" or ", texts)


def _joined(word: str, texts: Sequence[Text]) -> Text:
    if len(texts) == 1:
        return texts[0]
    return lambda s: f"({word.join(text(s) for text in texts)})"


def union(texts: Sequence[Text]) -> Text:
    """All of them, told apart by a label, to be summed or compared."""
    if len(texts) == 1:
        return texts[0]
    return lambda s: " or ".join(
        f'label_replace({text(s)}, "part", "{number}", "", "")' for number, text in enumerate(texts)
    )


def _sum(texts: Sequence[Text], by: Sequence[str]) -> Text:
    if len(texts) == 1:
        return texts[0]
    every = union(texts)
    return lambda s: f"sum by ({', '.join(by)}) ({every(s)})"
