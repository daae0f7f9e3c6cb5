"""The README's table of engines, from the dialects and the pages that they were held to."""

import re

from burnmeter.dialects import Dialect, load_all
from tests import pages

COLUMNS = {
    "TTFT": "ttft_seconds",
    "ITL": "itl_seconds",
    "TPOT": "tpot_seconds",
    "duration": "duration_seconds",
    "queue time": "queue_seconds",
    "tokens": "tokens_total",
    "errors": "requests_total",
    "running": "running_requests",
    "KV cache": "kv_cache_used_ratio",
}
NEWER = re.compile(r"(a )?(version|build)\b")
"""Of `only_with`: it takes a newer engine, not a switch."""
BEGIN, END = "<!-- engines: written by a test -->", "<!-- engines: end -->"


def table() -> str:
    """A row per dialect, by title."""
    rows = [["engine", "versions", "seen from", "pages", *COLUMNS]]
    rows += [_row(dialect) for dialect in foreign()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def foreign() -> list[Dialect]:
    """All dialects but our own probe's, by title."""
    found = [dialect for dialect in load_all().values() if dialect.vantage != "probe"]
    return sorted(found, key=lambda dialect: dialect.title.lower())


def _row(dialect: Dialect) -> list[str]:
    cells = [_cell(dialect, measure) for measure in COLUMNS.values()]
    return [dialect.title, dialect.versions, dialect.vantage, _evidence(dialect), *cells]


def _evidence(dialect: Dialect) -> str:
    recorded = [path for path in pages.RECORDED if pages.engine_of(path) == dialect.engine]
    return "recorded" if recorded else "written"


def _cell(dialect: Dialect, name: str) -> str:
    """yes; mean: no buckets; older: no more; opt-in; –: not available; of errors also failures: no
    success is counted, so no rate; at most: an upper bound."""
    measure = dialect.measures.get(name)
    if measure is None:
        return "–"
    rules = measure.rules
    if name == "requests_total":
        if not any(("outcome", "ok") in rule.labels for rule in rules):
            return "failures"
        rules = tuple(r for r in rules if ("outcome", "error") in r.labels)
        if not any(("counted_by", "estimate") not in rule.labels for rule in rules):
            return "at most" if rules else "–"
    if name == "tokens_total":
        rules = tuple(rule for rule in rules if ("kind", "generated") in rule.labels)
    if not rules:
        return "–"
    if measure.only_with is not None and "before" in measure.only_with:
        return "older"
    if measure.only_with is not None and not NEWER.match(measure.only_with):
        return "opt-in"
    return "yes" if any(rule.names for rule in rules) else "mean"


def placed(readme: str) -> str:
    """The README with the table as it is now."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"
