"""How long the GPUs would have taken at their limits for what an engine has done. Pure.

A GPU cannot be faster than its memory moves weights and cache, nor than its tensor cores multiply.
What an engine counted (tokens, steps) and what its model is (bytes, operations) give that time, in
seconds of one GPU; held against the time that its GPUs were busy it says how far the stack is from
the hardware. All are counters, so that any window and any fleet can be compared.

Surprising: it is an estimate in three places. Prompts and tokens are taken to have their turns,
requests to be as long as the mean of all so far, and experts to be chosen evenly.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from burnmeter import hardware
from burnmeter.attribution import Portion
from burnmeter.model import Gpu, Growth, Histogram, Key
from burnmeter.model_facts import ModelFacts
from burnmeter.model_facts.known import Library
from burnmeter.watch import Look

MEASURE: Final = "roofline_seconds_total"
PREFILL, DECODE, FLOOR, ESTIMATED = "prefill", "decode", "decode_floor", "estimated"
WORKS: Final = {
    PREFILL: "prompts that were not in the cache",
    DECODE: "generated tokens, in batches as large as they were",
    FLOOR: "the same in endless batches, so that reading the weights costs nothing",
    ESTIMATED: "all of it, as the engine itself estimates bytes and operations",
}
Lengths = Callable[[Look, str, str], Histogram | None]
"""A look, a measure and a model -> what its requests have measured since first sight."""


class Limits(NamedTuple):
    """What one GPU can do at most."""

    bytes_per_second: float
    operations_per_second: float
    source: str


class Work(NamedTuple):
    """What one engine did for one model between two looks."""

    generated: float
    computed: float
    """Tokens of prompts that were not in the cache."""
    steps: float
    batch: float
    """Tokens of a step, on the mean. An engine may count tokens only as their requests end."""
    prompt_mean: float
    """Tokens of a request, on the mean."""
    generated_mean: float


def accrue(
    so_far: Mapping[Key, float],
    looks: Iterable[Look],
    gpus_of: Callable[[str], Sequence[Gpu]],
    library: Library,
    lengths: Lengths,
    cached: Mapping[tuple[str, str], float],
) -> dict[Key, float]:
    """The totals after one more tick; `gpus_of` has those that a target holds.

    `cached`: of a target's prompts for a model, as prompts.py tells it.
    """
    totals = dict(so_far)
    for found in looks:
        if found.growth is None or found.watched.vantage != "engine":
            continue
        name = found.watched.target.name
        gpus = gpus_of(name)
        for model in found.watched.models if gpus else ():
            share = cached.get((name, model), 0.0)
            for work_, took in _of(found, model, gpus, library, lengths, share).items():
                key = Key(MEASURE, (("model", model), ("target", name), ("work", work_)))
                totals[key] = totals.get(key, 0.0) + took
    return totals


def _of(
    found: Look,
    model: str,
    gpus: Sequence[Gpu],
    library: Library,
    lengths: Lengths,
    cached_ratio: float,
) -> dict[str, float]:
    """Work -> seconds of one GPU at its limits, as far as they are known."""
    now, grown = found.watched, found.growth
    assert grown is not None, "asked only of what grew"
    facts = library.of(now.target.name, model, now.models).facts
    most = limits(gpus, facts.compute_format if facts is not None else "bf16")
    if most is None:
        return {}
    ranks = now.target.local_ranks or ("",)
    by_rank = now.target.gpus_per_rank or len(gpus) / len(ranks)
    told = estimated(model, grown, by_rank, most)
    took = {} if told is None else {ESTIMATED: told}
    means = [mean(lengths(found, name, model)) for name in LENGTHS]
    running = now.running_here
    batch = running / len(ranks) if running is not None else None
    done = work(model, grown, means, batch, cached_ratio)
    if facts is not None and done is not None:
        took |= seconds(done, facts, most)
    return took


LENGTHS: Final = ("request_prompt_tokens", "request_generated_tokens")


def held(
    gpus: Iterable[Gpu], portions: Mapping[str, Sequence[Portion]], target: str
) -> tuple[Gpu, ...]:
    """Those of which the target has a part."""
    return tuple(
        gpu for gpu in gpus if any(p.share.target == target for p in portions.get(gpu.uuid, ()))
    )


def limits(gpus: Sequence[Gpu], computed_in: str) -> Limits | None:
    """Of the GPUs that an engine holds: those of the slowest. None: one of them is not known."""
    found = [_limits(gpu, computed_in) for gpu in gpus]
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    return min(known, key=lambda one: one.bytes_per_second)


def _limits(gpu: Gpu, computed_in: str) -> Limits | None:
    peak = hardware.peak(gpu.name)
    rate = hardware.operations_per_second(peak, computed_in) if peak is not None else None
    if peak is None or rate is None:
        return None
    measured = gpu.memory_bandwidth_bytes_per_second
    bandwidth = measured if measured is not None else peak.bandwidth_bytes_per_second
    said = "NVML" if measured is not None else "its data sheet"
    return Limits(
        bandwidth,
        rate,
        f"{gpu.name}: {bandwidth / 1e12:.2f} TB/s by {said}, {rate / 1e12:.0f} TFLOP/s dense in"
        f" {computed_in} by its data sheet",
    )


def work(
    model: str,
    grown: Growth,
    means: Sequence[float | None],
    running: float | None,
    cached_ratio: float,
) -> Work | None:
    """What it did; `means` are the lengths of its requests, `running` is a rank's batch now.

    None: nobody knows in how large batches, or on how long requests.
    """
    counted = grown.here if grown.here is not None else grown.counters

    def count(kind: str) -> float:
        return counted.get(Key("tokens_total", (("kind", kind), ("model", model))), 0.0)

    generated, prompt = count("generated"), count("prompt")
    steps = counted.get(Key("engine_steps_total", (("model", model),)))
    if steps is None and generated > 0:
        steps = generated / running if running else None
    if None in means or (generated > 0 and steps is None):
        return None
    return Work(
        generated=generated,
        computed=prompt * (1.0 - cached_ratio),
        steps=steps or 0.0,
        batch=generated / steps if steps and generated > 0 else running or 0.0,
        prompt_mean=means[0] or 0.0,
        generated_mean=means[1] or 0.0,
    )


def mean(histogram: Histogram | None) -> float | None:
    """Of all that it has measured; 0 before the first, None if nobody measures it."""
    if histogram is None or histogram.sum is None:
        return None
    return histogram.sum / histogram.total if histogram.total > 0 else 0.0


def seconds(done: Work, facts: ModelFacts, most: Limits) -> dict[str, float]:
    """Work -> seconds of one GPU at its limits."""
    context = done.prompt_mean + done.generated_mean / 2
    cache_bytes = done.generated * facts.kv_read_bytes(context)
    operations = done.generated * facts.flops(context)
    weight_bytes = done.steps * facts.step_weight_bytes(done.batch)
    computing = operations / most.operations_per_second
    prompts = done.computed * facts.flops(done.prompt_mean / 2)
    return {
        PREFILL: prompts / most.operations_per_second,
        DECODE: max((weight_bytes + cache_bytes) / most.bytes_per_second, computing),
        FLOOR: max(cache_bytes / most.bytes_per_second, computing),
    }


def estimated(model: str, grown: Growth, gpus_per_rank: float, most: Limits) -> float | None:
    """The same by the engine's own count of bytes and operations; None: it does not count them.

    Its counts are of one GPU of each rank. A count that stands at 0 is one that is switched off.
    """
    of = (("model", model),)
    counted = grown.here if grown.here is not None else grown.counters
    operations = counted.get(Key("estimated_operations_total", of), 0.0)
    moved = [
        counted.get(Key("estimated_moved_bytes_total", (("kind", way), *of)), 0.0)
        for way in ("read", "write")
    ]
    if operations <= 0 and sum(moved) <= 0:
        return None
    took = max(operations / most.operations_per_second, sum(moved) / most.bytes_per_second)
    return gpus_per_rank * took
