"""What doctor makes of one look: which line, in which state, with which remedy."""

from dataclasses import replace
from typing import Any

import pytest

from burnmeter import reports
from burnmeter.config_probes import Probe
from burnmeter.doctor import Finding, Glance, findings
from burnmeter.model import EngineProcess, Failure, Histogram, Key, Objective, ProcessReading
from burnmeter.snapshot import ModelView, Snapshot, TargetView
from tests import snapshots
from tests.snapshot_parts import burn, model, target

LOOKED = ProcessReading(at_seconds=0.0, timestamp_seconds=0.0, duration_seconds=0.0)
REFUSED = Failure("refused", "nothing listens on 127.0.0.1:30000; is the engine running?")
NOT_FOUND = Failure("http", "http://127.0.0.1:30000/metrics answers 404 Not Found")
TTFT = "ttft_seconds"
VLLM_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2560.0)


def process(pid: int = 41, engine: str = "sglang", **changes: Any) -> EngineProcess:
    """An SGLang that was started without its switch."""
    value = EngineProcess(
        pid=pid,
        pids=frozenset({pid, pid + 1}),
        engine=engine,
        title=None,
        port=30000,
        is_read=True,
        shows_metrics=False,
        remedy="start SGLang with --enable-metrics",
    )
    return replace(value, **changes)


def glance(*targets: TargetView, **changes: Any) -> Glance:
    """A machine without GPUs; each target serves the model that it says."""
    views = tuple(model(view.model or "", targets=(view.target,)) for view in targets)
    snapshot = snapshots.empty(targets=targets, models=views)
    value = Glance(gpus=None, processes=LOOKED, engines=(), snapshot=snapshot)
    return replace(value, **changes)


def about(subject: str, seen: Glance) -> list[Finding]:
    return [one for one in findings(seen) if one.subject == subject]


def sglang(**changes: Any) -> TargetView:
    given: dict[str, Any] = {"engine": "sglang", "version": "0.5.3", "model": "m", "pid": 41}
    given["url"] = "http://127.0.0.1:30000/metrics"
    return target("sglang-30000", **(given | changes))


def down(failure: Failure, **changes: Any) -> TargetView:
    return sglang(**({"is_up": False, "failure": failure, "engine": None} | changes))


# --- processes ------------------------------------------------------------------------------------


def test_a_process_whose_target_is_up_gets_no_line_of_its_own() -> None:
    seen = glance(sglang(pid=42), engines=(process(shows_metrics=True),))

    assert about("process 41", seen) == []
    assert [one.state for one in about("sglang-30000", seen)] == ["ok"]


def test_metrics_that_are_off_are_missing_with_the_exact_switch() -> None:
    (line,) = about("process 41", glance(engines=(process(),)))

    assert (line.state, line.engine, line.pid, line.port) == ("missing", "sglang", 41, 30000)
    assert line.text == "looks like SGLang on port 30000; its metrics are off, by its command line"
    assert line.remedy == "start SGLang with --enable-metrics"


def test_an_engine_without_a_page_is_named_as_what_it_is() -> None:
    ollama = process(
        engine="llamacpp", title="Ollama", is_read=False, port=11434, remedy="probe it"
    )

    (line,) = about("process 41", glance(engines=(ollama,)))

    assert line.text.startswith("looks like Ollama on port 11434; ")
    assert "no metrics page" in line.text
    assert line.remedy == "probe it"


@pytest.mark.parametrize(("port", "where"), [(8000, " on port 8000;"), (None, "vLLM;")])
def test_an_engine_that_shows_metrics_and_is_not_found_may_still_start(
    port: int | None, where: str
) -> None:
    (line,) = about(
        "process 41", glance(engines=(process(engine="vllm", shows_metrics=True, port=port),))
    )

    assert where in line.text
    assert "listens on no port that we can see" in line.text
    assert "look again" in (line.remedy or "")


def test_a_listener_above_the_engine_covers_it_by_its_port() -> None:
    seen = glance(sglang(pid=40), engines=(process(),))

    assert about("process 41", seen) == []


def test_a_target_on_another_machine_covers_no_process_here() -> None:
    seen = glance(sglang(pid=None), engines=(process(),))

    assert len(about("process 41", seen)) == 1


def test_unlisted_processes_are_nobodys_business_with_discovery_off() -> None:
    seen = glance(engines=(process(),), processes=None)

    assert about("process 41", seen) == []
    assert [one.text for one in about("engines", seen)] == ["no engine found"]


def test_no_engine_is_not_said_beside_one_that_is_not_read() -> None:
    assert about("engines", glance(engines=(process(),))) == []
    assert len(about("engines", glance())) == 1


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "shows_metrics", "remedy"),
    [
        (NOT_FOUND, False, "start SGLang with --enable-metrics"),
        (REFUSED, False, "start SGLang with --enable-metrics"),
        (
            NOT_FOUND,
            True,
            "if its metrics are off all the same: start SGLang with --enable-metrics",
        ),
        (REFUSED, True, None),
    ],
)
def test_a_target_that_is_down_gets_its_process_remedy(
    failure: Failure, shows_metrics: bool, remedy: str | None
) -> None:
    seen = glance(down(failure), engines=(process(shows_metrics=shows_metrics),))

    (line,) = about("sglang-30000", seen)

    assert (line.state, line.text, line.remedy) == ("wrong", failure.message, remedy)
    assert (line.engine, line.pid, line.port) == ("sglang", 41, 30000)


@pytest.mark.parametrize("shows_metrics", [False, True])
def test_a_remedy_that_the_failure_ends_with_is_said_once(shows_metrics: bool) -> None:
    off = "it answered HTTP 404; its metrics are probably off"
    failure = Failure("http", f"{off}: start SGLang with --enable-metrics")
    seen = glance(down(failure), engines=(process(shows_metrics=shows_metrics),))

    (line,) = about("sglang-30000", seen)

    assert (line.text, line.remedy) == (off, "start SGLang with --enable-metrics")


def test_a_target_that_is_down_and_has_no_process_here_gets_none() -> None:
    (line,) = about("sglang-30000", glance(down(REFUSED, pid=None), engines=(process(),)))

    assert (line.remedy, line.engine) == (None, None)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "SGLang 0.5.3 (engine) serving m at http://127.0.0.1:30000/metrics"),
        ({"version": None, "model": None}, "SGLang (engine) serving an unnamed model at "),
        ({"role": "prefill"}, "SGLang 0.5.3 (prefill) serving m"),
        ({"role": "prefill"}, "; prefill means: an SGLang prefill worker"),
        (
            {"engine": "litellm", "role": "gateway", "vantage": "gateway"},
            "; its requests are its engines', so they are never added to theirs",
        ),
        ({"role": "router"}, "; its numbers count for nothing here; router"),
        ({"engine": "vllm", "role": "simulator"}, "simulator means: the llm-d inference simulator"),
        (
            {"engine": "vllm_router", "role": "router", "vantage": "gateway"},
            "vLLM production-stack router 0.5.3 (router, counts as a gateway)",
        ),
    ],
)
def test_a_target_that_is_up_says_what_it_is(changes: dict[str, Any], text: str) -> None:
    line = about("sglang-30000", glance(sglang(**changes)))[0]

    assert line.state == "ok"
    assert text in line.text


def test_a_page_that_counts_for_nothing_serves_no_model() -> None:
    line = about("sglang-30000", glance(sglang(role="router", model=None)))[0]

    assert "serving" not in line.text


def test_who_started_an_engine_is_said_if_it_has_a_name_of_its_own() -> None:
    ollama = process(engine="llamacpp", title="Ollama")
    llama = replace(ollama, title="llama.cpp")
    view = sglang(engine="llamacpp", version="b11549")

    (started,) = about("sglang-30000", glance(view, engines=(ollama,)))
    (plain,) = about("sglang-30000", glance(view, engines=(llama,)))

    assert started.text.startswith("llama.cpp b11549 (engine, run as Ollama) serving m")
    assert plain.text.startswith("llama.cpp b11549 (engine) serving m")


def test_models_of_the_same_targets_miss_the_same_once() -> None:
    view = sglang()
    names = ("a", "b")
    models = [model(n, targets=(view.target,), not_available={"x": "no"}) for n in names]
    seen = glance(view)
    seen = replace(seen, snapshot=replace(seen.snapshot, models=tuple(models)))

    assert [one.text for one in about("sglang-30000", seen)[1:]] == ["x: no"]


# --- halves of a pair -----------------------------------------------------------------------------


def prefill(**changes: Any) -> TargetView:
    return target("first", role="prefill", model="m", **changes)


@pytest.mark.parametrize(
    "others",
    [
        (),
        (target("other", role="decode", model="n"),),
        (target("other", role="prefill", model="m"),),
        (target("other", role="engine", model="m"),),
    ],
)
def test_half_a_pair_whose_other_half_is_not_here_says_what_is_lost(
    others: tuple[TargetView, ...],
) -> None:
    told = about("first", glance(prefill(), *others))[1]

    assert told.state == "missing"
    assert told.text.startswith("its other half is not on this node: no decode server of m, which")
    assert "counts requests_total, " in told.text
    assert told.remedy is not None
    assert "`role: decode`" in told.remedy


@pytest.mark.parametrize(
    "other",
    [
        target("other", role="decode", model="m"),
        target("other", role="decode", model=None),
        target("other", role=None, model=None, is_up=False, failure=REFUSED),
    ],
)
def test_half_a_pair_beside_what_may_be_its_other_half_says_nothing(other: TargetView) -> None:
    assert len(about("first", glance(prefill(), other))) == 1


def test_a_role_that_the_engine_does_not_know_is_told() -> None:
    told = about("first", glance(prefill(engine="llamacpp")))[1]

    assert told.text == "llama.cpp knows no role `prefill`, so its numbers count whole"
    assert told.remedy == "remove its `role`"


def test_a_reason_for_many_measures_is_said_once() -> None:
    seen = glance(sglang())
    lacks = {"x": "no", "y": "its role", "z": "its role"}
    said = model("m", targets=("sglang-30000",), not_available=lacks)
    seen = replace(seen, snapshot=replace(seen.snapshot, models=(said,)))

    assert [one.text for one in about("sglang-30000", seen)[1:]] == ["x: no", "y, z: its role"]


# --- objectives -----------------------------------------------------------------------------------


def objective(threshold_seconds: float | None = 0.3, indicator: str = "ttft") -> Objective:
    return Objective(
        name="fast",
        indicator=indicator,
        objective_ratio=0.95,
        threshold_seconds=threshold_seconds,
    )


def judged(
    bounds: tuple[float, ...] | None = VLLM_BOUNDS,
    view: TargetView | None = None,
    probes: tuple[Probe, ...] = (),
    not_available: dict[str, str] | None = None,
    **changes: Any,
) -> list[Finding]:
    """The lines of one objective on one model; `bounds` are on the page, `changes` of the Burn."""
    view = view or target(model="m")
    said: ModelView = model("m", targets=(view.target,), engines=(view.engine or "",))
    said = replace(said, not_available=not_available or {})
    prefix = "" if view.vantage == "engine" else f"{view.vantage}_"
    key = Key(prefix + TTFT, (("engine", "x"), ("model", "m"), ("target", view.target)))
    read = Histogram(bounds or (), (0.0,) * len(bounds or ()), 0.0, 0.0)
    given = {"source": view.vantage, "objective": objective()} | changes
    snapshot: Snapshot = snapshots.empty(
        targets=(view,),
        models=(said,),
        burns=(burn("m", (None,) * 6, **given),),
        histograms={} if bounds is None else {key: read},
    )
    seen = Glance(gpus=None, processes=None, engines=(), snapshot=snapshot, probes=probes)
    return [one for one in findings(seen) if one.subject in ("slo fast", view.target)][1:]


@pytest.mark.parametrize("threshold_seconds", [0.1, 0.5, 2560.0])
def test_a_threshold_on_a_bound_of_the_page_needs_no_word(threshold_seconds: float) -> None:
    assert judged(objective=objective(threshold_seconds)) == []


@pytest.mark.parametrize(
    ("threshold_seconds", "place", "remedy"),
    [
        (0.3, "0.3 s lies between the bounds 0.25 and 0.5 s of vllm-8000", "0.25 or 0.5"),
        (0.05, "0.05 s lies below the first bound, 0.1 s, of vllm-8000", "0.1"),
        (3000.0, "3000 s lies above the last bound, 2560 s, of vllm-8000", "2560"),
    ],
)
def test_a_threshold_off_the_bounds_is_known_within_two_of_them(
    threshold_seconds: float, place: str, remedy: str
) -> None:
    (line,) = judged(objective=objective(threshold_seconds))

    assert (line.state, line.engine) == ("missing", "vllm")
    assert line.text == f"m: {place}: good is known only within bounds"
    assert line.remedy == (
        f"set its `threshold_seconds` to {remedy}, or give vLLM a bucket there: "
        "--custom-histogram-buckets, key time_to_first_token (0.32 and later)"
    )


def test_an_engine_without_a_flag_for_buckets_offers_none() -> None:
    view = target(engine="litellm", role="gateway", vantage="gateway", model="m")

    (line,) = judged(view=view)

    assert line.remedy == "set its `threshold_seconds` to 0.25 or 0.5"


def test_bounds_where_the_objective_is_not_counted_are_not_looked_at() -> None:
    assert judged(source="gateway") == []


def test_a_page_without_buckets_beside_others_is_named() -> None:
    (line,) = judged(bounds=())

    assert line.text == "m: not measured on vllm-8000: its page has no buckets of ttft_seconds"


def test_a_prefill_worker_lacks_nothing_that_its_decoder_counts() -> None:
    told = judged(bounds=None, view=target(role="prefill", model="m"))

    assert [one for one in told if one.subject == "slo fast"] == []


@pytest.mark.parametrize("indicator", ["ttft", "errors"])
def test_what_an_engine_never_measures_a_probe_or_a_gateway_brings(indicator: str) -> None:
    view = target("llamacpp-8080", engine="llamacpp", model="m")
    wanted = objective(None if indicator == "errors" else 0.3, indicator)

    (line,) = judged(None, view, source=None, objective=wanted, reason="llamacpp-8080: no")

    assert line.text == "m: not measured: llamacpp-8080: no"
    assert line.remedy is not None
    assert line.remedy.startswith("a probe of its endpoint, listed under `probes:`, or a gateway")
    assert "LiteLLM" in line.remedy


def test_a_probe_that_is_in_the_config_will_tell() -> None:
    view = target("llamacpp-8080", engine="llamacpp", model="m")
    probe = Probe(name="p", url="http://127.0.0.1:8080/v1/chat/completions", model="m")

    (told,) = judged(None, view, (probe,), source=None, not_available={TTFT: "a probe can"})
    (other,) = judged(None, view, (replace(probe, model="n"),), source=None)

    assert (told.state, told.remedy) == ("ok", None)
    assert told.text == "m: measured by the probe `p`, of which none is sent here"
    assert other.state == "missing"


def mixed(indicator: str, probes: tuple[Probe, ...], source: str | None = "engine") -> Glance:
    """A model on vLLM, which can tell, and on llama.cpp, which cannot."""
    views = (target(model="m"), target("llama", engine="llamacpp", model="m"))
    said = model("m", targets=("vllm-8000", "llama"), engines=("vllm", "llamacpp"))
    wanted = objective(0.5 if indicator == "ttft" else None, indicator)
    key = Key(TTFT, (("model", "m"), ("target", "vllm-8000")))
    read = Histogram(VLLM_BOUNDS, (0.0,) * len(VLLM_BOUNDS), 0.0, 0.0)
    snapshot = snapshots.empty(
        targets=views,
        models=(replace(said, not_available={}),),
        burns=(burn("m", (None,) * 6, objective=wanted, source=source),),
        histograms={key: read},
    )
    return Glance(gpus=None, processes=None, engines=(), snapshot=snapshot, probes=probes)


@pytest.mark.parametrize("source", ["engine", None])
@pytest.mark.parametrize("is_probed", [False, True])
@pytest.mark.parametrize("indicator", ["ttft", "errors"])
def test_half_of_a_models_engines_is_no_whole_and_a_probe_does_not_mend_it(
    indicator: str, is_probed: bool, source: str | None
) -> None:
    probe = Probe(name="p", url="http://127.0.0.1:8080/v1/chat/completions", model="m")

    (line,) = about("slo fast", mixed(indicator, (probe,) * is_probed, source))

    assert line.state == "missing"
    assert line.text.startswith("m: not measured")
    assert "probe" not in (line.remedy or "")
    if source is not None:
        assert "not measured on llama" in line.text
        assert (line.remedy or "").startswith("a gateway before it that counts it (")


def test_what_the_engine_can_count_needs_a_request_first() -> None:
    (line,) = judged(None, source=None, reason="vllm-8000: nothing yet")

    assert (line.remedy or "").startswith("send a request and look again")


def test_what_an_objective_lacks_is_told_in_its_line_alone() -> None:
    lacks = {TTFT: "no histogram", "queue_seconds": "no"}

    lines = judged(None, source=None, not_available=lacks, reason="vllm-8000: no histogram")

    assert [(line.subject, line.text) for line in lines] == [
        ("vllm-8000", "queue_seconds: no"),
        ("slo fast", "m: not measured: vllm-8000: no histogram"),
    ]


def test_failures_that_nobody_counts_have_a_line() -> None:
    why = "nothing on this page counts failed requests"

    (line,) = judged(not_available={"requests_total{outcome=error}": why}, objective=objective(0.5))

    assert (line.state, line.text) == ("missing", f"requests_total{{outcome=error}}: {why}")


def test_an_objective_of_a_model_that_is_down_waits_for_its_engine() -> None:
    view = target(model="m", is_up=False, failure=REFUSED)

    assert judged(None, view, source=None) == []


def test_lines_fit_80_columns() -> None:
    seen = glance(
        sglang(engine="litellm", vantage="gateway"),
        engines=(process(51, pids=frozenset({51}), port=1),),
    )
    told = reports.findings((*findings(seen), *judged(objective=objective(0.3))))

    assert [line for line in told.splitlines() if len(line) > 80] == []
    assert "-> start SGLang with --enable-metrics" in told
