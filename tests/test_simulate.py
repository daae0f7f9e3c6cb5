"""The simulated node: it must count as a real vLLM does, and its story must be seen to happen.

Figures of the story (most TTFTs above 1 s, and so on) are checked over one whole round; what must
hold at any moment is checked on every page of that round. GPUs, processes and the real child are
in test_simulate_node.py.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from burnmeter.model import Gpu, Target
from burnmeter.simulate.engine import Engine
from burnmeter.simulate.fleet import BLOCK_TOKENS, CHAT, FLEET
from burnmeter.simulate.story import Scene, Story
from burnmeter.simulate.world import TICK_SECONDS, World

RECORDED = Path(__file__).parent / "fixtures" / "engines" / "vllm" / "0.32.0-bench-after.prom"
ROUND_SECONDS = 930
STEP_SECONDS = 3

Values = dict[str, float]


@dataclass(frozen=True)
class Moment:
    """All that can be seen at one moment, and what only the simulation knows."""

    seconds: float
    pages: dict[str, Values]
    """Series text -> value, by engine; no entry while nothing listens."""
    targets: dict[str, Target]
    gpus: tuple[Gpu, ...]
    past_first_token: dict[str, int]
    """In flight, or hung up, after a first token."""


def values_of(text: str) -> Values:
    """Every sample of a page by the text of its series."""
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in lines}


def total(values: Values, name: str, **labels: str) -> float:
    """Sum over the series of `name` that carry `labels`."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(
        value
        for series, value in values.items()
        if series.partition("{")[0] == name and all(pair in series for pair in wanted)
    )


def look(world: World) -> Moment:
    pages = {name: world.page(name) for name in world.services}
    return Moment(
        seconds=world.now,
        pages={name: values_of(text) for name, text in pages.items() if text is not None},
        targets={target.name: target for target in world.targets()},
        gpus=world.gpus(),
        past_first_token={
            name: sum(rank.started + rank.hung_up_started for rank in service.engine.ranks)
            for name, service in world.services.items()
            if service.engine is not None
        },
    )


@pytest.fixture(scope="module")
def moments() -> list[Moment]:
    """One whole round of the story and a little more, every few seconds."""
    world = World(seed=3)
    found = [look(world)]
    while world.now < ROUND_SECONDS:
        world.advance_to(world.now + STEP_SECONDS)
        found.append(look(world))
    return found


def all_pages(moments: list[Moment]) -> Iterator[tuple[Moment, str, Values]]:
    for moment in moments:
        for name, values in moment.pages.items():
            yield moment, name, values


def ttfts(moments: list[Moment], start: float, end: float, le: str = "1.0") -> tuple[float, float]:
    """How many of chat's first tokens came within [start, end), and how many of them by `le`."""
    pages = [m.pages["chat"] for m in moments if m.seconds in (start, end)]
    name = "vllm:time_to_first_token_seconds"
    counts = [total(page, f"{name}_count") for page in pages]
    good = [total(page, f"{name}_bucket", le=le) for page in pages]
    return counts[1] - counts[0], good[1] - good[0]


# --- the page is a vLLM page ---


def test_help_and_type_lines_are_those_of_a_recorded_page_in_its_order() -> None:
    recorded = [line for line in RECORDED.read_text().splitlines() if line.startswith("# ")][1:]
    page = World().page("chat")
    assert page is not None

    assert [line for line in page.splitlines() if line.startswith("#")] == recorded


def test_each_family_has_the_labels_and_bounds_of_a_recorded_page() -> None:
    def shapes(text: str) -> dict[str, set[str]]:
        """Name -> its label names, and for latencies the bounds too."""
        found: dict[str, set[str]] = {}
        for series in values_of(text):
            name, _, labels = series.partition("{")
            names = re.findall(r'(\w+)="', labels)
            bound = re.search(r'le="([^"]*)"', labels) if "_seconds" in name else None
            found.setdefault(name, set()).add(",".join([*names, bound[1] if bound else ""]))
        return found

    page = World().page("chat")
    assert page is not None

    assert shapes(page) == shapes(RECORDED.read_text())


def test_token_bounds_climb_to_the_length_of_the_model() -> None:
    page = World().page("chat")
    assert page is not None
    bounds = re.findall(r'vllm:request_prompt_tokens_bucket\{.*le="([^"]*)"', page)

    assert bounds[-3:] == ["10000.0", "20000.0", "+Inf"]  # max_model_len 32768


def test_the_reference_parser_reads_all_pages() -> None:
    world = World()
    for name in world.services:
        page = world.page(name)
        assert page is not None

        samples = [s for f in text_string_to_metric_families(page) for s in f.samples]

        assert len(samples) == len(values_of(page))


def test_two_ranks_have_two_series_of_each_kind() -> None:
    page = World().page("agents")
    assert page is not None
    values = values_of(page)

    assert total(values, "vllm:generation_tokens_total", engine="0") > 0
    assert total(values, "vllm:generation_tokens_total", engine="1") > 0


def test_the_same_seed_gives_the_same_page_however_time_is_cut() -> None:
    once, often, other = World(seed=5), World(seed=5), World(seed=6)
    for world in (once, other):
        world.advance_to(40.0)
    for step in range(1, 401):
        often.advance_to(step * 0.1)

    assert once.page("chat") == often.page("chat")
    assert once.gpus() == often.gpus()
    assert once.page("chat") != other.page("chat")


# --- what holds at any moment ---


def test_first_tokens_less_ends_are_requests_in_flight_or_hung_up(moments: list[Moment]) -> None:
    for moment, name, values in all_pages(moments):
        firsts = total(values, "vllm:time_to_first_token_seconds_count")
        ends = total(values, "vllm:e2e_request_latency_seconds_count")

        assert firsts - ends == moment.past_first_token[name]


def test_each_generated_token_is_a_first_token_or_follows_a_gap(moments: list[Moment]) -> None:
    for _, _, values in all_pages(moments):
        firsts = total(values, "vllm:time_to_first_token_seconds_count")
        gaps = total(values, "vllm:inter_token_latency_seconds_count")

        assert total(values, "vllm:generation_tokens_total") == firsts + gaps


def test_tokens_add_up_over_steps_and_sources(moments: list[Moment]) -> None:
    for _, _, values in all_pages(moments):
        prompt = total(values, "vllm:prompt_tokens_total")
        generated = total(values, "vllm:generation_tokens_total")
        cached = total(values, "vllm:prompt_tokens_cached_total")

        assert total(values, "vllm:iteration_tokens_total_sum") == prompt + generated
        assert total(values, "vllm:prompt_tokens_by_source_total") == prompt
        assert total(values, "vllm:request_generation_tokens_sum") <= generated
        assert cached <= total(values, "vllm:prefix_cache_hits_total") < prompt
        assert total(values, "vllm:request_prompt_tokens_sum") <= prompt


def test_all_that_is_counted_at_the_end_is_counted_together(moments: list[Moment]) -> None:
    for _, _, values in all_pages(moments):
        ends = total(values, "vllm:request_success_total")
        waited = total(values, "vllm:request_queue_time_seconds_sum")
        computed = total(values, "vllm:request_inference_time_seconds_sum")

        for family in (
            *("e2e_request_latency_seconds", "request_queue_time_seconds", "request_params_n"),
            *("request_prefill_time_seconds", "request_decode_time_seconds"),
            *("request_time_per_output_token_seconds", "request_generation_tokens"),
        ):
            assert total(values, f"vllm:{family}_count") == ends
        assert waited + computed <= total(values, "vllm:e2e_request_latency_seconds_sum")


def test_http_statuses_cover_ends_and_rejections(moments: list[Moment]) -> None:
    for _, _, values in all_pages(moments):
        ok = total(values, "http_requests_total", status="2xx")
        broken = total(values, "http_requests_total", status="5xx")
        answers = total(values, "http_requests_total")

        assert ok >= total(values, "vllm:request_success_total")
        assert broken >= total(values, "vllm:admission_rejections_total")
        assert total(values, "http_request_duration_highr_seconds_count") == answers
        assert total(values, "http_request_duration_seconds_count") == answers
        assert total(values, "http_response_size_bytes_count") == answers


def test_gauges_stay_within_their_limits(moments: list[Moment]) -> None:
    limits = {spec.name: spec.max_requests * len(spec.gpus_by_rank) for spec in FLEET}
    for _, name, values in all_pages(moments):
        waiting = total(values, "vllm:num_requests_waiting")

        assert 0 <= total(values, "vllm:num_requests_running") <= limits[name]
        assert waiting == total(values, "vllm:num_requests_waiting_by_reason")
        for series, value in values.items():
            if series.startswith("vllm:kv_cache_usage"):
                assert 0.0 <= value <= 1.0


@given(seed=st.integers(0, 2**32), kv_blocks=st.integers(400, 1500))
@settings(max_examples=15, deadline=None)
def test_a_small_cache_preempts_and_never_lends_more_than_it_has(seed: int, kv_blocks: int) -> None:
    spec = replace(CHAT, kv_blocks=kv_blocks, max_model_tokens=6000)
    engine = Engine(spec, str(seed), process_started=0.0, now=0.0)
    rank = engine.ranks[0]
    for _ in range(400):
        engine.advance(TICK_SECONDS)

        held = sum(request.blocks for request in rank.running)
        assert rank.kv_used_ratio == pytest.approx(held / kv_blocks, abs=1e-9)
        assert 0.0 <= rank.kv_used_ratio <= 1.0
        assert all(r.held_tokens <= r.blocks * BLOCK_TOKENS for r in rank.running)

    firsts = rank.counts.histograms["vllm:time_to_first_token_seconds"].count
    gaps = rank.counts.histograms["vllm:inter_token_latency_seconds"].count
    assert rank.counts.total("generation_tokens") == firsts + gaps
    assert rank.counts.total("num_preemptions") > 0


def test_histograms_rise_to_their_count(moments: list[Moment]) -> None:
    for _, _, values in all_pages(moments[::20]):
        last: dict[str, float] = {}
        for series, value in values.items():
            name, _, labels = series.partition("{")
            if name.endswith("_bucket"):
                key = name.removesuffix("_bucket") + re.sub(r'le="[^"]*",?', "", labels)
                assert value >= last.get(key, 0.0)
                last[key] = value
            elif name.endswith("_count") and name.removesuffix("_count") + labels in last:
                assert value == last[name.removesuffix("_count") + labels]


def test_counters_fall_only_when_an_engine_restarts(moments: list[Moment]) -> None:
    gauges = re.compile(r"vllm:(num_requests|kv_cache|engine_sleep|cache_config)|process_start")
    fallen = set()
    for name in ("chat", "agents", "code"):
        pages = [moment.pages[name] for moment in moments if name in moment.pages]
        for before, after in pairwise(pages):
            start = "process_start_time_seconds"
            is_fall = any(
                after.get(series, 0.0) < value
                for series, value in before.items()
                if not gauges.match(series) and "_created" not in series
            )
            assert is_fall == (before[start] != after[start])
            fallen |= {name} if is_fall else set()

    assert fallen == {"code"}


# --- the story ---


def test_first_tokens_come_within_a_second_but_in_the_incident(moments: list[Moment]) -> None:
    late = ttfts(moments, 180, 300)
    before, after = ttfts(moments, 0, 150), ttfts(moments, 360, 900)

    assert late[0] > 40
    assert late[1] < 0.1 * late[0]
    for count, good in (before, after):
        assert good > 0.97 * count


def test_half_of_the_first_tokens_come_between_a_tenth_and_half_a_second(
    moments: list[Moment],
) -> None:
    count, early = ttfts(moments, 360, 900, le="0.1")
    _, soon = ttfts(moments, 360, 900, le="0.5")

    assert early < 0.5 * count < soon


def test_the_incident_fills_the_queue_and_the_cache(moments: list[Moment]) -> None:
    values = next(m.pages["chat"] for m in moments if m.seconds == 300)

    assert total(values, "vllm:num_requests_waiting") > 10
    assert total(values, "vllm:num_preemptions_total") > 0
    assert total(values, "vllm:admission_rejections_total") > 0


def test_the_incident_is_seen_as_a_brake_on_the_gpus(moments: list[Moment]) -> None:
    calm, braked = (next(m.gpus[0] for m in moments if m.seconds == s) for s in (90, 240))

    assert calm.sm_clock_hertz == 1.98e9
    assert braked.sm_clock_hertz == pytest.approx(1.98e9 / 5)
    assert calm.power_watts is not None
    assert braked.power_watts is not None
    assert braked.power_watts < calm.power_watts


def test_errors_are_5xx_on_another_engine(moments: list[Moment]) -> None:
    def broken(start: float, end: float) -> float:
        pages = [m.pages["agents"] for m in moments if m.seconds in (start, end)]
        bad = [total(page, "http_requests_total", status="5xx") for page in pages]
        answers = [total(page, "http_requests_total") for page in pages]
        return (bad[1] - bad[0]) / (answers[1] - answers[0])

    assert broken(0, 378) == 0.0
    assert 0.2 < broken(381, 438) < 0.4
    assert broken(441, 900) == 0.0


def test_a_restart_is_seen_as_it_is_on_a_real_engine() -> None:
    world = World()
    world.advance_to(480.0)
    old = next(target for target in world.targets() if target.name == "code")

    world.advance_to(482.0)
    assert world.page("code") is not None  # the page outlives the core
    assert world.gpus()[6].processes == ()
    world.advance_to(490.0)
    assert world.page("code") is None
    assert old.pid not in world.processes()
    world.advance_to(515.0)
    new = next(target for target in world.targets() if target.name == "code")
    assert world.page("code") is None  # it loads, and does not listen
    assert world.processes()[new.pid or 0].ports == ()

    world.advance_to(520.5)
    values = values_of(world.page("code") or "")
    assert new.pid != old.pid
    assert new.started_timestamp_seconds is not None
    assert new.started_timestamp_seconds > (old.started_timestamp_seconds or 0)
    assert values["process_start_time_seconds"] == new.started_timestamp_seconds
    assert total(values, "vllm:generation_tokens_total") < 1000


@pytest.mark.parametrize("seed", range(4))
def test_a_hang_freezes_a_page_with_requests_running(seed: int) -> None:
    story = Story(
        period_seconds=900, scenes=(Scene(at_seconds=5, seconds=40, kind="hang", engine="code"),)
    )
    world = World(seed, story)
    world.advance_to(10.0)
    first = values_of(world.page("code") or "")
    world.advance_to(44.0)
    last = values_of(world.page("code") or "")

    assert total(first, "vllm:num_requests_running") > 0
    assert {k: v for k, v in first.items() if k.startswith(("vllm:", "http_"))} == {
        k: v for k, v in last.items() if k.startswith(("vllm:", "http_"))
    }
    assert last["process_cpu_seconds_total"] > first["process_cpu_seconds_total"]
    world.advance_to(50.0)
    after = values_of(world.page("code") or "")
    gaps = "vllm:inter_token_latency_seconds_bucket"
    assert total(after, gaps, le="+Inf") > total(after, gaps, le="20.0")  # one gap was the hang


def test_xids_are_reported_once_and_a_lost_gpu_comes_back(moments: list[Moment]) -> None:
    at = {moment.seconds: moment.gpus for moment in moments}

    assert at[558][5].xid_counts == {}
    assert at[594][5].xid_counts == at[900][5].xid_counts == {63: 1}
    assert at[705][7].failure is not None
    assert at[705][7].xid_counts == {79: 1}
    assert at[765][7].failure is None


def test_a_story_starts_over() -> None:
    story = Story(
        period_seconds=60, scenes=(Scene(at_seconds=10, seconds=5, kind="hang", engine="code"),)
    )

    assert [bool(story.at(seconds)) for seconds in (-50, 9, 10, 14, 15, 70, 76)] == [
        *(False, False, True, True, False, True, False)
    ]
