"""How commands say things."""

from __future__ import annotations

import pytest
from rich.table import Table

from router.cli.common import console


def test_a_table_that_is_piped_or_kept_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Who reads a list of readers from a file has their ids and times, on a line for each."""
    table = Table("time", "reader", "asked for", box=None)
    row = (
        "2026-11-30 17:56:16",
        "903283d5a4bc73403705b83f8f032c2d",
        "time >= '2026-11-23' and kind = 'decision' by intent, classification",
    )
    table.add_row(*row)
    console().print(table)
    _, line = capsys.readouterr().out.splitlines()
    assert [each.strip() for each in line.split("  ") if each.strip()] == list(row)
