"""/metrics: example Snapshots as text, judged by the catalogue, by Prometheus's own parser and
linter, and by one expected file. A real Prometheus over a real agent is in test_running.py.
"""

import math
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from burnmeter import catalog
from burnmeter.export import prometheus
from burnmeter.loop import Agent
from burnmeter.model import Failure, Histogram, Key
from burnmeter.snapshot import Signature, Snapshot
from tests import snapshots
from tests.fakes_world import agent
from tests.parts import program
from tests.snapshot_parts import alertmanager, model, signature, target

GOLDEN = Path(__file__).parent / "golden" / "metrics.prom"
CATALOGUE = catalog.metrics()
WHO = (("engine", "vllm"), ("model", "m"), ("target", "t"))


class Line(NamedTuple):
    """One sample of a page, and the family it stands in."""

    family: Metric
    name: str
    labels: dict[str, str]
    value: float

    @property
    def metric(self) -> catalog.Metric:
        """The catalogue's entry; the parser drops a counter's `_total` from its family."""
        ending = "_total" if self.family.type == "counter" else ""
        return CATALOGUE[self.family.name + ending]


def lines(snapshot: Snapshot) -> Iterator[Line]:
    """Every sample that leaves for a Snapshot, as a scraper reads it."""
    for family in text_string_to_metric_families(prometheus.render(snapshot).decode()):
        for sample in family.samples:
            yield Line(family, sample.name, sample.labels, sample.value)


def found(snapshot: Snapshot, name: str, **labels: str) -> list[float]:
    """Values of the series of that name that have these labels."""
    return [
        line.value
        for line in lines(snapshot)
        if line.name == name and labels.items() <= line.labels.items()
    ]


def ticked() -> Snapshot:
    """What a real agent makes of a recorded page."""
    made: Agent = agent()
    made.tick()
    return made.tick()


EXAMPLES = {**snapshots.ALL, "ticked": ticked}
each_example = pytest.mark.parametrize("name", EXAMPLES)


# --- the catalogue ---------------------------------------------------------------------------


@each_example
def test_every_name_and_kind_is_the_catalogues(name: str) -> None:
    for line in lines(EXAMPLES[name]()):
        assert line.family.type == line.metric.kind
        assert line.family.documentation == line.metric.help


@each_example
def test_every_series_has_exactly_the_catalogues_labels(name: str) -> None:
    # Asked of the rows, for the page would have dropped one too many and blanked one too few.
    for metric, labels, _ in prometheus.rows(EXAMPLES[name]()):
        assert set(labels) == set(CATALOGUE[metric].labels), metric


@each_example
def test_no_series_is_there_twice(name: str) -> None:
    keys = [(line.name, tuple(sorted(line.labels.items()))) for line in lines(EXAMPLES[name]())]

    assert len(keys) == len(set(keys))


@each_example
def test_every_row_arrives_with_its_value(name: str) -> None:
    snapshot = EXAMPLES[name]()
    extra = {"simulated": "true"} if snapshot.is_simulated else {}

    expected = [
        (series, sorted({**labels, **extra}.items()), repr(value))
        for series, labels, value in prometheus.rows(snapshot)
        if isinstance(value, float)
    ]

    arrived = [
        (line.name, sorted(line.labels.items()), repr(line.value))
        for line in lines(snapshot)
        if line.family.type != "histogram"
    ]
    assert sorted(arrived) == sorted(expected)


def test_families_come_in_the_catalogues_order() -> None:
    order = list(dict.fromkeys(line.metric.name for line in lines(snapshots.burning())))

    assert order == [name for name in CATALOGUE if name in order]


# --- values ------------------------------------------------------------------------------------


def test_what_is_not_known_is_not_written_and_0_is() -> None:
    snapshot = snapshots.not_measured()

    assert found(snapshot, "burnmeter_target_age_seconds") == []
    assert found(snapshot, "burnmeter_target_stalled") == []
    assert found(snapshot, "burnmeter_source_age_seconds", source="gpus") == []
    assert found(snapshot, "burnmeter_target_up") == [0.0]
    assert found(snapshot, "burnmeter_late_ticks_total") == [0.0]
    assert b"None" not in prometheus.render(snapshot)


def test_a_lost_gpu_has_no_readings_but_is_seen_to_be_lost() -> None:
    snapshot = snapshots.burning()
    lost = next(view.gpu.uuid for view in snapshot.gpus if view.gpu.failure is not None)

    assert found(snapshot, "burnmeter_gpu_up", gpu=lost) == [0.0]
    assert found(snapshot, "burnmeter_gpu_power_watts", gpu=lost) == []
    assert len(found(snapshot, "burnmeter_gpu_power_watts")) == len(snapshot.gpus) - 1


def test_a_failure_says_its_kind_and_a_success_says_none() -> None:
    snapshot = snapshots.burning()

    assert found(snapshot, "burnmeter_target_failure") == [1.0]
    assert found(snapshot, "burnmeter_target_failure", target="vllm-8002", kind="refused") == [1.0]
    down = snapshots.not_measured()
    assert found(down, "burnmeter_source_up", source="gpus", kind="no_permission") == [0.0]
    assert found(snapshot, "burnmeter_source_up", source="gpus", kind="") == [1.0]


def test_buckets_are_cumulative_and_end_with_the_count() -> None:
    latency = Histogram((0.5, 1.0, 2.5), (3.0, 4.0, 4.0), 5.0, 2.25)

    snapshot = snapshots.empty(histograms={Key("ttft_seconds", WHO): latency})

    name = "burnmeter_ttft_seconds"
    buckets = {
        line.labels["le"]: line.value for line in lines(snapshot) if line.name == f"{name}_bucket"
    }
    assert buckets == {"0.5": 3.0, "1.0": 4.0, "2.5": 4.0, "+Inf": 5.0}
    assert (*found(snapshot, f"{name}_count"), *found(snapshot, f"{name}_sum")) == (5.0, 2.25)


def test_a_histogram_without_a_sum_is_written_without_one() -> None:
    latency = Histogram((0.5,), (3.0,), 5.0, None)

    snapshot = snapshots.empty(histograms={Key("ttft_seconds", WHO): latency})

    assert found(snapshot, "burnmeter_ttft_seconds_bucket", le="+Inf") == [5.0]
    assert found(snapshot, "burnmeter_ttft_seconds_sum") == []


@each_example
def test_histograms_rise_from_bucket_to_bucket(name: str) -> None:
    before: dict[tuple[tuple[str, str], ...], float] = {}
    for line in lines(EXAMPLES[name]()):
        if line.name.endswith("_bucket"):
            rest = {label: text for label, text in line.labels.items() if label != "le"}
            which = (("", line.name), *sorted(rest.items()))
            assert line.value >= before.get(which, 0.0)
            before[which] = math.inf if line.labels["le"] == "+Inf" else line.value
    assert all(last == math.inf for last in before.values())


def test_large_counts_lose_no_unit() -> None:
    key = Key("tokens_total", (WHO[0], ("kind", "generated"), *WHO[1:]))

    snapshot = snapshots.empty(counters={key: 9_007_199_254_740_991.0})

    assert found(snapshot, "burnmeter_tokens_total") == [9_007_199_254_740_991.0]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(300.0, "5m"), (3600.0, "1h"), (21600.0, "6h"), (259200.0, "3d"), (100.0, "100s")],
)
def test_windows_are_written_as_prometheus_writes_them(seconds: float, written: str) -> None:
    assert prometheus.duration(seconds) == written


def test_an_alertmanager_that_was_sent_nothing_yet_is_neither_up_nor_down() -> None:
    quiet = alertmanager(is_up=None, active=0, sent=0, failed=0)
    failed = alertmanager(url="http://b", is_up=False, failure=Failure("timeout", "slow"))
    snapshot = snapshots.empty(alertmanagers=(quiet, failed))

    assert found(snapshot, "burnmeter_alertmanager_up") == [0.0]
    assert found(snapshot, "burnmeter_alerts_active") == [0.0, 1.0]
    assert found(snapshot, "burnmeter_alerts_failed_total", url="http://b") == [2.0]


def test_a_target_that_rests_is_neither_up_nor_down() -> None:
    resting = target(is_up=False, failure=Failure("disabled", "it rests until 00:00 UTC"))
    snapshot = snapshots.empty(targets=(resting,))

    assert found(snapshot, "burnmeter_target_up", target="vllm-8000") == []
    assert found(snapshot, "burnmeter_target_failure", kind="disabled") == [1.0]


# --- why a token costs that ------------------------------------------------------------------


SIGNATURE = "burnmeter_signature_"


def signed(made: Signature | None) -> dict[tuple[str, ...], float]:
    """The series of one model's signature: name and labels' values -> value."""
    snapshot = snapshots.empty(models=(model("m", signature=made),))
    return {
        (line.name.removeprefix(SIGNATURE), *map(line.labels.__getitem__, sorted(line.labels))): (
            line.value
        )
        for line in lines(snapshot)
        if line.name.startswith(SIGNATURE)
    }


def test_a_signature_is_one_series_a_factor_whose_product_is_the_cost() -> None:
    made = signed(signature(1.38, 0.988))

    assert list(made) == [
        ("price_dollars_per_second", "m"),
        ("power_watts", "m"),
        ("factor_ratio", "idle", "measured", "m"),
        ("factor_ratio", "prefill", "assumed", "m"),
        ("factor_ratio", "stack", "assumed", "m"),
        ("factor_ratio", "batch", "assumed", "m"),
        ("seconds_per_token", "model", "assumed", "m"),
    ]
    (price, power), shared = list(made.values())[:2], list(made.values())[2:]
    assert price * math.prod(shared) == pytest.approx(1.38e-6)
    assert power * math.prod(shared) == pytest.approx(0.988)


def test_without_a_price_a_signature_is_of_energy_alone_and_no_factor_is_there_twice() -> None:
    made = signed(signature(None, 0.988))

    assert ("price_dollars_per_second", "m") not in made
    assert len(made) == 6
    assert math.prod(made.values()) == pytest.approx(0.988)


def test_without_energy_a_signature_is_of_cost_alone() -> None:
    made = signed(signature(1.38, None))

    assert ("power_watts", "m") not in made
    assert math.prod(made.values()) == pytest.approx(1.38e-6)


def test_a_model_without_a_signature_has_no_series_of_one() -> None:
    assert signed(None) == {}


def test_every_unit_of_a_factor_has_a_metric_with_these_labels() -> None:
    for rest, labels in prometheus.FACTORS.values():
        assert set(CATALOGUE[SIGNATURE + rest].labels) == set(labels)


# --- words from outside ------------------------------------------------------------------------


def test_hostile_words_arrive_unchanged_and_begin_no_line_of_their_own() -> None:
    snapshot = snapshots.hostile()
    text = snapshots.HOSTILE

    assert found(snapshot, "burnmeter_target_up", target=text, engine=text, model=text) == [0.0]
    assert found(snapshot, "burnmeter_build_info", version=text) == [1.0]
    page = prometheus.render(snapshot).decode()
    assert all(line.startswith(("#", "burnmeter_")) for line in page.splitlines())


@pytest.mark.parametrize("word", ['"', "\\", "\n", "\\n", 'a="b"} 1', "é 火", ""])
def test_any_word_can_be_a_label(word: str) -> None:
    snapshot = snapshots.empty(targets=(target(word),))

    assert found(snapshot, "burnmeter_target_restarts_total", target=word) == [0.0]


def test_a_word_that_is_no_unicode_costs_a_letter_and_not_the_page() -> None:
    # A command line is bytes; what of it is not UTF-8 reaches us as a lone surrogate.
    snapshot = snapshots.empty(targets=(target("model-\udcff"),))

    assert found(snapshot, "burnmeter_target_restarts_total", target="model-?") == [0.0]


def test_a_simulated_node_says_so_on_every_series() -> None:
    simulated = list(lines(snapshots.simulated()))

    assert {line.labels.get("simulated") for line in simulated} == {"true"}
    assert len(simulated) == len(list(lines(snapshots.burning())))
    assert all("simulated" not in line.labels for line in lines(snapshots.burning()))


# --- the linter and the expected file --------------------------------------------------------


@each_example
def test_promtool_finds_nothing(name: str) -> None:
    promtool = program("promtool", package="prometheus")
    page = prometheus.render(EXAMPLES[name]())

    result = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True)

    assert (result.stdout + result.stderr).decode() == ""
    assert result.returncode == 0


def test_the_page_is_the_expected_one(accept: bool) -> None:
    page = prometheus.render(replace(snapshots.burning(), version="0.0.0"))
    if accept:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_bytes(page)

    assert page.decode() == GOLDEN.read_text(), "if this is meant: pytest --accept"
