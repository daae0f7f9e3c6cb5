"""Walks over tables of processes, also over such as cannot be."""

import pytest

from burnmeter.model import Process
from burnmeter.tree import ancestors, descendants


def table(*pairs: tuple[int, int]) -> dict[int, Process]:
    """Processes from (pid, parent's pid)."""
    return {
        pid: Process(
            pid=pid, parent_pid=parent, started_timestamp_seconds=0.0, command=(), title=""
        )
        for pid, parent in pairs
    }


FAMILY = table((1, 0), (10, 1), (11, 10), (12, 10), (13, 12), (20, 1))


def test_descendants_are_all_below_and_not_the_process_itself() -> None:
    assert descendants(10, FAMILY) == {11, 12, 13}
    assert descendants(1, FAMILY) == {10, 11, 12, 13, 20}
    assert descendants(13, FAMILY) == frozenset()


def test_ancestors_are_all_above_the_nearest_first() -> None:
    assert ancestors(13, FAMILY) == (12, 10, 1)
    assert ancestors(1, FAMILY) == ()


def test_a_process_that_is_not_in_the_table_has_only_the_children_that_name_it() -> None:
    assert descendants(99, FAMILY) == frozenset()
    assert ancestors(99, FAMILY) == ()
    assert descendants(0, FAMILY) == FAMILY.keys()


@pytest.mark.parametrize(
    "loop",
    [
        pytest.param(table((7, 7)), id="its own parent"),
        pytest.param(table((7, 8), (8, 7)), id="two"),
        pytest.param(table((7, 8), (8, 9), (9, 8)), id="a loop above"),
    ],
)
def test_a_loop_ends(loop: dict[int, Process]) -> None:
    assert 7 not in descendants(7, loop)
    assert ancestors(7, loop) == tuple(pid for pid in (8, 9) if pid in loop)


def test_descendants_and_ancestors_agree() -> None:
    for above in FAMILY:
        below = {pid for pid in FAMILY if above in ancestors(pid, FAMILY)}
        assert below == descendants(above, FAMILY)


def test_a_long_chain_does_not_run_out_of_stack() -> None:
    chain = table(*((pid, pid - 1) for pid in range(1, 5001)))

    assert len(descendants(1, chain)) == 4999
    assert len(ancestors(5000, chain)) == 4999
