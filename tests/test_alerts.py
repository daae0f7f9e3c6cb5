"""What of a Snapshot somebody must be told at once, in which words, and when that is over."""

from dataclasses import replace
from typing import Any

import pytest

from burnmeter.export import alerts
from burnmeter.export.alerts import DOWN, GPU_LOST, ILL, STALLED, XID, firing, identity, is_over
from burnmeter.model import Failure
from burnmeter.snapshot import GpuView, Snapshot, TargetView, XidView
from burnmeter.xids import xid
from tests import snapshots
from tests.snapshot_parts import LLAMA, NOW, event, gpu, target

REFUSED = Failure("refused", "nothing listens on 127.0.0.1:8000; is the engine running?")
LOST = Failure("driver", "the GPU fell off the bus")


def dead(**changes: Any) -> TargetView:
    return target(**({"is_up": False, "is_down": True, "failure": REFUSED} | changes))


def node(*targets: TargetView, gpus: tuple[GpuView, ...] = (), **changes: Any) -> Snapshot:
    return snapshots.empty(targets=targets, gpus=gpus, **changes)


def names(snapshot: Snapshot) -> list[str]:
    return [alert.labels["alertname"] for alert in firing(snapshot)]


def with_xid(code: int, ago_seconds: float | None = 40.0) -> GpuView:
    last = None if ago_seconds is None else NOW - ago_seconds
    seen = XidView(times=1, last_timestamp_seconds=last, **xid(code)._asdict())
    return replace(gpu(0), xids=(seen,))


# --- engines -------------------------------------------------------------------------------------


def test_a_dead_engine_is_told_with_who_where_why_and_since_when() -> None:
    told = event(7, "down", "vllm-8000", "nothing listens"), event(9, "down", "other", "x")
    (alert,) = firing(node(dead(), events=told))

    assert alert.labels == {
        "alertname": "BurnmeterEngineDown",
        "severity": "page",
        "origin": "agent",
        "node": "gpu-node-07",
        "target": "vllm-8000",
        "engine": "vllm",
        "model": LLAMA,
    }
    assert alert.annotations == {
        "summary": f"vllm-8000 ({LLAMA}) is down on gpu-node-07",
        "description": REFUSED.message,
    }
    assert alert.since_timestamp_seconds == NOW - 7
    assert alert.anchor == "targets"


def test_the_last_death_counts_and_one_of_which_no_event_is_left_has_no_beginning() -> None:
    told = event(70, "down", "vllm-8000", "x"), event(7, "down", "vllm-8000", "x")

    assert firing(node(dead(), events=told))[0].since_timestamp_seconds == NOW - 7
    assert firing(node(dead()))[0].since_timestamp_seconds is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"is_stalled": True}, [STALLED]),
        ({"is_stalled": None}, []),
        ({"is_ill": True, "illness": "/health answers HTTP 503"}, [ILL]),
        ({"is_stalled": True, "is_ill": True, "illness": "x"}, [STALLED, ILL]),
        ({"is_up": False, "failure": Failure("timeout", "once")}, []),
        ({"is_up": False, "failure": Failure("http", "HTTP 401")}, []),
        ({"is_up": False, "failure": Failure("disabled", "its day is used up")}, []),
        ({"is_up": False, "is_down": True, "failure": REFUSED, "illness": "x"}, [DOWN]),
        ({"is_stale": True}, []),
    ],
)
def test_what_of_an_engine_is_an_alert(changes: dict[str, Any], expected: list[str]) -> None:
    assert names(node(target(**changes))) == expected


def test_labels_have_nothing_empty_and_of_several_models_none() -> None:
    one = firing(node(dead(engine=None, model=None)))[0]
    several = firing(node(dead(models={"a": "", "b": ""})))[0]

    assert sorted(one.labels) == ["alertname", "node", "origin", "severity", "target"]
    assert "model" not in several.labels
    assert several.annotations["summary"] == "vllm-8000 (a and b) is down on gpu-node-07"


def test_nothing_of_one_life_of_an_engine_or_agent_is_in_the_labels() -> None:
    before, after = dead(pid=41, restarts=0), dead(pid=99, restarts=3, age_seconds=None)
    later = node(after, started_timestamp_seconds=NOW, version="9")

    assert firing(node(before))[0].labels == firing(later)[0].labels


# --- GPUs ----------------------------------------------------------------------------------------


def test_a_lost_gpu_is_told_with_whom_it_hit() -> None:
    view = gpu(3, failure=LOST)
    told = replace(event(5, "gpu_lost", "gpu 3", "x", LLAMA), gpu=view.gpu.uuid)
    (alert,) = firing(node(gpus=(view,), events=(told,)))

    assert alert.labels == {
        "alertname": "BurnmeterGpuLost",
        "severity": "page",
        "origin": "agent",
        "node": "gpu-node-07",
        "gpu": "GPU-00000003",
    }
    assert alert.annotations == {
        "summary": "GPU 3 (NVIDIA H100 80GB HBM3) is lost on gpu-node-07",
        "description": f"the GPU fell off the bus; it served {LLAMA}",
    }
    assert (alert.since_timestamp_seconds, alert.anchor) == (NOW - 5, "gpus")


def test_a_gpu_of_which_nothing_is_known_is_not_lost() -> None:
    silent = replace(gpu(0, failure=LOST), is_up=None)

    assert names(node(gpus=(silent, gpu(1)))) == []


def test_an_xid_that_pages_is_told_for_an_hour_with_what_to_do() -> None:
    (alert,) = firing(node(gpus=(with_xid(79),)))

    assert alert.labels["alertname"] == "BurnmeterXid"
    assert (alert.labels["gpu"], alert.labels["code"]) == ("GPU-00000000", "79")
    assert alert.since_timestamp_seconds == NOW - 40
    assert alert.annotations["summary"].startswith("GPU 0 (NVIDIA H100 80GB HBM3) had XID 79, ")
    assert " To do: " in alert.annotations["description"]
    assert names(node(gpus=(with_xid(79, 3599.0),))) == [XID]
    assert names(node(gpus=(with_xid(79, 3600.0),))) == []
    assert names(node(gpus=(with_xid(79, None),))) == []


def test_an_xid_that_pages_nobody_is_no_alert() -> None:
    assert xid(13).severity != "page"
    assert names(node(gpus=(with_xid(13),))) == []


# --- over ----------------------------------------------------------------------------------------

UNREADABLE = {"is_up": False, "is_stalled": None, "failure": Failure("http", "HTTP 500")}
RESTING = {"is_up": False, "is_stalled": None, "failure": Failure("disabled", "rests")}
DEAD = {"is_up": False, "is_down": True, "is_stalled": None, "failure": REFUSED}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        (DOWN, {}, True),
        (DOWN, UNREADABLE, False),
        (DOWN, RESTING, True),
        (STALLED, {}, True),
        (STALLED, {"is_stalled": None}, False),
        (STALLED, UNREADABLE, False),
        (STALLED, DEAD, True),
        (ILL, {}, True),
        (ILL, UNREADABLE, False),
        (ILL, DEAD, True),
    ],
)
def test_only_a_look_that_tells_ends_an_engines_alert(
    name: str, changes: dict[str, Any], expected: bool
) -> None:
    labels = {"alertname": name, "target": "vllm-8000"}

    assert is_over(labels, NOW - 60, node(target(**changes))) is expected


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        (DOWN, {}, True),
        (STALLED, {}, False),
        (ILL, {}, False),
        (STALLED, DEAD, True),
        (ILL, DEAD, True),
        (STALLED, RESTING, True),
    ],
)
def test_an_agent_that_has_just_started_does_not_know_yet_that_an_engine_moves(
    name: str, changes: dict[str, Any], expected: bool
) -> None:
    """At a first look nothing can be seen to stand still, and the alert would end and come back."""
    labels = {"alertname": name, "target": "vllm-8000"}
    for age, known in ((79.0, expected), (80.0, True)):
        seen = node(target(**changes), started_timestamp_seconds=NOW - age)

        assert is_over(labels, NOW - 600, seen, 80.0) is known


@pytest.mark.parametrize("name", [DOWN, STALLED, ILL, GPU_LOST, XID])
def test_what_the_agent_does_not_see_is_over_after_an_hour(name: str) -> None:
    labels = {"alertname": name, "target": "gone"}
    if name in (GPU_LOST, XID):
        labels = {"alertname": name, "gpu": "GPU-gone", "code": "79"}
    seen = node(target(), gpus=(gpu(0),))

    assert not is_over(labels, NOW - 3599, seen)
    assert is_over(labels, NOW - 3600, seen)


@pytest.mark.parametrize(("is_up", "expected"), [(True, True), (None, False), (False, False)])
def test_a_lost_gpu_is_back_once_it_answers(is_up: bool | None, expected: bool) -> None:
    labels = {"alertname": GPU_LOST, "gpu": "GPU-00000000"}
    seen = node(gpus=(replace(gpu(0), is_up=is_up),))

    assert is_over(labels, NOW - 7200, seen) is expected


def test_an_xid_is_over_by_its_age_and_not_because_a_new_agent_never_saw_it() -> None:
    labels = {"alertname": XID, "gpu": "GPU-00000000", "code": "79"}

    assert is_over(labels, NOW - 100, node(gpus=(with_xid(79, 3601.0),)))
    assert not is_over(labels, NOW - 100, node(gpus=(with_xid(48),)))


def test_an_alert_is_told_from_others_by_what_does_not_change_with_its_engine() -> None:
    (alert,) = firing(node(dead()))

    assert identity(alert.labels) == (DOWN, "vllm-8000", "")
    assert identity({**alert.labels, "model": "vllm-8000"}) == identity(alert.labels)
    assert identity({"alertname": XID, "gpu": "GPU-0", "code": "79"}) == (XID, "GPU-0", "79")


@pytest.mark.parametrize("name", snapshots.ALL)
def test_every_example_gives_alerts_of_known_names_with_complete_texts(name: str) -> None:
    for alert in firing(snapshots.ALL[name]()):
        assert alert.labels["alertname"] in alerts.NAMES
        assert all(alert.labels.values())
        assert all(alert.annotations.values())
