"""Decisions as they are made. A look at nothing new is no reading of the trail, so it is not recorded; anything shown is."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse

from router.control.console.asking import address, filters, given
from router.control.console.framed import framed
from router.control.console.html import TEMPLATES, page
from router.control.console.rows import row
from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.permissions import Permission
from router.control.services import ControlServices
from router.errors import RefusedError

router = guarded_router()
SHOWN = 50
After = Annotated[int, Query(ge=-1, lt=2**53)]


@router.get("/console/", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def live(request: Request, services: Services, caller: Caller) -> Response:
    """The newest decisions; the page asks for newer ones by itself."""
    return await framed(request, _live(request, services, caller), "live.html", here="live")


async def _live(request: Request, services: ControlServices, caller: Principal) -> HTMLResponse:
    typed, refused, rows = given(request.query_params), "", []
    try:
        found = await services.audit.query(filters(typed, kind="decision"), None, SHOWN, caller.id)
        rows = [row(item) for item in found.items]
    except RefusedError as error:
        refused = str(error)
    newer = address("/console/newer", typed)
    return page(request, "live.html", here="live", typed=typed, rows=rows, refused=refused, newer=newer, status=422 if refused else 200)


@router.get("/console/newer", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def newer(request: Request, services: Services, caller: Caller, after: After) -> Response:
    """Lines of decisions after that record, newest first; 204 where there are none."""
    found = await services.audit.newer(filters(given(request.query_params), kind="decision"), after, SHOWN, caller.id)
    if found is None:
        return Response(status_code=204)
    return HTMLResponse(TEMPLATES.get_template("_decisions.html").module.lines([row(item) for item in found.items]))  # type: ignore[attr-defined]
