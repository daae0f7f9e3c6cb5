"""What an XID means, what it asks for, and how urgent that is."""

import pytest
import yaml

from burnmeter.xids import ACTIONS, RECOVERIES, SEVERITIES, Xid, load, recovery, shipped, xid

ROW = {"name": "a fault", "meaning": "It broke.", "action": "watch", "severity": "log"}


@pytest.mark.parametrize(
    ("code", "action", "severity"),
    [
        pytest.param(13, "check_app", "log", id="13 illegal access"),
        pytest.param(31, "check_app", "log", id="31 page fault"),
        pytest.param(43, "watch", "log", id="43 program's own fault"),
        pytest.param(45, "act_on_cause", "log", id="45 torn down"),
        pytest.param(48, "reset_gpu", "page", id="48 double-bit error"),
        pytest.param(63, "reset_later", "ticket", id="63 row retired"),
        pytest.param(64, "reset_gpu", "page", id="64 row not retired"),
        pytest.param(74, "reset_gpu", "page", id="74 NVLink"),
        pytest.param(79, "reboot_node", "page", id="79 off the bus"),
        pytest.param(94, "restart_app", "ticket", id="94 contained"),
        pytest.param(95, "reset_gpu", "page", id="95 uncontained"),
        pytest.param(119, "reset_gpu", "page", id="119 GSP"),
        pytest.param(149, "act_on_cause", "page", id="149 NVLink of Blackwell"),
        pytest.param(154, "act_on_cause", "ticket", id="154 recovery action changed"),
    ],
)
def test_the_codes_that_are_seen_most_ask_for_what_nvidia_asks(
    code: int, action: str, severity: str
) -> None:
    found = xid(code)

    assert (found.code, found.action, found.severity) == (code, action, severity)


def test_an_unknown_code_sends_a_person_to_the_list_of_nvidia() -> None:
    found = xid(9999)

    assert (found.code, found.name, found.severity) == (9999, "unknown", "ticket")
    assert "https://docs.nvidia.com/" in ACTIONS[found.action]


def test_every_code_that_the_catalog_uses_is_known() -> None:
    """Of 1 to 172, these are unused in it and had no meaning for older GPUs that we could find."""
    meaningless = {5, 10, 15, 17, 23, 49, 50, 51, 52, 53, 55, 87, 91, 111, 138}

    assert set(range(1, 173)) - shipped().keys() == meaningless


def test_every_action_is_asked_for_by_some_code() -> None:
    assert {entry.action for entry in shipped().values()} | {"look_up"} == ACTIONS.keys()
    assert {entry.severity for entry in shipped().values()} == set(SEVERITIES)


@pytest.mark.parametrize(
    "entry", [pytest.param(entry, id=str(code)) for code, entry in shipped().items()]
)
def test_a_code_has_a_short_name_and_one_sentence(entry: Xid) -> None:
    assert 0 < len(entry.name) <= 45
    assert entry.meaning[0].isupper()
    assert entry.meaning.endswith(".")
    assert entry.meaning.count(". ") == 0
    assert len(entry.meaning) <= 160


def test_what_a_person_must_do_at_once_is_no_matter_for_the_log() -> None:
    """A reset or a reboot stops the work, so that somebody must know of it."""
    for entry in shipped().values():
        if entry.action in ("reset_gpu", "reboot_node"):
            assert entry.severity != "log", entry
        if entry.action in ("none", "watch", "check_app"):
            assert entry.severity != "page", entry


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (0, "none"),
        (1, "reset_gpu"),
        (2, "reboot_node"),
        (3, "drain_p2p"),
        (4, "drain_and_reset"),
        (5, "recover_imex_domain"),
        (6, "reset_bus"),
        (7, "reboot_system"),
        (8, "unknown"),
        (-1, "unknown"),
    ],
)
def test_a_recovery_that_nvml_asks_for_has_a_word_and_a_sentence(value: int, word: str) -> None:
    found = recovery(value)

    assert found.word == word
    assert found.meaning.endswith(".")


def test_recoveries_that_are_also_actions_are_called_alike() -> None:
    assert {"none", "reset_gpu", "reboot_node"} == ACTIONS.keys() & {
        entry.word for entry in RECOVERIES.values()
    }


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        pytest.param([ROW | {"codes": [1, 2]}, ROW | {"codes": [2]}], "XID 2", id="listed twice"),
        pytest.param([ROW | {"codes": [3], "action": "pray"}], "XID 3", id="no such action"),
        pytest.param([ROW | {"codes": [4], "severity": "high"}], "XID 4", id="no such severity"),
    ],
)
def test_a_wrong_list_is_refused_by_code(rows: list[dict[str, object]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load(yaml.safe_dump({"xids": rows}))


def test_codes_of_one_row_share_its_meaning() -> None:
    found = load(yaml.safe_dump({"xids": [ROW | {"codes": [1, 2]}]}))

    assert found == {code: Xid(code, "a fault", "It broke.", "watch", "log") for code in (1, 2)}
