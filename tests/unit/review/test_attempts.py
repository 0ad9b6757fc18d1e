"""Who may try what with a held request, whatever policy says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from router.errors import ReviewError
from router.ports import Change, Entry, Held, Review
from router.review import terms
from router.review.approving import Approval, enough, missing_roles
from router.review.attempts import Attempt, Kind, Reviewer, check
from router.review.deadlines import due_ns, overdue
from router.review.state import OPEN, UNDECIDED, Event, State

SECOND = 1_000_000_000
RITA = Reviewer("rita", "11" * 16, ("manager",))
RUBEN = Reviewer("ruben", "22" * 16, ("manager",))
ASKER = "99" * 16
TERMS = {"reviewers": ["manager"], "quorum": 2, "judged": {"bundle": "b", "revision": "r", "said": "s"}}
HELD = Held("d1", "ab" * 32, 10, 100 * SECOND, None, "r", "bank", "high", None, ASKER, b"", TERMS)
PENDING = Review(HELD, State.PENDING, (Change(Event.HELD, "", State.PENDING, 10),))


def with_terms(**changes: Any) -> Held:
    return replace(HELD, summary={**TERMS, **changes})


def given(by: Reviewer, held: Held = HELD) -> Approval:
    return Approval(by.key_id, by.people, frozenset(by.roles), terms.covers(held), by.id)


def attempt(kind: Kind = Kind.APPROVE, who: Reviewer = RITA, **changes: Any) -> Attempt:
    made = Attempt(kind, PENDING, who, frozenset({ASKER}), (), 50 * SECOND, terms.covers(HELD))
    return replace(made, **changes)


def refused(wanted: Attempt) -> str:
    with pytest.raises(ReviewError) as error:
        check(wanted)
    return error.value.code


def claimed(by: Reviewer, at_ns: int = 40 * SECOND, **changes: Any) -> Review:
    step = Change(Event.CLAIMED, State.PENDING, State.ASSIGNED, at_ns, (Entry(b"{}", b"", by.key_id),))
    return Review(with_terms(**changes), State.ASSIGNED, (*PENDING.history, step))


def test_a_reviewer_with_the_role_may_decide() -> None:
    """What nothing is against is let through."""
    for kind in (Kind.CLAIM, Kind.APPROVE, Kind.REJECT, Kind.MODIFY, Kind.REROUTE, Kind.ASK, Kind.ESCALATE):
        check(attempt(kind))


def test_one_person_is_one_approval() -> None:
    """The same person twice is no quorum."""
    assert refused(attempt(given=(given(RITA),))) == "already_approved"
    check(attempt(given=(given(RUBEN),)))


def test_one_person_is_one_approval_in_any_name() -> None:
    """Who acts for somebody who approved adds nothing, and the other way round."""
    agent = replace(RUBEN, acting=frozenset({RITA.key_id}))
    assert refused(attempt(given=(given(agent),))) == "already_approved"
    assert refused(attempt(who=agent, given=(given(RITA),))) == "already_approved"


@pytest.mark.parametrize("kind", [Kind.CLAIM, Kind.APPROVE, Kind.MODIFY, Kind.REROUTE, Kind.ASK, Kind.ESCALATE])
def test_nobody_decides_about_their_own(kind: Kind) -> None:
    """The requester is known by the id of the key, whatever the roles; so is whoever acts for them, or asked in their name."""
    assert refused(attempt(kind, replace(RITA, key_id=ASKER))) == "self_approval"
    assert refused(attempt(kind, replace(RITA, acting=frozenset({ASKER})))) == "self_approval"
    assert refused(attempt(kind, asker=frozenset({ASKER, RITA.key_id}))) == "self_approval"


def test_who_made_the_key_that_it_was_asked_with_only_rejects() -> None:
    """They have seen it, so they may be who asked, in any name. They gain nothing by it that only who asked may do."""
    for kind in (Kind.CLAIM, Kind.APPROVE, Kind.MODIFY, Kind.REROUTE, Kind.ASK, Kind.ESCALATE):
        assert refused(attempt(kind, maker=RITA.key_id)) == "self_approval"
        assert refused(attempt(kind, replace(RUBEN, acting=frozenset({RITA.key_id})), maker=RITA.key_id)) == "self_approval"
    check(attempt(Kind.REJECT, maker=RITA.key_id))
    assert refused(attempt(Kind.REJECT, replace(RITA, roles=("clerk",)), maker=RITA.key_id)) == "reviewer_role_missing"
    assert refused(attempt(Kind.CANCEL, maker=RITA.key_id)) == "not_requester"


def test_break_glass_approves_nothing() -> None:
    """It may be who asked, or who approved it before. What sends nothing it may do."""
    glass = replace(RITA, authenticated_by="break_glass")
    for kind in (Kind.APPROVE, Kind.MODIFY, Kind.REROUTE):
        assert refused(attempt(kind, glass)) == "self_approval"
    for kind in (Kind.REJECT, Kind.CLAIM, Kind.ASK, Kind.ESCALATE):
        check(attempt(kind, glass))


def test_an_approval_is_for_the_content_that_is_held() -> None:
    """Another digest is another content."""
    assert refused(attempt(digest="cd" * 32)) == "content_changed"


@pytest.mark.parametrize(
    "changes",
    [{"content_digest": "cd" * 32}, {"route": "other"}, {"destination": "other"}, {"risk": "low"}, {"summary": {**TERMS, "level": 1}}]
    + [{"summary": {**TERMS, name: value}} for name, value in (("evidence", {"count": 1}), ("judged", {"bundle": "c"}), ("quorum", 1))],
)
def test_an_approval_covers_all_of_what_is_held(changes: dict[str, Any]) -> None:
    """Content, route, destination, risk, evidence, terms and policies: with another one it is for something else."""
    assert terms.covers(replace(HELD, **changes)) != terms.covers(HELD)


def test_what_an_older_release_held_is_approved_by_its_content() -> None:
    """As its reviewers were shown it."""
    old = replace(HELD, summary={"quorum": 1})
    assert terms.covers(old) == old.content_digest


def test_the_time_ends_with_the_moment_of_expiry() -> None:
    """Also before anybody has marked it expired, and for everything."""
    check(attempt(now_ns=100 * SECOND - 1))
    for kind in (Kind.APPROVE, Kind.REJECT, Kind.CLAIM, Kind.CANCEL):
        assert refused(attempt(kind, now_ns=100 * SECOND)) == "review_expired"


def test_policy_names_the_roles_of_reviewers() -> None:
    """One of them is needed, for both answers; where it names none, the control API's permission is enough."""
    clerk = replace(RITA, roles=("clerk",))
    assert refused(attempt(who=clerk)) == "reviewer_role_missing"
    assert refused(attempt(Kind.REJECT, clerk)) == "reviewer_role_missing"
    anybody = replace(PENDING, held=with_terms(reviewers=[]))
    check(attempt(who=replace(clerk, roles=()), review=anybody, digest=None))


def test_who_asked_may_take_it_back() -> None:
    """Cancelling and rejecting one's own needs no role; nobody else may cancel."""
    anna = Reviewer("anna", ASKER)
    check(attempt(Kind.CANCEL, anna))
    check(attempt(Kind.REJECT, anna))
    assert refused(attempt(Kind.CANCEL)) == "not_requester"


@pytest.mark.parametrize("state", [state for state in State if state not in UNDECIDED])
def test_what_is_decided_is_not_decided_again(state: State) -> None:
    """Whatever is tried."""
    for kind in Kind:
        assert refused(attempt(kind, review=replace(PENDING, state=state))) == "review_not_pending"


def test_while_a_question_is_open_nobody_approves() -> None:
    """It may be rejected, escalated, answered and taken back."""
    asked = replace(PENDING, state=State.MORE_INFORMATION)
    for kind in (Kind.APPROVE, Kind.MODIFY, Kind.REROUTE, Kind.CLAIM, Kind.RELEASE, Kind.ASK):
        assert refused(attempt(kind, review=asked)) == "review_not_pending"
    for kind in (Kind.REJECT, Kind.ESCALATE):
        check(attempt(kind, review=asked))
    check(attempt(Kind.ANSWER, Reviewer("anna", ASKER), review=asked))
    assert refused(attempt(Kind.ANSWER, review=asked)) == "not_requester"


def test_a_claim_keeps_others_away_until_it_is_over() -> None:
    """Its holder decides; nobody gives another's claim back."""
    review = claimed(RUBEN, claim_ns=5 * SECOND)
    asked = {"review": review, "digest": None}
    assert refused(attempt(now_ns=44 * SECOND, **asked)) == "review_claimed"
    check(attempt(who=RUBEN, now_ns=44 * SECOND, **asked))
    check(attempt(now_ns=45 * SECOND, **asked))
    assert refused(attempt(Kind.RELEASE, now_ns=45 * SECOND, **asked)) == "review_claimed"


def test_a_higher_level_has_its_own_people() -> None:
    """Only those of the level decide; roles of the first count no more."""
    review = replace(PENDING, state=State.ESCALATED, held=with_terms(escalate_to=["chief"], level=1, each_of=["manager"]))
    assert refused(attempt(review=review, digest=None)) == "reviewer_role_missing"
    check(attempt(who=replace(RITA, roles=("chief",)), review=review, digest=None))
    assert terms.each_of(review.held) == ()


def test_each_role_is_another_persons() -> None:
    """Somebody with both roles stands for one of them: for the one that nobody else has."""
    held = with_terms(each_of=["risk_officer", "payments_lead"])
    both = replace(RITA, roles=("risk_officer", "payments_lead"))
    lead = replace(RUBEN, roles=("payments_lead",))
    officer = replace(RUBEN, roles=("risk_officer",))
    assert not enough(held, [given(both)])
    assert enough(held, [given(both), given(lead)])
    assert enough(held, [given(both), given(officer)])
    assert not enough(held, [given(lead), given(replace(lead, key_id="33" * 16))])
    assert missing_roles(held, [given(lead)]) == ("risk_officer",)


def test_as_many_people_as_policy_wants() -> None:
    """Who acts for another is not another."""
    agent = replace(RUBEN, acting=frozenset({RITA.key_id}))
    assert enough(HELD, [given(RITA), given(RUBEN)])
    assert not enough(HELD, [given(RITA), given(agent)])
    assert not enough(HELD, [given(RITA)])


def test_time_makes_the_gravest_step_due() -> None:
    """The end before a level's, a level's before a claim's."""
    held = {"claim_ns": 5 * SECOND, "escalate_ns": 20 * SECOND, "escalate_to": ["chief"]}
    review = claimed(RITA, 1 * SECOND, **held)
    assert overdue(review, 6 * SECOND - 1) is None
    assert overdue(review, 6 * SECOND) is Event.LAPSED
    assert overdue(review, 21 * SECOND) is Event.ESCALATED
    assert overdue(review, 100 * SECOND) is Event.EXPIRED
    assert due_ns(review.held, review.state, review.history) == 6 * SECOND


def test_only_low_risk_may_go_when_nobody_decided() -> None:
    """And only where policy said so when it was held."""
    allowed = with_terms(on_expiry="allow")
    assert overdue(replace(PENDING, held=allowed), 100 * SECOND) is Event.EXPIRED
    assert overdue(replace(PENDING, held=replace(allowed, risk="low")), 100 * SECOND) is Event.EXPIRY_ALLOWED
    assert overdue(replace(PENDING, held=replace(HELD, risk="low")), 100 * SECOND) is Event.EXPIRED


def test_nothing_is_due_once_it_is_decided() -> None:
    """Whatever the time."""
    for state in State:
        assert (overdue(replace(PENDING, state=state), 1000 * SECOND) is None) == (state not in UNDECIDED)
    assert set(OPEN) < set(UNDECIDED)
