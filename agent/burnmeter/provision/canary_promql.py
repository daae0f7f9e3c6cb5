"""The whole of canary.py as one instant query, for those who can ask nothing but a query.

It gives the two bounds of the difference, ascending, whatever there is: a bound that cannot be
given is -Inf or +Inf, so that no answer is ever empty or NaN, and none passes by being absent. Long
and not for reading; a test holds its answers to those of canary.py.
"""

from dataclasses import dataclass

from burnmeter.provision import canary
from burnmeter.provision.canary import Terms
from burnmeter.provision.canary_queries import Texts
from burnmeter.provision.conventions import duration, number


@dataclass(frozen=True, slots=True)
class Asked:
    """Both sides of one measure over one slice, in a window."""

    baseline: Texts
    candidate: Texts
    window_seconds: float
    by: Terms

    @property
    def worse_first(self) -> tuple[Texts, Texts]:
        """What is subtracted from what; where good events are counted, the other way round."""
        both = (self.candidate, self.baseline)
        return (both[1], both[0]) if self.candidate.is_good else both

    @property
    def both(self) -> str:
        """Only slices in which both sides had events."""
        return f"({self.baseline.whole} > 0 and {self.candidate.whole} > 0)"

    def slices(self, *, fewer: int = 0) -> str:
        """The last whole slices; a millisecond less, for some versions count both ends."""
        milliseconds = round((self.window_seconds - fewer * self.by.slice_seconds) * 1000) - 1
        return f"[{milliseconds}ms:{duration(self.by.slice_seconds)}]"

    def over(self, function: str, text: str) -> str:
        """A function of a text's values in all slices, as one number for the whole query."""
        return f"{function}(({text} and {self.both}){self.slices()} @ end())"

    def total(self, text: str) -> str:
        """Its sum over all slices."""
        return self.over("sum_over_time", text)

    def ratio(self, side: Texts) -> str:
        """A side's ratio of sums."""
        return f"{self.total(side.part)} / {self.total(side.whole)}"


def bounds_query(asked: Asked) -> str:
    """Lower and upper bound, ascending."""
    by = asked.by
    squared = _squared_error(asked)
    factors = _labelled(f"vector(-{number(by.t_fail)})", f"vector({number(by.t_pass)})")
    if by.is_share:
        difference = _difference(asked)
        unseen = (
            f"clamp_min({number(by.margin)} - ({difference}), 0)"
            f" / {asked.total(asked.candidate.whole)}"
        )
        squared = f"({_labelled('vector(0)', 'vector(1)')} * scalar({unseen})) + scalar({squared})"
        bounds = f"{factors}\n* sqrt({squared})\n+ scalar({difference})"
    else:
        first, second = asked.worse_first
        middle = f"ln({asked.ratio(first)} / ({asked.ratio(second)}))"
        bounds = f"exp({factors} * scalar(sqrt({squared}))\n+ scalar({middle})) - 1"
    known = f"(({bounds}) >= -Inf)\nand on (bound) {_enough(asked)}"
    return f"sort(\n({known})\nor {_labelled('vector(-Inf)', 'vector(Inf)')}\n)"


def _labelled(lower: str, upper: str) -> str:
    """A vector of two, told apart by a label."""
    return (
        f'(label_replace({lower}, "bound", "lower", "", "")'
        f' or label_replace({upper}, "bound", "upper", "", ""))'
    )


def _difference(asked: Asked) -> str:
    first, second = asked.worse_first
    return f"{asked.ratio(first)} - {asked.ratio(second)}"


def _enough(asked: Asked) -> str:
    """Which of the bounds can be given."""
    by = asked.by
    slices = f"{asked.over('count_over_time', asked.baseline.whole)} >= {by.least_slices}"
    if not by.is_share:
        return f"({_labelled(slices, slices)})"
    parts = [asked.total(side.part) for side in (asked.baseline, asked.candidate)]
    wholes = [asked.total(side.whole) for side in (asked.baseline, asked.candidate)]
    bad = " + ".join(parts)
    if asked.baseline.is_good:
        bad = f"{' + '.join(wholes)} - {' - '.join(parts)}"
    least = number(by.least_events)
    return _labelled(
        f"({bad} >= {number(canary.LEAST_BAD)} and {slices})",
        f"({wholes[0]} >= {least} and {wholes[1]} >= {least} and {slices})",
    )


def _squared_error(asked: Asked) -> str:
    """As canary.py has it: by residuals, widened where neighbours are alike."""
    residual = _residual(asked)
    variance = f"stdvar_over_time(({residual}){asked.slices()})"
    # A step between two neighbours, in every slice but the first; none where either is missing.
    slice_seconds = asked.by.slice_seconds
    pair = f"[{round(2 * slice_seconds * 1000) - 1}ms:{duration(slice_seconds)}]"
    steps = f"avg_over_time((idelta(({residual}){pair}) ^ 2){asked.slices(fewer=1)})"
    count = asked.over("count_over_time", asked.baseline.whole)
    ratio = f"{steps} / 2 / clamp_min({variance}, {canary.TINY:g}) - 1 / {count}"
    independence = f"clamp({ratio}, {number(canary.LEAST_INDEPENDENCE)}, 1)"
    return f"{variance} / ({count} - 1) * (2 / {independence} - 1)"


def _residual(asked: Asked) -> str:
    """What each slice adds to the difference, in first order."""
    sides = []
    for side in asked.worse_first:
        mean = asked.over("avg_over_time", side.whole)
        if asked.by.is_share:
            sides.append(f"({side.part} - {asked.ratio(side)} * {side.whole}) / {mean}")
        else:
            part = asked.over("avg_over_time", side.part)
            sides.append(f"({side.part} / {part} - {side.whole} / {mean})")
    return f"({sides[0]} - {sides[1]}) and {asked.both}"
