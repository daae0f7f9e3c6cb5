"""Who had which GPU, doing what; and that the parts of the bill always add up to it."""

from collections import defaultdict
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import attribution, meters
from burnmeter.attribution import Portion, Purse, Tenant
from burnmeter.meters import Meters
from burnmeter.model import Failure, Gpu, Share, Spend
from tests.fakes import gpu, processes

A = Tenant("a", "llama", 10, True)
B = Tenant("b", "qwen", 20, False)
TABLE = processes((10, 1), (11, 10), (12, 11), (20, 1), (21, 20), (30, 1))
LOST = Failure("driver", "fell off the bus")
NOBODY = Share("GPU-0", "", "", "unattributed", "none")


def shares(held: Gpu, *tenants: Tenant) -> list[tuple[str, str, str, float]]:
    """(target, state, method, ratio) of everybody who has the GPU."""
    portions = attribution.divide([held], tenants, TABLE)[held.uuid]
    return [(p.share.target, p.share.state, p.share.method, p.ratio) for p in portions]


# --- who has it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pid", [10, 11, 12], ids=["itself", "its child", "its grandchild"])
def test_a_gpu_belongs_to_the_engine_above_the_process_that_holds_it(pid: int) -> None:
    assert shares(gpu("GPU-0", pid), A, B) == [("a", "busy", "process_tree", 1.0)]


def test_a_shared_gpu_is_split_evenly_and_called_a_guess() -> None:
    assert shares(gpu("GPU-0", 12, 21), A, B) == [
        ("a", "busy", "equal_split", 0.5),
        ("b", "idle", "equal_split", 0.5),
    ]


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(gpu("GPU-0"), id="nobody holds it"),
        pytest.param(gpu("GPU-0", 30), id="a stranger holds it"),
        pytest.param(gpu("GPU-0", 99), id="an unknown process holds it"),
        pytest.param(Gpu(index=0, uuid="GPU-0", name="H100"), id="nobody can say who holds it"),
        pytest.param(
            Gpu(index=0, uuid="GPU-0", name="H100", failure=LOST), id="it does not answer"
        ),
    ],
)
def test_what_no_engine_is_known_to_hold_is_unattributed(held: Gpu) -> None:
    assert shares(held, A, B) == [("", "unattributed", "none", 1.0)]


def test_an_engine_of_which_nothing_is_known_is_neither_busy_nor_idle() -> None:
    assert shares(gpu("GPU-0", 10), A._replace(is_busy=None))[0][1] == "unknown"


def test_an_engine_without_a_process_holds_nothing() -> None:
    assert shares(gpu("GPU-0", 10), A._replace(pid=None)) == [("", "unattributed", "none", 1.0)]


# --- what it used --------------------------------------------------------------------------------


def spend(*looks: Gpu, seconds: float = 10.0) -> Spend:
    """What an unattributed GPU has used after some looks at it."""
    purse = Purse()
    for number, look in enumerate(looks):
        portions = {"GPU-0": (Portion(NOBODY, 1.0),)}
        passed = seconds if number else 0.0
        purse = attribution.accrue(purse, passed, [look], portions, {"GPU-0": 3.6}, {"GPU-0": 70.0})
    return purse.spends[NOBODY]


def test_a_gpu_that_is_lost_is_still_paid_for() -> None:
    lost = Gpu(index=0, uuid="GPU-0", name="H100", failure=LOST)

    assert spend(gpu("GPU-0"), lost, lost) == Spend(20.0, 210.0, 0.02)


def test_without_a_price_no_dollars_are_known() -> None:
    portions = {"GPU-0": (Portion(NOBODY, 1.0),)}

    purse = attribution.accrue(Purse(), 5.0, [gpu()], portions, {"GPU-0": None}, {"GPU-0": None})

    assert purse.spends[NOBODY] == Spend(5.0, None, None)


# --- the parts add up ----------------------------------------------------------------------------


class Moment(NamedTuple):
    """One GPU at one tick."""

    holders: frozenset[int]
    joules: float
    is_lost: bool
    is_reloaded: bool


moments = st.builds(
    Moment,
    st.frozensets(st.sampled_from([10, 12, 21, 30])),
    st.floats(0, 1e6),
    st.sampled_from([False, False, True]),
    st.sampled_from([False, False, False, True]),
)
days = st.lists(
    st.tuples(moments, moments, st.floats(0.1, 60.0), st.sets(st.sampled_from([A, B]))),
    min_size=1,
    max_size=15,
)
prices = st.fixed_dictionaries(
    {"GPU-0": st.sampled_from([None, 0.0, 2.99]), "GPU-1": st.sampled_from([None, 10.6])}
)


def as_gpu(uuid: str, moment: Moment, counters: dict[str, float]) -> Gpu:
    if moment.is_lost:
        return Gpu(index=0, uuid=uuid, name="H100", failure=LOST)
    counters[uuid] = moment.joules + (0.0 if moment.is_reloaded else counters[uuid])
    return gpu(uuid, *moment.holders, energy_joules=counters[uuid])


@given(days, prices)
def test_the_parts_add_up_to_the_bill(
    history: list[tuple[Moment, Moment, float, set[Tenant]]], listed: dict[str, float | None]
) -> None:
    purse, counters, metered = Purse(), defaultdict[str, float](float), Meters()
    passed = 0.0
    for *both, seconds, tenants in history:
        gpus = [as_gpu(f"GPU-{number}", moment, counters) for number, moment in enumerate(both)]
        portions = attribution.divide(gpus, sorted(tenants), TABLE)
        metered = meters.read(metered, gpus)
        joules = {one.uuid: metered.joules(one.uuid) for one in gpus}
        purse = attribution.accrue(purse, seconds, gpus, portions, listed, joules)
        passed += seconds

    for uuid, price in listed.items():
        mine = [spend for share, spend in purse.spends.items() if share.gpu == uuid]
        dollars = sum(spend.dollars or 0.0 for spend in mine)
        energy = sum(spend.joules or 0.0 for spend in mine)
        assert sum(spend.gpu_seconds for spend in mine) == pytest.approx(passed, rel=1e-9)
        assert dollars == pytest.approx((price or 0.0) * passed / 3600, rel=1e-9)
        assert energy == pytest.approx(metered.total_joules(uuid) or 0.0, rel=1e-9)
        assert min(spend.joules or 0.0 for spend in mine) >= 0
