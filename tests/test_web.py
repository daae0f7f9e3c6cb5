"""The web application: routes, headers, health, and a page that says what the Snapshot says."""

import gzip
import json
import re
from dataclasses import replace
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from burnmeter.export import web
from burnmeter.export.verdict import attention
from burnmeter.export.web import ROUTES, Outlet
from burnmeter.model import Failure
from burnmeter.snapshot import Elsewhere, Latency, Quantile, Snapshot, TargetView
from tests import snapshots
from tests.snapshot_parts import LLAMA, NOW, burn, latency, model, objective, target
from tests.web_reader import Reader, words

METRICS = b"# TYPE burnmeter_up gauge\nburnmeter_up 1\n"

BEFORE_IT = Elsewhere(
    targets=("litellm-4000",),
    latencies={"ttft": latency(0.5, 1.0)},
    requests={"ok": 61240.0, "error": 80.0},
    tokens={"generated": 10_113_870.0},
)


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(
    outlet: Outlet | None, path: str, *, now: float = NOW + 1, method: str = "GET", **environ: str
) -> Reply:
    """One request through the standard library's WSGI checker."""
    app = validator(web.application(lambda: outlet, clock=lambda: now))
    return call(app, path, method=method, **environ)


def call(app: Any, path: str, *, method: str = "GET", **environ: str) -> Reply:
    request: dict[str, Any] = {"PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": ""}
    request["REQUEST_METHOD"] = method
    setup_testing_defaults(request)
    started: list[Any] = []
    answer = app(request | environ, lambda *said: started.append(said) or (lambda data: None))
    try:
        body = b"".join(answer)
    finally:
        answer.close()
    status, headers = started[0][:2]
    return Reply(int(status.split()[0]), dict(headers), body)


def outlet(snapshot: Snapshot | None = None, metrics: bytes = METRICS) -> Outlet:
    return web.render(snapshots.good() if snapshot is None else snapshot, metrics)


def page(snapshot: Snapshot) -> str:
    return ask(outlet(snapshot), "/").text


# --- routes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_answers_with_strict_headers(path: str) -> None:
    reply = ask(outlet(), path)

    assert reply.status == 200
    assert reply.headers["Content-Length"] == str(len(reply.body))
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'")
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", [*ROUTES, "/nothing"])
def test_head_is_get_without_a_body(path: str) -> None:
    got, head = ask(outlet(), path), ask(outlet(), path, method="HEAD")

    assert (head.status, head.headers) == (got.status, got.headers)
    assert head.body == b""


def test_metrics_are_the_bytes_of_the_outlet_in_the_prometheus_content_type() -> None:
    reply = ask(outlet(), "/metrics")

    assert reply.body == METRICS
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("deflate", False),
        ("gzip;q=0", False),
        ("", False),
    ],
)
def test_a_large_body_is_compressed_if_the_client_asks(accepted: str, is_compressed: bool) -> None:
    large = METRICS * 200

    reply = ask(outlet(metrics=large), "/metrics", HTTP_ACCEPT_ENCODING=accepted)

    assert reply.headers.get("Content-Encoding") == ("gzip" if is_compressed else None)
    assert (gzip.decompress(reply.body) if is_compressed else reply.body) == large
    assert reply.headers["Vary"] == "Accept-Encoding"


def test_a_compressed_body_is_never_that_of_an_earlier_tick() -> None:
    made = [outlet(metrics=b"first " * 500)]
    app = validator(web.application(lambda: made[0], clock=lambda: NOW))
    first = call(app, "/metrics", HTTP_ACCEPT_ENCODING="gzip")

    made[0] = outlet(metrics=b"second " * 500)
    second = call(app, "/metrics", HTTP_ACCEPT_ENCODING="gzip")

    assert gzip.decompress(first.body).startswith(b"first")
    assert gzip.decompress(second.body).startswith(b"second")


def test_json_holds_the_snapshot() -> None:
    reply = ask(outlet(), "/api/v1/snapshot")

    assert reply.headers["Content-Type"] == "application/json"
    assert json.loads(reply.body)["node"] == "gpu-node-07"


def test_an_unknown_address_lists_the_routes_in_plain_words() -> None:
    reply = ask(outlet(), "/admin")

    assert reply.status == 404
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert all(path in reply.text for path in ROUTES)


def test_nothing_can_be_changed() -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        reply = ask(outlet(), "/metrics", method=method)

        assert reply.status == 405
        assert reply.headers["Allow"] == "GET, HEAD"
        assert "/healthz" in reply.text


# --- health --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_seconds", "status", "word"),
    [(0.0, 200, "ok"), (25.0, 200, "ok"), (25.5, 503, "stuck"), (-3600.0, 200, "ok")],
)
def test_health_fails_when_the_last_tick_is_older_than_3_intervals_and_10_s(
    age_seconds: float, status: int, word: str
) -> None:
    reply = ask(outlet(), "/healthz", now=NOW + age_seconds)

    assert reply.status == status
    assert reply.text.startswith(word)


def test_a_stuck_agent_says_how_old_its_last_reading_is() -> None:
    text = ask(outlet(), "/healthz", now=NOW + 3600).text

    assert text == "stuck: the last reading is 1 h old; it should be at most 25 s\n"


def test_before_the_first_reading_it_is_alive_but_not_ready() -> None:
    assert ask(None, "/healthz").status == 200
    for path in ("/readyz", "/metrics", "/api/v1/snapshot"):
        assert ask(None, path).status == 503
        assert "No reading has been made yet" in ask(None, path).text
    assert ask(outlet(), "/readyz").status == 200


def test_a_start_that_never_reads_becomes_unhealthy() -> None:
    times = iter([0.0, 59.0, 61.0])
    app = validator(web.application(lambda: None, clock=lambda: next(times)))

    assert [call(app, "/healthz").status for _ in range(2)] == [200, 503]


def test_the_page_waits_for_the_first_reading() -> None:
    reply = ask(None, "/")

    assert reply.status == 503
    assert "making its first reading" in reply.text
    assert 'http-equiv="refresh"' in reply.text


# --- the page ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", snapshots.ALL)
def test_the_page_has_no_inline_code_and_loads_nothing_from_elsewhere(name: str) -> None:
    read = Reader(page(snapshots.ALL[name]()))

    assert not list(read.values("style"))
    assert not [tag for tag, given in read.tags if any(key.startswith("on") for key in given)]
    assert next(given["src"] for tag, given in read.tags if tag == "script").startswith("live.js?")
    assert len([tag for tag, _ in read.tags if tag in ("script", "style", "iframe", "img")]) == 1
    for address in [*read.values("href"), *read.values("src")]:
        assert not re.match(r"(?i)(https?:)?//|javascript:", address)


def test_names_that_are_markup_are_shown_and_not_run() -> None:
    text = page(snapshots.hostile())

    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    attributes = [value for _, given in Reader(text).tags for value in given.values()]
    assert snapshots.HOSTILE in " ".join(filter(None, attributes))
    assert text.count("<script") == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("good", "All 3 models are good enough right now"),
        ("burning", "1 of 3 models is burning its budget: llama-3.3-70b (TTFT below 1 s)"),
        ("not_measured", "gemma-3-27b is not measured"),
        ("empty", "No engine was found on this node"),
    ],
)
def test_the_verdict_is_one_sentence(name: str, sentence: str) -> None:
    assert sentence in words(page(snapshots.ALL[name]()))


def test_the_verdict_of_one_model_names_it() -> None:
    view = model(state="burning")
    burns = (burn(LLAMA, (20.0,) * 6, state="burning", objective=objective("errors")),)

    text = words(page(snapshots.empty(models=(view,), burns=burns)))

    assert "llama-3.3-70b is burning its budget: errors" in text


def test_a_dead_gateway_is_the_headline_where_no_objective_burns() -> None:
    reason = "gateway gw is down: it is refused; the engines behind it answer"
    view = model(state="burning", reason=reason)
    burns = (burn(LLAMA, (0.0,) * 6, objective=objective("availability"), source="engine"),)

    text = words(page(snapshots.empty(models=(view,), burns=burns)))

    assert "llama-3.3-70b needs you: gateway gw is down " in text
    assert "its budget" not in text
    assert "counted at the engines, not at what stands before them" in text


def test_a_probe_that_rests_at_its_bound_is_neither_down_nor_red() -> None:
    why = Failure("disabled", "its `tokens_per_day` (1000) would be exceeded")
    resting = target("probe", is_up=False, failure=why, vantage="probe")

    shown = snapshots.good(targets=(resting,))
    text = page(shown)

    row = re.search(r'<tr role="row" id="target-0" class="resting">.*?</tr>', text, re.DOTALL)
    assert row is not None
    assert 'class="state not_measured"' in row[0]
    assert why.message in row[0]
    assert 'class="state burning"' not in text
    assert attention(shown) == []


def test_engines_that_do_not_answer_are_not_called_good() -> None:
    down = target(is_up=False, failure=Failure("refused", ""))

    text = words(page(snapshots.empty(targets=(down,))))

    assert "No engine on this node answers" in text
    assert "vllm-8000 is down: nothing listens on that address" in text


def test_quantiles_are_bounds() -> None:
    latencies = {"ttft": latency(2560.0, None), "itl": latency(0.0, 0.025)}

    text = words(page(snapshots.empty(models=(model(latencies=latencies),))))

    assert "above 2560 s" in text
    assert "≤ 25 ms" in text


def test_a_reason_for_several_measures_is_said_once_of_those_that_cannot_be_said() -> None:
    lacks = {"prefill_seconds": "its role", "x": "It", "decode_seconds": "its role", "y": "it"}

    shown = page(snapshots.empty(models=(model(not_available=lacks),)))

    pairs = re.findall(r"<div><dt>([^<]*)</dt><dd>([^<]*)</dd></div>", shown)
    assert pairs[-3:] == [("prefill_seconds, decode_seconds", "its role"), ("x", "It"), ("y", "it")]


def test_what_is_not_known_is_a_dash_with_a_reason_and_0_is_0() -> None:
    view = model(waiting=0.0, running=None, not_available={"ttft_seconds": "it does not count it"})
    view = replace(view, latencies={})

    text = page(snapshots.empty(models=(view,)))

    assert re.search(r"Waiting</dt><dd><span class=\"num\">0<", text)
    assert re.search(r"Running</dt><dd>\s*<span class=\"none\" title=\"not measured\">", text)
    assert 'title="it does not count it"' in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"requests_per_second": 0.0}, "no requests in the last 5 min"),
        ({"error_ratio_lower": 1.0, "error_ratio_upper": 1.0}, "not measured"),
    ],
)
def test_a_tile_without_a_value_says_so_if_merely_nobody_asked(
    changes: dict[str, float], said: str
) -> None:
    nobody = Latency(count=0.0, mean_seconds=None, quantiles={})
    quiet = model(latencies={"ttft": nobody, "tpot": nobody}, history=())
    view = replace(
        quiet,
        **{
            "requests_per_second": None,
            "error_ratio_lower": None,
            "error_ratio_upper": None,
            **changes,
        },
    )

    text = page(snapshots.empty(models=(view,)))

    (tile,) = re.findall(r"TTFT p95</span>.*?</figure>", text, re.DOTALL)
    assert f'title="{said}"' in tile
    assert re.search(rf'TPOT p95</dt><dd>\s*<span class="none" title="{said}"', text)


def test_what_a_gateway_sees_stands_apart_and_says_what_the_difference_is() -> None:
    view = model(elsewhere={"gateway": BEFORE_IT})

    text = words(page(snapshots.empty(models=(view,))))

    assert "As a gateway sees it" in text
    assert "the difference is queueing and network" in text
    assert "litellm-4000" in text


def test_an_objective_says_who_counted_its_events() -> None:
    counted = burn(LLAMA, (0.5,) * 6, source="http")

    text = words(page(snapshots.empty(models=(model(),), burns=(counted,))))

    assert "counted by HTTP status codes" in text


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (target(is_ill=True, illness="/health answers HTTP 503"), "is not well: /health answers"),
        (target(is_stale=True), "is not believed: its page stands still while its GPUs work"),
    ],
)
def test_an_engine_that_is_ill_or_frozen_asks_for_attention(view: TargetView, said: str) -> None:
    text = words(page(snapshots.empty(models=(model(),), targets=(view,))))

    assert f"vllm-8000 {said}" in text


def test_a_range_of_errors_is_not_shown_as_one_number() -> None:
    text = words(page(snapshots.burning()))

    assert "1.2–3.4 %" in text


def test_burning_models_come_first_and_pages_before_the_rest() -> None:
    text = page(snapshots.burning())

    order = re.findall(r'<h3 id="model-\d+-title">(.*?)</h3>', text)
    assert order == ["llama-3.3-70b", "mistral-small-24b", "qwen2.5-coder-32b"]
    tags = re.findall(r'class="tag (\w+)"', text.split("node-facts")[0])
    assert tags == ["page", "page", "page", *["look"] * 4]


def test_a_simulated_node_says_so_first_of_all() -> None:
    text = page(snapshots.simulated())

    banner = text.index("Simulated node: these engines and GPUs are not real")
    assert banner < text.index("<header")
    assert "<title>Simulated: " in text
    assert "Simulated" not in page(snapshots.burning())


def test_a_lost_gpu_is_shown_in_words_without_gauges() -> None:
    text = words(page(snapshots.burning()))

    tile = text[text.index("GPU 5 NVIDIA") : text.index("GPU 6 NVIDIA")]
    assert "Does not answer. GPU is lost" in tile
    assert "XID 79 ×1" in tile
    assert "memory" not in tile


def test_an_attribution_that_is_a_guess_says_so() -> None:
    text = words(page(snapshots.burning()))

    assert "idle mistral-small-24b shared, split equally: a guess" in text
    assert "unattributed nobody owner not known" in text


def test_money_adds_up_over_models_and_nobody() -> None:
    accounts = web.live.money(snapshots.good())

    spends = snapshots.good().spends.values()
    assert {account.model for account in accounts} >= {"", LLAMA}
    total = sum(account.dollars or 0.0 for account in accounts)
    assert total == pytest.approx(sum(spend.dollars or 0.0 for spend in spends), rel=1e-9)


def test_a_price_that_is_partly_unknown_is_unknown_as_a_sum() -> None:
    gpus = snapshots.good().gpus
    free = replace(gpus[0], dollars_per_hour=0.0)

    assert web.live.hourly_dollars(gpus) == pytest.approx(8 * 2.99)
    assert web.live.hourly_dollars((free,)) == 0.0
    assert web.live.hourly_dollars((*gpus, replace(gpus[0], dollars_per_hour=None))) is None
    assert web.live.hourly_dollars(()) is None


def test_what_was_not_measured_is_a_gap_in_the_chart() -> None:
    moments = [(0.0, 1.0), (1.0, 2.0), (2.0, None), (3.0, None), (4.0, 1.0)]

    drawn = web.live.charts.chart(moments)

    assert drawn.line.count("M") == 2
    assert drawn.gaps == ((60.0, 180.0),)
    assert (drawn.lowest, drawn.highest, drawn.last) == (1.0, 2.0, 1.0)


def test_a_chart_without_a_value_says_not_measured() -> None:
    drawn = web.live.charts.chart([(0.0, None), (1.0, None)])

    assert (drawn.line, drawn.end, drawn.highest) == ("", None, None)
    assert 'aria-label="Burn over 0 s, now –, highest –: not measured"' in page(
        snapshots.not_measured()
    )


def test_a_page_without_a_p95_still_shows_the_model() -> None:
    odd = replace(latency(0.1, 0.2), quantiles={"p50": Quantile(0.0, 0.1)}, mean_seconds=None)

    assert LLAMA in page(snapshots.empty(models=(model(latencies={"ttft": odd}),)))


def test_the_page_and_the_json_are_made_once_a_tick() -> None:
    made = outlet()

    assert made.page is made.page
    assert made.json is made.json
