"""From the `alertmanagers` of a config to Alertmanager values: who is told at once, and how often.

Nothing is sent unless the file lists one. It opens no connection and reads no token; the rules of
addresses are config_targets.py's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from burnmeter import config_rules as rules
from burnmeter import config_targets
from burnmeter.config_rules import Report, Rule, RuleError, number
from burnmeter.located import Located

EXAMPLE: Final = "http://alertmanager:9093"
MOST: Final = 16
"""Each has a thread of its own."""
API: Final = "/api/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alertmanager:
    """One of `alertmanagers`: it is told what needs somebody now, and told when it is over."""

    url: str
    """Its address, with its path prefix if it has one; `/api/v2/alerts` is added."""
    token_file: str | None = None
    """File that holds its bearer token."""
    token_environment: str | None = None
    """Environment variable that holds it instead."""
    timeout_seconds: float = 5.0
    """How long one request to it and its answer may take together."""
    resend_seconds: float = 60.0
    """How often it is told again what lasts; unheard of four times, an alert ends by itself."""
    resolved_seconds: float = 300.0
    """For how long it is told again that something is over, should it have missed that."""
    page_url: str | None = None
    """Live page to which alerts lead; absent: made of `listen`, or of `node` and its port."""
    runbook_url: str | None = None
    """Page with a heading per alert, which becomes the annotation `runbook_url`."""


def read_alertmanagers(report: Report, node: Located) -> tuple[Alertmanager, ...]:
    """The list of Alertmanagers, as far as they are right."""
    if isinstance(node.value, tuple) and len(node.value) > MOST:
        text = f"alertmanagers: {len(node.value)} are more than {MOST}, the most allowed"
        report.error(node, f"{text}; a cluster's members are enough")
        return ()
    urls: set[str] = set()
    return tuple(rules.items(report, node, "alertmanagers", lambda n, w: _read(report, n, w, urls)))


def _read(report: Report, node: Located, where: str, urls: set[str]) -> list[Alertmanager]:
    keys: Mapping[str, Rule] = {
        "url": base,
        "token_file": rules.file_name,
        "token_environment": rules.environment_name,
        "timeout_seconds": number("timeout_seconds", 0.1, 60),
        "resend_seconds": number("resend_seconds", 1, 3600),
        "resolved_seconds": number("resolved_seconds", 0, 86400),
        "page_url": page,
        "runbook_url": page,
    }
    values = rules.section(report, node, where, keys)
    if rules.has(node, "token_file") and rules.has(node, "token_environment"):
        text = f"{where}: `token_file` and `token_environment` name two tokens; keep one"
        report.error(rules.find(node, "token_environment"), text)
    if rules.lacks(node, "url", keys):
        report.error(node, f"{where}: `url` is missing; add one like `url: {EXAMPLE}`")
    if "url" not in values:
        return []
    if values["url"] in urls:
        text = f"{where}.url: `{values['url']}` is the url of another above; keep one"
        report.error(rules.find(node, "url"), text)
        return []
    urls.add(values["url"])
    return [Alertmanager(**values)]


def base(node: Located) -> str:
    """The address before `/api/v2/alerts`."""
    parts = urlsplit(config_targets.address(node, EXAMPLE))
    if parts.query or parts.fragment:
        raise RuleError(f"an Alertmanager's address ends with its path; write one like {EXAMPLE}")
    if API in f"{parts.path}/":
        before = urlunsplit(parts._replace(path=parts.path[: f"{parts.path}/".index(API)]))
        raise RuleError(f"the path of its API is added; write {before}")
    return urlunsplit(parts).rstrip("/")


def page(node: Located) -> str:
    """An address for people."""
    return config_targets.address(node, "https://runbooks.example.com/burnmeter")
