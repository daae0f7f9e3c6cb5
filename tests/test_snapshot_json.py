"""The JSON of a Snapshot: names as in model.py, lists where keys are compound, no NaN."""

import json
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from burnmeter.export import snapshot_json
from burnmeter.model import Key
from burnmeter.snapshot import Snapshot
from tests import snapshots
from tests.snapshot_parts import LLAMA

README = Path(snapshot_json.__file__).with_name("README.md")


def names_within(kind: object, seen: set[object]) -> Iterator[str]:
    """Every field name reachable from a type."""
    for argument in typing.get_args(kind):
        yield from names_within(argument, seen)
    if not isinstance(kind, type) or kind in seen:
        return
    seen.add(kind)
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        for name, annotation in typing.get_type_hints(kind).items():
            yield name
            yield from names_within(annotation, seen)


def strict(text: bytes) -> typing.Any:
    """Parse as a strict parser would: NaN and Infinity are no JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("name", snapshots.ALL)
def test_every_field_of_the_snapshot_is_there_and_the_text_is_strict_json(name: str) -> None:
    snapshot = snapshots.ALL[name]()

    read = strict(snapshot_json.to_bytes(snapshot))

    assert set(read) == {field.name for field in fields(snapshot)}


def test_compound_keys_become_lists_of_objects() -> None:
    read = snapshot_json.as_json(snapshots.good())

    labels = {"engine": "vllm", "kind": "generated", "model": LLAMA, "target": "vllm-8000"}
    tokens = {"measure": "tokens_total", "labels": labels, "value": 10_113_870.0}
    assert read["counters"] == [tokens]
    assert read["histograms"][0]["value"]["bounds"] == [0.5, 1.0]
    share = {"gpu", "model", "target", "state", "method", "namespace", "pod"}
    share |= {"gpu_seconds", "joules", "dollars", "metered_seconds", "priced_seconds"}
    assert set(read["spends"][0]) == share
    assert read["burns"][0]["objective"]["match"] == {"model": LLAMA}


def test_lists_are_lists_even_when_nothing_is_in_them() -> None:
    read = snapshot_json.as_json(snapshots.empty())

    assert [read[name] for name in ("counters", "histograms", "gauges", "spends")] == [[]] * 4


def test_what_is_not_finite_is_null_and_0_stays_0() -> None:
    gauges = {Key("a", ()): float("nan"), Key("b", ()): float("-inf"), Key("c", ()): 0.0}

    read = strict(snapshot_json.to_bytes(snapshots.empty(gauges=gauges)))

    assert [gauge["value"] for gauge in read["gauges"]] == [None, None, 0.0]


def test_names_from_outside_survive_unchanged() -> None:
    read = strict(snapshot_json.to_bytes(snapshots.hostile()))

    assert read["models"][0]["model"] == snapshots.HOSTILE


def test_a_name_that_is_no_unicode_does_not_stop_the_export() -> None:
    read = strict(snapshot_json.to_bytes(snapshots.empty(node="broken \udcff name")))

    assert read["node"] == "broken ? name"


def test_a_value_of_a_new_kind_is_an_error_and_not_a_guess() -> None:
    broken = replace(snapshots.empty(), node=object())

    with pytest.raises(TypeError, match="object has no place"):
        snapshot_json.to_bytes(broken)


def test_the_readme_names_every_field() -> None:
    text = README.read_text()

    missing = [name for name in names_within(Snapshot, set()) if f"`{name}`" not in text]

    assert missing == []
