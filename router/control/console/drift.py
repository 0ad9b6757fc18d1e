"""Intents, confidences and their calibration in a time beside an earlier one. What is asked for stands in the address; the figures read
everything in both times, so the page is there first and asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import HTMLResponse
from pydantic import TypeAdapter, ValidationError

from router.control.console.asking import Moment, address
from router.control.console.html import page
from router.control.drift import Basis, drifted, windows
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.permissions import Permission
from router.errors import RefusedError

router = guarded_router()
SPANS: Mapping[str, str] = {"1h": "an hour", "24h": "a day", "7d": "a week", "30d": "30 days", "90d": "90 days"}
BASES: Mapping[str, str] = {"random": "random", "weighted": "all, weighted"}
INTENTS, PARTS = 15, 15
MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
Length = Annotated[str, Query(pattern="^(1h|24h|7d|30d|90d)$")]
When = Annotated[str, Query(max_length=40)]


@router.get("/console/drift", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def drift(
    request: Request, span: Length = "24h", reference: Length = "7d", until: When = "", earlier: When = "", samples: Basis = "random"
) -> HTMLResponse:
    windows(span, reference, _moment(until), _moment(earlier))  # what cannot be counted is said at once
    return _page(request, _asked(span, reference, until, earlier, samples), None)


@router.get("/console/drift/figures", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def figures(
    request: Request,
    services: Services,
    caller: Caller,
    span: Length = "24h",
    reference: Length = "7d",
    until: When = "",
    earlier: When = "",
    samples: Basis = "random",
) -> HTMLResponse:
    """Exact counts of decisions; each is a reading and on record."""
    found = await drifted(services, *windows(span, reference, _moment(until), _moment(earlier)), samples, caller.id)
    steps = list(zip(*found["confidence"]["counts"], strict=True))
    return _page(request, _asked(span, reference, until, earlier, samples), {**found, "steps": steps})


def _page(request: Request, asked: Mapping[str, str], found: Mapping[str, Any] | None) -> HTMLResponse:
    most = {"intents": INTENTS, "parts": PARTS}
    load = address("/console/drift/figures", asked)
    return page(request, "drift.html", here="intents", asked=asked, spans=SPANS, bases=BASES, figures=found, load=load, most=most)


def _asked(span: str, reference: str, until: str, earlier: str, samples: str) -> dict[str, str]:
    """As the form's fields take it."""
    times = {name: _moment(typed) for name, typed in (("until", until), ("earlier", earlier))}
    told = {name: "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M") for name, at in times.items()}
    return {"span": span, "reference": reference, **told, "samples": samples}


def _moment(typed: str) -> datetime | None:
    """Without a zone it is UTC. Raises RefusedError."""
    if not typed.strip():
        return None
    try:
        return MOMENT.validate_python(typed.strip())
    except ValidationError:
        raise RefusedError("A time is written as 2026-11-28T20:00, in UTC.", "request_invalid", 422) from None
