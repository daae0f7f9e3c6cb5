"""State -> Snapshot: where ratios and rates are made, last, from differences of totals. Pure.

It measures nothing: totals come from pipeline.py, their recent differences from recent.py, burn
from slo.py. Surprising: a model is as good as the worst of what is known of it, and not known is
worse than good.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from burnmeter import bill, histograms, names, pipeline, recent, sli, vantage, xids
from burnmeter.config_targets import bare_url
from burnmeter.dialects import INDICATORS
from burnmeter.frame import (
    Frame,
    burn_events,
    burns,
    gpu_point,
    grouped,
    lengthen,
    point,
)
from burnmeter.gpu_watch import XidSeen
from burnmeter.model import Burn, Gpu, Histogram, Key
from burnmeter.pricing import Price
from burnmeter.recent import Recent
from burnmeter.snapshot import (
    Elsewhere,
    GpuView,
    Health,
    Latency,
    ModelView,
    Quantile,
    Snapshot,
    SourceView,
    TargetView,
    XidView,
)
from burnmeter.state import Settings, State
from burnmeter.units import SECONDS_PER_HOUR
from burnmeter.watch import Watched

LATENCIES: Final = {**INDICATORS, "prefill": "prefill_seconds", "decode": "decode_seconds"}
QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
SEVEREST_FIRST: Final = ("page", "ticket", None)


def latency(histogram: Histogram) -> Latency:
    """Count, mean and quantiles as intervals."""
    mean = (
        histogram.sum / histogram.total if histogram.sum is not None and histogram.total else None
    )
    found: dict[str, Quantile] = {}
    for name, q in QUANTILES.items():
        interval = histograms.quantile(histogram, q)
        if interval is not None:
            found[name] = interval
    return Latency(count=histogram.total, mean_seconds=mean, quantiles=found)


# --- one model -----------------------------------------------------------------------------------


def error_ratio(recent_: Recent) -> tuple[float | None, float | None]:
    """Failed requests over answered ones: (at least, at most). See sli.error_tally."""
    tally = sli.error_tally(sli.outcomes(recent_.model, recent_.counters))
    if tally is None or not tally.valid:
        return None, None
    bad = tally.valid - tally.good_upper, tally.valid - tally.good_lower
    return bad[0] / tally.valid, bad[1] / tally.valid


def _gauge(watched: Sequence[Watched], measure: str, model: str) -> list[float]:
    key = Key(measure, (("model", model),))
    nearest = vantage.best(watched, measure)
    pages = [one.page for one in watched if one.is_up and one.vantage == nearest]
    return [page.gauges[key] for page in pages if page is not None and key in page.gauges]


def _state(watched: Sequence[Watched], burns_: Sequence[Burn]) -> tuple[str, str]:
    """The worst of its engines and objectives; a dead or stalled engine needs no window."""
    trouble = _trouble(watched)
    if trouble is not None:
        return "burning", trouble
    burning = [burn for burn in burns_ if burn.state == "burning"]
    if burning:
        worst = min(burning, key=lambda burn: SEVEREST_FIRST.index(burn.severity))
        return "burning", f"{worst.objective.name}: {worst.reason}"
    # What is at rest is not missing: what it alone measures says so itself.
    unread = [one for one in watched if one.failure and one.failure.kind != "disabled"]
    if unread:
        return "not_measured", f"{unread[0].target.name} cannot be read: {_why(unread[0])}"
    return _worst(burns_)


def _trouble(watched: Sequence[Watched]) -> str | None:
    """What needs no window: of its engines, else of the gateway before them, else of a probe."""
    by_vantage = {v: [one for one in watched if one.vantage == v] for v in vantage.NEAREST_FIRST}
    engines = by_vantage["engine"]
    if engines and all(one.is_down for one in watched):
        return f"no engine answers: {_why(engines[0])}"
    for where, found in by_vantage.items():
        ill = [text for one in found if (text := _illness(one)) is not None]
        down = [f"{one.target.name} is down: {_why(one)}" for one in found if one.is_down]
        for text in (*ill, *down):
            if where == "engine":
                return text
            # A dead gateway is no dead engine, and whoever is woken must know which of them it is.
            is_all = where == "gateway" and engines and all(one.is_up for one in engines)
            return f"{where} {text}{'; the engines behind it answer' if is_all else ''}"
    return None


def _illness(one: Watched) -> str | None:
    if one.is_stalled:
        return f"{one.target.name} is stalled: it holds requests and nothing moves"
    return f"{one.target.name} is not well: {one.illness}" if one.illness is not None else None


def _worst(burns_: Sequence[Burn]) -> tuple[str, str]:
    """Of objectives of which none burns."""
    said = {state: [b for b in burns_ if b.state == state] for state in ("not_measured", "good")}
    good = ", ".join(burn.objective.name for burn in said["good"])
    if said["not_measured"]:
        first = said["not_measured"][0]
        reason = f"{first.objective.name}: {first.reason}"
        return "not_measured", f"{reason}; good: {good}" if good else reason
    if said["good"]:
        worst = max(said["good"], key=_fastest)
        return "good", f"{worst.objective.name}: {worst.reason}"
    return "not_measured", "no objective is set for this model"


def _fastest(burn: Burn) -> float:
    """The burn that cannot be ruled out, in the window that burns most."""
    return max((window.burn_upper or 0.0 for window in burn.windows), default=0.0)


def _why(one: Watched) -> str:
    assert one.failure is not None, "asked only of what failed"
    return one.failure.message


def model_view(frame: Frame, did: Recent, watched: Sequence[Watched]) -> ModelView:
    """One model as it does now."""
    model = did.model
    ours = [b for b in frame.burns if b.model == model]
    state, reason = _state(watched, ours)
    seen = {v: did.seen_from(v) for v in {"engine", *(one.vantage for one in watched)}}
    at = _places(watched)
    nearest = {measure: seen[where] for measure, where in at.items()}
    tokens, requests = nearest["tokens_total"], nearest["requests_total"]
    lower, upper = _errors(nearest[vantage.FAILED], watched)
    bill_ = bill.money(frame.state, frame.settings, did, at["tokens_total"], watched)
    kv = _gauge(watched, "kv_cache_used_ratio", model)
    running = _gauge(watched, "running_requests", model)
    waiting = _gauge(watched, "waiting_requests", model)
    return ModelView(
        model=model,
        targets=tuple(one.target.name for one in watched),
        engines=tuple(sorted({one.page.engine for one in watched if one.page is not None})),
        state=state,
        reason=reason,
        recent_seconds=did.seconds,
        running=sum(running) if running else None,
        waiting=sum(waiting) if waiting else None,
        kv_cache_used_ratio=max(kv) if kv else None,
        generated_tokens_per_second=tokens.rate("tokens_total", kind="generated"),
        prompt_tokens_per_second=tokens.rate("tokens_total", kind="prompt"),
        requests_per_second=_finished(requests),
        error_ratio_lower=lower,
        error_ratio_upper=upper,
        latencies={
            short: latency(nearest[measure].histograms[measure])
            for short, measure in LATENCIES.items()
            if measure in nearest[measure].histograms
        },
        **{name: value for name, value in bill_._asdict().items() if name != "why"},
        requests=sli.by_outcome(sli.outcomes(model, requests.totals)),
        tokens=_tokens(tokens),
        not_available={
            **_not_available(watched),
            **{what: why for what, why in bill_.why.items() if why is not None},
        },
        seen_from={
            word: at[measure]
            for word, measure in _WORDS.items()
            if at[measure] != "engine" and _has(nearest[measure], measure)
        },
        elsewhere={
            where: _elsewhere(seen[where], [one for one in watched if one.vantage == where])
            for where in vantage.NEAREST_FIRST[1:]
            if any(one.vantage == where for one in watched)
        },
    )


_WORDS: Final = {
    "tokens": "tokens_total",
    "requests": "requests_total",
    "errors": vantage.FAILED,
    **LATENCIES,
}


def _places(watched: Sequence[Watched]) -> dict[str, str]:
    """Measure -> the vantage that it is taken from. A probe's own few requests are no traffic."""
    served = [one for one in watched if one.vantage != "probe"]
    counts = {name: vantage.best(served, name) for name in ("tokens_total", "requests_total")}
    rest = {name: vantage.best(watched, name) for name in (vantage.FAILED, *LATENCIES.values())}
    return {name: where or "engine" for name, where in (counts | rest).items()}


def _has(did: Recent, measure: str) -> bool:
    plain = measure.partition("{")[0]
    return plain in did.histograms or any(key.measure == plain for key in did.totals)


def _errors(did: Recent, watched: Sequence[Watched]) -> tuple[float | None, float | None]:
    """The error ratio of what counts failures; unknown where nobody does."""
    able = any(vantage.can_give(one, vantage.FAILED) for one in watched)
    return error_ratio(did) if able else (None, None)


def _finished(did: Recent) -> float | None:
    """Requests that went well per second, by the witness that is believed first."""
    witness = sli.witness_of(sli.outcomes(did.model, did.counters))
    return did.rate("requests_total", outcome="ok", counted_by=witness) if witness else None


def _tokens(did: Recent) -> dict[str, float]:
    return {
        dict(key.labels)["kind"]: value
        for key, value in did.totals.items()
        if key.measure == "tokens_total"
    }


def _elsewhere(did: Recent, watched: Sequence[Watched]) -> Elsewhere:
    return Elsewhere(
        targets=tuple(one.target.name for one in watched),
        latencies={
            short: latency(did.histograms[measure])
            for short, measure in LATENCIES.items()
            if measure in did.histograms
        },
        requests=sli.by_outcome(sli.outcomes(did.model, did.totals)),
        tokens=_tokens(did),
    )


def _not_available(watched: Sequence[Watched]) -> dict[str, str]:
    """What none of the model's targets can give, and why not; of the nearest, in its words."""
    pages = [one.page.not_available for one in watched if one.page is not None]
    return {m: why for m, why in pages[0].items() if all(m in p for p in pages)} if pages else {}


# --- targets and GPUs ----------------------------------------------------------------------------


def target_view(one: Watched, at_seconds: float) -> TargetView:
    """One target as it is now."""
    words = sorted({word for found in _words(one).values() for word in found})
    return TargetView(
        target=one.target.name,
        url=bare_url(one.target.url),
        origin=one.target.origin,
        engine=one.page.engine if one.page else one.target.engine,
        role=one.page.role if one.page else None,
        vantage=one.page.vantage if one.page else None,
        version=one.page.version if one.page else None,
        model=names.cut(", ".join(one.models)) or None,
        engine_model=names.cut(", ".join(words)) or None,
        models=_models(one),
        is_up=one.is_up,
        is_stalled=one.is_stalled,
        is_stale=one.is_stale,
        is_ill=None if one.bad_checkups is None else one.illness is not None,
        illness=one.illness,
        failure=one.failure,
        duration_seconds=one.duration_seconds,
        age_seconds=None if one.page_at_seconds is None else at_seconds - one.page_at_seconds,
        restarts=one.restarts,
        unknown_families=one.page.unknown_families if one.page else (),
        body_bytes=one.body_bytes,
        pid=one.target.pid,
        is_down=one.is_down,
    )


def _models(one: Watched) -> dict[str, str]:
    """Each model that it serves -> its own words for it."""
    words = _words(one)
    return {
        name: names.cut(", ".join(sorted(words.get(name, ())))) if name != names.OVERFLOW else ""
        for name in one.models
    }


def _words(one: Watched) -> dict[str, list[str]]:
    """Each of our names -> the engine's words for it: its page's, or else of its own list."""
    words: dict[str, list[str]] = {}
    listed = [m.id for m in one.about.models if m.parent is None] if one.about else []
    for word, name in (one.plan.models if one.plan else {}).items():
        words.setdefault(name, []).extend([word] if word else listed)
    return words


def _gpu_views(frame: Frame) -> tuple[GpuView, ...]:
    state, prices = frame.state, frame.settings.prices
    boards = state.boards
    return tuple(
        GpuView(
            gpu=gpu,
            shares=tuple(portion.share for portion in state.portions.get(gpu.uuid, ())),
            is_up=None if gpu.failure and gpu.uuid not in boards.lost else gpu.failure is None,
            dollars_per_hour=_per_hour(prices.get(gpu.name), gpu),
            price_source=found.source if (found := prices.get(gpu.name)) is not None else None,
            energy_joules=boards.meters.joules.get(gpu.uuid),
            meters=boards.meters.figures(gpu.uuid),
            xid_totals={c: seen.times for (u, c), seen in boards.xids.items() if u == gpu.uuid},
            xids=tuple(_xid(c, seen) for (u, c), seen in boards.xids.items() if u == gpu.uuid),
            throttled_by=tuple(sorted(boards.throttled.get(gpu.uuid, ()))),
            history=frame.gpu_history.get(gpu.uuid, ()),
        )
        for gpu in sorted(boards.gpus.values(), key=lambda gpu: gpu.index)
    )


def _per_hour(price: Price | None, gpu: Gpu) -> float | None:
    """With power, where that is apart: at what it draws now."""
    if price is None:
        return None
    watts = gpu.power_watts if gpu.power_watts is not None else 0.0
    return price.dollars(SECONDS_PER_HOUR, watts * SECONDS_PER_HOUR)


def _xid(code: int, seen: XidSeen) -> XidView:
    return XidView(
        times=seen.times,
        last_timestamp_seconds=seen.timestamp_seconds,
        **xids.xid(code)._asdict(),
    )


def _gauges(watched: Iterable[Watched]) -> dict[Key, float]:
    return {
        pipeline.addressed(key, one.page.engine, one.page.vantage, one.target.name): value
        for one in watched
        if one.is_up and one.page is not None
        for key, value in one.page.gauges.items()
    }


def model_views(frame: Frame) -> tuple[ModelView, ...]:
    """Every model of the node, by name."""
    by_model: dict[str, list[Watched]] = {}
    for one in frame.state.watched.values():
        for model in one.models:
            by_model.setdefault(model, []).append(one)
    did = recent.by_model(frame.state.past)
    burns_of = grouped(frame.burns)
    return tuple(
        model_view(
            replace(frame, burns=burns_of.get(model, ())),
            did.get(model) or Recent(model=model),
            by_model[model],
        )
        for model in sorted(by_model)
    )


def snapshot(
    frame: Frame,
    *,
    version: str,
    node: str,
    is_simulated: bool,
    sources: tuple[SourceView, ...],
    health: Health,
    models: tuple[ModelView, ...],
) -> Snapshot:
    """All that leaves at one tick."""
    state = frame.state
    return Snapshot(
        version=version,
        node=node,
        is_simulated=is_simulated,
        timestamp_seconds=frame.timestamp_seconds,
        started_timestamp_seconds=state.started_timestamp_seconds,
        interval_seconds=frame.settings.terms.interval_seconds,
        models=models,
        targets=tuple(target_view(one, frame.at_seconds) for one in state.watched.values()),
        gpus=_gpu_views(frame),
        sources=sources,
        burns=frame.burns,
        spends=state.purse.spends,
        node_spend=state.purse.node,
        counters={**state.counters, **state.revenue, **state.roofline},
        histograms=state.histograms,
        gauges=_gauges(state.watched.values()),
        events=state.events,
        health=health,
    )


def turn(
    state: State,
    settings: Settings,
    *,
    timestamp_seconds: float,
    at_seconds: float,
    before: Frame | None,
) -> tuple[Frame, tuple[ModelView, ...]]:
    """What the tick after `before` shows: who burns, what is told of it, each model with its past.

    The frame's state has the events that only burns can tell.
    """
    found = burns(state, settings.objectives)
    told = burn_events(before.burns if before else (), found, timestamp_seconds)
    frame = Frame(
        state=replace(state, events=(*state.events, *told)),
        settings=settings,
        timestamp_seconds=timestamp_seconds,
        at_seconds=at_seconds,
        burns=found,
    )
    bare = model_views(frame)
    by_model = grouped(frame.burns)
    points = {v.model: point(v, by_model.get(v.model, ()), timestamp_seconds) for v in bare}
    history = lengthen(before.history if before else {}, points)
    views = tuple(replace(view, history=history[view.model]) for view in bare)
    moments = {u: gpu_point(gpu, timestamp_seconds) for u, gpu in state.boards.gpus.items()}
    gpu_history = lengthen(before.gpu_history if before else {}, moments)
    return replace(frame, history=history, gpu_history=gpu_history), views
