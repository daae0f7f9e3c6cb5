"""What recorded nodes did, and what must come out of it: a bug report is a test.

The numbers are worked out by hand from the pages in the recording (`zcat`, and look), never taken
from a replay. How to add one: CONTRIBUTING.md.
"""

from pathlib import Path

import pytest

from burnmeter.snapshot import Snapshot
from tests.recordings import replay

RECORDINGS = Path(__file__).parent / "fixtures/recordings"
LARGEST_BYTES = 60_000


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.gz")), ids=lambda path: path.stem)
def test_a_recording_is_small_enough_to_keep(path: Path) -> None:
    assert path.stat().st_size <= LARGEST_BYTES


def counted(snapshot: Snapshot, measure: str, **labels: str) -> float:
    """The sum of all counters with these labels."""
    found = ((dict(key.labels), key.measure, n) for key, n in snapshot.counters.items())
    return sum(n for has, name, n in found if name == measure and has.items() >= labels.items())


def test_an_engine_that_restarts_between_two_looks_counts_on_from_zero() -> None:
    snapshots = replay(RECORDINGS / "simulated-restart.jsonl.gz")

    last = snapshots[-1]
    told = [(event.subject, event.kind) for event in last.events if event.kind != "up"]
    assert told == [("code", "restart")]
    assert {view.target: view.restarts for view in last.targets} == {
        "chat": 0,
        "agents": 0,
        "code": 1,
    }
    # Read at first sight, before the restart, at the end: 19274, 21713, then 13198 from zero.
    generated = counted(last, "tokens_total", target="code", kind="generated")
    assert generated == 21713 - 19274 + 13198
    # Finished by `stop` and by `length`: 233 + 2, 257 + 2, then 134 + 3; one ran when it died.
    assert counted(last, "requests_total", target="code", outcome="ok") == 259 - 235 + 137
    assert counted(last, "requests_total", target="code", outcome="lost") == 1


def test_no_counter_of_a_recorded_node_ever_falls() -> None:
    for path in sorted(RECORDINGS.glob("*.gz")):
        before: dict[object, float] = {}
        for snapshot in replay(path):
            for key, value in snapshot.counters.items():
                assert value >= before.get(key, 0.0), key
            before = dict(snapshot.counters)
