"""The verdict on a model, and on each target of it, for those that route requests by it.

`/api/v1/verdict/<model>` is made for programs that look at a status only: load balancers, readiness
gates, fail-over. It answers from a Snapshot and judges nothing anew: a model's state is the
Snapshot's, a target's is put together from what the Snapshot says of it.

Surprising: not measured is 200 unless the asker is strict, for a model that nobody sends requests
to is never measured again; and of an objective that several engines share, no engine is accused.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from burnmeter.export import verdict
from burnmeter.export.live import stale_after_seconds
from burnmeter.export.words import some, span
from burnmeter.model import Burn
from burnmeter.snapshot import ModelView, Snapshot, TargetView

PATH: Final = "/api/v1/verdict"
TYPE: Final = "application/json"
STATE_HEADER: Final = "X-Burnmeter-State"
STATUSES: Final = {
    200: "200 OK",
    400: "400 Bad Request",
    404: "404 Not Found",
    503: "503 Service Unavailable",
}
QUERY_CHARACTERS: Final = 2000
LISTED: Final = 100
"""Names in the answer to a wrong one."""
_QUOTED_SLASH: Final = re.compile("%2f", re.IGNORECASE)


class State(NamedTuple):
    """How something is, and why."""

    state: str
    """good, burning or not_measured."""
    reason: str


class Said(NamedTuple):
    """An answer: its status, its JSON, and the state for a header."""

    status: str
    body: bytes
    state: str | None
    timestamp_seconds: float | None = None


class _Wrong(Exception):  # noqa: N818 - whoever asked was wrong, not we
    """Why a question has no verdict."""

    def __init__(self, status: int, text: str, known: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.status, self.known = status, known


class _Asked(NamedTuple):
    """What a query narrows, and how strict it is."""

    target: str | None = None
    not_measured_status: int = 200


def is_route(path: str) -> bool:
    """Whether a path is one of ours."""
    return path == PATH or path.startswith(f"{PATH}/")


def answer(path: str, query: str, snapshot: Snapshot | None, now_seconds: float) -> Said:
    """The answer to a path of ours. `path` is as WSGI has it; `snapshot` None: not ticked yet."""
    word = (
        path.removeprefix(PATH)
        .removeprefix("/")
        .encode("latin-1", "replace")
        .decode(errors="replace")
    )
    outdated = _outdated(snapshot, now_seconds)
    stamp = snapshot.timestamp_seconds if snapshot is not None else None
    try:
        if not word:
            return _list(query, snapshot, outdated, now_seconds)
        status, found = _one(word, _asked(query), snapshot, outdated)
    except _Wrong as wrong:
        told = {"error": str(wrong), "known": list(wrong.known[:LISTED])}
        return Said(STATUSES[wrong.status], _bytes(told), None, stamp)
    body = {**found, **_when(snapshot, now_seconds)}
    return Said(STATUSES[status], _bytes(body), str(found["state"]), stamp)


def _list(query: str, snapshot: Snapshot | None, outdated: str | None, now_seconds: float) -> Said:
    """Every model with its state; 200 whatever they are, as no one model is asked for."""
    if query:
        raise _Wrong(400, f"the list takes no query; ask {PATH}/<model>")
    views = snapshot.models if snapshot is not None else ()
    models = [
        _shown("model", view.model, _model_state(view, snapshot, outdated))
        for view in views
        if snapshot is not None
    ]
    state = "not_measured"
    if snapshot is not None and outdated is None:
        state = verdict.verdict(snapshot).state
    body = {"state": state, "models": models, **_when(snapshot, now_seconds)}
    stamp = snapshot.timestamp_seconds if snapshot is not None else None
    return Said(STATUSES[200], _bytes(body), state, stamp)


def _one(
    word: str, asked: _Asked, snapshot: Snapshot | None, outdated: str | None
) -> tuple[int, dict[str, Any]]:
    """One model, or one target of it."""
    view = _model(word, snapshot)
    if view is None and outdated is None:
        names = [one.model for one in snapshot.models] if snapshot is not None else []
        raise _Wrong(404, f"no model on this node is called `{word}`", names)
    if view is None or snapshot is None:  # Nobody knows now which models there are.
        state = State("not_measured", outdated or "")
        return _status(state, asked), {"model": word, **state._asdict(), "targets": []}
    ours = [one for one in snapshot.targets if one.target in view.targets]
    if asked.target is not None:
        ours = [one for one in ours if one.target == asked.target]
        if not ours:
            text = f"no target of `{view.model}` is called `{asked.target}`"
            raise _Wrong(404, text, view.targets)
    states = {one.target: target_state(one, view, snapshot, outdated) for one in ours}
    state = _model_state(view, snapshot, outdated)
    if asked.target is not None:
        state = states[asked.target]
    targets = [_shown("target", name, found) for name, found in states.items()]
    return _status(state, asked), {"model": view.model, **state._asdict(), "targets": targets}


def target_state(
    one: TargetView, view: ModelView, snapshot: Snapshot, outdated: str | None
) -> State:
    """One target: what is wrong with itself, else what its model's objectives say of it."""
    if outdated is not None:
        return State("not_measured", outdated)
    trouble = _trouble(one)
    if trouble is not None:
        return State("burning", trouble)
    if verdict.target_state(one) == "resting":
        return State("not_measured", f"it rests: {verdict.failure(one.failure)}")
    if not one.is_up:
        return State("not_measured", f"it cannot be read: {verdict.failure(one.failure)}")
    if one.is_stale:
        return State("not_measured", "its page stands still while its GPUs work")
    alike = [
        other.target
        for other in snapshot.targets
        if other.target in view.targets and other.vantage == one.vantage
    ]
    return _by_objectives(_felt(view, snapshot), alike)


def _trouble(one: TargetView) -> str | None:
    """What is wrong with a target itself, whatever its objectives say."""
    if one.is_down:
        return f"it is down: {verdict.failure(one.failure)}"
    if one.illness is not None:
        return f"it is not well: {one.illness}"
    if one.is_stalled:
        return "it is stalled: it holds requests and nothing moves"
    return None


def _felt(view: ModelView, snapshot: Snapshot) -> list[Burn]:
    """What its users notice: work that is turned away does not become cheaper by it."""
    ours = [burn for burn in snapshot.burns if burn.model == view.model]
    return [burn for burn in ours if burn.objective.is_paging]


def _by_objectives(burns: Sequence[Burn], alike: Sequence[str]) -> State:
    """What the objectives of its model say of a target; `alike`: those that share them."""
    by_state: dict[str, list[Burn]] = {}
    for burn in burns:
        by_state.setdefault(burn.state, []).append(burn)
    for state in ("burning", "not_measured", "good"):
        for first in by_state.get(state, ())[:1]:
            reason = f"{first.objective.name}: {first.reason}"
            if state == "burning" and len(alike) > 1:
                whose = f"which of {some(list(alike))} it is, is not known"
                return State("not_measured", f"{reason}; {whose}")
            return State(state, reason)
    return State("not_measured", "no objective that pages is set for this model")


def _model(word: str, snapshot: Snapshot | None) -> ModelView | None:
    """The model of that name. The server leaves `%2F` as it is, so that it is no separator."""
    by_name = {view.model: view for view in snapshot.models} if snapshot is not None else {}
    return by_name.get(word) or by_name.get(_QUOTED_SLASH.sub("/", word))


def _model_state(view: ModelView, snapshot: Snapshot, outdated: str | None) -> State:
    if outdated is not None:
        return State("not_measured", outdated)
    burning = {
        burn.objective.is_paging
        for burn in snapshot.burns
        if burn.model == view.model and burn.state == "burning"
    }
    is_ill = any(_trouble(one) for one in snapshot.targets if one.target in view.targets)
    if is_ill or burning != {False}:
        return State(view.state, view.reason)
    state, reason = _by_objectives(_felt(view, snapshot), ())
    return State(state, f"{reason}; turns nobody away: {view.reason}")


def _outdated(snapshot: Snapshot | None, now_seconds: float) -> str | None:
    """Why nothing is known now; None: the Snapshot is recent."""
    if snapshot is None:
        return "the agent has just started: no reading has been made yet"
    age, limit = now_seconds - snapshot.timestamp_seconds, stale_after_seconds(snapshot)
    if age <= limit:
        return None
    return f"the last reading is {span(age)} old; it should be at most {span(limit)}"


def _status(state: State, asked: _Asked) -> int:
    if state.state == "not_measured":
        return asked.not_measured_status
    return 200 if state.state == "good" else 503


def _asked(query: str) -> _Asked:
    """The query's meaning. Raises _Wrong for what it could not be meant to say."""
    try:
        pairs = parse_qsl(
            query[:QUERY_CHARACTERS], keep_blank_values=True, strict_parsing=bool(query)
        )
    except ValueError:
        raise _Wrong(400, "the query is not readable; write key=value", _QUERY) from None
    given = dict(pairs)
    if len(given) != len(pairs):
        raise _Wrong(400, "a key is given twice in the query; keep one", _QUERY)
    unknown = sorted(given.keys() - {"target", "not_measured"})
    if unknown:
        raise _Wrong(400, f"unknown key `{unknown[0]}` in the query", _QUERY)
    if given.get("not_measured", "200") not in ("200", "503"):
        raise _Wrong(400, f"not_measured: `{given['not_measured']}` is neither 200 nor 503", _QUERY)
    return _Asked(given.get("target"), int(given.get("not_measured", "200")))


_QUERY: Final = ("target=NAME", "not_measured=200", "not_measured=503")


def _shown(what: str, name: str, state: State) -> dict[str, str]:
    return {what: name, **state._asdict()}


def _when(snapshot: Snapshot | None, now_seconds: float) -> Mapping[str, Any]:
    """Whose word it is and how old; null before the first reading."""
    if snapshot is None:
        return dict.fromkeys(("node", "is_simulated", "timestamp_seconds", "age_seconds"))
    return {
        "node": snapshot.node,
        "is_simulated": snapshot.is_simulated,
        "timestamp_seconds": snapshot.timestamp_seconds,
        "age_seconds": max(0.0, now_seconds - snapshot.timestamp_seconds),
    }


def _bytes(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
