"""Tables of `top`: order, filter, and what gives way where the screen is narrow."""

import pytest

from burnmeter.export.top_layout import (
    HEAD,
    Cell,
    Column,
    Order,
    Row,
    Section,
    Table,
    breadth,
    columns,
    cut,
    filtered,
    ordered,
    rooms,
    shown_columns,
    side_by_side,
    state_cell,
    table,
)


def row(name: str, speed: float | None, note: str = "") -> Row:
    cells = {
        "state": state_cell("good", "good"),
        "name": Cell(name, name),
        "speed": Cell("–" if speed is None else f"{speed:g}", speed),
    }
    return Row(name, "good", cells, note)


ROWS = (row("beta", 20.0), row("Alpha", None), row("gamma", 3.0, "its fan stands still"))


def section(*rows: Row) -> Section:
    return Section(
        name="things",
        number=1,
        title="Things",
        counted="",
        columns=columns(
            Column("state", "state", is_whole=True),
            Column("name", "name"),
            Column("speed", "speed", is_number=True),
            Column("note", "why", most=100),
        ),
        forms={
            0: (("state",), ("name", "speed")),
            30: side_by_side("state name speed"),
            60: side_by_side("state name speed note"),
        },
        rows=rows or ROWS,
        empty="No thing.",
    )


def text(made: Table) -> list[str]:
    """The lines as they stand on the screen."""
    lines = [*made.header, *(line for laid in made.rows for line in laid.lines)]
    return ["".join(said for said, _ in line).rstrip() for line in lines]


def names(found: tuple[Row, ...]) -> list[str]:
    return [one.key for one in found]


def test_numbers_are_sorted_the_largest_first_and_words_from_a() -> None:
    things = section()

    assert names(ordered(things, ROWS, Order("speed"))) == ["beta", "gamma", "Alpha"]
    assert names(ordered(things, ROWS, Order("name"))) == ["Alpha", "beta", "gamma"]


@pytest.mark.parametrize("is_reversed", [True, False])
def test_what_is_not_known_is_last_whichever_way(is_reversed: bool) -> None:
    assert names(ordered(section(), ROWS, Order("speed", is_reversed)))[-1] == "Alpha"


def test_a_zero_is_known() -> None:
    rows = row("a", None), row("b", 0.0), row("c", -1.0)

    assert names(ordered(section(), rows, Order("speed"))) == ["b", "c", "a"]


def test_without_a_column_rows_stand_as_the_section_has_them() -> None:
    things = section()

    assert ordered(things, ROWS, Order()) == ROWS
    assert ordered(things, ROWS, Order("of another section")) == ROWS
    assert ordered(things, ROWS, Order(is_reversed=True)) == tuple(reversed(ROWS))


def test_the_title_says_by_what_and_which_way_rows_are_sorted() -> None:
    def head(order: Order) -> str:
        return text(table(section(), 40, order))[0]

    assert head(Order("speed")).endswith("speed ↓")
    assert head(Order("speed", is_reversed=True)).endswith("speed ↑")
    assert " name ↑ " in head(Order("name"))


def test_a_filter_finds_every_word_anywhere_in_any_case() -> None:
    assert names(filtered(ROWS, "ALPHA")) == ["Alpha"]
    assert names(filtered(ROWS, "fan gam")) == ["gamma"]
    assert names(filtered(ROWS, "fan beta")) == []
    assert names(filtered(ROWS, "  ")) == ["beta", "Alpha", "gamma"]


def test_a_wide_screen_has_a_note_in_a_column_and_a_narrow_one_below_its_row() -> None:
    assert text(table(section(), 60)) == [
        "state   name   speed  why",
        "● good  beta      20",
        "● good  Alpha      –",
        "● good  gamma      3  its fan stands still",
    ]
    assert text(table(section(), 30)) == [
        "state   name   speed",
        "● good  beta      20",
        "● good  Alpha      –",
        "● good  gamma      3",
        "  its fan stands still",
    ]


def test_on_the_narrowest_screen_columns_stand_above_one_another() -> None:
    assert text(table(section(), 20)) == [
        "state   name",
        "        speed",
        "● good  beta",
        "           20",
        "● good  Alpha",
        "            –",
        "● good  gamma",
        "            3",
        "  its fan stands st…",
    ]
    assert shown_columns(section(), 20) == ("state", "name", "speed")


def test_text_gives_way_and_neither_numbers_nor_states_do() -> None:
    long = section(row("a-model-with-a-very-long-name-indeed", 123456.0))

    for width in range(30, 45):
        head, line = text(table(long, width))
        assert max(breadth(head), breadth(line)) <= width
        assert line.startswith("● good ")
        assert line.endswith("123456")
        assert "…" in line


def test_what_is_cut_says_so_and_wide_signs_take_two_places() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
    assert breadth("通义千问") == 8
    assert cut("通义千问", 6) == "通义…"
    assert breadth("e\u0301") == 1
    assert cut("abc", 0) == ""


def test_nothing_in_a_cell_steers_the_terminal() -> None:
    hostile = section(row("\x1b[2Jred\nnext\u202e", 1.0))

    (line,) = table(hostile, 40).rows[0].lines

    assert "".join(said for said, _ in line).split() == ["●", "good", "[2Jred", "next", "1"]


def test_titles_and_states_have_a_tone() -> None:
    made = table(section(), 40)

    assert {tone for line in made.header for _, tone in line} == {HEAD, ""}
    assert ("● good", "good") in made.rows[0].lines[0]


@pytest.mark.parametrize(
    ("wanted", "lines", "given"),
    [
        pytest.param([3, 4], 10, [3, 4], id="enough for all"),
        pytest.param([3, 20], 10, [3, 7], id="what one leaves is another's"),
        pytest.param([20, 20], 10, [5, 5], id="a fair share"),
        pytest.param([9, 1, 9], 7, [3, 1, 3], id="the small first"),
        pytest.param([2, 2, 2], 2, [1, 1, 0], id="too little"),
        pytest.param([5], -3, [0], id="none"),
    ],
)
def test_room_is_shared(wanted: list[int], lines: int, given: list[int]) -> None:
    assert rooms(wanted, lines) == given


def test_where_not_everybody_would_get_the_least_all_get_what_they_want() -> None:
    assert rooms([9, 9, 2], 11, least=5) == [9, 9, 2]
    assert sum(rooms([9, 9, 2], 12, least=5)) == 12
