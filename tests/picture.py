"""Takes the README's picture: the live page of a real agent, while the simulated incident burns.

Not a test. `make picture` runs it; it takes about four minutes, because it waits for the incident.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from playwright.sync_api import sync_playwright

from tests.page_pictures import small

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "agent" / "pictures" / "live-page.png"
PATIENCE_SECONDS = 400.0
BURNING_SECONDS = 45.0
CHROMIUM = "/usr/bin/chromium"


def main() -> None:
    """Start the agent, wait until a model has burned for a while, take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "burnmeter.yaml"
        config.write_text("node: gpu-node-7\nlisten: 127.0.0.1:9779\n")
        command = [sys.executable, "-m", "burnmeter", "up", "--simulate", "--config", str(config)]
        agent = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_until_burning("http://127.0.0.1:9779/api/v1/snapshot")
            take("http://127.0.0.1:9779/", PICTURE)
        finally:
            agent.terminate()
            agent.wait()


def wait_until_burning(url: str) -> None:
    """Until some model has been burning for BURNING_SECONDS. Raises TimeoutError."""
    deadline, since = time.monotonic() + PATIENCE_SECONDS, None
    while time.monotonic() < deadline:
        time.sleep(2)
        if "burning" not in {model["state"] for model in models(url)}:
            since = None
        elif since is None:
            since = time.monotonic()
        elif time.monotonic() - since > BURNING_SECONDS:
            return
    raise TimeoutError("no model burned its budget")


def models(url: str) -> list[dict[str, Any]]:
    """The models of the snapshot; none while the agent starts."""
    try:
        with urlopen(url, timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)["models"]
            return found
    except OSError:
        return []


def take(url: str, picture: Path) -> None:
    """A picture of the top of the page, as a browser shows it."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(url)
        picture.write_bytes(small(page.screenshot()))
        browser.close()


if __name__ == "__main__":
    main()
