"""What doctor says of money: prices, whose GPUs are, and what is known of the models."""

from dataclasses import replace
from typing import Any

import pytest

from burnmeter import reports
from burnmeter.doctor import Finding, Glance, findings
from burnmeter.model import EngineProcess, Failure, GpuInstance, GpuProcess, Process, ProcessReading
from burnmeter.model_facts.known import Known, Library
from burnmeter.pricing import Price
from burnmeter.snapshot import GpuView, Snapshot
from tests import models, snapshots
from tests.snapshot_parts import LLAMA, gpu, held, model, target

H100 = "NVIDIA H100 80GB HBM3"
NO_GPU = "no GPU of this node is known to be its"
SPLIT = "2 of the 8 GPUs of vllm-8000 are on this node: sum burnmeter_cost_dollars_total"
UNREAD = Known(None, "/models/llama/config.json cannot be read: Permission denied")


def glance(*gpus: GpuView, **changes: Any) -> Glance:
    """A node with these GPUs and one engine that is up; `changes` are fields of Snapshot."""
    views = {"models": (model(),), "targets": (target(),)} | changes
    snapshot: Snapshot = snapshots.empty(gpus=gpus, **views)
    return Glance(
        gpus=None,
        processes=None,
        engines=(),
        snapshot=snapshot,
        prices={H100: Price(2.99, 0, "us")},
    )


def about(subject: str, seen: Glance) -> list[Finding]:
    return [one for one in findings(seen) if one.subject == subject]


def without_cost(why: str) -> dict[str, Any]:
    lacks = {"cost_dollars_total": why}
    return {"models": (model(dollars_per_million_tokens=None, not_available=lacks),)}


# --- a node without GPUs -------------------------------------------------------------------------


@pytest.mark.parametrize("why", [NO_GPU, SPLIT])
def test_nothing_is_said_of_money_where_there_is_no_gpu(why: str) -> None:
    seen = replace(glance(**without_cost(why)), library=Library(by_target={"vllm-8000": UNREAD}))

    told = {(one.subject, one.state) for one in findings(seen)}

    assert told == {("gpus", "missing"), ("processes", "missing"), ("vllm-8000", "ok")}


# --- prices --------------------------------------------------------------------------------------


def test_a_gpu_without_a_price_says_where_to_set_one() -> None:
    (line,) = about("prices", replace(glance(gpu(0)), prices={}))

    assert (line.state, line.remedy) == ("missing", "set it under `prices.gpu_dollars_per_hour`")
    assert line.text == f"{H100} has no price, so what it costs is not known"


@pytest.mark.parametrize(
    ("price", "says"),
    [
        (Price(2.99, 0.0, "the shipped list"), "2.99 dollars an hour by the shipped list"),
        (Price(0.0, 0.0, "the config"), "0 dollars an hour by the config"),
        (
            Price(1.25, 0.13 / 3.6e6, "what it cost: ..., and power at ..."),
            "1.25 dollars an hour and 0.13 dollars per kWh by what it cost: ..., and power at ...",
        ),
    ],
)
def test_a_price_says_all_its_parts_and_whose_word_it_is(price: Price, says: str) -> None:
    (line,) = about("prices", replace(glance(gpu(0)), prices={H100: price}))

    assert (line.state, line.remedy) == ("ok", None)
    assert line.text == f"{H100}: {says}"


def test_gpus_alike_have_one_line_on_their_price() -> None:
    told = about("prices", glance(gpu(0), gpu(1), gpu(2, name="NVIDIA GB300")))

    assert [one.state for one in told] == ["ok", "missing"]


def test_a_file_of_prices_that_is_read_is_named() -> None:
    (line,) = about("prices", replace(glance(), price_file="/etc/prices.yaml"))

    assert (line.state, line.remedy) == ("ok", None)
    assert line.text == "/etc/prices.yaml is read, and comes before the config"


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("invalid", "`burnmeter check` tells all that is wrong with it"), ("gone", None)],
)
def test_what_is_wrong_with_a_file_of_prices_is_wrong(kind: str, remedy: str | None) -> None:
    failed = replace(glance(), price_file="/p", price_failure=Failure(kind, "/p:1:1: no price"))

    (line,) = about("prices", failed)

    assert (line.state, line.text, line.remedy) == ("wrong", "/p:1:1: no price", remedy)


# --- whose GPUs are ------------------------------------------------------------------------------


def held_by(*pids: int, **changes: Any) -> GpuView:
    """A GPU on which somebody is whom nobody knows."""
    on_it = tuple(GpuProcess(pid=pid) for pid in pids)
    return gpu(0, held(0, "", "unattributed", "none"), processes=on_it, **changes)


def process(pid: int, *command: str, title: str = "python3") -> Process:
    return Process(
        pid=pid, parent_pid=1, started_timestamp_seconds=0.0, command=command, title=title
    )


def strangers(view: GpuView, *table: Process, engines: tuple[EngineProcess, ...] = ()) -> str:
    """What is said to hold the GPU."""
    reading = ProcessReading(
        at_seconds=0.0,
        timestamp_seconds=0.0,
        duration_seconds=0.0,
        processes={one.pid: one for one in table},
    )
    seen = replace(glance(view), processes=reading, engines=engines)
    (line,) = about("gpu 0", seen)
    start, _, holders = line.text.partition(": ")
    assert start == "no engine that we know is above what holds it"
    assert (line.state, line.remedy) == (
        "missing",
        "if that serves a model, say so under `owners:`",
    )
    return holders


def test_who_holds_a_gpu_that_is_nobodys_is_named_by_pid_and_command() -> None:
    told = strangers(held_by(41, 42, 43), process(41, "python3", "train.py"), process(42))

    assert told == "process 41 (python3 train.py), process 42 (python3), process 43"


@pytest.mark.parametrize(
    "command",
    [
        ("python3", "serve.py", "--api-key", "sk-secret", "x"),
        ("python3", "serve.py", "--api-key=sk-secret"),
        ("python3 serve.py --api-key sk-secret",),
    ],
)
def test_options_of_a_command_may_be_secrets_and_are_not_shown(command: tuple[str, ...]) -> None:
    assert strangers(held_by(41), process(41, *command)) == "process 41 (python3 serve.py)"


def test_a_long_command_and_a_long_list_are_cut() -> None:
    table = [process(pid, "/opt/" + "x" * 100) for pid in range(41, 46)]

    told = strangers(held_by(*range(41, 46)), *table)

    assert told.count("process") == 3
    assert told.endswith(" and 2 more")
    assert "x" * 55 + ")" in told
    assert "x" * 56 not in told


def test_beside_an_engine_only_the_stranger_is_named() -> None:
    engine = EngineProcess(
        pid=10,
        pids=frozenset({10, 11}),
        engine="vllm",
        title=None,
        port=8000,
        is_read=True,
        shows_metrics=True,
        remedy=None,
    )

    assert strangers(held_by(11, 41), engines=(engine,)) == "process 41"
    assert strangers(held_by(11), engines=(engine,)) == "process 11"


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(held_by(), id="nobody is on it"),
        pytest.param(gpu(0, held(0, LLAMA)), id="a model has it"),
        pytest.param(
            held_by(41, instances=(GpuInstance(uuid="MIG-a", name="MIG 3g.40gb"),)),
            id="it is divided, and part of it is free",
        ),
    ],
)
def test_nobody_is_looked_for_on_a_gpu_that_needs_no_owner(view: GpuView) -> None:
    assert about("gpu 0", glance(view)) == []


# --- costs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "remedy"),
    [(NO_GPU, "see `owners:`, or watch it where its GPUs are"), (SPLIT, None)],
)
def test_a_cost_that_cannot_be_known_here_says_why_and_says_it_once(
    why: str, remedy: str | None
) -> None:
    told = findings(glance(gpu(0), **without_cost(why)))

    (line,) = [one for one in told if why in one.text]
    assert (line.subject, line.state, line.remedy) == (LLAMA, "missing", remedy)
    assert line.text == f"its cost per token is not known: {why}"


@pytest.mark.parametrize(
    "why",
    [
        "no token was generated lately",
        f"no price is known for {H100}: set prices.gpu_dollars_per_hour",
    ],
)
def test_what_one_look_cannot_know_or_another_line_says_is_no_finding(why: str) -> None:
    assert not [one for one in findings(glance(gpu(0), **without_cost(why))) if why in one.text]


# --- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_model", [{}, {LLAMA: Known(None, "the config", kv_format="fp8")}])
def test_a_model_of_which_nothing_is_known_says_why_and_what_would_help(
    by_model: dict[str, Known],
) -> None:
    library = Library(by_target={"vllm-8000": UNREAD}, by_model=by_model)
    seen = replace(glance(gpu(0)), library=library)

    line = about("vllm-8000", seen)[-1]

    assert (line.state, line.engine) == ("missing", "vllm")
    assert line.text == f"how far it is from what its GPUs allow cannot be told: {UNREAD.source}"
    assert line.remedy == "say what llama-3.3-70b is under `model_facts:`"


@pytest.mark.parametrize(
    "library",
    [
        pytest.param(Library(), id="nobody has looked"),
        pytest.param(
            Library(by_target={"vllm-8000": Known(models.facts("llama-3.1-8b"), "a file")}),
            id="it is known",
        ),
        pytest.param(
            Library(by_target={"vllm-8000": UNREAD}, by_model={LLAMA: Known(None, "the config")}),
            id="a person has stated it",
        ),
        pytest.param(Library(by_target={"other": UNREAD}), id="of another target"),
    ],
)
def test_a_model_that_is_known_stated_or_not_looked_for_needs_no_word(library: Library) -> None:
    assert [one.state for one in about("vllm-8000", replace(glance(gpu(0)), library=library))] == [
        "ok"
    ]


def test_lines_fit_80_columns() -> None:
    gpus = held_by(41), gpu(1, name="NVIDIA GB300")
    seen = replace(
        glance(*gpus, **without_cost(SPLIT)), library=Library(by_target={"vllm-8000": UNREAD})
    )

    told = reports.findings(findings(seen))

    assert [line for line in told.splitlines() if len(line) > 80] == []
