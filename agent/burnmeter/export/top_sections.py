"""What `burnmeter top` shows of a Snapshot: models, engines, GPUs, objectives, attention, events.

Rows and their order only; how they fit a screen is top_layout's. It computes nothing: each cell is
a number of the Snapshot in the words of words.py.
"""

from collections.abc import Callable, Sequence
from typing import Final

from burnmeter.export import verdict, words
from burnmeter.export.top_layout import (
    RANK,
    Cell,
    Column,
    Row,
    Section,
    columns,
    side_by_side,
    state_cell,
)
from burnmeter.model import Burn
from burnmeter.snapshot import Event, GpuView, ModelView, Quantile, Snapshot, TargetView

NAMES: Final = ("models", "engines", "gpus", "objectives", "attention", "events")
"""Of all sections, in their order; the keys 1 to 6."""
_NEVER: Final = float("-inf")


def sections(snapshot: Snapshot) -> dict[str, Section]:
    """All of them, by name."""
    made = (_models, _engines, _gpus, _objectives, _attention, _events)
    return {name: make(snapshot) for name, make in zip(NAMES, made, strict=True)}


def _tally(rows: Sequence[Row]) -> str:
    """`1 burning, 2 good`: worst first, so that it can be read without the rows."""
    found = [(row.state, row.cells["state"].text.partition(" ")[2]) for row in rows]
    kinds = sorted(dict.fromkeys(found), key=lambda one: RANK.get(one[0], len(RANK)))
    return ", ".join(f"{found.count(kind)} {kind[1]}" for kind in kinds)


def _worst_first(rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: RANK.get(row.state, len(RANK))))


def _number(value: float | None, text: str) -> Cell:
    return Cell(text, value)


# --- models --------------------------------------------------------------------------------------

_MODEL_FORMS: Final = {
    0: (
        ("named", "standing"),
        ("burn", "budget"),
        ("p50", "p95"),
        ("tokens", "cost"),
        ("errors", "waiting"),
    ),
    139: side_by_side("state model objective burn budget p50 p95 tokens errors cost"),
    179: side_by_side(
        "state model objective burn budget p50 p95 tokens requests running waiting cache"
        " errors cost energy"
    ),
}


def _models(snapshot: Snapshot) -> Section:
    rows = [_model(view, snapshot.burns) for view in snapshot.models]
    return Section(
        name="models",
        number=1,
        title="Models",
        counted=_tally(rows),
        columns=columns(
            Column("state", "state", is_whole=True),
            Column("named", "  model", most=44),
            Column("standing", "  state, worst objective", most=44),
            Column("model", "model"),
            Column("objective", "worst objective", most=26),
            Column("burn", _burn_title(snapshot.burns), is_number=True),
            Column("budget", "budget", is_number=True),
            Column("p50", "TTFT p50", is_number=True),
            Column("p95", "TTFT p95", is_number=True),
            Column("tokens", "tokens/s", is_number=True),
            Column("requests", "requests/s", is_number=True),
            Column("running", "running", is_number=True),
            Column("waiting", "waiting", is_number=True),
            Column("cache", "KV cache", is_number=True),
            Column("errors", "errors", is_number=True),
            Column("cost", "$/M tok.", is_number=True),
            Column("energy", "J/token", is_number=True),
        ),
        forms=_MODEL_FORMS,
        rows=_worst_first(rows),
        empty="No engine was found on this node. `burnmeter doctor` says why.",
    )


def _shortest(burns: Sequence[Burn]) -> float | None:
    """Seconds of the shortest window that any objective has."""
    return min((burn.windows[0].seconds for burn in burns if burn.windows), default=None)


def _burn_title(burns: Sequence[Burn]) -> str:
    shortest = _shortest(burns)
    return "burn" if shortest is None else f"burn {words.span(shortest)}"


def _burn_cell(burn: Burn | None, burns: Sequence[Burn]) -> Cell:
    """Over its shortest window, which is said where it is not that of the heading."""
    if burn is None or not burn.windows:
        return Cell(words.NOT_MEASURED)
    window = burn.windows[0]
    text = words.burn(window.burn_lower, window.burn_upper)
    if window.burn_lower is not None and window.seconds != _shortest(burns):
        text += f" in {words.span(window.seconds)}"
    return Cell(text, window.burn_lower)


def worst(model: str, burns: Sequence[Burn]) -> Burn | None:
    """The objective of a model that is to be looked at first. None: it has none."""
    ours = [burn for burn in burns if burn.model == model]
    return min(ours, key=_badness, default=None)


def _badness(burn: Burn) -> tuple[int, int, float]:
    lower = burn.windows[0].burn_lower if burn.windows else None
    urgency = verdict.URGENCY.get(burn.severity or "", len(verdict.URGENCY))
    return RANK.get(burn.state, len(RANK)), urgency, -(_NEVER if lower is None else lower)


def _model(view: ModelView, burns: Sequence[Burn]) -> Row:
    burn = worst(view.model, burns)
    left = burn.budget_left_ratio if burn is not None else None
    ttft = view.latencies.get("ttft")
    quantiles = ttft.quantiles if ttft is not None else {}
    state = state_cell(view.state, words.STATES.get(view.state, view.state))
    shape, _, word = state.text.partition(" ")
    objective = _objective_of(view, burn)
    cells = {
        "state": state,
        "model": Cell(view.model, view.model),
        "objective": objective,
        "named": Cell(f"{shape} {view.model}", view.model, view.state),
        "standing": Cell(f"  {word}, {objective.text}", state.order, view.state),
        "burn": _burn_cell(burn, burns),
        "budget": _number(left, words.ratio(left)),
        "p50": _quantile(quantiles.get("p50")),
        "p95": _quantile(quantiles.get("p95")),
        "tokens": _number(
            view.generated_tokens_per_second, words.number(view.generated_tokens_per_second)
        ),
        "requests": _number(view.requests_per_second, words.number(view.requests_per_second)),
        "running": _number(view.running, words.count(view.running)),
        "waiting": _number(view.waiting, words.count(view.waiting)),
        "cache": _number(view.kv_cache_used_ratio, words.ratio(view.kv_cache_used_ratio)),
        "errors": _number(
            view.error_ratio_lower,
            words.ratio_range(view.error_ratio_lower, view.error_ratio_upper),
        ),
        "cost": _number(
            view.dollars_per_million_tokens, words.dollars(view.dollars_per_million_tokens)
        ),
        "energy": _number(view.joules_per_token, words.number(view.joules_per_token)),
    }
    return Row(view.model, view.state, cells)


def _objective_of(view: ModelView, burn: Burn | None) -> Cell:
    """The worst of its objectives; or what else makes it bad."""
    text = words.objective(burn.objective) if burn is not None else "none is set"
    if view.state == "burning" and (burn is None or burn.state != "burning"):
        text = view.reason.partition(": ")[0]
    return Cell(text, text)


def _quantile(value: Quantile | None) -> Cell:
    return Cell(words.quantile(value), value.lower_seconds if value is not None else None)


# --- engines -------------------------------------------------------------------------------------

_ENGINE_STATES: Final = {"up": "good", "resting": "not_measured", "stale": "not_measured"}
_ENGINE_FORMS: Final = {
    0: side_by_side("state target engine model age restarts"),
    119: side_by_side("state target engine role model age took restarts note"),
    149: side_by_side("state target engine role model age took size restarts note"),
}


def _engines(snapshot: Snapshot) -> Section:
    rows = [_engine(view) for view in snapshot.targets]
    return Section(
        name="engines",
        number=2,
        title="Engines",
        counted=verdict.counts(snapshot).targets,
        columns=columns(
            Column("state", "state", is_whole=True),
            Column("target", "target"),
            Column("engine", "engine"),
            Column("role", "role"),
            Column("model", "model"),
            Column("age", "read", is_number=True),
            Column("took", "took", is_number=True),
            Column("size", "page", is_number=True),
            Column("restarts", "restarts", is_number=True),
            Column("note", "what is wrong", most=200),
        ),
        forms=_ENGINE_FORMS,
        rows=_worst_first(rows),
        empty="No engine was found on this node. `burnmeter doctor` says why.",
    )


def _engine(view: TargetView) -> Row:
    word = verdict.target_state(view)
    state = _ENGINE_STATES.get(word, "down")
    who = " ".join(part for part in (view.engine, view.version) if part) or "not known"
    role = " ".join(dict.fromkeys(part for part in (view.vantage, view.role) if part))
    model = view.model or words.NOT_MEASURED
    if len(view.models) > 1:
        model = f"{len(view.models)} models"
    ago = "never" if view.age_seconds is None else f"{words.span(view.age_seconds)} ago"
    cells = {
        "state": state_cell(state, word),
        "target": Cell(view.target, view.target),
        "engine": Cell(who, who),
        "role": Cell(role or words.NOT_MEASURED, role or None),
        "model": Cell(model, model),
        "age": _number(view.age_seconds, ago),
        "took": _number(view.duration_seconds, words.seconds(view.duration_seconds)),
        "size": _number(float(view.body_bytes), words.size(float(view.body_bytes))),
        "restarts": _number(float(view.restarts), words.count(float(view.restarts))),
    }
    return Row(view.target, state, cells, _wrong(view, word))


def _wrong(view: TargetView, word: str) -> str:
    """Why it is not just up."""
    if not view.is_up:
        return verdict.failure(view.failure)
    if view.illness is not None:
        return view.illness
    if word == "stalled":
        return "it holds requests and no token moves"
    return "its page stands still while its GPUs work" if word == "stale" else ""


# --- GPUs ----------------------------------------------------------------------------------------

_GPU_FORMS: Final = {
    0: side_by_side("state gpu tenant used memory power heat"),
    129: side_by_side("state gpu name tenant used memory power heat price"),
    149: side_by_side("state gpu name tenant used memory power heat clock price note"),
}


def _gpus(snapshot: Snapshot) -> Section:
    rows = tuple(_gpu(view, snapshot.timestamp_seconds) for view in snapshot.gpus)
    return Section(
        name="gpus",
        number=3,
        title="GPUs",
        counted=verdict.counts(snapshot).gpus,
        columns=columns(
            Column("state", "state", is_whole=True),
            Column("gpu", "GPU"),
            Column("name", "board", most=22),
            Column("tenant", "tenant"),
            Column("used", "used", is_number=True),
            Column("memory", "memory", is_number=True),
            Column("power", "power", is_number=True),
            Column("heat", "temp", is_number=True),
            Column("clock", "clock", is_number=True),
            Column("price", "price", is_number=True),
            Column("note", "what is wrong", most=200),
        ),
        forms=_GPU_FORMS,
        rows=rows,
        empty="No GPU was found on this node. `burnmeter doctor` says why.",
    )


def _gpu(view: GpuView, now_seconds: float) -> Row:
    gpu = view.gpu
    word, wrong = verdict.gpu_state(view), list(verdict.troubles(view, now_seconds))
    state = "good" if word in ("busy", "idle") else "not_measured"
    if wrong:
        state = "burning" if gpu.failure is None else "down"
    price = view.dollars_per_hour
    cells = {
        "state": state_cell(state, word),
        "gpu": Cell(str(gpu.index), float(gpu.index)),
        "name": Cell(gpu.name.removeprefix("NVIDIA "), gpu.name),
        "tenant": _tenant(view),
        "used": _number(gpu.utilisation_ratio, words.ratio(gpu.utilisation_ratio)),
        "memory": _of(gpu.memory_used_bytes, gpu.memory_total_bytes, words.size, ""),
        "power": _of(gpu.power_watts, gpu.power_limit_watts, words.number, " W"),
        "heat": _number(gpu.temperature_celsius, words.unit(gpu.temperature_celsius, "°C")),
        "clock": _number(gpu.sm_clock_hertz, words.unit(gpu.sm_clock_hertz, "Hz")),
        "price": _number(price, words.dollars(price) + ("/h" if price is not None else "")),
    }
    return Row(gpu_key(view), state, cells, "; ".join(text for _, text in wrong))


def gpu_key(view: GpuView) -> str:
    """A driver that lies may give two the same uuid."""
    return f"{view.gpu.index} {view.gpu.uuid}"


def _tenant(view: GpuView) -> Cell:
    """Whose it is; a guess is said to be one."""
    if view.gpu.failure is not None and not view.shares:
        return Cell(words.NOT_MEASURED)
    guessed = {
        share.model
        for share in view.shares
        if words.METHODS.get(share.method, "").endswith("a guess")
    }
    found = sorted({share.model for share in view.shares if share.model})
    text = ", ".join(f"{name} (guess)" if name in guessed else name for name in found)
    return Cell(text or "nobody", text or None)


def _of(value: float | None, whole: float | None, say: Callable[[float], str], unit: str) -> Cell:
    """`71.4/79.6 GiB`: the unit once."""
    if value is None:
        return Cell(words.NOT_MEASURED)
    text, limit = say(value), "" if whole is None else say(whole)
    kept = text.removesuffix(f" {limit.rpartition(' ')[2]}") if " " in limit else text
    return Cell(f"{kept}/{limit}{unit}" if limit else f"{text}{unit}", value)


# --- objectives ----------------------------------------------------------------------------------

_HOUR_SECONDS: Final = 3600.0


def _objectives(snapshot: Snapshot) -> Section:
    rows = [_objective(place, burn) for place, burn in enumerate(snapshot.burns)]
    lengths = sorted({window.seconds for burn in snapshot.burns for window in burn.windows})
    windows = [_window(seconds) for seconds in lengths]
    few = [windows[0]] if windows else []
    few += [_window(seconds) for seconds in lengths if seconds == _HOUR_SECONDS][: len(few)]
    before, after = ["state", "model", "objective"], ["budget"]
    return Section(
        name="objectives",
        number=4,
        title="Objectives",
        counted=_tally(rows),
        columns=columns(
            Column("state", "state", is_whole=True),
            Column("model", "model"),
            Column("objective", "objective", most=26),
            *(
                Column(name, f"{'' if place else 'burn '}{words.span(seconds)}", is_number=True)
                for place, (name, seconds) in enumerate(zip(windows, lengths, strict=True))
            ),
            Column("budget", "budget", is_number=True),
            Column("asks", "asks for"),
            Column("covered", "measured", is_number=True),
            Column("note", "why", most=200),
        ),
        forms={
            0: side_by_side(*before, *dict.fromkeys(few), *after),
            139: side_by_side(*before, *windows, *after, "asks", "covered", "note"),
        },
        rows=_worst_first(rows),
        empty="No objective is set for what is served here.",
    )


def _window(seconds: float) -> str:
    return f"window{seconds:g}"


def _objective(place: int, burn: Burn) -> Row:
    left = burn.budget_left_ratio
    text = words.objective(burn.objective)
    cells = {
        "state": state_cell(burn.state, words.STATES.get(burn.state, burn.state)),
        "model": Cell(burn.model, burn.model),
        "objective": Cell(text, text),
        "budget": _number(left, words.ratio(left)),
        "asks": Cell(f"a {burn.severity}" if burn.severity else "", burn.severity),
        "covered": _number(burn.covered_ratio, words.ratio(burn.covered_ratio)),
    }
    for window in burn.windows:
        said = words.burn(window.burn_lower, window.burn_upper)
        cells[_window(window.seconds)] = _number(window.burn_lower, said)
    note = burn.reason if burn.state != "good" else ""
    return Row(f"{burn.model} {burn.objective.name} {place}", burn.state, cells, note)


# --- what needs somebody, and what happened ------------------------------------------------------

_URGENT: Final = {"page": "down", "ticket": "burning", "look": "look"}


def _attention(snapshot: Snapshot) -> Section:
    rows = [_wanted(place, item) for place, item in enumerate(verdict.attention(snapshot))]
    names = side_by_side("state", "subject", "text")
    return Section(
        name="attention",
        number=5,
        title="Attention",
        counted=_tally(rows),
        columns=columns(
            Column("state", "needs a", is_whole=True),
            Column("subject", "what"),
            Column("text", "why, and what to do", most=400),
        ),
        forms={0: names},
        rows=tuple(rows),
        empty="Nothing here needs anybody.",
    )


def _wanted(place: int, item: verdict.Attention) -> Row:
    state = _URGENT.get(item.kind, "not_measured")
    cells = {
        "state": state_cell(state, item.kind),
        "subject": Cell(item.subject, item.subject),
        "text": Cell(item.text, item.text),
    }
    return Row(f"{item.subject} {item.text} {place}", state, cells)


def _events(snapshot: Snapshot) -> Section:
    now = snapshot.timestamp_seconds
    rows = [_event(place, event, now) for place, event in enumerate(snapshot.events)]
    return Section(
        name="events",
        number=6,
        title="Events",
        counted=words.count(float(len(rows))),
        columns=columns(
            Column("ago", "ago", is_number=True),
            Column("kind", "what"),
            Column("subject", "of what"),
            Column("text", "how", most=400),
            Column("models", "models"),
        ),
        forms={
            0: side_by_side("ago", "kind", "subject", "text"),
            119: side_by_side("ago", "kind", "subject", "models", "text"),
        },
        rows=tuple(reversed(rows)),
        empty="Nothing has happened since the agent started.",
    )


def _event(place: int, event: Event, now_seconds: float) -> Row:
    kind = event.kind.replace("_", " ")
    models = ", ".join(event.models)
    cells = {
        # By when, not by how long ago: the latest is the largest.
        "ago": Cell(words.span(now_seconds - event.timestamp_seconds), event.timestamp_seconds),
        "kind": Cell(kind, kind),
        "subject": Cell(event.subject, event.subject),
        "text": Cell(event.text, event.text),
        "models": Cell(models, models or None),
    }
    return Row(f"{event.timestamp_seconds} {place}", "", cells)
