"""Workspaces and what they mean once every default is filled in. A case's last section, `normalised`, is the expectation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from router.workspace import Workspace
from tests.golden.config.conftest import normalised, sections

CASES = sorted((Path(__file__).parent / "normalised").glob("*.txt"))


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_a_workspace_means_exactly_this(case: Path, load: Callable[[dict[str, str]], Workspace]) -> None:
    """Defaults, units, environment values and example files come out as written down in the case."""
    files = sections(case.read_text(encoding="utf-8"))
    expected = files.pop("normalised")
    assert normalised(load(files)) == expected


def test_there_are_cases() -> None:
    """The normalised cases are really found."""
    assert len(CASES) >= 2
