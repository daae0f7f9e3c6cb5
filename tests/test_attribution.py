"""Who had which GPU, doing what; and that the parts of the bill always add up to it."""

from collections import defaultdict
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import attribution
from burnmeter.attribution import Portion, Purse, Tenant
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
        purse = attribution.accrue(purse, passed, [look], portions, {"GPU-0": 3.6})
    return purse.spends[NOBODY]


def metered(joules: float | None, *, watts: float | None = None) -> Gpu:
    return gpu("GPU-0", energy_joules=joules, power_watts=watts)


def test_energy_from_before_our_time_is_not_ours() -> None:
    assert spend(metered(1e9)) == Spend(0.0, None, 0.0)


def test_energy_is_what_the_driver_s_counter_grew_by() -> None:
    assert spend(metered(1000.0), metered(1700.0)) == Spend(10.0, 700.0, 0.01)


def test_a_counter_that_fell_began_again_with_the_driver() -> None:
    assert spend(metered(1000.0), metered(1700.0), metered(50.0)).joules == 750.0


def test_power_stands_in_where_the_board_has_no_counter() -> None:
    assert spend(metered(None, watts=300.0), metered(None, watts=300.0)).joules == 3000.0


def test_a_counter_that_is_silent_once_is_not_made_up_for_by_power() -> None:
    """It catches up by itself; power beside it would count the time twice."""
    looks = metered(1000.0, watts=70.0), metered(None, watts=70.0), metered(2400.0, watts=70.0)

    assert spend(*looks).joules == 1400.0


def test_a_gpu_that_is_lost_is_still_paid_for() -> None:
    lost = Gpu(index=0, uuid="GPU-0", name="H100", failure=LOST)

    assert spend(metered(1000.0), lost, lost) == Spend(20.0, None, 0.02)


def test_without_a_price_no_dollars_are_known() -> None:
    portions = {"GPU-0": (Portion(NOBODY, 1.0),)}

    purse = attribution.accrue(Purse(), 5.0, [metered(None)], portions, {"GPU-0": None})

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


def as_gpu(uuid: str, moment: Moment, meters: dict[str, float]) -> Gpu:
    if moment.is_lost:
        return Gpu(index=0, uuid=uuid, name="H100", failure=LOST)
    meters[uuid] = moment.joules + (0.0 if moment.is_reloaded else meters[uuid])
    return gpu(uuid, *moment.holders, energy_joules=meters[uuid])


@given(days, prices)
def test_the_parts_add_up_to_the_bill(
    history: list[tuple[Moment, Moment, float, set[Tenant]]], listed: dict[str, float | None]
) -> None:
    purse, meters = Purse(), defaultdict[str, float](float)
    passed = 0.0
    for *both, seconds, tenants in history:
        gpus = [as_gpu(f"GPU-{number}", moment, meters) for number, moment in enumerate(both)]
        portions = attribution.divide(gpus, sorted(tenants), TABLE)
        purse = attribution.accrue(purse, seconds, gpus, portions, listed)
        passed += seconds

    for uuid, price in listed.items():
        mine = [spend for share, spend in purse.spends.items() if share.gpu == uuid]
        dollars = sum(spend.dollars or 0.0 for spend in mine)
        joules = sum(spend.joules or 0.0 for spend in mine)
        assert sum(spend.gpu_seconds for spend in mine) == pytest.approx(passed, rel=1e-9)
        assert dollars == pytest.approx((price or 0.0) * passed / 3600, rel=1e-9)
        assert joules == pytest.approx(purse.energy_joules.get(uuid, 0.0), rel=1e-9)
        assert min(spend.joules or 0.0 for spend in mine) >= 0
