"""How often a canary's verdict is wrong, and how often what is worse is found: CANARY.md's table.

Run as `python -m tests.bench.bench_canary [PAIRS]`; 10,000 pairs take about six minutes of a core.
"""

import random
import sys
from collections import Counter

from tests.canary_traffic import EQUAL, KINDS, Traffic, Worse, pair

from burnmeter.provision import canary
from burnmeter.provision.canary import FAIL, MARGINS, MEASURES, PASS, Plan, compare

PLAN = Plan(measures=MEASURES)
AT_MARGIN = {
    "ttft": Worse(slow=MARGINS["ttft"]),
    "errors": Worse(error=MARGINS["errors"]),
    "cost": Worse(cost_ratio=1 + MARGINS["cost"]),
}
FOUND = {"ttft": Worse(slow=0.1), "errors": Worse(error=0.02), "cost": Worse(cost_ratio=1.5)}


def verdicts(kind: Traffic, worse: Worse, pairs: int) -> Counter[str]:
    """How often each was given, together and by measure."""
    rng, found = random.Random(42), Counter[str]()
    terms = {name: PLAN.terms(name, MARGINS[name]) for name in MEASURES}
    for _ in range(pairs):
        slices = pair(rng, kind, worse)
        by_measure = {name: compare(slices[name], terms[name]).verdict for name in MEASURES}
        found[canary.overall(list(by_measure.values()))] += 1
        found.update(f"{name} {verdict}" for name, verdict in by_measure.items())
    return found


def main(pairs: int) -> None:
    """One row a kind of traffic, in percent."""
    for name, kind in KINDS.items():
        cells = [verdicts(kind, EQUAL, pairs)[FAIL]]
        for measure, worse in AT_MARGIN.items():
            cells.append(verdicts(kind, worse, pairs)[f"{measure} {PASS}"])
        for measure, worse in FOUND.items():
            cells.append(verdicts(kind, worse, pairs)[f"{measure} {FAIL}"])
        print(f"| {name} | {' | '.join(f'{100 * cell / pairs:.1f} %' for cell in cells)} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
