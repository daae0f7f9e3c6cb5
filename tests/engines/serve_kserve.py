"""Serve one model with KServe's own Python model server, until told to stop.

Not part of any test: run by the Python of KServe's environment. The model gives back what it is
asked, and fails if that is `fail`.

usage: serve_kserve.py --model_name NAME --http_port PORT [flags of the model server]
"""

import argparse
from typing import Any

import kserve  # type: ignore[import-not-found,unused-ignore]


class Echo(kserve.Model):  # type: ignore[misc,unused-ignore]
    """The smallest model."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True

    async def predict(self, payload: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        """What was asked."""
        if "fail" in payload["instances"]:
            raise RuntimeError("it was told to fail")
        return {"predictions": payload["instances"]}


def main() -> None:
    """Serve in this process; SIGTERM ends it."""
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
    given, _ = parser.parse_known_args()
    kserve.ModelServer().start([Echo(given.model_name)])


if __name__ == "__main__":
    main()
