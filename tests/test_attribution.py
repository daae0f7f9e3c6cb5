"""Who had which GPU, doing what; and that the parts of the bill always add up to it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import attribution, meters
from burnmeter.attribution import METHODS, Held, Portion, Purse
from burnmeter.export import words
from burnmeter.meters import Energy, Meters
from burnmeter.model import Failure, Gpu, GpuInstance, GpuProcess, Launch, Pod, Share, Spend
from burnmeter.owners import Kin, Tenant
from burnmeter.pricing import Price
from tests.fakes import gpu, processes

A = Tenant("a", "llama", 10, True)
B = Tenant("b", "qwen", 20, False)
TABLE = processes((10, 1), (11, 10), (12, 11), (20, 1), (21, 20), (30, 1))
LOST = Failure("gone", "fell off the bus")
SILENT = Failure("timeout", "the driver hangs")
RENT = Price(3.6, 0.0, "a test")
NOBODY = Share("GPU-0", "", "", "unattributed", "none")


def kin(*tenants: Tenant, **changes: Any) -> Kin:
    return Kin(processes=TABLE, tenants=tenants, **changes)


def shares(seen: Gpu, *tenants: Tenant, **changes: Any) -> list[tuple[str, str, str, float]]:
    """(model, state, method, ratio) of everybody who has the GPU."""
    held = attribution.holders({}, [seen], TABLE)
    portions = attribution.divide([seen], held, kin(*tenants, **changes))[seen.uuid]
    assert sum(p.ratio for p in portions) == pytest.approx(1.0, abs=1e-12)
    return [(p.share.model, p.share.state, p.share.method, p.ratio) for p in portions]


def on(*held: GpuProcess, **changes: Any) -> Gpu:
    """A GPU with these processes."""
    return replace(gpu("GPU-0"), processes=held, **changes)


def at(pid: int, memory: float | None = None, sm: float | None = None) -> GpuProcess:
    return GpuProcess(pid=pid, memory_bytes=memory, sm_ratio=sm)


def test_every_method_has_words_for_people() -> None:
    assert words.METHODS.keys() == METHODS.keys()


# --- one engine ----------------------------------------------------------------------------------


def test_a_gpu_belongs_to_the_engine_whose_processes_are_on_it() -> None:
    assert shares(gpu("GPU-0", 12), A, B) == [("llama", "busy", "process_tree", 1.0)]


@pytest.mark.parametrize(
    "seen",
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
def test_what_no_engine_is_known_to_hold_is_unattributed(seen: Gpu) -> None:
    assert shares(seen, A, B) == [("", "unattributed", "none", 1.0)]


def test_an_engine_of_which_nothing_is_known_is_neither_busy_nor_idle() -> None:
    assert shares(gpu("GPU-0", 10), A._replace(is_busy=None))[0][1] == "unknown"


@pytest.mark.parametrize(
    "beside",
    [
        at(30, memory=4e6),
        at(30, memory=2e9, sm=0.0),
        at(30, memory=None),
    ],
    ids=["a display", "a monitor", "of which nothing is known"],
)
def test_what_is_small_beside_an_engine_takes_nothing_from_it(beside: GpuProcess) -> None:
    sm = 0.5 if beside.sm_ratio is not None else None

    assert shares(on(at(11, memory=60e9, sm=sm), beside), A) == [
        ("llama", "busy", "process_tree", 1.0)
    ]


def test_a_stranger_that_computes_has_its_part_of_the_gpu_and_is_nobody() -> None:
    notebook = on(at(11, memory=30e9, sm=0.6), at(30, memory=30e9, sm=0.2))

    assert shares(notebook, A) == [
        ("llama", "busy", "sm_utilisation", pytest.approx(0.75)),
        ("", "unattributed", "sm_utilisation", pytest.approx(0.25)),
    ]


# --- several engines on one GPU ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "method", "ratios"),
    [
        (at(11, 10e9, sm=0.6), at(21, 30e9, sm=0.2), "sm_utilisation", [0.75, 0.25]),
        (at(11, 10e9, sm=0.0), at(21, 30e9, sm=0.5), "sm_utilisation", [1.0]),
        (at(11, 10e9, sm=0.01), at(21, 30e9, sm=0.0), "memory", [0.25, 0.75]),
        (at(11, 10e9), at(21, 30e9), "memory", [0.25, 0.75]),
        (at(11, 10e9, sm=0.6), at(21, 30e9), "memory", [0.25, 0.75]),
        (at(11), at(21, 30e9), "equal", [0.5, 0.5]),
        (at(11, 0.0), at(21, 0.0), "equal", [0.5, 0.5]),
    ],
    ids=[
        "by what each computed",
        "who computed nothing has nothing of it",
        "by memory while next to nothing is computed",
        "by memory where the driver does not tell",
        "by memory where it tells of one only",
        "evenly where nothing is known",
        "evenly where nothing is held",
    ],
)
def test_a_shared_gpu_is_split_by_the_best_that_is_known(
    one: GpuProcess, other: GpuProcess, method: str, ratios: list[float]
) -> None:
    found = shares(on(one, other), A, B)

    assert {share[2] for share in found} == {method}
    assert [share[3] for share in found] == pytest.approx(ratios)


def test_all_processes_of_an_engine_count_together() -> None:
    found = shares(on(at(11, 10e9), at(12, 10e9), at(21, 20e9)), A, B)

    assert [(model, ratio) for model, _, _, ratio in found] == [("llama", 0.5), ("qwen", 0.5)]


def test_workers_that_cannot_be_told_apart_are_split_evenly() -> None:
    both = A._replace(worker_roots=(30,)), B._replace(worker_roots=(30,))

    assert shares(on(at(30, 50e9, sm=0.9)), *both) == [
        ("llama", "busy", "equal", 0.5),
        ("qwen", "idle", "equal", 0.5),
    ]


def test_an_even_split_is_among_engines_and_no_strangers() -> None:
    assert shares(on(at(11), at(21), at(30)), A, B) == [
        ("llama", "busy", "equal", 0.5),
        ("qwen", "idle", "equal", 0.5),
    ]


# --- MIG -----------------------------------------------------------------------------------------


def divided(*parts: tuple[str, float | None, tuple[int, ...]]) -> Gpu:
    """A GPU of instances: uuid, share of the slices, pids."""
    return replace(
        gpu("GPU-0"),
        instances=tuple(
            GpuInstance(uuid=uuid, name=uuid, compute_ratio=ratio) for uuid, ratio, _ in parts
        ),
        processes=tuple(
            GpuProcess(pid=pid, memory_bytes=1e9, instance=uuid)
            for uuid, _, pids in parts
            for pid in pids
        ),
    )


def test_a_divided_gpu_is_had_by_slices_and_the_rest_is_nobodys() -> None:
    assert shares(divided(("m0", 3 / 7, (11,)), ("m1", 2 / 7, (21,))), A, B) == [
        ("llama", "busy", "mig_slices", pytest.approx(3 / 7)),
        ("qwen", "idle", "mig_slices", pytest.approx(2 / 7)),
        ("", "unattributed", "none", pytest.approx(2 / 7)),
    ]


def test_an_instance_that_nobody_holds_is_nobodys() -> None:
    assert shares(divided(("m0", 4 / 7, (11,)), ("m1", 3 / 7, ())), A) == [
        ("llama", "busy", "mig_slices", pytest.approx(4 / 7)),
        ("", "unattributed", "none", pytest.approx(3 / 7)),
    ]


def test_two_instances_of_one_engine_are_one_share() -> None:
    assert shares(divided(("m0", 4 / 7, (11,)), ("m1", 3 / 7, (12,))), A) == [
        ("llama", "busy", "mig_slices", pytest.approx(1.0))
    ]


def test_an_instance_that_is_shared_is_split_within() -> None:
    found = shares(divided(("m0", 4 / 7, (11, 21)), ("m1", 3 / 7, (12,))), A, B)

    assert {(model, method): ratio for model, _, method, ratio in found} == {
        ("llama", "memory"): pytest.approx(2 / 7),
        ("qwen", "memory"): pytest.approx(2 / 7),
        ("llama", "mig_slices"): pytest.approx(3 / 7),
    }


def test_a_gpu_in_mig_mode_without_instances_is_nobodys() -> None:
    assert shares(divided(), A) == [("", "unattributed", "none", 1.0)]


def test_instances_of_which_too_much_is_said_are_no_more_than_the_whole() -> None:
    found = shares(divided(("m0", 4 / 7, (11,)), ("m1", 4 / 7, (21,))), A, B)

    assert [ratio for *_, ratio in found] == pytest.approx([0.5, 0.5])


# --- a driver that is silent ---------------------------------------------------------------------


def after_silence(failure: Failure | None, table: Mapping[int, Any] = TABLE) -> list[str]:
    """Methods at a tick at which the driver does not say who holds the GPU."""
    held = attribution.holders({}, [gpu("GPU-0", 11)], TABLE)
    silent = Gpu(index=0, uuid="GPU-0", name="NVIDIA H100", failure=failure)
    held = attribution.holders(held, [silent], table)
    portions = attribution.divide([silent], held, Kin(processes=table, tenants=(A,)))
    return [portion.share.method for portion in portions["GPU-0"]]


@pytest.mark.parametrize("failure", [SILENT, None], ids=["hangs", "cannot list processes"])
def test_who_held_a_gpu_holds_it_while_the_driver_is_silent(failure: Failure | None) -> None:
    assert after_silence(failure) == ["last_seen"]


def test_a_process_that_ended_holds_nothing() -> None:
    assert after_silence(SILENT, processes((10, 1))) == ["none"]


def test_another_process_of_the_same_number_holds_nothing() -> None:
    reborn = replace(TABLE[11], started_timestamp_seconds=99.0)

    assert after_silence(SILENT, {**TABLE, 11: reborn}) == ["none"]


def test_a_gpu_that_fell_off_the_bus_is_nobodys_at_once() -> None:
    assert after_silence(LOST) == ["none"]


def test_what_a_silent_driver_once_said_is_forgotten_when_it_speaks() -> None:
    held = {"GPU-0": (Held(at(11), 0.0, False),)}

    assert attribution.holders(held, [gpu("GPU-0")], TABLE) == {"GPU-0": ()}


# --- pods ----------------------------------------------------------------------------------------


def test_a_share_names_the_pod_of_the_process_that_holds_the_gpu() -> None:
    table = {**TABLE, 12: replace(TABLE[12], pod_uid="u1"), 30: replace(TABLE[30], pod_uid="u2")}
    pods = {"u1": Pod("prod", "chat-0")}
    held = attribution.holders({}, [gpu("GPU-0", 12), gpu("GPU-1", 30)], table)
    found = attribution.divide(
        [gpu("GPU-0", 12), gpu("GPU-1", 30)],
        held,
        Kin(processes=table, tenants=(A,), pods=pods),
    )

    assert found["GPU-0"][0].share[-2:] == ("prod", "chat-0")
    assert found["GPU-1"][0].share[-2:] == ("", "u2")
    assert found["GPU-1"][0].share.state == "unattributed"


# --- what it used --------------------------------------------------------------------------------


def spend(*looks: Gpu, seconds: float = 10.0) -> Spend:
    """What an unattributed GPU has used after some looks at it."""
    purse = Purse()
    for number, look in enumerate(looks):
        portions = {"GPU-0": (Portion(NOBODY, 1.0),)}
        passed = seconds if number else 0.0
        purse = attribution.accrue(
            purse, passed, [look], portions, {"GPU-0": RENT}, {"GPU-0": Energy(70.0, passed)}
        )
    return purse.spends[NOBODY]


def test_a_gpu_that_is_lost_is_still_paid_for() -> None:
    lost = Gpu(index=0, uuid="GPU-0", name="H100", failure=LOST)

    assert spend(gpu("GPU-0"), lost, lost) == Spend(20.0, 210.0, 0.02, 20.0, 20.0)


def test_without_a_price_no_dollars_are_known() -> None:
    portions = {"GPU-0": (Portion(NOBODY, 1.0),)}

    purse = attribution.accrue(Purse(), 5.0, [gpu()], portions, {"GPU-0": None}, {})

    assert purse.spends[NOBODY] == purse.node == Spend(5.0, None, None)


@pytest.mark.parametrize(
    ("energy", "spent"),
    [
        # By hand: 10 s at 3.60 dollars an hour, and 720 kJ at half a dollar a kWh.
        (Energy(720e3, 10.0), (720e3, 0.11, 10.0, 10.0)),
        # It is silent: its time is billed, and of its power nothing is known yet.
        (Energy(None, 0.0), (None, 0.01, 0.0, 0.0)),
        # It catches up with 20 s before.
        (Energy(720e3, 30.0), (720e3, 0.11, 30.0, 30.0)),
        # Its board never tells: there is no power in the price.
        (None, (None, 0.01, 0.0, 10.0)),
    ],
    ids=["told", "silent", "caught up", "never told"],
)
def test_it_is_told_of_which_time_joules_and_dollars_are(
    energy: Energy | None, spent: tuple[float | None, ...]
) -> None:
    portions = {"GPU-0": (Portion(NOBODY, 1.0),)}
    owned = {"GPU-0": Price(3.6, 0.5 / 3.6e6, "what it cost")}
    told = {"GPU-0": energy} if energy is not None else {}

    purse = attribution.accrue(Purse(), 10.0, [gpu()], portions, owned, told)

    assert purse.node[1:] == pytest.approx(spent)


def test_at_its_bound_what_was_used_least_recently_is_no_model_s_and_nothing_is_lost() -> None:
    purse = Purse()
    for number in (0, 1, 2, 3, 4, 5, 0, 6, 7):
        share = Share("GPU-0", "m", "", "busy", "config", "prod", f"job-{number}")
        portions = {"GPU-0": (Portion(share, 1.0),)}
        purse = attribution.accrue(purse, 10.0, [gpu()], portions, {"GPU-0": RENT}, {})
    bounded = attribution.bound(purse, 5, {share})

    assert {(s.model, s.pod): spend.gpu_seconds for s, spend in bounded.spends.items()} == {
        ("", ""): 30.0,
        ("m", "job-4"): 10.0,
        ("m", "job-5"): 10.0,
        ("m", "job-0"): 20.0,
        ("m", "job-6"): 10.0,
        ("m", "job-7"): 10.0,
    }
    assert bounded.overflows == 1
    assert bounded.node == purse.node
    assert attribution.bound(bounded, 6, {share}) is bounded
    assert share in attribution.bound(bounded, 1, {share}).spends


def test_of_a_time_in_which_none_looked_nobody_knows_whether_there_was_work() -> None:
    share = Share("GPU-0", "m", "a", "busy", "equal")
    idle, unknown = share._replace(state="idle"), share._replace(state="unknown")
    portions = {"GPU-0": (Portion(share, 0.25), Portion(idle, 0.25), Portion(NOBODY, 0.5))}

    assert attribution.unsure(portions) == {
        "GPU-0": (Portion(unknown, 0.5), Portion(NOBODY, 0.5)),
    }


# --- the parts add up ----------------------------------------------------------------------------


class Moment(NamedTuple):
    """One GPU at one tick."""

    holders: frozenset[int]
    joules: float
    is_lost: bool
    is_silent: bool
    is_reloaded: bool
    slices: tuple[int, ...] | None
    sm: tuple[float, float] | None


moments = st.builds(
    Moment,
    st.frozensets(st.sampled_from([10, 12, 21, 30, 99])),
    st.floats(0, 1e6),
    *(st.sampled_from([False, False, False, True]) for _ in range(3)),
    st.sampled_from([None, None, (), (3, 2), (1,) * 7, (4, 4)]),
    st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
days = st.lists(
    st.tuples(
        *(moments, moments, st.floats(0.1, 60.0)),
        st.sets(st.sampled_from([A, B, B._replace(worker_roots=(30,))])),
        st.sampled_from([(), (Launch(30, "deepseek"),)]),
    ),
    min_size=1,
    max_size=15,
)
prices = st.fixed_dictionaries(
    {
        "GPU-0": st.sampled_from([None, Price(0.0, 0.0, "free"), RENT]),
        "GPU-1": st.sampled_from([None, Price(1.25, 3.6e-8, "owned, with power")]),
    }
)


def as_gpu(uuid: str, moment: Moment, counters: dict[str, float]) -> Gpu:
    bare = Gpu(index=0, uuid=uuid, name="H100")
    if moment.is_lost or moment.is_silent:
        return replace(bare, failure=LOST if moment.is_lost else SILENT)
    counters[uuid] = moment.joules + (0.0 if moment.is_reloaded else counters[uuid])
    parts = moment.slices if moment.slices is not None else ()
    sm = moment.sm or (None, None)
    return replace(
        bare,
        energy_joules=counters[uuid],
        instances=None
        if moment.slices is None
        else tuple(
            GpuInstance(uuid=f"m{n}", name="", compute_ratio=part / 7)
            for n, part in enumerate(parts)
        ),
        processes=tuple(
            GpuProcess(
                pid=pid,
                memory_bytes=None if pid == 99 else pid * 1e9,
                sm_ratio=sm[pid % 2],
                instance=f"m{n % len(parts)}" if parts else None,
            )
            for n, pid in enumerate(sorted(moment.holders))
        ),
    )


@given(days, prices)
def test_the_parts_add_up_to_the_bill(
    history: list[tuple[Moment, Moment, float, set[Tenant], tuple[Launch, ...]]],
    listed: dict[str, Price | None],
) -> None:
    purse, counters, metered = Purse(), defaultdict[str, float](float), Meters()
    held: dict[str, tuple[Held, ...]] = {}
    passed = 0.0
    for *both, seconds, tenants, launched in history:
        gpus = [as_gpu(f"GPU-{number}", moment, counters) for number, moment in enumerate(both)]
        held = attribution.holders(held, gpus, TABLE)
        portions = attribution.divide(gpus, held, kin(*sorted(tenants), launches=launched))
        metered = meters.read(metered, gpus, seconds)
        purse = attribution.accrue(purse, seconds, gpus, portions, listed, metered.energy)
        purse = attribution.bound(purse, 6, {p.share for of in portions.values() for p in of})
        passed += seconds

        parts = list(purse.spends.values())
        whole = purse.node
        assert sum(p.gpu_seconds for p in parts) == pytest.approx(whole.gpu_seconds, rel=1e-9)
        assert sum(p.dollars or 0 for p in parts) == pytest.approx(whole.dollars or 0, rel=1e-9)
        assert sum(p.joules or 0 for p in parts) == pytest.approx(whole.joules or 0, rel=1e-9)
        assert min(min(p.joules or 0.0, p.dollars or 0.0, p.gpu_seconds) for p in parts) >= 0

    for uuid, price in listed.items():
        mine = [spend for share, spend in purse.spends.items() if share.gpu == uuid]
        dollars = sum(spend.dollars or 0.0 for spend in mine)
        energy = sum(spend.joules or 0.0 for spend in mine)
        used = metered.joules.get(uuid, 0.0)
        assert sum(spend.gpu_seconds for spend in mine) == pytest.approx(passed, rel=1e-9)
        assert dollars == pytest.approx(price.dollars(passed, used) if price else 0.0, rel=1e-9)
        assert energy == pytest.approx(used, rel=1e-9)
