"""Chromium as people use it; whatever it complains of fails the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, sync_playwright

from console.rig import Street
from lamplighter_hub.access.roles import Role
from services import need

FLAGS: Final = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--no-first-run",
)
DESKTOP: Final[ViewportSize] = {"width": 1440, "height": 900}
PHONE: Final[ViewportSize] = {"width": 390, "height": 780}


class Watched:
    """A page, and everything that should not have happened on it."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._origin = urlsplit(origin).netloc
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on("request", lambda request: self._request(request.url))

    def _console(self, message: ConsoleMessage) -> None:
        refused_on_purpose = "status of 422" in message.text
        if message.type in {"error", "warning"} and not refused_on_purpose:
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.netloc != self._origin:
            self.complaints.append(f"request to another host: {url}")

    def open(self, path: str) -> Page:
        """Open a page of the console and wait until its scripts have run."""
        self.page.goto(f"http://{self._origin}{path}")
        self.page.locator("html[data-ready=yes]").wait_for(state="attached")
        for chart in self.page.locator("[data-chart]").all():
            chart.locator("xpath=self::*[@data-ready]").wait_for()
        return self.page


@pytest.fixture(scope="module")  # no longer: its event loop would stand in the way of others
def chromium() -> Iterator[Browser]:
    path = need.need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


Visit = Callable[..., Watched]


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """A function that signs somebody in and returns their watched page; nothing may have gone wrong at the end."""
    opened: list[tuple[BrowserContext, Watched]] = []

    def begin(street: Street, *, language: str = "en", theme: Any = "light", phone: bool = False) -> Watched:
        context = chromium.new_context(
            viewport=PHONE if phone else DESKTOP,
            has_touch=phone,
            locale="zh-CN" if language == "zh" else "en-GB",
            color_scheme=theme,
        )
        context.set_default_timeout(10_000)
        watched = Watched(context.new_page(), street.url)
        opened.append((context, watched))
        return watched

    yield begin
    for context, _ in opened:
        context.close()
    assert [complaint for _, watched in opened for complaint in watched.complaints] == []


@pytest.fixture
def enter(visit: Visit) -> Visit:
    """Like `visit`, signed in by a link."""

    def begin(street: Street, *, role: Role = Role.ADMINISTRATOR, **how: Any) -> Watched:
        watched = visit(street, **how)
        watched.page.goto(street.link(role))
        watched.page.locator("#sign-in").click()
        watched.page.wait_for_url(f"{street.url}/")
        return watched

    return begin


@contextmanager
def beating(street: Street, beat: Callable[[], None], every_s: float = 0.5) -> Iterator[None]:
    """Let something happen again and again, as a street does."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(every_s):
            beat()
            street.tick()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
