"""Which of our indicators two sums of counters are; the refusals are in fixtures/slo_files."""

import re

import pytest

from burnmeter import dialects
from burnmeter.slo_meanings import Indicator, Known, Series, judge, meant
from burnmeter.slo_queries import QuantileError, QueryError, read_sum

SERIES = dialects.series_known()
TOY: Known = {
    "toy_wait_ms": (Series("toy", "engine", ("model_name",), "queue", 0.001),),
    "toy_done_total": (
        Series(
            *("toy", "engine", ("model_name",)),
            outcomes=(
                ({"code": re.compile("2..")}, "ok"),
                ({"code": re.compile("5..")}, "error"),
                ({"code": re.compile("4..")}, "rejected"),
            ),
        ),
    ),
}


def counted(good: str, total: str, *, known: Known = TOY, is_good: bool = True) -> Indicator:
    """What two sums of rates are; in each a name stands for its rate."""
    part, whole = (read_sum(text, is_plain=True) for text in (good, total))
    return judge(part, whole, is_good=is_good, known=known)


def refused(good: str, total: str, *, is_good: bool = True) -> str:
    with pytest.raises(QueryError) as raised:
        counted(good, total, is_good=is_good)
    return str(raised.value)


def test_a_threshold_comes_in_seconds() -> None:
    found = counted('toy_wait_ms_bucket{le="300"}', "toy_wait_ms_count")

    assert found == Indicator("queue", 0.3)


def test_the_whole_may_be_the_last_bucket() -> None:
    found = counted('toy_wait_ms_bucket{le="300"}', 'toy_wait_ms_bucket{le="+Inf"}')

    assert found == Indicator("queue", 0.3)


@pytest.mark.parametrize(
    ("matcher", "model"),
    [
        ('model_name="a/b"', "a/b"),
        (r'model_name=~"a\\.b"', "a.b"),
        ('model_name=~".*"', None),
        ('model_name!=""', None),
    ],
)
def test_one_model_or_each(matcher: str, model: str | None) -> None:
    found = counted(f'toy_wait_ms_bucket{{le="300", {matcher}}}', f"toy_wait_ms_count{{{matcher}}}")

    assert found == Indicator("queue", 0.3, model=model)


@pytest.mark.parametrize("matcher", ['model_name!="a"', 'model_name=~"a|b"', 'model_name=~"a.*"'])
def test_some_models_are_not_one(matcher: str) -> None:
    says = refused(f'toy_wait_ms_bucket{{le="300", {matcher}}}', f"toy_wait_ms_count{{{matcher}}}")

    assert says == (
        f"`{matcher}`: an objective is of one model, or of each; write one for each model, or"
        " leave the label out"
    )


@pytest.mark.parametrize(
    ("good", "total", "says"),
    [
        (
            'toy_wait_ms_bucket{le="300"}',
            "2 * toy_wait_ms_count",
            "`*` counts no events; only sums and differences are read",
        ),
        (
            'toy_wait_ms_bucket{le="300"}',
            "toy_wait_ms_count + toy_wait_ms_count",
            "has a total that is not all requests; write the histogram's _count",
        ),
        (
            'toy_wait_ms_bucket{le="300"}',
            'toy_wait_ms_bucket{le="500"}',
            "has a total that is not all requests; write the histogram's _count",
        ),
        (
            'toy_wait_ms_bucket{le="300"}',
            "toy_done_total",
            "`toy_done_total` is counted beside a latency, and is none",
        ),
        (
            'toy_wait_ms_bucket{le="300"} + burnmeter_ttft_seconds_bucket{le="0.3"}',
            "toy_wait_ms_count + burnmeter_ttft_seconds_count",
            "adds up different latencies or thresholds (queue 0.3, ttft 0.3); write one for each",
        ),
        (
            'toy_wait_ms_bucket{le="300"} + toy_wait_ms_bucket{le="500"}',
            "toy_wait_ms_count",
            "adds up different latencies or thresholds (queue 0.3, queue 0.5); write one for each",
        ),
        (
            'toy_wait_ms_bucket{le="0"}',
            "toy_wait_ms_count",
            '`le="0"` is no threshold that can be reached',
        ),
        ('toy_wait_ms_bucket{le="x"}', "toy_wait_ms_count", '`le="x"` is no number'),
        (
            "toy_wait_ms",
            "toy_wait_ms_count",
            "`toy_wait_ms` is no count of requests; those are toy_wait_ms_bucket and"
            " toy_wait_ms_count",
        ),
        (
            'toy_done_total{code="200"}',
            "toy_done_total",
            "`toy_done_total` is narrowed to some of the requests that burnmeter calls ok:"
            ' code="201" is left out',
        ),
        (
            'toy_done_total{code=~"2..|3.."}',
            "toy_done_total + toy_done_total",
            "has a total that counts some requests twice",
        ),
        (
            'toy_done_total{code=~"5.."}',
            "toy_done_total",
            "has bad events that are not the failed requests; are they the good ones?",
        ),
        (
            'toy_done_total{code=~"5.."}',
            'toy_done_total{code=~"5.."}',
            "has a total without the requests that went well, so it is no share of all requests",
        ),
        (
            'toy_done_total{zone="a"}',
            "toy_done_total",
            "does not select the same series in both of its sums",
        ),
        ("toy_done_total - toy_done_total", "toy_done_total", "counts nothing"),
        (
            'burnmeter_slo_good_total{bound="lower"}',
            "burnmeter_slo_valid_total",
            'does not say of which objective; write slo="its name" in each selector',
        ),
        (
            'burnmeter_slo_good_total{slo="a", bound="lower"}',
            'burnmeter_slo_good_total{slo="a", bound="upper"}',
            "is no share of burnmeter_slo_good_total in burnmeter_slo_valid_total",
        ),
    ],
)
def test_what_is_no_share_of_events_is_refused_in_these_words(
    good: str, total: str, says: str
) -> None:
    assert refused(good, total) == says


def test_errors_are_told_by_any_label_that_the_engine_tells_them_by() -> None:
    found = counted('toy_done_total{code=~"5.*"}', 'toy_done_total{code=~"2..|5.."}', is_good=False)

    assert found == Indicator("errors")


def test_what_is_no_verdict_on_the_server_is_told() -> None:
    found = counted('toy_done_total{code=~"5.."}', "toy_done_total", is_good=False)

    assert found.warnings == (
        "rejected requests count here; to burnmeter they are no verdict on the server, and do not",
    )


def test_our_own_requests_may_be_of_one_witness() -> None:
    chosen = 'counted_by="engine"'
    found = counted(
        f'burnmeter_requests_total{{outcome="ok", {chosen}}}',
        f'burnmeter_requests_total{{outcome=~"ok|error", {chosen}}}',
    )

    assert (found.indicator, found.is_our_name) == ("errors", True)


def test_the_share_of_another_objective_is_that_objective() -> None:
    found = counted(
        'burnmeter_slo_good_total{slo="chat", bound="lower", model="a"}',
        'burnmeter_slo_valid_total{slo="chat", model="a"}',
    )

    assert (found.like, found.model) == ("chat", "a")


@pytest.mark.parametrize(
    ("name", "indicator"),
    [
        ("app_time_to_first_token_seconds_bucket", "ttft"),
        ("x_inter_token_latency_bucket", "itl"),
        ("x_tpot_bucket", "tpot"),
        ("x_queue_seconds_bucket", "queue"),
        ("x_e2e_seconds", "duration"),
        ("count(up == 0)", "availability"),
        ("http_requests_total", "errors"),
        ("something", "errors"),
    ],
)
def test_a_name_that_is_not_known_still_tells_what_is_likely_meant(
    name: str, indicator: str
) -> None:
    assert meant(QueryError(""), (name,), {}) == (
        f"write an objective with `indicator: {indicator}`, if that is meant"
    )


def test_a_quantile_is_an_objective_in_percent() -> None:
    assert meant(QuantileError(0.999, "toy_wait_ms"), (), TOY) == (
        "write an objective with `indicator: queue`, `threshold_seconds` and"
        " `objective_percent: 99.9`"
    )


# --- the engines' own names --------------------------------------------------------------------


def test_every_latency_with_buckets_of_every_engine_is_known() -> None:
    for engine, dialect in dialects.load_all().items():
        for indicator, measure in dialects.INDICATORS.items():
            rules = dialect.measures[measure].rules if measure in dialect.measures else ()
            for name in (name for rule in rules for name in rule.names):
                is_left = dialect.is_per_second or dialect.vantage == "probe"
                found = [one.indicator for one in SERIES.get(name, ()) if one.engine == engine]
                assert found == ([] if is_left else [indicator]), (engine, name)


@pytest.mark.parametrize(
    ("engine", "bad", "total"),
    [
        ("vllm", '{finished_reason="error"}', "vllm:request_success_total"),
        ("ray", '{finished_reason="error"}', "ray_vllm_request_success_total"),
        ("nim", '{finished_reason!~"stop|length|abort"}', "request_finish_total"),
    ],
)
def test_the_failed_requests_of_an_engine_are_errors(engine: str, bad: str, total: str) -> None:
    found = counted(total + bad, total, known=SERIES, is_good=False)

    assert found.indicator == "errors", engine
