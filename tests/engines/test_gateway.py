"""Two real engines behind a real LiteLLM, watched by the real agent: each event is counted once."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import load
from tests.engines.gateways import Gateway, litellm_proxy, through
from tests.engines.serving import Server, llamacpp_server
from tests.engines.watching import Exported, Watcher, watching

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

SETTLE_SECONDS = 30.0  # LiteLLM counts some seconds after its answer


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    folder = tmp_path_factory.mktemp("behind")
    with llamacpp_server(folder) as first, llamacpp_server(folder) as second:
        yield first, second


@pytest.fixture(scope="module")
def gateway(
    engines: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """One name over both engines and one over the first, each asked for once."""
    names = {"tiny": engines, "aside": engines[:1]}
    with litellm_proxy(tmp_path_factory.mktemp("gateway"), names) as proxy:
        for name in names:
            load.run_load(proxy.server.url, through(load.ok(1), name))
        give_up_seconds = time.monotonic() + SETTLE_SECONDS
        while not all(f'requested_model="{name}"' in proxy.page() for name in names):
            assert time.monotonic() < give_up_seconds
            time.sleep(0.2)
        yield proxy


@pytest.fixture
def watch(engines: tuple[Server, Server], gateway: Gateway, tmp_path: Path) -> Iterator[Watcher]:
    """An agent over all three, listed as their users would: under one model."""
    key = tmp_path / "key"
    key.write_text(gateway.key or "")
    targets = [
        f"{{name: first, url: {engines[0].url}, model: tiny}}",
        f"{{name: second, url: {engines[1].url}, model: tiny}}",
        f"{{name: front, url: {gateway.metrics_url}, token_file: {key}}}",
    ]
    lines = "".join(f"  - {target}\n" for target in targets)
    with watching(tmp_path, f"discovery: {{processes: false}}\ntargets:\n{lines}") as watcher:
        yield watcher


def test_each_token_is_counted_once_at_the_engines_and_apart_at_the_gateway(
    watch: Watcher, gateway: Gateway
) -> None:
    before = settled(watch)
    asks = [*load.ok(12), *load.ok(6, is_stream=False)]
    truth = load.run_load(gateway.server.url, through(asks, "tiny"))
    after = settled(watch, gateway_ok=18 + before.total("burnmeter_gateway_requests_total"))

    expected = {"prompt": truth.prompt_tokens(), "generated": truth.completion_tokens()}
    assert truth.requests() == {"ok": 18}
    for kind, count in expected.items():
        labels = {"model": "tiny", "kind": kind}
        assert grown(before, after, "burnmeter_tokens_total", **labels) == count
        assert grown(before, after, "burnmeter_gateway_tokens_total", **labels) == count
    # The sum over a name has no target of the gateway in it, and the gateway's has no engine.
    assert targets(after, "burnmeter_tokens_total") == {"first", "second"}
    assert targets(after, "burnmeter_gateway_tokens_total") == {"front"}
    both = [grown(before, after, "burnmeter_tokens_total", target=t) for t in ("first", "second")]
    assert min(both) > 0


def test_the_requests_that_the_engines_cannot_count_are_the_gateways(
    watch: Watcher, gateway: Gateway
) -> None:
    before = settled(watch)
    asks = [*through(load.ok(5), "tiny"), *through(load.too_long(2), "tiny")]
    asks += through(load.unknown_model(1), "no-such-model")
    asks += through(load.ok(1), "tiny", key=None)
    truth = load.run_load(gateway.server.url, asks)
    gateway.look()  # a scrape without the key is no request for a model
    seen = before.total("burnmeter_gateway_requests_total")
    after = settled(watch, gateway_ok=9 + seen)

    assert truth.requests() == {"http_400": 3, "http_401": 1, "ok": 5}
    name = "burnmeter_gateway_requests_total"
    assert grown(before, after, name, outcome="ok", model="tiny") == 5
    assert grown(before, after, name, outcome="rejected", model="tiny") == 3
    # What it refused for a model that it does not know is no model's of ours.
    assert grown(before, after, name, outcome="rejected", model="unknown") == 1
    assert grown(before, after, name) == 9
    # llama.cpp counts no requests: nobody may make some of the gateway's.
    assert after.total("burnmeter_requests_total") == 0
    assert after.burn("errors", "tiny").state != "not_measured"


def settled(watch: Watcher, gateway_ok: float = 0.0) -> Exported:
    """Tick until the engines are idle and the gateway has counted so many requests."""
    for target in ("first", "second"):
        watch.settled(target)
    return watch.until(
        lambda now: now.total("burnmeter_gateway_requests_total") >= gateway_ok,
        seconds=SETTLE_SECONDS,
    )


def grown(before: Exported, after: Exported, name: str, **labels: str) -> float:
    """How much more there is of a name."""
    return after.total(name, **labels) - before.total(name, **labels)


def targets(now: Exported, name: str) -> set[str]:
    """Who is in a name."""
    return set(now.by("target", name))
