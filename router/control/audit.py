from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import AwareDatetime

from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.models import Records
from router.control.parameters import Cursor, Identifier, Limit
from router.control.permissions import Permission
from router.control.services import AuditFilters
from router.control.times import nanoseconds
from router.decision import Effect, Level, Result
from router.errors import RefusedError

router = guarded_router()
Word = Annotated[str | None, Query(max_length=256)]
Note = Annotated[str | None, Query(max_length=16_384, description="A signed checkpoint that was kept elsewhere, to be proven consistent")]
Confidence = Annotated[float | None, Query(ge=0, le=1)]


@router.get("/v1/audit/records", **needs(Permission.AUDIT_READ))
async def records(
    services: Services,
    caller: Caller,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    subject: Word = None,
    intent: Word = None,
    route: Word = None,
    effect: Effect | None = None,
    reason: Word = None,
    risk: Level | None = None,
    tenant: Word = None,
    kind: Literal["decision", "outcome", "review", "evidence", "system"] | None = None,
    result: Result | None = None,
    min_confidence: Confidence = None,
    max_confidence: Confidence = None,
    decision_id: Word = None,
    trace_id: Word = None,
    newest_first: bool = True,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Records:
    """Records that match every filter given, in ledger order, newest first unless told otherwise. `since` is included, `until` is not."""
    filters = AuditFilters(
        since_ns=nanoseconds(since),
        until_ns=nanoseconds(until),
        subject=subject,
        intent=intent,
        route=route,
        effect=effect,
        reason=reason,
        risk=risk,
        tenant=tenant,
        kind=kind,
        result=result,
        min_confidence=min_confidence,
        max_confidence=max_confidence,
        decision_id=decision_id,
        trace_id=trace_id,
        newest_first=newest_first,
    )
    page = await services.audit.query(filters, cursor, limit, caller.id)
    return Records(records=[dict(item) for item in page.items], next=page.next, complete_to=page.complete_to)


@router.get("/v1/audit/decisions/{decision_id}", **needs(Permission.AUDIT_READ))
async def decision(decision_id: Identifier, services: Services, caller: Caller) -> dict[str, Any]:
    """Everything recorded about one decision."""
    found = await services.audit.show(decision_id, caller.id)
    if found is None:
        raise RefusedError("There is no record of that decision.", "not_found", 404)
    return dict(found)


@router.get("/v1/audit/decisions/{decision_id}/bundle", **needs(Permission.AUDIT_READ))
async def bundle(decision_id: Identifier, services: Services, caller: Caller, checkpoint: Note = None) -> dict[str, Any]:
    """Evidence about one decision that anybody can verify offline: `lockgate.bundle.v1`. Personal fields stay sealed."""
    made = await services.audit.bundle(decision_id, checkpoint, caller.id)
    if made is None:
        raise RefusedError("There is no record of that decision.", "not_found", 404)
    return dict(made)


@router.get("/v1/audit/checkpoint", **needs(Permission.AUDIT_READ))
async def checkpoint(services: Services) -> dict[str, Any]:
    """The latest signed checkpoint of the ledger, and the latest one that enough witnesses confirmed."""
    return dict(await services.audit.checkpoint())
