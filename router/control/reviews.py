from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Query, Response

from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.models import (
    Answer,
    Approval,
    Misrouting,
    Modification,
    Modified,
    Note,
    OpenQuestion,
    Question,
    Rejection,
    Rerouting,
    Reviews,
    Standing,
    Values,
)
from router.control.parameters import Cursor, Identifier, Limit
from router.control.permissions import Permission
from router.control.services import Json
from router.errors import RefusedError, ReviewError
from router.review.attempting import Asked
from router.review.attempts import Kind

router = guarded_router()
State = Annotated[
    str | None, Query(max_length=32, pattern="^[a-z_]+$", description="Such as `pending`, or `open` for all that wait; any when left out")
]
IfMatch = Annotated[str | None, Header(max_length=64, description="The `ETag` of what was seen; of another version the answer is 409")]


@router.get("/v1/reviews", **needs(Permission.REVIEWS_READ))
async def held(services: Services, state: State = None, cursor: Cursor = None, limit: Limit = 100) -> Reviews:
    """Requests that are or were held for a human, oldest first."""
    page = await services.reviews.list(state, cursor, limit)
    return Reviews(reviews=[dict(item) for item in page.items], next=page.next)


@router.get("/v1/reviews/{review_id}", **needs(Permission.REVIEWS_READ))
async def show(review_id: Identifier, services: Services, response: Response) -> dict[str, Any]:
    """One held request with the digest that an approval must name. Looking at it changes nothing."""
    found = await services.reviews.get(review_id)
    if found is None:
        raise ReviewError("There is no such held request.", "review_not_found")
    return _tagged(response, found)


@router.get("/v1/reviews/{review_id}/state", **needs(Permission.REVIEWS_FOLLOW))
async def standing(review_id: Identifier, services: Services) -> Standing:
    """Where a held request stands, for the service that waits for it: nothing of what was asked and of who decides."""
    found = await services.reviews.get(review_id)
    if found is None:
        raise ReviewError("There is no such held request.", "review_not_found")
    return Standing.model_validate(found, from_attributes=False)


@router.post("/v1/reviews/{review_id}/approve", **needs(Permission.REVIEWS_DECIDE))
async def approve(
    review_id: Identifier, approval: Approval, services: Services, caller: Caller, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """Lets the held request go, as its digest names it, once as many as policy wants have said so. Nobody can approve their own."""
    found = await services.reviews.approve(review_id, caller.subject, approval.comment, approval.content_digest, _version(if_match))
    return _tagged(response, found)


@router.post("/v1/reviews/{review_id}/reject", **needs(Permission.REVIEWS_DECIDE))
async def reject(
    review_id: Identifier, rejection: Rejection, services: Services, caller: Caller, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """Ends the held request for good. With `reason` or `intent` it says besides that the classification was wrong."""
    asked = Asked(Kind.REJECT, rejection.comment, version=_version(if_match), **_misrouted(rejection))
    return _tagged(response, await services.reviews.attempt(review_id, caller.subject, asked))


@router.post("/v1/reviews/{review_id}/claim", **needs(Permission.REVIEWS_DECIDE))
async def claim(
    review_id: Identifier, said: Note, services: Services, caller: Caller, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """Keeps others from deciding for as long as the claim lasts; once more, and it lasts anew."""
    return _tagged(
        response, await services.reviews.attempt(review_id, caller.subject, Asked(Kind.CLAIM, said.comment, version=_version(if_match)))
    )


@router.post("/v1/reviews/{review_id}/release", **needs(Permission.REVIEWS_DECIDE))
async def release(
    review_id: Identifier, said: Note, services: Services, caller: Caller, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """Gives a claim back."""
    asked = Asked(Kind.RELEASE, said.comment, version=_version(if_match))
    return _tagged(response, await services.reviews.attempt(review_id, caller.subject, asked))


@router.post("/v1/reviews/{review_id}/modify", **needs(Permission.REVIEWS_DECIDE))
async def modify(
    review_id: Identifier, wanted: Modification, services: Services, caller: Caller, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """Approves the request with other values where policy lets a reviewer change some. It is judged as it would be sent; approvals of what
    it was before do not count."""
    return _tagged(response, await services.reviews.attempt(review_id, caller.subject, _modification(wanted, if_match)))


@router.get("/v1/reviews/{review_id}/values", **needs(Permission.REVIEWS_DECIDE))
async def values(review_id: Identifier, services: Services, caller: Caller, response: Response) -> Values:
    """What this reviewer may change, as it is now and unmasked, for who could change it. That it was read is on record."""
    return Values.model_validate(_tagged(response, await services.reviews.values(review_id, caller.subject)), from_attributes=False)


@router.post("/v1/reviews/{review_id}/modify/check", **needs(Permission.REVIEWS_DECIDE))
async def check(
    review_id: Identifier, wanted: Modification, services: Services, caller: Caller, response: Response, if_match: IfMatch = None
) -> Modified:
    """What the request would become by `modify`, judged as it would be sent; nothing is changed. On record as `values` is."""
    found = await services.reviews.modified(review_id, caller.subject, _modification(wanted, if_match))
    return Modified.model_validate(_tagged(response, found), from_attributes=False)


@router.post("/v1/reviews/{review_id}/reroute", **needs(Permission.REVIEWS_DECIDE))
async def reroute(
    review_id: Identifier, wanted: Rerouting, services: Services, caller: Caller, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """Approves the request for another route, of those that policy names. It is judged anew; approvals for the former one do not count."""
    asked = Asked(Kind.REROUTE, wanted.comment, wanted.content_digest, _version(if_match), route=wanted.route, **_misrouted(wanted))
    return _tagged(response, await services.reviews.attempt(review_id, caller.subject, asked))


@router.post("/v1/reviews/{review_id}/ask", **needs(Permission.REVIEWS_DECIDE))
async def ask(
    review_id: Identifier, wanted: Question, services: Services, caller: Caller, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """Asks whoever asked for the request; nobody decides before there is an answer, but to reject it or to escalate."""
    asked = Asked(Kind.ASK, wanted.question, version=_version(if_match))
    return _tagged(response, await services.reviews.attempt(review_id, caller.subject, asked))


@router.get("/v1/reviews/{review_id}/question", **needs(Permission.REVIEWS_ANSWER))
async def question(review_id: Identifier, services: Services, caller: Caller, response: Response) -> OpenQuestion:
    """What a reviewer asks, for who asked for the request: `null` where nothing is open."""
    return OpenQuestion.model_validate(_tagged(response, await services.reviews.question(review_id, caller.subject)), from_attributes=False)


@router.post("/v1/reviews/{review_id}/answer", **needs(Permission.REVIEWS_ANSWER))
async def answer(
    review_id: Identifier, given: Answer, services: Services, caller: Caller, response: Response, if_match: IfMatch = None
) -> Standing:
    """What whoever asked for the request says to a reviewer's question. It becomes evidence, so that earlier approvals do not count."""
    asked = Asked(Kind.ANSWER, given.text, version=_version(if_match))
    return _standing(response, await services.reviews.attempt(review_id, caller.subject, asked))


@router.post("/v1/reviews/{review_id}/escalate", **needs(Permission.REVIEWS_DECIDE))
async def escalate(
    review_id: Identifier, said: Note, services: Services, caller: Caller, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """Leaves it to the next level that policy names; only its people decide then, and earlier approvals do not count."""
    asked = Asked(Kind.ESCALATE, said.comment, version=_version(if_match))
    return _tagged(response, await services.reviews.attempt(review_id, caller.subject, asked))


@router.post("/v1/reviews/{review_id}/cancel", **needs(Permission.REVIEWS_ANSWER))
async def cancel(
    review_id: Identifier, said: Note, services: Services, caller: Caller, response: Response, if_match: IfMatch = None
) -> Standing:
    """Takes one's own request back for good."""
    asked = Asked(Kind.CANCEL, said.comment, version=_version(if_match))
    return _standing(response, await services.reviews.attempt(review_id, caller.subject, asked))


def _modification(wanted: Modification, if_match: str | None) -> Asked:
    told = (wanted.comment, wanted.content_digest, _version(if_match))
    return Asked(Kind.MODIFY, *told, changes=wanted.changes, becomes=wanted.becomes, **_misrouted(wanted))


def _tagged(response: Response, found: Json) -> dict[str, Any]:
    response.headers["etag"] = f'"{found["version"]}"'
    return dict(found)


def _misrouted(said: Misrouting) -> dict[str, Any]:
    return {"intent": said.intent, "reason": said.reason or ""}


def _standing(response: Response, found: Json) -> Standing:
    """Who asked may not see who decides."""
    return Standing.model_validate(_tagged(response, found), from_attributes=False)


def _version(if_match: str | None) -> int | None:
    """Of an entity tag of ours (RFC 9110, 13.1.1). Raises RefusedError."""
    if if_match is None or if_match.strip() == "*":
        return None
    tag = if_match.strip()
    number = tag[1:-1]
    if len(tag) < 3 or tag[0] != '"' or tag[-1] != '"' or not (number.isascii() and number.isdigit() and len(number) < 10):
        raise RefusedError("If-Match is not one ETag of a held request.", "request_invalid", 400)
    return int(number)
