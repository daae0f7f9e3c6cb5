"""Rows of `top`: each cell is a number of the Snapshot in the usual words, in its own column."""

from dataclasses import replace

import pytest

from burnmeter.export import top_details, top_sections
from burnmeter.export.top_layout import Line, Row, breadth, table
from burnmeter.export.top_sections import NAMES, sections
from burnmeter.model import Failure
from burnmeter.snapshot import Snapshot
from tests import snapshots
from tests.snapshot_parts import LLAMA, MISTRAL, QWEN, burn, gpu, held, model, objective, target

WIDTHS = (80, 120, 144, 180, 200, 320)


def rows(snapshot: Snapshot, name: str) -> dict[str, Row]:
    """By their first cell that is a name."""
    return {row.key: row for row in sections(snapshot)[name].rows}


def cells(row: Row, *names: str) -> list[str]:
    return [row.cells[name].text for name in names]


def text(lines: tuple[Line, ...]) -> list[str]:
    return ["".join(said for said, _ in line) for line in lines]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", snapshots.ALL)
def test_no_line_is_wider_than_the_screen(kind: str, width: int) -> None:
    for section in sections(snapshots.ALL[kind]()).values():
        made = table(section, width)
        for line in text((*made.header, *(line for row in made.rows for line in row.lines))):
            assert breadth(line) <= width, line


@pytest.mark.parametrize("kind", snapshots.ALL)
def test_every_row_has_a_key_of_its_own_and_details(kind: str) -> None:
    snapshot = snapshots.ALL[kind]()
    for name, section in sections(snapshot).items():
        assert len({row.key for row in section.rows}) == len(section.rows)
        for row in section.rows:
            found = top_details.details(snapshot, name, row)
            for width in WIDTHS:
                lines = top_details.laid(found, width)
                assert any(lines)
                assert all(breadth(line) <= width for line in lines)


@pytest.mark.parametrize("kind", snapshots.ALL)
def test_every_form_names_columns_that_there_are(kind: str) -> None:
    for section in sections(snapshots.ALL[kind]()).values():
        for form in section.forms.values():
            assert {name for stack in form for name in stack} <= section.columns.keys()


# --- models --------------------------------------------------------------------------------------


def test_a_burning_model_is_first_with_its_worst_objective_and_bounds() -> None:
    first, *_ = sections(snapshots.burning())["models"].rows

    assert cells(first, "state", "model", "objective", "burn", "budget") == [
        *("▲ burning", LLAMA, "TTFT below 1 s", "31.5×", "−8 %")
    ]
    assert cells(first, "p50", "p95", "tokens", "errors", "cost", "waiting") == [
        *("2.5–5 s", "above 5 s", "1.13 k", "1.2–3.4 %", "$2.94", "212")
    ]


def test_a_model_that_is_not_measured_has_dashes_and_a_word_for_it() -> None:
    row = rows(snapshots.burning(), "models")[MISTRAL]

    assert cells(row, "state", "burn", "budget", "p50", "p95", "errors") == [
        *("○ not measured", "–", "–", "–", "–", "–")
    ]
    assert row.cells["standing"].text == "  not measured, TTFT below 1 s"
    assert row.cells["waiting"].text == "0"


def test_a_model_that_is_bad_without_an_objective_says_what_else_it_is() -> None:
    view = model(state="burning", reason="gateway gw is down: nothing listens")
    snapshot = snapshots.empty(models=(view,), burns=(burn(LLAMA, (0.1,) * 6),))

    assert rows(snapshot, "models")[LLAMA].cells["objective"].text == "gateway gw is down"


def test_of_several_objectives_the_one_that_pages_is_the_worst() -> None:
    slow = burn(LLAMA, (50.0,) * 6, state="burning", severity="ticket")
    errors = burn(
        LLAMA, (20.0,) * 6, state="burning", severity="page", objective=objective("errors")
    )

    assert top_sections.worst(LLAMA, (slow, errors)) is errors
    assert top_sections.worst(QWEN, (slow, errors)) is None


def test_a_burn_over_another_window_than_the_headings_says_over_which() -> None:
    usual = burn(LLAMA, (0.1,) * 6)
    daily = burn(QWEN, (0.1, 0.1, 0.1, 0.1, 2.0, 1.0))
    daily = replace(daily, windows=daily.windows[4:])
    snapshot = snapshots.empty(models=(model(), model(QWEN)), burns=(usual, daily))

    section = sections(snapshot)["models"]

    assert section.columns["burn"].title == "burn 5 min"
    assert rows(snapshot, "models")[LLAMA].cells["burn"].text == "0.1×"
    assert rows(snapshot, "models")[QWEN].cells["burn"].text == "2× in 1 d"
    (own,) = [row for row in sections(snapshot)["objectives"].rows if QWEN in row.key]
    assert cells(own, "window86400", "window259200") == ["2×", "1×"]
    assert "window300" not in own.cells


def test_a_node_without_engines_says_where_to_ask_why() -> None:
    section = sections(snapshots.empty())["models"]

    assert section.rows == ()
    assert "burnmeter doctor" in section.empty


# --- engines -------------------------------------------------------------------------------------


def test_an_engine_that_is_down_is_first_and_says_why_and_since_when() -> None:
    first, second, *_ = sections(snapshots.burning())["engines"].rows

    assert cells(first, "state", "target", "engine", "age", "restarts") == [
        *("✕ down", "vllm-8002", "not known", "6 min ago", "2")
    ]
    assert first.note == "connection refused by 127.0.0.1:8002"
    assert cells(second, "state", "engine") == ["● up", "vllm 0.10.2"]
    assert second.note == ""


@pytest.mark.parametrize(
    ("view", "state", "note"),
    [
        pytest.param(target(is_stalled=True), "✕ stalled", "it holds requests", id="stalled"),
        pytest.param(target(is_stale=True), "○ stale", "its page stands still", id="stale"),
        pytest.param(target(illness="no workers"), "✕ ill", "no workers", id="ill"),
        pytest.param(
            target(is_up=False, failure=Failure("disabled", "at its bound")),
            "○ resting",
            "at its bound",
            id="resting",
        ),
    ],
)
def test_what_is_wrong_with_an_engine_is_said(view: object, state: str, note: str) -> None:
    (row,) = sections(snapshots.empty(targets=(view,)))["engines"].rows

    assert row.cells["state"].text == state
    assert row.note.startswith(note)


# --- GPUs ----------------------------------------------------------------------------------------


def test_a_gpu_has_its_tenant_power_temperature_and_what_is_wrong() -> None:
    _, _, _, hot, worn, lost, shared, divided = sections(snapshots.burning())["gpus"].rows

    assert cells(hot, "state", "gpu", "tenant", "used", "memory", "power", "heat") == [
        *("▲ busy", "3", LLAMA, "78 %", "68.4/79.6 GiB", "579/700 W", "91 °C")
    ]
    assert hot.note == "clocks are held down: hardware thermal and software thermal"
    assert "XID 64" in worn.note
    assert cells(lost, "state", "tenant", "used", "power") == ["✕ not answering", "–", "–", "–"]
    assert cells(divided, "tenant", "used") == [QWEN, "–"]
    assert cells(shared, "state", "tenant", "used") == ["● idle", f"{MISTRAL} (guess)", "0 %"]


def test_gpus_stand_in_the_order_of_their_slots() -> None:
    found = sections(snapshots.burning())["gpus"].rows

    assert [row.cells["gpu"].text for row in found] == [str(index) for index in range(8)]


def test_a_gpu_that_is_nobodys_says_so() -> None:
    view = gpu(7, held(7, "", "unattributed", "none"))
    (row,) = sections(snapshots.empty(gpus=(view,)))["gpus"].rows

    assert cells(row, "state", "tenant") == ["○ unattributed", "nobody"]


# --- objectives, attention, events ---------------------------------------------------------------


def test_an_objective_has_every_window_and_whom_it_asks_for() -> None:
    first, second, *_ = sections(snapshots.burning())["objectives"].rows

    assert cells(first, "state", "objective", "window300", "window3600", "asks") == [
        *("▲ burning", "TTFT below 1 s", "31.5×", "16.8–20.2×", "a page")
    ]
    assert first.note.startswith("burns 16.8 times too fast")
    assert cells(second, "state", "window300", "budget") == ["○ not measured", "–", "–"]


def test_what_needs_somebody_is_told_with_a_page_first() -> None:
    found = sections(snapshots.burning())["attention"]

    assert found.counted == "3 page, 4 look"
    assert cells(found.rows[0], "state", "subject") == ["✕ page", LLAMA]
    assert sections(snapshots.good())["attention"].rows == ()


def test_the_latest_event_is_first() -> None:
    first, *_, last = sections(snapshots.burning())["events"].rows

    assert cells(first, "ago", "kind", "subject") == ["95 s", "burning", LLAMA]
    assert cells(last, "ago", "kind") == ["2 h 30 min", "up"]


def test_there_is_a_key_for_every_section() -> None:
    found = sections(snapshots.good())

    assert tuple(found) == NAMES
    assert [section.number for section in found.values()] == [1, 2, 3, 4, 5, 6]


# --- details -------------------------------------------------------------------------------------


def details(snapshot: Snapshot, name: str, place: int = 0) -> list[str]:
    row = sections(snapshot)[name].rows[place]
    found = top_details.details(snapshot, name, row)
    return [*found.first, *found.figures]


def test_a_models_details_begin_with_what_burns_and_what_hit_it() -> None:
    lines = details(snapshots.burning(), "models")

    assert lines[0] == f"{LLAMA}: burning"
    assert lines[1].startswith("  ttft-slo: burning, burns 16.8 times too fast")
    assert "  2 min ago: gpu 3: clocks are held down: hardware thermal" in lines
    assert "  served by vllm-8000, on GPU 0, 1, 2 and 3" in lines
    assert any(line.startswith("  a token = price $2.99") for line in lines)


def test_a_model_that_is_bad_by_no_objective_says_its_reason() -> None:
    view = model(state="burning", reason="gateway gw is down: nothing listens")
    lines = details(snapshots.empty(models=(view,)), "models")

    assert lines[0] == f"{LLAMA}: burning, gateway gw is down: nothing listens"


def test_a_gpus_details_say_what_to_do_and_how_its_owner_is_known() -> None:
    lines = details(snapshots.burning(), "gpus", 4)

    assert any(line.startswith("  page: XID 64, memory row not retired: Move") for line in lines)
    assert f"  {QWEN}: busy, exact, by process tree" in lines
    divided = details(snapshots.burning(), "gpus", 7)
    assert any("MIG 4g.40gb: 31.5 GiB of 39.5 GiB" in line for line in divided)


def test_an_objectives_details_say_what_is_promised_and_how_much_was_measured() -> None:
    lines = details(snapshots.burning(), "objectives")

    assert "  99 % with TTFT below 1 s, over 30 d; budget overspent by 8 %" in lines
    assert "  1 d           1.3×  11 h 6 min  1,468,800" in lines


def test_a_chart_has_a_hole_where_nothing_is_known_and_a_low_line_for_0() -> None:
    assert top_details.spark([0.0, None, 5.0, 10.0]) == "▁ ▅█"
    assert top_details.spark([0.0, 0.0]) == "▁▁"
    assert top_details.spark([]) == ""
