"""One's own sessions: where from and with what, since when, and ending those that one does not know."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from router.control.console.asking import address
from router.control.console.forms import done, posted
from router.control.console.html import page, see_other
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.parameters import Identifier
from router.control.permissions import Permission
from router.control.sign_in import own
from router.control.sign_in.browser import SIGN_IN

router = guarded_router()
HERE = "/console/your-sessions"


@router.get(HERE, include_in_schema=False, **needs(Permission.SELF))
async def yours(request: Request, services: Services, caller: Caller) -> HTMLResponse:
    """Newest first; nobody else's."""
    found = await own.own(services, caller)
    return page(request, "sessions.html", here="sessions", sessions=[each.model_dump() for each in found.sessions], done=done(request))


@router.post(f"{HERE}/others/end", include_in_schema=False, **needs(Permission.SELF))
async def end_others(request: Request, services: Services, caller: Caller) -> Response:
    await posted(request)
    await own.end_others(services, caller)
    return see_other(address(HERE, done="sessions_ended"))


@router.post(f"{HERE}/{{session_id}}/end", include_in_schema=False, **needs(Permission.SELF))
async def end(request: Request, session_id: Identifier, services: Services, caller: Caller) -> Response:
    """Who ends the one that they are in signs in again."""
    await posted(request)
    await own.end(session_id, services, caller)
    return see_other(SIGN_IN if session_id == caller.session else address(HERE, done="session_ended"))
