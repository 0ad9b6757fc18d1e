from __future__ import annotations

from typing import Any

from router.control.console.charts import diagram, histogram, stacked
from router.control.console.intents import BINS, mix, pairs, reliability


def counts(**at: int) -> list[int]:
    return [at.get(f"bin{place}", 0) for place in range(BINS)]


def test_reliability_is_the_share_that_reviewers_approved() -> None:
    """Whatever came after an approval counts as one; what nobody decided counts as nothing."""
    groups = [
        {"review": "approved", "counts": counts(bin19=2)},
        {"review": "done", "counts": counts(bin19=1)},
        {"review": "rejected", "counts": counts(bin19=1, bin10=1)},
        {"review": "held", "counts": counts(bin3=9)},
        {"review": None, "counts": counts(bin19=100)},
    ]
    assert reliability(groups) == [(0.525, 0.0, 1), (0.975, 0.75, 4)]


def test_the_mix_names_the_most_frequent_and_counts_all() -> None:
    """What is not among them, and what has no intent, is in the last place."""
    groups = [{"bucket": "b", "intent": name, "count": place + 1} for place, name in enumerate("abcdefgh")]
    groups += [{"bucket": "a", "intent": None, "count": 5}]
    found = mix(groups)
    assert found["names"] == ["h", "g", "f", "e", "d", "c", "others and none"]
    assert found["buckets"] == [("a", [0, 0, 0, 0, 0, 0, 5]), ("b", [8, 7, 6, 5, 4, 3, 3])]


def test_pairs_are_the_two_likeliest_whichever_came_first() -> None:
    """A leaf with one candidate or none says nothing."""
    leaves: list[dict[str, Any]] = [
        {"classification": {"candidates": [{"intent": one}, {"intent": other}]}} for one, other in ("ab", "ba", "cb")
    ]
    leaves += [{"classification": None}, {"classification": {"candidates": [{"intent": "a"}]}}]
    assert pairs(leaves) == [("a", "b", 2), ("b", "c", 1)]


def test_pictures_say_what_they_show_and_escape_what_they_name() -> None:
    """Also of nothing at all."""
    for picture in (
        histogram("<n>", []),
        histogram("<n>", [0, 3]),
        stacked("<n>", [("<t>", [1, 2])]),
        stacked("<n>", []),
        diagram("<n>", []),
    ):
        assert 'role="img"' in picture
        assert "<n>" not in picture
        assert "<t>" not in picture
