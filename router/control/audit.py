from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import AwareDatetime
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse

from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.models import Distribution, Receipt, Records, SavedQueries, Statistics
from router.control.parameters import Cursor, Identifier, Limit, Name
from router.control.permissions import Permission
from router.control.services import AuditFilters, Opening
from router.control.times import nanoseconds
from router.decision import Effect, Level, Result
from router.errors import RefusedError

router = guarded_router()
READ = 65_536
Word = Annotated[str | None, Query(max_length=256)]
Note = Annotated[str | None, Query(max_length=16_384, description="A signed checkpoint that was kept elsewhere, to be proven consistent")]
Confidence = Annotated[float | None, Query(ge=0, le=1)]
Where = Annotated[str | None, Query(max_length=4000, description="A condition in SQL's words: `risk >= 'high' and effect <> 'review'`")]
By = Annotated[str, Query(max_length=400, description="Columns to count by, with commas between")]
Column = Annotated[str, Query(max_length=32, description="A column of single words")]
Bins = Annotated[int, Query(ge=1, le=100)]
Personal = Annotated[bool, Query(description="Open personal fields; masked without the permission `audit.personal`")]
Bucket = Annotated[str | None, Query(max_length=16, description="Also by time, in steps of this length (UTC): `1h`")]
Set = Annotated[list[str] | None, Query(max_length=32, description="`name=value` of a parameter, once for each")]


def audit_filters(
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    subject: Word = None,
    intent: Word = None,
    route: Word = None,
    effect: Effect | None = None,
    reason: Word = None,
    risk: Level | None = None,
    tenant: Word = None,
    kind: Literal["decision", "outcome", "review", "system", "evidence"] | None = None,
    result: Result | None = None,
    min_confidence: Confidence = None,
    max_confidence: Confidence = None,
    decision_id: Word = None,
    trace_id: Word = None,
    where: Where = None,
) -> AuditFilters:
    return AuditFilters(
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
        where=where,
    )


Filters = Annotated[AuditFilters, Depends(audit_filters)]


@router.get("/v1/audit/records", **needs(Permission.AUDIT_READ))
async def records(
    services: Services,
    caller: Caller,
    filters: Filters,
    newest_first: bool = True,
    personal: Personal = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Records:
    """Records that match every filter given, in ledger order, newest first unless told otherwise. `since` is included, `until` is not."""
    page = await services.audit.query(filters, cursor, limit, caller.id, newest_first, _opening(caller, personal))
    return Records(records=[dict(item) for item in page.items], next=page.next, complete_to=page.complete_to)


@router.get("/v1/audit/stats", **needs(Permission.AUDIT_READ))
async def stats(services: Services, caller: Caller, filters: Filters, by: By = "", bucket: Bucket = None) -> Statistics:
    """Counts, shares and percentiles of confidence and duration (seconds), exact, over everything that matches: of decisions
    only, unless `kind` or the condition says otherwise."""
    return Statistics(**await services.audit.statistics(filters, tuple(filter(None, by.split(","))), bucket, caller.id))


@router.get("/v1/audit/confidences", **needs(Permission.AUDIT_READ))
async def confidences(services: Services, caller: Caller, filters: Filters, by: Column = "review", bins: Bins = 20) -> Distribution:
    """How confidences are distributed over everything that matches, exact: counts of decisions in equal steps from 0 to 1, by the words
    of a column. By `review`: how many of each were approved or rejected."""
    return Distribution(**await services.audit.distribution(filters, by, bins, caller.id))


@router.get("/v1/audit/queries", **needs(Permission.AUDIT_READ))
async def saved_queries(services: Services) -> SavedQueries:
    """The questions that are kept with the workspace."""
    return SavedQueries(queries=[dict(item) for item in await services.audit.saved()])


@router.get("/v1/audit/queries/{name}", **needs(Permission.AUDIT_READ))
async def saved_query(
    name: Name,
    services: Services,
    caller: Caller,
    set: Set = None,  # noqa: A002  # the parameter's name on the wire
    personal: Personal = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """The answer to a saved question: records and a cursor, or statistics."""
    pairs = [each.partition("=") for each in set or ()]
    if any(not equals for _, equals, _ in pairs):
        raise RefusedError("A parameter is written set=name=value.", "request_invalid", 400)
    given = {key: value for key, _, value in pairs}
    return dict(await services.audit.ask(name, given, cursor, limit, caller.id, _opening(caller, personal)))


@router.get("/v1/audit/decisions/{decision_id}", **needs(Permission.AUDIT_READ))
async def decision(decision_id: Identifier, services: Services, caller: Caller, personal: Personal = False) -> dict[str, Any]:
    """Everything recorded about one decision, trace or request, by its id."""
    found = await services.audit.show(decision_id, caller.id, _opening(caller, personal))
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


@router.get("/v1/audit/certificate", response_class=StreamingResponse, **needs(Permission.AUDIT_READ))
async def certificate(services: Services, caller: Caller, filters: Filters, personal: Personal = False) -> StreamingResponse:
    """The answer with what proves that it is whole, for `lockgate audit check-certificate`: lines of JSON. `personal` shows whom the
    records are about, to who has the permission `audit.personal`."""
    opening: Opening = "opened" if _opening(caller, personal) == "opened" else "none"
    file = await services.audit.certificate(filters, caller.id, opening)
    return StreamingResponse(iter(lambda: file.read(READ), b""), media_type="application/jsonl", background=BackgroundTask(file.close))


@router.post("/v1/audit/index", **needs(Permission.AUDIT_READ))
async def sign_index(services: Services) -> Receipt:
    """Signs the index of what is in none yet, so that a certificate made after it reaches to the present."""
    if services.indexing is None:
        raise RefusedError("This control API has no ledger to change.", "not_found", 404)
    return Receipt(**await services.indexing.sign())


@router.get("/v1/audit/checkpoint", **needs(Permission.AUDIT_READ))
async def checkpoint(services: Services) -> dict[str, Any]:
    """The latest signed checkpoint of the ledger, and the latest one that enough witnesses confirmed."""
    return dict(await services.audit.checkpoint())


def _opening(caller: Principal, personal: bool) -> Opening:
    if not personal:
        return "none"
    return "opened" if Permission.AUDIT_PERSONAL in caller.permissions else "masked"
