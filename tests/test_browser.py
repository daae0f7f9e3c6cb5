"""The live page in a real browser: it looks right, keeps itself current, and asks nobody else."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, expect

from tests import snapshots
from tests.browsing import Agent, Visit, chromium

pytestmark = pytest.mark.browser

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def agent() -> Iterator[Agent]:
    made = Agent()
    made.shows(snapshots.burning())
    with made.server:
        yield made


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
        for landmark in ("banner", "main", "contentinfo"):
            expect(visit.page.get_by_role(landmark)).to_have_count(1)
        for name in ("On this page", "Machine-readable"):
            expect(visit.page.get_by_role("navigation", name=name)).to_have_count(1)
        assert visit.page.get_by_role("heading", level=1).count() == 1
        labels = visit.page.locator("[role=img]").evaluate_all(
            "all => all.map(chart => chart.getAttribute('aria-label'))"
        )
        assert len([label for label in labels if "over 10 min, now" in label]) == 9
        of_gpus = [label for label in labels if label.startswith(("busy over", "power over"))]
        assert len(of_gpus) == len(labels) - 9 == 13


def test_the_first_page_replaces_itself_when_the_first_reading_is_there(
    browser: Browser, agent: Agent
) -> None:
    agent.outlet = None
    with Visit(browser, agent.address) as visit:
        expect(visit.page.locator("h1")).to_contain_text("making its first reading")

        agent.shows(snapshots.good())

        expect(visit.page.locator(VERDICT)).to_contain_text("good enough", timeout=10_000)


def test_selected_words_survive_an_update(browser: Browser, agent: Agent) -> None:
    with Visit(browser, agent.address) as visit:
        visit.page.evaluate("getSelection().selectAllChildren(document.querySelector('.reason'))")

        visit.page.evaluate("document.getElementById('live').dataset.old = 'yes'")
        visit.page.wait_for_selector("#live:not([data-old])", state="attached")

        assert "burns 16.8 times too fast" in visit.page.evaluate("String(getSelection())")


def test_an_update_makes_the_page_what_the_agent_sends(browser: Browser, agent: Agent) -> None:
    """Whatever stood there before: each state is followed by each other."""
    is_as_sent = """async () => {
      await refresh();
      const sent = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
      return document.getElementById("live").isEqualNode(sent.getElementById("live"));
    }"""
    with Visit(browser, agent.address) as visit:
        for name in [*snapshots.ALL, *reversed(snapshots.ALL)]:
            agent.shows(snapshots.ALL[name]())
            assert visit.page.evaluate(is_as_sent) is True


def test_the_reader_can_pause_and_go_on(browser: Browser, agent: Agent) -> None:
    with Visit(browser, agent.address) as visit:
        button = visit.page.get_by_role("button", name="Pause updates")
        button.press("Enter")
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(visit.page.locator("#when")).to_contain_text("paused, read")

        agent.shows(snapshots.good())
        before = len(visit.asked)
        visit.page.wait_for_timeout(2500)
        assert len(visit.asked) == before
        expect(visit.page.locator(VERDICT)).to_contain_text("1 of 3 models is burning")

        button.press("Enter")
        expect(visit.page.locator(VERDICT)).to_contain_text("All 3 models are good")


def test_from_a_model_to_its_gpu_to_its_events_and_back_by_keyboard(
    browser: Browser, agent: Agent
) -> None:
    with Visit(browser, agent.address) as visit:
        card = visit.page.locator("article.card", has_text="qwen2.5-coder-32b").last
        card.get_by_role("link", name="GPU 4, busy").press("Enter")
        tile = visit.page.locator(":target")
        expect(tile).to_contain_text("GPU 4")
        expect(tile).to_be_in_viewport()

        tile.locator("summary").press("Enter")
        expect(tile.get_by_text("XID 64, memory row not retired;")).to_be_visible()

        tile.get_by_role("link", name="qwen2.5-coder-32b").first.press("Enter")
        expect(visit.page.locator(":target h3")).to_have_text("qwen2.5-coder-32b")
        visit.page.go_back()
        expect(visit.page.locator(":target")).to_contain_text("GPU 4")


def test_a_link_to_a_models_events_opens_them_and_an_update_keeps_them_open(
    browser: Browser, agent: Agent
) -> None:
    with Visit(browser, agent.address) as visit:
        events = visit.page.locator("#model-0-events")
        expect(events).to_be_hidden()
        visit.page.locator("a[href='#model-0-events']").click()
        expect(events).to_be_visible()

        visit.page.evaluate("document.getElementById('live').dataset.old = 'yes'")
        visit.page.wait_for_selector("#live:not([data-old])", state="attached")

        expect(events).to_be_visible()
