"""The probe against real engines: its clock against another client's, its counts against theirs.

llama.cpp measures no latency of a request and counts none; with a probe its model has both.
"""

from pathlib import Path

import pytest

from burnmeter.config_probes import Probe
from burnmeter.sources.probe import target_of
from burnmeter.sources.probe_request import Result, send
from tests.engines import load
from tests.engines.serving import Server
from tests.engines.test_serving import total
from tests.engines.watching import Watcher, watching

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

PROMPT = "tell me of the sea"
"""18 tokens: one for each character."""
ROUNDS = 12


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


def assert_its_clock_is_the_clients(url: str) -> None:
    """In turn, so that both meet the same engine; of each the median, which one hiccup leaves."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        result = ask(url, "completions")
        assert (result.outcome, result.prompt_tokens) == ("ok", 18)
        assert result.generated_tokens == 16
        assert result.first_token_seconds is not None
        ours.append(result.first_token_seconds)
        theirs += load.run_load(url, [load.Ask(prompt=PROMPT)], workers=1).ttft_seconds()
    assert len(theirs) == ROUNDS
    middle = ROUNDS // 2
    assert sorted(ours)[middle] == pytest.approx(sorted(theirs)[middle], abs=0.015)


def test_llamacpp_gives_a_probe_the_first_token_when_it_gives_another_client_his(
    llamacpp: Server,
) -> None:
    assert_its_clock_is_the_clients(llamacpp.url)


def test_vllm_gives_a_probe_the_first_token_when_it_gives_another_client_his(
    vllm_mid: Server,
) -> None:
    assert_its_clock_is_the_clients(vllm_mid.url)


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
