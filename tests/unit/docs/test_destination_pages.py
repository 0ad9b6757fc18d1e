"""Every catalog block on the pages about destinations is one that Lockgate takes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from router.registry import ADAPTERS
from tests.unit.docs.pages import DOCS

PAGES = sorted((DOCS / "destinations").glob("*.md"))
BLOCK = re.compile(r"^```yaml\n(destinations:\n.+?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(settings, id=f"{page.name}:{name}")
    for page in PAGES
    for block in BLOCK.findall(page.read_text())
    for name, settings in yaml.safe_load(block)["destinations"].items()
]


@pytest.mark.parametrize("settings", EXAMPLES)
def test_the_example_of_a_destination_is_one(settings: dict[str, Any]) -> None:
    kind = settings.pop("adapter")
    ADAPTERS.settings("destination", kind).model_validate(settings)


def test_every_page_has_an_example() -> None:
    assert [page.name for page in PAGES if page.name != "README.md" and not BLOCK.search(page.read_text())] == []


def test_every_page_and_every_kind_is_in_the_table() -> None:
    told = (DOCS / "destinations/README.md").read_text()
    assert [page.name for page in PAGES if page.name != "README.md" and f"]({page.name}" not in told] == []
    assert [kind for kind in ADAPTERS.names("destination") if f"`{kind}`" not in told] == []
