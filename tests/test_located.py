"""YAML values that know their place, and texts that are no YAML."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter.located import (
    LIMIT_ALIASES,
    LIMIT_BYTES,
    LIMIT_DEPTH,
    Located,
    read,
    read_all,
    read_ours,
    shown,
)
from tests.parts import ROOT

DIALECTS = ROOT / "agent/burnmeter/dialects"


def value_of(text: str) -> object:
    """The value of `key` in a text that has no problem."""
    root, problems = read(f"key: {text}", "f")
    assert problems == ()
    assert root is not None
    assert isinstance(root.value, Mapping)
    return root.value["key"].value.value


def problems_of(source: str | bytes) -> list[str]:
    return [str(problem) for problem in read(source, "f")[1]]


def test_keys_and_values_know_their_line_and_column() -> None:
    root, problems = read("a: 1\nb:\n  - c:   x\n", "f")

    assert problems == ()
    assert root is not None
    assert isinstance(root.value, Mapping)
    b = root.value["b"]
    assert (b.key.line, b.key.column) == (2, 1)
    assert isinstance(b.value.value, tuple)
    inner = b.value.value[0].value
    assert isinstance(inner, Mapping)
    assert inner["c"].value == Located("x", 3, 10, "x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1", -1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("9" * 400, math.inf),
        ("-.inf", -math.inf),
        ("true", True),
        ("~", None),
        ('"1"', "1"),
        ("no", "no"),
        ("on", "on"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_plain_words_are_read_as_yaml_1_2_has_them(text: str, value: object) -> None:
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


def test_not_a_number_is_read_as_such() -> None:
    value = value_of(".nan")

    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize("source", ["", "# only a comment\n", "---\n", b"\xef\xbb\xbf", "\n\n"])
def test_an_empty_document_is_an_empty_value(source: str | bytes) -> None:
    root, problems = read(source, "f")

    assert problems == ()
    assert root is not None
    assert root.value is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "a: 1\nb: 2\na: 3\n",
            "f:3:1: `a` is written twice; first on line 1; keep one",
        ),
        (
            "l:\n  - x: 1\n    x: 2\n",
            "f:3:5: `l[0].x` is written twice; first on line 2; keep one",
        ),
        ("a:\n\tb: 1\n", "f:2:1: not valid YAML: a tab cannot indent here; use spaces"),
        (
            "a: b: c\n",
            "f:1:5: not valid YAML: no key can stand here; quote the value, or check indentation",
        ),
        (
            "a: 1\n b: 2\n",
            "f:2:3: not valid YAML: no key can stand here; quote the value, or check indentation",
        ),
        (
            "a:\n  - 1\n - 2\n",
            "f:3:2: not valid YAML: this does not fit what stands before it; "
            "check indentation and quotes",
        ),
        (
            "a: 1\nb\nc: 1\n",
            "f:3:1: not valid YAML: a `:` is missing after a key, here or on the line above",
        ),
        ("a: [1, 2\n", "f:1:4: not valid YAML: what begins here is never closed, as by `]` or `}`"),
        ('a: "x\n', "f:1:4: not valid YAML: this quoted text is never closed"),
        ("a: @x\n", "f:1:4: not valid YAML: this sign cannot start a value; quote the value"),
        (
            "a: !s!x y\n",
            "f:1:4: not valid YAML: tags (`!name`) are not supported; write the plain value",
        ),
        (
            "a: {x: 1\nb: 2\n",
            "f:2:2: not valid YAML: this cannot stand inside `[` or `{`; is one not closed above?",
        ),
        (
            "a: *x\n",
            "f:1:4: not valid YAML: an alias (`*name`) without an anchor (`&name`) above it",
        ),
        (
            "a: 1\n---\nb: 1\n",
            "f:2:1: not valid YAML: a second document starts here; one file holds one",
        ),
        (
            "a: !!python/object:os.system x\n",
            "f:1:4: not valid YAML: tags (`!name`) are not supported; write the plain value",
        ),
        ("a: &x [*x]\n", "f:1:4: a[0]: this value contains itself"),
        ("? [1]\n: 2\n", "f:1:3: a key must be a word; this one is a list or a mapping"),
        (
            "a: &x {b: 1}\nc:\n  <<: *x\n",
            "f:3:3: merging (`<<`) is not supported; write the keys out",
        ),
        ("a: 1\nb: \x00\n", "f:2:4: sign U+0000 is not text; is this a YAML file?"),
        (b"a: 1\nb: \xff\n", "f:2:4: byte 0xff is not UTF-8; save the file as UTF-8 text"),
        ("\ud800", "f:1:1: sign U+D800 is not text; is this a YAML file?"),
        ('a: "\\UFFFFFFFF"\n', "f:1:7: not valid YAML: no valid sign or number"),
    ],
)
def test_a_mistake_in_the_text_has_a_place_and_a_reason(source: str | bytes, message: str) -> None:
    assert problems_of(source) == [message]


def test_two_documents_worth_of_bytes_are_not_read() -> None:
    (message,) = problems_of("#" * (LIMIT_BYTES + 1))

    said = f"the file has more than {LIMIT_BYTES} bytes, the most that are read"
    assert message == f"f:1:1: {said}"


def test_nesting_is_bounded() -> None:
    (message,) = problems_of("[" * 5000)

    assert message == (
        f"f:1:{LIMIT_DEPTH + 1}: not valid YAML: nested deeper than {LIMIT_DEPTH} levels"
    )


def test_aliases_are_bounded() -> None:
    (message,) = problems_of("a: &x 1\nb: [" + "*x , " * (LIMIT_ALIASES + 1) + "]")

    assert message.endswith(f"more than {LIMIT_ALIASES} aliases (`*name`)")


def test_aliases_of_aliases_are_converted_once() -> None:
    """Nine levels of nine would be 387 million values."""
    levels = "".join(f"- &a{i} [{', '.join([f'*a{i - 1} '] * 9)}]\n" for i in range(1, 10))
    root, problems = read(f"- &a0 x\n{levels}", "f")

    assert problems == ()
    assert root is not None


def test_text_in_messages_stays_on_one_line_and_short() -> None:
    assert shown("a\nb\x1b[31m") == "a b [31m"
    assert len(shown("x" * 1000)) == 60


@given(st.one_of(st.binary(max_size=80), st.text(max_size=80), st.text("a:-[]{}&*!|>'\"% \n\t#?,")))
def test_whatever_the_text_nothing_is_raised_and_places_lie_in_the_file(
    source: str | bytes,
) -> None:
    _, problems = read(source, "f")

    text = source if isinstance(source, str) else source.decode("utf-8-sig", "replace")
    lines = text.replace("\r\n", "\n")
    for sign in "\r\x85\u2028\u2029":
        lines = lines.replace(sign, "\n")
    for problem in problems:
        assert 1 <= problem.line <= len(lines.split("\n"))
        assert 1 <= problem.column <= len(lines.split("\n")[problem.line - 1]) + 1
        assert "\n" not in problem.text


@pytest.mark.parametrize("path", sorted(DIALECTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_both_parsers_read_what_ships_with_the_program_alike(path):
    text = path.read_text("utf-8")

    assert read_ours(text, path.name) == read(text, path.name)[0]


def test_the_quick_parser_leaves_mistakes_to_the_other():
    assert read_ours("a: [", "x.yaml") is None
    assert read_ours("a: 1\na: 2\n", "x.yaml") is None
    assert read_ours("a: !tag 1\n", "x.yaml") is None


# --- several documents -------------------------------------------------------------------------


def test_documents_of_one_file_know_their_place_in_it() -> None:
    found, problems = read_all("---\na: 1\n---\n# nothing\n---\nb:\n  - x\n", "f")

    assert problems == ()
    assert [root.line for root in found] == [2, 6]
    second = found[1].value
    assert isinstance(second, Mapping)
    items = second["b"].value.value
    assert items == (Located("x", 7, 5, "x"),)


def test_what_stands_before_a_broken_document_is_still_read() -> None:
    found, problems = read_all("a: 1\na: 2\n---\nb: [\n", "f")

    assert len(found) == 1
    assert [str(problem) for problem in problems] == [
        "f:5:1: not valid YAML: what begins here is never closed, as by `]` or `}`",
        "f:2:1: `a` is written twice; first on line 1; keep one",
    ]


def test_a_file_that_is_no_text_has_no_documents() -> None:
    assert read_all(b"\xff", "f")[0] == ()
    assert [str(problem) for problem in read_all(b"a: 1\n", "f", limit_bytes=4)[1]] == [
        "f:1:1: the file has more than 4 bytes, the most that are read"
    ]


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_no_text_breaks_the_reading_of_documents(source: str | bytes) -> None:
    found, problems = read_all(source, "f")

    assert all(root.value is not None for root in found)
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
