"""Links between pages lead somewhere: to files that are there, and to headings that they have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import DOCS, ROOT, everything, headings, without_code

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def links(file: Path) -> list[str]:
    found = LINK.findall(without_code(file.read_text(encoding="utf-8")).replace("\n", " "))
    return [link for link in found if not link.startswith(("http://", "https://", "mailto:"))]


def anchor(heading: str) -> str:
    """As GitHub makes them: lower case, no punctuation, a hyphen for each space."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken(file: Path, link: str) -> str | None:
    """What is wrong with a relative link, None when nothing is."""
    path, _, fragment = link.partition("#")
    target = (file.parent / path).resolve() if path else file
    if not target.exists() or not target.is_relative_to(ROOT):
        return f"{link}: no such file"
    if fragment and fragment not in map(anchor, headings(target.read_text(encoding="utf-8"))):
        return f"{link}: no such heading"
    return None


@pytest.mark.parametrize("file", everything(), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_link_leads_somewhere(file: Path) -> None:
    """A reader who follows a link finds the file and the heading."""
    assert [fault for link in links(file) if (fault := broken(file, link)) is not None] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    """No page is written for nobody."""
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        file = waiting.pop()
        if file not in reached and file.suffix == ".md":
            reached.add(file)
            waiting += [(file.parent / link.partition("#")[0]).resolve() for link in links(file) if not link.startswith("#")]
    assert [str(file.relative_to(ROOT)) for file in everything() if file not in reached] == []


def test_a_broken_link_is_noticed() -> None:
    """The check tells a missing file and a missing heading from what is there."""
    here = DOCS / "trust.md"
    assert broken(here, "nowhere.md") == "nowhere.md: no such file"
    assert broken(here, "#nothing") == "#nothing: no such heading"
    assert broken(here, "#erasure") is None
    assert broken(here, "../../elsewhere.md") is not None
