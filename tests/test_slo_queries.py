"""What a PromQL query adds up, and why another cannot be read."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnmeter.slo_queries import (
    LIMIT_OPERATORS,
    LIMIT_SIGNS,
    Matcher,
    QuantileError,
    QueryError,
    Ratio,
    Selector,
    read_level,
    read_ratio,
    read_sum,
)

A, B = Selector("a", ()), Selector("b", ())


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("rate(a[5m])", {A: 1}),
        ("sum(rate(a[{{.window}}]))", {A: 1}),
        ("sum by (x) (increase(a[{{ .window }}]))", {A: 1}),
        ("sum without (x) (rate(a[$__rate_interval]))", {A: 1}),
        ("(sum(rate(a[1h])) - sum(rate(b[1h])))", {A: 1, B: -1}),
        ("sum(rate(a[1h])) - (sum(rate(b[1h])) - sum(rate(a[1h])))", {A: 2, B: -1}),
        ("sum(rate(a[1h])) - sum(rate(a[5m]))", {}),
        ("sum(rate(a[1h]) + rate(b[1h]))", {A: 1, B: 1}),
        ("sum(rate(a[1h])) or vector(0)", {A: 1}),
        ("sum(rate(a[1h])) or on() vector(0)", {A: 1}),
        ("sum(rate(a[1h])) or 0 * sum(rate(b[1h]))", {A: 1}),
        ("clamp_min(sum(rate(a[1h])), 1)", {A: 1}),
        ("sum(rate(a[1h])) > 0", {A: 1}),
        ("rate({__name__='a'}[5m])", {A: 1}),
        (
            'rate(a{x=~"1|2", w!="0"}[5m])',
            {Selector("a", (Matcher("w", "!=", "0"), Matcher("x", "=~", "1|2"))): 1},
        ),
    ],
)
def test_a_query_of_events_is_a_sum_of_counters(query: str, terms: dict[Selector, int]) -> None:
    assert read_sum(query) == terms


def test_counters_may_stand_alone_where_they_are_read_as_such() -> None:
    assert read_sum("sum(a) - b", is_plain=True) == {A: 1, B: -1}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sum(a)", "`a` stands without a window; write rate(a[...])"),
        ("avg(rate(a[5m]))", "`avg` counts no events; only `sum` adds them up"),
        ("topk(1, rate(a[5m]))", "`topk` counts no events; only `sum` adds them up"),
        ("irate(a[5m])", "`irate` counts no events; only `rate` and `increase` are read"),
        ("rate(a[5m:1m])", "`rate` counts no events; only `rate` and `increase` are read"),
        ("rate(a[5m]) * 2", "`*` counts no events; only sums and differences are read"),
        ("rate(a[5m]) or rate(b[5m])", "`or` counts no events; only sums and differences are read"),
        ("rate(a[5m]) > bool 0", "`>` counts no events; only sums and differences are read"),
        ("1", "has a number, which counts no events"),
        ("a[5m]", "has a range without a function, which counts no events"),
        ("-rate(a[5m])", "has a `-` before the whole, which counts no events"),
        (
            "rate(a[5m] offset 1d)",
            "`offset` and `@` look at another time; an objective counts as it goes on",
        ),
        ("rate({x='1'}[5m])", "selects no series by its name"),
        ("sum(rate(a[5m])", "is no PromQL: unclosed left parenthesis"),
        (
            "rate(a[{{.Period}}])",
            "has the template `{{.Period}}])`, of which only {{.window}} is known",
        ),
        ("a" * (LIMIT_SIGNS + 1), f"has {LIMIT_SIGNS + 1} signs; at most {LIMIT_SIGNS} are read"),
        (
            "+".join("a" * (LIMIT_OPERATORS + 2)),
            f"has more than {LIMIT_OPERATORS} operators, the most that are read",
        ),
    ],
)
def test_what_adds_up_no_events_is_refused_in_these_words(query: str, says: str) -> None:
    with pytest.raises(QueryError) as raised:
        read_sum(query)

    assert str(raised.value) == says


@pytest.mark.parametrize(
    ("query", "ratio"),
    [
        ("rate(a[5m]) / rate(b[5m])", Ratio({A: 1}, {B: 1}, False)),
        ("(1 - (sum(rate(a[5m])) / sum(rate(b[5m]))))", Ratio({A: 1}, {B: 1}, True)),
    ],
)
def test_a_ratio_is_two_sums(query: str, ratio: Ratio) -> None:
    assert read_ratio(query) == ratio


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("job:ratio5m", "is one series, and no quotient of two sums"),
        ("1 - job:ratio5m", "is one series, and no quotient of two sums"),
        (
            "100 * rate(a[5m]) / rate(b[5m])",
            "`*` counts no events; only sums and differences are read",
        ),
    ],
)
def test_what_is_no_ratio_is_refused_in_these_words(query: str, says: str) -> None:
    with pytest.raises(QueryError) as raised:
        read_ratio(query)

    assert str(raised.value) == says


@pytest.mark.parametrize("read", [read_sum, read_ratio, read_level])
def test_a_quantile_says_which_and_of_what(read: object) -> None:
    assert callable(read)
    with pytest.raises(QuantileError) as raised:
        read("histogram_quantile(0.9, sum by (le) (rate(x:y_bucket[5m]))) > 2")

    assert (raised.value.ratio, raised.value.name) == (0.9, "x:y")


def test_a_level_is_one_gauge_or_the_least_of_several() -> None:
    assert read_level("min(up{job='a'})") == read_level("up") == "up"
    with pytest.raises(QueryError, match="is no gauge or counter"):
        read_level("avg(up)")


@pytest.mark.parametrize(
    ("operator", "pattern", "value", "fits"),
    [
        ("=", "a", "a", True),
        ("=", "a", "ab", False),
        ("!=", "a", "", True),
        ("=~", "a|b", "b", True),
        ("=~", "a", "ab", False),
        ("!~", "5..", "503", False),
        ("!~", "5..", "200", True),
    ],
)
def test_a_matcher_takes_what_prometheus_would(
    operator: str, pattern: str, value: str, fits: bool
) -> None:
    assert Matcher("x", operator, pattern).fits(value) is fits


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "[", "*"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(QueryError, match="this pattern is not understood"):
        Matcher("x", "=~", pattern).fits("a")


def outcome(read: Callable[[str], object], query: str) -> str:
    """What was read, or why it was not, in words."""
    try:
        return f"read: {read(query)!r}"
    except QueryError as error:
        return f"refused: {error}"


PIECES = ["rate", "sum", "(", ")", "[5m]", "a", '{x="1"}', "+", "-", "/", "or", "vector(0)", ">"]


@settings(deadline=None)  # the first one imports the parser
@given(
    st.one_of(st.text(max_size=40), st.lists(st.sampled_from([*PIECES, "0", "1"])).map(" ".join))
)
def test_any_text_is_read_or_refused(query: str) -> None:
    for read in (read_sum, read_ratio, read_level):
        assert outcome(read, query).isprintable()
