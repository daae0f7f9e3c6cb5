"""One GPU in the child: which questions it is asked now, and what it is known not to answer.

It knows the order of questions and how their errors count; the questions are in modules of their
own. What can wait is asked when it is due and the budget allows, and its last answer stands until
then. Surprising: errors are the GPU's failure only if nothing at all was answered.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import pynvml as nv

from burnmeter.sources.nvml.answers import (
    NO_ANSWER,
    NOT_THERE,
    START_ANEW,
    Answer,
    Handle,
    Question,
)
from burnmeter.sources.nvml.budget import Budget, Pace
from burnmeter.sources.nvml.fast import SAMPLED, Fast
from burnmeter.sources.nvml.gpm import RATES, Gpm
from burnmeter.sources.nvml.mig import Mig
from burnmeter.sources.nvml.processes import Processes, Sharing
from burnmeter.sources.nvml.questions import PCIE, PLAIN, groups
from burnmeter.sources.nvml.words import gpu_failure

AT_LEAST_SECONDS: Final = 300.0
"""However little time is left, a question that can wait is asked this often."""
SAMPLES: Final = "samples"


class Meter:
    """The driver's time: what it was spent on, how much is left, and what was put off."""

    def __init__(
        self,
        ratio: float,
        clock: Callable[[], float],
        at: Callable[[str], None],
        sample_seconds: float = 0.0,
        skipped: Collection[str] = (),
    ) -> None:
        self.budget, self._pace = Budget(ratio, clock()), Pace(ratio, clock())
        self.clock, self.at = clock, at
        self.sample_seconds = sample_seconds
        """Between two samples, if there is time."""
        self.skipped = skipped
        """Places at which readers before this one hung or died."""
        self.seconds: dict[str, float] = {}
        self.put_off = 0

    def timed(self, place: str, word: str, ask: Callable[[], Answer]) -> Answer:
        """Ask, and charge for it, also if it raises."""
        self.at(f"{place} {word}".strip())
        began = self.clock()
        try:
            return ask()
        finally:
            self.charge(word, self.clock() - began)

    def charge(self, word: str, seconds: float) -> None:
        """So long was the driver asked for this."""
        self.budget.spend(seconds)
        spend = self._pace.sampled if word == SAMPLES else self._pace.asked
        spend(seconds)
        self.seconds[word] = self.seconds.get(word, 0.0) + seconds

    def is_left(self) -> bool:
        """Whether what can wait may be asked; counts what may not."""
        self.budget.earn(self.clock())
        if not self.budget.is_left:
            self.put_off += 1
        return self.budget.is_left

    def may_sample(self) -> bool:
        """Whether fast samples may be taken; counts those that may not."""
        self._pace.earn(self.clock())
        if not self._pace.is_due:
            self.put_off += 1
        return self._pace.is_due


class Board:
    """One GPU, from its first sight to the child's end."""

    def __init__(self, uuid: str, name: str, architecture: int, meter: Meter) -> None:
        self.uuid, self.name, self.index = uuid, name, 0
        self._architecture, self._meter = architecture, meter
        self.lacks: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        """Nothing is known of what it lacks."""
        self._is_first = True
        self._mig, self._processes = Mig(), Processes()
        self._fast = Fast(self.name, self._architecture, self._meter.sample_seconds)
        # Last the GPM: under driver 535 what came after it was once seen to fail.
        last: list[Question] = [Sharing(self._processes), Gpm(self._mig), PCIE]
        self._questions: list[Question] = [*PLAIN, *groups(), *last]
        self._due_seconds: dict[str, float] = {}
        self._standing: dict[str, Answer] = {}

    def sample(self, handle: Handle) -> None:
        """One fast sample. A GPU that does not answer is found out by the next reading."""
        if f"gpu {self.index} {SAMPLES}" in self._meter.skipped:
            self._fast.lacks.update(SAMPLED)
            return
        self._meter.at(f"gpu {self.index} samples")
        began = self._meter.clock()
        try:
            self._fast.sample(handle, began)
        except nv.NVMLError:
            return
        finally:
            self._meter.charge(SAMPLES, self._meter.clock() - began)

    def fill(self, row: dict[str, Any], handle: Handle, *, with_processes: bool) -> None:
        """Put all answers into `row`. Raises NVMLError only where NVML must begin anew."""
        errors: list[nv.NVMLError] = []
        answers: list[Answer] = []
        has_answer = False
        was_on, is_first = self._mig.is_on, self._is_first
        for question in self._wanted(with_processes=with_processes):
            try:
                answer = self._ask(question, handle)
            except nv.NVMLError as error:
                if error.value in START_ANEW:
                    raise
                self._standing.pop(question.word, None)
                if error.value in NOT_THERE:
                    self.lacks.update(question.titles)
                    continue
                errors.append(error)
                if question.word == "procs":
                    row["processes"] = None
                if error.value in NO_ANSWER:
                    break
            else:
                has_answer = has_answer or answer.has_something
                if question.every_seconds > 0:
                    self._standing[question.word] = answer
                else:
                    answers.append(answer)
        if errors and (errors[-1].value in NO_ANSWER or not has_answer):
            row["failure"] = gpu_failure(errors[-1])
            return
        answers.append(self._fast.take(self.lacks))
        _merge(row, [*answers, *self._standing.values()])
        row["unsupported"] = self._unsupported(row)
        self._is_first = False
        if not is_first and self._mig.is_on != was_on:
            # Another division, other questions that it answers.
            self.lacks.clear()
            self._begin()

    def _wanted(self, *, with_processes: bool) -> Iterator[Question]:
        """What is to be asked now, in order; what comes later may depend on what came before."""
        processes = (self._processes,) if with_processes else ()
        for question in (self._mig, *processes, *self._questions):
            if f"gpu {self.index} {question.word}" in self._meter.skipped:
                self.lacks.update(question.titles)
                continue
            if all(title in self.lacks for title in question.titles):
                continue
            if question.every_seconds <= 0 or self._may_ask(question):
                yield question
            self._processes.uuids = self._mig.uuids

    def _may_ask(self, question: Question) -> bool:
        """Whether what can wait is due now, and there is time for it."""
        now = self._meter.clock()
        due = self._due_seconds.setdefault(question.word, now)
        if now < due:
            return False
        if now < due + AT_LEAST_SECONDS and not self._meter.is_left():
            return False
        self._due_seconds[question.word] = now + question.every_seconds
        return True

    def _ask(self, question: Question, handle: Handle) -> Answer:
        place = f"gpu {self.index}"
        answer = self._meter.timed(place, question.word, lambda: question.ask(handle, self.lacks))
        self.lacks.update(answer.unsupported)
        return answer

    def _unsupported(self, row: dict[str, Any]) -> list[str]:
        """What nobody gives. Where no counter has bytes the GPM has, but at its second reading."""
        given = {
            f"{name}{{{','.join(f'{k}={v}' for k, v in labels.items())}}}" if labels else name
            for kind in ("gauge", "meter", "grown")
            for name, labels, _ in row[kind]
        }
        if not self.lacks.issuperset(Gpm.titles):
            given |= {place.title for place in RATES.values()}
        return sorted((self.lacks | self._fast.lacks) - given - {"sm_ratios"})


def _merge(row: dict[str, Any], answers: list[Answer]) -> None:
    for kind in ("gauge", "meter", "grown"):
        row[kind] = [figure for answer in answers for figure in answer.figures[kind]]
    for answer in answers:
        row.update(answer.fields)
