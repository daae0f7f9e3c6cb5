"""A model's engines and a gateway before them, tick by tick: who counts, and that nothing is added.

Pages are small and of real dialects, but for one story that was recorded from LiteLLM and two
llama.cpp, with its client's truth.
"""

import json
from dataclasses import replace

import pytest

from burnmeter import views
from burnmeter.dialects import load_all
from burnmeter.model import Failure, Target
from burnmeter.page import Page, read_page
from tests import pages
from tests.fakes import objective, target, vllm
from tests.test_pipeline import Node

REFUSED = Failure("refused", "nothing listens")
SLOW = Failure("timeout", "no answer within 4 s")
ENGINE = replace(target("engine"), model="chat")
GATEWAY = target("gateway")
SLOS = (
    objective("errors"),
    objective("availability"),
    objective("ttft", threshold_seconds=0.5),
    objective("duration", threshold_seconds=0.5),
)


def llamacpp(*, tokens: float = 0.0, running: float = 0.0) -> Page:
    """An engine that counts no requests."""
    return read_page(
        f"llamacpp:tokens_predicted_total {tokens}\nllamacpp:requests_processing {running}\n"
    )


def litellm(*, ok: int = 0, failed: int = 0, slow: int = 0) -> Page:
    """A gateway's page: `ok` requests, of which `slow` had their first token late."""
    who = 'hashed_api_key="k",model="openai/llama",requested_model="chat"'
    total = f'litellm_proxy_total_requests_metric_total{{{who},route="/v1/completions",status_code='
    first = "litellm_llm_api_time_to_first_token_metric"
    return read_page(
        f'{total}"200"}} {ok}\n{total}"500"}} {failed}\n'
        f"litellm_output_tokens_metric_total{{{who}}} {10 * ok}\n"
        f'{first}_bucket{{{who},le="0.5"}} {ok - slow}\n{first}_bucket{{{who},le="+Inf"}} {ok}\n'
        f"{first}_sum{{{who}}} {ok}\n"
    )


def burned(node: Node, indicator: str, model: str = "chat") -> tuple[float, float, float]:
    """Valid events, good at least, good at most."""
    mark = node.state.kept[indicator, model].ledger[-1]
    return mark.valid, mark.good_lower, mark.good_upper


def source(node: Node, indicator: str, model: str = "chat") -> str | None:
    """Who counted at the last tick."""
    return node.state.kept[indicator, model].source


# --- both there ----------------------------------------------------------------------------------


def test_what_an_engine_cannot_count_its_gateway_counts_and_says_so() -> None:
    node = Node(*SLOS)
    node.tick({ENGINE: llamacpp(), GATEWAY: litellm()})
    node.tick({ENGINE: llamacpp(tokens=80), GATEWAY: litellm(ok=8, failed=2, slow=3)})

    assert burned(node, "errors") == (10.0, 8.0, 8.0)
    assert burned(node, "ttft") == (8.0, 5.0, 5.0)
    assert burned(node, "availability") == (5.0, 5.0, 5.0)
    names = ("errors", "ttft", "availability")
    assert [source(node, name) for name in names] == ["gateway", "gateway", "engine"]


def test_what_both_count_is_the_engines_and_is_not_added() -> None:
    node = Node(*SLOS)
    node.tick({ENGINE: vllm(), GATEWAY: litellm()})
    node.tick({ENGINE: vllm(ok=8, tokens=80), GATEWAY: litellm(ok=8, failed=2)})

    # The page of this engine has no HTTP counts and no reason `error`, so it counts no failure.
    assert burned(node, "errors") == (8.0, 8.0, 8.0)
    assert source(node, "errors") == "engine"
    assert node.total("tokens_total") == 80.0
    assert node.total("gateway_tokens_total") == 80.0
    assert node.total("requests_total", outcome="ok") == 8.0
    assert node.total("gateway_requests_total", outcome="ok") == 8.0
    assert node.total("gateway_requests_total", outcome="error", counted_by="gateway") == 2.0


def test_of_each_measure_the_nearest_is_asked_that_has_it() -> None:
    """This page of vLLM has no histograms, so the first tokens are the gateway's alone."""
    node = Node(*SLOS)
    node.tick({ENGINE: vllm(), GATEWAY: litellm()})
    node.tick({ENGINE: vllm(ok=8), GATEWAY: litellm(ok=8)})

    assert (source(node, "errors"), source(node, "ttft")) == ("engine", "gateway")
    assert burned(node, "ttft")[0] == 8.0


def test_what_nobody_counts_is_not_measured_for_the_engines_reason() -> None:
    node = Node(objective("queue", threshold_seconds=1.0))
    node.tick({ENGINE: llamacpp(), GATEWAY: litellm()})
    node.tick({ENGINE: llamacpp(tokens=80), GATEWAY: litellm(ok=8)})

    assert node.state.kept["queue", "chat"].unmeasured == "engine: llama.cpp measures no queue time"
    assert source(node, "queue") is None


def test_two_gateways_of_one_model_saw_different_requests_and_are_added() -> None:
    node = Node(*SLOS)
    second = target("second")
    node.tick({GATEWAY: litellm(), second: litellm()})
    node.tick({GATEWAY: litellm(ok=8), second: litellm(ok=3, failed=1)})

    assert burned(node, "errors") == (12.0, 11.0, 11.0)


def test_models_of_one_gateway_have_each_their_own_vantage() -> None:
    """What is known of another model's engine says nothing of this one's."""
    node = Node(*SLOS)
    other = replace(ENGINE, name="other", model="vision")
    node.tick({other: vllm(), GATEWAY: litellm()})
    node.tick({other: vllm(ok=5), GATEWAY: litellm(ok=8)})

    assert source(node, "errors", "vision") == "engine"
    assert source(node, "errors", "chat") == "gateway"
    assert burned(node, "errors", "vision")[0] == 5.0
    assert burned(node, "availability", "chat") == (5.0, 5.0, 5.0)


# --- one of them fails ---------------------------------------------------------------------------


def test_a_gateway_that_answers_does_not_make_a_dead_engine_available() -> None:
    node = Node(*SLOS)
    node.tick({ENGINE: vllm(), GATEWAY: litellm()})
    for _ in range(3):
        node.tick({ENGINE: REFUSED, GATEWAY: litellm()})

    assert burned(node, "availability") == (15.0, 0.0, 0.0)
    assert source(node, "availability") == "engine"


def test_while_the_engine_is_dead_the_gateway_counts_whom_nobody_serves() -> None:
    node = Node(*SLOS)
    node.tick({ENGINE: vllm(ok=5), GATEWAY: litellm(ok=5)})
    node.tick({ENGINE: vllm(ok=9), GATEWAY: litellm(ok=9)})
    node.tick({ENGINE: REFUSED, GATEWAY: litellm(ok=9, failed=6)})
    assert burned(node, "errors") == (10.0, 4.0, 4.0)
    assert source(node, "errors") == "gateway"

    node.tick({ENGINE: vllm(ok=2), GATEWAY: litellm(ok=11, failed=6)})
    assert source(node, "errors") == "engine"
    assert burned(node, "errors") == (12.0, 6.0, 6.0)


@pytest.mark.parametrize("failure", [SLOW, Failure("html", "a web page, not metrics")])
def test_an_engine_that_is_only_silent_keeps_its_vantage(failure: Failure) -> None:
    """It will count what it served meanwhile; if the gateway did too, it would count twice."""
    node = Node(*SLOS)
    node.tick({ENGINE: vllm(ok=5), GATEWAY: litellm(ok=5)})
    node.tick({ENGINE: failure, GATEWAY: litellm(ok=9)})
    assert source(node, "errors") is None
    assert node.state.kept["errors", "chat"].unmeasured == f"engine: {failure.message}"

    node.tick({ENGINE: vllm(ok=12), GATEWAY: litellm(ok=12)})
    assert burned(node, "errors") == (7.0, 7.0, 7.0)


def test_an_engine_that_is_first_read_late_does_not_count_again_what_its_gateway_did() -> None:
    """It began under our watch, so its first page would count whole."""
    node = Node(*SLOS)
    node.tick({ENGINE: SLOW, GATEWAY: litellm()})
    node.tick({ENGINE: SLOW, GATEWAY: litellm(ok=5)})
    node.tick({ENGINE: vllm(ok=7, started=1001.0), GATEWAY: litellm(ok=7)})
    assert (burned(node, "errors"), source(node, "errors")) == ((7.0, 7.0, 7.0), "gateway")

    node.tick({ENGINE: vllm(ok=9, started=1001.0), GATEWAY: litellm(ok=9)})
    assert (burned(node, "errors"), source(node, "errors")) == ((9.0, 9.0, 9.0), "engine")


def test_one_dead_engine_of_two_gives_nothing_away() -> None:
    node = Node(*SLOS)
    second = replace(ENGINE, name="second")
    node.tick({ENGINE: vllm(ok=5), second: vllm(), GATEWAY: litellm(ok=5)})
    node.tick({ENGINE: REFUSED, second: vllm(ok=3), GATEWAY: litellm(ok=8)})

    assert source(node, "errors") == "engine"
    assert burned(node, "errors") == (3.0, 3.0, 3.0)


def test_a_dead_gateway_is_why_nobody_counts_what_its_engine_cannot() -> None:
    node = Node(*SLOS)
    node.tick({ENGINE: llamacpp(), GATEWAY: litellm()})
    node.tick({ENGINE: llamacpp(tokens=9), GATEWAY: REFUSED})

    assert node.state.kept["errors", "chat"].unmeasured == "gateway: nothing listens"
    assert burned(node, "availability") == (5.0, 5.0, 5.0)


@pytest.mark.parametrize("role", ["gateway", "router"])
def test_a_gateway_that_was_never_read_takes_nothing_from_its_engines(role: str) -> None:
    """Its process was found and its page is locked; all that is known is its command line."""
    node = Node(*SLOS)
    locked = replace(target("locked", origin="process"), role=role, served_model="chat")
    for ok in (5, 8):
        node.tick({ENGINE: vllm(ok=ok), locked: Failure("unauthorised", "a key is needed")})

    assert node.state.kept["errors", "chat"].unmeasured is None
    assert burned(node, "errors") == (3.0, 3.0, 3.0)
    assert node.state.kept["availability", "chat"].unmeasured is None


def test_a_gateway_without_successes_has_no_error_rate_and_says_why() -> None:
    node = Node(*SLOS)
    words = 'model_name="chat",target_model_name="llama"'
    epp = "llm_d_epp_request_error_total"
    pages_ = [read_page(f'{epp}{{{words},error_code="Internal"}} {n}\n') for n in (0, 4)]
    for page in pages_:
        node.tick({ENGINE: llamacpp(), GATEWAY: page})

    assert "counts no requests" in (node.state.kept["errors", "chat"].unmeasured or "")
    assert node.total("gateway_requests_total", outcome="error") == 4.0


# --- as recorded ---------------------------------------------------------------------------------


def test_a_recorded_death_behind_litellm_is_the_clients_error_rate() -> None:
    """One of two llama.cpp is killed; the proxy tells exactly what its client saw."""
    story = "1.106.2-one-killed"

    def read(path: str) -> Page:
        return read_page(pages.text_of("litellm", path))

    node = Node(*SLOS)
    engines: list[Target] = [replace(ENGINE, name=name) for name in ("first", "second")]
    first, second = engines
    before, after = f"{story}-before", f"{story}-after"
    behind = [f"behind/{story}-{number}-before" for number in (1, 2)]
    node.tick({first: read(behind[0]), second: read(behind[1]), GATEWAY: read(before)})
    node.tick({first: REFUSED, second: read(f"behind/{story}-2-after"), GATEWAY: read(after)})

    text = (pages.ENGINES / "litellm" / f"{story}-client.json").read_text("utf-8")
    loads = json.loads(text)["loads"]
    # The proxy is younger than our watch, so what it counted before our first look counts as well.
    asked = [loads[name]["requests"] for name in ("chat, before", "chat", "chat, streams")]
    ok, failed = (sum(one.get(how, 0) for one in asked) for how in ("ok", "http_500"))
    assert failed > 0
    assert burned(node, "errors") == (ok + failed, ok, ok)
    assert burned(node, "ttft")[0] == sum(len(one["ttft_seconds"]) for one in loads.values())
    assert source(node, "errors") == "gateway"


# --- half of a model -----------------------------------------------------------------------------

OTHER = replace(target("other"), model="chat")
PROBE = Target(name="probe", url="http://127.0.0.1/v1", origin="probe", model="chat")
RESTING = Failure("disabled", "its `tokens_per_day` would be exceeded; it rests until 00:00 UTC")


def probed(*, ok: int = 0, failed: int = 0) -> Page:
    """What a probe of ours counted."""
    row = load_all()["probe"].measures["requests_total"].rules[0].names[0]
    return read_page(
        f'{row}{{model="chat",outcome="ok"}} {ok}\n{row}{{model="chat",outcome="error"}} {failed}\n'
    )


def test_where_one_of_two_engines_cannot_tell_the_gateway_that_saw_all_does() -> None:
    node = Node(*SLOS)
    node.tick({ENGINE: vllm(), OTHER: llamacpp(), GATEWAY: litellm()})
    node.tick({ENGINE: vllm(ok=5), OTHER: llamacpp(tokens=30), GATEWAY: litellm(ok=8, failed=2)})

    assert source(node, "errors") == "gateway"
    assert burned(node, "errors") == (10.0, 8.0, 8.0)


def test_a_probe_is_no_stand_in_for_the_engine_that_can_tell() -> None:
    """Its few requests would hide that engine's failures."""
    node = Node(*SLOS)
    node.tick({ENGINE: vllm(), OTHER: llamacpp(), PROBE: probed()})
    node.tick({ENGINE: vllm(ok=5), OTHER: llamacpp(tokens=30), PROBE: probed(ok=1)})

    assert burned(node, "errors") == (5.0, 5.0, 5.0)
    assert node.state.kept["errors", "chat"].unmeasured is not None


def test_a_probe_that_rests_takes_nothing_from_one_that_counts() -> None:
    second = replace(PROBE, name="second")
    node = Node(objective("errors"))
    node.tick({PROBE: probed(), second: probed()})
    node.tick({PROBE: RESTING, second: probed(ok=3, failed=1)})

    assert burned(node, "errors") == (4.0, 3.0, 3.0)
    assert node.state.kept["errors", "chat"].unmeasured is None


def test_a_model_whose_only_probe_rests_is_not_measured_and_says_why() -> None:
    node = Node(objective("errors"))
    node.tick({PROBE: probed()})
    node.tick({PROBE: RESTING})

    assert node.state.kept["errors", "chat"].unmeasured == f"probe: {RESTING.message}"


def test_events_are_kept_by_who_counted_them_and_sum_to_the_whole() -> None:
    node = Node(objective("errors"))
    node.tick({ENGINE: vllm(), GATEWAY: litellm()})
    node.tick({ENGINE: vllm(ok=5), GATEWAY: litellm(ok=5)})
    node.tick({ENGINE: REFUSED, GATEWAY: litellm(ok=5, failed=2)})
    node.tick({ENGINE: REFUSED, GATEWAY: litellm(ok=5, failed=3)})

    tallies = node.state.kept["errors", "chat"].tallies
    assert set(tallies) == {"engine", "gateway"}
    assert tallies["engine"].valid == 5.0
    assert sum(tally.valid for tally in tallies.values()) == burned(node, "errors")[0]


def test_a_model_that_leaves_its_page_for_a_while_keeps_its_budget() -> None:
    """A gateway that starts anew names no model before its first request."""
    node = Node(objective("errors"))
    node.tick({GATEWAY: litellm()})
    node.tick({GATEWAY: litellm(ok=5, failed=5)})
    empty = read_page("# TYPE litellm_proxy_total_requests_metric_total counter\n")
    away = node.tick({GATEWAY: empty})
    node.tick({GATEWAY: empty})
    back = node.tick({GATEWAY: litellm(ok=1)})

    assert ("errors", "chat") not in away.shown
    assert away.kept["errors", "chat"].is_shelved
    assert ("errors", "chat") in back.shown
    assert burned(node, "errors") == (11.0, 6.0, 6.0)


def test_time_in_which_no_page_names_a_model_is_not_watched() -> None:
    """Else an adapter that is unloaded overnight would have lost its coverage in the morning."""
    node = Node(objective("errors"))
    empty = read_page("# TYPE litellm_proxy_total_requests_metric_total counter\n")
    for page in (litellm(), litellm(ok=5), empty, empty, litellm(ok=6)):
        node.tick({GATEWAY: page})

    kept = node.state.kept["errors", "chat"]
    assert (kept.ledger[-1].measured_seconds, kept.watched_seconds) == (10.0, 10.0)


def test_time_between_two_looks_at_a_target_that_is_read_seldom_is_watched() -> None:
    node, gateway = Node(objective("errors")), replace(GATEWAY, least_interval_seconds=15.0)
    node.tick({gateway: litellm()})
    node.rest(gateway, gpus=[], table={})

    assert node.state.kept["errors", "chat"].watched_seconds == 5.0

    node.rest(gateway, gpus=[], table={})
    node.tick({gateway: litellm(ok=3)})

    kept = node.state.kept["errors", "chat"]
    assert (kept.ledger[-1].measured_seconds, kept.watched_seconds) == (15.0, 15.0)


def test_a_young_engine_has_been_watched_for_as_long_as_it_was_measured() -> None:
    node = Node(objective("errors"))
    node.tick({})
    node.tick({ENGINE: vllm(ok=2, started=1003.0)})

    kept = node.state.kept["errors", "chat"]
    assert kept.ledger[-1].valid == 2.0
    assert kept.watched_seconds == kept.ledger[-1].measured_seconds


def test_a_model_that_stays_away_is_forgotten_with_its_budget() -> None:
    node = Node(objective("errors"))
    node.tick({GATEWAY: litellm(ok=5)})
    empty = read_page("# TYPE litellm_proxy_total_requests_metric_total counter\n")
    for _ in range(12):
        state = node.tick({GATEWAY: empty}, every=60.0)

    assert ("errors", "chat") not in state.kept


def test_a_probes_own_requests_are_no_traffic_of_a_model_and_its_error_rate_is_labelled() -> None:
    node = Node(objective("errors"))
    node.tick({PROBE: probed()})
    state = node.tick({PROBE: probed(ok=3, failed=1)})
    (view,) = views.turn(
        state, node.settings, timestamp_seconds=1005.0, at_seconds=5.0, before=None
    )[1]

    assert (view.requests, view.requests_per_second) == ({}, None)
    assert (view.error_ratio_lower, view.seen_from["errors"]) == (0.25, "probe")
    assert view.elsewhere["probe"].requests == {"ok": 3.0, "error": 1.0}
