"""Serve `/chat` with Ray Serve on a node of its own, until told to stop.

Not part of any test: run by the Python of Ray's environment. No model is behind it: it answers with
the status it is asked for, raises if asked to, and moves metrics that are registered under names of
vLLM as vLLM registers them in Ray, so that a page shows how Ray writes such a counter, gauge and
histogram.

usage: serve_ray.py --port PORT --metrics-port PORT --folder FOLDER
"""

import argparse
import signal
from typing import Any

import ray  # type: ignore[import-not-found,unused-ignore]
from ray import serve  # type: ignore[import-not-found,unused-ignore]
from ray.util import metrics  # type: ignore[import-not-found,unused-ignore]
from starlette.requests import Request  # type: ignore[import-not-found,unused-ignore]
from starlette.responses import JSONResponse  # type: ignore[import-not-found,unused-ignore]

STORE_BYTES = 80_000_000
TOKENS = 16
TTFT_SECONDS = 0.004
KEYS = ("model_name", "engine", "ReplicaId")


@serve.deployment  # type: ignore[misc,unused-ignore]
class Chat:
    """Says what it is told, and claims to be vLLM."""

    def __init__(self) -> None:
        replica = serve.get_replica_context().replica_id.unique_id
        tags = {"model_name": "tiny", "engine": "0", "ReplicaId": replica}
        self.tokens = metrics.Counter("vllm_generation_tokens", "generated tokens", KEYS)
        self.running = metrics.Gauge("vllm_num_requests_running", "running requests", KEYS)
        bounds = [0.001, 0.005, 0.01, 0.1, 1.0]
        name = "vllm_time_to_first_token_seconds"
        self.ttft = metrics.Histogram(name, "time to first token", bounds, KEYS)
        for metric in (self.tokens, self.running, self.ttft):
            metric.set_default_tags(tags)

    async def __call__(self, request: Request) -> Any:
        """`?fail=1` raises, `?status=503` answers so, `?health=1` moves nothing of vLLM's."""
        asked = request.query_params
        if "fail" in asked:
            raise RuntimeError("it was told to fail")
        if "status" not in asked and "health" not in asked:
            self.tokens.inc(TOKENS)
            self.running.set(1)
            self.ttft.observe(TTFT_SECONDS)
        return JSONResponse({}, status_code=int(asked.get("status", 200)))


def main() -> None:
    """Serve in this process and its children; SIGTERM ends all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--metrics-port", type=int, required=True)
    parser.add_argument("--folder", required=True)
    given = parser.parse_args()
    ray.init(
        include_dashboard=False,
        num_cpus=2,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        _metrics_export_port=given.metrics_port,
        _temp_dir=given.folder,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": given.port})
    serve.run(Chat.bind(), name="chat", route_prefix="/chat")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
