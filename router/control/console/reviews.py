"""Held requests: who waits for a person, and what that person has to see before saying yes or no."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse

from router.control.console.asking import address
from router.control.console.feedback import opinions
from router.control.console.forms import UNTAUGHT, comment_of, done, misrouted_of, posted, version_of
from router.control.console.html import page, see_other
from router.control.console.rules import places
from router.control.console.story import stories
from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.parameters import Cursor, Identifier
from router.control.permissions import Permission
from router.control.services import ControlServices, Json
from router.errors import RefusedError, ReviewError
from router.review.attempting import Asked
from router.review.attempts import Kind
from router.review.refusing import REVIEW_STATUS

router = guarded_router()
SHOWN = 50
ANY = "any"
WAITING = "open"  # every state in which somebody has still to decide
OPEN = ("pending", "assigned", "escalated")
UNDECIDED = (*OPEN, "more_information")  # a reviewer asked; until there is an answer it can only be rejected or escalated
ENDED = ("done", "rejected", "expired", "cancelled", "superseded", "released", "failed", "uncertain")
STATES = (WAITING, *UNDECIDED, "approved", "dispatching", *ENDED)
Attempted = Literal["claim", "release", "ask", "escalate", "reroute"]
State = Annotated[str, Query(max_length=32, pattern="^[a-z_]*$")]


@router.get("/console/reviews", include_in_schema=False, **needs(Permission.REVIEWS_READ))
async def inbox(request: Request, services: Services, caller: Caller, state: State = WAITING, cursor: Cursor = None) -> HTMLResponse:
    """Those that wait, oldest first, or those in another state."""
    found = await services.reviews.list(None if state in ("", ANY) else state, cursor, SHOWN)
    return page(
        request,
        "reviews.html",
        here="reviews",
        rows=found.items,
        state=state or ANY,
        states=STATES,
        following=found.next and address("/console/reviews", state=state or ANY, cursor=found.next),
        first=address("/console/reviews", state=state or ANY) if cursor else None,
        done=done(request),
    )


@router.get("/console/reviews/{review_id}", include_in_schema=False, **needs(Permission.REVIEWS_READ))
async def review(request: Request, review_id: Identifier, services: Services, caller: Caller) -> HTMLResponse:
    """One, with what it was judged by. That is read from the trail and so on record as a reading, though it opens nothing personal."""
    return await shown(request, review_id, services, caller)


@router.post("/console/reviews/{review_id}/approve", include_in_schema=False, **needs(Permission.REVIEWS_DECIDE))
async def approve(request: Request, review_id: Identifier, services: Services, caller: Caller) -> Response:
    """For the content that the page showed, by its digest."""

    async def decide(fields: Mapping[str, str]) -> Json:
        return await services.reviews.approve(
            review_id, caller.subject, comment_of(fields), fields.get("content_digest", ""), version_of(fields)
        )

    return await _decided(request, review_id, services, caller, decide, "approved")


@router.post("/console/reviews/{review_id}/reject", include_in_schema=False, **needs(Permission.REVIEWS_DECIDE))
async def reject(request: Request, review_id: Identifier, services: Services, caller: Caller) -> Response:
    async def decide(fields: Mapping[str, str]) -> Json:
        told = Asked(Kind.REJECT, comment_of(fields), version=version_of(fields), **misrouted_of(fields))
        return await services.reviews.attempt(review_id, caller.subject, told)

    return await _decided(request, review_id, services, caller, decide, "rejected")


@router.post("/console/reviews/{review_id}/attempt/{kind}", include_in_schema=False, **needs(Permission.REVIEWS_DECIDE))
async def attempt(request: Request, review_id: Identifier, kind: Attempted, services: Services, caller: Caller) -> Response:
    """What a reviewer can do besides."""

    async def decide(fields: Mapping[str, str]) -> Json:
        digest, route = fields.get("content_digest") or None, fields.get("route") or None
        said = misrouted_of(fields) if kind == "reroute" else {}
        told = Asked(Kind(kind), comment_of(fields), digest, version_of(fields), route=route, **said)
        return await services.reviews.attempt(review_id, caller.subject, told)

    return await _decided(request, review_id, services, caller, decide, kind)


async def _decided(
    request: Request,
    review_id: str,
    services: ControlServices,
    caller: Principal,
    decide: Callable[[Mapping[str, str]], Awaitable[Json]],
    told: str,
) -> Response:
    """What stands in the way is told on the page, which shows how things are now."""
    fields = await posted(request)
    try:
        await decide(fields)
    except ReviewError as error:
        if error.code == "review_not_found":
            raise
        return await shown(request, review_id, services, caller, str(error), REVIEW_STATUS.get(error.code, 409), comment_of(fields))
    except RefusedError as error:
        if error.code not in UNTAUGHT:
            raise
        return await shown(request, review_id, services, caller, str(error), error.status, comment_of(fields))
    return see_other(address(f"/console/reviews/{review_id}", done=told))


async def shown(
    request: Request, review_id: str, services: ControlServices, caller: Principal, refused: str = "", status: int = 200, comment: str = ""
) -> HTMLResponse:
    """`comment` is what was written for an attempt that was refused: it stands in the dialogs again."""
    found = await services.reviews.get(review_id)
    if found is None:
        raise ReviewError("There is no such held request.", "review_not_found")
    return page(
        request,
        "review.html",
        here="reviews",
        status=status,
        review=found,
        open=found["state"] in UNDECIDED,
        approvable=found["state"] in OPEN,
        refused=refused,
        comment=comment,
        done=done(request),
        **await opinions(services, caller, review_id),
        **await _judged(services, caller, review_id),
    )


async def _judged(services: ControlServices, caller: Principal, review_id: str) -> dict[str, Any]:
    shown = await services.audit.show(review_id, caller.id)
    told = [] if shown is None else stories(shown["records"])
    if not told:
        return {"story": None, "rules": {}}
    verdict = told[0].leaf.get("verdict") or {}
    may = services.rules is not None and Permission.POLICY_READ in caller.permissions
    policies = services.rules() if services.rules is not None and may else {}
    return {"story": told[0], "rules": {code: places(policies, code, str(verdict.get("effect"))) for code in verdict.get("reasons", ())}}
