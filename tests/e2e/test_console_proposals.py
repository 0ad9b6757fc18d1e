"""Proposals in a real browser: a suggestion is made somebody's, measured, approved by somebody else, and rolled out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import needs, needs_file

needs("playwright", "pip install playwright")
needs("axe_playwright_python", "pip install axe-playwright-python")

from playwright.sync_api import Page, expect

from tests.e2e.browsing import CHROMIUM, NARROW, WIDE, axe, browser, seated
from tests.e2e.running import Lockgate
from tests.e2e.test_route_suggestions import asked, route, suggest, two_routes

needs_file(CHROMIUM, "apt install chromium")

pytestmark = pytest.mark.slow
MEASURED_MS = 90_000


@pytest.fixture
def lockgate(tmp_path: Path) -> Iterator[Lockgate]:
    with two_routes(tmp_path) as made:
        yield made


def test_a_suggestion_is_taken_through_by_two_people(lockgate: Lockgate) -> None:
    """Each page says what the step before came to; axe finds nothing on any of them, and none is wider than a telephone."""
    asked(lockgate)
    (told,) = suggest(lockgate)["suggested"]
    path = f"/console/proposals/{told['id']}"
    with browser() as chromium, seated(chromium, lockgate, "ada") as ada, seated(chromium, lockgate, "ben") as ben:
        ada.goto("/console/proposals")
        usable(ada)
        ada.get_by_role("link", name="route").click()
        expect(ada.get_by_role("heading", level=1)).to_contain_text("look → dear")
        usable(ada)
        confirmed(ada, "Make it mine")
        expect(ada.get_by_role("status").first).to_contain_text("It is your proposal now")
        ada.get_by_role("button", name="Measure it").click()
        expect(ada.locator("main")).to_contain_text("policy in force was asked again about each", timeout=MEASURED_MS)
        assert ada.get_by_role("button", name="Approve").count() == 0

        ben.goto(path)
        usable(ben)
        confirmed(ben, "Approve")
        expect(ben.get_by_role("status").first).to_contain_text("Your approval is on record")
        confirmed(ben, "Roll out")
        expect(ben.get_by_role("status").first).to_contain_text("It is in force")
        assert route(lockgate, "ann") == ("dear", "rule")
        confirmed(ben, "Take back")
        expect(ben.get_by_role("status").first).to_contain_text("so again")
        assert route(lockgate, "ann") == ("cheap", "rule")


def confirmed(page: Page, step: str) -> None:
    """By its button, and once more in the question that follows."""
    page.get_by_role("button", name=step).first.click()
    with page.expect_navigation():
        page.get_by_role("dialog").get_by_role("button", name=step).click()


def usable(page: Page) -> None:
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    page.set_viewport_size(WIDE)
    assert axe(page) == []
