"""The page of figures: each row says what measures it again, and the README's figures are among them."""

from __future__ import annotations

import re

from tests.bench.__main__ import SECTIONS
from tests.unit.docs.pages import ROOT

ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs/figures.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| what")
]
SHORT = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Figures")[2].partition("## How")[0]
NUMBER = re.compile(r"\d[\d,.]*\d|\d")


def test_each_figure_names_what_measures_it() -> None:
    """A section of `make bench`, or a test; somebody who doubts a figure runs that."""
    assert len(ROWS) > 30
    named = [re.fullmatch(r"`([a-z/_.-]+)` *", row[-1].strip(" |")) for row in ROWS]
    assert [row[0] for row, name in zip(ROWS, named, strict=True) if name is None] == []
    assert [name[1] for name in named if name is not None and name[1] not in SECTIONS and not (ROOT / name[1]).is_file()] == []


def test_the_readmes_figures_are_among_them() -> None:
    """Its rows are drawn together from several of the page's, and no number is of its own making."""
    page = " ".join(" ".join(row) for row in ROWS)
    known = set(NUMBER.findall(page))
    rows = [line.split("|") for line in SHORT.splitlines() if line.startswith("| ") and not line.startswith("| what")]
    assert len(rows) > 8
    assert [(row[1], number) for row in rows for cell in row[2:] for number in NUMBER.findall(cell) if number not in known] == []
