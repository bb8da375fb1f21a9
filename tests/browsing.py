"""Headless Chromium for tests of pages: the system's browser, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """The path of a Chromium; skips the test, saying so, where there is none."""
    named = os.environ.get("V2ABENCH_CHROMIUM")
    found = [path for path in (named, *map(shutil.which, NAMES)) if path]
    if not found:
        pytest.skip(
            "no Chromium here, so pages are not tested in a browser: `apt-get install chromium`, "
            "or name one in V2ABENCH_CHROMIUM"
        )
    return found[0]


WATCHED = """
window.starts = [];
window.mostAtOnce = 0;
document.addEventListener("play", (event) => {
    window.starts.push(event.target.currentTime);
    event.target.playbackRate = 0.1;
    const playing = [...document.querySelectorAll("video")].filter((video) => !video.paused);
    window.mostAtOnce = Math.max(window.mostAtOnce, playing.length);
}, true);
"""
"""Notes where videos start and how many play at once, and slows them so that a busy machine keeps up."""


@dataclass
class Tab:
    """A page, and what it should not have done: messages, dialogs, requests beyond the disk."""

    page: Page
    trouble: list[str] = field(default_factory=list)

    def open(self, file: Path) -> Page:
        self.page.add_init_script(WATCHED)
        self.page.goto(file.as_uri())
        return self.page


@contextmanager
def launched(executable: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox"], timeout=120_000
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def new_tab(browser: Browser, width: int = 1280, height: int = 900) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(60_000)
    tab = Tab(context.new_page())
    tab.page.on("console", lambda message: tab.trouble.append(message.text))
    tab.page.on("pageerror", lambda error: tab.trouble.append(str(error)))
    tab.page.on("dialog", lambda dialog: (tab.trouble.append(dialog.message), dialog.dismiss()))
    tab.page.on("requestfailed", lambda request: tab.trouble.append(f"failed {request.url}"))
    tab.page.on("request", lambda request: request.url.startswith("file:") or tab.trouble.append(request.url))
    try:
        yield tab
    finally:
        context.close()
