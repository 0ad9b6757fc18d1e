"""The console in a real browser, as one person each. One browser for all tests of a file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.running import Lockgate

CHROMIUM = Path("/usr/bin/chromium")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
SILENT = ("--disable-component-update", "--disable-sync")
REFUSED = re.compile(r"the server responded with a status of 4\d\d")  # the browser says so of what a test asks for on purpose
PICTURES = Path("out/console")
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*QUIET, *SILENT])
        yield opened
        opened.close()


@contextmanager
def seated(browser: Browser, lockgate: Lockgate, who: str | None, complaint: str = "", **settings: Any) -> Iterator[Page]:
    """A page of this person, or with None of whoever signs in there. Fails where the page complained about anything but what holds
    `complaint`, such as what its own policy forbids it."""
    complaints = list[str]()
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{lockgate.ports['control']}",
        extra_http_headers={"authorization": f"Bearer {lockgate.keys[who]}"} if who is not None else {},
        viewport=settings.pop("viewport", WIDE),
        **settings,
    )
    page = context.new_page()
    page.on("console", lambda message: None if REFUSED.search(message.text) else complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
    finally:
        picture(page, who or "session")
        context.close()
    assert [each for each in complaints if not complaint or complaint not in each] == []


def axe(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it stands, by WCAG 2.2 AA and its own best practices."""
    page.evaluate(AXE_SCRIPT)
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("(tags) => axe.run({ runOnly: tags })", tags)
    return [f"{each['id']}: {node['html'][:120]}" for each in found["violations"] for node in each["nodes"]]


def picture(page: Page, who: str) -> None:
    """What the person saw last, for who looks at a failed run, or wants to see the pages."""
    if "LOCKGATE_PICTURES" in os.environ:
        PICTURES.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", os.environ.get("PYTEST_CURRENT_TEST", who).partition("::")[2].partition(" ")[0].lower()).strip(
            "-"
        )
        page.screenshot(path=PICTURES / f"{name}-{who}.png", full_page=True)
