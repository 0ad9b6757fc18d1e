"""The state machine of held requests."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from router.errors import ReviewError
from router.ports import Change, Entry, Held, Review
from router.review.state import FORGETTING, MOVES, Event, Reviewer, State, approval, move, rejection

DIGEST = "ab" * 32
RITA = Reviewer("rita", "11" * 16, ("manager",))
RUBEN = Reviewer("ruben", "22" * 16, ("manager",))
HELD = Held("d1", DIGEST, 10, 100, None, "r", "bank", "high", None, "99" * 16, b"", {"reviewers": ["manager"], "quorum": 2})
PENDING = Review(HELD, State.PENDING, (Change(Event.HELD, "", State.PENDING, 10),))


def endorsed(by: Reviewer) -> Review:
    step = Change(Event.ENDORSED, State.PENDING, State.PENDING, 20, (Entry(b"{}", b"", by.key_id),))
    return replace(PENDING, history=(*PENDING.history, step))


def refused(review: Review, who: Reviewer, digest: str = DIGEST, now_ns: int = 50) -> str:
    with pytest.raises(ReviewError) as error:
        approval(review, who, digest, now_ns)
    return error.value.code


def test_only_the_moves_of_the_table_are_legal() -> None:
    """Everything else is refused with the state as its reason."""
    for state, event in product(("", *State), Event):
        if (state, event) in MOVES:
            assert move(state, event) == MOVES[(state, event)]
        else:
            with pytest.raises(ReviewError) as error:
                move(state, event)
            assert error.value.code == "review_not_pending"


def test_nothing_reaches_the_upstream_but_over_an_approval() -> None:
    """Every way into `dispatching` leads through `approved`, and every way into that through an approval."""
    assert {(before, event) for (before, event), after in MOVES.items() if after == State.DISPATCHING and before != after} == {
        (State.APPROVED, Event.DISPATCHED)
    }
    assert {(before, event) for (before, event), after in MOVES.items() if after == State.APPROVED} == {(State.PENDING, Event.APPROVED)}


def test_an_ending_has_no_way_out() -> None:
    """What ended stays as it ended; only endings forget the content."""
    left = {before for before, _ in MOVES}
    assert left == {"", State.PENDING, State.APPROVED, State.DISPATCHING}
    assert not left & FORGETTING


def test_the_last_of_a_quorum_approves() -> None:
    """The first of two endorses, the second approves."""
    assert approval(PENDING, RITA, DIGEST, 50) == Event.ENDORSED
    assert approval(endorsed(RITA), RUBEN, DIGEST, 50) == Event.APPROVED


def test_one_person_is_one_approval() -> None:
    """The same person twice is no quorum."""
    assert refused(endorsed(RITA), RITA) == "already_approved"


def test_nobody_approves_their_own() -> None:
    """The requester is known by the id of the key, whatever the roles."""
    assert refused(PENDING, replace(RITA, key_id=HELD.subject_key_id)) == "self_approval"


def test_an_approval_is_for_the_content_that_is_held() -> None:
    """Another digest is another content."""
    assert refused(PENDING, RITA, "cd" * 32) == "content_changed"


def test_the_time_ends_with_the_moment_of_expiry() -> None:
    """Also before anybody has marked it expired."""
    assert approval(PENDING, RITA, DIGEST, 99) == Event.ENDORSED
    assert refused(PENDING, RITA, now_ns=100) == "review_expired"
    with pytest.raises(ReviewError, match="time"):
        rejection(PENDING, RITA, 100)


def test_policy_names_the_roles_of_reviewers() -> None:
    """One of them is needed, for both answers; where it names none, the control API's permission is enough."""
    clerk = replace(RITA, roles=("clerk",))
    assert refused(PENDING, clerk) == "reviewer_role_missing"
    with pytest.raises(ReviewError, match="manager"):
        rejection(PENDING, clerk, 50)
    anybody = replace(PENDING, held=replace(HELD, summary={"quorum": 1}))
    assert approval(anybody, replace(clerk, roles=()), DIGEST, 50) == Event.APPROVED


def test_who_asked_may_take_it_back() -> None:
    """Rejecting one's own needs no role."""
    assert rejection(PENDING, Reviewer("anna", HELD.subject_key_id), 50) == Event.REJECTED


@pytest.mark.parametrize("state", [state for state in State if state != State.PENDING])
def test_what_is_decided_is_not_decided_again(state: State) -> None:
    """Neither approved nor rejected."""
    decided = replace(PENDING, state=state)
    assert refused(decided, RITA) == "review_not_pending"
    with pytest.raises(ReviewError, match=state):
        rejection(decided, RITA, 50)
