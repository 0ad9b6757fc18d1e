from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.models import Approval, Rejection, Reviews, Standing
from router.control.parameters import Cursor, Identifier, Limit
from router.control.permissions import Permission
from router.errors import ReviewError

router = guarded_router()
State = Annotated[str | None, Query(max_length=32, pattern="^[a-z_]+$", description="Such as `pending`; any when left out")]


@router.get("/v1/reviews", **needs(Permission.REVIEWS_READ))
async def held(services: Services, state: State = None, cursor: Cursor = None, limit: Limit = 100) -> Reviews:
    """Requests that are or were held for a human, oldest first."""
    page = await services.reviews.list(state, cursor, limit)
    return Reviews(reviews=[dict(item) for item in page.items], next=page.next)


@router.get("/v1/reviews/{review_id}", **needs(Permission.REVIEWS_READ))
async def show(review_id: Identifier, services: Services) -> dict[str, Any]:
    """One held request with the digest that an approval must name."""
    found = await services.reviews.get(review_id)
    if found is None:
        raise ReviewError("There is no such held request.", "review_not_found")
    return dict(found)


@router.get("/v1/reviews/{review_id}/state", **needs(Permission.REVIEWS_FOLLOW))
async def standing(review_id: Identifier, services: Services) -> Standing:
    """Where a held request stands, for the service that waits for it: nothing of what was asked and of who decides."""
    found = await services.reviews.get(review_id)
    if found is None:
        raise ReviewError("There is no such held request.", "review_not_found")
    return Standing.model_validate(found, from_attributes=False)


@router.post("/v1/reviews/{review_id}/approve", **needs(Permission.REVIEWS_DECIDE))
async def approve(review_id: Identifier, approval: Approval, services: Services, caller: Caller) -> dict[str, Any]:
    """Lets the held request go, as its digest names it, once as many as policy wants have said so. Nobody can approve their own."""
    return dict(await services.reviews.approve(review_id, caller.subject, approval.comment, approval.content_digest))


@router.post("/v1/reviews/{review_id}/reject", **needs(Permission.REVIEWS_DECIDE))
async def reject(review_id: Identifier, rejection: Rejection, services: Services, caller: Caller) -> dict[str, Any]:
    """Ends the held request for good."""
    return dict(await services.reviews.reject(review_id, caller.subject, rejection.comment))
