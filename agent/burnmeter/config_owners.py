"""From the `owners` of a config to rules: whose a process on a GPU is, by the user's word.

For what nothing on the machine tells: workers of a Ray job whose driver is on another node, pods of
a group whose head answers elsewhere. Rules are asked in the order of the file, before all else.
"""

import re
from typing import Final, NamedTuple

from burnmeter import config_rules as rules
from burnmeter.config_rules import Report, RuleError
from burnmeter.located import Located

OWNERS_LIMIT: Final = 100
EXAMPLE: Final = '`pod: "llama-70b-*"` or `command: "RayWorker"`'


class OwnerRule(NamedTuple):
    """One of `owners`. What is None is not looked at; all that is given must fit."""

    model: str
    """Our name for the model that it is for."""
    pod: str | None = None
    """The pod's name, or `namespace/name`; `*` stands for anything."""
    command: str | None = None
    """A regular expression, searched in the command line or title of it or of what started it."""


def read_owners(report: Report, node: Located) -> tuple[OwnerRule, ...]:
    """The list of rules, as far as they are right."""
    found = rules.items(report, node, "owners", lambda item, where: _read(report, item, where))
    if len(found) > OWNERS_LIMIT:
        text = f"owners: {len(found)} rules are more than {OWNERS_LIMIT}; let one cover several"
        report.error(node, text)
    return tuple(found)


def _read(report: Report, node: Located, where: str) -> list[OwnerRule]:
    keys = {"model": rules.word, "pod": rules.word, "command": expression}
    values = rules.section(report, node, where, keys)
    if rules.lacks(node, "model", keys):
        report.error(node, f"{where}: `model` is missing; add one like `model: llama-3.3-70b`")
    if rules.lacks(node, "pod", keys) and rules.lacks(node, "command", keys):
        report.error(node, f"{where}: says of no process that it is the model's; add {EXAMPLE}")
    is_whole = "model" in values and len(values) > 1
    return [OwnerRule(**values)] if is_whole else []


def expression(node: Located) -> str:
    """A regular expression."""
    text = rules.word(node)
    try:
        re.compile(text)
    except re.error as error:
        raise RuleError(f"{rules.given(node)} is no regular expression: {error}") from None
    return text
