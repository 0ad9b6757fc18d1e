"""Saying what sampled decisions are about, one masked text after the other. Nothing of what was decided is on these pages, and intents
stand in the order of their names, so that nobody is led."""

from __future__ import annotations

import logging

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from router.control.console.asking import address
from router.control.console.forms import done, posted
from router.control.console.html import page, see_other
from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.labels import Label, labels_of
from router.control.parameters import Cursor, Identifier
from router.control.permissions import Permission
from router.control.services import ControlServices
from router.errors import LockgateError, RefusedError

router = guarded_router()
log = logging.getLogger("lockgate.control")
SHOWN = 50
HERE = "/console/labels"
LOST = ("label_unclaimed", "label_answered", "label_unknown")  # somebody else's by now, or said: there is nothing left to show


@router.get(HERE, include_in_schema=False, **needs(Permission.LABELS_WRITE))
async def waiting(request: Request, services: Services, caller: Caller, cursor: Cursor = None) -> HTMLResponse:
    """Those that this person may label, oldest first; which one they get is not theirs to choose."""
    return await _listed(request, services, caller, cursor)


@router.post(f"{HERE}/claim", include_in_schema=False, **needs(Permission.LABELS_WRITE))
async def claim(request: Request, services: Services, caller: Caller) -> Response:
    await posted(request)
    return await _next(services, caller, "")


@router.get(f"{HERE}/{{task_id}}", include_in_schema=False, **needs(Permission.LABELS_WRITE))
async def claimed(request: Request, task_id: Identifier, services: Services, caller: Caller) -> HTMLResponse:
    """What this person has claimed. That its text is opened is on record."""
    return await _shown(request, task_id, services, caller)


@router.post(f"{HERE}/{{task_id}}/answer", include_in_schema=False, **needs(Permission.LABELS_WRITE))
async def answer(request: Request, task_id: Identifier, services: Services, caller: Caller) -> Response:
    """Then the next is claimed, if there is one."""
    fields = await posted(request)
    try:
        label = Label.model_validate({"label": fields.get("label", "")}).label
    except ValidationError:
        return await _shown(request, task_id, services, caller, "Choose what it is about.", 422)
    try:
        await labels_of(services).answer(task_id, label, caller.subject)
    except RefusedError as error:
        return await _refused(request, task_id, services, caller, error)
    return await _next(services, caller, "labelled")


@router.post(f"{HERE}/{{task_id}}/skip", include_in_schema=False, **needs(Permission.LABELS_WRITE))
async def skip(request: Request, task_id: Identifier, services: Services, caller: Caller) -> Response:
    await posted(request)
    try:
        await labels_of(services).skip(task_id, caller.subject)
    except RefusedError as error:
        return await _refused(request, task_id, services, caller, error)
    return await _next(services, caller, "label_skipped")


async def _next(services: ControlServices, caller: Principal, told: str) -> Response:
    """What was said is said, also where no other text can be claimed now; then the list has the button for it."""
    try:
        found = await labels_of(services).claim(caller.subject)
    except LockgateError as error:
        if not told:
            raise
        log.warning("a label is on record, and no other text could be claimed: %s", error)
        found = None
    return see_other(address(HERE if found is None else f"{HERE}/{found['id']}", done=told))


async def _refused(request: Request, task_id: str, services: ControlServices, caller: Principal, error: RefusedError) -> HTMLResponse:
    if error.code in LOST:
        return await _listed(request, services, caller, None, str(error), error.status)
    return await _shown(request, task_id, services, caller, str(error), error.status)


async def _listed(
    request: Request, services: ControlServices, caller: Principal, cursor: str | None, refused: str = "", status: int = 200
) -> HTMLResponse:
    found = await labels_of(services).list(caller.subject, cursor, SHOWN)
    return page(
        request,
        "labels.html",
        here="labels",
        status=status,
        rows=found.items,
        following=found.next and address(HERE, cursor=found.next),
        first=HERE if cursor else None,
        refused=refused,
        done=done(request),
    )


async def _shown(
    request: Request, task_id: str, services: ControlServices, caller: Principal, refused: str = "", status: int = 200
) -> HTMLResponse:
    try:
        found = await labels_of(services).shown(task_id, caller.subject)
    except RefusedError as error:
        if error.code not in LOST:
            raise
        return await _listed(request, services, caller, None, refused or str(error), error.status)
    intents = sorted(found["intents"], key=lambda each: str(each["name"]))
    return page(request, "label.html", here="labels", status=status, task=found, intents=intents, refused=refused, done=done(request))
