"""The gateway's page names, for all that is expected of a gateway, a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import page, section

ROOT = Path(__file__).parents[3]
HEADING = "What a gateway is expected to do"
ROW = re.compile(
    r"\| (?P<what>[^|]+) \| (?P<here>[^|]+) \| (?:\[(?P<file>test_\w+\.py)::(?P<name>test_\w+)\]\(\.\./(?P<path>[\w/.]+)\))? ?\|"
)
ROWS = [
    found
    for line in section(page("gateway.md"), HEADING).splitlines()
    if (found := ROW.fullmatch(line)) is not None and found["what"] != "what"
]


@pytest.mark.parametrize("row", ROWS, ids=[row["what"][:40] for row in ROWS])
def test_what_is_here_is_shown_by_a_test_that_is_collected(row: re.Match[str]) -> None:
    """A function of that name at the top of that file; what is nowhere names none."""
    assert row["here"] in ("yes", "with Envoy in front", "no")
    assert (row["name"] is not None) is (row["here"] != "no")
    if row["name"] is not None:
        path = ROOT / row["path"]
        assert path.name == row["file"]
        functions = [each.name for each in ast.parse(path.read_text()).body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
        assert row["name"] in functions


def test_every_row_is_read() -> None:
    """A row that is written in another way would be checked by nobody."""
    lines = [line for line in section(page("gateway.md"), HEADING).splitlines() if line.startswith("|")]
    assert len(ROWS) == len(lines) - 2
    assert len(ROWS) > 45
