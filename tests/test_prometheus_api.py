"""The client of Prometheus: against a real one, and against servers that lie, stall or flood."""

import json
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest

from burnmeter.provision import prometheus_api
from burnmeter.provision.prometheus_api import Prometheus, PrometheusError
from tests.asked import Script, scripted
from tests.promhistory import SCRAPE_SECONDS, START, Counter, prometheus
from tests.servers import Behaviour, Server, Talk, is_silent

HOURS = 3
END = START + HOURS * 3600


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    past = [
        Counter("requests_total", {"job": "a", "quoted": 'x\\"y'}, lambda _: 1.0),
        Counter("requests_total", {"job": "b"}, lambda _: 2.0),
    ]
    with prometheus(tmp_path_factory.mktemp("api"), past, HOURS * 3600) as found:
        yield found


def test_an_instant_query_gives_a_vector(url: str) -> None:
    found = Prometheus(url).instant("sum by (job) (requests_total)", END)

    per_job = {one.labels["job"]: one.points for one in found}
    steps = HOURS * 3600 / SCRAPE_SECONDS + 1
    assert per_job == {"a": ((END, steps),), "b": ((END, 2 * steps),)}


def test_a_query_that_gives_no_vector_is_said_to(url: str) -> None:
    with pytest.raises(PrometheusError, match=f"{url}: a scalar, no vector: 1"):
        Prometheus(url).instant("1", END)


def test_a_range_has_both_ends(url: str) -> None:
    (found,) = Prometheus(url).range(
        'requests_total{job="b"}', start_seconds=START, end_seconds=START + 120, step_seconds=60.0
    )

    assert found.points == ((START, 2.0), (START + 60, 6.0), (START + 120, 10.0))


def test_a_range_in_pieces_is_the_range(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []

    def asked() -> tuple[prometheus_api.Series, ...]:
        client = Prometheus(url, progress=lambda done, of: told.append((done, of)))
        return client.range("requests_total", start_seconds=START, end_seconds=END, step_seconds=60)

    whole = asked()
    monkeypatch.setattr(prometheus_api, "MOST_POINTS", 50)  # 181 points are 3 x 50 + 31
    pieces = asked()

    assert pieces == whole
    assert len(whole[0].points) == 181
    assert told == [(1, 1), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_labels_and_series_are_listed(url: str) -> None:
    client = Prometheus(url)
    between = {"start_seconds": float(START), "end_seconds": float(END)}

    assert client.label_values("job", ["requests_total"], **between) == ("a", "b")
    assert client.label_values("job", ['{job="a"}'], **between) == ("a",)
    assert client.label_values("job", ["nothing"], **between) == ()
    (found,) = client.series(['requests_total{job="a"}'], **between)
    assert found == {"__name__": "requests_total", "job": "a", "quoted": 'x"y'}


def test_a_refused_query_is_told_with_its_reason(url: str) -> None:
    with pytest.raises(PrometheusError) as caught:
        Prometheus(url).instant("sum by (", END)

    assert str(caught.value).startswith(f"{url} refuses: bad_data: ")


# --- what is no Prometheus -----------------------------------------------------------------------


def fails_with(url: str, timeout_seconds: float = 5.0) -> str:
    with pytest.raises(PrometheusError) as caught:
        Prometheus(url, timeout_seconds=timeout_seconds).instant("up", 0.0)
    return str(caught.value)


def never_ends(piece: bytes, apart_seconds: float) -> Behaviour:
    """Answers with the same piece again and again."""

    def behaviour(talk: Talk) -> None:
        talk.sock.recv(65536)
        talk.says(b"HTTP/1.1 200 OK\r\n\r\n")
        while not talk.sleeps(apart_seconds) and talk.says(piece):
            pass

    return behaviour


def place(server: Server) -> str:
    return server.url.removesuffix("/metrics")


@pytest.mark.parametrize(
    "body",
    ["<html>", "[]", "{}", '{"status": "success"}', b"\xff\xfe", '{"status": "error"}'],
    ids=["a page", "a list", "nothing", "no data", "no text", "an error without one"],
)
def test_garbage_is_no_answer_of_a_prometheus(body: str | bytes) -> None:
    def garbage(script: Script) -> None:
        script.answer = lambda _path, _body: body

    with scripted(garbage) as url:
        said = fails_with(url)

    text = "answers, but not as Prometheus does; is it the right address?"
    assert said == f"{url} {text}"


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (500, ""),
        (401, "; give a token that it knows"),
        (404, "; nothing is asked there. Give the address as Grafana has it, without /api/v1"),
        (502, "; a proxy answers, and Prometheus behind it does not"),
    ],
)
def test_a_status_without_words_is_told_with_what_to_do(status: int, more: str) -> None:
    def broken(script: Script) -> None:
        script.status = status

    with scripted(broken) as url:
        assert fails_with(url) == f"{url} refuses: HTTP {status}{more}"


def test_a_server_that_hangs_is_left() -> None:
    with Server(is_silent) as server:
        said = fails_with(place(server), timeout_seconds=0.2)

    assert said.startswith(f"{place(server)} does not answer: ")
    assert "timed out" in said


def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_api, "BODY_BYTES", 1000)
    with Server(never_ends(b"x" * 1000, 0.0)) as server:
        said = fails_with(place(server))

    assert said == (
        f"{place(server)}: an answer of more than 1000 bytes; ask for less time"
        " or narrow what is asked"
    )


def test_an_answer_that_drips_is_cut() -> None:
    with Server(never_ends(b"x", 0.02)) as server:
        said = fails_with(place(server), timeout_seconds=0.3)

    assert "an answer that takes more than 0.3 s; ask for less time" in said


def test_nobody_there_is_told() -> None:
    assert fails_with("http://127.0.0.1:1") == (
        "http://127.0.0.1:1 does not answer: Connection refused"
    )


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://prometheus", ""])
def test_a_wrong_address_says_what_would_be_right(url: str) -> None:
    with pytest.raises(PrometheusError, match="is no address; write one like http://prometheus"):
        Prometheus(url)


# --- who asks ------------------------------------------------------------------------------------


def seen(url_of: str, token: str | None = None) -> dict[str, str]:
    """The headers that arrive."""
    kept: list[Script] = []

    def vector(script: Script) -> None:
        kept.append(script)
        nothing = {"status": "success", "data": {"resultType": "vector", "result": []}}
        script.answer = lambda _path, _body: json.dumps(nothing)

    with scripted(vector) as url:
        Prometheus(url.replace("http://", url_of), token=token).instant("up", 0.0)
    return {name.lower(): value for name, value in kept[0].headers[0].items()}


def test_a_token_is_sent_as_a_bearers() -> None:
    assert seen("http://", token="t0ken")["authorization"] == "Bearer t0ken"


def test_a_password_of_the_address_is_sent_and_never_shown() -> None:
    assert seen("http://user:hunter2@")["authorization"] == "Basic dXNlcjpodW50ZXIy"
    assert "hunter2" not in fails_with("http://user:hunter2@127.0.0.1:1/")


def test_an_answer_that_is_asked_in_pieces_asks_each_step_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prometheus_api, "MOST_POINTS", 10)
    asked: list[tuple[float, float]] = []

    def pieces(script: Script) -> None:
        def answer(_path: str, body: str) -> str:
            fields = parse_qs(body)
            asked.append((float(fields["start"][0]), float(fields["end"][0])))
            return '{"status": "success", "data": {"resultType": "matrix", "result": []}}'

        script.answer = answer

    with scripted(pieces) as url:
        Prometheus(url).range("up", start_seconds=0.0, end_seconds=25.0, step_seconds=1.0)

    assert asked == [(0.0, 9.0), (10.0, 19.0), (20.0, 25.0)]
