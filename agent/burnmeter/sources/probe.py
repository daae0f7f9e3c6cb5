"""Our own probes: each asks its endpoint now and then, in a thread of its own, and shows a page.

The pages are read like engines', so all that follows takes a probe for one more place where the
same requests are seen. A page is given once for each request, whenever that has ended: what lies
between two requests is judged by the later one. Nothing is asked before the first look, so that
commands that only check send nothing.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from burnmeter.config_probes import Probe
from burnmeter.model import Checkup, Failure, PageReading, Target
from burnmeter.sources.probe_counts import Budget, Counts
from burnmeter.sources.probe_request import Result, send

log = logging.getLogger("burnmeter")

ORIGIN: Final = "probe"
OVERDUE_PERIODS: Final = 2.0
"""A probe that has brought nothing for so long hangs, as in a name's lookup that never ends."""


class Pages(Protocol):
    """Reads many targets at once, by a deadline."""

    def read_all(
        self, targets: Iterable[Target], deadline_seconds: float
    ) -> Mapping[str, PageReading]: ...
    def close(self) -> None: ...


def target_of(probe: Probe, model_names: Mapping[str, str]) -> Target:
    """How a probe stands among the targets; its model is called ours before it has answered."""
    return Target(
        name=probe.name,
        url=probe.url,
        origin=ORIGIN,
        model=model_names.get(probe.model, probe.model),
        served_model=probe.model,
        token_file=probe.token_file,
        token_environment=probe.token_environment,
        least_interval_seconds=period_seconds(probe),
    )


def period_seconds(probe: Probe) -> float:
    """How far two results of a probe may lie apart."""
    return max(probe.every_seconds, probe.timeout_seconds)


class Prober:
    """One probe. Its thread asks; whoever looks takes what there is, without waiting."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.rests = 0
        """Times a day's bound was reached."""
        self.bound: str | None = None
        """The bound that it rests for; None: it does not."""
        self._target = target_of(probe, {})
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._fresh: PageReading | None = None
        self._told_seconds: float | None = None
        self._counts_parts = False

    def take(self) -> PageReading | None:
        """What is new since it was last taken, if anything. The first call begins to ask."""
        now = time.monotonic()
        if self._told_seconds is None:
            self._told_seconds = now
            name = f"probe-{self.probe.name}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        with self._guard:
            fresh, self._fresh = self._fresh, None
        since = now - self._told_seconds
        if fresh is None and since > OVERDUE_PERIODS * period_seconds(self.probe):
            text = f"probe `{self.probe.name}` has asked nothing for {since:.0f} s: its request"
            failure = Failure("timeout", f"{text} hangs, perhaps looking up a name")
            fresh = PageReading(self.probe.name, now, time.time(), since, None, failure)
        if fresh is not None:
            self._told_seconds = now
        return fresh

    def close(self) -> None:
        """Ask no more; a request under way is left to end."""
        self._stop.set()

    def _work(self) -> None:
        counts, budget = Counts(self.probe, time.time()), Budget(self.probe)
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            try:
                reading = self._turn(counts, budget)
            except Exception as error:  # noqa: BLE001 - a trace might show what nobody may see
                text = f"probe `{self.probe.name}` failed with {type(error).__name__}; report this"
                log.error("%s", text)
                failure = Failure("crashed", text)
                reading = PageReading(
                    self.probe.name, time.monotonic(), time.time(), 0.0, None, failure
                )
            with self._guard:
                self._fresh = reading
            # A request that took longer than the pace is not made up for.
            due = max(due + self.probe.every_seconds, time.monotonic())

    def _turn(self, counts: Counts, budget: Budget) -> PageReading:
        """Ask once, or rest."""
        began = time.monotonic()
        bound = budget.reached(time.time())
        if bound is not None:
            self.rests += bound != self.bound
            self.bound = bound
            most = f"{getattr(self.probe, bound):g}"
            text = f"its `{bound}` ({most}) would be exceeded; it rests until 00:00 UTC"
            return self._reading(began, Result(outcome=None, failure=Failure("disabled", text)))
        self.bound = None
        result = send(self.probe, self._target)
        counts.add(result, budget.charge(result))
        if result.outcome == "ok" and result.generated_tokens is None and not self._counts_parts:
            self._counts_parts = True
            told = "%s: the answer says no usage; its tokens are counted by parts of the stream"
            log.info(told, self.probe.name)
        return self._reading(began, result, counts.page())

    def _reading(self, began: float, result: Result, page: str | None = None) -> PageReading:
        now = time.monotonic()
        is_sent = result.outcome is not None
        said = Checkup(is_well=result.illness is None, is_answer=True, text=result.illness or "")
        return PageReading(
            self.probe.name,
            now,
            time.time(),
            now - began,
            page if is_sent else None,
            result.failure,
            len(page.encode()) if page is not None else 0,
            checkup=said if result.failure is None else None,
        )


class WithProbes:
    """Engines' pages, and beside them those of our own probes, which are there at once."""

    def __init__(self, engines: Pages, probes: Iterable[Probe]) -> None:
        self._engines = engines
        self._probers = tuple(Prober(probe) for probe in probes)

    def read_all(
        self, targets: Iterable[Target], deadline_seconds: float
    ) -> Mapping[str, PageReading]:
        """The engines' readings, and what is new of any probe, whether or not it was asked for."""
        ours = [prober.take() for prober in self._probers]
        engines = [target for target in targets if target.origin != ORIGIN]
        read = self._engines.read_all(engines, deadline_seconds)
        return {**read, **{reading.target: reading for reading in ours if reading is not None}}

    def limits_reached(self) -> dict[str, int]:
        """Bounds of all probes together: name -> times reached."""
        rests = sum(prober.rests for prober in self._probers)
        return {"probes": rests} if self._probers else {}

    def close(self) -> None:
        """Ask no more, and close the engines' reader; waits for nothing."""
        for prober in self._probers:
            prober.close()
        self._engines.close()
