"""What a store of held requests gives back is what was put into it, or nothing."""

from __future__ import annotations

import pytest

from adapters.kept_reviews import held_from
from router.errors import ReviewError


@pytest.mark.parametrize("terms", ["{", "[]", "{}", '{"decision_id": "d", "more": 1}'])
def test_terms_that_cannot_be_read_hold_nothing(terms: str) -> None:
    """The request is neither sent nor forgotten; somebody has to look."""
    with pytest.raises(ReviewError) as refused:
        held_from(terms, b"", "d", "reviews.sqlite")
    assert refused.value.code == "review_unreadable"
