"""Engines as data, closed world both ways: no page has an unknown name, no dialect an idle one.

Recordings are of real engines; pages under history/ and lookalikes/ are written from source. What a
dialect file may say is tested in test_dialect_files.py, who made a page in test_recognition.py.
"""

import re
from pathlib import Path

import pytest
import yaml

from burnmeter import catalog
from burnmeter.dialects import load_all
from burnmeter.dialects.schema import fits
from burnmeter.page import parse_series, read_page
from burnmeter.planning import family
from tests import pages

UNDERSTOOD = [*pages.RECORDED, *pages.HISTORY]
REVIEWED = [p for p in UNDERSTOOD if p in pages.HISTORY or pages.expected_of(p).exists()]

# Every metric of vLLM 0.4.3 to 0.33.0 by its name in the source, braces as in a shell. A name that
# ends in _total there is a counter's, whose sample has the ending once.
VLLM_NAMES = """
num_requests_{running,waiting,swapped} num_requests_waiting_by_reason num_requests_kv_fetch_by_stage
engine_sleep_state {kv,gpu,cpu}_cache_usage_perc cache_config cache_config_info lora_requests_info
prefix_cache_{queries,hits}_total gpu_prefix_cache_{queries,hits}_total
external_prefix_cache_{queries,hits}_total mm_cache_{queries,hits}_total
{gpu,cpu}_prefix_cache_hit_rate num_preemptions_total prompt_tokens_total
prompt_tokens_by_source_total prompt_tokens_cached_total prompt_tokens_cached_by_source_total
prompt_tokens_recomputed_total generation_tokens_total tokens_total request_success_total
corrupted_requests_total admission_rejections_total request_prompt_tokens request_generation_tokens
request_max_num_generation_tokens request_params_{max_tokens,n,best_of}
request_prefill_kv_computed_tokens request_num_preemptions iteration_tokens_total
time_to_first_token_seconds inter_token_latency_seconds time_per_output_token_seconds
request_time_per_output_token_seconds e2e_request_latency_seconds
request_{queue,inference,prefill,decode}_time_seconds time_in_queue_requests
model_{forward,execute}_time_milliseconds avg_{prompt,generation}_throughput_toks_per_s
spec_decode_num_{drafts,draft_tokens,accepted_tokens,emitted_tokens}_total
spec_decode_num_accepted_tokens_per_pos_total spec_decode_draft_acceptance_rate
spec_decode_efficiency estimated_{flops,read_bytes,write_bytes}_per_gpu_total
kv_block_{lifetime,idle_before_evict,reuse_gap}_seconds nixl_xfer_time_seconds
nixl_bytes_transferred mooncake_store_operation_keys_total hf3fs_num_failed_load hisparse_cache_hits
simple_kv_offload_info umbp_hits kv_offload_total_bytes kv_offload_tiering_read_bytes
websocket_connections_{active,total}
websocket_connection_duration_seconds tool_call_parser_invocations_total watermark_requests_total
diffusion_num_denoising_steps sleep_mode_operation_duration_seconds sleep_mode_operations_in_flight
rl_weight_update_operation_duration_seconds rl_weight_update_operations_in_flight
"""


def expanded(word):
    """a{b,c}d -> abd, acd."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", word)
    return [word] if found is None else [f"{found[1]}{w}{found[3]}" for w in found[2].split(",")]


def families(engine):
    """Every sample's name and family on any page of this engine's folder."""
    found = set()
    for path in [*UNDERSTOOD, *pages.LOOKALIKES]:
        if pages.engine_of(path) == engine:
            page = read_page(path.read_text("utf-8"))
            names = {parse_series(raw).name for raw in page.series}
            found |= names | {family(name, page.types) for name in names}
    return found


# --- from pages to dialects ----------------------------------------------------------------------


@pytest.mark.parametrize("path", UNDERSTOOD, ids=pages.name)
def test_every_family_with_the_engines_prefix_is_mapped_or_ignored(path):
    _, plan = pages.planned(path.read_text("utf-8"))

    assert plan.engine == pages.engine_of(path)
    assert plan.unknown_families == ()


@pytest.mark.parametrize("path", UNDERSTOOD, ids=pages.name)
def test_every_sample_is_in_the_catalogue_with_its_kind_and_labels(path):
    page = pages.engine_page(path.read_text("utf-8"))

    groups = {"counter": page.counters, "histogram": page.histograms, "gauge": page.gauges}
    for kind, keys in groups.items():
        for key in keys:
            metric = catalog.measure(key.measure, page.vantage)
            own = {label for label, _ in key.labels} | {"engine", "target"}
            assert (metric.kind, set(metric.labels)) == (kind, own)


@pytest.mark.parametrize("path", UNDERSTOOD, ids=pages.name)
def test_every_finish_has_exactly_one_outcome(path):
    rules = load_all()["vllm"].measures["requests_total"].rules
    for raw in read_page(path.read_text("utf-8")).series:
        series = parse_series(raw)
        if series.name == "vllm:request_success_total":
            reason = series.labels["finished_reason"]
            fitting = [r for r in rules if series.name in r.names]
            assert (
                sum(r.match["finished_reason"].fullmatch(reason) is not None for r in fitting) == 1
            )


@pytest.mark.parametrize("name", [n for word in VLLM_NAMES.split() for n in expanded(word)])
def test_every_name_in_vllms_history_is_mapped_or_ignored(name):
    dialect = load_all()["vllm"]
    is_mapped = {f"vllm:{name}", f"vllm:{name}_count"} & dialect.wanted
    assert is_mapped or dialect.is_ignored(f"vllm:{name}")


# --- from dialects to pages ----------------------------------------------------------------------


def of_its_own(engine, names):
    """Of these names those that stand in the dialect's file: what it takes over from another that
    it is like is held to that one's pages."""
    source = load_all()[engine].source
    return {name for name in names if name in source}


@pytest.mark.parametrize("engine", load_all())
def test_every_name_in_a_rule_is_on_some_page(engine):
    on_pages = families(engine)
    assert sorted(of_its_own(engine, load_all()[engine].wanted) - on_pages) == []


@pytest.mark.parametrize("engine", load_all())
def test_every_ignored_entry_fits_something_on_some_page(engine):
    on_pages = families(engine)
    ignored = of_its_own(engine, load_all()[engine].ignored)
    assert [p for p in ignored if not any(fits(p, name) for name in on_pages)] == []


@pytest.mark.parametrize("engine", load_all())
def test_nothing_is_both_mapped_and_ignored_unless_a_pattern_covers_it(engine):
    dialect = load_all()[engine]
    assert sorted(dialect.wanted & set(dialect.ignored)) == []


@pytest.mark.parametrize("engine", load_all())
def test_every_measure_of_the_catalogue_is_mapped_or_said_not_to_be_available(engine):
    dialect = load_all()[engine]
    indicators = {m.measure for m in catalog.metrics().values() if m.group == "engine"}
    latencies = {name for name in indicators if name.endswith("_seconds")}
    assert latencies - dialect.measures.keys() - dialect.not_available.keys() == set()


# --- what comes out ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", REVIEWED, ids=pages.name)
def test_what_normalise_makes_of_a_page_is_as_reviewed(path: Path, accept: bool):
    expected = pages.expected_of(path)
    found = pages.summary(pages.engine_page(path.read_text("utf-8")))
    text = yaml.safe_dump(found, sort_keys=False, width=100)

    if accept:
        expected.write_text(text, "utf-8")
    assert text == expected.read_text("utf-8"), "if this is right, run pytest --accept"


def test_every_expected_file_has_its_page_and_every_engine_one_that_is_reviewed():
    expected = {pages.expected_of(path) for path in REVIEWED}

    assert set(pages.ENGINES.rglob("*.expected.yaml")) == expected
    assert {pages.engine_of(path) for path in REVIEWED} == set(load_all())


@pytest.mark.parametrize("path", [*pages.HISTORY, *pages.LOOKALIKES], ids=pages.name)
def test_a_page_that_was_not_recorded_says_so_in_its_first_line(path):
    first = path.read_text("utf-8").partition("\n")[0]
    assert re.match(r"# written from the source of .+, not recorded", first)
    if path.parts[-3:-1] == ("vllm", "history"):
        version = path.stem.partition("-")[0]
        assert f"of vLLM {version}" in first


@pytest.mark.parametrize(
    ("measure", "old", "new"),
    [
        ("itl_seconds", "vllm:time_per_output_token_seconds", "vllm:inter_token_latency_seconds"),
        ("kv_cache_used_ratio", "vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"),
        (
            "prefix_cache_hit_tokens_total",
            "vllm:gpu_prefix_cache_hits_total",
            "vllm:prefix_cache_hits_total",
        ),
    ],
)
def test_of_an_old_and_a_new_name_the_new_one_is_read_and_never_both(measure, old, new):
    page, plan = pages.planned(pages.text_of("vllm", "history/0.10.2"))
    names = {parse_series(raw).name for raw in page.series}
    assert {old, new} <= {n.removesuffix("_count") for n in names}

    slots = [s.slot for s in (*plan.counters, *plan.gauges) if s.key.measure == measure]
    slots += [b.total for b in plan.histograms if b.key.measure == measure]
    assert [parse_series(page.series[slot]).name.removesuffix("_bucket") for slot in slots] == [new]


def test_ranks_are_summed_but_the_fullest_cache_counts():
    page = pages.summary(pages.engine_page(pages.text_of("vllm", "history/0.33-two-ranks")))

    assert page["counters"]["tokens_total{kind=generated,model=llama}"] == [12.0, 30.0]
    assert page["gauges"]["running_requests{model=llama}"] == 2.0
    assert page["gauges"]["kv_cache_used_ratio{model=llama}"] == 0.75
    assert page["started_timestamp_seconds"] is None  # multiprocess mode has no process_*


def test_a_rust_frontend_that_was_never_asked_is_known_and_has_counted_nothing():
    page = pages.engine_page(pages.text_of("vllm", "history/0.33-rust-idle"))

    assert (page.engine, page.counters, page.histograms, page.gauges) == ("vllm", {}, {}, {})
    nothing_yet = "this page has counted nothing of it yet"
    assert page.not_available["ttft_seconds"] == nothing_yet
    assert page.not_available["tokens_total"] == nothing_yet
    assert page.not_available["duration_seconds"] == (
        "this page has none of `vllm:e2e_request_latency_seconds`"
    )


def test_the_default_bounds_of_a_dialect_are_those_of_its_recording():
    page = pages.engine_page(pages.text_of("vllm", "0.32.0-after-traffic"))
    for measure in load_all()["vllm"].measures.values():
        if measure.bounds:
            (parts,) = [p for key, p in page.histograms.items() if key.measure == measure.name]
            assert [h.bounds for h in parts.values()] == [measure.bounds]
