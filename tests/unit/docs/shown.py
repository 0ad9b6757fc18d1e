"""Tables of pages that say what is there and name a test that shows it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from tests.unit.docs.pages import ROOT

_TEST = r"(?:\[(?P<name>\w+)\]\(\.\./(?P<path>[\w/.]+)\))?"
_ROW = re.compile(
    rf"^\| (?P<number>[^|]+?) \| (?P<what>[^|]+?) \| (?P<here>yes|partly|no) \| {_TEST} ?\| ?(?P<note>[^|]*?) ?\|$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Row:
    """`test` is a function's name and its file below the project; None where nothing is named."""

    number: str
    what: str
    here: str
    test: tuple[str, str] | None
    note: str


def rows(text: str) -> list[Row]:
    """Raises AssertionError where a line of a table is written in another way, and would be looked at by nobody."""
    found = list(_ROW.finditer(text))
    lines = [line for line in text.splitlines() if line.startswith("| ") and " | test | " not in line]
    if odd := set(lines) - {each[0] for each in found}:
        raise AssertionError(f"no row as the others: {odd}")
    return [
        Row(each["number"], each["what"], each["here"], (each["name"], each["path"]) if each["name"] else None, each["note"])
        for each in found
    ]


def hold(row: Row) -> None:
    """A function of that name is at the top of that file; what is there in part only says what is not."""
    assert row.test is not None or row.here != "yes"
    assert row.note or row.here == "yes"
    if row.test is not None:
        tree = ast.parse((ROOT / row.test[1]).read_text(encoding="utf-8"))
        assert row.test[0] in [each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
