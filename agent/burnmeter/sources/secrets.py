"""What may never stand in a recording: passwords, tokens and where they lie. Pure.

It works on a tick in JSON's values (plain.py). Whatever looks like a secret goes; that a flag like
`--max-num-batched-tokens` loses its number with it does no harm.
"""

import re
from typing import Any, Final

from burnmeter.config_rules import SECRET_WORDS
from burnmeter.config_targets import REMOVED, bare_url

_WORDS: Final = re.compile("|".join((*SECRET_WORDS, "bearer", "credential")), re.IGNORECASE)
_KEYS: Final = re.compile(r"(\b|_)(sk|hf|gh[a-z]|glpat|nvapi|xox[a-z]|eyJ)[-_A-Za-z0-9.]{12,}")
"""How the keys of well-known services begin."""
_NAMED: Final = re.compile(r"(-{0,2}[\w.-]+[=:])(.*)", re.DOTALL)
URL: Final = re.compile(r"\w+://[^\s`'\"]+")
TARGET_KEYS: Final = ("token_file", "token_environment")


def without_secrets(tick: dict[str, Any]) -> dict[str, Any]:
    """The same tick, changed in place: no token, no password, no query, no path to any of them."""
    for target in tick["targets"]:
        target["url"] = bare_url(target["url"])
        for key in TARGET_KEYS:
            target[key] = None
    for reading in (*tick["pages"].values(), tick["gpus"], tick["processes"]):
        failure = (reading or {}).get("failure")
        if failure is not None:
            failure["message"] = URL.sub(lambda found: bare_url(found[0]), failure["message"])
    table = (tick["processes"] or {}).get("processes", {})
    for process in table.values():
        process["command"] = bare_command(process["command"])
        process["title"] = bare_title(process["title"])
    return tick


def bare_command(command: list[str]) -> list[str]:
    """A command line, word by word, without what looks like a secret or is the value of one."""
    found: list[str] = []
    hides_next = False
    for word in command:
        if hides_next and not word.startswith("-"):
            found.append(REMOVED)  # `--api-key` takes several.
            continue
        bare, hides_next = _bare_word(word)
        found.append(bare)
    return found


def bare_title(title: str) -> str:
    """A process's name for itself; only its first word if any other had to go."""
    words = title.split(" ")
    bare = bare_command(words)
    return title if bare == words else bare[0]


def _bare_word(word: str) -> tuple[str, bool]:
    """The word as it may be shown, and whether the words that follow are its secret."""
    if "://" in word and not word.startswith("-"):
        return bare_url(word), False
    named = _NAMED.fullmatch(word)
    if named is not None and _WORDS.search(_spelt(named[1])):
        return named[1] + REMOVED, False
    if named is not None and "://" in named[2]:
        return named[1] + bare_url(named[2]), False
    if word.startswith("-") and named is None and re.fullmatch(r"-{1,2}[\w.-]+", word):
        return word, _WORDS.search(_spelt(word)) is not None
    is_secret = _WORDS.search(_spelt(word)) or _KEYS.search(word)
    return (REMOVED if is_secret else word), False


def _spelt(name: str) -> str:
    return name.replace("-", "_")
