"""The part of the control API that services use: evidence, and where held requests stand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from router.review.service import ReviewService


class Control:
    """`events` are what was reported, in order. Sent once more, an event is answered the same and not there twice."""

    def __init__(self, reviews: ReviewService) -> None:
        self.events: list[Mapping[str, Any]] = []
        self._reviews = reviews

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if (request.method, path) == ("POST", "/v1/evidence"):
            return self._evidence(request)
        if request.method == "GET" and path.startswith("/v1/reviews/") and path.endswith("/state"):
            return await self._standing(path.removeprefix("/v1/reviews/").removesuffix("/state"))
        return _problem(404, "not_found", "There is nothing here.")

    def _evidence(self, request: httpx2.Request) -> httpx2.Response:
        from router.control.cloud_events import cloud_events
        from router.errors import RefusedError

        try:
            events = [json.loads(event.document) for event in cloud_events(request.headers.raw, request.content)]
        except RefusedError as error:
            return _problem(error.status, error.code, str(error))
        known = {_identity(event): event for event in self.events}
        if any(known.get(_identity(event), event) != event for event in events):
            return _problem(409, "evidence_conflict", "Another event was sent under the same source and id.")
        self.events += [event for event in events if _identity(event) not in known]
        places = {_identity(event): place for place, event in enumerate(self.events)}
        receipts = [_receipt(event, places[_identity(event)]) for event in events]
        return httpx2.Response(201, json={"events": receipts})

    async def _standing(self, review_id: str) -> httpx2.Response:
        found = await self._reviews.get(review_id)
        if found is None:
            return _problem(404, "review_not_found", "There is no such held request.")
        names = ("id", "state", "created", "expires", "approvals", "quorum")
        return httpx2.Response(200, json={name: found[name] for name in names})


def _identity(event: Mapping[str, Any]) -> tuple[str, str]:
    return event["source"], event["id"]


def _receipt(event: Mapping[str, Any], place: int) -> dict[str, Any]:
    decision = event.get("lockgatedecision")
    reference = "decision" if decision is not None else "none"
    return {"source": event["source"], "id": event["id"], "record": place, "decision_id": decision, "reference": reference}


def _problem(status: int, code: str, detail: str) -> httpx2.Response:
    body = {"type": f"urn:lockgate:problem:{code}", "title": code, "status": status, "code": code, "detail": detail}
    return httpx2.Response(status, json=body, headers={"content-type": "application/problem+json"})
