from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query

from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.models import Feedback, Opinion, Opinions, Said
from router.control.parameters import Cursor, Identifier, Limit
from router.control.permissions import Permission
from router.control.services import ControlServices, Learning
from router.errors import RefusedError

router = guarded_router()
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


def learning_of(services: ControlServices) -> Learning:
    if services.learning is None:
        raise RefusedError("The configuration has no 'learning': nothing is learnt here.", "learning_off", 404)
    return services.learning
