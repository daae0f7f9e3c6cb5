"""Reads the files that `slo_files` names: SLO documents in our own form, Sloth's or OpenSLO's.

It knows which form a document has, and what is true over all files: names, numbers, references.
Surprising: reading is handed in (`near` makes it), so that a config can be parsed without a disk.
"""

import glob
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from burnmeter import config_openslo, config_slos, config_sloth, located
from burnmeter import config_rules as rules
from burnmeter.config_openslo import Indicators
from burnmeter.config_queries import Setting
from burnmeter.config_rules import Report, RuleError, given
from burnmeter.config_slos import Placed
from burnmeter.located import Located, shown

MOST_FILES: Final = 100
_ANY_DEPTH: Final = "**"
_NO_DEPTH: Final = "has `**`, which would be read as `*`; name each folder by a pattern of its own"


class Found(NamedTuple):
    """A file that a name or a pattern led to, or why it cannot be read."""

    path: str
    source: bytes
    failure: str | None = None


Finder = Callable[[str], Sequence[Found]]
"""What a name or a pattern of `slo_files` leads to; nothing: no such file."""


class Documents(NamedTuple):
    """One file's objectives, and what is wrong in it."""

    report: Report
    placed: list[Placed]


class Named(NamedTuple):
    """One entry of `slo_files`."""

    where: str
    node: Located
    pattern: str


def nothing(pattern: str) -> Sequence[Found]:
    """The finder of a text that is in no folder."""
    return ()


def near(folder: Path) -> Finder:
    """Finds and reads files beside a config. The only place here that touches the world."""

    def find(pattern: str) -> list[Found]:
        if glob.has_magic(pattern):
            beside = glob.escape(str(folder)) if folder != Path() else ""
            where = str(Path(beside) / pattern)
            return [_read(Path(path)) for path in sorted(glob.glob(where))[: MOST_FILES + 1]]
        return [_read(folder / pattern)]

    return find


def _read(path: Path) -> Found:
    try:
        # A pipe would hold whoever opens it until somebody writes.
        if stat.S_ISFIFO(path.stat().st_mode):
            return Found(str(path), b"", "it is a pipe; write a file")
        with path.open("rb") as file:
            return Found(str(path), file.read(located.LIMIT_BYTES + 1))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        words = error.strerror if isinstance(error, OSError) else None
        return Found(str(path), b"", words or str(error))


def read_names(report: Report, node: Located) -> list[Named]:
    """The entries of `slo_files`, as far as they are right."""

    def read(item: Located, where: str) -> list[Named]:
        try:
            name = rules.word(item, limit=1000)
            if _ANY_DEPTH in Path(name).parts:
                raise RuleError(f"{given(item)} {_NO_DEPTH}")
            return [Named(where, item, name)]
        except RuleError as error:
            report.error(item, f"{where}: {error}")
            return []

    return rules.items(report, node, "slo_files", read)


def read_files(
    report: Report, named: Iterable[Named], find: Finder, setting: Setting, count: int
) -> list[Documents]:
    """All files' objectives. `count`: those that the config has itself.

    What is wrong with a name is reported in the config, what is wrong in a file in its Documents.
    """
    found = _found(report, named, find)
    read = [(Report(one.path), one.source) for one in found]
    roots = [(each, root) for each, source in read for root in _roots(each, source)]
    made = {each.path: Documents(each, []) for each, _ in read}
    known = Indicators()
    for each, root in roots:
        if _is_openslo(root):
            config_openslo.collect(each, root, known)
        elif rules.has(root, "slos") and not rules.has(root, "version") and not _is_sloth(root):
            _own(each, root, setting, made[each.path].placed)
    for each, root in roots:
        made[each.path].placed.extend(_foreign(each, root, setting, known))
    known.warn_of_unused()
    total = count + sum(len(documents.placed) for documents in made.values())
    if total > config_slos.MOST:
        text = f"slo_files: with those of the files there are {total} objectives, more than"
        at = next(iter(named)).node
        report.error(at, f"{text} {config_slos.MOST}, the most allowed")
    return list(made.values())


def _found(report: Report, named: Iterable[Named], find: Finder) -> list[Found]:
    """Each file once, in the order of the names."""
    files: dict[str, Found] = {}
    for where, node, pattern in named:
        found = find(pattern)
        if not found:
            text = f"{where}: no file is called like `{shown(pattern)}`; paths are relative to the"
            report.error(node, f"{text} folder of this file")
        for one in found:
            if one.failure is not None:
                name = one.path if glob.has_magic(pattern) else pattern
                text = f"{where}: `{shown(name)}` cannot be read: {one.failure}"
                report.error(node, text)
            elif len(files) < MOST_FILES or one.path in files:
                files.setdefault(one.path, one)
            else:
                text = f"{where}: more than {MOST_FILES} files, the most that are read"
                report.error(node, text)
                return list(files.values())
    return list(files.values())


def _roots(report: Report, source: bytes) -> tuple[Located, ...]:
    roots, problems = located.read_all(source, report.path)
    report.problems.extend(problems)
    if not roots and not problems:
        at = Located(None, 1, 1)
        report.warn(at, "there is no document in this file; remove it from slo_files")
    # OpenSLO's own tools write several objects as a list, too.
    return tuple(one for root in roots for one in _objects(root))


def _objects(root: Located) -> tuple[Located, ...]:
    is_list = isinstance(root.value, tuple) and any(rules.has(one, "kind") for one in root.value)
    return root.value if isinstance(root.value, tuple) and is_list else (root,)


def _text(root: Located, key: str) -> str:
    return rules.find(root, key).text if rules.has(root, key) else ""


def _is_openslo(root: Located) -> bool:
    return _text(root, "apiVersion") == config_openslo.VERSION


def _is_sloth(root: Located) -> bool:
    """Whether it is Sloth's form, by its version or by the key that only Sloth has."""
    return _text(root, "version") == config_sloth.VERSION or (
        rules.has(root, "service") and rules.has(root, "slos") and not rules.has(root, "version")
    )


def _own(report: Report, root: Located, setting: Setting, placed: list[Placed]) -> None:
    values = rules.section(
        report,
        root,
        "",
        {"slos": lambda n: config_slos.read_objectives(report, n, setting.names)},
    )
    placed.extend(values.get("slos", ()))
    for one in placed:
        setting.promised.setdefault(one.objective.name, one.objective)


def _foreign(report: Report, root: Located, setting: Setting, known: Indicators) -> list[Placed]:
    """Those of a document that is not in our own form, which may refer to all that are."""
    api = _text(root, "apiVersion")
    if _is_openslo(root):
        return config_openslo.read(report, root, setting, known)
    if api == config_sloth.API_VERSION:
        return config_sloth.read_resource(report, root, setting)
    if _is_sloth(root):
        return config_sloth.read(report, root, setting)
    forms = f"apiVersion {config_openslo.VERSION} or {config_sloth.API_VERSION}"
    if rules.has(root, "apiVersion"):
        at = rules.find(root, "apiVersion")
        text = f"apiVersion: {given(at)} is no form of SLO document that burnmeter reads"
        report.error(at, f"{text}; known: {config_openslo.VERSION}, {config_sloth.API_VERSION}")
    elif rules.has(root, "version"):
        at = rules.find(root, "version")
        text = f"version: {given(at)} is no form of SLO document that burnmeter reads"
        report.error(at, f"{text}; known: {config_sloth.VERSION}")
    elif not rules.has(root, "slos"):
        text = f"this is no SLO document: it has neither `slos`, nor {forms}, nor version"
        report.error(root, f"{text} {config_sloth.VERSION}")
    return []
