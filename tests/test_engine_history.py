"""Which names, labels and buckets of an engine a Prometheus has history of."""

from collections.abc import Iterator

import pytest

from burnmeter.dialects import load_all
from burnmeter.model import Objective
from burnmeter.provision.engine_history import Stored, marks, word
from burnmeter.provision.history import grid
from burnmeter.provision.prometheus_api import Prometheus
from tests.promhistory import START, Counter, prometheus

DIALECTS = load_all()
VLLM, TRTLLM, NIM = DIALECTS["vllm"], DIALECTS["trtllm"], DIALECTS["nim"]
PIPE = "|"
SECONDS = 3600
ANY = Objective(name="errors", indicator="errors", objective_ratio=0.99)
TTFT = "vllm:time_to_first_token_seconds"


def past() -> Iterator[Counter]:
    for instance, bounds in (("a", ("0.5", "1")), ("b", ("0.5", "1.0")), ("c", ("0.25", "4"))):
        target = {"job": "llm", "instance": instance, "model_name": "m"}
        for le in (*bounds, "+Inf"):
            yield Counter(f"{TTFT}_bucket", {**target, "le": le}, lambda _: 1.0)
        yield Counter(f"{TTFT}_count", target, lambda _: 1.0)
        for reason in ("stop", "a|b", "error"):
            more = {**target, "finished_reason": reason}
            yield Counter("vllm:request_success_total", more, lambda _: 1.0)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    span = grid([ANY], begin_seconds=START, end_seconds=START + SECONDS, step_seconds=60.0)
    with prometheus(tmp_path_factory.mktemp("stored"), past(), SECONDS) as url:
        yield Stored(Prometheus(url), span)


def test_names_are_those_that_have_history(stored: Stored) -> None:
    assert stored.names(VLLM) == {f"{TTFT}_bucket", f"{TTFT}_count", "vllm:request_success_total"}
    assert stored.names(NIM) == frozenset()
    assert stored.targets(VLLM) == {"a", "b", "c"}
    assert stored.targets(NIM) == frozenset()


def test_a_pattern_becomes_the_values_that_fit_it(stored: Stored) -> None:
    measure = VLLM.measures["requests_total"]
    (ok, error) = (rule for rule in measure.rules[:2])

    # Prometheus knows no `(?!...)`; a value's own signs mean themselves.
    assert stored.selector(VLLM, measure, ok, "vllm:request_success_total") == (
        'vllm:request_success_total{finished_reason=~"|a\\\\|b|stop"}'
    )
    assert stored.selector(VLLM, measure, error, "vllm:request_success_total") == (
        'vllm:request_success_total{finished_reason=~"error"}'
    )


def test_what_fits_no_value_has_no_series(stored: Stored) -> None:
    measure = VLLM.measures["requests_total"]
    http = next(rule for rule in measure.rules if rule.names == ("http_requests_total",))

    assert stored.selector(VLLM, measure, http, "http_requests_total") is None


def test_a_bound_has_all_its_spellings_in_base_units(stored: Stored) -> None:
    assert stored.bounds(f"{TTFT}_bucket", 1.0) == {
        0.25: ("0.25",),
        0.5: ("0.5",),
        1.0: ("1", "1.0"),
        4.0: ("4",),
    }
    assert list(stored.bounds(f"{TTFT}_bucket", 0.001)) == [0.00025, 0.0005, 0.001, 0.004]


def test_only_bounds_that_some_series_needs_are_looked_at(stored: Stored) -> None:
    bounds = stored.bounds(f"{TTFT}_bucket", 1.0)
    at = {b: f'{TTFT}_bucket{{le=~"{PIPE.join(texts)}"}}' for b, texts in bounds.items()}

    assert stored.nearest(f"{TTFT}_count", at, [1.0, 0.5, 0.25]) == (1.0, 0.25)
    assert stored.nearest(f"{TTFT}_count", at, [1.0, 4.0]) == (1.0, 4.0)
    assert stored.nearest(f'{TTFT}_count{{instance="a"}}', at, [1.0, 4.0]) == (1.0,)


def test_a_name_that_others_write_too_marks_nobody() -> None:
    assert marks(VLLM, "http_requests_total") == []
    assert len(marks(VLLM, f"{TTFT}_count")) == 1
    (bare,) = marks(TRTLLM, "time_to_first_token_seconds_count")
    assert bare.labels == ("engine_type", "model_name")


def test_a_model_without_a_name_is_called_as_its_job() -> None:
    assert word(VLLM, {"model_name": "m", "job": "j"}) == "m"
    assert word(VLLM, {"model": "inside", "job": "j"}) == "inside"
    assert word(DIALECTS["tgi"], {"job": "j"}) == "j"
    assert word(TRTLLM, {"model_name": "undefined", "job": "j"}) == "j"
