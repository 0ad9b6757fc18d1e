"""How people label and decide, for who leads them: by the keys that stand for them, in no order that says anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import HTMLResponse

from router.control.console.html import page
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.labels import labels_of
from router.control.permissions import Permission

router = guarded_router()
DAYS: Mapping[str, int] = {"7d": 7, "30d": 30, "90d": 90, "1y": 365}
DAY_NS = 86_400 * 1_000_000_000
Span = Annotated[str, Query(pattern="^(7d|30d|90d|1y)$")]


@router.get("/console/reviewers", include_in_schema=False, **needs(Permission.REVIEWERS_READ))
async def reviewers(request: Request, services: Services, caller: Caller, span: Span = "30d") -> HTMLResponse:
    """That somebody looked is on record."""
    found = await labels_of(services).reviewers(None, None, caller.subject, DAYS[span] * DAY_NS)
    return page(request, "reviewers.html", here="reviewers", span=span, spans=DAYS, found=found)
