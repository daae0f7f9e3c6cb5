"""Simulated pairs as a Prometheus' history: what burnmeter's agents would have exported of them."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from burnmeter.provision.canary import Side, Slice
from tests import prometheus_history as history
from tests.canary_traffic import EQUAL, SLICE_SECONDS, Traffic, Worse, pair
from tests.prometheus_history import Counters, labels

START_SECONDS = 1_790_000_040.0
"""The start of a minute."""
SLICES = 30
UNTIL_SECONDS = START_SECONDS + SLICES * SLICE_SECONDS + 21.3
"""Not at the border of a slice: nobody asks then."""
CALM = Traffic(per_slice=200, uneven=0.1, own_burst=0.0, tail=8.0, tokens=0.05)
BOUNDS = ("0.25", "0.5", "1.0", "+Inf")
STORIES = {
    "equal": (CALM, EQUAL),
    "worse": (CALM, Worse(slow=0.1, error=0.05, cost_ratio=1.5)),
    "rough": (Traffic(burst_slices=2.0), Worse(slow=0.03)),
    "quiet": (Traffic(per_slice=2, uneven=0.3, error=0.0), EQUAL),
}
"""Each has the targets <name>-base and <name>-cand."""


def of_story(name: str) -> dict[str, list[Slice]]:
    """The slices of a story; always the same."""
    kind, worse = STORIES[name]
    return pair(random.Random(f"{name} 1"), kind, worse, SLICES)


def exported(target: str, side: int, slices: dict[str, list[Slice]]) -> Counters:
    """The counters of one side. `side`: 1 is the baseline."""

    def grown(measure: str, value: str) -> list[float | None]:
        by_time = {one.at_seconds: one[side] for one in slices[measure]}
        sides = (by_time.get(SLICE_SECONDS * number) for number in range(SLICES))
        return [0.0 if one is None else amount(one, value) for one in sides]

    found: dict[tuple[str, history.Labels], list[float | None]] = {}
    who = {"model": "m", "target": target}
    for measure in ("ttft", "tpot"):
        family = f"burnmeter_{measure}_seconds"
        found[f"{family}_count", labels(**who)] = grown(measure, "whole")
        for bound in BOUNDS:
            value = {"0.25": "third", "0.5": "good"}.get(bound, "whole")
            found[f"{family}_bucket", labels(le=bound, **who)] = grown(measure, value)
    requests = "burnmeter_requests_total"
    for witness in ("engine", "http"):
        counted = {"counted_by": witness, **who}
        found[requests, labels(outcome="ok", **counted)] = grown("errors", "good")
    found[requests, labels(outcome="error", counted_by="engine", **who)] = [0.0] * SLICES
    found[requests, labels(outcome="error", counted_by="http", **who)] = grown("errors", "part")
    found[requests, labels(outcome="error", counted_by="estimate", **who)] = [100.0] * SLICES
    tokens = labels(kind="generated", **who)
    found["burnmeter_tokens_total", tokens] = grown("cost", "whole")
    found["burnmeter_tokens_total", labels(kind="prompt", **who)] = [1e9] * SLICES
    for state in ("busy", "idle"):
        spent = labels(state=state, gpu="0", **who)
        for measure in ("cost_dollars", "energy_joules"):
            found[f"burnmeter_{measure}_total", spent] = grown(measure.split("_")[0], "half")
    return found


def amount(side: Side, value: str) -> float:
    """What a counter grew by, of a part and a whole."""
    return {
        "whole": side.whole,
        "part": side.part,
        "half": side.part / 2,
        "good": side.whole - side.part,
        "third": (side.whole - side.part) / 3,
    }[value]


def renamed(counters: Counters, target: str) -> Counters:
    """The same under another target."""
    return {
        (name, tuple((label, target if label == "target" else value) for label, value in whose)): g
        for (name, whose), g in counters.items()
    }


def late(counters: Counters, first: int) -> Counters:
    """The same, from this slice on only."""
    return {key: [None] * first + grown[first:] for key, grown in counters.items()}


def restarted(counters: Counters, at: Sequence[int]) -> Counters:
    """The same, with a restart in these slices."""
    return {
        key: [history.RESTART if n in at else g for n, g in enumerate(grown)]
        for key, grown in counters.items()
    }


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A Prometheus that has seen all stories, and a few candidates that went wrong otherwise."""
    sides = {
        f"{name}-{word}": exported(f"{name}-{word}", side, of_story(name))
        for name in STORIES
        for side, word in ((1, "base"), (2, "cand"))
    }
    equal = sides["equal-cand"]
    others = (
        renamed(late(equal, 15), "late"),
        renamed(late(equal, 5), "started"),
        renamed(restarted(equal, (7, 20)), "restarted"),
        renamed(only(equal, ("ttft", "requests"), ("engine",)), "bare"),
        renamed(only(sides["worse-cand"], ("requests",), ("engine", "http")), "failing"),
    )
    everything = history.merged((*sides.values(), *others))
    with history.served(everything, folder, START_SECONDS, SLICE_SECONDS) as url:
        yield url


def only(counters: Counters, words: Sequence[str], without: Sequence[str]) -> Counters:
    """Families with one of these words, and no successes counted by these."""
    return {
        (name, whose): grown
        for (name, whose), grown in counters.items()
        if any(word in name for word in words)
        and not (("outcome", "ok") in whose and dict(whose).get("counted_by") in without)
    }
