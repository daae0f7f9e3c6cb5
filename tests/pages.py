"""The engines' pages that tests read, and what normalise makes of one, small enough to review."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnmeter.dialects import load_all
from burnmeter.model import EnginePage, Histogram, Key
from burnmeter.normalise import normalise
from burnmeter.page import Page, read_page
from burnmeter.planning import Plan, plan

ENGINES = Path(__file__).parent / "fixtures" / "engines"
RECORDED = sorted(ENGINES.glob("*/*.prom"))
HISTORY = sorted(ENGINES.glob("*/history/*.prom"))
LOOKALIKES = sorted(ENGINES.glob("*/lookalikes/*.prom"))


def name(path: Path) -> str:
    """A page's id in a test."""
    return str(path.relative_to(ENGINES).with_suffix(""))


def engine_of(path: Path) -> str:
    """The folder says whose page it is."""
    return path.relative_to(ENGINES).parts[0]


def expected_of(path: Path) -> Path:
    """Where stands what normalise is to make of a page."""
    return path.with_name(f"{path.stem}.expected.yaml")


def text_of(engine: str, page: str) -> str:
    """The text of one page: `vllm`, `history/0.13`."""
    return (ENGINES / engine / f"{page}.prom").read_text("utf-8")


def planned(text: str, engine: str | None = None) -> tuple[Page, Plan]:
    """A page's text, read and understood."""
    page = read_page(text)
    return page, plan(page, load_all(), engine=engine)


def engine_page(text: str, engine: str | None = None) -> EnginePage:
    """A page's text in our words."""
    return normalise(*planned(text, engine))


def shown(key: Key) -> str:
    """`tokens_total{kind=prompt,model=tiny}`."""
    return f"{key.measure}{{{','.join(f'{label}={value}' for label, value in key.labels)}}}"


def summary(page: EnginePage) -> dict[str, Any]:
    """Counters and gauges exact, one number a part; histograms as total, sum and buckets."""
    return {
        "engine": page.engine,
        "role": page.role,
        "vantage": page.vantage,
        "started_timestamp_seconds": page.started_timestamp_seconds,
        "counters": _sorted({key: _one(list(p.values())) for key, p in page.counters.items()}),
        "gauges": _sorted(page.gauges),
        "histograms": _sorted(
            {
                key: _one([_ladder(h) for h in parts.values()])
                for key, parts in page.histograms.items()
            }
        ),
        "not_available": dict(sorted(page.not_available.items())),
        "unknown_families": list(page.unknown_families),
    }


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _ladder(histogram: Histogram) -> dict[str, Any]:
    return {
        "total": histogram.total,
        "sum": histogram.sum,
        "buckets": len(histogram.bounds) + 1,
        "last_bound": histogram.bounds[-1] if histogram.bounds else None,
    }


def _sorted(values: Mapping[Key, Any]) -> dict[str, Any]:
    return {shown(key): values[key] for key in sorted(values)}
