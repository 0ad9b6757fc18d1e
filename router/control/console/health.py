"""How it is: what readiness says, what the figures say, what runs here and on the other nodes."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from router.control.console.draining import node_of
from router.control.console.figures import Figures
from router.control.console.forms import done
from router.control.console.html import page
from router.control.console.objectives import objectives_of
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.permissions import Permission
from router.control.services import ControlServices
from router.errors import AuditError, RefusedError

router = guarded_router()
FINE = ("routed", "held", "abstained", "split", "denied")


@router.get("/console/health", include_in_schema=False, **needs(Permission.CONFIG_READ))
async def health(request: Request, services: Services, caller: Caller) -> HTMLResponse:
    checks = await services.status.ready()
    may = Permission.METRICS_READ in caller.permissions
    return page(
        request,
        "health.html",
        here="health",
        checks=checks,
        ready=bool(checks) and all(check.ok for check in checks),
        warnings=services.status.warnings(),
        running=services.status.describe(),
        figures=await _figures(services) if may else None,
        done=done(request),
        **await node_of(services),
        objectives=objectives_of(services, caller),
        **await _nodes(services),
    )


async def _figures(services: ControlServices) -> dict[str, Any] | None:
    """None where the configuration switches them off."""
    try:
        figures = Figures(await services.status.metrics())
    except RefusedError:
        return None
    results = figures.by("lockgate_requests_total", "result")
    requests = sum(results.values())
    return {
        "requests": requests,
        "results": results,
        "failed": sum(count for result, count in results.items() if result not in FINE),
        "answered": figures.times("lockgate_request_duration_seconds"),
        "decided": figures.times("lockgate_decision_duration_seconds"),
        "recorded": figures.times("lockgate_audit_duration_seconds"),
        "upstream": figures.times("lockgate_upstream_duration_seconds"),
        "refusals": figures.by("lockgate_refusals_total", "reason"),
        "audit_failures": figures.total("lockgate_audit_failures_total"),
        "unsigned": figures.total("lockgate_audit_unsigned"),
        "pending": figures.total("lockgate_reviews_pending"),
        "deliveries": figures.total("lockgate_deliveries_pending"),
        "dead": figures.total("lockgate_deliveries_dead"),
        "active": figures.total("lockgate_requests_active"),
    }


async def _nodes(services: ControlServices) -> dict[str, Any]:
    if services.nodes is None:
        return {"nodes": None, "nodes_problem": ""}
    try:
        return {"nodes": await services.nodes.list(), "nodes_problem": ""}
    except AuditError as error:
        return {"nodes": None, "nodes_problem": str(error)}
