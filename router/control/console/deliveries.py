"""What is still to go out or was given up, and what is to become of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse

from router.control.console.asking import address
from router.control.console.forms import done, posted
from router.control.console.html import page, see_other
from router.control.deliveries import desk_of
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.parameters import Cursor, Identifier
from router.control.permissions import Permission
from router.control.services import ControlServices
from router.errors import RefusedError

router = guarded_router()
SHOWN = 50
State = Annotated[str, Query(pattern="^(pending|dead|)$")]


@router.get("/console/deliveries", include_in_schema=False, **needs(Permission.DELIVERIES_READ))
async def waiting(request: Request, services: Services, state: State = "", cursor: Cursor = None) -> HTMLResponse:
    """In the order of their decisions."""
    found = await desk_of(services).list(state or None, cursor, SHOWN)
    return page(
        request,
        "deliveries.html",
        here="deliveries",
        rows=found.items,
        state=state,
        following=found.next and address("/console/deliveries", state=state, cursor=found.next),
        first=address("/console/deliveries", state=state) if cursor else None,
        done=done(request),
    )


@router.get("/console/deliveries/{delivery_id}", include_in_schema=False, **needs(Permission.DELIVERIES_READ))
async def delivery(request: Request, delivery_id: Identifier, services: Services) -> HTMLResponse:
    return await _shown(request, delivery_id, services)


@router.post("/console/deliveries/{delivery_id}/retry", include_in_schema=False, **needs(Permission.DELIVERIES_WRITE))
async def retry(request: Request, delivery_id: Identifier, services: Services, caller: Caller) -> Response:
    await posted(request)
    try:
        await desk_of(services).retry(delivery_id, caller.key_id)
    except RefusedError as error:
        if error.status == 404:
            raise
        return await _shown(request, delivery_id, services, str(error), error.status)
    return see_other(address(f"/console/deliveries/{delivery_id}", done="retried"))


@router.post("/console/deliveries/{delivery_id}/drop", include_in_schema=False, **needs(Permission.DELIVERIES_WRITE))
async def drop(request: Request, delivery_id: Identifier, services: Services, caller: Caller) -> Response:
    """To the list: what was dropped waits no more."""
    await posted(request)
    try:
        await desk_of(services).drop(delivery_id, caller.key_id)
    except RefusedError as error:
        if error.status == 404:
            raise
        return await _shown(request, delivery_id, services, str(error), error.status)
    return see_other(address("/console/deliveries", state="dead", done="dropped"))


async def _shown(request: Request, delivery_id: str, services: ControlServices, refused: str = "", status: int = 200) -> HTMLResponse:
    found = await desk_of(services).get(delivery_id)
    return page(request, "delivery.html", here="deliveries", status=status, delivery=found, refused=refused, done=done(request))
