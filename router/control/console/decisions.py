"""One decision as a story: what was asked, what was thought of it, what policy said, what happened then, and the proof of all that."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Request, Response
from fastapi.responses import HTMLResponse

from router.audit.tree.checkpoint import note_checkpoint
from router.control.console.asking import address
from router.control.console.audit import Personal, opening
from router.control.console.feedback import opinions
from router.control.console.forms import done
from router.control.console.framed import framed
from router.control.console.html import page
from router.control.console.rows import row
from router.control.console.rules import Place, places
from router.control.console.story import Json, Story, stories
from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.parameters import Identifier
from router.control.permissions import Permission
from router.control.services import AuditFilters, ControlServices
from router.errors import RefusedError

router = guarded_router()
UNKNOWN = "There is no record of that decision."


@router.get("/console/decisions/{decision_id}", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def decision(request: Request, decision_id: Identifier, services: Services, caller: Caller, personal: Personal = "") -> Response:
    """By its id, or that of its request or trace; a trace with several decisions lists them."""
    answer = _decision(request, decision_id, services, caller, personal)
    return await framed(request, answer, "decision.html", here="audit", asked_for=decision_id, story=None, leaf={})


async def _decision(request: Request, decision_id: str, services: ControlServices, caller: Principal, personal: str) -> HTMLResponse:
    found = await services.audit.show(decision_id, caller.id, opening(caller, personal))
    told = [] if found is None else stories(found["records"])
    if found is None or not told:
        raise RefusedError(UNKNOWN, "not_found", 404)
    if len(told) > 1:
        rows = [row(item) for item in found["records"] if item["columns"]["kind"] == "decision"]
        return page(request, "trace.html", here="audit", identifier=decision_id, rows=rows)
    story = told[0]
    return page(
        request,
        "decision.html",
        here="audit",
        asked_for=decision_id,
        story=story,
        leaf=story.leaf,
        rules=await _rules(services, story, Permission.POLICY_READ in caller.permissions),
        delivery=await _delivery(services, story, Permission.DELIVERIES_READ in caller.permissions),
        checkpoint=None if story.checkpoint is None else note_checkpoint(story.checkpoint),
        verifier=services.verifier,
        personal=personal,
        done=done(request),
        **await opinions(services, caller, story.id),
        other=address(f"/console/decisions/{story.id}", personal="" if personal else "yes"),
    )


@router.get("/console/records/{index}", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def record(
    request: Request, index: Annotated[int, Path(ge=0, lt=2**53)], services: Services, caller: Caller, personal: Personal = ""
) -> HTMLResponse:
    """One record as it stands in the ledger."""
    found = await services.audit.query(AuditFilters(where=f"record = {index}"), None, 1, caller.id, opening=opening(caller, personal))
    if not found.items:
        raise RefusedError("The ledger holds no record of that number.", "not_found", 404)
    return page(request, "record.html", here="audit", item=found.items[0], personal=personal)


async def _rules(services: ControlServices, story: Story, may: bool) -> dict[str, Any]:
    """`same`: whether what is read is what decided then; None where it cannot be told. `places` is None for who may not read policies."""
    if services.rules is None or not may:
        return {"same": None, "places": None}
    policies, verdict, admission = services.rules(), story.leaf.get("verdict") or {}, story.leaf.get("admission") or {}
    found: dict[str, list[Place]] = {}
    for part in (admission, verdict):
        found |= {code: places(policies, code, str(part["effect"])) for code in part.get("reasons", ())}
    return {"same": await _in_force(services, verdict.get("digest") or admission.get("digest")), "places": found}


async def _in_force(services: ControlServices, digest: str | None) -> bool | None:
    if services.rollouts is None or digest is None:
        return None
    versions = (await services.rollouts.versions())["versions"]
    return any(each["in_force"] and each["policy_digest"] == digest for each in versions)


async def _delivery(services: ControlServices, story: Story, may: bool) -> Json | None:
    """One that is still to go out, or was given up; the outcome tells of one that ended."""
    if services.deliveries is None or not may:
        return None
    try:
        return await services.deliveries.get(story.id)
    except RefusedError as error:
        if error.code != "delivery_not_found":
            raise
        return None
