"""One target, one look: what we knew and what came back -> what we know and what happened. Pure.

Here the states of a target are decided: up, down, stalled, restarted, gone; and whether a stretch
of time was good, bad or not measured. Time, threads and sockets are loop.py's.

Surprising: an engine is stalled only by what its page says between looks at which it held requests.
What it last held before it fell silent is remembered, so a stall is known again at the first look
after a page that could not be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from burnmeter import growth, names
from burnmeter.dialects import Dialect
from burnmeter.errors import PageError
from burnmeter.model import About, Checkup, EnginePage, Failure, Growth, PageReading, Target
from burnmeter.naming import model_namer
from burnmeter.normalise import gauges, normalise
from burnmeter.page import Page
from burnmeter.planning import Plan, plan
from burnmeter.sli import Slice

DOWN_KINDS: Final = {"refused", "timeout", "unreachable", "gone"}
"""Failures in which users are not served either: a hung engine accepts and never answers. Other
kinds only mean that we cannot read."""
DEAD_KINDS: Final = {"refused", "gone"}
"""Failures after which nothing that was in flight can still finish."""
FORGET_AFTER_SECONDS: Final = 3600.0
"""A process that was found and is gone stays on show this long: somebody must see that it died."""
MISSED_INTERVALS: Final = 3.0
"""A look this many intervals late was not watched: a suspended agent measures nothing."""
JITTER_RATIO: Final = 0.1
"""Looks come this share of an interval early or late; a stall must not wait another tick for it."""
STALE: Final = "its page stands still while its GPUs work"
GATEWAY_ROLES: Final = ("gateway", "router")
"""What a command line or a config may call a target that was never read and is no engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a look needs to know besides the target."""

    dialects: Mapping[str, Dialect]
    model_names: Mapping[str, str]
    models_per_target: int
    interval_seconds: float
    stalled_after_seconds: float
    watching_since_timestamp_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is known of one target."""

    target: Target
    seen: growth.Seen | None = None
    plan: Plan | None = None
    page: EnginePage | None = None
    """The last page that could be read."""
    page_at_seconds: float | None = None
    looked_at_seconds: float | None = None
    failure: Failure | None = None
    is_stalled: bool | None = None
    moved_at_seconds: float | None = None
    progress: tuple[float, ...] = ()
    restarts: int = 0
    duration_seconds: float = 0.0
    body_bytes: int = 0
    gone_since_seconds: float | None = None
    misses: int = 0
    """Looks without a page since the last that gave one."""
    names_held: Mapping[str, float] = field(default_factory=dict)
    """Its models' names -> when they were last its; those that left are held for a while."""
    tenant: str = ""
    """What its GPUs are charged to: its model, or all of them."""
    tenants_held: Mapping[str, float] = field(default_factory=dict)
    """The same for what its GPUs were charged to."""
    about: About | None = None
    """What it last said of itself."""
    same_since_seconds: float | None = None
    """Since when its page has said the same."""
    working_since_seconds: float | None = None
    """Since when GPUs that it alone holds have worked at every look."""
    is_stale: bool = False
    """Its page says the same while its GPUs work: it is not believed."""
    bad_checkups: int | None = None
    """In a row; None: its health was never asked for."""
    illness: str | None = None
    """What its health page says is wrong with it."""

    @property
    def vantage(self) -> str:
        """Where it counts: engine, gateway or probe."""
        if self.page is not None:
            return self.page.vantage
        if self.target.origin == "probe":
            return "probe"
        return "gateway" if self.target.role in GATEWAY_ROLES else "engine"

    @property
    def is_up(self) -> bool:
        """The last look gave a page."""
        return self.page is not None and self.failure is None

    @property
    def is_down(self) -> bool:
        """Dead, or silent for two looks in a row: one page that came too late is no outage."""
        if self.failure is None or self.failure.kind not in DOWN_KINDS:
            return False
        # A probe's page that says so has waited for as long as it was told to.
        told_seconds = self.page_at_seconds
        is_told = told_seconds is not None and told_seconds == self.looked_at_seconds
        is_sure = self.failure.kind in DEAD_KINDS or self.misses > 1
        return self.page is None or is_told or is_sure

    @property
    def models(self) -> tuple[str, ...]:
        """Our names of its models, none until it is known.

        A target that is dead before it has said takes its own name: a dead engine must burn
        somewhere, and one that answers otherwise may be no engine at all.
        """
        if self.plan is None:
            known = self.target.model or self.target.served_model
            known = known or (self.target.name if self.is_down else None)
            return (names.cut(known),) if known else ()
        return tuple(sorted({name for name in self.plan.models.values() if name}))

    @property
    def running_here(self) -> float | None:
        """Requests in the batches of its ranks on this machine, if it is up and says so."""
        if self.page is None or self.failure is not None:
            return None
        here = self.page.gauges_here
        held = here if here is not None else self.page.gauges
        found = [value for key, value in held.items() if key.measure == "running_requests"]
        return sum(found) if found else None

    @property
    def held(self) -> float | None:
        """Requests that it held on its last page, if that said so."""
        found = growth.in_flight(self.page.gauges) if self.page is not None else {}
        return sum(found.values()) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look told."""

    watched: Watched
    growth: Growth | None
    slice: Slice
    events: tuple[tuple[str, str], ...]
    """(kind, text), for people."""
    is_resting: bool = False
    """It was not its turn to be read: nothing is known that was not known before."""


def rest(was: Watched) -> Look:
    """A target that was not to be read at this tick."""
    return Look(watched=was, growth=None, slice=Slice(0.0, None), events=(), is_resting=True)


def look(was: Watched, reading: PageReading, page: Page | None, terms: Terms) -> Look:
    """Take in one reading. `page` is its text as read, None if none could be read."""
    about = _learned(was.about, reading.about)
    if about != was.about:  # It may name its model otherwise.
        was = replace(was, about=about, plan=None)
    failure, new_plan = reading.failure, was.plan
    if page is not None:
        try:
            new_plan = _plan(was, page, terms)
        except PageError as error:
            failure, page = Failure(error.kind, error.message + _if_off(was.target)), None
    base = replace(
        was,
        failure=failure,
        plan=new_plan,
        looked_at_seconds=reading.at_seconds,
        duration_seconds=reading.duration_seconds,
        body_bytes=reading.body_bytes,
        gone_since_seconds=None,
    )
    base = _checked(_named(base, reading.at_seconds, terms), reading.checkup)
    if page is None or new_plan is None:
        return _missed(was, base, reading.at_seconds, terms)
    parts = _parts_here(new_plan, was.target)
    of_here = gauges(page, new_plan, parts) if parts is not None else None
    said = replace(normalise(page, new_plan), parts_here=parts, gauges_here=of_here)
    if about is not None:
        said = replace(said, version=names.cut(about.version) if about.version else None)
    return _met(was, base, said, reading.at_seconds, terms)


def _checked(now: Watched, checkup: Checkup | None) -> Watched:
    """With what its health page says; one silence alone may be a busy moment."""
    if checkup is None:
        return now
    bad = 0 if checkup.is_well else (now.bad_checkups or 0) + 1
    is_ill = bad > 0 and (checkup.is_answer or bad > 1)
    return replace(now, bad_checkups=bad, illness=checkup.text if is_ill else None)


def says_the_same(one: EnginePage, other: EnginePage) -> bool:
    """Whether two pages hold the same numbers."""
    return (one.counters, one.gauges, one.histograms) == (
        other.counters,
        other.gauges,
        other.histograms,
    )


def _learned(known: About | None, said: About | None) -> About | None:
    """What it says now, and what it said before of that on which it is silent."""
    if known is None or said is None:
        return known if said is None else said
    version = said.version if said.version is not None else known.version
    return About(version=version, models=said.models or known.models)


def vanish(was: Watched, at_seconds: float, terms: Terms) -> Look:
    """The process that was this target is no longer there."""
    failure = Failure("gone", f"the process {was.target.pid} that listened is no longer there")
    since = was.gone_since_seconds if was.gone_since_seconds is not None else at_seconds
    base = replace(was, failure=failure, looked_at_seconds=at_seconds, gone_since_seconds=since)
    return _missed(was, _named(base, at_seconds, terms), at_seconds, terms)


def is_forgotten(watched: Watched, at_seconds: float) -> bool:
    """Gone for so long that it need not be shown any more."""
    since = watched.gone_since_seconds
    return since is not None and at_seconds - since > FORGET_AFTER_SECONDS


def _plan(was: Watched, page: Page, terms: Terms) -> Plan:
    held, most = was.names_held, terms.models_per_target
    if was.plan is not None and was.plan.series == page.series:
        # As places fall free, those that had found none get them.
        is_waiting = was.plan.beyond > 0 and names.has_room(held, most)
        if not is_waiting:
            return was.plan
    # Without a plan the target was named anew: what its models were called takes no place.
    held = held if was.plan is not None else {}
    return plan(
        page,
        terms.dialects,
        engine=was.target.engine,
        role=was.target.role,
        name=model_namer(was.target, terms.model_names, was.about),
        admit=lambda wanted: names.admit(wanted, held, most),
    )


def _named(now: Watched, at_seconds: float, terms: Terms) -> Watched:
    """With the names that it holds now, and its tenant's: a set of models is a name as well."""
    models = now.models
    word = names.cut(",".join(models))
    held = names.hold(now.tenants_held, (), at_seconds)
    places = names.admit((word,), held, terms.models_per_target)
    tenant = word if word in places else names.OVERFLOW
    counted = {*models, now.plan.nobodys} - {""} if now.plan else ()
    return replace(
        now,
        names_held=names.hold(now.names_held, counted, at_seconds),
        tenant=tenant,
        tenants_held=names.hold(held, (tenant,), at_seconds),
    )


def _missed(was: Watched, now: Watched, at_seconds: float, terms: Terms) -> Look:
    """No page: bad time if the target is down, else time that was not measured."""
    failure = now.failure
    assert failure is not None, "a reading has a page or a failure"
    grown, seen = None, now.seen
    lost = 0.0
    if failure.kind in DEAD_KINDS and seen is not None and was.page is not None:
        lost = sum(seen.in_flight.values())
        seen, grown = growth.bury(seen, was.page) if lost else (seen, None)
    events: tuple[tuple[str, str], ...] = ()
    if was.failure is None or was.failure.kind != failure.kind:
        kind = "resting" if failure.kind == "disabled" else "down"
        events = ((kind, failure.message + _lost_words(lost)),)
    now = replace(now, seen=seen, is_stalled=None, misses=was.misses + 1)
    if failure.kind in DEAD_KINDS:  # What it was ill of died with it.
        now = replace(now, bad_checkups=None, illness=None)
    is_good = False if now.is_down else None
    return Look(
        watched=now, growth=grown, slice=_slice(was, at_seconds, is_good, terms), events=events
    )


def _grown(
    was: Watched, page: EnginePage, target: Target, at_seconds: float, terms: Terms
) -> tuple[growth.Seen, Growth]:
    """What happened since the last page, of counts or of rates as the dialect has it."""
    dialect, interval = terms.dialects[page.engine], interval_seconds(target, terms)
    identity = growth.Identity(
        page.started_timestamp_seconds, target.pid, target.started_timestamp_seconds
    )
    if dialect.is_per_second:
        return growth.flow(
            was.seen, page, at_seconds=at_seconds, identity=identity, interval_seconds=interval
        )
    return growth.grow(
        was.seen,
        page,
        at_seconds=at_seconds,
        identity=identity,
        watching_since_timestamp_seconds=terms.watching_since_timestamp_seconds,
        interval_seconds=interval,
        cancelled_estimate=dialect.cancelled_estimate,
    )


def _parts_here(plan: Plan, target: Target) -> frozenset[str] | None:
    """Of a page with ranks that run elsewhere, the parts that are of ranks here."""
    here, ranks = target.local_ranks, plan.rank_by_part
    if here is None or set(ranks.values()) <= set(here):
        return None
    return frozenset(part for part, rank in ranks.items() if rank in here)


def _met(was: Watched, now: Watched, page: EnginePage, at_seconds: float, terms: Terms) -> Look:
    """A page: what grew, and whether anything moved."""
    dialect = terms.dialects[page.engine]
    seen, grown = _grown(was, page, now.target, at_seconds, terms)
    progress = _progress(page, dialect)
    is_same = was.page is not None and says_the_same(was.page, page)
    # What was idle before need not have moved; its time to do so begins with the first request.
    moved = progress != was.progress or not was.held or grown.is_restart
    moved_at = at_seconds if moved else was.moved_at_seconds
    now = replace(
        now,
        seen=seen,
        page=page,
        page_at_seconds=at_seconds,
        progress=progress,
        moved_at_seconds=moved_at,
        same_since_seconds=was.same_since_seconds if is_same else at_seconds,
        misses=0,
        restarts=now.restarts + grown.is_restart,
    )
    is_asked_anew = now.bad_checkups != was.bad_checkups
    if now.failure is not None or (grown.is_restart and not is_asked_anew):
        now = replace(now, bad_checkups=None, illness=None)
    now = replace(now, is_stalled=_is_stalled(now, dialect, at_seconds, terms))
    return Look(
        watched=now,
        growth=grown,
        slice=_slice(was, at_seconds, _was_good(now), terms),
        events=_events(was, now, grown, terms),
    )


def _was_good(now: Watched) -> bool | None:
    """Whether users were served up to this page, as far as it tells."""
    if now.failure is not None:
        return False if now.is_down else None
    return not (now.is_stalled or now.illness)


def _progress(page: EnginePage, dialect: Dialect) -> tuple[float, ...]:
    """What moves while an engine works: in the dialect's order, so that two looks compare."""
    wanted = set(dialect.progress)
    counters = [sum(p.values()) for key, p in page.counters.items() if key.measure in wanted]
    counts = [
        sum(part.total for part in parts.values())
        for key, parts in page.histograms.items()
        if key.measure in wanted
    ]
    return (*counters, *counts, *(v for key, v in page.gauges.items() if key.measure in wanted))


def _is_stalled(now: Watched, dialect: Dialect, at_seconds: float, terms: Terms) -> bool | None:
    """Requests run or wait, and nothing moves. None: its page has nothing that would move, or does
    not say what it holds."""
    held = now.held
    if held is None or not now.progress or dialect.stall_unknown is not None:
        return None
    if now.moved_at_seconds is None:
        return None
    early = JITTER_RATIO * interval_seconds(now.target, terms)
    still_seconds = at_seconds - now.moved_at_seconds + early
    patience = terms.stalled_after_seconds + (0.0 if _is_fresh(now) else dialect.stale_seconds)
    return held > 0 and still_seconds >= patience


def _is_fresh(now: Watched) -> bool:
    """What it holds is counted as of now, not as of a batch that may be long ago."""
    gauges = now.page.gauges if now.page is not None else {}
    return any(key.measure == growth.OPEN for key in gauges)


def interval_seconds(target: Target, terms: Terms) -> float:
    """How often a target is read."""
    return max(terms.interval_seconds, target.least_interval_seconds or 0.0)


def _slice(was: Watched, at_seconds: float, is_good: bool | None, terms: Terms) -> Slice:
    if was.looked_at_seconds is None:
        return Slice(0.0, is_good)
    seconds = at_seconds - was.looked_at_seconds
    watched = seconds <= MISSED_INTERVALS * interval_seconds(was.target, terms)
    return Slice(seconds, is_good if watched else None)


def _events(was: Watched, now: Watched, grown: Growth, terms: Terms) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    if grown.is_restart:
        lost = sum(v for key, v in grown.counters.items() if ("outcome", "lost") in key.labels)
        found.append(("restart", f"the engine restarted{_lost_words(lost)}"))
    if now.failure is not None:
        is_new = was.failure is None or was.failure.kind != now.failure.kind
        return (*found, *((("down", now.failure.message),) if is_new else ()))
    if was.failure is not None or was.page is None:
        who = "endpoint" if now.vantage == "probe" else "engine"
        found.append(("up", f"the {who} answers"))
    if now.is_stalled and not was.is_stalled:
        assert now.held is not None, "what is stalled holds requests"
        still = f"nothing has moved for {terms.stalled_after_seconds:g} s"
        found.append(("stalled", f"{_requests(now.held)} held and {still}"))
    if was.is_stalled and now.is_stalled is False:
        found.append(("resumed", "the engine moves again"))
    if now.illness and not was.illness:
        found.append(("sick", now.illness))
    if was.illness and not now.illness:
        found.append(("well", "it is well again"))
    if grown.gap_seconds > 0 and not grown.is_first_sight and was.failure is None:
        found.append(("gap", f"not watched for {grown.gap_seconds:.0f} s"))
    return tuple(found)


def _requests(count: float) -> str:
    return "1 request is" if count == 1 else f"{count:g} requests are"


def _lost_words(count: float) -> str:
    if not count:
        return ""
    return f"; about {count:g} {'request was' if count == 1 else 'requests were'} lost"


def _if_off(target: Target) -> str:
    """What more there is to say of a discovered engine's page that is not its own."""
    is_ours = target.origin == "process" and target.remedy is not None
    return f". If its metrics are off: {target.remedy}" if is_ours else ""


def unmeasured(watched: Watched, measure: str | None) -> str:
    """Why this target's last look gave nothing for `measure`; None: for its time."""
    name, page = watched.target.name, watched.page
    if watched.is_stale:
        return f"{name}: {STALE}"
    if watched.failure is not None:
        return f"{name}: {watched.failure.message}"
    if measure is None:
        return f"{name}: it was not watched for a while"
    if page is None:
        return f"{name}: not read yet"
    reasons = page.not_available
    why = reasons.get(measure) or reasons.get(measure.partition("{")[0])
    return f"{name}: {why or 'nothing was counted'}"
