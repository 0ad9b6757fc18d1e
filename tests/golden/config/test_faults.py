"""Broken workspaces and exactly what is said about them. A case's last section, `faults`, is the expectation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.golden.config.conftest import sections

CASES = sorted((Path(__file__).parent / "faults").glob("*.txt"))


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_every_fault_is_one_sentence_with_its_line(case: Path, faults: Callable[[dict[str, str]], str]) -> None:
    """Every fault of a broken workspace is reported at once, each with file and line."""
    files = sections(case.read_text(encoding="utf-8", errors="surrogateescape"))
    expected = files.pop("faults")
    assert faults(files) == expected


def test_there_are_cases() -> None:
    """The table of broken workspaces is really found."""
    assert len(CASES) > 20
