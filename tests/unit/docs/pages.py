"""The documentation as the tests read it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
_ROW = re.compile(r"^\| `([a-z0-9_.]+)` \|", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level."""
    _, found, rest = f"\n{text}".partition(f"\n## {heading}\n")
    if not found:
        raise AssertionError(f"there is no heading '{heading}'")
    return rest.partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """Names in the first cells of tables, where they are code."""
    return _ROW.findall(text)


def headings(text: str) -> list[str]:
    return [line.lstrip("#").strip() for line in without_code(text).splitlines() if line.startswith("#")]


def without_code(text: str) -> str:
    return _FENCE.sub("", text)


def everything() -> list[Path]:
    """Every page that is written by hand, and the generated ones."""
    top = [ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md")]
    return [*top, *sorted(DOCS.rglob("*.md"))]
