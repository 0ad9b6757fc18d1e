"""Approving a held request with other values: the form with what stands there now, a page with what it would become, and the order.

Every step is one more form of this page, so that it works without a script, and each that shows values is on record as a reading. Values
are shown to who could change them, as policy says at that moment, and to nobody else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from router.control.console.asking import address
from router.control.console.feedback import hears_of
from router.control.console.forms import UNTAUGHT, comment_of, misrouted_of, posted, version_of
from router.control.console.html import page, see_other
from router.control.console.reviews import shown
from router.control.console.values import Sheet, sheet
from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.parameters import Identifier
from router.control.permissions import Permission
from router.control.services import ControlServices, Json
from router.errors import RefusedError, ReviewError
from router.review.attempting import Asked
from router.review.attempts import Kind
from router.review.refusing import REVIEW_STATUS

router = guarded_router()
PAGE = "/console/reviews/{review_id}/modify"
MOST_FIELDS = 80
UNSAID = "Say why you change it; the reason goes on record with your name."
UNCHANGED = "Nothing is changed yet."
AGAIN = frozenset({"content_changed", "review_changed", "review_superseded", "change_denied", "modification_refused"})
"""What may go better with another look at the same form."""


@router.get(PAGE, include_in_schema=False, **needs(Permission.REVIEWS_DECIDE))
async def form(request: Request, review_id: Identifier, services: Services, caller: Caller) -> HTMLResponse:
    return await _edited(request, review_id, services, caller, {})


@router.post(PAGE, include_in_schema=False, **needs(Permission.REVIEWS_DECIDE))
async def step(request: Request, review_id: Identifier, services: Services, caller: Caller) -> Response:
    """`step`: `check` shows what it would become, `send` does it, and anything else is the form again with what was typed."""
    fields = await posted(request, MOST_FIELDS)
    comment_of(fields)
    match fields.get("step"):
        case "check":
            return await _checked(request, review_id, services, caller, fields)
        case "send":
            return await _sent(request, review_id, services, caller, fields)
    return await _edited(request, review_id, services, caller, fields)


async def _edited(
    request: Request,
    review_id: str,
    services: ControlServices,
    caller: Principal,
    fields: Mapping[str, str],
    refused: str = "",
    status: int = 200,
) -> HTMLResponse:
    """What stands in the way of even looking is told on the page of the request, which shows no values."""
    try:
        now = await services.reviews.values(review_id, caller.subject)
    except ReviewError as error:
        return await _stopped(request, review_id, services, caller, error, refused, comment_of(fields))
    found, _ = sheet(now["values"], fields)
    return await _page(request, review_id, services, now, found, fields, refused=refused, status=status)


async def _checked(
    request: Request, review_id: str, services: ControlServices, caller: Principal, fields: Mapping[str, str]
) -> HTMLResponse:
    try:
        now = await services.reviews.values(review_id, caller.subject)
        found, changes = sheet(now["values"], fields)
        if found.wrong or not changes or not comment_of(fields):
            told = "" if found.wrong else UNCHANGED if not changes else UNSAID
            return await _page(request, review_id, services, now, found, fields, refused=told, status=422)
        asked = Asked(
            Kind.MODIFY, digest=fields.get("content_digest", ""), version=version_of(fields), changes=changes, **misrouted_of(fields)
        )
        told_now = await services.reviews.modified(review_id, caller.subject, asked)
    except (ReviewError, RefusedError) as error:
        return await _otherwise(request, review_id, services, caller, fields, error)
    return await _page(request, review_id, services, told_now, found, fields, changes=changes)


async def _sent(request: Request, review_id: str, services: ControlServices, caller: Principal, fields: Mapping[str, str]) -> Response:
    """For the content that the page showed, before and after, by their digests."""
    try:
        changes = json.loads(fields.get("changes", ""))
    except ValueError:
        changes = None
    if not isinstance(changes, dict) or not comment_of(fields):
        return await _edited(request, review_id, services, caller, fields, UNCHANGED if comment_of(fields) else UNSAID, 422)
    digests = {"digest": fields.get("content_digest", ""), "becomes": fields.get("becomes", "")}
    asked = Asked(Kind.MODIFY, comment_of(fields), version=version_of(fields), changes=changes, **digests, **misrouted_of(fields))
    try:
        await services.reviews.attempt(review_id, caller.subject, asked)
    except (ReviewError, RefusedError) as error:
        return await _otherwise(request, review_id, services, caller, fields, error)
    return see_other(address(f"/console/reviews/{review_id}", done="modify"))


async def _otherwise(
    request: Request,
    review_id: str,
    services: ControlServices,
    caller: Principal,
    fields: Mapping[str, str],
    error: ReviewError | RefusedError,
) -> HTMLResponse:
    """The form once more, as things are now, with what was typed, where the same person may go on; else the page of the request."""
    if isinstance(error, RefusedError):
        if error.code not in UNTAUGHT:
            raise error
        return await _edited(request, review_id, services, caller, fields, str(error), error.status)
    if error.code in AGAIN:
        return await _edited(request, review_id, services, caller, fields, str(error), REVIEW_STATUS.get(error.code, 409))
    return await _stopped(request, review_id, services, caller, error, comment=comment_of(fields))


async def _stopped(
    request: Request, review_id: str, services: ControlServices, caller: Principal, error: ReviewError, before: str = "", comment: str = ""
) -> HTMLResponse:
    if error.code == "review_not_found":
        raise error
    if request.method == "GET":  # no attempt, so it is in the ledger as a count
        await services.acts.refused(caller, Permission.REVIEWS_DECIDE, error.code)
    said = before or str(error)
    return await shown(request, review_id, services, caller, said, REVIEW_STATUS.get(error.code, 409), comment)


async def _page(
    request: Request,
    review_id: str,
    services: ControlServices,
    now: Json,
    found: Sheet,
    fields: Mapping[str, str],
    *,
    changes: Mapping[str, Any] | None = None,
    refused: str = "",
    status: int = 200,
) -> HTMLResponse:
    review = await services.reviews.get(review_id)
    if review is None:
        raise ReviewError("There is no such held request.", "review_not_found")
    return page(
        request,
        "modify.html",
        here="reviews",
        status=status,
        review=review,
        now=now,
        sheet=found,
        becomes=now.get("becomes"),
        changes=json.dumps(changes),
        comment=comment_of(fields),
        hears=hears_of(services),
        misrouted=bool(fields.get("misrouted")),
        meant=fields.get("intent", "").strip(),
        refused=refused,
    )
