"""How long reading one page takes: prometheus_client's parser against ours, cold and warm.

Run as `python tests/bench/bench_page.py [PAGE]`. Cold: nothing is remembered. Warm: the target's
page was read before and only its numbers have changed. Both do the whole page, and the script
refuses to time readers that disagree on any value.
"""

import re
import statistics
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from burnmeter.page import PageMemory, read_page

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "engines"
ROUNDS = 100


def reference(text: str) -> list[float]:
    families = text_string_to_metric_families(text)
    return [float(sample.value) for family in families for sample in family.samples]


def other_numbers(text: str) -> str:
    """The same series, with one more digit before each number."""
    return re.sub(r"^([^#\n].*) (\d\S*)$", r"\1 1\2", text, flags=re.MULTILINE)


def median_milliseconds(read: Callable[[str], object], texts: tuple[str, str]) -> float:
    """Median over ROUNDS reads that see the two texts in turn, as a scrape sees new numbers."""
    seconds = []
    for _, text in zip(range(ROUNDS), cycle(texts), strict=False):
        start = time.perf_counter()
        read(text)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1000


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES / "vllm/0.32.0-bench-after.prom"
    text = path.read_text()
    texts = (text, other_numbers(text))
    memory = PageMemory()
    for each in texts * 2:
        ours = (read_page(each).values, read_page(each, memory=memory).values)
        if repr(ours) != repr((reference(each),) * 2):  # repr: NaN is not equal to itself
            sys.exit(f"{path}: the readers disagree")

    theirs = median_milliseconds(reference, texts)
    cold = median_milliseconds(read_page, texts)
    warm = median_milliseconds(lambda each: read_page(each, memory=memory), texts)
    print(f"{path.name}: {len(text)} characters, {len(memory.series)} series, medians of {ROUNDS}")
    print(f"prometheus_client  {theirs:8.3f} ms")
    print(f"ours, cold         {cold:8.3f} ms   {theirs / cold:6.1f} times as fast")
    print(f"ours, warm         {warm:8.3f} ms   {theirs / warm:6.1f} times as fast")


if __name__ == "__main__":
    main()
