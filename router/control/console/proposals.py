"""What was learnt and what Lockgate suggests: what a proposal would change, and the steps that people take with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from router.control.console.asking import address
from router.control.console.forms import MOST_COMMENT, comment_of, done, posted
from router.control.console.html import page, see_other
from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.learning import learning_of
from router.control.models import NewWording
from router.control.parameters import Cursor, Identifier
from router.control.permissions import Permission
from router.control.services import ControlServices, Json, LearnedProposals
from router.errors import RefusedError

router = guarded_router()
SHOWN = 100
STATES = ("suggested", "draft", "evaluated", "approved", "rolled_out", "reverted", "superseded", "rejected", "withdrawn")
Kept = Annotated[str, Query(pattern=f"^({'|'.join(STATES)})?$")]
Step = Callable[[Mapping[str, str]], Awaitable[Any]]


@router.get("/console/proposals", include_in_schema=False, **needs(Permission.PROPOSALS_READ))
async def proposals(request: Request, services: Services, state: Kept = "", cursor: Cursor = None) -> HTMLResponse:
    found = await _desk(services).list(state or None, cursor, SHOWN)
    return page(
        request, "proposals.html", here="proposals", proposals=found.items, next=found.next, state=state, states=STATES, done=done(request)
    )


@router.get("/console/proposals/{proposal_id}", include_in_schema=False, **needs(Permission.PROPOSALS_READ))
async def proposal(request: Request, proposal_id: Identifier, services: Services, caller: Caller) -> HTMLResponse:
    """Its texts are not shown here: opening them is a step of its own (`lockgate proposals show`)."""
    return await _shown(request, proposal_id, services, caller)


@router.post("/console/proposals/{proposal_id}/adopt", include_in_schema=False, **needs(Permission.PROPOSALS_PROPOSE))
async def adopt(request: Request, proposal_id: Identifier, services: Services, caller: Caller) -> Response:
    step = _step(services, "adopt", proposal_id, caller)
    return await _moved(request, proposal_id, services, caller, step, "proposal_adopted")


@router.post("/console/proposals/{proposal_id}/evaluate", include_in_schema=False, **needs(Permission.PROPOSALS_PROPOSE))
async def evaluate(request: Request, proposal_id: Identifier, services: Services, caller: Caller) -> Response:
    desk = _desk(services)
    return await _moved(
        request, proposal_id, services, caller, lambda fields: desk.evaluate(proposal_id, caller.subject), "proposal_evaluated"
    )


@router.post("/console/proposals/{proposal_id}/word", include_in_schema=False, **needs(Permission.PROPOSALS_PROPOSE))
async def word(request: Request, proposal_id: Identifier, services: Services, caller: Caller) -> Response:
    desk = _desk(services)
    return await _moved(request, proposal_id, services, caller, lambda fields: desk.word(proposal_id, caller.subject), "proposal_worded")


@router.post("/console/proposals/{proposal_id}/edit", include_in_schema=False, **needs(Permission.PROPOSALS_PROPOSE))
async def edit(request: Request, proposal_id: Identifier, services: Services, caller: Caller) -> Response:
    """Other words, a language model's or not."""
    desk = _desk(services)

    async def step(fields: Mapping[str, str]) -> None:
        try:
            words = NewWording.model_validate({name: " ".join(fields.get(name, "").split()) for name in NewWording.model_fields})
        except ValidationError as error:
            first = error.errors()[0]
            raise RefusedError(f"The {first['loc'][0]}: {first['msg']}.", "request_invalid", 422) from None
        await desk.edit(proposal_id, words.model_dump(), caller.subject)

    return await _moved(request, proposal_id, services, caller, step, "proposal_edited")


@router.post("/console/proposals/{proposal_id}/approve", include_in_schema=False, **needs(Permission.PROPOSALS_APPROVE))
async def approve(request: Request, proposal_id: Identifier, services: Services, caller: Caller) -> Response:
    """Of the evaluation that the page showed."""
    desk = _desk(services)

    async def step(fields: Mapping[str, str]) -> None:
        override = fields.get("override", "").strip()[:MOST_COMMENT]
        await desk.approve(proposal_id, caller.subject, fields.get("binding", ""), comment_of(fields), override)

    return await _moved(request, proposal_id, services, caller, step, "proposal_approved")


@router.post("/console/proposals/{proposal_id}/reject", include_in_schema=False, **needs(Permission.PROPOSALS_APPROVE))
async def reject(request: Request, proposal_id: Identifier, services: Services, caller: Caller) -> Response:
    step = _step(services, "reject", proposal_id, caller)
    return await _moved(request, proposal_id, services, caller, step, "proposal_rejected")


@router.post("/console/proposals/{proposal_id}/roll-out", include_in_schema=False, **needs(Permission.PROPOSALS_APPROVE))
async def roll_out(request: Request, proposal_id: Identifier, services: Services, caller: Caller) -> Response:
    step = _step(services, "roll_out", proposal_id, caller)
    return await _moved(request, proposal_id, services, caller, step, "proposal_rolled_out")


@router.post("/console/proposals/{proposal_id}/revert", include_in_schema=False, **needs(Permission.PROPOSALS_APPROVE))
async def revert(request: Request, proposal_id: Identifier, services: Services, caller: Caller) -> Response:
    step = _step(services, "revert", proposal_id, caller)
    return await _moved(request, proposal_id, services, caller, step, "proposal_reverted")


def _step(services: ControlServices, what: str, proposal_id: str, caller: Principal) -> Step:
    """One of those that take nothing but a comment."""
    desk = _desk(services)
    steps: Mapping[str, Callable[..., Awaitable[Json]]] = {
        "adopt": desk.adopt,
        "reject": desk.reject,
        "roll_out": desk.roll_out,
        "revert": desk.revert,
    }
    return lambda fields: steps[what](proposal_id, caller.subject, comment_of(fields))


def _desk(services: ControlServices) -> LearnedProposals:
    return learning_of(services).proposals


async def _moved(request: Request, proposal_id: str, services: ControlServices, caller: Principal, step: Step, told: str) -> Response:
    """What stands in the way is told above the proposal as it is now."""
    try:
        await step(await posted(request))
    except RefusedError as error:
        if error.status == 404:
            raise
        return await _shown(request, proposal_id, services, caller, str(error), error.status)
    return see_other(address(f"/console/proposals/{proposal_id}", done=told))


async def _shown(
    request: Request, proposal_id: str, services: ControlServices, caller: Principal, refused: str = "", status: int = 200
) -> HTMLResponse:
    found = await _desk(services).show(proposal_id, caller.subject, personal=False)
    figures = (found["evaluation"] or {}).get("figures") or {}
    return page(
        request,
        "proposal.html",
        here="proposals",
        status=status,
        proposal=found,
        effect=figures.get("route") or found["effect"],
        figures=figures if figures.get("after", {}).get("texts") or figures.get("replay", {}).get("decisions") else None,
        drafts=_desk(services).drafts,
        refused=refused,
        done=done(request),
    )
