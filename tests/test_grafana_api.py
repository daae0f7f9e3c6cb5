"""A Grafana that refuses, fails, stalls or is none: one sentence each, and never the token."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnmeter.provision import grafana_api
from burnmeter.provision.grafana_api import Grafana, GrafanaError
from tests import servers
from tests.grafana_server import PROXY_PAGE, TOKEN, Script, serving

DASHBOARD = "/dashboards/uid/x"


def refusal(call: Callable[[], object]) -> GrafanaError:
    with pytest.raises(GrafanaError) as caught:
        call()
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def asked(
    status: int, body: Any, *, token: str | None = TOKEN, method: str = "GET", **headers: str
) -> GrafanaError:
    """What one request says of such an answer."""
    with serving() as there:
        path = DASHBOARD if method == "GET" else "/dashboards/db"
        there.refuses(method, path, status, body, headers=headers)
        client = Grafana(there.url, token=token)
        if method == "GET":
            return refusal(lambda: client.dashboard("x"))
        save = {"version": 3, "folder_uid": "f", "message": "m"}
        return refusal(lambda: client.save_dashboard({"uid": "x"}, **save))


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {"message": "Invalid API key"}, "HTTP 401: it does not know the token; give a"),
        (403, {"message": "Access denied"}, "Access denied; the token may not do this; its"),
        (409, {"message": "exists"}, "HTTP 409: exists; somebody else has one of that name"),
        (412, {"status": "version-mismatch"}, "it was saved by somebody since it was read"),
        (412, {"status": "name-exists"}, "another dashboard of this title; rename or remove"),
        (412, {"status": "plugin-dashboard"}, "it belongs to a plugin"),
        (429, {"message": "slow down"}, "it has too many requests; try again in a minute"),
        (400, {"message": "uid too long, max 40"}, "HTTP 400: uid too long, max 40"),
        (418, {"message": "a teapot"}, "HTTP 418: a teapot"),
        (500, {"message": "database is locked"}, "database is locked; Grafana's own log says"),
        (502, PROXY_PAGE, "HTTP 502; a proxy answers, and Grafana behind it does not"),
        (504, {"message": "upstream"}, "HTTP 504: upstream; Grafana's own log says why"),
        (403, "<html>denied</html>", "HTTP 403; a proxy before Grafana refuses it"),
        (404, "<html>nothing</html>", "HTTP 404; give the address that browsers open"),
        (200, "<html>A wiki</html>", "answers, but not as Grafana does; give the address"),
        (200, ["a list"], "answers, but not as Grafana does"),
    ],
)
def test_each_status_is_said_in_words_with_what_to_do(status: int, body: Any, words: str) -> None:
    assert words in str(asked(status, body))


def test_what_is_no_json_though_it_says_so_is_no_grafana() -> None:
    said = str(asked(200, "{never ends", **{"Content-Type": "application/json"}))

    assert "answers, but not as Grafana does" in said


def test_a_grafana_that_wants_a_token_says_so_where_there_is_none() -> None:
    said = str(asked(401, {"message": "Unauthorized"}, token=None))

    assert "asks for a token; give a service account's token by --token-file or" in said


def test_what_a_dashboard_belongs_to_may_be_missing() -> None:
    said = str(asked(404, {"message": "Folder not found"}, method="POST"))

    assert "HTTP 404: Folder not found; what it belongs to is not there" in said


def test_an_answer_that_repeats_the_token_is_shown_without_it() -> None:
    assert "Bearer *** is bad" in str(asked(400, {"message": f"Bearer {TOKEN} is bad"}))


def test_a_redirect_to_a_login_page_is_not_followed() -> None:
    error = asked(302, "", Location="https://sso.example/login?state=secret")

    assert "sends on to https://sso.example/login; give the address" in str(error)
    assert "secret" not in str(error)


def test_what_is_not_there_is_none_and_no_error() -> None:
    with serving() as there:
        client = Grafana(there.url, token=TOKEN)

        assert client.dashboard("x") is None
        assert client.folder("x") is None
        assert client.datasource("x") is None
        assert client.rule("x") is None
        assert client.group("f", "a/b") is None
    assert there.asked[-1] == "GET /v1/provisioning/folder/f/rule-groups/a%2Fb"


def test_one_that_is_slow_is_left_in_time() -> None:
    with serving() as there:
        there.scripts.append(Script("GET", DASHBOARD, is_slow=True))
        error = refusal(lambda: Grafana(there.url, timeout_seconds=0.2).dashboard("x"))

    assert "does not answer within 0.2 s; is it overloaded? See --timeout" in str(error)
    assert error.is_gone


def test_one_that_drips_is_left_in_time() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\nContent-Type: application/json\r\n\r\n"
    with servers.Server(servers.drips(head, b" " * 9000, 0.02)) as there:
        url = f"http://127.0.0.1:{there.port}"
        error = refusal(lambda: Grafana(url, timeout_seconds=0.2).dashboard("x"))

    assert "an answer that takes more than 0.2 s" in str(error)


def test_one_that_never_ends_is_left_at_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grafana_api, "BODY_BYTES", 100_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    with servers.Server(servers.floods(head, b" " * 50_000)) as there:
        error = refusal(lambda: Grafana(f"http://127.0.0.1:{there.port}").dashboard("x"))

    assert "an answer of more than 100000 bytes" in str(error)


def test_where_nobody_listens_it_is_refused() -> None:
    port = servers.free_port()
    error = refusal(lambda: Grafana(f"http://127.0.0.1:{port}").dashboard("x"))

    assert "does not answer: Connection refused; is that where Grafana listens?" in str(error)


def test_what_is_no_http_server_is_told() -> None:
    with servers.Server(servers.says(b"SSH-2.0-OpenSSH_9\r\n\r\n")) as there:
        error = refusal(lambda: Grafana(f"http://127.0.0.1:{there.port}").dashboard("x"))

    assert "does not answer: " in str(error)


def test_a_certificate_is_checked_and_its_ca_may_be_named(certificate: Path) -> None:
    with serving(certificate=certificate) as there:
        error = refusal(lambda: Grafana(there.url, token=TOKEN).dashboard("x"))
        trusting = Grafana(there.url, token=TOKEN, ca_file=certificate)

        assert trusting.dashboard("x") is None
    assert "is not trusted: self-signed certificate; name its CA's file by" in str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file or directory"), ("nothing", "it holds no certificate")],
)
def test_a_ca_file_that_is_none_is_told(content: str | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)

    error = refusal(lambda: Grafana("https://grafana", ca_file=file))

    assert str(error) == f"{file}: cannot be read: {words}"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("grafana:3000", "`grafana:3000` is no address; write one like http://grafana:3000"),
        ("http://", "is no address"),
        (f"http://admin:{TOKEN}@grafana", "no user and password in the address"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused(url: str, words: str) -> None:
    assert words in str(refusal(lambda: Grafana(url)))


def test_the_token_goes_into_a_header_and_a_path_before_api_is_kept() -> None:
    with serving() as there:
        there.refuses("GET", "/grafana/api/folders/x", 200, {"uid": "x"})

        assert Grafana(f"{there.url}/grafana/", token=TOKEN).folder("x") == {"uid": "x"}
    (sent,) = there.headers
    assert sent["Authorization"] == f"Bearer {TOKEN}"
    assert sent["User-Agent"].startswith("burnmeter/")


def test_a_rule_that_is_gone_cannot_be_saved() -> None:
    with serving() as there:
        error = refusal(lambda: Grafana(there.url, token=TOKEN).save_rule({"uid": "x"}))

    assert error.status == 404
