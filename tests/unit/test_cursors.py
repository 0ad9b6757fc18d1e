"""Cursors are what this API gave, or refused; never a failure of a store."""

from __future__ import annotations

import pytest

from router.cursors import place_after
from router.errors import RefusedError


def test_a_cursor_is_a_place() -> None:
    assert [place_after(each) for each in (None, "0", "17", "9" * 18)] == [None, 0, 17, int("9" * 18)]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.0", " 1", "²", "١", "9" * 19])
def test_anything_else_is_refused(cursor: str) -> None:
    """Digits of other scripts, and numbers that no store can hold, among them."""
    with pytest.raises(RefusedError, match="not one that this API gave") as refused:
        place_after(cursor)
    assert refused.value.code == "request_invalid"
