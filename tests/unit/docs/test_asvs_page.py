"""The page about ASVS names tests that there are, for everything that it says is here."""

from __future__ import annotations

import ast
import re

import pytest

from tests.unit.docs.pages import ROOT, page

LINK = r"(?:\[(?P<name>\w+)\]\(\.\./(?P<path>[\w/.]+)\))?"
ROW = re.compile(rf"^\| (?P<number>[\d., ]+) \| (?P<what>.+?) \| (?P<here>\w+) \| {LINK} ?\| ?(?P<note>.*?) ?\|$", re.MULTILINE)
ROWS = list(ROW.finditer(page("asvs.md")))


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['number']} {row['what'][:30]}" for row in ROWS])
def test_what_is_here_is_shown_by_a_test(row: re.Match[str]) -> None:
    """A function of that name at the top of that file; what is there in part only says what is not."""
    assert row["here"] in ("yes", "partly", "no")
    assert row["name"] is not None or row["here"] != "yes"
    assert row["note"] or row["here"] == "yes"
    if row["name"] is not None:
        tree = ast.parse((ROOT / row["path"]).read_text(encoding="utf-8"))
        assert row["name"] in [each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_every_line_of_the_table_is_looked_at() -> None:
    """None is left out because it is written in another way."""
    lines = [line for line in page("asvs.md").splitlines() if line.startswith("| ") and not line.startswith("| requirement")]
    assert len(lines) == len(ROWS) > 30
