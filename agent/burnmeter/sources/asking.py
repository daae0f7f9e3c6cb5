"""What an engine says of itself beside its page: its version and its list of models.

Asked rarely, over the connection that the page came by, and never in a way that makes the engine
compute anything. An engine that does not say, says nonsense or takes too long has said nothing: no
answer here is a failure of the target.
"""

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from burnmeter.dialects import Asks
from burnmeter.model import About, Checkup, ServedModel

Get = Callable[[str], str]
"""Path on the page's host -> the text of the answer. May raise anything."""

MODELS_KEPT: Final = 1000
LONGEST: Final = 200
"""Signs of a version or a name; longer ones are nobody's."""
NO_VERSION: Final = re.compile(r".*unknown.*|dev|v?0\.0\.0\b.*", re.IGNORECASE)
"""What a program says that was built without knowing its version: `b0-unknown`."""


def about(asks: Asks, get: Get) -> About:
    """Ask whatever there is to ask."""
    version: str | None = None
    models: tuple[ServedModel, ...] = ()
    if asks.version_path is not None:
        version = _version(_json(get, asks.version_path), asks.version_key)
    if asks.models_path is not None:
        models = _models(_json(get, asks.models_path))
    return About(version=version, models=models)


def checkup(path: str, status_of: Callable[[str], int]) -> Checkup | None:
    """Whether it is well, by the status of its health page. None: it has no such page for us.

    `status_of` may raise anything; an answer that does not come in time is no answer.
    """
    try:
        status = status_of(path)
    except Exception:  # noqa: BLE001 - whatever became of it, it has not answered
        return Checkup(is_well=False, is_answer=False, text=f"{path} does not answer")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Checkup(is_well=False, is_answer=True, text=f"{path} answers HTTP {status}")
    if status == HTTPStatus.OK:
        return Checkup(is_well=True, is_answer=True, text="")
    return None


def _json(get: Get, path: str) -> Any:
    try:
        return json.loads(get(path))
    except Exception:  # noqa: BLE001 - whatever became of it, it has not said
        return None


def _version(answer: Any, key: str) -> str | None:
    word = _word(answer.get(key)) if isinstance(answer, dict) else None
    return None if word is None or NO_VERSION.fullmatch(word) else word


def _models(answer: Any) -> tuple[ServedModel, ...]:
    """Of OpenAI's list: `data` with an `id` each; vLLM and SGLang add `root`, vLLM `parent`."""
    rows = answer.get("data") if isinstance(answer, dict) else None
    found = []
    for row in rows[:MODELS_KEPT] if isinstance(rows, list) else ():
        name = _word(row.get("id")) if isinstance(row, dict) else None
        if name is not None:
            found.append(ServedModel(name, _word(row.get("root")), _word(row.get("parent"))))
    return tuple(found)


def _word(value: Any) -> str | None:
    """A text that may be shown and may be a label's value."""
    if not isinstance(value, str) or not value or len(value) > LONGEST:
        return None
    return value if value.isprintable() else None
