"""Serve one GGUF file with llama.cpp's own HTTP server, until told to stop.

Not part of any test: run by the Python of llama.cpp's environment. The server is the one of
`llama-server`, bound into the wheel `xllamacpp`, and understands some of its flags; four slots, one
thread.

usage: llama-server --model FILE.gguf --alias NAME --port PORT --metrics
"""

import argparse
import signal

import xllamacpp  # type: ignore[import-not-found,unused-ignore]


def main() -> None:
    """Serve in this process; SIGTERM ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--metrics", action="store_true")
    given = parser.parse_args()
    settings = xllamacpp.CommonParams()
    settings.model.path = given.model
    settings.model_alias = {given.alias}
    settings.hostnames = ["127.0.0.1"]
    settings.port = given.port
    settings.endpoint_metrics = given.metrics
    settings.endpoint_slots = True
    settings.n_parallel = 4
    settings.n_ctx = 4096
    settings.cache_ram_mib = 16
    settings.cpuparams.n_threads = 1
    settings.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(settings)
    print(f"listening {server.listening_address} {xllamacpp.BUILD_INFO}", flush=True)  # noqa: T201
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
