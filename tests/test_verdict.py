"""The node in one sentence: what burns, and what is dead without a budget of its own."""

from dataclasses import replace

import pytest

from burnmeter.export.verdict import Attention, attention, counts, verdict
from burnmeter.model import Burn, Failure
from burnmeter.snapshot import GpuView, ModelView
from tests import snapshots
from tests.snapshot_parts import LLAMA, NOW, alertmanager, burn, gpu, held, model, objective

GATEWAY_DOWN = "gateway gw is down: it is refused; the engines behind it answer"


def burning(name: str, indicator: str) -> tuple[ModelView, Burn]:
    value = objective(indicator, threshold_seconds=0.1 if indicator == "tpot" else None)
    return (
        model(name, state="burning"),
        burn(name, (20.0,) * 6, state="burning", objective=value),
    )


def test_each_of_several_models_has_its_causes_in_brackets() -> None:
    named = (("empty", "availability"), ("html", "availability"), ("two", "tpot"))
    views, burns = zip(*(burning(*names) for names in named), strict=True)

    told = verdict(snapshots.empty(models=(*views, model()), burns=burns)).text

    causes = "empty (availability), html (availability) and two (TPOT below 100 ms)"
    assert told == f"3 of 4 models are burning their budgets: {causes}"


def test_several_models_of_which_one_only_has_a_dead_gateway_burn_no_budget_together() -> None:
    view, spent = burning("two", "errors")
    before = model("chat", state="burning", reason=GATEWAY_DOWN)

    told = verdict(snapshots.empty(models=(before, view), burns=(spent,))).text

    assert told == "2 of 2 models need you: chat (gateway gw is down) and two (errors)"


# --- GPUs ----------------------------------------------------------------------------------------


def needs(*gpus: GpuView) -> list[tuple[str, str]]:
    """What somebody is told of these GPUs."""
    told = attention(snapshots.empty(gpus=gpus))
    assert {one.anchor for one in told} <= {f"gpu-{place}" for place in range(len(gpus))}
    return [(one.subject, one.text) for one in told]


def test_an_xid_is_as_urgent_as_its_code_and_what_pages_comes_first() -> None:
    """79: fallen off the bus; 63: a bad row or page is taken out of use."""
    slowed = replace(gpu(2, None), throttled_by=("power_brake",))
    seen = snapshots.empty(gpus=(slowed, gpu(0, None, xid_counts={63: 1, 79: 1})))

    assert [one.kind for one in attention(seen)] == ["page", "ticket", "look"]
    assert [(xid.code, xid.severity) for xid in seen.gpus[1].xids] == [(63, "ticket"), (79, "page")]


def hit(code: int, ago_seconds: float | None = 40.0) -> GpuView:
    """A GPU on which that XID was seen."""
    view = gpu(0, xid_counts={code: 1})
    at = None if ago_seconds is None else NOW - ago_seconds
    return replace(view, xids=tuple(replace(x, last_timestamp_seconds=at) for x in view.xids))


def slowed(index: int, *reasons: str) -> GpuView:
    return replace(gpu(index), throttled_by=reasons)


def test_a_gpu_that_is_well_needs_nobody() -> None:
    assert needs(gpu(0), gpu(1, recovery_action=None)) == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        pytest.param(79, "XID 79, fallen off the bus: Move the work away and reboot", id="page"),
        pytest.param(63, "XID 63, memory row retired: Programs may go on; reset", id="ticket"),
        pytest.param(9999, "XID 9999, unknown: Look the code up in NVIDIA's list", id="unknown"),
    ],
)
def test_an_xid_says_its_name_and_what_to_do(code: int, text: str) -> None:
    ((subject, told),) = needs(hit(code))

    assert subject == "GPU 0"
    assert told.startswith(text)


def test_an_xid_that_is_only_for_the_log_needs_nobody() -> None:
    assert needs(hit(13)) == []


@pytest.mark.parametrize(
    ("ago_seconds", "times"), [(0.0, 1), (3599.0, 1), (3600.0, 0), (90000.0, 0), (None, 1)]
)
def test_an_xid_needs_somebody_for_an_hour_or_if_nobody_knows_when_it_was(
    ago_seconds: float | None, times: int
) -> None:
    assert len(needs(hit(79, ago_seconds))) == times


def test_clocks_that_are_held_down_say_by_what() -> None:
    told = needs(slowed(3, "hardware_thermal", "power_brake"))

    assert told == [("GPU 3", "clocks are held down: hardware thermal and power brake")]


@pytest.mark.parametrize(
    ("action", "meaning"),
    [
        ("reset_gpu", "Stop every program on the GPU and reset it."),
        ("unknown", "One that burnmeter does not know; see `nvidia-smi -q`."),
    ],
)
def test_a_recovery_that_the_driver_asks_for_is_told_in_words(action: str, meaning: str) -> None:
    told = needs(gpu(2, recovery_action=action))

    assert told == [("GPU 2", f"the driver asks for a recovery: {meaning}")]


def test_the_same_of_several_gpus_is_one_line_that_names_them_all() -> None:
    same = [slowed(index, "software_thermal") for index in range(5)]

    told = needs(*same, slowed(5, "power_brake"))

    assert told == [
        ("GPU 0, 1, 2, 3 and 4", "clocks are held down: software thermal"),
        ("GPU 5", "clocks are held down: power brake"),
    ]


def test_a_lost_gpu_says_that_and_which_xid_it_had() -> None:
    lost = gpu(5, failure=Failure("gone", "GPU is lost"), xid_counts={79: 1})

    assert [text.partition(",")[0] for _, text in needs(lost)] == ["XID 79", "GPU is lost"]


def test_a_gpu_of_whose_engine_nothing_is_known_is_not_called_unattributed() -> None:
    gpus = (gpu(0, held(0, LLAMA)), gpu(1, held(1, LLAMA, "unknown", "config")), gpu(2))

    told = counts(snapshots.empty(gpus=gpus)).gpus

    assert told == "1 busy, 1 not known to be busy or idle, 1 unattributed"


def test_alerts_that_nobody_takes_need_somebody() -> None:
    failed = alertmanager(is_up=False, failure=Failure("timeout", "http://am did not answer"))
    told = snapshots.empty(alertmanagers=(alertmanager(url="http://b"), failed))

    assert attention(told) == [
        Attention("look", "alerts", "are not taken: http://am did not answer", "agent")
    ]
