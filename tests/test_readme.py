"""The front page says what is: its table of engines is written from the dialects."""

from burnmeter.dialects import load_all
from tests import engine_table
from tests.parts import ROOT

README = ROOT / "README.md"
NUMBERS = {17: "Seventeen", 18: "Eighteen", 19: "Nineteen", 20: "Twenty"}


def test_the_table_of_engines_is_that_of_the_dialects(accept: bool) -> None:
    text = README.read_text("utf-8")
    now = engine_table.placed(text)

    if accept:
        README.write_text(now, "utf-8")
    assert README.read_text("utf-8") == now, "if this is right, run pytest --accept"


def test_every_dialect_is_in_the_table_once() -> None:
    titles = [row.split(" | ")[0].removeprefix("| ") for row in engine_table.table().splitlines()]

    assert titles[2:] == [dialect.title for dialect in engine_table.foreign()]
    assert len(titles) - 2 == len(load_all()) - 1


def test_the_number_of_dialects_is_right() -> None:
    assert f"{NUMBERS[len(engine_table.foreign())]} dialects" in README.read_text("utf-8")


def test_an_engine_that_counts_only_failures_is_not_said_to_give_an_error_rate() -> None:
    rows = [row.strip("| ").split(" | ") for row in engine_table.table().splitlines()]
    errors = {row[0]: row[rows[0].index("errors")] for row in rows[2:]}

    assert errors["llm-d endpoint picker"] == "failures"
    assert errors["vLLM"] == "yes"
    assert errors["Envoy AI Gateway"] == "at most"
