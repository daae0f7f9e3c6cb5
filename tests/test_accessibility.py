"""The live page by axe-core: no rule of it is broken, in any state, theme or width.

The page's policy lets no foreign script in, and is not weakened for this: the text of axe is
evaluated by the browser's debugger, which no policy binds.
"""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import parts, snapshots
from tests.browsing import Agent, Visit, chromium

pytestmark = pytest.mark.browser

OFF: Final = {
    "color-contrast-enhanced": "7:1 is level AAA; the page keeps to AA, 4.5:1",
}
"""Rules of axe that the page does not keep, and why. All others are on: those that are off by
default, best practices and experiments, too."""
UNDECIDED: Final = {
    "color-contrast": "of a text on a pattern; tests/test_browser.py measures on the plain ground",
    "hidden-content": "it asks for a look at whatever is hidden; folds are opened here",
}
"""Rules that may end without a verdict."""
RUN = """(off) => axe.run(document, {
  resultTypes: ["violations", "incomplete"],
  rules: Object.fromEntries(
    axe.getRules().map(({ruleId: id}) => [id, {enabled: !off.includes(id)}])),
})"""
OPEN_ALL = "document.querySelectorAll('details').forEach(details => details.open = true)"
SETTLED = "#when:text('ago')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def axe() -> str:
    return parts.axe()


@pytest.fixture
def agent() -> Iterator[Agent]:
    made = Agent()
    with made.server:
        yield made


def broken(page: Page, axe: str, off: list[str] | None = None) -> list[str]:
    """What axe says against the page: rule, why, and the element."""
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate(RUN, [*OFF, *(off or [])])
    undecided = [one for one in found["incomplete"] if one["id"] not in UNDECIDED]
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary']}"
        for one in (*found["violations"], *undecided)
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("width", [380, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["good", "burning", "not_measured"])
def test_axe_finds_nothing_in_any_state_theme_and_width(
    browser: Browser, agent: Agent, axe: str, name: str, scheme: str, width: int
) -> None:
    agent.shows(snapshots.ALL[name]())
    size = {"width": width, "height": 900}

    with Visit(browser, agent.address, color_scheme=scheme, viewport=size) as visit:
        visit.page.wait_for_selector(SETTLED)

        assert broken(visit.page, axe) == []
        visit.page.evaluate(OPEN_ALL)
        assert broken(visit.page, axe) == []
        assert visit.complaints == []


@pytest.mark.parametrize("name", ["empty", "simulated", "hostile"])
def test_axe_finds_nothing_on_an_odd_node(
    browser: Browser, agent: Agent, axe: str, name: str
) -> None:
    agent.shows(snapshots.ALL[name]())

    with Visit(browser, agent.address) as visit:
        visit.page.evaluate(OPEN_ALL)
        assert broken(visit.page, axe) == []


def test_axe_finds_nothing_while_the_agent_is_lost_or_the_reader_pauses(
    browser: Browser, agent: Agent, axe: str
) -> None:
    agent.shows(snapshots.good())

    with Visit(browser, agent.address) as visit:
        visit.page.route("**/*", lambda route: route.abort())
        expect(visit.page.get_by_role("alert")).to_contain_text("Connection lost since")
        assert broken(visit.page, axe) == []

        visit.page.get_by_role("button", name="Pause").click()
        assert broken(visit.page, axe) == []


def test_axe_finds_nothing_before_the_first_reading_but_that_it_will_go(
    browser: Browser, agent: Agent, axe: str
) -> None:
    refreshes = ["meta-refresh", "meta-refresh-no-exceptions"]

    with Visit(browser, agent.address) as visit:
        assert broken(visit.page, axe, refreshes) == []


def test_axe_would_find_something(browser: Browser, agent: Agent, axe: str) -> None:
    agent.shows(snapshots.good())

    with Visit(browser, agent.address) as visit:
        visit.page.evaluate("document.querySelector('h1').remove()")
        visit.page.evaluate("document.querySelector('svg[role=img]').removeAttribute('aria-label')")

        rules = {text.partition(":")[0] for text in broken(visit.page, axe)}

    assert {"page-has-heading-one", "svg-img-alt"} <= rules
