"""Reading a page: every quirk seen in engines, the reference parsers, and text of any kind.

P1 to P14 name quirks of real pages. prometheus_client's two parsers are the reference; the text one
appends `_total` to the samples of counters that lack it (P13), which ours must not.
"""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as text_families

from burnmeter.errors import PageError
from burnmeter.model import FAILURE_KINDS
from burnmeter.page import Page, PageMemory, parse_series, read_page

FIXTURES = Path(__file__).parent / "fixtures" / "engines"
RECORDED = sorted(FIXTURES.glob("*/*.prom"))
VLLM = (FIXTURES / "vllm" / "0.32.0-bench-after.prom").read_text()
relaxed = settings(deadline=None, max_examples=150)  # a shared machine is no stopwatch


def samples(page):
    """A page's samples, taken apart; NaN as text, so that it equals itself."""
    return [
        (*parse_series(raw), "nan" if math.isnan(value) else value)
        for raw, value in zip(page.series, page.values, strict=True)
    ]


def reference_samples(families, page):
    """The reference's samples under the names that the page has."""
    found = []
    for family in families:
        is_renamed = family.type == "counter" and f"{family.name}_total" not in page.types
        for sample in family.samples:
            name = sample.name.removesuffix("_total") if is_renamed else sample.name
            value = float(sample.value)
            found.append((name, sample.labels, "nan" if math.isnan(value) else value))
    return found


def refusal(text, **options):
    with pytest.raises(PageError) as caught:
        read_page(text, **options)
    assert caught.value.kind in FAILURE_KINDS
    return caught.value.kind, caught.value.message


# --- what engines send ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recorded_page_reads_as_the_reference_reads_it(path):
    text = path.read_text()
    page = read_page(text)

    assert samples(page) == reference_samples(text_families(text), page)
    assert len(page.series) == sum(line[:1] not in ("", "#") for line in text.split("\n"))


SPELLINGS = [
    ("a_created 1.7954e+09", "a_created", {}, 1.7954e09),  # P2
    ("tgi_request_count 3", "tgi_request_count", {}, 3.0),  # P4, P13
    ("llamacpp:n_busy_slots_per_decode -nan", "llamacpp:n_busy_slots_per_decode", {}, "nan"),  # P5
    ("a nan", "a", {}, "nan"),
    ("a NaN", "a", {}, "nan"),
    ("a +Inf", "a", {}, math.inf),
    ("a -Inf", "a", {}, -math.inf),
    ("a inf", "a", {}, math.inf),
    ('a_bucket{le="0"} 1', "a_bucket", {"le": "0"}, 1.0),  # P6
    ('a_bucket{le="0.0016200000000001"} 1', "a_bucket", {"le": "0.0016200000000001"}, 1.0),
    ('a_total 3 # {trace_id="x"} 0.67 1.2', "a_total", {}, 3.0),  # P8
    ('a_bucket{le="1"} 3 17.5 # {t="} 4"} 0.67', "a_bucket", {"le": "1"}, 3.0),
    ("a 1.23457e+07", "a", {}, 12345700.0),  # P9
    ("count_total:sum_by_deployment 5", "count_total:sum_by_deployment", {}, 5.0),  # P10
    ("a 3.9024848896e+010", "a", {}, 39024848896.0),  # P11
    ("a 7", "a", {}, 7.0),
    ("a 7 1795420051667", "a", {}, 7.0),
    ("a 7 -1", "a", {}, 7.0),
    (' a { b = "c" ,\td="e" }\t 7 \t 17 ', "a", {"b": "c", "d": "e"}, 7.0),
    ('a{b="c"}7', "a", {"b": "c"}, 7.0),
    ('a{b="c"} 7\r', "a", {"b": "c"}, 7.0),
    ("a{} 7", "a", {}, 7.0),
    ('a{b="c",} 7', "a", {"b": "c"}, 7.0),
    ('a{b=""} 7', "a", {"b": ""}, 7.0),
    ('a{b="x} 9"} 7', "a", {"b": "x} 9"}, 7.0),
    ('a{b="x # {} 1"} 7', "a", {"b": "x # {} 1"}, 7.0),
    ('a{b="c\\",d=\\"e"} 7', "a", {"b": 'c",d="e'}, 7.0),
    (r'a{b="q\"s\\n\nt\x"} 7', "a", {"b": 'q"s\\n\nt\\x'}, 7.0),
    ('a{b="é 模型 \u2028 \x85"} 7', "a", {"b": "é 模型 \u2028 \x85"}, 7.0),
    ('a{b="c",b="d"} 7', "a", {"b": "d"}, 7.0),
]


@pytest.mark.parametrize(("line", "name", "labels", "value"), SPELLINGS, ids=repr)
def test_a_line_is_read_whatever_its_spelling(line, name, labels, value):
    assert samples(read_page(f"first 1\n{line}\nlast 2\n"))[1:-1] == [(name, labels, value)]
    assert samples(read_page(line)) == [(name, labels, value)]


def test_raw_series_keep_the_text_and_order_of_the_page():
    series = ('h_sum{m="b"}', 'h_bucket{ le="1",m="b", }', 'h_count {m="b"}', "a", "a")
    text = "".join(f"{raw} {place} 17\n" for place, raw in enumerate(series))

    assert read_page(text) == Page(series, [0, 1, 2, 3, 4], {})


def test_a_byte_order_mark_is_no_part_of_the_page():
    memory = PageMemory()
    assert read_page("\ufeffa 1\n", memory=memory) == Page(("a",), [1.0], {})
    assert read_page("\ufeff# TYPE a gauge\na 2\n", memory=memory) == read_page(
        "# TYPE a gauge\na 2\n"
    )


def test_types_come_from_type_lines_and_the_first_of_a_family_wins():
    text = (
        "# HELP vllm:iteration_tokens_total Histogram of # TYPE x gauge\n"
        "# TYPE vllm:iteration_tokens_total histogram\n"
        "# TYPE vllm:request_success counter\n"
        'vllm:request_success_total{a="# TYPE z gauge"} 1\n'
        "# TYPE vllm:request_success gauge\n"
        " #\tTYPE  spaced\tsummary \r\n"
        "#TYPE glued counter\n"
        "# TYPE alone\n"
        "# UNIT a_seconds seconds\n"
        "# TYPE a_info info\n"
        "# EOF\n"
    )

    assert read_page(text).types == {
        "vllm:iteration_tokens_total": "histogram",
        "vllm:request_success": "counter",
        "spaced": "summary",
        "a_info": "info",
    }


@pytest.mark.parametrize("text", ["", "\n", "\r\n \n", "# EOF\n", "# EOF", "# just words"])
def test_a_page_without_samples_is_a_page(text):
    assert read_page(text) == Page((), [], {})


# --- what cannot be read -------------------------------------------------------------------------

REFUSED = [
    ("<!DOCTYPE html>\n<p>", "html", "a web page, not metrics; it begins with '<!DOCTYPE html>'"),
    ("\n <html>", "html", "a web page, not metrics; it begins with '<html>'"),
    ("\ufeff<html>", "html", "a web page, not metrics; it begins with '<html>'"),
    ('{"status": "ok"}', "not_metrics", 'line 1 is not a sample: \'{"status": "ok"}\''),
    ("OK", "not_metrics", "line 1 is not a sample: 'OK'"),
    ("\x1f\x8b\x08\0", "not_metrics", "line 1 is not a sample: '\\x1f\\x8b\\x08\\x00'"),
    ("a 1\nb\nc 2\n", "not_metrics", "line 2 is not a sample: 'b'"),
    ("a1\n", "not_metrics", "line 1 is not a sample: 'a1'"),
    ("a+5\n", "not_metrics", "line 1 is not a sample: 'a+5'"),
    ("a 1_000\n", "not_metrics", "line 1 is not a sample: 'a 1_000'"),
    ("a ١\n", "not_metrics", "line 1 is not a sample: 'a ١'"),
    ("a 0x10\n", "not_metrics", "line 1 is not a sample: 'a 0x10'"),
    ("a 1 2 3\n", "not_metrics", "line 1 is not a sample: 'a 1 2 3'"),
    ("a 1 noon\n", "not_metrics", "line 1 is not a sample: 'a 1 noon'"),
    ('a{b="c"d="e"} 1\n', "not_metrics", 'line 1 is not a sample: \'a{b="c"d="e"} 1\''),
    ('a{b="c" 1\n', "not_metrics", "line 1 is not a sample: 'a{b=\"c\" 1'"),
    ('{"a.b"} 1\n', "not_metrics", "line 1 is not a sample: '{\"a.b\"} 1'"),
    ("x" * 70, "not_metrics", f"line 1 is not a sample: '{'x' * 60}'..."),
    ('a 1\nb{c="d', "truncated", "the page ends in the middle of line 2: 'b{c=\"d'"),
    ("a 1\nb 1.5e", "truncated", "the page ends in the middle of line 2: 'b 1.5e'"),
    ("a 1\nb ", "truncated", "the page ends in the middle of line 2: 'b'"),
    ("# TYPE a gauge\na", "truncated", "the page ends in the middle of line 2: 'a'"),
    ("a 1\n# HELP b Numb", "truncated", "the page ends in the middle of line 2: '# HELP b Numb'"),
]


@pytest.mark.parametrize(("text", "kind", "message"), REFUSED, ids=repr)
def test_what_cannot_be_read_is_refused_with_its_line(text, kind, message):
    assert refusal(text) == (kind, message)


def test_a_page_above_the_series_limit_is_refused_and_one_at_the_limit_is_not():
    memory = PageMemory()
    assert len(read_page("a 1\nb 2\n", memory=memory, series_limit=2).series) == 2

    message = "the page holds more than 1 series"
    assert refusal("a 1\nb 2\n", series_limit=1) == ("too_many_series", message)
    assert refusal("a 3\nb 4\n", series_limit=1, memory=memory) == ("too_many_series", message)


@pytest.mark.parametrize("raw", ["", "a b", 'a{b="c"', 'a{b="c"} 1', "{}", "a{b=c}"])
def test_text_that_is_no_series_is_not_taken_apart(raw):
    with pytest.raises(PageError) as caught:
        parse_series(raw)

    assert caught.value.kind == "not_metrics"
    assert caught.value.message == f"not a series: {raw!r}"


# --- what is remembered --------------------------------------------------------------------------


def test_the_same_series_with_other_numbers_are_the_same_objects():
    memory = PageMemory()
    first = read_page("# TYPE a gauge\na 1\nb{} 2 \r\n", memory=memory)

    second = read_page("# TYPE a gauge\na 30.5\nb{} -nan \r\n", memory=memory)
    third = read_page("# TYPE a gauge\na 1 1795420051667\nb{} 2 # {} 1\n", memory=memory)

    assert second.series is third.series is first.series == ("a", "b{}")
    assert second.types is third.types is first.types == {"a": "gauge"}
    assert samples(second) == [("a", {}, 30.5), ("b", {}, "nan")]
    assert third.values == [1.0, 2.0]


def test_another_type_is_seen_though_the_series_stay():
    memory = PageMemory()
    first = read_page("# TYPE a summary\na 1\n", memory=memory)

    second = read_page("# TYPE a counter\na 1\n", memory=memory)

    assert second.series is first.series
    assert (first.types, second.types) == ({"a": "summary"}, {"a": "counter"})


@pytest.mark.parametrize(
    "line",
    ["1", "inf", "b 5", "a1", "a  5", "a\t5", "a{} 5", "a 1_0", "a ١", "a 5 6", " a 5", "#", ""],
)
def test_a_line_that_lost_its_series_is_never_taken_for_its_value(line):
    memory = PageMemory()
    read_page("a 1\nb 2\n", memory=memory)
    text = f"{line}\nb 2\n"

    assert outcome(text, memory) == outcome(text, None)


def test_a_page_that_lost_its_end_mark_is_truncated_once():
    memory = PageMemory()
    read_page("a 1\nb 2\n# EOF\n", memory=memory)

    message = "the page lacks the `# EOF` with which this target's last page ended"
    assert refusal("a 1\n", memory=memory) == ("truncated", message)
    assert read_page("a 1\n", memory=memory).series == ("a",)


def test_a_refused_page_leaves_the_memory_as_it_was():
    memory = PageMemory()
    first = read_page(VLLM, memory=memory)
    refusal("<html>", memory=memory)

    assert read_page(VLLM, memory=memory).series is first.series


# --- any page ------------------------------------------------------------------------------------


def outcome(text, memory):
    """What reading comes to; every series of a page that is read can be taken apart."""
    try:
        page = read_page(text, memory=memory)
    except PageError as error:
        return FAILURE_KINDS[error.kind], error.message
    return samples(page), page.types


NAME = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
LABEL_NAME = st.from_regex(r"m[a-zA-Z0-9_]{0,4}", fullmatch=True)
LABEL_VALUE = st.text(
    st.one_of(st.sampled_from('\\"\n{}#=, _n'), st.characters(exclude_categories=["Cs"])),
    max_size=12,
)


def sorted_pairs(labels):
    return tuple(sorted(labels.items()))


LABEL_SETS = st.lists(
    st.dictionaries(LABEL_NAME, LABEL_VALUE, max_size=3),
    min_size=1,
    max_size=3,
    unique_by=sorted_pairs,
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
STAMP = st.sampled_from(["", " 1795420051", " 1795420051.25"])
NUMBER = st.one_of(
    FINITE.map(repr),
    FINITE.map(lambda number: f"{number:g}"),
    st.integers(0, 10**15).map(str),
    st.sampled_from(
        ["NaN", "nan", "-nan", "+Inf", "-Inf", "inf", "3.9024848896e+010", ".5", "5.", "+1"]
    ),
)


def series_text(name, labels, comma=""):
    def quoted(value):
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    pairs = ",".join(f'{label}="{quoted(value)}"' for label, value in labels.items())
    return f"{name}{{{pairs}{comma}}}" if pairs else name


@st.composite
def text_lines(draw, name):
    """The lines of one family in text format 0.0.4, by any client library."""
    kind = draw(st.sampled_from(["counter", "gauge", "histogram", "untyped", None]))
    family = name + draw(st.sampled_from(["", "_total"]))
    lines = draw(st.sampled_from([[], [f'# HELP {family} Text # of "any" {{kind}} 1']]))
    if kind is not None:
        lines = [*lines, *[f"# TYPE {family} {kind}"] * draw(st.integers(1, 2))]
    suffixes = [""]
    if kind == "histogram":
        suffixes = draw(st.permutations(["_bucket", "_bucket", "_sum", "_count"]))
    for labels in draw(LABEL_SETS):
        for place, suffix in enumerate(suffixes):
            bound = {"le": ["0", "0.1", "1.0", "+Inf"][place]} if suffix == "_bucket" else {}
            raw = series_text(
                family + suffix, {**bound, **labels}, draw(st.sampled_from(["", ","]))
            )
            gap = draw(st.sampled_from([" ", "  ", "\t", " \t "]))
            stamp = draw(st.sampled_from(["", f"{gap}1795420051667"]))
            lines = [*lines, f"{raw}{gap}{draw(NUMBER)}{stamp}"]
    if kind == "counter" and draw(st.booleans()):
        lines = [*lines, f"# TYPE {family}_created gauge", f"{family}_created 1.7954e+09"]
    return lines


@st.composite
def text_pages(draw):
    names = draw(st.lists(NAME, max_size=4, unique=True))
    lines = [
        line for place, name in enumerate(names) for line in draw(text_lines(f"{name}{place}"))
    ]
    feed = draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    return feed.join(lines) + draw(st.sampled_from(["", feed]))


@relaxed
@given(text_pages())
def test_any_text_page_reads_as_the_reference_reads_it(text):
    page = read_page(text)

    assert samples(page) == reference_samples(text_families(text), page)


@st.composite
def openmetrics_lines(draw, name):
    """The lines of one family in OpenMetrics 1.0, which its reference parser takes strictly."""
    kind = draw(st.sampled_from(["counter", "gauge", "histogram", "unknown", "info"]))
    family = f"{name}_seconds" if kind != "info" else name
    lines = [f"# TYPE {family} {kind}"]
    if kind != "info" and draw(st.booleans()):
        lines.append(f"# UNIT {family} seconds")
    lines.append(f'# HELP {family} Text # of "any" kind')
    exemplar = draw(st.sampled_from(["", ' # {trace_id="a b#c}"} 0.67', " # {} 3.9e+010 1.25"]))
    for labels in draw(LABEL_SETS):
        if kind == "histogram":
            for bound, count in (("0.5", 1), ("+Inf", 4)):
                lines.append(
                    f"{series_text(f'{family}_bucket', {**labels, 'le': bound})} {count}{exemplar}"
                )
            lines.append(f"{series_text(f'{family}_count', labels)} 4")
            lines.append(f"{series_text(f'{family}_sum', labels)} 2.5e-3")
        elif kind == "counter":
            lines.append(f"{series_text(f'{family}_total', labels)} 17.0{exemplar}")
            lines.append(f"{series_text(f'{family}_created', labels)} 1795420051.25")
        elif kind == "info":
            lines.append(f"{series_text(f'{family}_info', labels)} 1")
        else:
            lines.append(f"{series_text(family, labels)} {draw(NUMBER)}{draw(STAMP)}")
    return lines


@st.composite
def openmetrics_pages(draw):
    names = draw(st.lists(NAME, max_size=4, unique=True))
    lines = [
        line
        for place, name in enumerate(names)
        for line in draw(openmetrics_lines(f"{name}{place}"))
    ]
    return "\n".join([*lines, "# EOF"]) + draw(st.sampled_from(["", "\n"]))


@relaxed
@given(openmetrics_pages())
def test_any_openmetrics_page_reads_as_the_reference_reads_it(text):
    page = read_page(text)
    families = list(openmetrics_families(text))

    expected = [sample for family in families for sample in family.samples]
    assert samples(page) == [
        (each.name, each.labels, "nan" if math.isnan(each.value) else float(each.value))
        for each in expected
    ]
    assert page.types == {family.name: family.type for family in families}


# --- any text ------------------------------------------------------------------------------------

NASTY = st.text(
    st.one_of(st.sampled_from('a1_:{}="\\,# \t\r\n+-.eE'), st.characters()), max_size=60
)


@settings(deadline=None, max_examples=400)
@given(st.one_of(NASTY, st.text()))
def test_any_text_is_read_or_refused(text):
    outcome(text, None)


@relaxed
@given(st.data())
def test_a_page_cut_anywhere_is_refused_or_read_as_far_as_it_goes(data):
    text = VLLM[: data.draw(st.integers(0, len(VLLM)))]

    found, details = outcome(text, None)

    if isinstance(found, str):
        assert found == FAILURE_KINDS["truncated"], details
        return
    whole = samples(read_page(VLLM))[: len(found)]
    assert found[:-1] == whole[:-1]
    assert [each[:2] for each in found] == [each[:2] for each in whole]


@relaxed
@given(st.data())
def test_a_page_reads_the_same_whatever_was_read_before(data):
    first = data.draw(st.one_of(text_pages(), st.just('a 1\nb{c="d"} 2\n# TYPE e gauge\ne 3\n')))
    at = data.draw(st.integers(0, len(first)))
    text = first[:at] + data.draw(NASTY) + first[at + data.draw(st.integers(0, 5)) :]
    memory = PageMemory()
    outcome(first, memory)

    assert outcome(text, memory) == outcome(text, None)


MEGABYTE = 1_000_000
LONG = [
    ("escaped quotes", 'a{b="' + '\\"' * (MEGABYTE // 2), "not_metrics"),
    ("labels without an end", "a{" + 'b="c",' * (MEGABYTE // 6), "not_metrics"),
    ("labels with an end", "a{" + 'b="c",' * (MEGABYTE // 6) + "} 1", None),
    ("spaces after the name", "a" + " " * MEGABYTE + "?", "not_metrics"),
    ("spaces after the value", "a 1" + " " * MEGABYTE + "?", "not_metrics"),
    ("spaces in the braces", "a{" + " " * MEGABYTE, "not_metrics"),
    ("a name only", "a" * MEGABYTE, "not_metrics"),
    ("digits and a letter", "a " + "1" * MEGABYTE + "x", "not_metrics"),
    ("timestamps", "a 1" + " 1" * (MEGABYTE // 2), "not_metrics"),
    ("hashes", "a 1 " + "# " * (MEGABYTE // 2), None),
    ("braces", "a" + "{" * MEGABYTE, "not_metrics"),
]


# A reader that goes back over a line needs hours for these; the suite's timeout would say so.
@pytest.mark.parametrize(("line", "kind"), [row[1:] for row in LONG], ids=[row[0] for row in LONG])
def test_a_line_of_a_megabyte_is_read_or_refused_at_once(line, kind):
    if kind is None:
        assert read_page(line).values == [1.0]
    else:
        assert refusal(line)[0] == kind
