"""What a PromQL query adds up: counters by name and labels, each with a sign.

It knows PromQL and nothing of what a counter means; slo_meanings.py does. Parsing is the library
promql-parser's, an optional extra that is imported when a first query is read.

Surprising: the window of `rate` is dropped, and so is the grouping of `sum`. Burn over windows is
made of counters by us, for each model, whatever window or grouping the query was written for.
"""

import importlib.util
import re
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from burnmeter.errors import BurnmeterError
from burnmeter.located import shown

LIMIT_SIGNS: Final = 4000
LIMIT_OPERATORS: Final = 150
"""The parser recurses into each and takes the process with it at some thousands."""
INSTALL: Final = 'pip install "burnmeter[promql]"'
_OPERATORS: Final = re.compile(r"[-+*/%^(<>@]|[=!]=|\b(and|or|unless|atan2|offset)\b")
_WINDOW: Final = re.compile(r"\{\{-?\s*\.window\s*-?\}\}")
_INTERVAL: Final = re.compile(r"\[\s*\$(__rate_interval|__interval|__range|interval|window)\s*\]")


class QueryError(BurnmeterError):
    """A query that is not understood; the text goes behind its key. Never leaves the config."""


class UnreadableError(QueryError):
    """No PromQL, or more of it than is read."""


class Matcher(NamedTuple):
    """One label of a selector: `=`, `!=`, `=~` or `!~`, and a value."""

    label: str
    operator: str
    value: str

    def fits(self, value: str) -> bool:
        """Whether a series with this value of the label is selected."""
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        return (_pattern(self.value).fullmatch(value) is not None) == (self.operator == "=~")

    def __str__(self) -> str:
        return f'{self.label}{self.operator}"{self.value}"'


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sets in sets, which Prometheus' syntax lacks too
            return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise QueryError(f"`{shown(text)}`: this pattern is not understood") from error


class Selector(NamedTuple):
    """A counter's name and the labels that it is selected by."""

    name: str
    matchers: tuple[Matcher, ...]


class QuantileError(QueryError):
    """A quantile of a histogram: no count of good events, but it says what was meant."""

    def __init__(self, ratio: float | None, name: str) -> None:
        super().__init__("is a quantile, which says nothing of how many requests were good")
        self.ratio = ratio
        self.name = name


Terms = Mapping[Selector, int]
"""Counters and how often each is added; below 0: taken away."""


class Ratio(NamedTuple):
    """A quotient of two sums; `is_complement`: taken from 1."""

    part: Terms
    total: Terms
    is_complement: bool


def is_available() -> bool:
    """Whether the parser is installed."""
    return importlib.util.find_spec("promql_parser") is not None


def read_sum(text: str, *, is_plain: bool = False) -> Terms:
    """What a query of events adds up. Raises QueryError.

    `is_plain`: counters may stand there without `rate` or `increase`.
    """
    return _Reading(is_plain).terms(_parsed(text), 1)


def read_ratio(text: str) -> Ratio:
    """A query that is a quotient already, or 1 less one. Raises QueryError."""
    expression = _bare(_parsed(text))
    is_complement = _is(expression, "BinaryExpr", "-") and _number(expression.lhs) == 1
    if is_complement:
        expression = _bare(expression.rhs)
    if not _is(expression, "BinaryExpr", "/"):
        _refuse_quantile(expression)
        name = type(expression).__name__
        raise QueryError(f"is {_WORDS.get(name, 'one part')}, and no quotient of two sums")
    reading = _Reading(is_plain=False)
    part, total = reading.terms(expression.lhs, 1), reading.terms(expression.rhs, 1)
    return Ratio(part, total, is_complement)


def read_level(text: str) -> str:
    """The name of the one gauge that a query shows, perhaps the least of them; else QueryError."""
    expression = _bare(_parsed(text))
    if type(expression).__name__ == "AggregateExpr" and str(expression.op) == "min":
        expression = _bare(expression.expr)
    if type(expression).__name__ == "VectorSelector":
        return _selector(expression).name
    _refuse_quantile(expression)
    raise QueryError("is no gauge or counter of which events could be counted")


def _parsed(text: str) -> Any:
    import promql_parser  # here, as it is an optional extra

    query = _INTERVAL.sub("[5m]", _WINDOW.sub("5m", text)).strip()
    if len(query) > LIMIT_SIGNS:
        raise UnreadableError(f"has {len(query)} signs; at most {LIMIT_SIGNS} are read")
    if sum(1 for _ in _OPERATORS.finditer(query)) > LIMIT_OPERATORS:
        raise UnreadableError(f"has more than {LIMIT_OPERATORS} operators, the most that are read")
    if "{{" in query:
        template = shown(query[query.index("{{") :], limit=30)
        text = f"has the template `{template}`, of which only {{{{.window}}}} is known"
        raise UnreadableError(text)
    try:
        return promql_parser.parse(query)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"is no PromQL: {shown(str(error), limit=120)}") from error


class _Reading:
    """From a parsed query to the sum that it is."""

    def __init__(self, is_plain: bool) -> None:
        self.is_plain = is_plain

    def terms(self, expression: Any, sign: int) -> dict[Selector, int]:
        expression = _bare(expression)
        match type(expression).__name__:
            case "BinaryExpr":
                return self._binary(expression, sign)
            case "AggregateExpr":
                if str(expression.op) != "sum":
                    raise QueryError(f"`{expression.op}` counts no events; only `sum` adds them up")
                return self.terms(expression.expr, sign)
            case "Call":
                return self._call(expression, sign)
            case "VectorSelector" if self.is_plain:
                return {_selector(expression): sign}
            case "VectorSelector":
                name = shown(_selector(expression).name)
                raise QueryError(f"`{name}` stands without a window; write rate({name}[...])")
            case other:
                _refuse_quantile(expression)
                raise QueryError(f"has {_WORDS.get(other, 'a part')}, which counts no events")

    def _binary(self, expression: Any, sign: int) -> dict[Selector, int]:
        operator = str(expression.op)
        if operator == "or" and _is_zero(expression.rhs):
            return self.terms(expression.lhs, sign)
        is_filter = expression.modifier is None or not expression.modifier.return_bool
        if operator == ">" and is_filter and _number(expression.rhs) == 0:
            return self.terms(expression.lhs, sign)
        if operator not in ("+", "-"):
            _refuse_quantile(expression)
            raise QueryError(f"`{operator}` counts no events; only sums and differences are read")
        found = self.terms(expression.lhs, sign)
        other = self.terms(expression.rhs, sign if operator == "+" else -sign)
        for selector, times in other.items():
            found[selector] = found.get(selector, 0) + times
        return {selector: times for selector, times in found.items() if times != 0}

    def _call(self, call: Any, sign: int) -> dict[Selector, int]:
        name = call.func.name
        if name in ("clamp_min", "clamp_max"):
            return self.terms(call.args[0], sign)
        if name in ("rate", "increase") and type(call.args[0]).__name__ == "MatrixSelector":
            return {_selector(call.args[0].vector_selector): sign}
        _refuse_quantile(call)
        right = "only `rate` and `increase` are read"
        raise QueryError(f"`{name}` counts no events; {right}")


_WORDS: Final = {
    "NumberLiteral": "a number",
    "StringLiteral": "a text",
    "MatrixSelector": "a range without a function",
    "SubqueryExpr": "a subquery",
    "UnaryExpr": "a `-` before the whole",
    "VectorSelector": "one series",
    "AggregateExpr": "one sum",
    "Call": "one function",
    "BinaryExpr": "another operator",
}


def _bare(expression: Any) -> Any:
    """Without the brackets around it."""
    while type(expression).__name__ == "ParenExpr":
        expression = expression.expr
    return expression


def _is(expression: Any, kind: str, operator: str) -> bool:
    return type(expression).__name__ == kind and str(expression.op) == operator


def _number(expression: Any) -> float | None:
    bare = _bare(expression)
    return bare.val if type(bare).__name__ == "NumberLiteral" else None


def _is_zero(expression: Any) -> bool:
    """`vector(0)`, or the same series times 0: what stands for no event at all."""
    bare = _bare(expression)
    if _is(bare, "BinaryExpr", "*"):
        return 0 in (_number(bare.lhs), _number(bare.rhs))
    is_vector = type(bare).__name__ == "Call" and bare.func.name == "vector"
    return is_vector and _number(bare.args[0]) == 0


def _selector(selector: Any) -> Selector:
    if selector.offset is not None or selector.at is not None:
        raise QueryError("`offset` and `@` look at another time; an objective counts as it goes on")
    if selector.matchers.or_matchers:
        raise QueryError("`or` between labels is not read; write two sums")
    found = [
        Matcher(str(one.name), _SIGNS[str(one.op)], str(one.value))
        for one in selector.matchers.matchers
    ]
    named = [one.value for one in found if one.label == "__name__" and one.operator == "="]
    name = selector.name or next(iter(named), None)
    if name is None:
        raise QueryError("selects no series by its name")
    rest = tuple(sorted({one for one in found if one.label != "__name__"}))
    return Selector(name, rest)


_SIGNS: Final = {
    "MatchOp.Equal": "=",
    "MatchOp.NotEqual": "!=",
    "MatchOp.Re": "=~",
    "MatchOp.NotRe": "!~",
}


def _refuse_quantile(expression: Any) -> None:
    """Raises QuantileError if that is what the query asks for."""
    bare = _bare(expression)
    if type(bare).__name__ == "BinaryExpr":
        bare = _bare(bare.lhs)
    if type(bare).__name__ == "Call" and bare.func.name == "histogram_quantile":
        buckets = re.search(r"([A-Za-z_:][\w:]*)_bucket\b", bare.args[1].prettify())
        raise QuantileError(_number(bare.args[0]), buckets[1] if buckets else "")
