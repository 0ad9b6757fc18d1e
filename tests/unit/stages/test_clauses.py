"""A text is split where somebody could be asking for a second thing, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.stages.clauses import MOST_CHARACTERS, MOST_CLAUSES, MOST_JOINTS, clauses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cancel payment 4711 and book leave on friday", ("cancel payment 4711", "book leave on friday")),
        ("cancel payment 4711, and then book my leave", ("cancel payment 4711", "book my leave")),
        ("cancel payment 4711, then book my leave", ("cancel payment 4711", "book my leave")),
        ("cancel payment 4711 as well as payment 4712 today", ("cancel payment 4711", "payment 4712 today")),
        ("Cancel payment 4711. Also, book my leave!", ("Cancel payment 4711", "Also, book my leave!")),
        ("Where is it now? Cancel it at once; tell my boss.", ("Where is it now", "Cancel it at once", "tell my boss.")),
        ("取消付款4711!查询我的余额", ("取消付款4711", "查询我的余额")),
        ("取消付款4711。查询我的余额", ("取消付款4711", "查询我的余额")),
    ],
)
def test_two_requests_are_two_clauses(text: str, expected: tuple[str, ...]) -> None:
    """By marks of any language, by words in English."""
    assert clauses(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cancel payment 4711",
        "order salt and pepper",
        "call Mr. Smith about it",
        "pay 4.500 to a.b/c?d=e;f",
        "Sandy is thenceforth alsoran",
        "cancel payment 4711. Thanks a lot for your help!",
        "Good morning to all of you. Cancel payment 4711",
        "cancel payment 4711 and thank you very much",
    ],
)
def test_one_request_is_not_split(text: str) -> None:
    """Neither short coordinations, nor abbreviations, numbers and addresses, nor courtesies make two of one."""
    assert clauses(text) == ()


def test_too_many_clauses_are_put_together() -> None:
    """So that the cost is bounded."""
    words = [f"do the thing{number}" for number in range(11)]
    found = clauses(". ".join(words))
    assert len(found) == MOST_CLAUSES
    assert ". ".join(found) == ". ".join(words)


def test_no_more_joints_are_looked_at_than_there_may_be() -> None:
    """A text of nothing but joints is cut at its beginning only, and each clause has a length that a request may have."""
    found = clauses(" ".join(["do this now."] * 1000))
    assert len(found) == MOST_CLAUSES
    assert len(found[-1]) == MOST_CHARACTERS
    assert found[0].count("do this now") == MOST_JOINTS // MOST_CLAUSES


@given(st.text(st.sampled_from("ab .,!?;。and then THEN also plus")))
def test_clauses_are_parts_of_the_text(text: str) -> None:
    """In order, without overlap, and never just one."""
    normal = " ".join(text.split())
    found = clauses(normal)
    assert len(found) != 1
    assert len(found) <= MOST_CLAUSES
    place = 0
    for clause in (part for group in found for part in group.split(". ")):
        place = normal.index(clause, place) + len(clause)


@pytest.mark.parametrize("run", ["!", "?", "!?;", "."], ids=repr)
def test_a_run_of_marks_is_read_once(run: str) -> None:
    """A million marks: read from every start they would take hours."""
    assert clauses(run * 1_000_000) == ()
