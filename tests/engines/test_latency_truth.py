"""Good and valid first tokens against the engine's own buckets and against the client's clock.

At a bucket's bound our count is the engine's, to the unit. Between two bounds nobody can know from
a page; the client does, and must lie between our lower and our upper count. Its clock also sees the
way there and back, so a first token is never sooner for it than for the engine.
"""

from pathlib import Path

import pytest

from tests.engines import load
from tests.engines.serving import Server
from tests.engines.test_serving import total
from tests.engines.watching import Between, Exported, listed, watching

pytestmark = [pytest.mark.engines, pytest.mark.timeout(480)]

ON_BOUNDS = {"at-100": 0.1, "at-250": 0.25, "at-500": 0.5}
BETWEEN_BOUNDS = {"at-150": 0.15, "at-300": 0.3}
SLOS = "slos:\n" + "".join(
    f"  - {{name: {name}, indicator: ttft, threshold_seconds: {seconds}, objective_percent: 90}}\n"
    for name, seconds in (ON_BOUNDS | BETWEEN_BOUNDS).items()
)
ASKS = [*load.ok(6), *load.ok(30, max_tokens=24)]


def good(now: Exported, slo: str, bound: str) -> float:
    return now.total("burnmeter_slo_good_total", slo=slo, model="timed", bound=bound)


def test_good_first_tokens_are_the_engines_and_hold_the_clients(
    vllm_mid: Server, tmp_path: Path
) -> None:
    with watching(tmp_path, SLOS + listed(vllm_mid.url, "timed")) as watch:
        watch.settled("timed")
        page = vllm_mid.page()
        one_by_one = load.run_load(vllm_mid.url, ASKS[:6], workers=1)
        crowd = load.run_load(vllm_mid.url, ASKS[6:], workers=14)
        now = watch.settled("timed")
        later = vllm_mid.page()

    seconds = [*one_by_one.ttft_seconds(), *crowd.ttft_seconds()]
    bucket = "vllm:time_to_first_token_seconds_bucket"
    for slo, threshold in ON_BOUNDS.items():
        grown = total(later, bucket, le=f"{threshold}") - total(page, bucket, le=f"{threshold}")
        assert good(now, slo, "lower") == good(now, slo, "upper") == grown
        assert grown >= sum(ttft <= threshold for ttft in seconds)
    for slo, threshold in BETWEEN_BOUNDS.items():
        truth = sum(ttft <= threshold for ttft in seconds)
        assert good(now, slo, "lower") <= truth <= good(now, slo, "upper")
    for slo in ON_BOUNDS | BETWEEN_BOUNDS:
        assert now.total("burnmeter_slo_valid_total", slo=slo, model="timed") == len(ASKS)
    # Without both fast and slow ones the above would prove little.
    assert 0 < good(now, "at-100", "lower") < good(now, "at-500", "lower") <= len(ASKS)


def test_every_bucket_leaves_as_the_engine_counted_it(vllm_mid: Server, tmp_path: Path) -> None:
    names = {
        "burnmeter_ttft_seconds": "vllm:time_to_first_token_seconds",
        "burnmeter_itl_seconds": "vllm:inter_token_latency_seconds",
        "burnmeter_duration_seconds": "vllm:e2e_request_latency_seconds",
        "burnmeter_tpot_seconds": "vllm:request_time_per_output_token_seconds",
    }
    with watching(tmp_path, listed(vllm_mid.url, "timed")) as watch:
        before = watch.settled("timed")
        page = vllm_mid.page()
        load.run_load(vllm_mid.url, load.ok(12), workers=12)
        after = watch.settled("timed")
        later = vllm_mid.page()

    found = Between(before, after, "timed")
    for ours, theirs in names.items():
        bounds = after.by("le", f"{ours}_bucket", target="timed")
        assert len(bounds) > 10
        for le in bounds:
            bucket = f"{theirs}_bucket"
            grown = total(later, bucket, le=le) - total(page, bucket, le=le)
            assert found.grown(f"{ours}_bucket", le=le) == grown, f"{ours} {le}"
        grown = total(later, f"{theirs}_sum") - total(page, f"{theirs}_sum")
        assert found.grown(f"{ours}_sum") == pytest.approx(grown, rel=1e-9)


def test_the_mean_is_the_clients_but_for_the_way_there_and_back(
    vllm_mid: Server, tmp_path: Path
) -> None:
    with watching(tmp_path, listed(vllm_mid.url, "timed")) as watch:
        watch.settled("timed")
        truth = load.run_load(vllm_mid.url, load.ok(16), workers=2)
        now = watch.settled("timed")

    found = now.model("timed").latencies["ttft"]
    seconds = truth.ttft_seconds()
    assert found.count == len(seconds) == 16
    assert found.mean_seconds is not None
    assert found.mean_seconds <= sum(seconds) / 16 <= found.mean_seconds + 0.03
    lower, upper = found.quantiles["p50"]
    assert upper is not None
    assert lower < seconds[7] <= upper + 0.03
