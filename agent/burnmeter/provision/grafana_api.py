"""Asks a Grafana over its HTTP API: bounded requests, errors for a person.

Nothing is decided here about what is written. Surprising: grafana-client is not used. What it needs
puts another HTTP library in the place of urllib3, which the agent reads engines by; it reads an
answer of any length for as long as it comes, and follows redirects to login pages.
"""

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError, TimeoutError

from burnmeter import __version__
from burnmeter.config_targets import bare_url
from burnmeter.errors import BurnmeterError
from burnmeter.located import shown
from burnmeter.provision import bounded
from burnmeter.provision.bounded import TooMuchError

TIMEOUT_SECONDS: Final = 30.0
"""For the first byte, and then for all of an answer."""
BODY_BYTES: Final = 64_000_000
SAID_SIGNS: Final = 200
RIGHT_ADDRESS: Final = "give the address that browsers open, with its path and without /api"
GIVE_TOKEN: Final = "a service account's token by --token-file or GRAFANA_TOKEN"
JSON: Final = {"Content-Type": "application/json"}
RULES: Final = "v1/provisioning/alert-rules"
EDITABLE: Final = {"X-Disable-Provenance": "true"}
"""People may edit what comes with it."""
GATEWAYS: Final = frozenset((502, 503, 504))
MISMATCHES: Final = {
    "version-mismatch": "it was saved by somebody since it was read, so nothing is overwritten;"
    " see `burnmeter dashboards diff` and push again",
    "name-exists": "that folder has another dashboard of this title; rename or remove that one",
    "plugin-dashboard": "it belongs to a plugin",
}
HINTS: Final = {
    403: "the token may not do this; its service account needs the role Editor, and for data"
    " sources Admin",
    404: "what it belongs to is not there",
    409: "somebody else has one of that name, or has changed it; see `burnmeter dashboards diff`",
    429: "it has too many requests; try again in a minute",
}


class GrafanaError(BurnmeterError):
    """One request that brought nothing; one sentence with what to do."""

    def __init__(self, text: str, *, status: int = 0, is_gone: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.is_gone = is_gone
        """Whether nothing else will be answered either: it is down, hangs or is no Grafana."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whatever it is."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Raises ValueError if it is no JSON."""
        return json.loads(self.body)


class Connection:
    """Bounded requests to one server. Raises GrafanaError where nothing answers."""

    def __init__(
        self, place: str, token: str | None, ca_file: Path | None, timeout_seconds: float
    ) -> None:
        self._place = place
        self._timeout_seconds = timeout_seconds
        headers = {"User-Agent": f"burnmeter/{__version__}", "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        context = _trusting(ca_file) if ca_file is not None else None
        self._pool = urllib3.PoolManager(headers=headers, retries=False, ssl_context=context)

    def request(
        self,
        method: str,
        path: str,
        *,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request of a path below the address."""
        said = {**self._pool.headers, **(headers or {})}
        try:
            answer = self._pool.request(
                method,
                f"{self._place}/api/{path}",
                body=None if document is None else _encoded(document),
                headers=said if document is None else {**said, **JSON},
                timeout=self._timeout_seconds,
                redirect=False,
                preload_content=False,
            )
            body = bounded.body(answer, most_bytes=BODY_BYTES, seconds=self._timeout_seconds)
        except TooMuchError as error:
            raise GrafanaError(f"{self._place}: an answer {error}", is_gone=True) from None
        except (HTTPError, OSError) as error:
            raise GrafanaError(self._silence(error), is_gone=True) from None
        if answer.status in (301, 302, 303, 307, 308):
            there = shown(bare_url(answer.headers.get("Location", "")), limit=SAID_SIGNS)
            text = (
                f"{self._place} sends on to {there or 'nowhere'}; {RIGHT_ADDRESS}, and if that is"
            )
            raise GrafanaError(f"{text} a login page, one that takes tokens", is_gone=True)
        return Answer(answer.status, body)

    def _silence(self, error: BaseException) -> str:
        """Why nothing answers, and what to do."""
        said = re.sub(r" ?\(_ssl\.c:\d+\)", "", bounded.reason(error))
        match error:
            case SSLError():
                return f"{self._place} is not trusted: {said}; name its CA's file by --ca-file"
            case NewConnectionError():  # Before TimeoutError, which it is, too.
                return f"{self._place} does not answer: {said}; is that where Grafana listens?"
            case TimeoutError():
                within = f"does not answer within {self._timeout_seconds:g} s"
                return f"{self._place} {within}; is it overloaded? See --timeout"
        return f"{self._place} does not answer: {said}"


class Grafana:
    """One server. Every method raises GrafanaError, and nothing else of the network."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        ca_file: Path | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.place = _place(url)
        self._token = token
        self._connection = Connection(self.place, token, ca_file, timeout_seconds)

    def folder(self, uid: str) -> dict[str, Any] | None:
        """None if there is none."""
        return self._find(f"folders/{uid}")

    def make_folder(self, uid: str, title: str, parent_uid: str | None) -> None:
        """Within another one, or at the top."""
        body = {"uid": uid, "title": title}
        self._ask("POST", "folders", body | ({"parentUid": parent_uid} if parent_uid else {}))

    def dashboard(self, uid: str) -> dict[str, Any] | None:
        """With `dashboard` and `meta`; None if there is none."""
        return self._find(f"dashboards/uid/{uid}")

    def save_dashboard(
        self, document: Mapping[str, Any], *, version: int, folder_uid: str, message: str
    ) -> dict[str, Any]:
        """Refused with 412 unless `version` is the one that is there; 0 for a new one."""
        body = {
            "dashboard": {**document, "id": None, "version": version},
            "folderUid": folder_uid,
            "message": message,
            "overwrite": False,
        }
        return self._object(self._ask("POST", "dashboards/db", body))

    def datasource(self, uid: str) -> dict[str, Any] | None:
        """None if there is none."""
        return self._find(f"datasources/uid/{uid}")

    def datasources(self) -> list[dict[str, Any]]:
        """All of them."""
        return self._list(self._ask("GET", "datasources"))

    def make_datasource(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Refused with 409 if there is one of that name."""
        return self._object(self._ask("POST", "datasources", dict(document)))

    def save_datasource(self, document: Mapping[str, Any], *, version: int) -> dict[str, Any]:
        """Refused with 409 unless `version` is the one that is there."""
        body = {**document, "version": version}
        return self._object(self._ask("PUT", f"datasources/uid/{document['uid']}", body))

    def rules(self) -> list[dict[str, Any]]:
        """All that Grafana itself evaluates."""
        return self._list(self._ask("GET", RULES))

    def rule(self, uid: str) -> dict[str, Any] | None:
        """None if there is none."""
        return self._find(f"{RULES}/{uid}")

    def make_rule(self, document: Mapping[str, Any]) -> None:
        """Such that people can edit it."""
        self._ask("POST", RULES, dict(document), EDITABLE)

    def save_rule(self, document: Mapping[str, Any]) -> None:
        """Such that people can edit it. There is no version that would guard it."""
        self._ask("PUT", f"{RULES}/{document['uid']}", dict(document), EDITABLE)

    def group(self, folder_uid: str, name: str) -> dict[str, Any] | None:
        """A group's interval and rules; None if there is none."""
        return self._find(_group_path(folder_uid, name))

    def save_group(self, folder_uid: str, name: str, document: Mapping[str, Any]) -> None:
        """All rules of a group at once: those that are not in `document` are gone."""
        self._ask("PUT", _group_path(folder_uid, name), dict(document), EDITABLE)

    def _find(self, path: str) -> dict[str, Any] | None:
        try:
            return self._object(self._ask("GET", path))
        except GrafanaError as error:
            if error.status == HTTPStatus.NOT_FOUND and not error.is_gone:
                return None
            raise

    def _object(self, found: Any) -> dict[str, Any]:
        if not isinstance(found, dict):
            raise self._stranger()
        return found

    def _list(self, found: Any) -> list[dict[str, Any]]:
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._stranger()
        return found

    def _ask(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        answer = self._connection.request(method, path, document=document, headers=headers)
        try:
            told = answer.json()
        except ValueError:
            if answer.status < HTTPStatus.BAD_REQUEST:
                raise self._stranger() from None
            told = answer.body.decode("utf-8", "replace")
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise self._refusal(answer.status, told)
        return told

    def _stranger(self) -> GrafanaError:
        text = f"{self.place} answers, but not as Grafana does; {RIGHT_ADDRESS}"
        return GrafanaError(text, is_gone=True)

    def _refusal(self, status: int, response: Any) -> GrafanaError:
        """An answer of 400 and more, in words. A body that is no JSON is not Grafana's."""
        told = response if isinstance(response, dict) else {}
        said = self._clean(str(told.get("message") or told.get("error") or ""))
        where = f"{self.place}: HTTP {status}" + (f": {said}" if said else "")
        if status == HTTPStatus.UNAUTHORIZED:
            known = "does not know the token" if self._token is not None else "asks for a token"
            text = f"{self.place}: HTTP 401: it {known}; give {GIVE_TOKEN}"
            return GrafanaError(text, status=status, is_gone=True)
        if not told and not (status == HTTPStatus.NOT_FOUND and response == ""):
            what = RIGHT_ADDRESS
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                what = "a proxy answers, and Grafana behind it does not"
            elif status == HTTPStatus.FORBIDDEN:
                what = "a proxy before Grafana refuses it"
            return GrafanaError(f"{where}; {what}", status=status, is_gone=True)
        hint = HINTS.get(status, "")
        if status == HTTPStatus.PRECONDITION_FAILED:
            hint = MISMATCHES.get(str(told.get("status")), MISMATCHES["version-mismatch"])
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            hint = "Grafana's own log says why"
        text = f"{where}; {hint}" if hint else where
        return GrafanaError(text, status=status, is_gone=status in GATEWAYS)

    def _clean(self, text: str) -> str:
        """Without the token, should somebody repeat what was sent."""
        if self._token is not None:
            text = text.replace(self._token, "***")
        return shown(text, limit=SAID_SIGNS)


def _place(url: str) -> str:
    """The address as it is asked and shown. Raises GrafanaError, without what may be a secret."""
    bare = bare_url(url).rstrip("/")
    if not re.match(r"https?://[^/]", bare):
        raise GrafanaError(f"`{shown(bare)}` is no address; write one like http://grafana:3000")
    if "@" in url:
        text = f"{shown(bare)}: no user and password in the address, where all can read them;"
        raise GrafanaError(f"{text} give {GIVE_TOKEN}")
    return bare


def _group_path(folder_uid: str, name: str) -> str:
    return f"v1/provisioning/folder/{folder_uid}/rule-groups/{quote(name, safe='')}"


def _encoded(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _trusting(ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one, too.
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise GrafanaError(f"{ca_file}: cannot be read: {why}") from None
