"""Serve one GGUF file with llama.cpp's own HTTP server, until told to stop.

Not part of any test: run by the Python of llama.cpp's environment. The server is the one of
`llama-server`, bound into the wheel `xllamacpp`; four slots, one thread, a metrics page.

usage: serve_llamacpp.py FILE.gguf PORT
"""

import signal
import sys

import xllamacpp  # type: ignore[import-not-found,unused-ignore]


def main(model: str, port: int) -> None:
    """Serve in this process; SIGTERM ends it."""
    settings = xllamacpp.CommonParams()
    settings.model.path = model
    settings.model_alias = {"tiny"}
    settings.hostnames = ["127.0.0.1"]
    settings.port = port
    settings.endpoint_metrics = True
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
    main(sys.argv[1], int(sys.argv[2]))
