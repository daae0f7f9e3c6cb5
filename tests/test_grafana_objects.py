"""Whose an object in Grafana is: stamps, normal forms, and what each edit of a person is like."""

import copy
from typing import Any

import pytest

from burnmeter.provision.grafana_objects import (
    DASHBOARD,
    DATASOURCE,
    EDITED,
    FOREIGN,
    LOCKED,
    NEW,
    RULE,
    UNCHANGED,
    UPDATE,
    Kind,
    Stamp,
    There,
    Wanted,
    fingerprint,
    is_covered,
    judge,
    stamp_in,
)

KINDS = {
    "dashboard": (DASHBOARD, {"uid": "x", "title": "Fleet", "panels": [{"title": "Burn"}]}),
    "with variables": (
        *(DASHBOARD,),
        {"uid": "x", "title": "Fleet", "templating": {"list": [{"name": "model"}]}},
    ),
    "data source": (DATASOURCE, {"uid": "x", "title": "P", "jsonData": {"httpMethod": "POST"}}),
    "alert rule": (RULE, {"uid": "x", "title": "Burn", "annotations": {"summary": "s"}}),
}


def wanted(kind: Kind, document: dict[str, Any]) -> Wanted:
    return Wanted(kind=kind, uid="x", title="X", document=kind.normal(document))


def pushed(kind: Kind, document: dict[str, Any]) -> dict[str, Any]:
    """As it is there after a push, with what Grafana adds to each."""
    source = fingerprint(kind.normal(document))
    there = kind.stamped(document, Stamp(source, source))
    return copy.deepcopy({**there, "id": 7, "version": 3})


def state(want: Wanted, there: dict[str, Any], locked_by: str = "") -> str:
    return judge(want, There(document=there, locked_by=locked_by)).state


@pytest.mark.parametrize("name", KINDS)
def test_a_stamp_goes_in_and_comes_out_and_changes_nothing_else(name: str) -> None:
    kind, document = KINDS[name]
    stamp = Stamp("0" * 16, "f" * 16)

    stamped = kind.stamped(document, stamp)

    assert kind.stamp(document) is None
    assert kind.stamp(stamped) == stamp
    assert kind.normal(stamped) == kind.normal(document)
    assert kind.stamped(stamped, stamp) == stamped


@pytest.mark.parametrize("name", KINDS)
def test_what_was_pushed_is_unchanged_and_what_is_made_otherwise_now_is_an_update(
    name: str,
) -> None:
    kind, document = KINDS[name]
    there = pushed(kind, document)

    assert judge(wanted(kind, document), None).state == NEW
    assert state(wanted(kind, document), there) == UNCHANGED
    assert state(wanted(kind, {**document, "title": "Better"}), there) == UPDATE


@pytest.mark.parametrize("name", KINDS)
def test_an_edit_is_seen_whether_or_not_we_have_something_new(name: str) -> None:
    kind, document = KINDS[name]
    there = {**pushed(kind, document), "title": "A person's"}

    assert state(wanted(kind, document), there) == EDITED
    assert state(wanted(kind, {**document, "title": "Better"}), there) == EDITED


@pytest.mark.parametrize("name", KINDS)
def test_what_files_own_is_locked_unless_it_is_as_it_should_be(name: str) -> None:
    kind, document = KINDS[name]

    assert state(wanted(kind, document), document, "a file") == UNCHANGED
    assert state(wanted(kind, {**document, "title": "Better"}), document, "a file") == LOCKED


def test_an_edit_that_comes_to_what_we_want_needs_only_a_new_stamp() -> None:
    kind, document = KINDS["dashboard"]
    there = {**pushed(kind, document), "title": "Better"}

    found = judge(wanted(kind, {**document, "title": "Better"}), There(document=there))

    assert found.state == UPDATE
    assert "only burnmeter's stamp is missing" in found.reason


def test_one_without_a_stamp_counts_as_edited_and_a_data_source_as_somebody_elses() -> None:
    for name in ("dashboard", "alert rule"):
        kind, document = KINDS[name]
        found = judge(wanted(kind, document), There(document={"title": "imported"}))
        assert (found.state, "bears no stamp" in found.reason) == (EDITED, True)
    kind, document = KINDS["data source"]

    assert state(wanted(kind, document), {"title": "theirs"}) == FOREIGN
    assert state(wanted(kind, document), document) == FOREIGN


def test_what_grafana_fills_in_is_ours_if_the_stamp_says_so() -> None:
    kind, document = KINDS["dashboard"]
    want = wanted(kind, document)
    filled = {**document, "editable": True}
    stamp = Stamp(fingerprint(want.document), fingerprint(kind.normal(filled)))

    assert state(want, kind.stamped(filled, stamp)) == UNCHANGED
    assert state(want, kind.stamped({**filled, "editable": False}, stamp)) == EDITED


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (DASHBOARD, {"id": 3, "version": 9, "iteration": 1700000000000}),
        (DATASOURCE, {"id": 1, "orgId": 1, "version": 2, "user": "", "basicAuth": False}),
        (RULE, {"id": 1, "orgID": 1, "updated": "now", "isPaused": False, "record": None}),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)
def test_what_changes_by_itself_or_is_a_default_is_no_difference(
    kind: Kind, more: dict[str, Any]
) -> None:
    assert kind.normal({"uid": "x", **more}) == kind.normal({"uid": "x"})


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (DASHBOARD, {"editable": False}),
        (DASHBOARD, {"refresh": ""}),
        (DASHBOARD, {"templating": {"list": [{"name": "model"}]}}),
        (DATASOURCE, {"basicAuth": True}),
        (DATASOURCE, {"secureJsonFields": {"basicAuthPassword": True}}),
        (RULE, {"isPaused": True}),
        (RULE, {"keep_firing_for": "5m"}),
        (RULE, {"annotations": {"note": "a person's"}}),
    ],
)
def test_what_a_person_may_set_is_a_difference(kind: Kind, more: dict[str, Any]) -> None:
    assert kind.normal({"uid": "x", **more}) != kind.normal({"uid": "x"})


def test_a_fingerprint_knows_no_order_of_keys_and_no_way_to_write_a_number() -> None:
    one = DASHBOARD.normal({"a": 1.0, "b": [{"c": 2, "d": None}]})
    other = DASHBOARD.normal({"b": [{"d": None, "c": 2.0}], "a": 1})

    assert fingerprint(one) == fingerprint(other)
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})


@pytest.mark.parametrize("text", ["", None, 5, "burnmeter 1 xyz", "burnmeter 2 " + "0" * 16])
def test_what_is_no_stamp_of_ours_is_none(text: Any) -> None:
    assert stamp_in(text) is None


def test_what_came_beside_what_was_written_covers_it_and_another_value_does_not() -> None:
    written = {"a": [{"b": 1}], "c": "x"}

    assert is_covered(written, {"a": [{"b": 1, "new": 2}], "c": "x", "d": 3})
    for there in ({"a": [{"b": 2}], "c": "x"}, {"a": [{"b": 1}, {}], "c": "x"}, {"c": "x"}, []):
        assert not is_covered(written, there)
