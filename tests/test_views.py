"""What people are shown: rates over the recent window, and one state with its reason."""

from dataclasses import replace

import pytest

from burnmeter import recent, views
from burnmeter.frame import Frame, burn_events
from burnmeter.model import (
    About,
    Burn,
    EnginePage,
    Failure,
    Histogram,
    Key,
    ServedModel,
    Share,
    Spend,
    Tally,
    WindowBurn,
)
from burnmeter.page import read_page
from burnmeter.pipeline import Past, Settings, State, addressed
from burnmeter.recent import Recent
from burnmeter.snapshot import Quantile
from burnmeter.watch import Watched
from tests.fakes import (
    DURATION,
    LOST,
    OK,
    TOKENS,
    TTFT,
    histogram,
    key,
    objective,
    page,
    reading,
    requests,
    target,
    terms,
    vllm,
)
from tests.test_pipeline import Node

REFUSED = Failure("refused", "nothing listens on a:8000")
TIMEOUT = Failure("timeout", "no answer within 4 s")
RESTING = Failure("disabled", "its `tokens_per_day` (1000) would be exceeded")
HTML = Failure("html", "a web page, not metrics")
SHARE = Share("GPU-0", "llama", "a", "busy", "process_tree")


def past(
    at: float,
    counters: dict[Key, float] | None = None,
    histograms: dict[Key, Histogram] | None = None,
    *,
    spends: dict[Share, Spend] | None = None,
    made: float | None = None,
    on: str = "a",
) -> Past:
    """Totals of one target. `made`: its GPUs' tokens."""
    key = Key("made_tokens_total", (("model", "llama"), ("vantage", "engine")))
    return Past(
        at_seconds=at,
        counters={addressed(k, "vllm", "engine", on): v for k, v in (counters or {}).items()},
        histograms={addressed(k, "vllm", "engine", on): v for k, v in (histograms or {}).items()},
        spends=spends or {},
        revenue={},
        made={key: made} if made is not None else {},
    )


def llama(*ticks: Past) -> Recent:
    return recent.by_model(ticks)["llama"]


# --- the recent window ---------------------------------------------------------------------------


def test_a_rate_is_growth_over_the_time_between_two_ticks() -> None:
    did = llama(
        past(0.0, {TOKENS: 100.0}), past(50.0, {TOKENS: 600.0}), past(60.0, {TOKENS: 700.0})
    )

    assert did.counter("tokens_total", kind="generated") == 600.0
    assert did.rate("tokens_total", kind="generated") == 10.0


def test_at_first_sight_no_rate_is_known() -> None:
    did = llama(past(0.0), past(5.0, {TOKENS: 100.0}))

    assert did.rate("tokens_total", kind="generated") is None
    assert views.error_ratio(did) == (None, None)
    assert did.totals[TOKENS] == 100.0


def test_a_model_that_appeared_within_the_window_is_measured_since_then() -> None:
    did = llama(past(0.0), past(50.0, {TOKENS: 0.0}), past(60.0, {TOKENS: 40.0}))

    assert (did.seconds, did.rate("tokens_total", kind="generated")) == (10.0, 4.0)


def test_a_counter_born_within_the_window_began_at_zero() -> None:
    did = llama(past(0.0, {OK: 5.0}), past(60.0, {OK: 5.0, TOKENS: 60.0}))

    assert did.rate("tokens_total", kind="generated") == 1.0


def test_all_targets_of_a_model_add_up() -> None:
    both = [
        replace(
            past(at, {TOKENS: value}),
            counters={
                **past(at, {TOKENS: value}).counters,
                **past(at, {TOKENS: 10 * value}, on="b").counters,
            },
        )
        for at, value in ((0.0, 1.0), (10.0, 2.0))
    ]

    assert llama(*both).counter("tokens_total", kind="generated") == 11.0


def test_a_target_that_vanished_takes_nothing_away() -> None:
    both = {**past(0.0, {TOKENS: 5.0}).counters, **past(0.0, {TOKENS: 900.0}, on="b").counters}

    did = llama(replace(past(0.0), counters=both), past(10.0, {TOKENS: 7.0}))

    assert did.counter("tokens_total", kind="generated") == 2.0


def test_a_target_that_was_forgotten_and_found_again_counts_from_zero() -> None:
    did = llama(past(0.0, {TOKENS: 900.0}), past(10.0, {TOKENS: 7.0}))

    assert did.counter("tokens_total", kind="generated") == 7.0


def test_another_model_s_counters_are_its_own() -> None:
    other = key("tokens_total", model="qwen", kind="generated")

    did = recent.by_model(
        (past(0.0, {TOKENS: 1.0, other: 1.0}), past(5.0, {TOKENS: 2.0, other: 9.0}))
    )

    assert did["qwen"].counter("tokens_total", kind="generated") == 8.0


def test_latencies_are_of_the_window_alone() -> None:
    slow, both = histogram([9.0] * 5), histogram([9.0] * 5 + [0.05])

    did = llama(past(0.0, {OK: 0.0}, {TTFT: slow}), past(5.0, {OK: 1.0}, {TTFT: both}))

    assert views.latency(did.histograms["ttft_seconds"]).quantiles["p99"] == Quantile(0.0, 0.1)


def test_latencies_in_other_buckets_than_before_began_again() -> None:
    fine = histogram([0.3], bounds=(0.2, 0.4))

    did = llama(
        past(0.0, {OK: 0.0}, {TTFT: histogram([0.3] * 7)}), past(5.0, {OK: 1.0}, {TTFT: fine})
    )

    assert did.histograms["ttft_seconds"] == fine


def test_money_of_the_window_is_that_of_all_its_shares() -> None:
    idle = SHARE._replace(state="idle")
    before = {SHARE: Spend(50.0, 1000.0, 1.0, 50.0, 50.0)}
    after = {
        SHARE: Spend(60.0, 1500.0, 1.5, 60.0, 60.0),
        idle: Spend(5.0, 100.0, 0.25, 5.0, 5.0),
    }

    did = llama(past(0.0, {OK: 0.0}, spends=before), past(15.0, {OK: 1.0}, spends=after))

    assert did.spend == Spend(15.0, 600.0, 0.75, 15.0, 15.0)
    assert did.held_seconds == 15.0


def test_money_of_which_a_part_is_not_known_is_not_known() -> None:
    other = SHARE._replace(gpu="GPU-1")
    after = {
        SHARE: Spend(60.0, None, 1.5, 0.0, 60.0),
        other: Spend(60.0, 900.0, 1.5, 60.0, 60.0),
    }

    did = llama(past(0.0, {OK: 0.0}), past(15.0, {OK: 1.0}, spends=after))

    assert (did.spend.joules, did.spend.dollars) == (None, 3.0)


def test_what_catches_up_within_the_window_is_not_all_of_it() -> None:
    """The driver was silent before the window, and told it all in it."""
    before = {SHARE: Spend(50.0, 1000.0, 1.0, 30.0, 50.0)}
    after = {SHARE: Spend(60.0, 4000.0, 1.1, 60.0, 60.0)}

    did = llama(past(0.0, {OK: 0.0}, spends=before), past(10.0, {OK: 1.0}, spends=after))

    assert did.spend.joules is None
    assert did.spend.dollars == pytest.approx(0.1)


def test_time_with_gpus_begins_at_the_tick_before_the_first_that_was_billed() -> None:
    held = {SHARE: Spend(5.0, None, 0.1, 0.0, 5.0)}

    did = llama(
        past(0.0, {OK: 0.0}),
        past(5.0, {OK: 1.0}),
        past(10.0, {OK: 2.0}, spends=held),
        past(15.0, {OK: 3.0}, spends={SHARE: Spend(10.0, None, 0.2, 0.0, 10.0)}),
    )

    assert (did.seconds, did.held_seconds) == (15.0, 10.0)


def test_a_share_that_was_put_under_no_model_takes_nothing_from_the_others() -> None:
    old = SHARE._replace(pod="old")
    before = {old: Spend(50.0, None, 1.0, 0.0, 50.0), SHARE: Spend(5.0, None, 0.1, 0.0, 5.0)}
    after = {SHARE: Spend(15.0, None, 0.3, 0.0, 15.0)}

    did = llama(past(0.0, {OK: 0.0}, spends=before), past(10.0, {OK: 1.0}, spends=after))

    assert (did.spend.gpu_seconds, did.spend.dollars) == (10.0, pytest.approx(0.2))


@pytest.mark.parametrize(
    ("failed", "ratios"),
    [
        pytest.param({}, (0.0, 0.0), id="none"),
        pytest.param({requests("error"): 10.0}, (0.1, 0.1), id="one witness"),
        pytest.param({LOST: 10.0}, (0.0, 0.1), id="an estimate"),
    ],
)
def test_the_error_ratio_is_at_least_and_at_most(
    failed: dict[Key, float], ratios: tuple[float, float]
) -> None:
    good = 100.0 - sum(failed.values())

    did = llama(past(0.0, {OK: 0.0}), past(5.0, {OK: good, **failed}))

    assert views.error_ratio(did) == pytest.approx(ratios)


# --- states --------------------------------------------------------------------------------------


def up(name: str = "a", *, running: float = 1.0, is_stalled: bool | None = False) -> Watched:
    return Watched(target=target(name), page=page(running=running), is_stalled=is_stalled)


def failed(failure: Failure, name: str = "a", *, misses: int = 2) -> Watched:
    return Watched(target=target(name), page=page(), failure=failure, misses=misses)


def before(watched: Watched) -> Watched:
    """As a gateway."""
    assert watched.page is not None
    return replace(watched, page=replace(watched.page, vantage="gateway"))


def burn(
    state: str, name: str = "ttft", *, severity: str | None = None, reason: str | None = None
) -> Burn:
    return Burn(
        objective=objective("ttft", name=name),
        model="llama",
        state=state,
        reason=reason or f"it is {state}",
        severity=severity,
        total=Tally(0, 0, 0),
        windows=(),
        budget_left_ratio=None,
        covered_ratio=0.0,
    )


def frame(*burns: Burn) -> Frame:
    return Frame(
        state=State(started_timestamp_seconds=0.0),
        settings=Settings(terms=terms(), objectives=(), recent_seconds=60.0),
        timestamp_seconds=0.0,
        at_seconds=0.0,
        burns=burns,
    )


def state(watched: list[Watched], *burns: Burn) -> tuple[str, str]:
    view = views.model_view(frame(*burns), Recent(model="llama"), watched)
    return view.state, view.reason


STATES = {
    "every objective good": ([up()], [burn("good")], "good", "ttft: it is good"),
    "one of two not measured": (
        *([up()], [burn("good"), burn("not_measured", "tpot"), burn("good", "errors")]),
        *("not_measured", "tpot: it is not_measured; good: ttft, errors"),
    ),
    "none measured": ([up()], [burn("not_measured")], "not_measured", "ttft: it is not_measured"),
    "no objective": ([up()], [], "not_measured", "no objective is set for this model"),
    "the severest burns first": (
        [up()],
        [
            burn("burning", "soon"),
            burn("burning", "slow", severity="ticket"),
            burn("burning", "fast", severity="page"),
            burn("not_measured"),
        ],
        "burning",
        "fast: it is burning",
    ),
    "the only engine is dead": (
        *([failed(REFUSED)], [burn("good")]),
        *("burning", "no engine answers: nothing listens on a:8000"),
    ),
    "one of two engines is dead": (
        *([up("a"), failed(REFUSED, "b")], [burn("good")]),
        *("burning", "b is down: nothing listens on a:8000"),
    ),
    "one page came too late": (
        *([failed(TIMEOUT, misses=1)], [burn("good")]),
        *("not_measured", "a cannot be read: no answer within 4 s"),
    ),
    "an engine cannot be read": (
        *([up("a"), failed(HTML, "b")], [burn("good")]),
        *("not_measured", "b cannot be read: a web page, not metrics"),
    ),
    "an engine is stalled": (
        *([up("a"), up("b", is_stalled=True)], [burn("good")]),
        *("burning", "b is stalled: it holds requests and nothing moves"),
    ),
    "only the gateway is dead": (
        *([before(failed(REFUSED, "gw")), up("a")], [burn("good")]),
        "burning",
        "gateway gw is down: nothing listens on a:8000; the engines behind it answer",
    ),
    "only the gateway is ill": (
        *([before(replace(up("gw"), illness="/health answers HTTP 503")), up("a")], []),
        "burning",
        "gateway gw is not well: /health answers HTTP 503; the engines behind it answer",
    ),
    "the gateway is dead and an engine cannot be read": (
        *([before(failed(REFUSED, "gw")), failed(HTML, "a")], [burn("good")]),
        *("burning", "gateway gw is down: nothing listens on a:8000"),
    ),
    "the gateway is dead and so is one of two engines": (
        *([before(failed(REFUSED, "gw")), up("a"), failed(TIMEOUT, "b")], [burn("good")]),
        *("burning", "b is down: no answer within 4 s"),
    ),
    "gateway and engine are dead": (
        *([before(failed(TIMEOUT, "gw")), failed(REFUSED, "a")], [burn("good")]),
        *("burning", "no engine answers: nothing listens on a:8000"),
    ),
    "a probe rests": (
        *([replace(failed(RESTING, "p"), page=None), up("a")], [burn("good")]),
        *("good", "ttft: it is good"),
    ),
}


@pytest.mark.parametrize("story", STATES)
def test_a_model_is_as_good_as_the_worst_that_is_known_of_it(story: str) -> None:
    watched, burns, expected, reason = STATES[story]

    assert state(watched, *burns) == (expected, reason)


def test_a_good_model_names_the_objective_that_burns_most() -> None:
    def at(rate: float, name: str) -> Burn:
        window = WindowBurn(
            seconds=300.0, covered_seconds=300.0, valid=9.0, burn_lower=rate, burn_upper=rate
        )
        return replace(burn("good", name), windows=(window,))

    told = state([up()], at(0.0, "availability"), at(0.9, "ttft"), at(0.2, "errors"))

    assert told == ("good", "ttft: it is good")


# --- what is told --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("good", "burning", "burning"),
        ("burning", "good", "recovered"),
        ("burning", "not_measured", "not_measured"),
        ("not_measured", "good", None),
        ("good", "not_measured", None),
        ("burning", "burning", None),
    ],
)
def test_a_turn_of_an_objective_is_told(before: str, after: str, kind: str | None) -> None:
    told = burn_events([burn(before)], [burn(after)], 7.0)

    assert [event.kind for event in told] == ([] if kind is None else [kind])
    assert all(event.text == f"ttft: it is {after}" for event in told)


def test_what_burns_from_the_first_tick_is_told() -> None:
    assert [event.kind for event in burn_events([], [burn("burning")], 7.0)] == ["burning"]


# --- one model, whole ----------------------------------------------------------------------------


def whole() -> EnginePage:
    return replace(page(running=3, waiting=2), not_available={"itl_seconds": "not counted"})


def test_a_model_s_view_tells_rates_latencies_and_cost() -> None:
    seen = {TTFT: histogram([0.3] * 10), DURATION: histogram([])}
    did = llama(
        past(0.0, {TOKENS: 0.0, OK: 0.0}),
        past(
            *(10.0, {TOKENS: 5000.0, OK: 20.0}, seen),
            spends={SHARE: Spend(10.0, 7000.0, 0.01, 10.0, 10.0)},
            made=5000.0,
        ),
    )

    view = views.model_view(frame(), did, [Watched(target=target(), page=whole())])

    assert (view.running, view.waiting, view.requests_per_second) == (3.0, 2.0, 2.0)
    assert view.generated_tokens_per_second == 500.0
    assert view.latencies["ttft"].quantiles["p50"] == Quantile(0.1, 0.5)
    assert view.latencies["duration"].quantiles == {}
    assert view.dollars_per_million_tokens == pytest.approx(2.0)
    assert view.joules_per_token == pytest.approx(1.4)
    assert view.requests == {"ok": 20.0}
    assert view.tokens == {"generated": 5000.0}
    assert view.not_available == {"itl_seconds": "not counted"}


def test_without_tokens_no_cost_per_token_is_known() -> None:
    did = llama(
        past(0.0, {TOKENS: 9.0}),
        past(
            *(10.0, {TOKENS: 9.0}),
            spends={SHARE: Spend(10.0, 7000.0, 0.01, 10.0, 10.0)},
            made=0.0,
        ),
    )

    view = views.model_view(frame(), did, [up()])

    assert view.dollars_per_million_tokens is None
    assert view.generated_tokens_per_second == 0.0


def test_no_secret_of_a_targets_address_is_shown() -> None:
    told = replace(target("a"), url="http://user:hunter2@chat:8000/metrics?k=hunter2#hunter2")
    (one,) = Node().tick({told: vllm()}).watched.values()

    assert views.target_view(one, 0.0).url == "http://chat:8000/metrics"


def test_where_a_page_has_no_word_for_its_model_the_engines_list_has_it() -> None:
    text = read_page("llamacpp:tokens_predicted_total 5\n")
    about = About(models=(ServedModel("tiny", None, None), ServedModel("lora", None, "tiny")))
    here = replace(target("a"), model="chat")
    read = reading(0.0, None, name="a")._replace(about=about)

    (one,) = Node().look({here: (read, text)}).watched.values()

    view = views.target_view(one, 0.0)
    assert (view.model, view.engine_model, dict(view.models)) == ("chat", "tiny", {"chat": "tiny"})
