"""What the live page says of GPUs, and of what happened to a model's."""

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from burnmeter.export import live
from burnmeter.model import Figure
from burnmeter.snapshot import Event, GpuView
from tests import snapshots
from tests.snapshot_parts import HEALTH, LLAMA, NOW, QWEN, event, gpu, model
from tests.web_reader import fact, page, tile, words

THROTTLED = "clocks are held down: hardware thermal"


def hits(*events: Event, name: str = LLAMA) -> list[live.Hit]:
    return list(live.hits(snapshots.empty(events=events), name))


# --- what has hit a model ------------------------------------------------------------------------


def test_the_same_of_several_gpus_at_once_is_one_hit() -> None:
    at_once = [event(40, "throttled", f"gpu {index}", THROTTLED, LLAMA) for index in range(3)]
    later = event(20, "throttled", "gpu 3", THROTTLED, LLAMA)

    found = hits(*at_once, later)

    assert found == [
        live.Hit(NOW - 20, "throttled", THROTTLED, "gpu 3"),
        live.Hit(NOW - 40, "throttled", THROTTLED, "gpu 0, gpu 1 and gpu 2"),
    ]


def test_what_hits_another_model_or_none_is_no_hit() -> None:
    both = event(30, "gpu_lost", "gpu 1", "lost", QWEN, LLAMA)
    other = event(20, "gpu_lost", "gpu 2", "lost", QWEN)
    nobodys = event(10, "gpu_lost", "gpu 3", "lost")

    assert [one.subjects for one in hits(both, other, nobodys)] == ["gpu 1"]


@pytest.mark.parametrize(("ago_seconds", "times"), [(0, 1), (3600, 1), (3601, 0)])
def test_what_is_more_than_an_hour_ago_is_no_hit(ago_seconds: float, times: int) -> None:
    assert len(hits(event(ago_seconds, "xid", "gpu 1", "XID 79", LLAMA))) == times


def test_the_latest_hits_come_first_and_only_five_are_shown() -> None:
    events = [event(100 - age, "restart", "chat", f"{age}", LLAMA) for age in range(7)]

    assert [one.text for one in hits(*events)] == ["6", "5", "4", "3", "2"]


@pytest.mark.parametrize(
    "kind", ["up", "well", "fresh", "resting", "burning", "recovered", "not_measured"]
)
def test_good_news_and_what_the_state_says_already_is_no_hit(kind: str) -> None:
    assert hits(event(10, kind, "chat", "the engine answers", LLAMA)) == []


def test_a_model_says_what_has_hit_it_and_not_what_has_hit_others() -> None:
    text = page(snapshots.burning())

    cards = {
        name: words(found)
        for name, found in re.findall(
            r'<ul class="hits" aria-label="What has hit (.*?) lately">(.*?)</ul>', text, re.DOTALL
        )
    }
    assert cards[LLAMA].strip() == f"2 min ago throttled gpu 3: {THROTTLED}"
    assert cards[QWEN].split(" ago ")[1].startswith("gpu lost gpu 5: XID 79")
    assert len(cards) == 2


# --- one GPU -------------------------------------------------------------------------------------


def profiled(**figures: float) -> GpuView:
    """A GPU whose board, and whose MIG instance, tell what they did."""
    whole = [Figure(f"gpu_{name}_active_ratio", (("mig", ""),), v) for name, v in figures.items()]
    part = Figure("gpu_sm_active_ratio", (("mig", "MIG-7a"),), 0.99)
    return gpu(0, gauges=(part, *whole))


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (profiled(dram=0.35, sm=0.61, tensor=0.2), {"SMs": 0.61, "tensor": 0.2, "DRAM": 0.35}),
        (profiled(sm=0.0), {"SMs": 0.0}),
        (profiled(), {}),
        (gpu(0, gauges=()), {}),
    ],
)
def test_a_board_tells_what_it_did_as_a_whole(view: GpuView, told: Mapping[str, float]) -> None:
    assert list(live.gpm(view).items()) == list(told.items())


def test_what_a_board_did_is_one_line_and_none_where_it_cannot_tell() -> None:
    seen = snapshots.empty(gpus=(profiled(sm=0.61, tensor=0.2, dram=0.35), gpu(1, gauges=())))

    assert "SMs 61 %, tensor 20 %, DRAM 35 %" in words(tile(seen, 0))
    assert "SMs" not in tile(seen, 1)


def test_a_gpu_says_what_holds_its_clocks_down() -> None:
    seen = snapshots.burning()

    assert "Clocks held down: hardware thermal, software thermal" in words(tile(seen, 3))
    assert "Clocks held down" not in tile(seen, 2)


def test_a_gpu_says_what_the_driver_asks_for() -> None:
    seen = snapshots.burning()

    told = "The driver asks for a recovery: The GPU works at less capacity: give it no new work"
    assert told in words(tile(seen, 4))
    assert "asks for a recovery" not in tile(seen, 3)


def test_a_divided_gpu_shows_each_instance_by_its_profile_and_memory() -> None:
    told = words(tile(snapshots.burning(), 7))

    assert "MIG 4g.40gb: 31.5 GiB of 39.5 GiB MIG 3g.40gb: 0 B of 39.5 GiB" in told
    assert "busy qwen2.5-coder-32b by MIG slices unattributed nobody owner not known" in told
    assert "busy–not measured" in told


def test_an_xid_has_what_it_means_and_asks_for_in_its_title() -> None:
    (title,) = re.findall(
        r'class="xid" title="([^"]*)">XID 64 ×2, [^<]*<', tile(snapshots.burning(), 4)
    )

    assert title.startswith("memory row not retired: A bad row or page of memory could not be")
    assert title.endswith("stop every program on the GPU and reset it.")


def test_a_gpu_that_does_not_answer_tells_nothing_that_it_cannot_know() -> None:
    lost = snapshots.burning().gpus[5]
    seen = snapshots.empty(gpus=(replace(lost, throttled_by=("power_brake",)),))

    told = tile(seen, 5)

    assert "Clocks held down" not in told
    assert ">XID 79 ×1, fallen off the bus<" in told


# --- what asking the driver costs ----------------------------------------------------------------


def test_the_page_says_how_much_of_the_time_is_spent_in_the_driver() -> None:
    # 57 s of 11,400 s since the agent started.
    health = replace(HEALTH, nvml_seconds={"fields": 50.0, "processes": 7.0})

    text = page(snapshots.empty(models=(model(),), health=health))

    assert fact(text, "In the GPU driver") == "0.5 %"
    assert "In the GPU driver" not in page(snapshots.empty(models=(model(),)))
