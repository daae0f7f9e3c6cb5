"""A scripted Grafana: a real HTTP server that keeps state and answers as its documentation says.

Folders, dashboards, data sources, alert rules and their groups; versions, 404, 409, 412. A test may
let it refuse, stall, lose its mind or be quick to save something just before a request is handled.
"""

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "glsa_hunter2"
PROXY_PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"
Body = dict[str, Any]
Reply = tuple[int, Any]


@dataclass
class Script:
    """What happens in place of an answer, or before it."""

    method: str
    path: str
    """A pattern of the whole path below /api."""
    reply: Reply | None = None
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] | None = None
    is_slow: bool = False
    times: int = 1_000_000

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and method == self.method and bool(re.fullmatch(self.path, path))


@dataclass
class Grafana:
    """The state, and what was asked: `METHOD /path` in order."""

    url: str = ""
    token: str | None = TOKEN
    folders: dict[str, Body] = field(default_factory=dict)
    dashboards: dict[str, Body] = field(default_factory=dict)
    """uid -> {"dashboard": ..., "meta": ...}"""
    datasources: dict[str, Body] = field(default_factory=dict)
    rules: dict[str, Body] = field(default_factory=dict)
    intervals: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    scripts: list[Script] = field(default_factory=list)
    is_filling_in: bool = False
    """Whether it adds what was left out, as some versions do."""
    is_over: threading.Event = field(default_factory=threading.Event)

    @property
    def writes(self) -> list[str]:
        return [one for one in self.asked if not one.startswith("GET ")]

    def edit(self, uid: str, **changes: Any) -> None:
        """As a person does in the browser: the whole dashboard is saved anew."""
        there = self.dashboards[uid]
        there["dashboard"] |= changes
        there["dashboard"]["version"] += 1

    def refuses(self, method: str, path: str, status: int, body: Any, **more: Any) -> None:
        self.scripts.append(Script(method, path, (status, body), **more))

    def answer(self, method: str, path: str, body: Any, authorization: str) -> Reply:
        if self.token is not None and authorization != f"Bearer {self.token}":
            return 401, {"message": "Invalid API key"}
        for pattern, handle in ROUTES.items():
            verb, _, route = pattern.partition(" ")
            if verb == method and (found := re.fullmatch(route, path)):
                return handle(self, body, *map(unquote, found.groups()))
        return 404, {"message": "Not found"}

    def get_folder(self, _body: Any, uid: str) -> Reply:
        if uid not in self.folders:
            return 404, {"message": "folder not found", "status": "not-found"}
        return 200, self.folders[uid]

    def post_folder(self, body: Body) -> Reply:
        if body["uid"] in self.folders:
            text = "a folder with the same name or uid already exists"
            return 409, {"message": text, "status": "name-exists"}
        self.folders[body["uid"]] = {"version": 1, **body}
        return 200, self.folders[body["uid"]]

    def get_dashboard(self, _body: Any, uid: str) -> Reply:
        if uid not in self.dashboards:
            return 404, {"message": "Dashboard not found", "status": "not-found"}
        return 200, self.dashboards[uid]

    def post_dashboard(self, body: Body) -> Reply:
        document, folder = dict(body["dashboard"]), body.get("folderUid", "")
        if folder and folder not in self.folders:
            return 400, {"message": "folder not found"}
        uid = document["uid"]
        there = self.dashboards.get(uid)
        version = there["dashboard"]["version"] if there is not None else 0
        if there is not None and there["meta"].get("provisioned"):
            return 400, {"message": "Cannot save provisioned dashboard"}
        if version != document.get("version", 0) and not body.get("overwrite"):
            text = "The dashboard has been changed by someone else"
            return 412, {"message": text, "status": "version-mismatch"}
        for other, one in self.dashboards.items():
            is_beside = one["meta"]["folderUid"] == folder
            if other != uid and is_beside and one["dashboard"]["title"] == document["title"]:
                text = "A dashboard with the same name in the folder already exists"
                return 412, {"message": text, "status": "name-exists"}
        if self.is_filling_in:
            document = {"editable": True, "annotations": {"list": []}, **document}
        stored = {**document, "id": len(self.dashboards) + 1, "version": version + 1}
        self.dashboards[uid] = {"dashboard": stored, "meta": {"folderUid": folder}}
        return 200, {"status": "success", "uid": uid, "version": version + 1, "slug": "x"}

    def get_datasources(self, _body: Any) -> Reply:
        return 200, list(self.datasources.values())

    def get_datasource(self, _body: Any, uid: str) -> Reply:
        if uid not in self.datasources:
            return 404, {"message": "Data source not found", "messageId": "datasource.notFound"}
        return 200, self.datasources[uid]

    def post_datasource(self, body: Body) -> Reply:
        if any(one["name"] == body["name"] for one in self.datasources.values()):
            return 409, {"message": "data source with the same name already exists"}
        return self._datasource(body, 1)

    def put_datasource(self, body: Body, uid: str) -> Reply:
        version = self.datasources[uid]["version"]
        if body.get("version", version) != version:
            text = "Datasource has already been updated by someone else. Please reload"
            return 409, {"message": text}
        return self._datasource(body, version + 1)

    def _datasource(self, body: Body, version: int) -> Reply:
        empty = {"user": "", "database": "", "basicAuth": False, "isDefault": False}
        more = {"id": 1, "orgId": 1, "readOnly": False, "version": version}
        self.datasources[body["uid"]] = {**empty, **body, **more}
        return 200, {"message": "saved", "datasource": self.datasources[body["uid"]]}

    def get_rules(self, _body: Any) -> Reply:
        return 200, list(self.rules.values())

    def get_rule(self, _body: Any, uid: str) -> Reply:
        return (200, self.rules[uid]) if uid in self.rules else (404, "")

    def post_rule(self, body: Body) -> Reply:
        if any(one["title"] == body["title"] for one in self.rules.values()):
            return 409, {"message": "a conflicting alert rule is found: title must be unique"}
        self.intervals.setdefault(body["ruleGroup"], 60)
        return 201, self._rule(body)

    def put_rule(self, body: Body, uid: str) -> Reply:
        if uid not in self.rules:
            return 404, ""
        return 200, self._rule(body)

    def _rule(self, body: Body) -> Body:
        more = {"id": 7, "orgID": 1, "updated": "2026-11-03T12:00:00Z", "isPaused": False}
        filled = {"keep_firing_for": "0s", "notification_settings": None, "record": None}
        if self.is_filling_in:
            filled["missing_a_default"] = "that nobody knew of"
        # The header that the handler checks keeps `provenance` empty.
        self.rules[body["uid"]] = {**filled, **body, **more, "provenance": ""}
        return self.rules[body["uid"]]

    def get_group(self, _body: Any, folder: str, name: str) -> Reply:
        listed = [one for one in self.rules.values() if one["ruleGroup"] == name]
        if not listed:
            return 404, ""
        interval = self.intervals[name]
        return 200, {"title": name, "folderUid": folder, "interval": interval, "rules": listed}

    def put_group(self, body: Body, _folder: str, name: str) -> Reply:
        kept = {one["uid"] for one in body["rules"]}
        if unknown := kept - self.rules.keys():
            return 400, {"message": f"failed to update rule with UID {unknown}: not found"}
        for uid in [uid for uid, one in self.rules.items() if one["ruleGroup"] == name]:
            if uid not in kept:
                del self.rules[uid]
        self.intervals[name] = body["interval"]
        return 200, body


UID = "([^/]+)"
ALERTING = "/v1/provisioning"
ROUTES: dict[str, Callable[..., Reply]] = {
    f"GET /folders/{UID}": Grafana.get_folder,
    "POST /folders": Grafana.post_folder,
    f"GET /dashboards/uid/{UID}": Grafana.get_dashboard,
    "POST /dashboards/db": Grafana.post_dashboard,
    "GET /datasources": Grafana.get_datasources,
    f"GET /datasources/uid/{UID}": Grafana.get_datasource,
    "POST /datasources": Grafana.post_datasource,
    f"PUT /datasources/uid/{UID}": Grafana.put_datasource,
    f"GET {ALERTING}/alert-rules": Grafana.get_rules,
    f"GET {ALERTING}/alert-rules/{UID}": Grafana.get_rule,
    f"POST {ALERTING}/alert-rules": Grafana.post_rule,
    f"PUT {ALERTING}/alert-rules/{UID}": Grafana.put_rule,
    f"GET {ALERTING}/folder/{UID}/rule-groups/{UID}": Grafana.get_group,
    f"PUT {ALERTING}/folder/{UID}/rule-groups/{UID}": Grafana.put_group,
}


def handler(grafana: Grafana) -> type[BaseHTTPRequestHandler]:
    """A handler for its requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # Head and body in one piece: apart, each answer would wait for an ACK.

        def do_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = urlsplit(self.path).path.removeprefix("/api")
            grafana.asked.append(f"{self.command} {path}")
            grafana.headers.append(dict(self.headers))
            headers: dict[str, str] = {}
            reply: Reply | None = None
            for script in grafana.scripts:
                if script.fits(self.command, path):
                    script.times -= 1
                    if script.before is not None:
                        script.before()
                    if script.is_slow:
                        grafana.is_over.wait(30)
                    reply, headers = script.reply, script.headers
                    break
            if reply is None:
                authorization = self.headers.get("Authorization", "")
                reply = grafana.answer(self.command, path, body, authorization)
            self.says(*reply, headers)

        do_GET = do_POST = do_PUT = do_any  # noqa: N815

        def says(self, status: int, told: Any, headers: dict[str, str]) -> None:
            data = told.encode() if isinstance(told, str) else json.dumps(told).encode()
            kind = "text/html" if isinstance(told, str) else "application/json"
            self.send_response(status)
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # The client waited no longer.
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing to standard error."""

    return Handler


@contextmanager
def serving(grafana: Grafana | None = None, certificate: Path | None = None) -> Iterator[Grafana]:
    """It answers at its `url` meanwhile."""
    grafana = grafana if grafana is not None else Grafana()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(grafana))
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    grafana.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    try:
        yield grafana
    finally:
        grafana.is_over.set()
        server.shutdown()
        thread.join()
        server.server_close()
