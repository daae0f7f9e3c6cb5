"""Objectives from engines' own metrics: the dialects against a real Prometheus with a past.

What is expected is what each engine was made to count in five minutes, which are ten scrapes.
"""

from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import pytest

from burnmeter import sli
from burnmeter.dialects import load_all
from burnmeter.errors import PageError
from burnmeter.histograms import add
from burnmeter.model import Growth, Objective
from burnmeter.normalise import normalise
from burnmeter.page import parse_series, read_page
from burnmeter.planning import plan
from burnmeter.provision.engine_counts import from_engines
from burnmeter.provision.history import Asked, Refused, grid
from burnmeter.provision.prometheus_api import Prometheus
from tests.promhistory import START, Counter, prometheus

SECONDS = 2 * 3600
LOOK = START + SECONDS
ERRORS = Objective(name="errors", indicator="errors", objective_ratio=0.99)
TTFT = Objective(name="ttft", indicator="ttft", objective_ratio=0.95, threshold_seconds=1.0)
ITL = Objective(name="itl", indicator="itl", objective_ratio=0.95, threshold_seconds=0.1)
UP = Objective(name="up", indicator="availability", objective_ratio=0.99)


def series(name: str, instance: str, each: float, **labels: str) -> Counter:
    return Counter(name, {"job": "llm", "instance": instance, **labels}, lambda _: each)


def histogram(
    name: str, instance: str, buckets: dict[str, float], each: float, **labels: str
) -> Iterator[Counter]:
    """`buckets`: bound -> how many more are at or below it with each scrape."""
    for le, below in {**buckets, "+Inf": each}.items():
        yield series(f"{name}_bucket", instance, below, le=le, **labels)
    yield series(f"{name}_count", instance, each, **labels)


def vllm(instance: str) -> Iterator[Counter]:
    """Two names of the same gaps on one page; HTTP errors without a model."""
    ours = {"model_name": "qwen"}
    for name in ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"):
        yield from histogram(name, instance, {"0.1": 90.0}, 100.0, **ours)
    for reason, each in (("stop", 8.0), ("length", 2.0), ("abort", 5.0), ("error", 1.0)):
        yield series("vllm:request_success_total", instance, each, finished_reason=reason, **ours)
    for handler, status in (("/v1/completions", "5xx"), ("/v1/completions", "2xx"), ("/x", "5xx")):
        yield series("http_requests_total", instance, 2.0, handler=handler, status=status)


def past() -> Iterator[Counter]:
    yield from vllm("v1")
    # Another version of the same engine, with the older name and other buckets only.
    old = "vllm:time_per_output_token_seconds"
    yield from histogram(old, "v0", {"0.05": 40.0, "0.25": 70.0}, 100.0, model_name="qwen")
    # Four ranks tell the same of SGLang.
    for rank in ("0", "1", "2", "3"):
        ours = {"model_name": "/models/glm", "tp_rank": rank}
        ttft = "sglang:time_to_first_token_seconds"
        yield from histogram(ttft, "s", {"0.8": 5.0, "1.0": 6.0}, 10.0, **ours)
    # Failures that may be cancellations.
    name = {"model_name": "deepseek"}
    success = "lmdeploy:request_success_total"
    yield series(success, "l", 9.0, finished_reason="RequestEventType.FINISH", **name)
    yield series("lmdeploy:num_requests_failed", "l", 1.0, **name)
    # A stranger's server with a route of the same name, and an engine with a mean only.
    yield series("http_requests_total", "web", 7.0, handler="/v1/completions", status="5xx")
    for name_ in ("llamacpp:tokens_predicted_seconds_total", "llamacpp:tokens_predicted_total"):
        yield series(name_, "c", 1.0)
    # A gateway before one of them, and before a model that no engine's metrics are scraped of.
    for model in ("qwen", "remote"):
        ours = {"requested_model": model, "route": "/v1/chat/completions"}
        proxy = "litellm_proxy_total_requests_metric_total"
        for code, each in (("200", 20.0), ("500", 4.0)):
            yield series(proxy, "gw", each, status_code=code, **ours)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(tmp_path_factory.mktemp("engines"), past(), SECONDS) as url:
        yield Prometheus(url)


class Told(NamedTuple):
    """Of five minutes."""

    source: str
    valid: float
    bad_lower: float
    bad_upper: float


def asked(client: Prometheus, objective: Objective, *, model: str | None = None) -> Asked | Refused:
    span = grid([objective], begin_seconds=START, end_seconds=LOOK, step_seconds=60.0)
    (found,) = from_engines(
        client,
        [objective],
        span,
        dialects=load_all(),
        models={"/models/glm": "glm"},
        model=model,
    )
    return found


def told(client: Prometheus, objective: Objective) -> dict[str, Told]:
    """Our model -> what was counted of it in the last five minutes."""
    found: dict[str, Told] = {}
    answer = asked(client, objective)
    assert isinstance(answer, Asked), answer
    for part in answer.parts:
        counts: dict[str, list[float]] = {}
        for text in (part.counted.valid, part.counted.bad_lower, part.counted.bad_upper):
            for series_ in client.instant(text(300.0), LOOK):
                model = part.name(series_.labels)
                if model in part.models:
                    counts.setdefault(model, []).append(round(series_.points[0][1], 3))
        found |= {model: Told(part.source, *numbers) for model, numbers in counts.items()}
    return found


def test_a_target_counts_once_under_the_newest_of_its_names(client: Prometheus) -> None:
    # v1: 1000 of which 100 above 0.1. v0 has no such bound: of its 1000 at least 300 are above
    # 0.25, and at most 600 above 0.05.
    assert told(client, ITL) == {"qwen": Told("vLLM", 2000.0, 400.0, 700.0)}


def test_copies_of_a_rank_are_one_and_the_config_names_the_model(client: Prometheus) -> None:
    assert told(client, TTFT)["glm"] == Told("SGLang", 100.0, 40.0, 40.0)


def test_errors_have_the_witnesses_of_the_dialect(client: Prometheus) -> None:
    found = told(client, ERRORS)

    # 100 went well; the engine saw 10 fail and HTTP 20, which may be others: no stranger's.
    # Cancelled ones are no verdict, nor is another route.
    assert found["qwen"] == Told("vLLM", 130.0, 20.0, 30.0)
    # What may be a cancellation is not certainly bad.
    assert found["deepseek"] == Told("LMDeploy", 100.0, 0.0, 10.0)


def test_a_gateway_tells_only_of_models_that_no_engine_tells_of(client: Prometheus) -> None:
    found = told(client, ERRORS)

    assert found["remote"] == Told("LiteLLM", 240.0, 40.0, 40.0)
    assert found["qwen"].source == "vLLM"


def test_what_no_engine_tells_is_refused_by_name(client: Prometheus) -> None:
    found = asked(client, UP)
    assert isinstance(found, Refused)
    assert found.reason.startswith("engines' own metrics end with the engine, and `up` tells")

    queue = Objective(name="q", indicator="queue", objective_ratio=0.9, threshold_seconds=1.0)
    found = asked(client, queue)
    assert isinstance(found, Refused)
    assert "vLLM: no history of it" in found.reason
    assert "llama.cpp: " in found.reason


def test_a_mean_judges_nothing(client: Prometheus) -> None:
    found = asked(client, ITL)
    assert isinstance(found, Asked)
    assert [part.source for part in found.parts] == ["vLLM"]


def test_only_the_wanted_model_is_asked_for(client: Prometheus) -> None:
    found = asked(client, ERRORS, model="remote")
    assert isinstance(found, Asked)
    assert [(part.source, set(part.models)) for part in found.parts] == [("LiteLLM", {"remote"})]

    missing = asked(client, ERRORS, model="nobody")
    assert missing == Refused(ERRORS, "no engine has counted it of nobody")


def test_a_threshold_above_every_bucket_leaves_what_is_late_unknown(client: Prometheus) -> None:
    slow = Objective(name="t", indicator="ttft", objective_ratio=0.95, threshold_seconds=50.0)

    # Four of ten were above the last bound, 1: perhaps below 50, perhaps not.
    assert told(client, slow)["glm"] == Told("SGLang", 100.0, 0.0, 40.0)


def test_a_threshold_below_every_bucket_leaves_what_is_good_unknown(client: Prometheus) -> None:
    fast = Objective(name="t", indicator="ttft", objective_ratio=0.95, threshold_seconds=0.1)

    assert told(client, fast)["glm"] == Told("SGLang", 100.0, 50.0, 100.0)


# --- every engine that was ever recorded ----------------------------------------------------------

FOLDER = Path(__file__).parent / "fixtures" / "engines"
PAGES = sorted(page for page in FOLDER.rglob("*.prom") if "before" not in page.stem)
FLEET_SECONDS = 330
OBJECTIVES = [
    ERRORS,
    *(
        Objective(name=indicator, indicator=indicator, objective_ratio=0.95, threshold_seconds=1.0)
        for indicator in ("ttft", "itl", "tpot", "duration", "queue")
    ),
]
REFUSED = ("fireworks/", "triton/")
"""Rates, and stages of one request: see engine_counts.py."""
NO_FAILURES = ("kserve/", "trtllm/")
"""Pages with nothing that counts failed requests."""
ONLY_HERE = {("envoy/history/0.3.prom", "duration", "qwen2.5:0.5b")}
"""A page without a bucket, in a fleet that has some: all of it may be late."""
Row = tuple[str, str, str]
"""Page, objective, model without its capitals: of a fleet one page may have them and one not."""


def job(page: Path) -> str:
    return str(page.relative_to(FOLDER))


def recorded(page: Path) -> Iterator[Counter]:
    """Each series of a recorded page as if it went on growing, by ten in five minutes."""
    for raw in dict.fromkeys(read_page(page.read_text()).series):
        name, labels = parse_series(raw)
        yield Counter(name, {**labels, "job": job(page), "instance": "i"}, lambda _: 1.0)


def by_an_agent(page: Path) -> dict[Row, tuple[float, float, float]]:
    """What an agent makes of the same growth: valid, certainly and perhaps bad."""
    found = read_page(page.read_text())
    try:
        layout = plan(found, load_all())
    except PageError:
        return {}
    grown = normalise(found._replace(values=[10.0] * len(found.series)), layout)
    growth = Growth(
        seconds=300.0,
        counters={key: sum(parts.values()) for key, parts in grown.counters.items()},
        histograms={key: reduce(add, parts.values()) for key, parts in grown.histograms.items()},
    )
    told = {}
    for objective in OBJECTIVES:
        for model in set(layout.models.values()):
            tally = sli.tally(objective, model, growth, sli.Slice(300.0, None))
            if tally is not None and tally.valid > 0:
                bad = tally.valid - tally.good_upper, tally.valid - tally.good_lower
                told[job(page), objective.name, (model or job(page)).lower()] = (tally.valid, *bad)
    return told


def by_prometheus(client: Prometheus) -> dict[Row, tuple[float, ...]]:
    """The same from the past, each vantage apart, so that no gateway gives way to an engine."""
    end = START + FLEET_SECONDS
    span = grid([ERRORS], begin_seconds=START, end_seconds=end, step_seconds=60.0)
    found: dict[Row, list[float]] = {}
    for vantage in ("engine", "gateway", "probe"):
        ours = {name: one for name, one in load_all().items() if one.vantage == vantage}
        for answer in from_engines(client, OBJECTIVES, span, dialects=ours, models={}):
            for part in answer.parts if isinstance(answer, Asked) else ():
                counted = part.counted
                texts = (counted.valid, counted.bad_lower, counted.bad_upper)
                for number, text in enumerate(texts):
                    for one in client.instant(text(300.0), end):
                        model = part.name(one.labels).lower()
                        row = one.labels["job"], answer.objective.name, model
                        counts = found.setdefault(row, [0.0, 0.0, 0.0])
                        counts[number] += one.points[0][1]
    return {row: tuple(counts) for row, counts in found.items()}


def test_a_backtest_counts_what_an_agent_counts_on_every_recorded_page(
    tmp_path: Path,
) -> None:
    past = [one for page in PAGES for one in recorded(page)]
    expected = {
        row: counts
        for page in PAGES
        for row, counts in by_an_agent(page).items()
        if not row[0].startswith(REFUSED)
        and (row[1] != "errors" or not row[0].startswith(NO_FAILURES))
    }

    with prometheus(tmp_path, past, FLEET_SECONDS) as url:
        found = by_prometheus(Prometheus(url))

    assert len(expected) > 400
    assert found.keys() - expected.keys() == ONLY_HERE
    assert expected.keys() - found.keys() == set()
    for row, counts in expected.items():
        assert found[row] == pytest.approx(counts, abs=0.01), row
