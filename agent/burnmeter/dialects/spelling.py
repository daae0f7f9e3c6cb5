"""One engine's dialect under the names that a wrapper re-exports it by. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from burnmeter.dialects.schema import Dialect, Measure, Rule


def respelled(
    base: Dialect, spellings: Mapping[str, tuple[str, ...]], *, has_twins: bool
) -> Dialect:
    """A dialect whose names begin otherwise; what does not begin so is left out.

    `spellings`: beginning -> the ones it may have here, newest first. With twins a counter may also
    stand there without its `_total`, as Ray writes it twice.
    """

    def spelled(names: tuple[str, ...]) -> tuple[str, ...]:
        found = [
            new + name.removeprefix(old)
            for old, news in spellings.items()
            for new in news
            for name in names
            if name.startswith(old)
        ]
        pairs = [(n, n.removesuffix("_total")) if has_twins else (n,) for n in found]
        return tuple(dict.fromkeys(name for pair in pairs for name in pair))

    def rules(measure: Measure) -> tuple[Rule, ...]:
        changed = [
            replace(r, names=spelled(r.names), sum=spelled(r.sum), count=spelled(r.count))
            for r in measure.rules
        ]
        return tuple(rule for rule in changed if rule.names or (rule.sum and rule.count))

    measures = {name: replace(m, rules=rules(m)) for name, m in base.measures.items()}
    return replace(
        base,
        measures={name: measure for name, measure in measures.items() if measure.rules},
        ignored=spelled(base.ignored),
    )
