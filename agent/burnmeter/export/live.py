"""The live page: one Snapshot as HTML that a person can judge at 3 am.

It chooses what is shown and in which order; the markup is in web_files/, the numbers' words are in
words.py, and what is said first in verdict.py. It measures nothing: the only sums are of dollars,
joules and GPU seconds, which add up. Text from outside (names, reasons) reaches the page only
through autoescape.
"""

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from burnmeter import xids
from burnmeter.export import charts, verdict, words
from burnmeter.export.places import EVENTS_SHOWN, places
from burnmeter.model import Burn
from burnmeter.snapshot import GpuView, ModelView, Snapshot

FILES: Final = Path(__file__).parent / "web_files"
NEAR_SECONDS: Final = 3600.0
HITS_SHOWN: Final = 5
NO_HITS: Final = {"up", "well", "fresh", "resting", "burning", "recovered", "not_measured"}
"""Events that are no reason why a model is bad, or that its state says already."""
_RANK = {"burning": 0, "not_measured": 1, "good": 2}


def stale_after_seconds(snapshot: Snapshot) -> float:
    """The age from which a Snapshot no longer says how things are."""
    return 3 * snapshot.interval_seconds + 10


def page(snapshot: Snapshot) -> bytes:
    """The whole live page."""
    text = (
        _environment()
        .get_template("live.html")
        .render(
            snapshot=snapshot,
            verdict=verdict.verdict(snapshot),
            attention=verdict.attention(snapshot),
            cards=cards(snapshot),
            tiles=[_tile(view, f"gpu-{place}") for place, view in enumerate(snapshot.gpus)],
            places=places(snapshot),
            money=money(snapshot),
            counts=verdict.counts(snapshot),
            hourly=hourly_dollars(snapshot.gpus),
            stale_after_seconds=stale_after_seconds(snapshot),
        )
    )
    return text.encode("utf-8", "replace")


def waiting() -> bytes:
    """What is shown before the first reading."""
    return _environment().get_template("waiting.html").render().encode()


# --- models ------------------------------------------------------------------------------------


class Hit(NamedTuple):
    """Something that happened to a model's engine or to GPUs of its, once for all alike."""

    timestamp_seconds: float
    kind: str
    text: str
    subjects: str


class Card(NamedTuple):
    """One model with its objectives and charts."""

    view: ModelView
    anchor: str
    burns: tuple[Burn, ...]
    tokens: charts.Chart
    ttft: charts.Chart
    burn: charts.Chart
    burn_upper: float | None
    """Of the latest point; the chart draws what is certain."""
    ttft_threshold_seconds: float | None
    hits: tuple[Hit, ...]
    """What has hit it lately, the latest first."""


def cards(snapshot: Snapshot) -> list[Card]:
    """The models, worst first, else in the Snapshot's order."""
    made = [_card(view, f"model-{place}", snapshot) for place, view in enumerate(snapshot.models)]
    return sorted(made, key=lambda card: _RANK.get(card.view.state, 1))


def hits(snapshot: Snapshot, model: str) -> tuple[Hit, ...]:
    """What has happened to a model's engines and GPUs lately, the latest first."""
    since = snapshot.timestamp_seconds - NEAR_SECONDS
    alike: dict[tuple[float, str, str], list[str]] = {}
    for event in snapshot.events:
        is_near = model in event.models and event.timestamp_seconds >= since
        if is_near and event.kind not in NO_HITS:
            what = event.timestamp_seconds, event.kind, event.text
            alike.setdefault(what, []).append(event.subject)
    found = [Hit(*what, words.some(subjects)) for what, subjects in alike.items()]
    return tuple(reversed(found[-HITS_SHOWN:]))


def _card(view: ModelView, anchor: str, snapshot: Snapshot) -> Card:
    own = tuple(burn for burn in snapshot.burns if burn.model == view.model)
    thresholds = [
        burn.objective.threshold_seconds for burn in own if burn.objective.indicator == "ttft"
    ]
    threshold = thresholds[0] if thresholds else None
    past = view.history
    return Card(
        view=view,
        anchor=anchor,
        burns=own,
        tokens=charts.chart(
            [(point.timestamp_seconds, point.generated_tokens_per_second) for point in past]
        ),
        ttft=charts.chart(
            [(point.timestamp_seconds, point.ttft_p95_upper_seconds) for point in past],
            reference=threshold,
            is_stepped=True,
        ),
        burn=charts.chart(
            [(point.timestamp_seconds, point.burn_lower) for point in past], reference=1.0
        ),
        burn_upper=past[-1].burn_upper if past else None,
        ttft_threshold_seconds=threshold,
        hits=hits(snapshot, view.model),
    )


# --- GPUs --------------------------------------------------------------------------------------


class Tile(NamedTuple):
    """One GPU with its charts."""

    view: GpuView
    anchor: str
    busy: charts.Spark
    power: charts.Spark


def _tile(view: GpuView, anchor: str) -> Tile:
    past = view.history
    return Tile(
        view=view,
        anchor=anchor,
        busy=charts.spark([(one.timestamp_seconds, one.utilisation_ratio) for one in past], 1.0),
        power=charts.spark(
            [(one.timestamp_seconds, one.power_watts) for one in past], view.gpu.power_limit_watts
        ),
    )


# --- money -------------------------------------------------------------------------------------


class Account(NamedTuple):
    """What one model, or nobody, has used since the agent started."""

    model: str
    busy_gpu_seconds: float
    idle_gpu_seconds: float
    unknown_gpu_seconds: float
    """In which there may have been work or not; of GPUs that are nobody's, all."""
    dollars: float | None
    joules: float | None
    revenue_dollars: float | None

    @property
    def gpu_seconds(self) -> float:
        """All of it."""
        return self.busy_gpu_seconds + self.idle_gpu_seconds + self.unknown_gpu_seconds


def money(snapshot: Snapshot) -> list[Account]:
    """Who used the GPUs, the largest part first; nobody's part is one of them."""
    names = dict.fromkeys(share.model for share in snapshot.spends)
    accounts = [_account(snapshot, name) for name in names]
    return sorted(accounts, key=lambda account: -account.gpu_seconds)


def _account(snapshot: Snapshot, name: str) -> Account:
    own = [(share, spend) for share, spend in snapshot.spends.items() if share.model == name]
    busy, idle = (
        sum(spend.gpu_seconds for share, spend in own if share.state == state)
        for state in ("busy", "idle")
    )
    return Account(
        model=name,
        busy_gpu_seconds=busy,
        idle_gpu_seconds=idle,
        unknown_gpu_seconds=sum(
            spend.gpu_seconds for share, spend in own if share.state not in ("busy", "idle")
        ),
        dollars=_sum(spend.dollars for _, spend in own),
        joules=_sum(spend.joules for _, spend in own),
        revenue_dollars=_sum(v.revenue_dollars for v in snapshot.models if v.model == name),
    )


def hourly_dollars(gpus: Iterable[GpuView]) -> float | None:
    """What the node costs per hour, if the price of every GPU is known."""
    return _sum(view.dollars_per_hour for view in gpus)


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum, unless a part of it (or every part) is not known."""
    known = list(values)
    return None if not known or None in known else sum(v for v in known if v is not None)


GPM: Final = {
    "gpu_sm_active_ratio": "SMs",
    "gpu_tensor_active_ratio": "tensor",
    "gpu_dram_active_ratio": "DRAM",
}
"""What a whole GPU did, where the board tells (Hopper and later)."""


def gpm(view: GpuView) -> dict[str, float]:
    """The board's own profile; that of MIG instances is on /metrics."""
    found = {f.measure: f.value for f in view.gpu.gauges if f.labels == (("mig", ""),)}
    return {word: found[measure] for measure, word in GPM.items() if measure in found}


# --- templates ---------------------------------------------------------------------------------


def part(value: float | None, whole: float | None) -> float | None:
    """How full something is. None if either is not known, or if it holds nothing at all."""
    return None if value is None or whole is None or whole <= 0 else value / whole


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FILES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    said = (
        *(words.seconds, words.bound, words.quantile, words.number, words.count, words.dollars),
        *(words.ratio, words.ratio_range, words.burn, words.budget, words.size, words.unit),
        *(words.span, words.moment, words.stamp, words.objective, words.promise),
        *(words.counted, words.tallied, words.factor, words.watt_hours, gpm),
        *(charts.burn_width, charts.bar_width),
        *(verdict.failure, verdict.recovery, verdict.target_state),
    )
    environment.filters.update({filter_.__name__: filter_ for filter_ in said})
    environment.globals.update(
        INDICATORS=words.INDICATORS,
        STATES=words.STATES,
        FACTORS=words.FACTORS,
        METHODS=words.METHODS,
        ACTIONS=xids.ACTIONS,
        VANTAGES=words.VANTAGES,
        NOT_MEASURED=words.NOT_MEASURED,
        EVENTS_SHOWN=EVENTS_SHOWN,
        part=part,
        style=_fingerprint("style.css"),
        script=_fingerprint("live.js"),
    )
    return environment


def _fingerprint(name: str) -> str:
    """Changes with the file, so that a browser never pairs a new page with an old style."""
    return sha256((FILES / name).read_bytes()).hexdigest()[:12]
