"""The harness for gateways and model servers: they answer, and their pages are as recorded.

Their counters against a client's truth are held in `test_gateway` and `test_recorded_gateways`.
"""

import re
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests import pages
from tests.engines import load
from tests.engines.gateways import Gateway, kserve_server, litellm_proxy, ray_serve, through
from tests.engines.serving import llamacpp_server

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

RAY_TELLS_SECONDS = 40.0  # its workers tell their node every 5 s


def families(page: str, start: str) -> set[str]:
    """Names on a page that begin so, of series and not of comments."""
    return set(re.findall(rf"^({start}\w*)[ {{]", page, re.MULTILINE))


def status(gateway: Gateway, path: str, body: bytes | None = None) -> int:
    """What a plain request is answered."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(gateway.server.url + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10.0) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_litellm_answers_in_an_alias_and_shows_its_page_only_to_who_has_its_key(
    tmp_path: Path,
) -> None:
    with llamacpp_server(tmp_path) as engine, litellm_proxy(tmp_path, {"sea": [engine]}) as proxy:
        truth = load.run_load(proxy.server.url, through(load.ok(2), "sea"))
        time.sleep(1.0)
        page = proxy.page()
        locked, _ = proxy.look()

    assert truth.requests() == {"ok": 2}
    assert truth.completion_tokens() == 2 * 16
    assert locked == 401
    assert 'requested_model="sea"' in page
    assert proxy.server.processes() == []


def test_kserve_predicts_and_its_page_is_as_recorded(tmp_path: Path) -> None:
    with kserve_server(tmp_path) as server:
        path = "/v1/models/echo:predict"
        found = [status(server, path, b'{"instances": ["%s"]}' % word) for word in (b"a", b"fail")]
        page = server.page()

    assert found == [200, 500]
    recorded = pages.text_of("kserve", "0.21.0-predicted-after")
    assert families(page, "request_") == families(recorded, "request_")


def test_ray_serves_and_its_page_is_as_recorded(tmp_path_factory: pytest.TempPathFactory) -> None:
    recorded = pages.text_of("ray", "2.60.0-answered-after")
    wanted = families(recorded, "ray_serve_num_http_") | families(recorded, "ray_vllm_")
    with ray_serve(tmp_path_factory.mktemp("r")) as node:
        found = [status(node, f"/chat{query}") for query in ("", "?fail=1", "?status=503")]
        give_up_seconds = time.monotonic() + RAY_TELLS_SECONDS
        while wanted - families(page := node.page(), "ray_"):
            assert time.monotonic() < give_up_seconds, wanted - families(page, "ray_")
            time.sleep(1.0)

    assert found == [200, 500, 503]
    assert "ray_vllm_generation_tokens_total" in wanted
