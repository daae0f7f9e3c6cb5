"""The agent's counters against the truth of the client, to the unit, on engines that are well."""

from pathlib import Path

import pytest

from tests.engines import load
from tests.engines.serving import Server
from tests.engines.watching import Between, listed, watching

pytestmark = [pytest.mark.engines, pytest.mark.timeout(480)]

FOUND = "slos: []\n"
"""No target is listed: engines are found by their processes."""


def port(server: Server) -> str:
    return server.url.rpartition(":")[2]


def test_llamacpp_is_found_and_its_tokens_are_the_clients(llamacpp: Server, tmp_path: Path) -> None:
    target = f"llamacpp-{port(llamacpp)}"
    with watching(tmp_path, FOUND) as watch:
        before = watch.settled(target)
        truth = load.run_load(llamacpp.url, [*load.ok(20), *load.ok(10, is_stream=False)])
        after = watch.settled(target)

    found = Between(before, after, target)
    assert truth.requests() == {"ok": 30}
    assert found.tokens() == (truth.prompt_tokens(), truth.completion_tokens())
    view = after.target(target)
    assert (view.origin, view.engine, view.pid) == ("process", "llamacpp", llamacpp.pid)
    # Its page names no model; the command line's --alias does, and the list at /v1/models.
    assert (view.model, view.engine_model) == ("tiny", "tiny")


def test_llamacpp_has_no_requests_rather_than_none(llamacpp: Server, tmp_path: Path) -> None:
    with watching(tmp_path, listed(llamacpp.url, "local")) as watch:
        watch.settled("local")
        load.run_load(llamacpp.url, load.ok(3))
        after = watch.settled("local")

    assert [row for row in after.rows if row.name == "burnmeter_requests_total"] == []
    assert after.model("local").requests == {}
    assert after.burn("errors", "local").state == "not_measured"
    assert "llama.cpp counts no requests" in after.burn("errors", "local").reason
    assert after.burn("availability", "local").state == "good"


def test_a_listed_target_is_given_its_process(llamacpp: Server, tmp_path: Path) -> None:
    text = f"targets: [{{name: local, url: {llamacpp.url}, model: sea}}]\n"
    with watching(tmp_path, text) as watch:
        now = watch.settled("local")

    view = now.target("local")
    assert (view.origin, view.pid, view.model) == ("config", llamacpp.pid, "sea")
    # It is listed, so the process behind it is not found a second time.
    assert f"llamacpp-{port(llamacpp)}" not in [one.target for one in now.snapshot.targets]


def test_vllm_is_found_and_its_counts_are_the_clients(vllm: Server, tmp_path: Path) -> None:
    target = f"vllm-{port(vllm)}"
    with watching(tmp_path, FOUND) as watch:
        before = watch.settled(target)
        truth = load.run_load(vllm.url, [*load.ok(20), *load.ok(10, is_stream=False)])
        after = watch.settled(target)

    found = Between(before, after, target)
    assert truth.requests() == found.requests() == {"ok": 30}
    assert found.tokens() == (truth.prompt_tokens(), truth.completion_tokens())
    assert found.grown("burnmeter_ttft_seconds_count") == 30
    assert found.grown("burnmeter_duration_seconds_count") == 30
    view = after.target(target)
    assert (view.origin, view.engine, view.pid) == ("process", "vllm", vllm.pid)
    assert (view.model, view.engine_model) == ("tiny", "tiny")


def test_counts_are_whole_however_often_we_look_under_load(vllm: Server, tmp_path: Path) -> None:
    """Looks in the middle of requests must neither lose nor double any, nor call one cancelled."""
    with watching(tmp_path, listed(vllm.url, "busy")) as watch:
        before = watch.settled("busy")
        with load.running(vllm.url, load.ok(24, max_tokens=40), workers=6) as truth:
            watch.until(lambda _: len(truth.answers) == 24, pause_seconds=0.05, seconds=60)
        after = watch.settled("busy")

    found = Between(before, after, "busy")
    assert truth.requests() == found.requests() == {"ok": 24}
    assert found.requests("estimate") == {}
    assert found.tokens() == (truth.prompt_tokens(), truth.completion_tokens())


def test_what_the_client_did_wrong_is_rejected_and_no_failure(vllm: Server, tmp_path: Path) -> None:
    wrong = [*load.bad_value(4), *load.too_long(2), *load.unknown_model(3)]
    with watching(tmp_path, listed(vllm.url, "refused")) as watch:
        before = watch.settled("refused")
        truth = load.run_load(vllm.url, [*load.ok(5), *wrong])
        after = watch.settled("refused")

    found = Between(before, after, "refused")
    assert truth.requests() == {"http_400": 6, "http_404": 3, "ok": 5}
    assert found.requests() == {"ok": 5}
    assert found.requests("http") == {"rejected": 9}
    assert found.tokens() == (truth.prompt_tokens(), truth.completion_tokens())
    assert after.burn("errors", "refused").total == (5, 5, 5)
