"""API keys: who has which, what each may do, until when; making one, whose secret is shown once, and revoking."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from router.control import keys as api
from router.control.console.asking import address
from router.control.console.forms import done, posted
from router.control.console.html import page, see_other
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.key_views import shown
from router.control.models import NewKey
from router.control.parameters import Identifier
from router.control.permissions import ROLES, Permission
from router.errors import RefusedError

router = guarded_router()
COMMON = ("gateway", "decide", "delegate", "control")  # the scopes that have a box; single permissions are typed
TYPED = ("name", "subject", "type", "roles", "groups", "tenant", "scopes", "expires")


@router.get("/console/keys", include_in_schema=False, **needs(Permission.KEYS_READ))
async def every(request: Request, services: Services) -> HTMLResponse:
    """Those in use first, newest first among them; without their secrets, which nobody has."""
    listed = [{**shown(key), "state": _state(shown(key))} for key in await asyncio.to_thread(services.keys.all)]
    listed.sort(key=lambda key: (key["state"] == "in use", key["created"]), reverse=True)
    return page(request, "keys.html", here="keys", keys=listed, done=done(request))


@router.get("/console/keys/new", include_in_schema=False, **needs(Permission.KEYS_WRITE))
async def ordering(request: Request) -> HTMLResponse:
    return _form(request, {})


@router.post("/console/keys", include_in_schema=False, **needs(Permission.KEYS_WRITE))
async def create(request: Request, services: Services, caller: Caller) -> Response:
    """Answered by the page that shows the secret, and by no redirect: it must stand in no address, and is kept nowhere to be fetched from.
    The page's script makes its place in the history that of the list, so that nothing is ordered again by a reload."""
    fields = await posted(request)
    try:
        made = await api.create(_wanted(fields), services, caller)
    except RefusedError as error:
        return _form(request, fields, str(error), error.status)
    return page(request, "key_made.html", here="keys", status=201, headers={"cache-control": "no-store"}, made=made.model_dump())


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


def _form(request: Request, fields: Mapping[str, str], refused: str = "", status: int = 200) -> HTMLResponse:
    typed = {name: fields.get(name, "") for name in TYPED}
    boxes = {scope: bool(fields.get(f"scope-{scope}")) for scope in COMMON}
    return page(request, "key.html", here="keys", status=status, typed=typed, boxes=boxes, roles=tuple(ROLES), refused=refused)


def _wanted(fields: Mapping[str, str]) -> NewKey:
    """Raises RefusedError in one sentence, which holds nothing of what was typed."""
    said: dict[str, Any] = {name: fields.get(name, "").strip() for name in ("name", "subject", "tenant", "expires")}
    said["name"] = said["name"] or said["subject"]
    said |= {name: _listed(fields.get(name, "")) for name in ("roles", "groups", "scopes")}
    said["scopes"] = list(dict.fromkeys([*(scope for scope in COMMON if fields.get(f"scope-{scope}")), *said["scopes"]]))
    if not said["scopes"]:
        raise RefusedError("A key is good for something: choose one or more scopes.", "request_invalid", 422)
    try:
        expires = _end_of(said.pop("expires"))
        return NewKey.model_validate({**said, "tenant": said["tenant"] or None, "type": fields.get("type", "user"), "expires": expires})
    except ValidationError as error:
        first = error.errors()[0]
        raise RefusedError(f"The {first['loc'][0]}: {first['msg']}.", "request_invalid", 422) from None


def _listed(text: str) -> list[str]:
    return [each for each in re.split(r"[,\s]+", text) if each]


def _end_of(typed: str) -> datetime | None:
    """As everything on these pages, in UTC."""
    if not typed:
        return None
    try:
        told = datetime.fromisoformat(typed)
    except ValueError:
        raise RefusedError("Good until: a date and a time of day are wanted.", "request_invalid", 422) from None
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told
