"""A server that answers as a test says, for what a real Prometheus would not say on demand."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Script:
    """What it answers, and what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str, str], str | bytes] = lambda _path, _body: "{}"
        """Path with its query, and body -> body of the answer."""
        self.status = 200
        self.headers: list[dict[str, str]] = []
        self.is_over = threading.Event()


@contextmanager
def scripted(*prepared: Callable[[Script], None]) -> Iterator[str]:
    """Its address, while it answers."""
    script = Script()
    for prepare in prepared:
        prepare(script)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            script.headers.append(dict(self.headers))
            told = script.answer(self.path, body)
            data = told if isinstance(told, bytes) else told.encode()
            self.send_response(script.status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        script.is_over.set()
        server.shutdown()
        thread.join()
        server.server_close()
