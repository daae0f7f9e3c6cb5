"""A recording that may be shown to strangers: stand-ins for what says whose it is. Pure.

It works on a tick in JSON's values (plain.py). Stand-ins are stable, so series stay apart and keep
their identity over time. What no rule of any dialect looks at loses its value: labels, words of
comments, exemplars, lines that are no metrics. Numbers, names of families and of labels stay, for
they are what a bug is found by.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from burnmeter import dialects
from burnmeter.config_rules import SECRET_WORDS
from burnmeter.page import END, ONE_LABEL, SAMPLE_LINE, SERIES, TYPE_LINE

BUCKETS: Final = frozenset(("le", "quantile"))
LABEL_FIELDS: Final = frozenset(
    ("match", "keep", "model_labels", "labels", "lacks", "values", "copies", "totals", "stages")
)
"""Fields of a dialect, at any depth, that name labels."""
SERIES_KEPT: Final = 100_000
HOME: Final = frozenset(("localhost", "0.0.0.0", ""))
HELP_LINE: Final = re.compile(r"\s*#\s+HELP\s+(\S+)")
ADDRESS: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])|\[[0-9A-Fa-f:.]{2,}\]")
PATH: Final = re.compile(r"(?<![\w/:])/[\w.@+-]+(?:/[\w.@+-]+)+")
METRICS_PATH: Final = "/metrics"


def _is_of_a_key(label: str) -> bool:
    """Whether it tells users' keys apart. Rules look only at whether there is one."""
    return any(word in label.lower() for word in SECRET_WORDS if word != "token")


def known_labels() -> frozenset[str]:
    """Labels that some dialect looks at; the values of all others mean nothing to us."""
    return BUCKETS | frozenset(_labels(dialects.load_all().values(), is_named=False))


def _labels(value: object, *, is_named: bool) -> Iterator[str]:
    """The words in fields that name labels; of pairs and mappings, the first and the keys."""
    if isinstance(value, str):
        if is_named:
            yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from _labels(getattr(value, field.name), is_named=field.name in LABEL_FIELDS)
    elif isinstance(value, Mapping):
        yield from value if is_named else _labels(tuple(value.values()), is_named=False)
    elif isinstance(value, Iterable):
        for part in value:
            is_pair = is_named and isinstance(part, tuple)
            yield from _labels(part[0] if is_pair else part, is_named=is_named)


class StandIns:
    """`host-1`, `host-2` ... in the order in which the real ones were met."""

    def __init__(self, kind: str) -> None:
        self.found: dict[str, str] = {}
        self._kind = kind

    def __call__(self, real: str) -> str:
        """The same for the same, for as long as this lives. Nothing stays nothing."""
        if real == "":
            return real
        return self.found.setdefault(real, f"{self._kind}-{len(self.found) + 1}")


class Scrubber:
    """Scrubs tick after tick of one recording."""

    def __init__(self, node: str, *, models: bool = False) -> None:
        """`models`: the names of models and of targets go, too."""
        self._models = models
        self._hosts, self._values = StandIns("host"), StandIns("label")
        self._names, self._targets = StandIns("model"), StandIns("target")
        self._gpus, self._paths = StandIns("GPU"), StandIns("/path")
        self._ids = StandIns("id")
        self._known = known_labels()
        found = dialects.load_all().values()
        self._model_labels = frozenset(label for d in found for label in d.model_labels)
        self._no_model = {word for d in found for word in d.no_model}
        self._series: dict[str, str] = {}
        self._hosts(node)

    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        """The header's config, changed in place."""
        config["node"] = self._hosts(config["node"])
        self._prices(config["prices"])
        config["node_labels"] = {
            name: self._values(value) for name, value in config["node_labels"].items()
        }
        config["owners"] = []  # They go by command lines and pods, of which nothing is left.
        config["models"] = {self._model(w): self._model(n) for w, n in config["models"].items()}
        for objective in config["objectives"]:
            objective["match"] = [
                [label, self._model(value) if label == "model" else value]
                for label, value in objective["match"]
            ]
        return config

    def tick(self, tick: dict[str, Any]) -> dict[str, Any]:
        """The same tick, changed in place."""
        for target in tick["targets"]:
            self._target(target)
        tick["pages"] = {self._of_target(n): self._page(p) for n, p in tick["pages"].items()}
        for gpu in (tick["gpus"] or {}).get("gpus", ()):
            gpu["uuid"] = self._gpus(gpu["uuid"])
            self._instances(gpu)
            self._failure(gpu)
        for reading in (tick["gpus"], tick["processes"]):
            self._failure(reading or {})
        for process in (tick["processes"] or {}).get("processes", {}).values():
            process["command"], process["title"] = [], ""
            for key in ("container", "pod_uid"):
                process[key] = self._ids(process[key]) if process[key] is not None else None
        self._pods(tick["processes"] or {})
        for reading in (tick.get("prices"), tick.get("models")):
            self._failure(reading or {})
        self._prices((tick.get("prices") or {}).get("prices"))
        self._library((tick.get("models") or {}).get("library"))
        for launch in tick.get("launches", ()):
            launch["model"] = self._model(launch["model"])
        return tick

    def _prices(self, prices: dict[str, Any] | None) -> None:
        if prices is not None:
            prices["tokens"] = {self._model(n): of for n, of in prices["tokens"].items()}
            prices["file"] = self._paths(prices["file"] or "") or None
            for one in prices["by_node_label"]:
                one["value"] = self._values(one["value"])

    def _library(self, library: dict[str, Any] | None) -> None:
        """Where facts of a model are from is a path or a name; what they are stays."""
        if library is None:
            return
        for key, name in (("by_target", self._of_target), ("by_model", self._model)):
            library[key] = {name(n): known for n, known in library[key].items()}
            for known in library[key].values():
                known["source"] = "config.json" if known["facts"] else "not found"

    def _pods(self, reading: dict[str, Any]) -> None:
        pods = reading.get("pods", {})
        reading["pods"] = {
            self._ids(uid): {"namespace": self._values(pod["namespace"]), "name": self._ids(uid)}
            for uid, pod in pods.items()
        }

    def _instances(self, gpu: dict[str, Any]) -> None:
        """A MIG instance's uuid, wherever it stands."""
        for instance in gpu["instances"] or ():
            instance["uuid"] = self._gpus(instance["uuid"])
        for process in gpu["processes"] or ():
            if process["instance"] is not None:
                process["instance"] = self._gpus(process["instance"])
        for figure in gpu["gauges"]:
            figure["labels"] = [
                [name, self._gpus(value) if name == "mig" else value]
                for name, value in figure["labels"]
            ]

    def text(self, text: str) -> str:
        """Words for people, without hosts, addresses and paths of files."""
        for host in sorted(self._hosts.found, key=len, reverse=True):
            pattern = rf"(?<![\w-]){re.escape(host)}(?![\w-])"
            text = re.sub(pattern, self._hosts.found[host], text)
        text = ADDRESS.sub(lambda found: self._address(found[0]), text)
        return PATH.sub(lambda found: self._path(found[0]), text)

    def page(self, text: str) -> str:
        """A metrics page; one that cannot be read stays unreadable in the same way."""
        return "\n".join(map(self._line, text.split("\n")))

    # --- targets -----------------------------------------------------------------------------

    def _target(self, target: dict[str, Any]) -> None:
        target["url"] = self._url(target["url"])
        target["name"] = self._of_target(target["name"])
        for key in ("model", "served_model"):
            target[key] = self._maybe_model(target[key])

    def _of_target(self, name: str) -> str:
        return self._targets(name) if self._models else self.text(name)

    def _url(self, url: str) -> str:
        parts = urlsplit(url)
        host = self._host(parts.hostname or "")
        place = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port is not None else ""
        return urlunsplit((parts.scheme, place + port, self._path(parts.path), "", ""))

    def _path(self, path: str) -> str:
        return path if path in (METRICS_PATH, "/", "") else self._paths(path)

    def _host(self, host: str) -> str:
        """This machine's own loopback says nothing of whose it is."""
        try:
            is_home = ip_address(host).is_loopback
        except ValueError:
            is_home = host in HOME
        return host if is_home else self._hosts(host)

    def _address(self, text: str) -> str:
        bare = text.strip("[]")
        return text.replace(bare, self._host(bare))

    def _page(self, reading: dict[str, Any]) -> dict[str, Any]:
        reading["target"] = self._of_target(reading["target"])
        self._failure(reading)
        if reading["text"] is not None:
            reading["text"] = self.page(reading["text"])
        about = reading.get("about") or {}
        for model in about.get("models", ()):
            for key in ("id", "root", "parent"):
                model[key] = self._maybe_model(model[key])
        return reading

    def _failure(self, reading: dict[str, Any]) -> None:
        for said, key in ((reading.get("failure"), "message"), (reading.get("checkup"), "text")):
            if said is not None:
                said[key] = self._words(said[key])

    def _words(self, text: str) -> str:
        text = self.text(text)
        for name, stand_in in self._targets.found.items() if self._models else ():
            text = text.replace(f"`{name}`", f"`{stand_in}`")
        return text

    def _model(self, word: str) -> str:
        """One word for a model, alike wherever it stands, or it would become two models."""
        if self._models:
            return word if word in self._no_model else self._names(word)
        # One that was loaded from a folder is called after it.
        return self.text(word) if word.startswith("/") else word

    def _maybe_model(self, word: str | None) -> str | None:
        return None if word is None else self._model(word)

    # --- pages -------------------------------------------------------------------------------

    def _line(self, line: str) -> str:
        found = SAMPLE_LINE.fullmatch(line)
        if found is not None:
            return f"{self._scrubbed(found['series'])} {found['value']}"
        words = line.strip(" \t\r\ufeff")
        if not words.startswith("#"):
            return ("<" if words.startswith("<") else "? scrubbed") if words else ""
        kind = TYPE_LINE.match(words)
        if kind is not None:
            return f"# TYPE {kind[1]} {kind[2]}"
        # HELP holds a server's own words; nothing is read from it.
        about = HELP_LINE.match(words)
        if about is not None:
            return f"# HELP {about[1]}"
        return words if words == END else "#"

    def _scrubbed(self, series: str) -> str:
        if series not in self._series:
            if len(self._series) >= SERIES_KEPT:
                self._series.clear()
            found = SERIES.fullmatch(series)
            assert found is not None, "a sample's series is one"
            labels = [self._label(*pair) for pair in ONE_LABEL.findall(found[2] or "")]
            joined = f"{{{','.join(labels)}}}" if labels else ""
            self._series[series] = f"{found[1]}{joined}"
        return self._series[series]

    def _label(self, name: str, value: str) -> str:
        if name in self._model_labels:
            shown = self._model(value)
        elif name in self._known and (value in self._no_model or not _is_of_a_key(name)):
            shown = value
        else:
            shown = self._values(value)
        return f'{name}="{shown}"'
