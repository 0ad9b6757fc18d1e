"""The page about ASVS names tests that there are, for everything that it says is here."""

from __future__ import annotations

import pytest

from tests.unit.docs.pages import page
from tests.unit.docs.shown import Row, hold, rows

ROWS = rows(page("asvs.md"))


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.number} {row.what[:30]}" for row in ROWS])
def test_what_is_here_is_shown_by_a_test(row: Row) -> None:
    """What the page says is here can be looked at."""
    hold(row)


def test_every_line_of_the_table_is_looked_at() -> None:
    """There are as many as there were, and a row that is written in another way is an error."""
    assert len(ROWS) > 30
    with pytest.raises(AssertionError, match="no row as the others"):
        rows("| 1.2.3 | something | surely | | |")
