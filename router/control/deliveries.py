from __future__ import annotations

from typing import Annotated

from fastapi import Query

from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.models import Deliveries, Delivery
from router.control.parameters import Cursor, Identifier, Limit
from router.control.permissions import Permission
from router.control.services import DeliveryDesk
from router.errors import RefusedError

router = guarded_router()
State = Annotated[str | None, Query(pattern="^(pending|dead)$", description="`pending` or `dead`; both when left out")]


@router.get("/v1/deliveries", **needs(Permission.DELIVERIES_READ))
async def waiting(services: Services, state: State = None, cursor: Cursor = None, limit: Limit = 100) -> Deliveries:
    """What is still to go out, or was given up, in the order of its decisions; nothing of what is sealed."""
    page = await desk_of(services).list(state, cursor, limit)
    return Deliveries(deliveries=[Delivery(**item) for item in page.items], next=page.next)


@router.get("/v1/deliveries/{delivery_id}", **needs(Permission.DELIVERIES_READ))
async def show(delivery_id: Identifier, services: Services) -> Delivery:
    """One delivery, by its decision's id; also one that has ended, as far as the ledger tells."""
    return Delivery(**await desk_of(services).get(delivery_id))


@router.post("/v1/deliveries/{delivery_id}/retry", **needs(Permission.DELIVERIES_WRITE))
async def retry(delivery_id: Identifier, services: Services, caller: Caller) -> Delivery:
    """Has one that was given up sent again, at once and for as long as it was tried at first. Recorded before it is done."""
    return Delivery(**await desk_of(services).retry(delivery_id, caller.key_id))


@router.post("/v1/deliveries/{delivery_id}/drop", **needs(Permission.DELIVERIES_WRITE))
async def drop(delivery_id: Identifier, services: Services, caller: Caller) -> Delivery:
    """Removes one that was given up, for good. Recorded before it is done; its outcome stays on record as failed."""
    return Delivery(**await desk_of(services).drop(delivery_id, caller.key_id))


def desk_of(services: Services) -> DeliveryDesk:
    if services.deliveries is None:
        raise RefusedError("There is no ledger that deliveries could be kept in.", "not_found", 404)
    return services.deliveries
