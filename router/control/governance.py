from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query

from router.audit.governance.erasing import Who
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.models import Erasure, Hold, Holds, NewHold, NewPruning, Pruned, Receipt, Release
from router.control.permissions import Permission
from router.control.services import ControlServices, Governance
from router.errors import RefusedError

router = guarded_router()
Target = Annotated[Literal["subject", "decision", "intent"] | None, Query(description="What `target` names")]
Record = Annotated[int, Path(ge=0, description="Index of the record that added the hold")]


@router.post("/v1/audit/erasures", **needs(Permission.AUDIT_ERASE))
async def erase(wanted: Erasure, services: Services, caller: Caller) -> Receipt:
    """Destroys the key under which everything personal about a subject is sealed. Answers when no process has it any more and the
    record of it is signed. There is no way back."""
    who = Who(caller.id, wanted.authority, wanted.case)
    return Receipt(**await _governance(services).erase(wanted.subject, wanted.reason, who))


@router.get("/v1/audit/holds", **needs(Permission.AUDIT_READ))
async def holds(services: Services, on: Target = None, target: Annotated[str | None, Query(max_length=1024)] = None) -> Holds:
    """The legal holds that are in force, oldest first; with `on` and `target` those on this very target."""
    if (on is None) is not (target is None):
        raise RefusedError("Give both 'on' and 'target', or neither.", "request_invalid", 422)
    return Holds(holds=[Hold(**each) for each in await _governance(services).holds(on, target)])


@router.post("/v1/audit/holds", status_code=201, **needs(Permission.AUDIT_HOLD))
async def hold(wanted: NewHold, services: Services, caller: Caller) -> Receipt:
    """Keeps what a subject, a decision or an intent is about from being erased or pruned, until it is released."""
    who = Who(caller.id, wanted.authority, wanted.case)
    return Receipt(**await _governance(services).hold(wanted.on, wanted.target, who))


@router.post("/v1/audit/holds/{record}/release", **needs(Permission.AUDIT_HOLD))
async def release(record: Record, wanted: Release, services: Services, caller: Caller) -> Receipt:
    """Ends a hold. Others on the same target stay."""
    return Receipt(**await _governance(services).release(record, Who(caller.id, wanted.authority, wanted.case)))


@router.post("/v1/audit/prunings", **needs(Permission.AUDIT_PRUNE))
async def prune(wanted: NewPruning, services: Services, caller: Caller) -> Pruned:
    """Removes personal parts that are older than their class of `audit.retention` says and not on hold; a bounded number in one call."""
    return Pruned(**await _governance(services).prune(Who(caller.id, wanted.authority)))


def _governance(services: ControlServices) -> Governance:
    if services.governance is None:
        raise RefusedError("This control API has no ledger to change.", "not_found", 404)
    return services.governance
