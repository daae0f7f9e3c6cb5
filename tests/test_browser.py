"""The live page in a real browser: it looks right, keeps itself current, and asks nobody else."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from burnmeter.export import web
from burnmeter.export.server import Server
from burnmeter.snapshot import Snapshot
from tests import parts, snapshots

pytestmark = pytest.mark.browser

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
WIDTHS = [380, 768, 1600]
VERDICT = "#verdict"

# Contrast as WCAG 2.2 computes it, of every text on the ground that is painted behind it.
FAINT_TEXTS = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const style = getComputedStyle(element);
      const colour = parse(style.backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    if (element.closest("noscript, svg, .sr")) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push(`${contrast.toFixed(2)} ${walker.currentNode.data.trim()}`);
  }
  return found;
}"""

# Words beyond the edge of what they stand in: a card cuts them off, so the page is no wider.
CUT_TEXTS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("noscript, svg, .sr, .scroll")) continue;
    if (element.closest(".stack thead, .skip")) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const edge = element.closest(".card, .tile, section, body").getBoundingClientRect().right;
    const right = Math.max(...[...range.getClientRects()].map((part) => part.right));
    if (right > edge + 0.5) found.push(walker.currentNode.data.trim());
  }
  return found;
}"""


class Agent:
    """A running server whose Snapshot a test can change."""

    def __init__(self) -> None:
        self.outlet: web.Outlet | None = None
        app = web.application(lambda: self.outlet, clock=time.time)
        self.server = Server(app, "127.0.0.1", 0)

    def shows(self, snapshot: Snapshot, *, age_seconds: float = 0.0) -> None:
        snapshot = snapshots.moved(snapshot, time.time() - age_seconds)
        snapshot = replace(snapshot, interval_seconds=1.0)
        self.outlet = web.render(snapshot, b"")

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = parts.program("chromium", package="chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def agent() -> Iterator[Agent]:
    made = Agent()
    made.shows(snapshots.burning())
    with made.server:
        yield made


class Visit:
    """One tab, with everything that it complained about and asked for."""

    def __init__(self, browser: Browser, address: str, **settings: Any) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(**settings)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("name", snapshots.ALL)
def test_the_page_has_no_errors_and_asks_nobody_else(
    browser: Browser, agent: Agent, name: str
) -> None:
    agent.shows(snapshots.ALL[name]())

    with Visit(browser, agent.address) as visit:
        expect(visit.page.locator("#when")).to_contain_text("ago")

        assert visit.complaints == []
        outside = [url for url in visit.asked if not url.startswith((agent.address, "data:"))]
        assert outside == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", snapshots.ALL)
def test_nothing_overflows_and_every_text_can_be_read(
    browser: Browser, agent: Agent, name: str, scheme: str
) -> None:
    agent.shows(snapshots.ALL[name]())

    with Visit(browser, agent.address, color_scheme=scheme) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in WIDTHS:
            visit.page.set_viewport_size({"width": width, "height": 900})
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
            assert visit.page.evaluate(CUT_TEXTS) == []
        assert visit.page.evaluate(FAINT_TEXTS) == []


def test_the_page_follows_the_snapshot_and_tells_a_screen_reader(
    browser: Browser, agent: Agent
) -> None:
    with Visit(browser, agent.address) as visit:
        expect(visit.page.locator(VERDICT)).to_contain_text("1 of 3 models is burning")

        agent.shows(snapshots.good())

        sentence = "All 3 models are good enough right now"
        expect(visit.page.locator(VERDICT)).to_have_text(sentence)
        expect(visit.page.get_by_role("status")).to_have_text(sentence)
        expect(visit.page).to_have_title("good · gpu-node-07 · burnmeter")
        assert visit.complaints == []


def test_open_details_focus_and_scroll_survive_an_update(browser: Browser, agent: Agent) -> None:
    with Visit(browser, agent.address) as visit:
        summary = visit.page.locator("summary", has_text="All latencies and counts").first
        summary.scroll_into_view_if_needed()
        summary.click()
        scrolled = visit.page.evaluate("scrollY")

        agent.shows(replace(snapshots.burning(), node="another tick"))
        visit.page.evaluate("document.getElementById('live').dataset.old = 'yes'")
        visit.page.wait_for_selector("#live:not([data-old])", state="attached")

        details = "document.activeElement.parentElement.open"
        assert visit.page.evaluate("document.activeElement.localName") == "summary"
        assert visit.page.evaluate(details) is True
        assert scrolled > 0
        assert visit.page.evaluate("scrollY") == scrolled


def test_what_the_reader_closed_stays_closed(browser: Browser, agent: Agent) -> None:
    with Visit(browser, agent.address) as visit:
        burning = visit.page.locator("details[open] > summary").first
        burning.click()
        assert visit.page.locator("details[open]").count() == 0

        visit.page.evaluate("document.getElementById('live').dataset.old = 'yes'")
        visit.page.wait_for_selector("#live:not([data-old])", state="attached")

        assert visit.page.locator("details[open]").count() == 0


def test_a_lost_agent_is_said_and_its_return_is_seen(browser: Browser, agent: Agent) -> None:
    with Visit(browser, agent.address) as visit:
        visit.page.route("**/*", lambda route: route.abort())
        alert = visit.page.get_by_role("alert")
        expect(alert).to_contain_text("Connection lost since")

        visit.page.unroute("**/*")

        expect(alert).to_be_hidden()


def test_an_agent_that_answers_but_no_longer_reads_is_said(browser: Browser, agent: Agent) -> None:
    agent.shows(snapshots.good(), age_seconds=300)

    with Visit(browser, agent.address) as visit:
        alert = visit.page.get_by_role("alert")
        expect(alert).to_have_text("The agent answers, but its last reading is 5 min old.")

        agent.shows(snapshots.good())

        expect(alert).to_be_hidden()


def test_a_hidden_tab_asks_nothing(browser: Browser, agent: Agent) -> None:
    with Visit(browser, agent.address) as visit:
        hide = """(hidden) => {
          Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
        expect(visit.page.locator("#when")).to_contain_text("ago")
        visit.page.evaluate(hide, True)
        visit.page.wait_for_timeout(200)
        before = len(visit.asked)
        visit.page.wait_for_timeout(2500)
        assert len(visit.asked) == before

        with visit.page.expect_request(agent.address, timeout=900):
            visit.page.evaluate(hide, False)


def test_without_scripts_the_page_is_whole_and_refreshes_itself(
    browser: Browser, agent: Agent
) -> None:
    with Visit(browser, agent.address, java_script_enabled=False) as visit:
        assert "1 of 3 models is burning" in visit.page.content()

        with visit.page.expect_request(agent.address, timeout=5000):
            pass


def test_every_region_has_a_name_and_every_chart_says_what_it_shows(
    browser: Browser, agent: Agent
) -> None:
    with Visit(browser, agent.address) as visit:
        for landmark in ("banner", "main", "contentinfo", "navigation"):
            expect(visit.page.get_by_role(landmark)).to_have_count(1)
        assert visit.page.get_by_role("heading", level=1).count() == 1
        labels = visit.page.locator("[role=img]").evaluate_all(
            "all => all.map(chart => chart.getAttribute('aria-label'))"
        )
        assert len(labels) == 9
        assert all("over 10 min, now" in label for label in labels)


def test_the_first_page_replaces_itself_when_the_first_reading_is_there(
    browser: Browser, agent: Agent
) -> None:
    agent.outlet = None
    with Visit(browser, agent.address) as visit:
        expect(visit.page.locator("h1")).to_contain_text("making its first reading")

        agent.shows(snapshots.good())

        expect(visit.page.locator(VERDICT)).to_contain_text("good enough", timeout=10_000)
