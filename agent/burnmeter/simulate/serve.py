"""The simulated node's ports: one per engine, as `vllm serve` opens them, and a control page.

No simulation happens here. An engine that is gone has no listening socket and no open connection,
because "connection refused" is what the rest of the program must be able to tell from "slow".
"""

import json
import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, NamedTuple

from burnmeter.simulate.page import CONTENT_TYPE
from burnmeter.simulate.wire import NodeState, encode
from burnmeter.simulate.world import World

JSON_TYPE = "application/json"
VLLM_VERSION = "0.32.0"


class Answer(NamedTuple):
    """What a path answers."""

    status: int
    content_type: str
    text: str


Answers = Callable[[str], Answer | None]
"""None: the process is gone, and the connection with it."""
NOT_FOUND = Answer(404, JSON_TYPE, '{"detail":"Not Found"}')


def engine_answers(world: World, name: str, lock: Lock) -> Answers:
    """The routes of one engine."""

    def answer(path: str) -> Answer | None:
        with lock:
            service = world.services[name]
            text = world.page(name) if path == "/metrics" else ""
            if text is None or not service.is_listening:
                return None
            if path == "/metrics":
                return Answer(200, CONTENT_TYPE, text)
            if path == "/health":
                return Answer(503 if service.phase == "dying" else 200, "text/plain", "")
            if path == "/version":
                return Answer(200, JSON_TYPE, json.dumps({"version": VLLM_VERSION}))
            if path == "/v1/models":
                return Answer(200, JSON_TYPE, _models(service.spec.served_model))
        return NOT_FOUND

    return answer


def control_answers(world: World, lock: Lock) -> Answers:
    """The control page: what the driver and /proc would say."""

    def answer(path: str) -> Answer | None:
        if path != "/node":
            return NOT_FOUND
        with lock:
            now = NodeState(world.now, world.targets(), world.gpus(), dict(world.processes()))
            return Answer(200, JSON_TYPE, encode(now))

    return answer


def _models(model: str) -> str:
    return json.dumps({"object": "list", "data": [{"id": model, "object": "model"}]})


class Port:
    """One TCP port of 127.0.0.1 that can be closed and opened again."""

    def __init__(self) -> None:
        self._server: _Server | None = _Server(0)
        self.number: int = self._server.server_address[1]

    @property
    def is_open(self) -> bool:
        """Whether anything listens."""
        return self._server is not None

    def start(self, answers: Answers) -> None:
        """Answer with `answers`; opens the port again if it was closed."""
        if self._server is None:
            self._server = _Server(self.number)
        self._server.answers = answers
        # The poll only bounds how long a stop takes.
        Thread(target=self._server.serve_forever, args=(0.5,), daemon=True).start()

    def close(self) -> None:
        """Stop listening and drop who is connected, as a process that dies does."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.drop_connections()
            self._server = None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "uvicorn"
    sys_version = ""
    # Head and body are two writes; with Nagle the second waits for an acknowledgement.
    disable_nagle_algorithm = True
    server: "_Server"

    def do_GET(self) -> None:
        answer = self.server.answers(self.path.partition("?")[0])
        if answer is None:
            self.close_connection = True
            return
        status, content_type, text = answer
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the agent scrapes every few seconds."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answers: Answers = lambda path: NOT_FOUND
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news."""

    def drop_connections(self) -> None:
        """End what is still open."""
        for connection in tuple(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has just gone by itself
