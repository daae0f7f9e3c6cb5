"""Adding an engine takes three files and no Python: here they are, for an engine that nobody makes.

The files stand in fixtures/toy; what is done with them is what any engine's files get.
"""

import yaml

from burnmeter.dialects import load_all, parse
from burnmeter.dialects.schema import Dialect
from burnmeter.normalise import normalise
from burnmeter.page import parse_series, read_page
from burnmeter.pipeline import Settings
from burnmeter.planning import plan
from tests import pages
from tests.fakes import objective, terms
from tests.parts import ROOT
from tests.test_pipeline import A, Node

TOY = ROOT / "tests/fixtures/toy"
TEXT = (TOY / "1.0-after-traffic.prom").read_text("utf-8")


def toy() -> Dialect:
    return parse((TOY / "toyserve.yaml").read_text("utf-8"), "toyserve.yaml")


def everybody() -> dict[str, Dialect]:
    """All engines that ship, and the new one."""
    return {**load_all(), "toyserve": toy()}


def test_its_page_is_told_from_all_others_and_theirs_from_it() -> None:
    assert plan(read_page(TEXT), everybody()).engine == "toyserve"
    for path in [*pages.RECORDED, *pages.HISTORY]:
        page = read_page(path.read_text("utf-8"))
        assert plan(page, everybody()).engine == pages.engine_of(path)


def test_what_comes_out_is_what_the_third_file_says() -> None:
    page = read_page(TEXT)
    expected = yaml.safe_load((TOY / "1.0-after-traffic.expected.yaml").read_text("utf-8"))

    assert pages.summary(normalise(page, plan(page, everybody()))) == expected


def test_the_world_is_closed_both_ways() -> None:
    page = read_page(TEXT)
    names = {parse_series(raw).name for raw in page.series} | page.types.keys()

    assert plan(page, everybody()).unknown_families == ()
    assert toy().wanted - names == set()


def test_its_numbers_reach_models_and_objectives() -> None:
    node = Node(objective("errors", 0.9), objective("ttft", threshold_seconds=0.1))
    node.settings = Settings(
        terms=terms(dialects=everybody()),
        objectives=node.settings.objectives,
        recent_seconds=60.0,
    )
    before = TEXT.replace('code="200"} 40', 'code="200"} 10')

    node.tick({A: read_page(before)})
    state = node.tick({A: read_page(TEXT)})

    assert node.total("requests_total", outcome="ok", model="toy-1b") == 30.0
    (ledger,) = [kept.ledger for (name, _), kept in state.kept.items() if name == "errors"]
    assert (ledger[-1].valid, ledger[-1].good_lower) == (30.0, 30.0)
