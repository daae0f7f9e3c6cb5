"""What normalise promises for any page: absent is absent, nothing counts twice, layouts may change.

Made-up pages in vLLM's and llama.cpp's words; whole pages of engines are in test_dialects.py.
"""

import math
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from burnmeter.dialects import load_all
from burnmeter.model import Histogram, Key
from burnmeter.normalise import normalise
from burnmeter.page import read_page
from burnmeter.planning import plan
from tests import pages

TTFT = "vllm:time_to_first_token_seconds"
RUNNING = "vllm:num_requests_running"
KV = "vllm:kv_cache_usage_perc"
TOKENS = "vllm:generation_tokens_total"
relaxed = settings(deadline=None, max_examples=100)  # a shared machine is no stopwatch
counts = st.integers(min_value=0, max_value=2**40)


def only(values):
    (value,) = values.values()
    return value


def gauge(text):
    """The only gauge of a page, None if it has none."""
    found = pages.engine_page(text).gauges
    return only(found) if found else None


def histogram(*rows):
    """The only histogram of a page made of these rows of TTFT, None if it has none."""
    page = pages.engine_page("".join(f"{TTFT}{row}\n" for row in rows))
    return only(only(page.histograms)) if page.histograms else None


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["NaN", "-nan", "+Inf", "-Inf", "1e15", "-1.7e308"])
def test_a_number_that_is_none_is_absent_not_zero(value):
    text = f"{RUNNING} {value}\n{TOKENS} {value}\nprocess_start_time_seconds {value}\n"
    page = pages.engine_page(text)
    assert (page.gauges, page.counters, page.started_timestamp_seconds) == ({}, {}, None)


@pytest.mark.parametrize("value", ["-1", "-0.001", "-1e14"])
def test_nothing_is_held_below_zero(value):
    assert gauge(f"{RUNNING} {value}\n") is None


def test_a_ladder_that_counts_beyond_reason_is_absent():
    assert histogram('_bucket{le="1.0"} 1', '_bucket{le="+Inf"} 1e300') is None


def test_a_zero_is_a_value():
    page = pages.engine_page(f"{RUNNING} 0\n{TOKENS} 0\n")
    assert (only(page.gauges), list(only(page.counters).values())) == (0.0, [0.0])


def test_one_rank_without_a_number_does_not_hide_the_others():
    assert gauge(f'{RUNNING}{{engine="0"}} NaN\n{RUNNING}{{engine="1"}} 3\n') == 3.0


def test_a_series_given_twice_counts_once_and_the_first_stands():
    twice = f'{RUNNING}{{engine="0",model_name="a"}} 2\n{RUNNING}{{model_name="a",engine="0"}} 5\n'
    assert gauge(twice) == 2.0

    page = pages.engine_page(f"{TOKENS} 7\n{TOKENS} 9\n")
    assert list(only(page.counters).values()) == [7.0]


@relaxed
@given(st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=5))
def test_ranks_add_up_or_the_fullest_counts_as_the_dialect_says(values):
    rows = [f'{{engine="{rank}"}} {value!r}\n' for rank, value in enumerate(values)]
    assert gauge("".join(RUNNING + row for row in rows)) == pytest.approx(sum(values))
    assert gauge("".join(KV + row for row in rows)) == max(values)


# --- histograms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["1", "1.0", "1e0", "+1.00", "0.99999999999999999999"])
def test_a_bound_is_a_number_however_it_is_spelled(spelling):
    rows = (f'_bucket{{le="{spelling}"}} 3', '_bucket{le="+Inf"} 4', "_sum 2.5")
    assert histogram(*rows) == Histogram((1.0,), (3.0,), 4.0, 2.5)


def test_a_bound_spelled_two_ways_on_one_page_is_one_bound():
    rows = ('_bucket{le="1"} 3', '_bucket{le="1.0"} 3', '_bucket{le="+Inf"} 4')
    assert histogram(*rows) == Histogram((1.0,), (3.0,), 4.0, None)


def test_buckets_may_come_in_any_order_and_the_sum_before_them():
    rows = ("_sum 2.5", '_bucket{le="+Inf"} 4', '_bucket{le="10"} 4', '_bucket{le="2"} 3')
    assert histogram(*rows) == Histogram((2.0, 10.0), (3.0, 4.0), 4.0, 2.5)


def test_without_an_infinite_bucket_the_count_is_the_total():
    assert histogram('_bucket{le="1"} 3', "_count 5") == Histogram((1.0,), (3.0,), 5.0, None)


def test_a_histogram_without_any_total_is_absent_and_said_to_be():
    page = pages.engine_page(f'{TTFT}_bucket{{le="1"}} 3\n')
    assert page.histograms == {}
    assert page.not_available["ttft_seconds"] == f"this page has none of `{TTFT}`"


@pytest.mark.parametrize("bad", ['le="x"', 'le="NaN"', 'le="-Inf"', ""])
def test_a_bucket_without_a_bound_is_no_bucket(bad):
    rows = (f"_bucket{{{bad}}} 9", '_bucket{le="1"} 3', '_bucket{le="+Inf"} 4')
    assert histogram(*rows) == Histogram((1.0,), (3.0,), 4.0, None)


@pytest.mark.parametrize("row", ['_bucket{le="1"} NaN', '_bucket{le="+Inf"} NaN'])
def test_a_ladder_with_a_broken_rung_is_absent(row):
    others = {'_bucket{le="1"} 3', '_bucket{le="+Inf"} 4'}
    assert histogram(row, *(o for o in others if o.split()[0] != row.split()[0])) is None


def test_a_sum_that_is_no_number_costs_only_the_sum():
    rows = ('_bucket{le="+Inf"} 4', "_sum NaN", '_bucket{le="1"} 3')
    assert histogram(*rows) == Histogram((1.0,), (3.0,), 4.0, None)


@relaxed
@given(st.lists(st.tuples(st.floats(1e-6, 1e6), counts), min_size=1, unique_by=lambda row: row[0]))
def test_any_ladder_comes_out_sorted_with_each_count_at_its_bound(rungs):
    total = sum(count for _, count in rungs)
    rows = [f'_bucket{{le="{bound!r}"}} {count}' for bound, count in rungs]
    found = histogram(*rows, f'_bucket{{le="+Inf"}} {total}')

    assert dict(zip(found.bounds, found.counts, strict=True)) == dict(rungs)
    assert list(found.bounds) == sorted(found.bounds)
    assert all(map(math.isfinite, found.bounds))


# --- parts and layouts ---------------------------------------------------------------------------


def test_parts_do_not_depend_on_the_order_of_labels_or_of_lines():
    """Else a rank would look new to growth, and all it ever counted would be counted again."""
    one = f'{TOKENS}{{engine="0",model_name="a"}} 1\n{TOKENS}{{engine="1",model_name="a"}} 2\n'
    other = f'{TOKENS}{{model_name="a",engine="1"}} 2\n{TOKENS}{{model_name="a",engine="0"}} 1\n'
    assert pages.engine_page(one).counters == pages.engine_page(other).counters


@relaxed
@given(st.text(max_size=4), st.text(max_size=4))
@example("0,rank=0", "0")
def test_two_series_never_share_a_part(one, other):
    def row(a, b):
        escaped = [v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for v in (a, b)]
        return f'{TOKENS}{{engine="{escaped[0]}",rank="{escaped[1]}"}} 1\n'

    page = pages.engine_page(row(one, other) + row(other, one))
    assert len(only(page.counters)) == (1 if one == other else 2)


def test_a_plan_serves_every_page_of_its_layout():
    page, found = pages.planned(f"{RUNNING} 1\n{TOKENS} 2\n")
    later = read_page(f"{RUNNING} 3\n{TOKENS} 4\n")

    assert found.series == page.series == later.series
    ours = normalise(later, found)
    assert (only(ours.gauges), list(only(ours.counters).values())) == (3.0, [4.0])


def test_a_series_born_late_or_lost_is_another_layout_and_is_planned_anew():
    buckets = "".join(f'{TTFT}_bucket{{le="{bound}"}} 1\n' for bound in ("1", "+Inf"))
    early, late = f"{RUNNING} 1\n", f"{RUNNING} 1\n{buckets}"
    before, after = pages.planned(early)[1], pages.planned(late)[1]

    assert before.series != after.series
    assert "ttft_seconds" in before.not_available
    assert "ttft_seconds" not in after.not_available
    assert pages.engine_page(early).histograms == {}


def test_a_family_that_no_dialect_knows_is_told_once_and_created_times_never():
    text = f'{RUNNING} 1\n# TYPE vllm:new_total counter\nvllm:new_total{{a="1"}} 1\n'
    text += 'vllm:new_total{a="2"} 1\n# TYPE vllm:new_created gauge\nvllm:new_created 1.7e9\n'
    assert pages.engine_page(text).unknown_families == ("vllm:new_total",)


def test_foreign_units_become_base_units():
    dialect = load_all()["vllm"]
    in_milliseconds = {**load_all(), "vllm": _with_factor(dialect, "ttft_seconds", 1e-3)}
    page = read_page(f'{TTFT}_bucket{{le="500"}} 3\n{TTFT}_bucket{{le="+Inf"}} 4\n{TTFT}_sum 900\n')

    ours = normalise(page, plan(page, in_milliseconds))

    assert only(only(ours.histograms)) == Histogram((0.5,), (3.0,), 4.0, pytest.approx(0.9))


def _with_factor(dialect, name, factor):
    measure = replace(dialect.measures[name], factor=factor)
    return replace(dialect, measures={**dialect.measures, name: measure})


def test_of_copies_the_lowest_rank_counts_and_10_is_after_9():
    who = 'engine_type="unified",model_name="m"'
    rows = [
        f'sglang:num_running_reqs{{{who},tp_rank="{rank}"}} {10 + rank}\n' for rank in (10, 9, 11)
    ]
    ours = pages.engine_page("".join(rows))

    assert ours.gauges == {Key("running_requests", (("model", "m"),)): 19.0}


# --- what is switched off ------------------------------------------------------------------------

FLOPS = "vllm:estimated_flops_per_gpu_total"
MOVED = "vllm:estimated_read_bytes_per_gpu_total"
OPERATIONS = Key("estimated_operations_total", (("model", "a"),))


def switched(flops, moved=0):
    who = '{model_name="a"}'
    return pages.engine_page(f"{FLOPS}{who} {flops}\n{MOVED}{who} {moved}\n{TOKENS}{who} 0\n")


def test_a_counter_that_stands_at_0_because_it_is_off_is_absent_and_says_what_turns_it_on():
    page = switched(0)

    assert [key.measure for key in page.counters] == ["tokens_total"]
    assert page.not_available["estimated_operations_total"] == (
        "it stands at 0; it comes with --enable-mfu-metrics (0.19 and later)"
    )


def test_one_that_counts_is_there_however_much_it_has_counted():
    page = switched("3.5e21", moved="1e18")

    assert page.counters[OPERATIONS] == {only_part(page, OPERATIONS): 3.5e21}
    assert "estimated_operations_total" not in page.not_available
    assert "estimated_moved_bytes_total" not in page.not_available


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf", "1e24"])
def test_one_that_makes_no_sense_is_absent(value):
    assert OPERATIONS not in switched(value).counters


def only_part(page, key):
    (part,) = page.counters[key]
    return part
