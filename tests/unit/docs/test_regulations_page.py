"""The page about regulations names tests that there are, for everything that it says is here, and what stays with others."""

from __future__ import annotations

import pytest

from tests.unit.docs.pages import page
from tests.unit.docs.shown import Row, hold, rows

ROWS = rows(page("regulations.md"))


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.number} {row.what[:30]}" for row in ROWS])
def test_what_is_here_is_shown_by_a_test_and_says_what_is_yours(row: Row) -> None:
    """Whoever is asked by an auditor finds what to show, and what nobody does for them."""
    hold(row)
    assert row.note


def test_every_rule_has_rows() -> None:
    """No heading without a table."""
    for part in page("regulations.md").split("\n## ")[1:]:
        assert len(rows(part)) >= 4, part.partition("\n")[0]
