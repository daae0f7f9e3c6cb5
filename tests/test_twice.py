"""Over any history of engines, a gateway and a probe of one model nothing is counted twice.

The truth is kept beside the pages: a request passes the gateway once, and at most one engine. All
pages of a tick are of one moment, so the bound over a switch of vantage is zero here; on a node it
is what happens between the first and the last page of a tick.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import pipeline
from burnmeter.model import (
    About,
    Checkup,
    Failure,
    Objective,
    PageReading,
    ServedModel,
    Target,
)
from burnmeter.page import Page, read_page
from burnmeter.pipeline import Readings
from tests.fakes import gpu, objective, processes, reading, target, vllm
from tests.test_pipeline import Node
from tests.test_vantage import litellm, llamacpp

REFUSED = Failure("refused", "nothing listens")
SLOW = Failure("timeout", "no answer within 4 s")
UNREAD = {"missed": SLOW, "refused": REFUSED}
PAST = 40
"""What an engine had counted before anybody watched."""
FIRST = replace(target("first", pid=10, origin="process"), model="chat")
SECOND = replace(target("second", pid=20), model="chat", least_interval_seconds=15.0)
GATEWAY = replace(target("gateway"), least_interval_seconds=10.0)
PROBE = replace(target("probe", origin="probe"), model="chat", least_interval_seconds=20.0)


def probe(*, ok: int, failed: int, started: float) -> Page:
    """Our own probe's page."""
    total = 'burnmeter_probe:requests_total{model="chat",outcome='
    return read_page(
        f'{total}"ok"}} {ok}\n{total}"error"}} {failed}\n'
        f"burnmeter_probe:start_timestamp_seconds {started}\n"
    )


def gateway(*, ok: int, failed: int, started: float) -> Page:
    """A gateway that says when it began."""
    page = litellm(ok=ok, failed=failed)
    return page._replace(
        series=(*page.series, "process_start_time_seconds"), values=[*page.values, started]
    )


class Step(NamedTuple):
    """What happens before and at one tick."""

    served: tuple[int, int, int]
    """By the first engine, the second, and to the probe (through the gateway and the second)."""
    failed: int
    """At the gateway, for want of an engine."""
    looks: tuple[str, str, str, str]
    """read, missed, refused or resting: of each target."""
    restarts: frozenset[str]


LOOKS = st.sampled_from(["read", "read", "read", "missed", "refused", "resting"])
NAMES = ("first", "second", "gateway", "probe")
steps = st.builds(
    Step,
    st.tuples(*[st.integers(0, 5)] * 3),
    st.integers(0, 3),
    st.tuples(*[LOOKS] * 4),
    st.frozensets(st.sampled_from(NAMES[:3]), max_size=1),
)
histories = st.lists(steps, min_size=2, max_size=14)


@dataclass
class Counted:
    """One page's counts, by life, and what of them was shown to the agent."""

    started: float
    ok: int = 0
    failed: int = 0
    before: int = 0
    life: int = 0
    shown: dict[int, tuple[int, int]] = field(default_factory=dict)

    def restart(self, at: float) -> None:
        self.started, self.ok, self.failed, self.life = at, 0, 0, self.life + 1

    def show(self) -> None:
        if not self.shown and self.started <= 1000.0:
            self.before = self.ok
        self.shown[self.life] = self.ok, self.failed

    def seen(self) -> tuple[int, int]:
        """Requests that went well and that failed while somebody watched."""
        ok, failed = map(sum, zip((0, 0), *self.shown.values(), strict=True))
        return ok - self.before, failed


class Story:
    """A node, and what truly happened on it."""

    def __init__(self, first_is: str, objectives: tuple[Objective, ...]) -> None:
        self.node = Node(*objectives)
        self.first_is = first_is
        self.truth = 0
        self.of = {name: Counted(started=1001.0) for name in NAMES}
        self.of["first"] = Counted(started=900.0, ok=PAST)

    def take(self, step: Step) -> None:
        """One tick."""
        node = self.node
        for name in step.restarts:
            self.of[name].restart(max(1001.0, 1000.0 + node.at - 2.0))
        first, second, probed = step.served
        self.of["first"].ok += first
        self.of["second"].ok += second + probed
        self.of["gateway"].ok += first + second + probed
        self.of["gateway"].failed += step.failed
        self.of["probe"].ok += probed
        self.truth += first + second + probed + step.failed
        targets = FIRST, SECOND, GATEWAY, PROBE
        pages: dict[str, tuple[PageReading, Page | None]] = {}
        for one, how in zip(targets, step.looks, strict=True):
            now = self.of[one.name]
            # The bound over a switch: who refuses us while it already serves anew is taken for
            # dead, and what it did till then may count once more.
            is_unknown = now.life > 0 and now.life not in now.shown
            failure = SLOW if is_unknown and how == "refused" else UNREAD.get(how)
            if how != "resting" or one.least_interval_seconds is None:
                page = None if failure else self._page(one.name)
                pages[one.name] = reading(node.at, failure, name=one.name), page
        self._tick(targets, pages)

    def _page(self, name: str) -> Page:
        now = self.of[name]
        now.show()
        if name == "first" and self.first_is == "llamacpp":
            return llamacpp(tokens=now.ok)
        if name in ("first", "second"):
            return vllm(ok=now.ok, tokens=10 * now.ok, started=now.started)
        if name == "gateway":
            return gateway(ok=now.ok, failed=now.failed, started=now.started)
        return probe(ok=now.ok, failed=now.failed, started=now.started)

    def _tick(
        self, targets: tuple[Target, ...], pages: Mapping[str, tuple[PageReading, Page | None]]
    ) -> None:
        node = self.node
        held = [gpu("GPU-0", 10), gpu("GPU-1", 20, 10), gpu("GPU-2")]
        node.state = pipeline.tick(
            node.state,
            Readings(
                at_seconds=node.at,
                timestamp_seconds=1000.0 + node.at,
                targets=targets,
                pages=pages,
                gpus=node._gpus(held),
                processes=node._table(processes((10, 1), (20, 1))),
            ),
            node.settings,
        )
        node.at += 5.0


def valid(node: Node, model: str = "chat") -> float:
    """Requests that the error rate has counted."""
    kept = node.state.kept.get(("errors", model))
    ledger = kept.ledger if kept is not None else None
    return ledger[-1].valid if ledger else 0.0


def looks(node: Node, seen: Mapping[Target, Page | Failure | None]) -> None:
    """A tick at which some targets rest."""
    pages: dict[str, tuple[PageReading, Page | None]] = {}
    for one, what in seen.items():
        if what is not None:
            failure = what if isinstance(what, Failure) else None
            page = None if isinstance(what, Failure) else what
            pages[one.name] = reading(node.at, failure, name=one.name), page
    now = Readings(
        at_seconds=node.at,
        timestamp_seconds=1000.0 + node.at,
        targets=tuple(seen),
        pages=pages,
        gpus=None,
        processes=None,
    )
    node.state = pipeline.tick(node.state, now, node.settings)
    node.at += 5.0


def sglang(*, ranks: Mapping[str, int]) -> Page:
    """Requests as each tensor-parallel rank shows them."""
    rows = [
        f'sglang:{name}{{model_name="m",tp_rank="{rank}"}} {count * factor}\n'
        for rank, count in ranks.items()
        for name, factor in (("num_requests_total", 1), ("generation_tokens_total", 10))
    ]
    return read_page("".join(rows))


# --- any history ---------------------------------------------------------------------------------


@given(histories)
def test_each_vantages_totals_are_what_it_showed_while_it_was_watched(history: list[Step]) -> None:
    story = Story("vllm", ())
    for step in history:
        story.take(step)

    of, node = story.of, story.node
    engines = of["first"].seen()[0] + of["second"].seen()[0]
    assert node.total("requests_total") == engines
    assert node.total("tokens_total") == 10 * engines
    assert node.total("gateway_requests_total", outcome="ok") == of["gateway"].seen()[0]
    assert node.total("gateway_requests_total", outcome="error") == of["gateway"].seen()[1]
    assert node.total("gateway_tokens_total") == 10 * of["gateway"].seen()[0]
    assert node.total("probe_requests_total") == of["probe"].seen()[0]


@given(histories, st.sampled_from(["vllm", "llamacpp"]))
def test_the_error_rate_counts_no_request_twice_from_wherever_it_is_counted(
    history: list[Step], first_is: str
) -> None:
    story = Story(first_is, (objective("errors"),))
    for step in history:
        story.take(step)
        # Were two vantages added, or one after the other of the same time, it would be more.
        assert valid(story.node) <= story.truth


def test_time_that_engines_measured_is_not_measured_again_by_a_gateway_that_restarted() -> None:
    """It is dead for a tick and rests for one; its next page is of the 15 s since its last."""
    looks = ["read"] * 4 + ["refused", "resting", "read"]
    story = Story("vllm", (objective("errors"),))
    for number, gateway_ in enumerate(looks):
        restarts = frozenset({"gateway"} if number == 6 else ())
        story.take(Step((0, 0, 0), 0, ("read", "missed", gateway_, "read"), restarts))
        (kept,) = [one for name, one in story.node.state.kept.items() if name[1] == "chat"]
        assert kept.ledger[-1].measured_seconds == 5.0 * number


@given(histories)
def test_no_total_and_no_ledger_ever_falls_and_gpu_time_adds_up(history: list[Step]) -> None:
    story = Story("vllm", (objective("errors"), objective("availability")))
    before: dict[object, float] = {}
    for number, step in enumerate(history):
        story.take(step)
        state = story.node.state
        now: dict[object, float] = dict(state.counters)
        # Until its page is read the gateway's model is called after the target.
        ledgers = {name: one.ledger for name, one in state.shown.items() if name[1] == "chat"}
        now |= {(name, "valid"): marks[-1].valid for name, marks in ledgers.items()}
        now |= {(name, "good"): marks[-1].good_lower for name, marks in ledgers.items()}
        measured = [marks[-1].measured_seconds for marks in ledgers.values()]
        assert before.keys() <= now.keys()
        assert all(now[key] >= value for key, value in before.items())
        assert max(measured) <= 5.0 * number
        for kept in state.kept.values():
            assert kept.ledger[-1].measured_seconds <= kept.watched_seconds <= 5.0 * number
        assert sum(s.gpu_seconds for s in state.purse.spends.values()) == 15.0 * number
        dollars = sum(s.dollars or 0.0 for s in state.purse.spends.values())
        assert dollars == pytest.approx(0.001 * 15.0 * number)
        before = now


# --- over a switch of vantage --------------------------------------------------------------------


def test_an_engine_that_refused_once_and_lives_on_does_not_count_again_what_its_gateway_did() -> (
    None
):
    node = Node(objective("errors"))
    node.tick({FIRST: vllm(ok=5), GATEWAY: litellm(ok=5)})
    node.tick({FIRST: REFUSED, GATEWAY: litellm(ok=9)})
    node.tick({FIRST: vllm(ok=12), GATEWAY: litellm(ok=12)})
    assert valid(node) == 7.0
    assert node.state.kept["errors", "chat"].source == "gateway"

    node.tick({FIRST: vllm(ok=13), GATEWAY: litellm(ok=13)})
    assert valid(node) == 8.0
    assert node.state.kept["errors", "chat"].source == "engine"


def test_that_a_gateway_has_counted_is_not_forgotten_at_a_look_that_it_missed() -> None:
    node = Node(objective("errors"))
    node.tick({FIRST: SLOW, GATEWAY: litellm()})
    node.tick({FIRST: SLOW, GATEWAY: litellm(ok=5)})
    node.tick({FIRST: SLOW, GATEWAY: SLOW})
    node.tick({FIRST: vllm(ok=7, started=1001.0), GATEWAY: litellm(ok=7)})
    assert valid(node) == 7.0

    node.tick({FIRST: vllm(ok=9, started=1001.0), GATEWAY: litellm(ok=9)})
    assert valid(node) == 9.0


def test_a_gateway_that_was_silent_while_its_engine_counted_begins_with_its_next_look() -> None:
    node = Node(objective("errors"))
    node.tick({FIRST: vllm(), GATEWAY: litellm()})
    node.tick({FIRST: vllm(ok=5), GATEWAY: SLOW})
    node.tick({FIRST: REFUSED, GATEWAY: litellm(ok=5, failed=2)})
    assert valid(node) == 5.0
    assert node.state.kept["errors", "chat"].unmeasured == "first: nothing listens"

    node.tick({FIRST: REFUSED, GATEWAY: litellm(ok=5, failed=9)})
    assert valid(node) == 12.0


def test_a_gateway_that_rested_while_its_engine_counted_begins_with_its_next_look() -> None:
    node = Node(objective("errors"))
    looks(node, {FIRST: vllm(), GATEWAY: litellm()})
    looks(node, {FIRST: vllm(ok=4), GATEWAY: None})
    looks(node, {FIRST: REFUSED, GATEWAY: litellm(ok=4, failed=1)})
    assert valid(node) == 4.0
    looks(node, {FIRST: REFUSED, GATEWAY: None})
    looks(node, {FIRST: REFUSED, GATEWAY: litellm(ok=4, failed=6)})
    assert valid(node) == 9.0


def test_targets_of_different_paces_have_not_measured_more_time_than_there_was() -> None:
    node = Node(objective("errors"))
    for number in range(7):
        slow = probe(ok=number, failed=0, started=1001.0) if number % 2 == 0 else None
        other = replace(PROBE, name="other", least_interval_seconds=None)
        looks(node, {other: probe(ok=number, failed=0, started=1001.0), PROBE: slow})

    assert node.state.kept["errors", "chat"].ledger[-1].measured_seconds == 30.0
    assert valid(node) == 12.0


def test_a_gateway_that_has_answered_nobody_well_has_an_error_rate() -> None:
    """As after its restart, while its engine is dead: no row says yet that none went well."""
    total = "litellm_proxy_total_requests_metric_total"
    who = 'requested_model="chat",route="/v1/completions",status_code="500"'
    node = Node(objective("errors"))
    node.tick({GATEWAY: litellm(ok=90)})
    node.tick({GATEWAY: read_page(f"{total}{{{who}}} 7\n")})
    node.tick({GATEWAY: read_page(f"{total}{{{who}}} 16\n")})

    ledger = node.state.kept["errors", "chat"].ledger[-1]
    assert (ledger.valid, ledger.good_upper) == (16.0, 0.0)
    assert node.state.kept["errors", "chat"].unmeasured is None
    assert node.total("gateway_requests_total", outcome="ok") == 0.0


# --- copies, spellings, roles, names -------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 9), st.frozensets(st.sampled_from("0123"), min_size=1))),
)
def test_a_copied_rank_adds_nothing_whenever_it_comes_or_goes(
    history: list[tuple[int, frozenset[str]]],
) -> None:
    node, one, count = Node(), target("engine"), 3
    node.tick({one: sglang(ranks={"0": 3, "1": 3})})
    for more, ranks in history:
        count += more
        node.tick({one: sglang(ranks=dict.fromkeys(sorted(ranks), count))})

    assert node.total("tokens_total") == 10 * (count - 3)


def test_a_second_spelling_that_comes_late_goes_on_from_the_first() -> None:
    def page(count: int, *, is_both: bool) -> Page:
        names = ["vllm:time_per_output_token_seconds"]
        names += ["vllm:inter_token_latency_seconds"] if is_both else []
        who = 'model_name="m"'
        lines = [f"{name}_count{{{who}}} {count}\n" for name in names]
        lines += [f"{name}_sum{{{who}}} {count}\n" for name in names]
        lines += [f'{name}_bucket{{{who},le="{le}"}} {count}\n' for name in names for le in "1"]
        lines += [f'{name}_bucket{{{who},le="+Inf"}} {count}\n' for name in names]
        return read_page("".join(lines))

    node, one = Node(), target("engine")
    for count, is_both in ((50, False), (60, True), (70, False), (75, True)):
        node.tick({one: page(count, is_both=is_both)})

    [found] = [h for key, h in node.state.histograms.items() if key.measure == "itl_seconds"]
    assert (found.total, found.sum) == (25.0, 25.0)


def test_a_target_that_begins_anew_in_another_role_is_counted_by_that_role() -> None:
    node = Node()
    prefill, decode = (replace(FIRST, role=role) for role in ("prefill", "decode"))
    node.tick({prefill: vllm(started=1001.0)})
    node.tick({prefill: vllm(ok=5, started=1001.0)})
    assert node.total("requests_total") == 0.0

    node.tick({decode: vllm(ok=2, started=1008.0)})
    assert node.state.watched["first"].page is not None
    assert node.state.watched["first"].page.role == "decode"
    assert node.total("requests_total") == 2.0


def test_an_engine_that_comes_back_as_a_gateway_is_counted_there_from_then_on() -> None:
    node = Node(objective("errors"))
    node.tick({FIRST: vllm(ok=5, started=1001.0)})
    node.tick({FIRST: REFUSED})
    node.tick({FIRST: gateway(ok=3, failed=1, started=1008.0)})

    assert node.total("requests_total") == 5.0
    assert node.total("gateway_requests_total") == 4.0
    assert valid(node) == 9.0


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([None, "x", "y", "llama"]))))
def test_a_model_that_is_renamed_again_and_again_counts_once_and_leaves_no_objective_behind(
    history: list[tuple[int, str | None]],
) -> None:
    node, one, count, counted = Node(objective("errors")), target("engine"), 5, 0.0
    node.tick({one: vllm(ok=count)})
    for more, name in history:
        count += more
        before = dict(node.state.kept)
        said = About(models=(ServedModel(name, "llama", None),)) if name else None
        read = reading(node.at, name="engine")._replace(about=said)
        node.look({one: (read, vllm(ok=count))})
        [(key, kept)] = node.state.shown.items()
        old = before[key].ledger[-1].valid if key in before else 0.0
        counted += kept.ledger[-1].valid - old

    assert node.total("requests_total") == count - 5
    assert counted == count - 5


@pytest.mark.parametrize("is_seen_dead", [True, False])
def test_what_an_engine_was_ill_of_ends_with_its_process(is_seen_dead: bool) -> None:
    node, one = Node(objective("availability")), target("engine")
    ill = Checkup(is_well=False, is_answer=True, text="/health answers HTTP 503")
    read = reading(node.at, name="engine")._replace(checkup=ill)
    node.look({one: (read, vllm(started=1001.0))})
    assert node.state.watched["engine"].illness is not None

    if is_seen_dead:
        node.tick({one: REFUSED})
        assert node.state.watched["engine"].illness is None
    node.tick({one: vllm(started=1011.0)})
    assert node.state.watched["engine"].illness is None
    assert node.state.watched["engine"].bad_checkups is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1))
def test_processes_that_answer_in_turn_at_one_address_are_each_counted_once(
    history: list[tuple[str, int]],
) -> None:
    """Two were there before our watch; the third began under it, so its first page counts whole."""
    node, one, counted = Node(), target("engine"), 0
    began = {"a": 500.0, "b": 600.0, "c": 1001.0}
    counts, shown = {"a": 100_000, "b": 200_000, "c": 7}, {"a": 100_000}
    node.tick({one: vllm(ok=counts["a"], started=began["a"])})
    for who, more in history:
        counts[who] += more
        counted += counts[who] - shown.get(who, 0 if who == "c" else counts[who])
        shown[who] = counts[who]
        node.tick({one: vllm(ok=counts[who], started=began[who])})

    assert node.total("requests_total") == counted


def test_a_gateway_of_more_models_than_find_a_place_counts_every_request_once() -> None:
    def page(count: int) -> Page:
        total = "litellm_proxy_total_requests_metric_total"
        route = 'route="/v1/completions",status_code="200"'
        models = [f'requested_model="alias-{number:03}"' for number in range(500)]
        return read_page("".join(f"{total}{{{one},{route}}} {count}\n" for one in models))

    node = Node(objective("errors"))
    for count in (2, 3, 5):
        node.tick({GATEWAY: page(count)})

    most = node.settings.terms.models_per_target
    assert node.total("gateway_requests_total") == 1500.0
    assert node.total("gateway_requests_total", model="other") == 3.0 * (500 - most)
    assert len(node.state.shown) == most + 1
    assert sum(one.ledger[-1].valid for one in node.state.shown.values()) == 1500.0


def test_rates_per_second_speak_for_no_more_than_two_intervals_of_a_gap() -> None:
    rate = read_page('request_counter_total:sum_by_deployment{base_model="m"} 2\n')
    node, one = Node(), replace(target("hosted"), least_interval_seconds=30.0)
    looks(node, {one: rate})
    for _ in range(29):
        looks(node, {one: SLOW if node.at % 30 == 0 else None})
    looks(node, {one: rate})

    assert node.at == 155.0
    assert node.total("requests_total") == 2 * 60.0
