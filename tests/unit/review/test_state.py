"""The states of held requests, and which steps lead from one to another."""

from __future__ import annotations

from itertools import product

import pytest

from router.errors import ReviewError
from router.review.state import APPROVALS, FORGETTING, MOVES, UNDECIDED, Event, State, move

PEOPLE = APPROVALS | {Event.EXPIRY_ALLOWED}


def test_only_the_moves_of_the_table_are_legal() -> None:
    """Everything else is refused with the state as its reason."""
    for state, event, to in product(("", *State), Event, State):
        if to in MOVES.get((state, event), ()):
            assert move(state, event, to) == to
        else:
            with pytest.raises(ReviewError) as error:
                move(state, event, to)
            assert error.value.code == "review_not_pending"


def test_a_step_that_may_lead_to_several_states_says_which() -> None:
    """No state is guessed."""
    for (state, event), after in MOVES.items():
        if len(after) > 1:
            with pytest.raises(ReviewError):
                move(state, event)
        else:
            assert move(state, event) in after


def test_nothing_reaches_the_upstream_but_over_an_approval() -> None:
    """Every way into `dispatching` leads through `approved`, and every way into that through an approval, or through what policy had said
    about the end of the time."""
    sent = {(before, event) for (before, event), after in MOVES.items() if State.DISPATCHING in after and before != State.DISPATCHING}
    assert sent == {(State.APPROVED, Event.DISPATCHED)}
    approving = {event for (_, event), after in MOVES.items() if State.APPROVED in after}
    assert approving == PEOPLE - {Event.ENDORSED}


def test_an_ending_has_no_way_out() -> None:
    """What ended stays as it ended; only endings forget the content."""
    left = {before for before, _ in MOVES}
    assert left == {"", *UNDECIDED, State.APPROVED, State.DISPATCHING}
    assert not left & FORGETTING


def test_every_state_is_reached() -> None:
    """From a request that is held."""
    reached, ahead = {""}, [""]
    while ahead:
        at = ahead.pop()
        for (before, _), after in MOVES.items():
            if before == at:
                ahead += [each for each in after if each not in reached]
                reached |= after
    assert reached == {"", *State}
