"""A real browser before a real server: what the tests and the pictures of the live page share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from burnmeter.export import web
from burnmeter.export.server import Server
from burnmeter.snapshot import Snapshot
from tests import parts, snapshots

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    path = parts.program("chromium", package="chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


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
