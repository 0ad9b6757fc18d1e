"""Proposals over stores in memory: every step, who may take it, and what is on record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.adaptation.drafting import Example
from router.adaptation.proposals import Proposals, view
from router.adaptation.state import MOVES, OPEN, Event, State, Type, move
from router.decision import Subject
from router.errors import RefusedError
from router.ports import Lesson
from router.system import UuidV7
from tests.unit.adaptation.approvals import Office, policy
from tests.unit.adaptation.parts import RITA, RUBEN, Learning

ADA = Subject("ada", "user", ("policy_author",))
FIGURES = {"after": {"accuracy": 0.9}}
SERVING = "c" * 64


class Desk:
    def __init__(self, learning: Learning) -> None:
        self.learning, self.catalog, self.office = learning, SERVING, Office(learning)
        approvals = self.office.approvals
        self.proposals = Proposals(learning.keeping, learning.keys, learning.clock, UuidV7(), lambda: self.catalog, approvals)

    async def drafted(self, *subjects: str) -> Lesson:
        found = []
        for number, subject in enumerate(subjects or ("anna", "bert")):
            key_id, _ = await self.learning.keys.key_for(subject)
            found.append(Example(f"d{number}", "pay", key_id, f"text of {subject}"))
        return await self.proposals.draft(Type.NEW_EXAMPLES, found, {}, {"own": 1}, ADA, "of last week")

    async def measured(self, *faults: str) -> Lesson:
        return await self.proposals.measured(await self.drafted(), self.catalog, FIGURES, faults, ADA)

    async def approved(self) -> Lesson:
        found = await self.measured()
        return await self.proposals.approve(found.id, RITA, found.terms["evaluation"]["binding"], "fine", "")


@pytest.fixture
def desk(learning: Learning) -> Desk:
    return Desk(learning)


async def refused(desk: Desk, found: Lesson, code: str, by: Subject = RITA, override: str = "", binding: str | None = None) -> None:
    evaluation = found.terms["evaluation"]
    with pytest.raises(RefusedError) as told:
        await desk.proposals.approve(found.id, by, binding or (evaluation or {}).get("binding", ""), "", override)
    assert told.value.code == code


async def test_a_draft_has_its_texts_sealed(desk: Desk) -> None:
    """Each under the key of the one who wrote it; nothing of them is in the terms or in the ledger."""
    found = await desk.drafted()
    assert await desk.proposals.texts(found) == {"text_0": "text of anna", "text_1": "text of bert"}
    assert (view(found)["people"], view(found)["decisions"]) == (2, 2)
    assert "text of" not in str(found)
    assert b"text of" not in b"".join(entry.leaf + entry.sealed for entry in desk.learning.ledger.entries)


async def test_every_step_is_on_record(desk: Desk) -> None:
    """With who proposed and who approved it, and what was measured."""
    found = await desk.approved()
    found = await desk.proposals.rolled_out(await desk.proposals.to_roll_out(found.id, RUBEN), "v" * 64, "o" * 64, RUBEN, "")
    await desk.proposals.ended(found, Event.REVERTED, RUBEN)
    leaves = desk.learning.leaves
    assert [each["event"] for each in leaves] == [
        f"proposal_{each}" for each in ("drafted", "evaluated", "approved", "rolled_out", "reverted")
    ]
    approved = leaves[2]["details"]
    rita, ada = (await desk.learning.keys.key_for("rita"))[0], (await desk.learning.keys.key_for("ada"))[0]
    assert (approved["author"], approved["approver"], approved["overridden"]) == (ada, rita, False)
    assert {each["details"]["digest"] for each in leaves} == {approved["digest"]}
    assert leaves[3]["details"]["version"] == "v" * 64


async def test_nobody_approves_their_own(desk: Desk) -> None:
    """Whatever roles they have."""
    await refused(desk, await desk.measured(), "proposal_own", by=ADA)


async def test_what_was_not_measured_is_not_approved(desk: Desk) -> None:
    """Nor what names another evaluation."""
    await refused(desk, await desk.drafted(), "proposal_state")
    await refused(desk, await desk.measured(), "proposal_changed", binding="0" * 64)


async def test_what_is_worse_takes_an_override_on_record(desk: Desk) -> None:
    """Its reason is sealed with the approval."""
    found = await desk.measured("It is worse.")
    await refused(desk, found, "proposal_worse")
    approved = await desk.proposals.approve(found.id, RITA, found.terms["evaluation"]["binding"], "", "we know why")
    assert approved.terms["overridden"]
    assert desk.learning.leaves[-1]["details"]["overridden"] is True


async def test_the_role_is_asked_for(desk: Desk) -> None:
    """Beside the permission."""
    desk.office.policy = policy(["model_risk"])
    found = await desk.measured()
    await refused(desk, found, "proposal_role_missing")
    risk = replace(RITA, roles=("model_risk",))
    assert (await desk.proposals.approve(found.id, risk, found.terms["evaluation"]["binding"], "", "")).state == State.APPROVED


@pytest.mark.parametrize("approved", [False, True])
async def test_another_catalog_voids_what_was_measured(desk: Desk, approved: bool) -> None:
    """Before the approval and after it; it is a draft again."""
    found = await (desk.approved() if approved else desk.measured())
    desk.catalog = "d" * 64
    with pytest.raises(RefusedError) as told:
        await (desk.proposals.to_roll_out(found.id, RUBEN) if approved else desk.proposals.approve(found.id, RITA, "0" * 64, "", ""))
    assert told.value.code == "proposal_stale"
    after = await desk.proposals.found(found.id)
    assert (after.state, after.terms["evaluation"], after.terms["approver"]) == (State.DRAFT, None, None)
    assert desk.learning.leaves[-1]["details"]["reason"] == "proposal_stale"


async def test_who_is_erased_takes_their_texts_along(desk: Desk) -> None:
    """Out of everything that is not rolled out; what was measured and approved with them is void."""
    found = await desk.approved()
    key_id, _ = await desk.learning.keys.key_for("anna")
    await desk.proposals.forget(key_id)
    after = await desk.proposals.found(found.id)
    assert after.state == State.DRAFT
    assert (after.terms["intents"], after.terms["sources"]) == ({"pay": {"examples": ["text_1"]}}, {"text_1": "d1"})
    assert await desk.proposals.texts(after) == {"text_1": "text of bert"}
    assert await desk.learning.store.sealed_under(key_id) == []


async def test_a_destroyed_key_opens_nothing_whoever_forgets_to_remove_the_text(desk: Desk) -> None:
    """Sealing is what erases; removing only tidies up."""
    found = await desk.drafted()
    await desk.learning.keys.destroy((await desk.learning.keys.key_for("anna"))[0])
    assert await desk.proposals.texts(found) == {"text_1": "text of bert"}


async def test_without_its_author_nobody_is_somebody_else(desk: Desk) -> None:
    """Their key is gone, so they could come back as another one."""
    found = await desk.measured()
    await desk.learning.keys.destroy(found.terms["author"])
    await refused(desk, found, "proposal_author_erased")


async def test_of_two_who_approve_at_once_one_does(desk: Desk) -> None:
    """The other hears that it changed."""
    found = await desk.measured()
    old = await desk.proposals.found(found.id)
    await desk.proposals.approve(found.id, RITA, found.terms["evaluation"]["binding"], "", "")
    with pytest.raises(RefusedError) as told:
        await desk.proposals.ended(old, Event.REJECTED, RUBEN)
    assert told.value.code == "proposal_changed"


async def test_decisions_of_a_rejected_proposal_may_be_proposed_again(desk: Desk) -> None:
    """Those of others not."""
    found = await desk.drafted()
    assert await desk.proposals.used() == {"d0", "d1"}
    rejected = await desk.proposals.reject(found.id, RITA, "no")
    assert (await desk.proposals.used(), rejected.texts) == (set(), ())


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", [each for each in Event if each is not Event.DRAFTED])
def test_what_is_no_step_is_refused(state: State, event: Event) -> None:
    """With the state that it is in. What is over stays so."""
    if (state, event) in MOVES:
        assert move(state, event) is MOVES[state, event]
        return
    with pytest.raises(RefusedError, match=f"is {state} and cannot be {event}"):
        move(state, event)
    if state in (State.REVERTED, State.SUPERSEDED, State.REJECTED):
        assert state not in OPEN
