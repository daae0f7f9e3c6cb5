"""TGI and LMDeploy: names that look like something else than they count.

Their pages were written from source with small round numbers; what is expected was worked out from
these.
"""

import pytest

from burnmeter.dialects import load_all
from burnmeter.growth import merge_parts
from burnmeter.inspection import inspect
from burnmeter.model import EnginePage, Histogram
from burnmeter.sli import error_tally, outcomes
from burnmeter.sources.commands import arguments_of, port_of, served_model_of
from tests import pages

TGI = pages.text_of("tgi", "history/3.3.7")
LMDEPLOY = pages.text_of("lmdeploy", "history/2026")
LMDEPLOY_2025 = pages.text_of("lmdeploy", "history/2025")


def counts(text: str) -> dict[str, float]:
    found = pages.engine_page(text)
    return {
        pages.shown(key).replace(f"model={dict(key.labels)['model']}", "").replace(",}", "}"): sum(
            parts.values()
        )
        for key, parts in found.counters.items()
    }


def histogram(text: str, measure: str) -> Histogram:
    found = pages.engine_page(text).histograms
    (parts,) = [parts for key, parts in found.items() if key.measure == measure]
    merged = merge_parts(parts)
    assert merged is not None
    return merged


def gauges(text: str) -> dict[str, float]:
    return {key.measure: value for key, value in pages.engine_page(text).gauges.items()}


def requests(found: EnginePage, model: str) -> dict[tuple[str, str], float]:
    return outcomes(model, {key: sum(parts.values()) for key, parts in found.counters.items()})


@pytest.mark.parametrize(
    ("text", "engine", "models"),
    [(TGI, "tgi", {"": ""}), (LMDEPLOY, "lmdeploy", {"internlm": "internlm"})],
)
def test_a_page_tells_its_engine_and_its_model(
    text: str, engine: str, models: dict[str, str]
) -> None:
    _, plan = pages.planned(text)

    assert (plan.engine, plan.role, plan.vantage) == (engine, "engine", "engine")
    assert plan.models == models


# --- TGI -----------------------------------------------------------------------------------------


def test_tgis_failures_are_told_apart_by_whose_fault_they_were() -> None:
    found = requests(pages.engine_page(TGI), "")

    assert found == {
        ("ok", "engine"): 6,
        ("error", "engine"): 2 + 1 + 1,  # overloaded, generation, incomplete
        ("rejected", "engine"): 3 + 1,  # validation, template
        ("cancelled", "engine"): 2,
    }
    tally = error_tally(found)
    assert tally is not None
    assert (tally.valid, tally.good_lower, tally.good_upper) == (10, 6, 6)


def test_a_reason_that_tgi_adds_later_is_a_failure() -> None:
    text = TGI + 'tgi_request_failure{err="download_adapter"} 5\n'

    assert requests(pages.engine_page(text), "")["error", "engine"] == 4 + 5


def test_tgis_tokens_are_sums_of_histograms_and_its_work_is_timed_by_batch() -> None:
    found = counts(TGI)

    assert found["tokens_total{kind=prompt}"] == 9 * 50
    assert found["tokens_total{kind=generated}"] == 6 * 50
    assert found["engine_steps_total{}"] == 9 + 290
    assert found["prefill_busy_seconds_total{}"] == 9 * 0.125
    assert found["decode_busy_seconds_total{}"] == 289 * 0.03125
    assert gauges(TGI) == {"running_requests": 2, "waiting_requests": 1}


def test_tgis_latencies_are_of_whole_requests_only() -> None:
    duration = histogram(TGI, "duration_seconds")

    assert (duration.total, duration.sum) == (6, 7)
    below_one_second = max(bound for bound in duration.bounds if bound < 1)
    assert below_one_second == pytest.approx(0.0001 * 1.5**22)
    assert duration.counts[duration.bounds.index(below_one_second)] == 2
    why = pages.engine_page(TGI).not_available
    assert "a probe or a gateway can" in why["ttft_seconds"]
    assert "includes the prefill" in why["tpot_seconds"]
    assert "itl_seconds" in why
    assert "kv_cache_used_ratio" in why


def test_what_happened_between_two_of_tgis_pages() -> None:
    later = TGI.replace("tgi_request_success 6", "tgi_request_success 16").replace(
        'err="overloaded"} 2', 'err="overloaded"} 3'
    )
    (found,) = inspect(later, TGI).models.values()

    assert (found.requests["ok"], found.requests["error"]) == (10, 1)
    assert (found.requests["rejected"], found.tokens["generated"]) == (0, 0)


# --- LMDeploy ------------------------------------------------------------------------------------


def test_lmdeploys_failures_are_at_most_so_many() -> None:
    found = requests(pages.engine_page(LMDEPLOY), "internlm")

    assert found == {("ok", "engine"): 5, ("error", "estimate"): 3}
    tally = error_tally(found)
    assert tally is not None
    assert (tally.valid, tally.good_lower, tally.good_upper) == (8, 5, 8)


def test_lmdeploys_gauge_of_failures_only_grows_and_is_read_so() -> None:
    later = LMDEPLOY.replace(
        'lmdeploy:num_requests_failed{engine="0",model_name="internlm"} 3.0',
        'lmdeploy:num_requests_failed{engine="0",model_name="internlm"} 7.0',
    )
    (found,) = inspect(later, LMDEPLOY).models.values()

    assert found.requests["error"] == 7 - 3


def test_before_lmdeploy_counted_failures_they_are_not_measured() -> None:
    found = pages.engine_page(LMDEPLOY_2025)

    assert requests(found, "internlm") == {("ok", "engine"): 5}
    why = found.not_available["requests_total{outcome=error}"]
    assert why == "nothing on this page counts failed requests"
    # Its time per output token was there already, and is none of ours.
    assert "itl_seconds" in found.not_available


def test_lmdeploys_gap_is_its_latency_without_a_unit_and_its_tpot_is_none() -> None:
    itl = histogram(LMDEPLOY, "itl_seconds")

    assert (itl.total, itl.sum) == (234, 200 * 0.03125 + 34 * 0.0625)
    assert itl.counts[itl.bounds.index(0.05)] == 200
    assert "no mean of a request" in pages.engine_page(LMDEPLOY).not_available["tpot_seconds"]


def test_who_waits_before_lmdeploys_engine_waits_too() -> None:
    assert gauges(LMDEPLOY) == {
        "running_requests": 2,
        "waiting_requests": 1 + 4,
        "kv_cache_used_ratio": 0.375,
    }
    assert gauges(LMDEPLOY_2025)["waiting_requests"] == 1


def test_lmdeploys_tokens_are_counted_as_they_come() -> None:
    found = counts(LMDEPLOY)

    assert found["tokens_total{kind=generated}"] == 240
    assert found["tokens_total{kind=prompt}"] == 600
    assert found["tokens_total{kind=prompt_cached}"] == 150
    assert found["speculative_draft_tokens_total{}"] == 80
    assert found["speculative_accepted_tokens_total{}"] == 40
    assert pages.engine_page(LMDEPLOY).started_timestamp_seconds == 1700000000.25


# --- processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "command", "port", "model"),
    [
        ("tgi", "text-generation-launcher --model-id m/a --port 8080", 8080, "m/a"),
        ("tgi", "/usr/bin/text-generation-router --port 80 --tokenizer-name m/a", 80, "m/a"),
        ("lmdeploy", "lmdeploy serve api_server m/a --server-port 8080", 8080, "m/a"),
        ("lmdeploy", "python3 -m lmdeploy serve api_server m/a", None, "m/a"),
    ],
)
def test_a_command_line_is_known(engine: str, command: str, port: int | None, model: str) -> None:
    (hint,) = load_all()[engine].processes
    arguments = arguments_of(command.split(), hint)

    assert arguments is not None
    assert port_of(arguments, hint.port_flags) == port
    assert served_model_of(arguments, hint) == model
