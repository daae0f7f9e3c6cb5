"""What is shown of the past: a point now and then, and never more than so many."""

from burnmeter import views
from burnmeter.frame import HISTORY_POINTS, Frame, lengthen
from burnmeter.gpu_watch import Boards
from burnmeter.model import Gpu
from burnmeter.pipeline import Past, Settings, State
from burnmeter.snapshot import GpuPoint, Point
from tests.fakes import terms
from tests.snapshot_parts import HEALTH


def after(before: Frame | None, *uuids: str, at: float, watts: float) -> Frame:
    """A tick later: these GPUs, each drawing so much."""
    gpus = {uuid: Gpu(index=0, uuid=uuid, name="H100", power_watts=watts) for uuid in uuids}
    nothing = Past(at_seconds=at, counters={}, histograms={}, spends={}, revenue={})
    state = State(started_timestamp_seconds=0.0, boards=Boards(gpus=gpus), past=(nothing,))
    settings = Settings(terms=terms(), objectives=(), recent_seconds=60.0)
    frame, _ = views.turn(state, settings, timestamp_seconds=at, at_seconds=at, before=before)
    return frame


def test_history_has_a_point_each_fifteen_seconds_and_the_latest() -> None:
    history: dict[str, tuple[Point, ...]] = {}
    for at in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0):
        history = lengthen(history, {"llama": Point(at, None, None, None, None, None)})

    assert [point.timestamp_seconds for point in history["llama"]] == [0.0, 15.0, 30.0, 35.0]


def test_history_goes_on_when_the_wall_clock_is_set_back() -> None:
    history: dict[str, tuple[Point, ...]] = {}
    for at in (7200.0, 7215.0, 3600.0, 3605.0, 3610.0, 3615.0, 3620.0):
        history = lengthen(history, {"llama": Point(at, None, None, None, None, None)})

    assert [point.timestamp_seconds for point in history["llama"][2:]] == [3600.0, 3615.0, 3620.0]


def test_history_is_limited() -> None:
    history: dict[str, tuple[Point, ...]] = {}
    for number in range(2 * HISTORY_POINTS):
        point = Point(60.0 * number, None, None, None, None, None)
        history = lengthen(history, {"llama": point})

    assert len(history["llama"]) == HISTORY_POINTS


def test_a_gpu_has_its_past_as_long_as_it_is_known() -> None:
    first = after(None, "GPU-a", "GPU-b", at=0.0, watts=300.0)
    second = after(first, "GPU-a", at=60.0, watts=400.0)

    past = (GpuPoint(0.0, None, 300.0), GpuPoint(60.0, None, 400.0))
    assert second.gpu_history == {"GPU-a": past}
    shown = views.snapshot(
        second,
        version="0",
        node="here",
        is_simulated=False,
        sources=(),
        health=HEALTH,
        models=(),
    )
    assert [view.history for view in shown.gpus] == [past]
