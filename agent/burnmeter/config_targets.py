"""From the `targets` of a config to Target values; and what any network address there may be.

It opens no connection and resolves no name. Surprising: an address that carries a password is
refused and repeated in no message; a secret in the query is treated the same.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from burnmeter import config_rules as rules
from burnmeter.config_rules import (
    SECRET_WHOLE_WORDS,
    SECRET_WORDS,
    Report,
    RuleError,
    given,
    suggestion,
)
from burnmeter.located import Located, shown
from burnmeter.model import Target

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""Scheme -> the port it means. Other schemes are refused."""
OTHER_HALF: Final = {"prefill": "decode", "decode": "prefill"}
"""What no page tells of every engine, so that the config may have to: role -> who has the rest."""
Roles = Mapping[str, Collection[str]]
"""Engine -> the roles that it knows."""

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_SECRET_IN_QUERY = re.compile(
    rf"[?&;](?:[^=&;]*(?:{'|'.join(SECRET_WORDS)})"
    rf"|(?:[^=&;]*[^=&;a-z0-9])?(?:{'|'.join(SECRET_WHOLE_WORDS)})(?:=|&|;|#|$))",
    re.IGNORECASE,
)
REMOVED: Final = "REMOVED"
_EXAMPLE: Final = "http://127.0.0.1:8000/metrics"


@dataclass(slots=True)
class Taken:
    """What the targets above have."""

    urls: dict[str, str] = field(default_factory=dict)
    """Address -> the name of the first target that has it."""
    names: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A target and where it is written."""

    target: Target
    node: Located
    where: str


def read_targets(
    report: Report, node: Located, engines: Collection[str], roles: Roles
) -> tuple[Target, ...]:
    """The list of targets, as far as they are right."""
    taken = Taken()
    read = rules.items(
        report, node, "targets", lambda n, w: _read_target(report, n, w, engines, taken)
    )
    _check_roles(report, read, roles)
    return tuple(placed.target for placed in read)


def _check_roles(report: Report, read: Collection[_Placed], roles: Roles) -> None:
    """A half of a pair leaves much to the other, which then should be read too."""
    halves = [placed for placed in read if placed.target.role is not None]
    for placed in halves:
        if not _is_known(placed.target, roles):
            text = f"{placed.where}.role: {placed.target.engine} knows no role"
            text += f" `{placed.target.role}`, so it counts as a server of whole requests"
            report.warn(rules.find(placed.node, "role"), f"{text}; remove the line")
    known = [placed for placed in halves if _is_known(placed.target, roles)]
    for placed in known:
        role, model = placed.target.role or "", placed.target.model
        if not any(_are_halves(placed.target, other.target) for other in known):
            of = f" of `{shown(model)}`" if model is not None else ""
            text = f"{placed.where}.role: no target{of} has the role `{OTHER_HALF[role]}`, and what"
            text += f" a `{role}` server leaves to it is counted by nobody, unless it is discovered"
            report.warn(rules.find(placed.node, "role"), f"{text} or on another node; list it too")


def _is_known(target: Target, roles: Roles) -> bool:
    return target.role in roles.get(target.engine or "", OTHER_HALF)


def _are_halves(one: Target, other: Target) -> bool:
    """Whether two targets may share each request; whose model is not said may have any."""
    is_same = one.model == other.model or None in (one.model, other.model)
    return one.role is not None and other.role == OTHER_HALF[one.role] and is_same


def _read_target(
    report: Report, node: Located, where: str, engines: Collection[str], taken: Taken
) -> list[_Placed]:
    keys = {
        "name": rules.word,
        "url": url,
        "engine": rules.choice("an engine", engines),
        "model": rules.word,
        "role": rules.choice("a role", OTHER_HALF),
        "token_file": rules.file_name,
        "token_environment": rules.environment_name,
        "least_interval_seconds": rules.number("least_interval_seconds", 1, 3600),
        "is_only_reader": rules.flag,
    }
    values = rules.section(report, node, where, keys)
    if rules.has(node, "token_file") and rules.has(node, "token_environment"):
        text = f"{where}: `token_file` and `token_environment` name two tokens; keep one"
        report.error(rules.find(node, "token_environment"), text)
    if rules.lacks(node, "url", keys):
        report.error(node, f"{where}: `url` is missing; add one like `url: {_EXAMPLE}`")
    if "url" in values and "name" not in values:
        values["name"] = _authority(values["url"])
    _check_taken(report, node, where, values, taken)
    if "url" not in values:
        return []
    return [_Placed(Target(origin="config", **values), node, where)]


def _check_taken(
    report: Report, node: Located, where: str, values: Mapping[str, Any], taken: Taken
) -> None:
    """Of two alike the later is wrong, also if either is wrong in other ways."""
    address, name = values.get("url"), values.get("name")
    if address is not None and address in taken.urls:
        text = f"`{bare_url(address)}` is the url of {taken.urls[address]} too; keep one"
        report.error(rules.find(node, "url"), f"{where}.url: {text}")
        if not rules.has(node, "name"):
            return  # The name is only made of the url.
    if name is not None and name in taken.names:
        text = f"{where}.name: `{name}` is the name of another target above; choose another"
        report.error(rules.find(node, "name"), text)
    if name is not None:
        taken.names.add(name)
        if address is not None:
            taken.urls.setdefault(address, name)


def url(node: Located) -> str:
    """The address of an engine's metrics page; without a path, the usual one is added."""
    parts = urlsplit(address(node, _EXAMPLE))
    if parts.path in ("", "/"):
        parts = parts._replace(path="/metrics")
    return urlunsplit(parts)


def address(node: Located, example: str) -> str:
    """An http or https address without a secret. `example`: one that would be right."""
    text = _safe(node, example)
    scheme, mark, rest = text.partition("://")
    if not mark:
        raise RuleError(f"{given(node)} has no scheme; write {_with_scheme(text, example)}")
    if scheme.lower() not in DEFAULT_PORTS:
        hint = suggestion(scheme, DEFAULT_PORTS)
        raise RuleError(f"`{shown(scheme)}` is no scheme we read{hint or ';'} known: http, https")
    return urlunsplit(_split(scheme.lower() + mark + rest, example))


def listen(node: Located) -> str:
    """Our own address: host:port. Port 0 takes any free one."""
    text = _safe(node, "127.0.0.1:9778")
    host, mark, port = text.rpartition(":")
    if "://" in text or "/" in text:
        raise RuleError(f"{given(node)} is a URL; write only host:port, like 127.0.0.1:9778")
    if not mark or not port.isascii() or not port.isdecimal():
        raise RuleError(f"{given(node)} is not host:port; write one like 127.0.0.1:9778")
    if not host:
        raise RuleError(f"{given(node)} names no host; 0.0.0.0{text} listens on every network")
    if not _HOST.fullmatch(host):
        raise RuleError(f"`{shown(host)}` is no host; write one like 127.0.0.1 or [::1]")
    if int(port[:9]) > 65535:
        raise RuleError(f"port {shown(port)} is above 65535, the last one")
    return text


def _authority(address: str) -> str:
    """host:port of a URL that `url` let pass, with the port that its scheme means."""
    parts = urlsplit(address)
    host, mark, port = parts.netloc.rpartition(":")
    if mark and port.isdecimal():
        return f"{host}:{port}"
    return f"{parts.netloc}:{DEFAULT_PORTS[parts.scheme]}"


def bare_url(url: str) -> str:
    """The URL as it may be shown: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return REMOVED if set("@?#") & set(url) else url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _safe(node: Located, example: str) -> str:
    """The text of an address, after all checks whose messages must not repeat it."""
    if isinstance(node.value, tuple | dict | bool):
        raise RuleError(f"{given(node)} is no address; write one like {example}")
    if "@" in node.text:
        raise RuleError("an `@` means a user or password; put the secret into a `token_file`")
    if _SECRET_IN_QUERY.search(unquote(node.text)):
        raise RuleError("a secret in the query; put it into a file and name that by `token_file`")
    if len(node.text) > 2000:
        raise RuleError(f"the address has {len(node.text)} signs; at most 2000 are allowed")
    if not node.text:
        raise RuleError(f"an empty text is no address; write one like {example}")
    if not node.text.isprintable() or " " in node.text:
        raise RuleError(f"{given(node)} holds a space or tab; write it as %20, or remove it")
    return node.text


def _with_scheme(text: str, example: str) -> str:
    """What the user may have meant by `8000`, `host:8000`, `//host/metrics` or `http:/host`."""
    text = re.sub("^(https?)?:?/*", "", text)
    text = f"127.0.0.1:{text}" if text.isdecimal() else text
    host = text.partition("/")[0].rpartition(":")[0] or text.partition("/")[0]
    return f"http://{text}" if _HOST.fullmatch(host) else f"one like {example}"


def _split(text: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that do not close, or signs that turn into others
        raise RuleError(f"the host is not readable; write one like {example}") from None
    host, port = parts.netloc, ""
    if not parts.netloc.endswith("]"):
        host, _, port = parts.netloc.rpartition(":") if ":" in host else (host, "", "")
    if not _HOST.fullmatch(host):
        what = f"`{shown(host)}` is no host" if host else "the address names no host"
        raise RuleError(f"{what}; write one like {example}")
    if ":" in parts.netloc[len(host) :] and not (port.isascii() and port.isdecimal()):
        raise RuleError(f"`{shown(port)}` is no port; write a number from 1 to 65535")
    if port and not 1 <= int(port[:9]) <= 65535:
        raise RuleError(f"port {shown(port)} is not between 1 and 65535")
    return parts
