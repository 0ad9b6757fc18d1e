"""The gateway's page names, for all that is expected of a gateway here and behind Envoy, tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import page, section

ROOT = Path(__file__).parents[3]
HEADING = "What a gateway is expected to do"
SHOWN = r"(?:: \[(test_\w+\.py)::(test_\w+)\]\(\.\./([\w/.]+)\))?"
ROW = re.compile(rf"\| ([^|]+) \| (yes|no){SHOWN} \| (the same|by Envoy|Envoy's own|no)(?: \([\w ,]+\))?{SHOWN} \|")
LINES = [line for line in section(page("gateway.md"), HEADING).splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize("line", LINES, ids=[line.split(" | ")[0][2:42] for line in LINES])
def test_what_is_there_is_shown_by_a_test_that_is_collected(line: str) -> None:
    """A function of that name at the top of that file; what is nowhere, or is Envoy's own, names none."""
    row = ROW.fullmatch(line)
    assert row is not None, "a row that is written in another way would be checked by nobody"
    _, here, *shown_here, behind = row.groups()[:6]
    shown_behind = row.groups()[6:]
    assert (shown_here[0] is not None) is (here == "yes")
    assert (shown_behind[0] is not None) or behind != "by Envoy"
    assert (shown_behind[0] is None) or behind in ("by Envoy", "the same")
    assert behind != "the same" or here == "yes"
    for file, name, path in (shown_here, shown_behind):
        if name is not None:
            assert Path(path).name == file
            assert name in _functions(ROOT / path)


def test_there_are_rows() -> None:
    assert len(LINES) > 50


def _functions(path: Path) -> list[str]:
    return [each.name for each in ast.parse(path.read_text()).body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
