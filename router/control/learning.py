from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query

from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.models import (
    Comment,
    Feedback,
    NewProposal,
    NewWording,
    Opinion,
    Opinions,
    Patch,
    ProposalApproval,
    Proposals,
    Said,
    Suggestions,
    Topics,
)
from router.control.parameters import Cursor, Identifier, Limit
from router.control.permissions import Permission
from router.control.services import ControlServices, Learning
from router.errors import IdentityError, RefusedError

router = guarded_router()
States = Literal["suggested", "draft", "evaluated", "approved", "rolled_out", "reverted", "superseded", "rejected", "withdrawn"]
State = Annotated[States | None, Query(description="Any when left out")]
Verdict = Annotated[Literal["right", "wrong", "out_of_scope"] | None, Query(description="Any when left out")]


@router.post("/v1/decisions/{decision_id}/feedback", **needs(Permission.FEEDBACK_WRITE))
async def say(decision_id: Identifier, opinion: Opinion, services: Services, caller: Caller) -> Said:
    """Says whether a decision's intent was right. Durable and in the audit trail when it is answered; the same once more changes nothing,
    something else replaces what the same person said before, and what others said stays beside it."""
    said = {name: value or "" for name, value in opinion.model_dump().items()}
    return Said(**await learning_of(services).say(decision_id, said, caller.subject))


@router.get("/v1/decisions/{decision_id}/feedback", **needs(Permission.PROPOSALS_READ))
async def opinions(decision_id: Identifier, services: Services) -> Opinions:
    """What people said about one decision. Comments are in the audit trail, each under its author's key."""
    return Opinions(**await learning_of(services).opinions(decision_id))


@router.get("/v1/feedback", **needs(Permission.PROPOSALS_READ))
async def feedback(services: Services, verdict: Verdict = None, cursor: Cursor = None, limit: Limit = 100) -> Feedback:
    """What people said about decisions, oldest first."""
    page = await learning_of(services).feedback(verdict, cursor, limit)
    return Feedback.model_validate({"feedback": list(page.items), "next": page.next})


@router.post("/v1/proposals", status_code=201, **needs(Permission.PROPOSALS_PROPOSE))
async def draft(wanted: NewProposal, services: Services, caller: Caller) -> dict[str, Any]:
    """Makes a proposal. Texts of people become examples, masked; so it takes the permission `audit.personal` as well where it is made of
    texts. Nothing happens before it is evaluated and somebody else approves it."""
    desk = learning_of(services).proposals
    if wanted.type in ("new_examples", "new_intent"):
        _personal(caller)
    return dict(await desk.draft(wanted.model_dump(), caller.subject))


@router.get("/v1/proposals", **needs(Permission.PROPOSALS_READ))
async def proposals(services: Services, state: State = None, cursor: Cursor = None, limit: Limit = 100) -> Proposals:
    """Proposals, oldest first; without their texts."""
    page = await learning_of(services).proposals.list(state, cursor, limit)
    return Proposals(proposals=[dict(each) for each in page.items], next=page.next)


@router.get("/v1/proposals/{proposal_id}", **needs(Permission.PROPOSALS_READ))
async def proposal(proposal_id: Identifier, services: Services, caller: Caller) -> dict[str, Any]:
    """One proposal with what it was measured to change; with its texts for who has the permission `audit.personal`, which is recorded."""
    personal = Permission.AUDIT_PERSONAL in caller.permissions
    return dict(await learning_of(services).proposals.show(proposal_id, caller.subject, personal=personal))


@router.post("/v1/proposals/{proposal_id}/evaluate", **needs(Permission.PROPOSALS_PROPOSE))
async def evaluate(proposal_id: Identifier, services: Services, caller: Caller) -> dict[str, Any]:
    """Measures it against what serves, in a process with limits. Answers with `evaluating` where that takes longer; ask again."""
    return dict(await learning_of(services).proposals.evaluate(proposal_id, caller.subject))


@router.post("/v1/proposals/{proposal_id}/approve", **needs(Permission.PROPOSALS_APPROVE))
async def approve(proposal_id: Identifier, wanted: ProposalApproval, services: Services, caller: Caller) -> dict[str, Any]:
    """Approves what was measured. Nobody can approve what they proposed."""
    desk = learning_of(services).proposals
    return dict(await desk.approve(proposal_id, caller.subject, wanted.binding, wanted.comment, wanted.override))


@router.post("/v1/proposals/{proposal_id}/reject", **needs(Permission.PROPOSALS_APPROVE))
async def reject(proposal_id: Identifier, wanted: Comment, services: Services, caller: Caller) -> dict[str, Any]:
    """Ends it before it is rolled out; its texts are removed."""
    return dict(await learning_of(services).proposals.reject(proposal_id, caller.subject, wanted.comment))


@router.post("/v1/proposals/{proposal_id}/roll-out", **needs(Permission.PROPOSALS_APPROVE))
async def roll_out(proposal_id: Identifier, wanted: Comment, services: Services, caller: Caller) -> dict[str, Any]:
    """Writes the approved proposal into the file of what was learnt and takes it up; what serves goes on where that fails."""
    return dict(await learning_of(services).proposals.roll_out(proposal_id, caller.subject, wanted.comment))


@router.post("/v1/proposals/{proposal_id}/revert", **needs(Permission.PROPOSALS_APPROVE))
async def revert(proposal_id: Identifier, wanted: Comment, services: Services, caller: Caller) -> dict[str, Any]:
    """Goes back to what was in force before it. What was rolled out after it has to be reverted first."""
    return dict(await learning_of(services).proposals.revert(proposal_id, caller.subject, wanted.comment))


@router.get("/v1/proposals/{proposal_id}/patch", **needs(Permission.PROPOSALS_READ))
async def patch(proposal_id: Identifier, services: Services, caller: Caller) -> Patch:
    """What it would change in the file of what was learnt, for who has changes reviewed in version control. Has its texts, so it takes
    `audit.personal` as well."""
    desk = learning_of(services).proposals
    _personal(caller)
    return Patch(**await desk.export(proposal_id, caller.subject))


@router.post("/v1/topics", **needs(Permission.PROPOSALS_PROPOSE))
async def topics(services: Services, caller: Caller) -> Topics:
    """Groups the newest requests that found no intent by what they are about, in a process with limits. No text of anybody is shown, only
    words that several people used."""
    return Topics.model_validate(await learning_of(services).proposals.topics(caller.subject))


@router.post("/v1/proposals/suggestions", **needs(Permission.PROPOSALS_PROPOSE))
async def suggestions(services: Services, caller: Caller) -> Suggestions:
    """Looks now at what became of requests of each intent whose route has alternatives, and suggests others where these are better, with
    what they would do. Nobody's proposals before somebody adopts them; nothing of anybody's requests is opened."""
    return Suggestions.model_validate(await learning_of(services).proposals.suggest(caller.subject))


@router.post("/v1/proposals/{proposal_id}/adopt", **needs(Permission.PROPOSALS_PROPOSE))
async def adopt(proposal_id: Identifier, wanted: Comment, services: Services, caller: Caller) -> dict[str, Any]:
    """Makes a suggestion the caller's own proposal: somebody else has to approve it."""
    return dict(await learning_of(services).proposals.adopt(proposal_id, caller.subject, wanted.comment))


@router.post("/v1/proposals/{proposal_id}/wording", **needs(Permission.PROPOSALS_PROPOSE))
async def word(proposal_id: Identifier, services: Services, caller: Caller) -> dict[str, Any]:
    """Has a language model draft name, description and rationale of a new intent, where the configuration has one. They stand beside the
    proposal's own until its author takes them over; where the model fails, nothing is changed."""
    return dict(await learning_of(services).proposals.word(proposal_id, caller.subject))


@router.put("/v1/proposals/{proposal_id}/wording", **needs(Permission.PROPOSALS_PROPOSE))
async def edit(proposal_id: Identifier, words: NewWording, services: Services, caller: Caller) -> dict[str, Any]:
    """Gives a proposed intent other words, by its author alone. It has to be evaluated again, and what was approved is not any more."""
    return dict(await learning_of(services).proposals.edit(proposal_id, words.model_dump(), caller.subject))


def _personal(caller: Principal) -> None:
    if Permission.AUDIT_PERSONAL not in caller.permissions:
        raise IdentityError("The key lacks the permission 'audit.personal': texts of people are opened here.", "permission_missing", 403)


def learning_of(services: ControlServices) -> Learning:
    if services.learning is None:
        raise RefusedError("The configuration has no 'learning': nothing is learnt here.", "learning_off", 404)
    return services.learning
