"""The probe against real engines: its clock against the wire's, its counts against theirs.

llama.cpp measures no latency of a request and counts none; with a probe its model has both.
"""

import re
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from burnmeter.config_probes import Probe
from burnmeter.sources.probe import target_of
from burnmeter.sources.probe_request import Result, send
from tests import probing, servers
from tests.engines.serving import Server
from tests.engines.test_serving import total
from tests.engines.watching import Watcher, watching
from tests.servers import Talk

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

PROMPT = "tell me of the sea"
"""18 tokens: one for each character."""
ROUNDS = 12
FIRST_TEXT = re.compile(rb'"text": ?"[^"]')


def ask(url: str, engine_api: str, **changes: object) -> Result:
    known = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
    probe = Probe(
        name="probe",
        url=url + known[engine_api],
        model="tiny",
        engine_api=engine_api,
        max_tokens=16,
        prompt=PROMPT,
        **changes,  # type: ignore[arg-type]
    )
    return send(probe, target_of(probe, {}))


class Relay:
    """Stands between probe and engine, and looks at the clock as things pass."""

    def __init__(self, engine_port: int) -> None:
        self.engine_port = engine_port
        self.waits_seconds: list[float] = []

    def __call__(self, talk: Talk) -> None:
        probing.hears(talk)
        request = talk.server.requests[-1].encode("latin-1")
        with socket.create_connection(("127.0.0.1", self.engine_port)) as engine:
            sent_seconds = time.monotonic()
            engine.sendall(request)
            answer, is_timed = b"", False
            while piece := engine.recv(65536):
                answer += piece
                if not is_timed and FIRST_TEXT.search(answer):
                    is_timed = True
                    self.waits_seconds.append(time.monotonic() - sent_seconds)
                talk.says(piece)


def test_a_first_token_comes_for_the_probe_when_it_comes_over_the_wire(llamacpp: Server) -> None:
    relay = Relay(urlsplit(llamacpp.url).port or 0)
    with servers.Server(relay) as between:
        url = f"http://127.0.0.1:{between.port}"
        results = [ask(url, "completions") for _ in range(ROUNDS)]

    assert [result.outcome for result in results] == ["ok"] * ROUNDS
    ours = [result.first_token_seconds for result in results]
    assert len(relay.waits_seconds) == ROUNDS
    extra = [o - r for o, r in zip(ours, relay.waits_seconds, strict=True) if o is not None]
    # The probe is outside: it sends sooner and hears later. One hiccup of the machine is none of
    # its own, so the median is held to a bound.
    assert min(extra) >= 0.0
    assert sorted(extra)[ROUNDS // 2] < 0.02


def test_vllm_counts_the_probes_requests_and_tokens_as_the_probe_does(vllm_mid: Server) -> None:
    before = vllm_mid.page()
    results = [ask(vllm_mid.url, api) for api in ("chat", "completions", "completions")]
    after = vllm_mid.page()

    assert [result.outcome for result in results] == ["ok"] * 3

    def grown(name: str) -> float:
        return total(after, name) - total(before, name)

    assert grown("vllm:request_success_total") == 3
    assert grown("vllm:prompt_tokens_total") == sum(r.prompt_tokens or 0 for r in results)
    assert grown("vllm:generation_tokens_total") == sum(r.generated_tokens or 0 for r in results)
    # What vLLM measures ends before the way back.
    seconds = [r.first_token_seconds or 0.0 for r in results]
    mean = grown("vllm:time_to_first_token_seconds_sum") / 3
    assert mean <= sum(seconds) / 3 <= mean + 0.05


@pytest.mark.parametrize("engine_api", ["chat", "completions"])
def test_llamacpp_is_probed_by_either_api(llamacpp: Server, engine_api: str) -> None:
    result = ask(llamacpp.url, engine_api)

    assert (result.outcome, result.generated_tokens) == ("ok", 16)
    assert result.chunks <= 16


def test_an_engine_says_what_was_wrong_with_a_request(llamacpp: Server) -> None:
    result = ask(f"{llamacpp.url}/nowhere", "chat")

    assert result.outcome == "rejected"
    assert result.failure is not None
    assert "answered HTTP 404" in result.failure.message


CONFIG = """\
interval_seconds: 1
limits: {{scrape_timeout_seconds: 0.5}}
discovery: {{processes: false}}
models: {{tiny: sea}}
targets:
  - {{name: engine, url: "{url}", model: sea}}
probes:
  - {{name: client, url: "{url}", model: tiny, every_seconds: 10, tokens_per_day: 2000,
     prompt_dollars_per_million_tokens: 1, generated_dollars_per_million_tokens: 3,
     dollars_per_day: 1}}
"""


def until(watch: Watcher, requests: int) -> None:
    """Tick until the probe has been answered so often."""
    name = "burnmeter_probe_requests_total"
    watch.until(lambda now: now.total(name, outcome="ok") >= requests, seconds=40.0)


def test_a_probe_measures_what_llamacpp_does_not(llamacpp: Server, tmp_path: Path) -> None:
    with watching(tmp_path, CONFIG.format(url=llamacpp.url)) as watch:
        without = watch.tick()
        until(watch, 2)
        now = watch.tick()

    assert without.burn("ttft", "sea").state == "not_measured"
    view = now.model("sea")
    assert set(view.targets) == {"engine", "client"}
    assert set(view.engines) == {"llamacpp", "probe"}
    for slo in ("ttft", "tpot", "errors"):
        burn = now.burn(slo, "sea")
        assert (burn.source, burn.total.valid, burn.total.good_lower) == ("probe", 2, 2)
        assert burn.state == "good", burn.reason
    assert now.burn("availability", "sea").source == "engine"
    # The engine's own count of tokens holds the probe's, which is shown beside it and never added.
    ours = now.by("kind", "burnmeter_probe_tokens_total", model="sea")
    assert ours["generated"] == 32
    assert now.by("kind", "burnmeter_tokens_total", model="sea")["generated"] == 32
    spent = now.total("burnmeter_probe_spent_dollars_total", model="sea")
    assert spent == pytest.approx((ours["prompt"] + 3 * 32) / 1e6)
