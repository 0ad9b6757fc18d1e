from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request

from router.control.cloud_events import BATCH, STRUCTURED, cloud_events
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.models import Evidence, Reconciliation
from router.control.parameters import Cursor
from router.control.permissions import Permission

router = guarded_router()
EVENT = {"type": "object", "required": ["specversion", "id", "source", "type"], "additionalProperties": True}
BODY: dict[str, Any] = {
    "required": True,
    "description": "CloudEvents 1.0: structured, batched, or any other content type with `ce-` header fields. The extension attribute "
    "`lockgatedecision` names the decision, `lockgatephase` is started, completed, failed or compensated.",
    "content": {STRUCTURED: {"schema": EVENT}, BATCH: {"schema": {"type": "array", "items": EVENT, "minItems": 1, "maxItems": 100}}},
}
SETTINGS = needs(Permission.EVIDENCE_WRITE)["openapi_extra"]


@router.post("/v1/evidence", status_code=201, openapi_extra={**SETTINGS, "requestBody": BODY})
async def evidence(request: Request, services: Services, caller: Caller) -> Evidence:
    """Records what was done under a decision. Durable when it is answered; sent once more, an event is answered the same and not recorded
    again. Either all events of a batch are recorded or none."""
    events = cloud_events(request.headers.raw, await request.body())
    return Evidence.model_validate({"events": await services.evidence.take(events, caller.id, caller.key_id)})


@router.get("/v1/audit/reconciliation", **needs(Permission.AUDIT_READ))
async def reconciliation(
    services: Services,
    caller: Caller,
    grace: Annotated[float, Query(ge=0, le=604_800, description="Seconds for which an outcome is not missed")] = 900.0,
    cursor: Cursor = None,
) -> Reconciliation:
    """Decisions, outcomes and evidence that do not fit each other, part by part in ledger order."""
    page = await services.reconciler.reconcile(cursor, grace, caller.id)
    return Reconciliation.model_validate({"found": page.items, "next": page.next, "complete_to": page.complete_to})
