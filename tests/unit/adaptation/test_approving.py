"""Approvals of proposals, judged by the policy that ships: who, how many, and what is on record of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from router.adaptation.proposals import view
from router.adaptation.state import State, Type
from router.audit.records.record import open_personal
from router.decision import Subject
from router.errors import ConfigError, RefusedError
from router.ports import Lesson
from tests.unit.adaptation.approvals import policy
from tests.unit.adaptation.parts import RITA, RUBEN, Learning
from tests.unit.adaptation.test_proposals import ADA, FIGURES, Desk

TWO = {"new_examples": {"approvals": 2}}
EACH = {"new_examples": {"each_of": ["risk", "owner"]}}
RISK, OWNER = replace(RITA, roles=("risk",)), replace(RUBEN, roles=("owner",))
CLEO = Subject("cleo", "user", ("reviewer",))


@pytest.fixture
def desk(learning: Learning) -> Desk:
    return Desk(learning)


async def approve(desk: Desk, proposal: str, by: Subject, comment: str = "") -> Lesson:
    evaluation = (await desk.proposals.found(proposal)).terms["evaluation"] or {"binding": "0" * 64}
    return await desk.proposals.approve(proposal, by, evaluation["binding"], comment, "")


async def refused(work: Any, code: str) -> None:
    with pytest.raises(RefusedError) as told:
        await work
    assert told.value.code == code


def told(desk: Desk, event: str) -> list[dict[str, Any]]:
    return [leaf["details"] for leaf in desk.learning.leaves if leaf["event"] == event]


async def test_two_of_two_approve(desk: Desk) -> None:
    """The first is on record and changes nothing yet; the second approves it; the same person is not two."""
    desk.office.policy = policy(approval=TWO)
    found = await desk.measured()
    first = await approve(desk, found.id, RITA)
    assert (first.state, len(first.terms["approvals"])) == (State.EVALUATED, 1)
    await refused(desk.proposals.to_roll_out(found.id, RUBEN), "proposal_state")
    await refused(approve(desk, found.id, RITA), "proposal_approved_before")
    assert (await approve(desk, found.id, RUBEN)).state == State.APPROVED
    assert (await desk.proposals.to_roll_out(found.id, RITA)).state == State.APPROVED
    (endorsed,), (approved,) = told(desk, "proposal_endorsed"), told(desk, "proposal_approved")
    assert (endorsed["approvals"], endorsed["wanted"], approved["approvals"], approved["wanted"]) == (1, 2, 2, 2)
    assert endorsed["policy"] == desk.office.policy.digest


async def test_each_role_by_another_person(desk: Desk) -> None:
    """Who has none of them does not approve at all."""
    desk.office.policy = policy(approval=EACH)
    found = await desk.measured()
    await refused(approve(desk, found.id, CLEO), "proposal_role_missing")
    assert (await approve(desk, found.id, RISK)).state == State.EVALUATED
    assert desk.office.approvals.wanted(await desk.proposals.found(found.id)) == {
        "approvals": 2,
        "each_of": ["owner", "risk"],
        "complete": False,
    }
    assert (await approve(desk, found.id, OWNER)).state == State.APPROVED


@pytest.mark.parametrize(
    ("author", "approver"),
    [
        pytest.param(ADA, replace(RITA, claims={"act": {"sub": "ada"}}), id="the author acts for who approves"),
        pytest.param(replace(ADA, claims={"act": {"sub": "robot"}}), Subject("robot", "service"), id="who acted for the author approves"),
        pytest.param(
            replace(ADA, claims={"act": {"sub": "robot"}}), replace(RITA, claims={"act": {"sub": "robot"}}), id="one agent for both"
        ),
    ],
)
async def test_four_eyes_hold_in_anybodys_name(desk: Desk, author: Subject, approver: Subject) -> None:
    """By the keys of people, as they were when it was made."""
    drafted = await desk.proposals.draft(Type.THRESHOLD, [], {"pay": {"min_confidence": "0.9"}}, {}, author, "")
    found = await desk.proposals.measured(drafted, desk.catalog, FIGURES, (), author)
    await refused(approve(desk, found.id, approver), "proposal_own")


async def test_by_break_glass_nothing_is_approved(desk: Desk) -> None:
    """Whoever it is may have made it."""
    glass = Subject("break-glass", "user", ("admin",), authenticated_by="break_glass")
    await refused(approve(desk, (await desk.measured()).id, glass), "proposal_break_glass")


async def test_what_was_refused_is_on_record(desk: Desk) -> None:
    """What was tried and why not, and who and what they said under their key."""
    found = await desk.measured()
    await refused(approve(desk, found.id, ADA, "I am sure"), "proposal_own")
    (details,) = told(desk, "proposal_refused")
    assert (details["attempt"], details["reason"], details["state"]) == ("approve", "proposal_own", "evaluated")
    entry = desk.learning.ledger.entries[-1]
    _, key = await desk.learning.keys.key_for("ada")
    assert open_personal(entry, key) == {"actor": "ada", "comment": "I am sure"}
    assert b"sure" not in entry.leaf
    assert (await desk.proposals.found(found.id)).state == State.EVALUATED


async def test_a_workspace_refuses_by_its_own_rules(desk: Desk) -> None:
    """With its code and sentence, beside what ships; what it cannot say is a refusal."""
    desk.office.policy = policy(
        own='deny contains {"code": "office.freeze", "message": "no changes this week"} if input.proposal.texts > 1'
    )
    found = await desk.measured()
    with pytest.raises(RefusedError, match=r"Policy does not let you approve this \(office.freeze\): no changes this week"):
        await approve(desk, found.id, RITA)
    desk.office.policy = policy(own='deny contains "no" if true')
    await refused(approve(desk, found.id, RITA), "proposal_unjudged")
    assert [each["reason"] for each in told(desk, "proposal_refused")] == ["proposal_denied", "proposal_unjudged"]
    assert desk.office.approvals.wanted(found) is None


async def test_rules_that_cannot_be_read_let_nobody_approve(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a change of the workspace's folder that broke them."""

    def broken() -> None:
        raise ConfigError("own/a.rego:3: The policy does not compile.")

    monkeypatch.setattr(desk.office.approvals, "_policy", broken)
    await refused(approve(desk, (await desk.measured()).id, RITA), "proposal_unjudged")


async def test_what_takes_more_by_now_is_not_rolled_out(desk: Desk) -> None:
    """Until another one approves it, too; then nobody else has to."""
    found = await desk.approved()
    desk.office.policy = policy(approval=TWO)
    await refused(desk.proposals.to_roll_out(found.id, RUBEN), "proposal_approvals_missing")
    assert (await approve(desk, found.id, RUBEN)).state == State.APPROVED
    await refused(approve(desk, found.id, CLEO), "proposal_state")
    assert (await desk.proposals.to_roll_out(found.id, RITA)).state == State.APPROVED


async def test_what_an_older_release_had_approved_is_approved(desk: Desk) -> None:
    """By one, whose roles nobody kept: enough where one is, and a beginning where more are wanted."""
    found = await desk.approved()
    old = {name: value for name, value in found.terms.items() if name not in ("approvals", "judged", "author_acting", "author_by")}
    assert await desk.learning.store.put(replace(found, terms=old), [], "", 0)
    assert [each["roles"] for each in view(await desk.proposals.found(found.id))["approvals"]] == [[]]
    assert (await desk.proposals.to_roll_out(found.id, RUBEN)).state == State.APPROVED
    desk.office.policy = policy(approval=TWO)
    await refused(approve(desk, found.id, RITA), "proposal_approved_before")
    assert len((await approve(desk, found.id, RUBEN)).terms["approvals"]) == 2


async def test_a_measurement_ends_earlier_approvals(desk: Desk) -> None:
    """They were of another one."""
    desk.office.policy = policy(approval=TWO)
    found = await desk.measured()
    await approve(desk, found.id, RITA)
    again = await desk.proposals.measured(await desk.proposals.found(found.id), desk.catalog, {"after": {"accuracy": 0.8}}, (), ADA)
    assert (again.terms["approvals"], again.terms["approver"]) == ([], None)
    assert (await approve(desk, found.id, RITA)).state == State.EVALUATED


async def test_who_was_erased_is_not_the_second_too(desk: Desk) -> None:
    """They could come back as another one, so their approval counts no more."""
    desk.office.policy = policy(approval=TWO)
    found = await desk.measured()
    await approve(desk, found.id, RITA)
    await desk.learning.keys.destroy((await desk.learning.keys.key_for("rita"))[0])
    after = await approve(desk, found.id, RITA)
    assert (after.state, len(after.terms["approvals"])) == (State.EVALUATED, 1)
    assert (await approve(desk, found.id, RUBEN)).state == State.APPROVED


async def test_of_two_who_approve_at_once_each_counts(desk: Desk) -> None:
    """Who comes second hears that it changed, and approves again."""
    desk.office.policy = policy(approval=TWO)
    found = await desk.measured()
    old = await desk.proposals.found(found.id)
    await approve(desk, found.id, RITA)
    get = desk.learning.store.get

    async def stale(kind: str, lesson_id: str) -> Lesson | None:
        return old if lesson_id == found.id else await get(kind, lesson_id)

    desk.learning.store.get = stale  # type: ignore[method-assign]
    await refused(approve(desk, found.id, RUBEN), "proposal_changed")
    desk.learning.store.get = get  # type: ignore[method-assign]
    assert (await approve(desk, found.id, RUBEN)).state == State.APPROVED
