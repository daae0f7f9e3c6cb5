"""How long GPUs would have taken at their limits: by hand, and held against vLLM's own estimate."""

from dataclasses import replace
from typing import Any

import pytest

from burnmeter import roofline
from burnmeter.growth import between
from burnmeter.model import Gpu, Growth, Histogram, Key
from burnmeter.model_facts import ModelFacts, model_facts, stated_facts
from burnmeter.model_facts.known import Known, Library
from burnmeter.page import Page, read_page
from burnmeter.roofline import DECODE, ESTIMATED, FLOOR, PREFILL, Limits, Work
from burnmeter.watch import FORGET_AFTER_SECONDS
from tests.fakes import MODEL, gpu, growth, key, processes, target, vllm
from tests.pages import engine_page, text_of
from tests.test_pipeline import Node

H100 = replace(gpu(), name="NVIDIA H100 80GB HBM3", memory_bandwidth_bytes_per_second=3e12)
MOST = Limits(3e12, 1e15, "a test")
# 8e9 parameters in bf16: 16 GB a step, 16 GFLOP a token; 100 kB of cache a token.
EIGHT = stated_facts(parameters=8e9, kv_bytes_per_token=1e5, weight_format="bf16")
GENERATED, PROMPT, CACHED = (
    key("tokens_total", kind=kind) for kind in ("generated", "prompt", "prompt_cached")
)
STEPS = key("engine_steps_total")
TINY = {
    "model_type": "llama",
    "dtype": "bfloat16",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "tie_word_embeddings": False,
}
"""What tests/engines/make_model.py makes, as far as it matters."""


def done(**changes: Any) -> Work:
    """A thousand tokens in ten batches of a hundred, after prompts of 900 tokens."""
    made = Work(
        generated=1000.0,
        computed=0.0,
        steps=10.0,
        batch=100.0,
        prompt_mean=900.0,
        generated_mean=200.0,
    )
    return made._replace(**changes)


def worked(facts: ModelFacts = EIGHT, **changes: Any) -> dict[str, float]:
    return roofline.seconds(done(**changes), facts, MOST)


# --- by hand -------------------------------------------------------------------------------------


def test_a_step_reads_all_weights_and_each_token_its_cache() -> None:
    """10 x 16 GB of weights and 1000 x 1000 x 100 kB of cache over 3 TB/s."""
    assert worked()[DECODE] == pytest.approx((160e9 + 100e9) / 3e12)


def test_in_batches_without_end_only_the_cache_is_left() -> None:
    assert worked()[FLOOR] == pytest.approx(100e9 / 3e12)


def test_where_cores_are_slower_than_memory_they_are_the_limit() -> None:
    """Without cache, in one batch of a million: 1.6e16 operations at 1e15 a second."""
    bare = replace(EIGHT, spans=())
    took = worked(bare, generated=1e6, steps=1.0, batch=1e6)

    assert took[DECODE] == took[FLOOR] == pytest.approx(16.0)


def test_prompts_cost_operations_and_what_was_cached_costs_none() -> None:
    assert worked(computed=5000.0)[PREFILL] == pytest.approx(5000 * 16e9 / 1e15)
    assert worked(computed=0.0)[PREFILL] == 0.0


def test_a_small_batch_of_a_model_with_experts_reads_few_of_them() -> None:
    facts = stated_facts(
        parameters=100e9,
        active_parameters=20e9,
        kv_bytes_per_token=1.0,
        weight_format="fp8",
        experts=64,
        experts_per_token=4,
    )

    one, many = (worked(facts, generated=10 * n, batch=n)[DECODE] for n in (1.0, 200.0))

    assert one == pytest.approx(10 * 20e9 / 3e12, rel=0.01)
    assert many == pytest.approx(10 * 100e9 / 3e12, rel=0.01)


# --- what an engine did --------------------------------------------------------------------------


def test_what_was_cached_of_a_prompt_is_not_computed() -> None:
    grown = growth({GENERATED: 50.0, PROMPT: 900.0, CACHED: 400.0, STEPS: 10.0})

    found = roofline.work(MODEL, grown, [90.0, 5.0], None, 4 / 9)

    assert found == Work(50.0, pytest.approx(500.0), 10.0, 5.0, 90.0, 5.0)


def test_steps_in_which_no_token_was_counted_read_weights_all_the_same() -> None:
    """SGLang counts tokens at the end of a request."""
    found = roofline.work(MODEL, growth({GENERATED: 0.0, STEPS: 10.0}), [90.0, 5.0], 7.0, 0.0)

    assert found == Work(0.0, 0.0, 10.0, 7.0, 90.0, 5.0)


def test_an_engine_that_counts_no_steps_is_known_by_its_batch() -> None:
    grown = growth({GENERATED: 60.0})

    assert roofline.work(MODEL, grown, [90.0, 5.0], 6.0, 0.0) == Work(
        60.0, 0.0, 10.0, 6.0, 90.0, 5.0
    )
    assert roofline.work(MODEL, grown, [90.0, 5.0], None, 0.0) is None


def test_without_the_lengths_of_requests_nobody_knows_what_they_read() -> None:
    assert (
        roofline.work(MODEL, growth({GENERATED: 60.0, STEPS: 9.0}), [90.0, None], 1.0, 0.0) is None
    )


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        pytest.param(Histogram((), (), 4.0, 100.0), 25.0, id="a mean"),
        pytest.param(Histogram((), (), 0.0, 0.0), 0.0, id="before the first"),
        pytest.param(Histogram((), (), 4.0, None), None, id="without a sum"),
        pytest.param(None, None, id="not measured"),
    ],
)
def test_the_mean_length_is_of_all_requests_so_far(
    measured: Histogram | None, expected: float | None
) -> None:
    assert roofline.mean(measured) == expected


def test_ranks_elsewhere_are_not_our_gpus_work() -> None:
    whole = growth({GENERATED: 100.0, STEPS: 20.0})
    ours = replace(whole, here={GENERATED: 40.0, STEPS: 8.0})

    found = roofline.work(MODEL, ours, [1.0, 1.0], None, 0.0)

    assert found is not None
    assert (found.generated, found.steps) == (40.0, 8.0)


# --- the limits ----------------------------------------------------------------------------------


def test_the_memory_s_speed_is_nvml_s_word_before_the_data_sheet_s() -> None:
    told, listed = (
        roofline.limits([replace(H100, memory_bandwidth_bytes_per_second=value)], "bf16")
        for value in (3e12, None)
    )

    assert told is not None
    assert listed is not None
    assert (told.bytes_per_second, listed.bytes_per_second) == (3e12, 3.35e12)
    assert "3.00 TB/s by NVML, 989 TFLOP/s dense in bf16 by its data sheet" in told.source
    assert "3.35 TB/s by its data sheet" in listed.source


def test_of_several_gpus_the_slowest_sets_the_pace_and_one_unknown_leaves_it_open() -> None:
    slow = replace(H100, memory_bandwidth_bytes_per_second=2e12)
    unknown = replace(H100, name="NVIDIA Z9000")

    found = roofline.limits([H100, slow], "bf16")

    assert found is not None
    assert found.bytes_per_second == 2e12
    assert roofline.limits([H100, unknown], "bf16") is None
    assert roofline.limits([], "bf16") is None


# --- the engine's own estimate -------------------------------------------------------------------

OPERATIONS = key("estimated_operations_total")
READ, WRITTEN = (key("estimated_moved_bytes_total", kind=kind) for kind in ("read", "write"))


def test_the_engine_s_own_count_is_of_one_gpu_of_each_rank() -> None:
    grown = growth({OPERATIONS: 2e15, READ: 2e12, WRITTEN: 1e12})

    assert roofline.estimated(MODEL, grown, 4.0, MOST) == pytest.approx(4 * 2.0)


def test_an_engine_that_does_not_count_them_gives_no_estimate() -> None:
    assert roofline.estimated(MODEL, growth({GENERATED: 5.0}), 1.0, MOST) is None


def recorded() -> tuple[Growth, list[float | None]]:
    """What vLLM did between two recorded pages, with the mean lengths of its requests."""
    before, after = (
        engine_page(text_of("vllm", f"0.32.0-estimates-{when}")) for when in ("before", "after")
    )
    grown = between(before, after, None)
    means = [
        roofline.mean(grown.histograms[Key(n, (("model", "tiny"),))]) for n in roofline.LENGTHS
    ]
    return grown, means


def test_a_real_vllm_s_own_estimate_is_near_ours() -> None:
    """Of 30 requests: operations within an eighth, bytes within a fifth.

    vLLM computes the head for the last token of a prompt only, and counts activations as moved.
    """
    grown, means = recorded()
    facts = model_facts(TINY)
    did = roofline.work("tiny", grown, means, None, 0.0)
    assert did is not None
    flat = Limits(1.0, 1.0, "so that seconds are bytes and operations")
    ours = roofline.seconds(did, facts, flat)
    context = did.prompt_mean + did.generated_mean / 2
    operations = ours[PREFILL] + did.generated * facts.flops(context)
    said = {k.measure + str(dict(k.labels).get("kind", "")): v for k, v in grown.counters.items()}

    assert operations == pytest.approx(said["estimated_operations_total"], rel=1 / 8)
    moved = did.steps * facts.step_weight_bytes(did.batch) + did.generated * facts.kv_read_bytes(
        context
    )
    assert moved == pytest.approx(said["estimated_moved_bytes_totalread"], rel=1 / 5)


# --- over ticks ----------------------------------------------------------------------------------

TABLE = processes((10, 1))
A = target("a", pid=10)


def served(tokens: float, steps: float = 0.0) -> Page:
    """A page that has what a roofline needs: tokens, steps, and how long requests are."""
    who = '{engine="0",model_name="llama"}'
    lines = [f"vllm:generation_tokens_total{who} {tokens}", f"vllm:num_requests_running{who} 5"]
    for name, total, number in (
        ("iteration_tokens_total", tokens, steps),
        ("request_prompt_tokens", 900.0 * steps, steps),
        ("request_generation_tokens", 200.0 * steps, steps),
    ):
        lines += [f"vllm:{name}_sum{who} {total}", f"vllm:{name}_count{who} {number}"]
        lines.append(f'vllm:{name}_bucket{{engine="0",model_name="llama",le="+Inf"}} {number}')
    return read_page("\n".join(lines) + "\n")


def node(**known: Known) -> Node:
    made = Node()
    made.library = Library(by_model=known)
    return made


def totals(made: Node) -> dict[str, float]:
    return {dict(k.labels)["work"]: v for k, v in made.state.roofline.items()}


def board(**changes: Any) -> Gpu:
    return replace(H100, processes=gpu("GPU-0", 10).processes, **changes)


def test_the_totals_are_of_what_was_done_between_two_looks() -> None:
    """Twice 500 tokens in 100 steps, each after 900 tokens of a prompt and 100 of its own."""
    made = node(llama=Known(EIGHT, "a test"))
    for tokens, steps in ((0.0, 0.0), (500.0, 100.0), (1000.0, 200.0)):
        made.tick({A: served(tokens, steps)}, gpus=[board()], table=TABLE)

    assert totals(made)[DECODE] == pytest.approx(2 * (100 * 16e9 + 500 * 1000 * 1e5) / 3e12)
    assert totals(made)[FLOOR] == pytest.approx(2 * 500 * 1000 * 1e5 / 3e12)
    assert totals(made)[PREFILL] == 0.0


def test_what_is_not_known_is_not_counted() -> None:
    """Of the model, of its GPU, of whose the GPU is, of the lengths of its requests."""
    known = Known(EIGHT, "a test")
    for made, gpus, page in (
        (node(), [board()], served),
        (node(llama=Known(None, "no config.json")), [board()], served),
        (node(llama=known), [board(name="NVIDIA Z9000")], served),
        (node(llama=known), [replace(H100, processes=())], served),
        (node(llama=known), [board()], lambda tokens, _: vllm(tokens=tokens, running=5.0)),
    ):
        for tokens, steps in ((0.0, 0.0), (500.0, 100.0)):
            made.tick({A: page(tokens, steps)}, gpus=gpus, table=TABLE)

        assert totals(made) == {}


@pytest.mark.parametrize(
    ("ranks", "batch"),
    [
        pytest.param(None, 40.0, id="one engine"),
        pytest.param(("0", "1"), 20.0, id="two ranks"),
        pytest.param(("0",), 30.0, id="one of them is here"),
    ],
)
def test_without_steps_a_rank_s_batch_is_what_runs_on_it(
    ranks: tuple[str, ...] | None, batch: float
) -> None:
    """Of 40 requests 30 run on rank 0; each rank makes 600 tokens, which weights cost alone."""
    known = Known(stated_facts(parameters=8e9, kv_bytes_per_token=1.0), "a test")
    made, one = node(llama=known), replace(A, local_ranks=ranks)
    for count in (0.0, 600.0):
        text = lengths() + "".join(
            f'vllm:generation_tokens_total{{engine="{rank}",model_name="llama"}} {count}\n'
            f'vllm:num_requests_running{{engine="{rank}",model_name="llama"}} {running}\n'
            for rank, running in (("0", 30), ("1", 10))
        )
        made.tick({one: read_page(text)}, gpus=[board()], table=TABLE)

    tokens = 600.0 if ranks == ("0",) else 1200.0
    assert totals(made)[DECODE] == pytest.approx(tokens / batch * 16e9 / 3e12, rel=0.01)


def lengths() -> str:
    """Of requests of a vLLM, in rank 0: ten, of one token each way."""
    who = 'engine="0",model_name="llama"'
    return "".join(
        f'vllm:{name}_bucket{{{who},le="+Inf"}} 10\n'
        f"vllm:{name}_sum{{{who}}} 10\nvllm:{name}_count{{{who}}} 10\n"
        for name in ("request_prompt_tokens", "request_generation_tokens")
    )


@pytest.mark.parametrize("running", ["-1", "0", "1e14"])
def test_whatever_a_page_says_runs_no_tick_fails(running: str) -> None:
    made = node(llama=Known(EIGHT, "a test"))
    who = '{engine="0",model_name="llama"}'
    for tokens in (0, 500):
        text = f"vllm:generation_tokens_total{who} {tokens}\nvllm:num_requests_running{who} "
        made.tick({A: read_page(f"{lengths()}{text}{running}\n")}, gpus=[board()], table=TABLE)

    assert all(value >= 0 for value in totals(made).values())


@pytest.mark.parametrize(
    ("changes", "gpu_seconds"),
    [
        pytest.param({"gpus_per_rank": 4}, 16.0, id="four for each rank, of which two are here"),
        pytest.param({}, 4.0, id="the two that are here, divided among two ranks"),
    ],
)
def test_an_engine_s_own_estimate_is_of_one_gpu_of_each_rank(
    changes: dict[str, Any], gpu_seconds: float
) -> None:
    """Two seconds at the limit on each of two ranks; a third is on another node."""
    made, one = node(), replace(A, local_ranks=("0", "1"), **changes)
    boards = [board(), board(uuid="GPU-1", index=1)]
    for seconds in (0.0, 2.0):
        text = "".join(
            f'vllm:estimated_flops_per_gpu_total{{engine="{rank}",model_name="llama"}}'
            f" {1.0 + seconds * 989e12}\n"
            for rank in range(3)
        )
        made.tick({one: read_page(text)}, gpus=boards, table=TABLE)

    assert totals(made) == {ESTIMATED: pytest.approx(gpu_seconds, rel=0.01)}


def test_a_gateway_s_tokens_are_no_work_of_gpus() -> None:
    """Though it holds one, and tells of its requests all that an engine must."""
    made = node(llama=Known(EIGHT, "a test"))
    for tokens in (0, 500):
        rows = ['dynamo_frontend_inflight_requests{model="llama"} 5']
        for name in ("input", "output"):
            full = f"dynamo_frontend_{name}_sequence_tokens"
            rows.append(f'{full}_bucket{{model="llama",le="+Inf"}} {tokens}')
            rows += [f'{full}_{part}{{model="llama"}} {tokens}' for part in ("sum", "count")]
        made.tick({A: read_page("\n".join(rows) + "\n")}, gpus=[board()], table=TABLE)

    assert made.state.watched["a"].vantage == "gateway"
    assert made.total("gateway_tokens_total", kind="generated") == 500.0
    assert totals(made) == {}


def test_the_totals_of_a_model_that_is_forgotten_vanish() -> None:
    """A target that names its model anew each day keeps no row of each."""
    made = node(**{name: Known(EIGHT, "a test") for name in ("llama", "new")})
    for tokens in (0.0, 500.0):
        made.tick({A: served(tokens, tokens)}, gpus=[board()], table=TABLE)
    assert totals(made)

    for _ in range(3):
        made.tick(
            {A: vllm(tokens=600.0, model="new")},
            gpus=[board()],
            table=TABLE,
            every=FORGET_AFTER_SECONDS + 5,
        )

    assert {dict(key.labels)["model"] for key in made.state.roofline} <= {"new"}


def test_the_totals_of_a_target_that_is_forgotten_vanish() -> None:
    made = node(llama=Known(EIGHT, "a test"))
    for tokens in (0.0, 500.0):
        made.tick({A: served(tokens, tokens)}, gpus=[board()], table=TABLE)
    assert totals(made)

    made.tick({}, gpus=[board()], table=TABLE)

    assert totals(made) == {}


def test_an_engine_s_own_estimate_needs_no_facts_of_its_model() -> None:
    """Its GPUs are two: what it counts is of one of them."""
    made = node()
    who = '{engine="0",model_name="llama"}'
    boards = [board(), board(uuid="GPU-1", index=1)]
    for operations in (1.0, 1.0 + 989e12):
        text = f"vllm:estimated_flops_per_gpu_total{who} {operations}\n"
        made.tick({A: read_page(text)}, gpus=boards, table=TABLE)

    assert totals(made) == {ESTIMATED: pytest.approx(2.0, rel=0.01)}
