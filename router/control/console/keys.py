"""API keys: who has which, what each may do, until when."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from router.control import keys as api
from router.control.console.asking import address
from router.control.console.forms import done, posted
from router.control.console.html import page, see_other
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.key_views import shown
from router.control.parameters import Identifier
from router.control.permissions import Permission

router = guarded_router()


@router.get("/console/keys", include_in_schema=False, **needs(Permission.KEYS_READ))
async def every(request: Request, services: Services) -> HTMLResponse:
    """Those in use first, newest first among them; without their secrets, which nobody has."""
    listed = [{**shown(key), "state": _state(shown(key))} for key in await asyncio.to_thread(services.keys.all)]
    listed.sort(key=lambda key: (key["state"] == "in use", key["created"]), reverse=True)
    return page(request, "keys.html", here="keys", keys=listed, done=done(request))


@router.post("/console/keys/{key_id}/revoke", include_in_schema=False, **needs(Permission.KEYS_WRITE))
async def revoke(request: Request, key_id: Identifier, services: Services, caller: Caller) -> Response:
    await posted(request)
    await api.revoke(key_id, services, caller)
    return see_other(address("/console/keys", done="key_revoked"))


def _state(key: dict[str, object]) -> str:
    if key["revoked"] is not None:
        return "revoked"
    expires = key["expires"]
    return "expired" if isinstance(expires, datetime) and expires <= datetime.now(UTC) else "in use"
