"""The verdict over HTTP: which status, which state and which reason, for whoever routes by it."""

import http.client
import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from wsgiref.validate import validator

import pytest

from burnmeter.export import verdict_json
from burnmeter.export.server import Server
from burnmeter.export.web import application
from burnmeter.model import Failure
from burnmeter.snapshot import Snapshot
from tests import snapshots
from tests.snapshot_parts import LLAMA, NOW, QWEN, burn, model, objective, target
from tests.test_web import Reply, ask, outlet
from tests.test_web import call as call_app

GOOD = (0.4,) * 6
HOT = (20.0,) * 6
REFUSED = Failure("refused", "nothing listens on 127.0.0.1:8000; is the engine running?")


def node(**changes: Any) -> Snapshot:
    """One model on one engine, good."""
    told = {
        "models": (model(),),
        "targets": (target(),),
        "burns": (burn(LLAMA, GOOD, reason="0.4×"),),
    }
    return snapshots.empty(**(told | changes))


def judged(
    snapshot: Snapshot | None, query: str = "", *, name: str = LLAMA, now: float = NOW + 1
) -> tuple[int, str | None, dict[str, Any]]:
    """Status, header and JSON for one model."""
    made = None if snapshot is None else outlet(snapshot)
    reply = ask(made, f"/api/v1/verdict/{name}", now=now, QUERY_STRING=query)
    state = reply.headers.get("X-Burnmeter-State")
    return reply.status, state, json.loads(reply.body)


def trouble(**changes: Any) -> tuple[int, str, str]:
    """Status, state and reason of a target that is not as it should be."""
    view = target(**changes)
    status, _, found = judged(node(targets=(view,)), f"target={view.target}")
    return status, found["state"], found["targets"][0]["reason"]


# --- states --------------------------------------------------------------------------------------


def test_a_good_model_is_200_with_its_targets() -> None:
    status, state, found = judged(node())

    assert (status, state) == (200, "good")
    assert found == {
        "model": LLAMA,
        "state": "good",
        "reason": "every objective holds in every window",
        "targets": [{"target": "vllm-8000", "state": "good", "reason": "ttft-slo: 0.4×"}],
        "node": "gpu-node-07",
        "is_simulated": False,
        "timestamp_seconds": NOW,
        "age_seconds": 1.0,
    }


def test_a_burning_model_is_503() -> None:
    burning = burn(LLAMA, HOT, state="burning", severity="page", reason="20× over 5 min")
    view = model(state="burning", reason="ttft-slo: 20× over 5 min")
    status, state, found = judged(node(models=(view,), burns=(burning,)))

    assert (status, state, found["reason"]) == (503, "burning", "ttft-slo: 20× over 5 min")
    assert found["targets"][0]["state"] == "burning"


@pytest.mark.parametrize(
    ("query", "status"), [("", 200), ("not_measured=200", 200), ("not_measured=503", 503)]
)
def test_a_model_that_is_not_measured_is_200_unless_the_asker_is_strict(
    query: str, status: int
) -> None:
    idle = model(state="not_measured", reason="ttft: no request yet")

    assert judged(node(models=(idle,)), query)[:2] == (status, "not_measured")


def test_strictness_changes_nothing_where_it_is_measured() -> None:
    burning = model(state="burning", reason="x")

    assert judged(node(), "not_measured=503")[0] == 200
    assert judged(node(models=(burning,)), "not_measured=200")[0] == 503


@pytest.mark.parametrize(
    ("changes", "status", "state", "reason"),
    [
        (
            {"is_up": False, "is_down": True, "failure": REFUSED},
            *(503, "burning", f"it is down: {REFUSED.message}"),
        ),
        (
            {"is_stalled": True},
            *(503, "burning", "it is stalled: it holds requests and nothing moves"),
        ),
        (
            {"is_ill": True, "illness": "/health answers HTTP 503"},
            *(503, "burning", "it is not well: /health answers HTTP 503"),
        ),
        (
            {"is_up": False, "failure": Failure("timeout", "no answer yet")},
            *(200, "not_measured", "it cannot be read: no answer yet"),
        ),
        (
            {"is_up": False, "failure": Failure("disabled", "its day is used up")},
            *(200, "not_measured", "it rests: its day is used up"),
        ),
        (
            {"is_stale": True},
            *(200, "not_measured", "its page stands still while its GPUs work"),
        ),
    ],
    ids=["down", "stalled", "ill", "missed-once", "resting", "stale"],
)
def test_a_target_is_judged_by_what_is_wrong_with_itself(
    changes: dict[str, Any], status: int, state: str, reason: str
) -> None:
    assert trouble(**changes) == (status, state, reason)


def test_of_two_engines_only_the_dead_one_is_taken_out() -> None:
    dead = target("a", is_up=False, is_down=True, failure=REFUSED)
    view = model(targets=("a", "b"), state="burning", reason="a is down: nothing listens")
    both = node(models=(view,), targets=(dead, target("b")))

    assert judged(both)[0] == 503
    assert judged(both, "target=a")[0] == 503
    assert judged(both, "target=b")[:2] == (200, "good")


def test_a_budget_that_two_engines_share_accuses_neither() -> None:
    """Else a balancer between the two would take out both, where one is slow or both serve."""
    view = model(targets=("a", "b"), state="burning", reason="ttft-slo: 20×")
    burning = burn(LLAMA, HOT, state="burning", reason="20×")
    both = node(models=(view,), targets=(target("a"), target("b")), burns=(burning,))

    status, state, found = judged(both, "target=a")

    assert judged(both)[0] == 503
    assert (status, state) == (200, "not_measured")
    assert found["reason"] == "ttft-slo: 20×; which of a and b it is, is not known"


def test_a_gateway_before_one_engine_does_not_hide_whose_budget_burns() -> None:
    before = target("gw", vantage="gateway", role="gateway")
    view = model(targets=("vllm-8000", "gw"), state="burning", reason="ttft-slo: 20×")
    burning = burn(LLAMA, HOT, state="burning", reason="20×")
    found = node(models=(view,), targets=(target(), before), burns=(burning,))

    assert judged(found, "target=vllm-8000")[:2] == (503, "burning")


def dear(**changes: Any) -> Snapshot:
    """A model whose tokens cost too much, as one objective of two says."""
    money = objective("cost", is_paging=False)
    burning = burn(LLAMA, HOT, objective=money, state="burning", severity="ticket", reason="9×")
    view = model(state="burning", reason="cost-slo: 9×")
    told = {"models": (view,), "burns": (burn(LLAMA, GOOD, reason="0.4×"), burning)}
    return node(**(told | changes))


def test_what_costs_too_much_is_not_taken_out() -> None:
    """Turned away from, it would cost more by the token."""
    status, state, found = judged(dear())

    assert (status, state) == (200, "good")
    assert found["reason"] == "ttft-slo: 0.4×; turns nobody away: cost-slo: 9×"
    assert found["targets"][0]["state"] == "good"


def test_what_costs_too_much_and_is_dead_is_taken_out() -> None:
    dead = target(is_up=False, is_down=True, failure=REFUSED)
    view = model(state="burning", reason="vllm-8000 is down")

    assert judged(dear(targets=(dead,), models=(view,)))[:2] == (503, "burning")


def test_the_worst_objective_speaks_for_a_target() -> None:
    unknown = burn(LLAMA, GOOD, objective=objective("errors"), state="not_measured", reason="none")
    found = node(burns=(burn(LLAMA, GOOD, reason="0.4×"), unknown))

    assert judged(found, "target=vllm-8000")[2]["reason"] == "errors-slo: none"
    assert judged(node(burns=()), "target=vllm-8000")[2]["reason"] == (
        "no objective that pages is set for this model"
    )


# --- age -----------------------------------------------------------------------------------------


def test_a_snapshot_that_is_too_old_is_never_good() -> None:
    status, state, found = judged(node(), now=NOW + 26)

    assert (status, state) == (200, "not_measured")
    assert found["reason"] == "the last reading is 26 s old; it should be at most 25 s"
    assert found["targets"][0]["reason"] == found["reason"]
    assert judged(node(), "not_measured=503", now=NOW + 26)[0] == 503
    assert judged(node(), now=NOW + 25)[1] == "good"


def test_while_nothing_recent_is_known_no_name_is_refused() -> None:
    for snapshot, now in ((node(), NOW + 3600), (None, NOW)):
        status, state, found = judged(snapshot, name="started-since", now=now)

        assert (status, state, found["model"]) == (200, "not_measured", "started-since")
    assert found["reason"] == "the agent has just started: no reading has been made yet"
    assert found["node"] is None


# --- names and queries ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.3-70B", "/mnt/models", "zwölf %41 ?#&", "a/"])
@pytest.mark.parametrize("safe", ["/", ""], ids=["slashes", "quoted"])
def test_any_name_is_found_over_real_http(name: str, safe: str) -> None:
    made = outlet(node(models=(model(name),)))
    app = application(lambda: made, clock=lambda: NOW)
    with Server(app, "127.0.0.1", 0) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", f"/api/v1/verdict/{quote(name, safe=safe)}")
        reply = connection.getresponse()
        found = json.loads(reply.read())
        connection.close()

    assert (reply.status, found["model"]) == (200, name)


def test_an_unknown_model_is_404_with_those_that_there_are() -> None:
    status, state, found = judged(node(models=(model(), model(QWEN))), name="llama")

    assert (status, state) == (404, None)
    assert found == {
        "error": "no model on this node is called `llama`",
        "known": [LLAMA, QWEN],
    }


def test_an_unknown_target_is_404_with_those_of_the_model() -> None:
    status, _, found = judged(node(), "target=vllm-9")

    assert status == 404
    assert found == {
        "error": f"no target of `{LLAMA}` is called `vllm-9`",
        "known": ["vllm-8000"],
    }


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("targets=a", "unknown key `targets` in the query"),
        ("target=a&target=b", "a key is given twice in the query; keep one"),
        ("not_measured=500", "not_measured: `500` is neither 200 nor 503"),
        ("not_measured=", "not_measured: `` is neither 200 nor 503"),
        ("strict", "the query is not readable; write key=value"),
    ],
)
def test_a_bad_query_is_400_and_says_what_would_be_right(query: str, error: str) -> None:
    status, state, found = judged(node(), query)

    assert (status, state) == (400, None)
    assert found == {
        "error": error,
        "known": ["target=NAME", "not_measured=200", "not_measured=503"],
    }


def test_a_target_with_a_quoted_name_is_found() -> None:
    view = model(targets=("a b&c",))

    assert judged(node(models=(view,), targets=(target("a b&c"),)), "target=a+b%26c")[0] == 200


# --- the list and the rest of HTTP ---------------------------------------------------------------


def listed(snapshot: Snapshot | None, path: str = "/api/v1/verdict", **environ: str) -> Reply:
    made = None if snapshot is None else outlet(snapshot)
    return ask(made, path, **environ)


def test_the_list_has_every_model_with_its_state_and_the_nodes() -> None:
    bad = model(QWEN, state="burning", reason="qwen is down")
    for path in ("/api/v1/verdict", "/api/v1/verdict/"):
        reply = listed(node(models=(model(), bad)), path)
        found = json.loads(reply.body)

        assert (reply.status, reply.headers["X-Burnmeter-State"]) == (200, "burning")
        assert found["state"] == "burning"
        assert [(one["model"], one["state"]) for one in found["models"]] == [
            (LLAMA, "good"),
            (QWEN, "burning"),
        ]
        assert found["models"][1]["reason"] == "qwen is down"


def test_the_list_is_empty_before_the_first_reading_and_takes_no_query() -> None:
    found = json.loads(listed(None).body)

    assert (found["state"], found["models"]) == ("not_measured", [])
    assert listed(node(), QUERY_STRING="target=a").status == 400


def test_the_list_of_an_agent_that_hangs_has_nothing_good() -> None:
    reply = listed(node(), now=NOW + 100)
    found = json.loads(reply.body)

    assert reply.headers["X-Burnmeter-State"] == "not_measured"
    assert [one["state"] for one in found["models"]] == ["not_measured"]


@pytest.mark.parametrize("name", [LLAMA, "nobody", ""])
def test_head_is_get_without_a_body(name: str) -> None:
    path = f"/api/v1/verdict/{name}"
    got, head = ask(outlet(node()), path), ask(outlet(node()), path, method="HEAD")

    assert (head.status, head.headers) == (got.status, got.headers)
    assert (head.body, got.headers["Content-Type"]) == (b"", "application/json")
    assert got.headers["Cache-Control"] == "no-store"


def test_nothing_is_kept_for_each_path_that_somebody_makes_up() -> None:
    """A packed body is kept by its path, and anybody may ask for any."""
    many = node(models=tuple(model(f"a-model-with-a-long-name-{i:03}") for i in range(90)))
    made = outlet(many)
    app = validator(application(lambda: made, clock=lambda: NOW))
    replies = [
        call_app(app, f"/api/v1/verdict/{name}", HTTP_ACCEPT_ENCODING="gzip") for name in "abc"
    ]

    assert all(reply.status == 404 and len(reply.body) > 1024 for reply in replies)
    assert not any("Content-Encoding" in reply.headers for reply in replies)


def test_a_path_that_only_begins_alike_is_none_of_ours() -> None:
    assert not verdict_json.is_route("/api/v1/verdicts")
    assert ask(outlet(node()), "/api/v1/verdicts").status == 404


def test_a_name_that_has_no_utf_8_form_costs_a_letter_and_not_the_answer() -> None:
    odd = replace(node(), models=(model("a\udc80b"),))

    assert json.loads(listed(odd).body)["models"][0]["model"] == "a?b"
