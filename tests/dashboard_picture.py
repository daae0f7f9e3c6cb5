"""Draws panels of our dashboards from what a real Prometheus answers, for the README.

Not a test, and not Grafana: the same queries, units and words, drawn by matplotlib. It takes
seven minutes, because it waits for the simulated story to come to pass.
"""

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from burnmeter.provision.dashboard_files import Panel, Query, plans
from tests import promql, watched_node
from tests.watched_node import Asked

PICTURE: Final = Path(__file__).resolve().parent.parent / "agent" / "pictures" / "dashboards.png"
SECONDS: Final = 420.0
STEP_SECONDS: Final = 2
SHOWN: Final = (
    ("burnmeter-fleet", "Burn of each model's worst objective"),
    ("burnmeter-model", "TTFT, median and 95 %, as the bounds of a bucket"),
    ("burnmeter-node", "Clocks held down"),
    ("burnmeter-money", "Dollars per million tokens"),
    ("burnmeter-node", "Power"),
    ("burnmeter-model", "Where a request's time goes"),
)
FILLED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("cluster", "namespace", "slo"), ".*"),
    "__rate_interval": "30s",
}
CHAT: Final = "llama-3.3-70b-instruct"
MARKS: Final = {"times": "×", "ratio": "", "seconds": " s", "watts": " W", "dollars": " $"}


def main() -> None:
    """Wait for the story, ask, draw."""
    with (
        tempfile.TemporaryDirectory() as folder,
        watched_node.watched(Path(folder), "{}\n", story=None, past="# EOF\n") as asked,
    ):
        time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
        figure = Figure(figsize=(13, 8), layout="constrained", facecolor="#111217")
        panels = [(uid, title, _panel(uid, title)) for uid, title in SHOWN]
        for place, (uid, title, panel) in enumerate(panels, 1):
            ax = figure.add_subplot(2, 3, place)
            _draw(ax, title, panel, asked, CHAT if uid == "burnmeter-model" else ".*")
        drawn = BytesIO()
        figure.savefig(drawn, format="png", dpi=75)
        # 128 colours suffice, in half the bytes.
        Image.open(drawn).convert("RGB").quantize(128).save(PICTURE, optimize=True)


def _panel(uid: str, title: str) -> Panel:
    (found,) = (
        p
        for plan in plans()
        if plan.uid == uid
        for p in plan.panels
        if p.title == title and p.kind != "stat"
    )
    return found


def _draw(ax: Axes, title: str, panel: Panel, asked: Asked, model: str) -> None:
    ax.set_facecolor("#181b1f")
    ax.set_title(title, color="#d8d9da", fontsize=10, loc="left")
    found = [one for query in panel.queries for one in _series(query, asked, model)]
    if panel.kind == "stack":
        times = [[at for at, _ in points] for _, points in found]
        values = [[value for _, value in points] for _, points in found]
        ax.stackplot(times[0], values, labels=[name for name, _ in found], alpha=0.7)
    else:
        for name, points in found:
            ax.plot([at for at, _ in points], [value for _, value in points], label=name, lw=1.2)
    ax.tick_params(colors="#9fa2a6", labelsize=7)
    ax.xaxis.set_major_formatter(FuncFormatter(_clock))
    mark = MARKS.get(panel.unit, "")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{mark}"))
    ax.grid(color="#2c3235", lw=0.5)
    for spine in ax.spines.values():
        spine.set_color("#2c3235")
    if len(found) <= 8:
        ax.legend(fontsize=6, labelcolor="#d8d9da", facecolor="#181b1f", edgecolor="#2c3235")


def _series(
    query: Query, asked: Asked, model: str
) -> Sequence[tuple[str, list[tuple[float, float]]]]:
    now = int(time.time())
    (node,) = asked.get("label/instance/values", match="burnmeter_build_info")
    expr = promql.filled(query.expr, {**FILLED, "model": model, "instance": node})
    begin = {"start": str(now - int(SECONDS)), "end": str(now), "step": str(STEP_SECONDS)}
    rows: list[Any] = asked.get("query_range", query=expr, **begin)["result"]
    return [(_legend(query.legend, row["metric"]), _points(row["values"])) for row in rows]


def _points(values: Sequence[Sequence[Any]]) -> list[tuple[float, float]]:
    return [(float(at), float(value)) for at, value in values]


def _legend(text: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def _clock(at: float, _: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M")


if __name__ == "__main__":
    main()
