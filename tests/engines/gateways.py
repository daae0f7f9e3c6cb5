"""Start what stands in front of engines or around models: LiteLLM, KServe's server, Ray Serve.

Not doubles either: the programs users run, with their metrics on, each around the smallest thing
that it can serve. LiteLLM's upstreams are the real engines of `serving`.
"""

import contextlib
import dataclasses
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.engines.load import Ask
from tests.engines.serving import HERE, Server, free_port, running
from tests.parts import engine_environment

KEY = "sk-only-for-tests"
LITELLM_START_SECONDS = 120.0  # 10 s on two idle cores
KSERVE_START_SECONDS = 60.0  # 3 s
RAY_START_SECONDS = 120.0  # 12 s


@dataclass(frozen=True)
class Gateway:
    """One running gateway or model server, whose metrics page may be elsewhere and locked."""

    server: Server
    metrics_url: str
    key: str | None = None

    def look(self, *, key: str | None = None, accept: str | None = None) -> tuple[int, str]:
        """Status and text of the metrics page for who shows this key."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        headers |= {} if accept is None else {"Accept": accept}
        request = urllib.request.Request(self.metrics_url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10.0) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def page(self, accept: str | None = None) -> str:
        """The metrics page as it is now."""
        status, text = self.look(key=self.key, accept=accept)
        assert status == 200, f"{self.metrics_url} answers {status}: {text[:200]}"
        return text


def through(asks: Iterable[Ask], alias: str, key: str | None = KEY) -> list[Ask]:
    """The same requests, to this alias of a gateway."""
    return [dataclasses.replace(ask, model=alias, key=key) for ask in asks]


@contextlib.contextmanager
def litellm_proxy(folder: Path, upstreams: Mapping[str, Sequence[Server]]) -> Iterator[Gateway]:
    """LiteLLM with each alias over some engines; up in 10 s. Its one key is `KEY`."""
    engine = engine_environment("litellm")
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(yaml.safe_dump(litellm_config(upstreams)), encoding="utf-8")
    command = [str(engine / "bin" / "litellm"), "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    # Otherwise it asks the world what models cost before it starts.
    settings = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    health = "/health/liveliness"  # /health asks every upstream, and counts it
    start = running("litellm", command, port, folder, settings, LITELLM_START_SECONDS, health)
    with start as server:
        yield Gateway(server, f"{server.url}/metrics/", KEY)


def litellm_config(upstreams: Mapping[str, Sequence[Server]]) -> dict[str, object]:
    """As its users write it; all engines of one alias are one model group."""
    models = [
        {
            "model_name": alias,
            "litellm_params": {
                "model": "openai/tiny",
                "api_base": f"{server.url}/v1",
                "api_key": "none",
            },
        }
        for alias, servers in upstreams.items()
        for server in servers
    ]
    return {
        "model_list": models,
        "litellm_settings": {"callbacks": ["prometheus"]},
        "general_settings": {"master_key": KEY},
    }


@contextlib.contextmanager
def kserve_server(folder: Path) -> Iterator[Gateway]:
    """KServe's Python model server with the model `echo`; up in 3 s."""
    engine = engine_environment("kserve")
    port = free_port()
    command = [str(engine / "bin" / "python"), str(HERE / "serve_kserve.py")]
    command += ["--model_name", "echo", "--http_port", str(port), "--enable_grpc", "false"]
    health = "/v2/health/ready"
    start = running("kserve", command, port, folder, {}, KSERVE_START_SECONDS, health)
    with start as server:
        yield Gateway(server, f"{server.url}/metrics")


@contextlib.contextmanager
def ray_serve(folder: Path, **settings: str) -> Iterator[Gateway]:
    """A Ray node that serves `/chat`; up in 12 s, and its page tells 5 to 10 s later.

    `settings` are variables of Ray's. A folder with a long name is too much for Ray's sockets.
    """
    engine = engine_environment("ray")
    port, metrics_port = free_port(), free_port()
    command = [str(engine / "bin" / "python"), str(HERE / "serve_ray.py"), "--port", str(port)]
    command += ["--metrics-port", str(metrics_port), "--folder", str(folder)]
    # With its tokens on it writes a secret into the home folder.
    ours = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", **settings}
    start = running("ray", command, port, folder, ours, RAY_START_SECONDS, "/chat?health=1")
    with start as server:
        yield Gateway(server, f"http://127.0.0.1:{metrics_port}/metrics")
