"""What is told of GPUs: lost and back, XIDs with what to do, clocks held down, recoveries."""

from dataclasses import replace

import pytest

from burnmeter import gpu_watch
from burnmeter.gpu_watch import Boards, XidSeen
from burnmeter.model import Failure, Figure, Gpu, GpuInstance, GpuReading
from tests.fakes import gpu

NO_DRIVER = Failure("driver", "the driver does not answer")
LOST = Gpu(index=0, uuid="GPU-0", name="H100", failure=Failure("gone", "fell off the bus"))


def reading(*gpus: Gpu, failure: Failure | None = None) -> GpuReading:
    return GpuReading(
        at_seconds=0.0, timestamp_seconds=0.0, duration_seconds=0.0, gpus=gpus, failure=failure
    )


def story(*readings: GpuReading, seconds: float = 5.0) -> tuple[Boards, list[str]]:
    """The GPUs after some readings, and all that was told of them."""
    boards, told = Boards(), []
    for one in readings:
        boards, news = gpu_watch.look(boards, one, seconds)
        told += [f"{kind} {uuid}: {text}" for kind, uuid, text in news]
    return boards, told


def held_down(reason: str, seconds: float) -> GpuReading:
    figure = Figure("gpu_throttle_seconds_total", (("reason", reason),), seconds)
    return reading(replace(gpu("GPU-0"), meters=(figure,)))


def test_a_gpu_that_falls_off_the_bus_and_comes_back_is_told_once_each() -> None:
    _, told = story(reading(gpu()), reading(LOST), reading(LOST), reading(gpu()), reading(gpu()))

    assert told == [
        "gpu_lost GPU-0: fell off the bus",
        "gpu_back GPU-0: answers again",
    ]


def test_what_the_driver_asks_for_is_told_once_also_over_a_silence() -> None:
    asked = reading(replace(gpu(), recovery_action="gpu_reset"))
    silent = reading(failure=NO_DRIVER)
    fine = reading(replace(gpu(), recovery_action="none"))

    _, told = story(asked, asked, silent, asked, fine, asked)

    assert len(told) == 2
    assert told[0].startswith("recovery GPU-0: the driver asks: ")


def test_what_held_clocks_down_over_a_silence_is_not_of_one_tick() -> None:
    """3 s in 60 s of which nobody told are not 3 s of 5 s."""
    silent = [reading(failure=NO_DRIVER)] * 12
    first, last = held_down("power_brake", 100.0), held_down("power_brake", 103.0)

    boards, told = story(first, first, *silent, last, last)

    assert told == []
    assert boards.meters.figures("GPU-0")[0].value == 3.0


def test_a_gpu_that_the_driver_lists_no_more_stays_and_is_lost() -> None:
    boards, told = story(reading(gpu("GPU-0"), gpu("GPU-1")), reading(gpu("GPU-0")))

    assert boards.gpus["GPU-1"].failure is not None
    assert told == ["gpu_lost GPU-1: the driver no longer lists this GPU"]


def test_when_nobody_answers_no_gpu_is_lost_and_none_comes_back() -> None:
    boards, told = story(reading(gpu()), reading(failure=NO_DRIVER), reading(gpu()))

    assert boards.gpus["GPU-0"].failure is None
    assert told == []


def test_while_one_never_said_who_it_is_the_others_are_told_of_all_the_same() -> None:
    unnamed = Failure("driver", "GPU 1 never said its uuid")

    boards, told = story(reading(gpu()), reading(LOST, failure=unnamed))

    assert boards.lost == {"GPU-0": "gone"}
    assert told == ["gpu_lost GPU-0: fell off the bus"]


def test_a_gpu_that_was_lost_before_the_driver_fell_silent_is_lost_once() -> None:
    readings = [reading(gpu()), reading(LOST), reading(failure=NO_DRIVER), reading(LOST)]

    _, told = story(*readings, reading(gpu()))

    assert told == ["gpu_lost GPU-0: fell off the bus", "gpu_back GPU-0: answers again"]


def test_a_gpu_that_does_not_answer_is_divided_as_it_was() -> None:
    parts = (GpuInstance(uuid="MIG-0", name="", compute_ratio=1.0),)
    divided = replace(gpu(), instances=parts)

    silent, _ = story(reading(divided), reading(failure=NO_DRIVER))
    back, _ = story(reading(divided), reading(failure=NO_DRIVER), reading(gpu()))

    assert silent.gpus["GPU-0"].instances == parts
    assert back.gpus["GPU-0"].instances is None


# --- XIDs ----------------------------------------------------------------------------------------


def with_xids(**counts: int) -> Gpu:
    codes = {int(code[1:]): times for code, times in counts.items()}
    return replace(gpu(), xid_counts=codes, xid_timestamps_seconds=dict.fromkeys(codes, 77.0))


def test_an_xid_is_told_with_what_it_means_and_what_to_do() -> None:
    _, told = story(reading(gpu()), reading(with_xids(x48=1)), reading(with_xids(x48=1)))

    assert told == [
        "xid GPU-0: XID 48, double-bit memory error: Memory of the GPU gave wrong data that ECC "
        "could not mend; what was being computed is lost. Move the work away, stop every program "
        "on the GPU and reset it."
    ]


def test_xids_go_on_when_the_reader_begins_to_count_anew() -> None:
    boards, told = story(
        *(reading(with_xids(x13=n)) for n in (1, 4, 1)), reading(with_xids(x13=1, x79=1))
    )

    assert boards.xids == {("GPU-0", 13): XidSeen(5, 77.0), ("GPU-0", 79): XidSeen(1, 77.0)}
    assert [line.partition(",")[0] for line in told] == [
        "xid GPU-0: XID 13",
        "xid GPU-0: XID 13 (3 times)",
        "xid GPU-0: XID 13",
        "xid GPU-0: XID 79",
    ]


def test_an_xid_of_a_gpu_that_was_lost_with_it_is_counted() -> None:
    lost = replace(LOST, xid_counts={79: 1})

    boards, told = story(reading(gpu()), reading(lost), reading(lost))

    assert boards.xids["GPU-0", 79].times == 1
    assert [line.partition(" ")[0] for line in told] == ["gpu_lost", "xid"]


# --- clocks held down ----------------------------------------------------------------------------


def test_clocks_held_down_are_told_when_it_begins_and_when_it_ends() -> None:
    """Of 5 s: 2 s begin it (40 %), 0.5 s are too much to be over (10 %), 0.05 s are not."""
    readings = [held_down("hardware_thermal", s) for s in (10.0, 12.0, 12.5, 12.55)]

    assert story(*readings[:3])[0].throttled["GPU-0"] == {"hardware_thermal"}
    assert story(*readings)[1] == [
        "throttled GPU-0: clocks are held down: hardware thermal",
        "unthrottled GPU-0: clocks are free again of hardware thermal",
    ]


@pytest.mark.parametrize(
    ("reason", "grown"),
    [("power_cap", 5.0), ("sync_boost", 5.0), ("hardware_thermal", 0.9)],
    ids=["usual at full load", "sync boost", "under a fifth of the time"],
)
def test_what_is_usual_or_short_is_no_news(reason: str, grown: float) -> None:
    boards, told = story(held_down(reason, 0.0), held_down(reason, grown))

    assert told == []
    assert not boards.throttled["GPU-0"]


def test_while_a_gpu_is_silent_nothing_is_said_of_its_clocks() -> None:
    braked = [held_down("power_brake", seconds) for seconds in (0.0, 5.0)]

    boards, told = story(*braked, reading(LOST))

    assert boards.throttled["GPU-0"] == {"power_brake"}
    assert [line.partition(" ")[0] for line in told] == ["throttled", "gpu_lost"]


# --- what the driver asks for --------------------------------------------------------------------


def test_a_recovery_that_the_driver_asks_for_is_told_once() -> None:
    asks = [replace(gpu(), recovery_action=a) for a in ("none", "reset_gpu", "reset_gpu", "none")]

    _, told = story(*map(reading, asks))

    assert told == ["recovery GPU-0: the driver asks: Stop every program on the GPU and reset it."]
