"""No dead panel: a node that goes through an incident, a real Prometheus with our rules, and every
query of every panel, variable and annotation.

What was a week before is written into Prometheus, as a week cannot be waited for.
"""

import math
import time
from collections.abc import Iterator

import pytest

from burnmeter.provision.dashboard_files import Plan, plans
from tests import promql, watched_node
from tests.watched_node import Asked

pytestmark = pytest.mark.timeout(300)

WATCHED_SECONDS = 60.0
WEEK_SECONDS = 7 * 86400.0
STORY = """
period_seconds: 100000
scenes:
  - {at_seconds: 5, seconds: 60, kind: incident, engine: chat, slowdown_ratio: 5}
  - {at_seconds: 8, seconds: 900, kind: errors, engine: agents, error_ratio: 0.5}
  - {at_seconds: 20, kind: xid, gpu: 5, xid: 63}
  - {at_seconds: 30, seconds: 8, kind: restart, engine: code}
"""
OF_NOW = ("stat", "table", "bars")
"""Kinds of panels that show what is; others show what was."""
MODEL = "qwen3-8b"
"""The model that fails, and that two engines serve, as two versions of it would."""
CONFIG = f"""
models: {{qwen2.5-coder-7b-instruct: {MODEL}}}
"""


def a_week_before() -> str:
    """What the rules had recorded then, in OpenMetrics."""
    lines = []
    begin = time.time() - WEEK_SECONDS - 300
    for name, labels in (
        ("model:burnmeter_cost_dollars:rate5m", 'state="busy"'),
        ("model:burnmeter_tokens:rate5m", 'kind="generated"'),
    ):
        lines.append(f"# TYPE {name} gauge")
        where = f'{{cluster="east",model="{MODEL}",{labels}}}'
        lines += [f"{name}{where} 0.01 {begin + step * 30:.3f}" for step in range(40)]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("dashboards")
    story = folder / "story.yaml"
    story.write_text(STORY, "utf-8")
    with watched_node.watched(folder, CONFIG, story=story, past=a_week_before()) as found:
        time.sleep(WATCHED_SECONDS)
        yield found


def chosen(asked: Asked, plan: Plan) -> dict[str, str]:
    """A value for each variable: everything where that can be chosen, else one that there is."""
    found = {"__rate_interval": "30s"}
    for variable in plan.variables:
        if variable.text:
            found[variable.name] = variable.text
            continue
        there = asked.labels(variable, found)
        assert there or variable.optional, f"{plan.uid}: nothing to choose under {variable.label}"
        likely = MODEL if MODEL in there else there[0] if there else ""
        found[variable.name] = variable.all or likely
    return found


@pytest.mark.parametrize("plan", plans(), ids=lambda plan: plan.uid)
def test_every_query_of_a_dashboard_has_an_answer(plan: Plan, asked: Asked) -> None:
    filled = chosen(asked, plan)
    now = [(panel, query) for panel in plan.panels for query in panel.queries]
    queries = {
        f"{panel.title}, {query.legend or query.name}": (panel.kind in OF_NOW, query.expr)
        for panel, query in now
        if not query.optional
    }
    queries |= {f"annotation {one.title}": (False, one.expr) for one in plan.annotations}

    dead = []
    for title, (is_of_now, expr) in queries.items():
        asked_for = promql.filled(expr, filled)
        found = asked.values(asked_for) if is_of_now else asked.over(asked_for, WATCHED_SECONDS)
        if all(map(math.isnan, found)):
            dead.append(title)
    assert dead == []
