"""What the live page costs: made once a tick, and only if somebody looks.

Run as `python tests/bench/bench_live.py`. Against the JSON of the same Snapshot, for eight GPUs and
three models in trouble, all with a past as long as it gets.
"""

import gzip
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from tests import snapshots

from burnmeter.export import live, snapshot_json
from burnmeter.frame import HISTORY_POINTS
from burnmeter.snapshot import Snapshot

ROUNDS = 60


def with_long_pasts(snapshot: Snapshot) -> Snapshot:
    """The same, with as many points as are kept."""
    return replace(
        snapshot,
        models=tuple(
            replace(m, history=(m.history * HISTORY_POINTS)[:HISTORY_POINTS])
            for m in snapshot.models
        ),
        gpus=tuple(
            replace(g, history=(g.history * HISTORY_POINTS)[:HISTORY_POINTS]) for g in snapshot.gpus
        ),
    )


def milliseconds(work: Callable[[], object]) -> float:
    """Median processor time."""
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return statistics.median(spent) * 1000


def main() -> None:
    shown = with_long_pasts(snapshots.burning())
    page = live.page(shown)
    packed = gzip.compress(page, compresslevel=1)
    json = snapshot_json.to_bytes(shown)
    page_took = milliseconds(lambda: live.page(shown))
    json_took = milliseconds(lambda: snapshot_json.to_bytes(shown))
    print(
        f"page  {page_took:6.2f} ms  {len(page) / 1024:6.1f} KiB, packed {len(packed) / 1024:.1f}"
    )
    print(f"JSON  {json_took:6.2f} ms  {len(json) / 1024:6.1f} KiB")
    print(f"the page takes {page_took / json_took:.2f} times as long as the JSON")


if __name__ == "__main__":
    main()
