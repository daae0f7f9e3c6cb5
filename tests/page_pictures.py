"""Takes the pictures of the live page in agent/pictures/: three states, two themes, two widths.

Not a test. `make picture` runs it. What is shown is made by hand (tests/snapshots.py), also its
time, so that a picture changes only if the page does.
"""

from io import BytesIO
from typing import Final, NamedTuple

from PIL import Image
from playwright.sync_api import Browser

from burnmeter.export import web
from burnmeter.snapshot import Snapshot
from tests import snapshots
from tests.browsing import Agent, Visit, chromium
from tests.parts import ROOT

FOLDER: Final = ROOT / "agent" / "pictures"
COLOURS: Final = 128
STATES: Final = ("good", "burning", "not_measured")
SCHEMES: Final = ("light", "dark")
HEIGHTS: Final = {380: 1800, 1600: 1250}
"""Width -> how much of the page is shown, at the most."""


class Picture(NamedTuple):
    """One picture of the page."""

    state: str
    scheme: str
    width: int

    @property
    def file(self) -> str:
        return f"{self.state.replace('_', '-')}-{self.scheme}-{self.width}.png"


ALL: Final = tuple(
    Picture(state, scheme, width) for state in STATES for width in HEIGHTS for scheme in SCHEMES
)


def shown(state: str) -> Snapshot:
    """What is in the picture."""
    return snapshots.ALL[state]()


def main() -> None:
    """Take all of them."""
    agent = Agent()
    with agent.server, chromium() as browser:
        for picture in ALL:
            agent.outlet = web.render(shown(picture.state), b"")
            (FOLDER / picture.file).write_bytes(small(take(browser, agent, picture)))


def take(browser: Browser, agent: Agent, picture: Picture) -> bytes:
    """The top of the page as a PNG."""
    size = {"width": picture.width, "height": 900}
    with Visit(
        browser,
        agent.address,
        color_scheme=picture.scheme,
        viewport=size,
        java_script_enabled=False,
    ) as visit:
        whole = visit.page.locator("body").bounding_box()
        height = min(HEIGHTS[picture.width], round(whole["height"] if whole else 900))
        clip = {"x": 0, "y": 0, "width": picture.width, "height": height}
        return visit.page.screenshot(clip=clip, full_page=True)


def small(png: bytes) -> bytes:
    """The same picture in few colours: of a page with two inks that is hard to tell."""
    image = Image.open(BytesIO(png)).convert("RGB")
    out = BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    main()
