"""Argo's and Flagger's objects ask what the command asks, and no data never promotes."""

import json
import math
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from burnmeter.provision import canary
from burnmeter.provision.canary import FAIL, INCONCLUSIVE, MARGINS, MEASURES, PASS, Plan
from burnmeter.provision.canary_objects import FORMATS, Order, argo, flagger, written
from burnmeter.provision.canary_queries import Sides, Window, fetch
from burnmeter.provision.prometheus_api import Prometheus
from tests import canary_history
from tests.canary_history import UNTIL_SECONDS
from tests.parts import ROOT

DOCUMENT = ROOT / "agent/burnmeter/provision/CANARY.md"
EXAMPLE = Order(
    address="http://prometheus.monitoring:9090",
    sides=Sides('model="chat",target="stable"', 'model="chat",target="new"'),
    plan=Plan(measures=("ttft", "cost")),
    margins=MARGINS,
    thresholds_seconds={"ttft": 0.5},
    witness="engine",
)
OF_HISTORY = Order(
    address="http://127.0.0.1:9090",
    sides=Sides('target="equal-base"', 'target="equal-cand"'),
    plan=Plan(measures=MEASURES),
    margins=MARGINS,
    thresholds_seconds={"ttft": 0.5, "tpot": 0.5},
    witness="engine",
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with canary_history.served(tmp_path_factory.mktemp("canary")) as address:
        yield address


def filled(query: str, opening: str, arguments: dict[str, str]) -> str:
    """With arguments in place of placeholders, as Argo and Flagger replace them."""
    for name, value in arguments.items():
        query = query.replace(f"{{{{{opening}{name}}}}}", value)
        query = query.replace(f"{{{{ {opening}{name} }}}}", value)
    assert "{{" not in query
    return query


def asked(url: str, query: str) -> list[float]:
    """Values of a vector, in its order."""
    found = Prometheus(url).instant(query, UNTIL_SECONDS)
    return [one.points[0][1] for one in found]


def phase(metric: dict[str, Any], result: list[float]) -> str:
    """What Argo makes of a measurement: failed, successful, or neither, which is inconclusive."""
    conditions = [
        bool(eval(metric[name].replace("&&", "and"), {"len": len, "result": result}))
        for name in ("failureCondition", "successCondition")
    ]
    return FAIL if conditions[0] else PASS if conditions[1] else INCONCLUSIVE


@pytest.mark.parametrize("pair", ["equal", "worse", "rough", "quiet", "nobody"])
def test_argo_comes_to_the_programs_verdict_on_each_measure(url: str, pair: str) -> None:
    template = yaml.safe_load(argo(OF_HISTORY))
    arguments = {"baseline": f"{pair}-base", "candidate": f"{pair}-cand"}
    window = Window(
        prometheus=Prometheus(url), until_seconds=UNTIL_SECONDS, seconds=1800.0, slice_seconds=60.0
    )
    sides = Sides(*(f'target="{value}"' for value in arguments.values()))

    for metric in template["spec"]["metrics"]:
        measure = metric["name"]
        query = filled(metric["provider"]["prometheus"]["query"], "args.", arguments)
        found = fetch(window, measure, sides, 0.5)
        ours = canary.compare(found.slices, OF_HISTORY.plan.terms(measure, MARGINS[measure]))
        assert phase(metric, asked(url, query)) == ours.verdict


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ([], INCONCLUSIVE),
        ([-math.inf, math.inf], INCONCLUSIVE),
        ([0.001, math.inf], FAIL),
        ([-math.inf, 0.01], PASS),
        ([0.001, 0.01], PASS),
        ([-0.001, 0.06], INCONCLUSIVE),
        ([math.nan, math.nan], INCONCLUSIVE),
    ],
)
def test_argo_takes_neither_for_inconclusive(result: list[float], expected: str) -> None:
    (metric, *_) = yaml.safe_load(argo(EXAMPLE))["spec"]["metrics"]

    assert phase(metric, result) == expected


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("pair", ["equal", "worse", "nobody"])
def test_flagger_gets_one_number_and_goes_on_only_with_a_pass(
    url: str, pair: str, measure: str
) -> None:
    documents = list(yaml.safe_load_all(flagger(OF_HISTORY)))
    template = next(one for one in documents if one["metadata"]["name"].endswith(f"-{measure}"))
    arguments = {"bound": "max", "baseline": f"{pair}-base", "candidate": f"{pair}-cand"}

    # Flagger sends the query in one line, by GET.
    query = " ".join(filled(template["spec"]["query"], "variables.", arguments).split())
    fields = urlencode({"query": query, "time": UNTIL_SECONDS})
    with urllib.request.urlopen(f"{url}/api/v1/query?{fields}", timeout=5) as answer:
        (found,) = json.load(answer)["data"]["result"]
    value = float(found["value"][1])

    assert (value > MARGINS[measure]) == (pair != "equal"), "above thresholdRange.max it halts"
    assert not math.isnan(value), "which is above nothing: Flagger would go on"


def test_flaggers_snippet_gives_each_template_its_variables() -> None:
    head = flagger(EXAMPLE).split("---\n")[0]
    snippet = head.partition("# In the Canary:\n")[2].replace("#   ", "")

    analysis = yaml.safe_load(snippet)["analysis"]

    assert [metric["templateRef"]["name"] for metric in analysis["metrics"]] == [
        "burnmeter-canary-ttft",
        "burnmeter-canary-cost",
    ]
    assert analysis["metrics"][1]["thresholdRange"] == {"max": 0.1}
    assert analysis["metrics"][0]["templateVariables"] == {
        "bound": "max",
        "baseline": "stable",
        "candidate": "new",
    }


def test_several_looks_are_as_many_measurements_of_which_one_may_pass() -> None:
    plan = Plan(measures=("cost",), looks=3)
    order = Order(
        address="http://p",
        sides=EXAMPLE.sides,
        plan=plan,
        margins=MARGINS,
        thresholds_seconds={},
        witness="engine",
    )

    (metric,) = yaml.safe_load(argo(order))["spec"]["metrics"]

    assert (metric["count"], metric["interval"], metric["inconclusiveLimit"]) == (3, "30m", 2)


# --- what is written down ------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_the_document_shows_these_objects(format_: str, accept: bool) -> None:
    text = DOCUMENT.read_text("utf-8")
    start, end = f"<!-- {format_}: written by a test -->\n", f"<!-- {format_}: end -->\n"
    head, rest = text.split(start)
    old, tail = rest.split(end)
    now = f"\n{indented(cut(written(EXAMPLE, format_)))}\n"

    if accept:
        DOCUMENT.write_text(f"{head}{start}{now}{end}{tail}", "utf-8")
        old = now
    assert old == now, "if this is meant: pytest --accept"


def cut(text: str) -> str:
    """Without the queries, which are pages long."""
    kept: list[str] = []
    depth: int | None = None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if depth is not None and indent > depth:
            continue
        depth = indent if line.strip().startswith("query: |") else None
        kept += [line] if depth is None else [line, " " * (indent + 2) + "..."]
    return "\n".join(kept) + "\n"


def indented(text: str) -> str:
    return "".join(f"    {line}".rstrip() + "\n" for line in text.splitlines())
